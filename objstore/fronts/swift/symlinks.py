"""GET and HEAD through links: what is asked of a link is asked of its target, conditions and ranges too."""

import copy
from collections.abc import Awaitable, Callable

from objstore.errors import NotModified, ObjstoreError
from objstore.fronts.swift import reading
from objstore.fronts.swift.answers import Answer, refusal
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.links import MAX_LINKS, LinkFound, Place, check_etag, content_location, etag_of, reader_of, target_of, too_many
from objstore.fronts.swift.request import SwiftRequest

Read = Callable[[SwiftFront, SwiftRequest], Awaitable[Answer]]


async def get_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """The bytes of an object, or of what a link names."""
    return await _through(front, request, reading.get_object)


async def head_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """What GET would say."""
    return await _through(front, request, reading.head_object)


async def _through(front: SwiftFront, request: SwiftRequest, read: Read) -> Answer:
    try:
        return await read(front, request)
    except LinkFound as found:
        info = found.info
    hop, who = copy.copy(request), request.who
    hop.query = {name: value for name, value in request.query.items() if name != "version-id"}
    place: Place | None = None
    for _ in range(MAX_LINKS):
        place = target_of(front, info.headers, who.home)
        hop.who = who = await reader_of(front, request, who, place)
        hop.container, hop.key = place.container, place.key
        try:
            answer = await read(front, hop)
        except LinkFound as found:
            info = found.info
            check_etag(place, etag_of(info))
            continue
        except NotModified as same:
            check_etag(place, str(same.facts["etag"]).partition("-")[0])
            raise
        except ObjstoreError as error:
            answer = refusal(error, known=not who.anonymous, realm=request.account)
            answer.headers.append(content_location(place))
            return answer
        return await _checked(answer, place)
    raise too_many()


async def _checked(answer: Answer, place: Place) -> Answer:
    """The answer of a link's target.  Raises SwiftRefused (409) when it is another one than a static link was made for."""
    try:
        check_etag(place, next((value.decode().strip('"') for name, value in answer.headers if name == b"etag"), ""))
    except BaseException:
        closing = getattr(answer.rest, "aclose", None)
        if closing is not None:
            await closing()
        raise
    answer.headers.append(content_location(place))
    return answer
