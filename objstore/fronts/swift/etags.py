"""ETags in quotes, as HTTP has them, for containers and accounts that ask for it (Swift's etag quoter).

    X-Container-Rfc-Compliant-Etags   true or false; empty: as the account says
    X-Account-Rfc-Compliant-Etags     true or false; empty: as `swift.etag_quoter_by_default` says

Off unless `swift.etag_quoter` is on: Swift's own clients expect the MD5 bare.
"""

from collections.abc import Mapping

from objstore.core.container import RFC_ETAGS
from objstore.errors import NoSuchBucket, ObjstoreError
from objstore.fronts.swift.answers import Answer, Headers
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.cors import CONTAINER
from objstore.fronts.swift.request import SwiftRequest, is_true
from objstore.objects.api import Principal


def header_of(kind: str) -> str:
    """The header that says it of a "container" or an "account"."""
    return f"x-{kind}-{RFC_ETAGS}"


def change_of(front: SwiftFront, headers: Mapping[str, str], kind: str) -> dict[str, str]:
    """What a request changes about it, as a change of the hidden settings; where the quoter is off, nothing."""
    value = headers.get(header_of(kind))
    if value is None or not front.settings.etag_quoter:
        return {}
    return {RFC_ETAGS: "" if not value.strip() else str(is_true(value)).lower()}


def shown(front: SwiftFront, hidden: Mapping[str, str], kind: str) -> Headers:
    """What is told about it."""
    value = hidden.get(RFC_ETAGS, "") if front.settings.etag_quoter else ""
    return [(header_of(kind).encode(), value.title().encode())] if value else []


async def quote_etag(front: SwiftFront, request: SwiftRequest, answer: Answer) -> None:
    """Put the ETag of an object's answer into quotes where that is wanted."""
    bare = [at for at, (name, value) in enumerate(answer.headers) if name == b"etag" and not value.startswith((b'"', b'W/"'))]
    if bare and await _is_wanted(front, request):
        for at in bare:
            answer.headers[at] = (b"etag", b'"%s"' % answer.headers[at][1])


async def _is_wanted(front: SwiftFront, request: SwiftRequest) -> bool:
    home = request.who.home
    try:
        container = CONTAINER.of(await front.store.find_bucket(Principal(account=home).at(home), request.container))
        said = container.hidden.get(RFC_ETAGS, "") if container is not None else ""
        said = said or (await front.store.account_settings(home)).get(RFC_ETAGS, "")
    except NoSuchBucket:
        return False
    except ObjstoreError:
        said = ""  # the object's answer is there: how its ETag is written is not worth losing it
    return said == "true" if said else front.settings.etag_quoter_by_default
