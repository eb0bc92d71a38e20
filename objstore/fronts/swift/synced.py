"""What another cluster sends of an object (container sync), against what is here."""

from objstore.core.container_sync import is_newer
from objstore.errors import NoSuchKey, NotImplementedHere
from objstore.fronts.swift import links
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import attributes_of
from objstore.fronts.swift.request import SwiftRequest, header_text, is_true
from objstore.objects.api import Attributes


def attributes_sent(front: SwiftFront, request: SwiftRequest) -> Attributes:
    """What a sender says of an object: a link is taken as it is, its target may come later.  Raises SwiftRefused, NotImplementedHere."""
    headers = request.headers
    if is_true(headers.get("x-static-large-object", "")):
        raise NotImplementedHere("Manifests of static large objects are not taken from other clusters; send the whole object.")
    attributes = attributes_of(headers, front.clock.wall_us(), content_type=header_text(headers.get("content-type", "")))
    link = {name: header_text(headers[name]) for name in links.LINK_HEADERS if headers.get(name)}
    if links.TARGET not in link:
        return attributes
    links.target_of(front, link, request.who.home)
    if links.TARGET_ETAG in link and not link.get(links.TARGET_BYTES, "").isdecimal():
        link[links.TARGET_BYTES] = "0"
    return Attributes(attributes.content_type, {**attributes.headers, **link}, attributes.metadata)


async def is_outdated(front: SwiftFront, request: SwiftRequest, as_of_us: int) -> bool:
    """Whether the object that is here is as new as what is sent; the write judges again."""
    try:
        info = await front.store.head(request.who, request.container, request.key)
    except NoSuchKey:
        return False
    return not is_newer(as_of_us, info.modified_us)


async def is_missing(front: SwiftFront, request: SwiftRequest) -> bool:
    """Whether there is no such object here."""
    try:
        await front.store.head(request.who, request.container, request.key)
    except NoSuchKey:
        return True
    return False
