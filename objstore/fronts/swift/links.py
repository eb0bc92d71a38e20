"""Symbolic links: objects without bytes that name another one, as they are kept and resolved.

A link's target is kept as its maker wrote it, percent-encoded.  A static link keeps the target's ETag and size besides, and is good as
long as the target has that ETag.  Following one reads the target as whoever reads the link: a link gives nobody rights.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from objstore.core.etag import bare_etag
from objstore.errors import NoSuchBucket, NoSuchKey
from objstore.fronts.swift.answers import Header, SwiftRefused, unauthorized
from objstore.fronts.swift.auth import at_home
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import large_etag
from objstore.fronts.swift.request import SwiftRequest, header_bytes, header_text
from objstore.objects.api import ObjectInfo, Principal

TARGET, TARGET_ACCOUNT, TARGET_ETAG, TARGET_BYTES = (
    "x-symlink-target", "x-symlink-target-account", "x-symlink-target-etag", "x-symlink-target-bytes",
)  # fmt: skip
LINK_HEADERS = frozenset((TARGET, TARGET_ACCOUNT, TARGET_ETAG, TARGET_BYTES))
MAX_LINKS = 2  # followed one after the other
MAX_TARGET_CHARS = 4096


class LinkFound(Exception):
    """What was to be read is a link."""

    def __init__(self, info: ObjectInfo) -> None:
        super().__init__(info.key)
        self.info = info


@dataclass(frozen=True)
class Place:
    """Where an object is, and how a path names it."""

    account: str
    container: str
    key: str
    path: str
    etag: str = ""  # that it must have, for a static link


def wants_link(request: SwiftRequest) -> bool:
    """Whether a request is about links themselves."""
    return request.query.get("symlink") == "get"


def check_link(request: SwiftRequest, info: ObjectInfo) -> None:
    """Raises LinkFound where the object is a link, and not asked for as such."""
    if TARGET in info.headers and not wants_link(request):
        raise LinkFound(info)


def target_of(front: SwiftFront, headers: Mapping[str, str], account: str) -> Place:
    """What a link that lies in an account names.  Raises SwiftRefused."""
    value = headers[TARGET]
    segment = headers.get(TARGET_ACCOUNT)
    container, slash, key = unquote(value).partition("/")
    if not slash or not container or not key or len(value) > MAX_TARGET_CHARS:
        raise SwiftRefused(412, "X-Symlink-Target header must be of the form <container name>/<object name>")
    home = account
    if segment:
        if "/" in unquote(segment):
            raise SwiftRefused(412, "Account name cannot contain slashes")
        home = front.account_of(unquote(segment))
    path = f"/v1/{segment or front.segment_of(account)}/{value}"
    return Place(home, container, key, path, headers.get(TARGET_ETAG, ""))


def etag_of(info: ObjectInfo) -> str:
    """What a static link compares: the ETag of the target, or what the target, being a static link, is good for itself."""
    return info.headers.get(TARGET_ETAG) or large_etag(info)


def check_etag(place: Place, etag: str) -> None:
    """Raises SwiftRefused (409) when a static link's target is not what it was."""
    if place.etag and etag != place.etag:
        raise SwiftRefused(
            409, f"Object Etag '{etag}' does not match X-Symlink-Target-Etag header '{place.etag}'", [content_location(place)]
        )


def content_location(place: Place) -> Header:
    """Which object an answer is about."""
    return b"content-location", header_bytes(place.path)


def too_many() -> SwiftRefused:
    """The refusal of a chain that is too long, or a ring."""
    return SwiftRefused(409, f"Too many levels of symbolic links, maximum allowed is {MAX_LINKS}")


async def reader_of(front: SwiftFront, request: SwiftRequest, who: Principal, place: Place) -> Principal:
    """Who reads a link's target.  Raises SwiftRefused (401) where a signed address does not reach there."""
    if request.temp_url is not None and (place.account != who.home or request.temp_url_container not in ("", place.container)):
        raise SwiftRefused(401, "Temp URL invalid", unauthorized(request.account).headers[1:])
    return await at_home(front, who, place.account)


async def resolve(front: SwiftFront, request: SwiftRequest, who: Principal, info: ObjectInfo) -> tuple[Principal, Place, ObjectInfo]:
    """What a link comes to in the end, with who reads there.  Raises SwiftRefused, NoSuchKey, AccessDenied."""
    for _ in range(MAX_LINKS):
        place = target_of(front, info.headers, who.home)
        who = await reader_of(front, request, who, place)
        info = await front.store.head(who, place.container, place.key)
        check_etag(place, etag_of(info))
        if TARGET not in info.headers:
            return who, place, info
    raise too_many()


async def link_headers(front: SwiftFront, request: SwiftRequest) -> dict[str, str]:
    """What a PUT says of the link that it makes, checked.  Raises SwiftRefused."""
    if (request.headers.get("content-length") or "0").strip() != "0" or "transfer-encoding" in request.headers:
        raise SwiftRefused(400, "Symlink requests require a zero byte body")
    made = {name: header_text(request.headers[name]) for name in (TARGET, TARGET_ACCOUNT) if request.headers.get(name)}
    if unquote(made[TARGET]).startswith("/"):
        raise SwiftRefused(412, "X-Symlink-Target header must be of the form <container name>/<object name>")
    place = target_of(front, made, request.who.home)
    if (place.account, place.container, place.key) == (request.who.home, request.container, request.key):
        raise SwiftRefused(400, "Symlink cannot target itself")
    wanted = request.headers.get(TARGET_ETAG)
    if wanted:
        etag = bare_etag(wanted)
        who = await at_home(front, request.who, place.account)
        try:
            info = await front.store.head(who, place.container, place.key)
        except (NoSuchKey, NoSuchBucket):
            raise SwiftRefused(409, "X-Symlink-Target does not exist", [content_location(place)]) from None
        check_etag(Place(place.account, place.container, place.key, place.path, etag), etag_of(info))
        made[TARGET_ETAG] = etag
        made[TARGET_BYTES] = info.headers.get(TARGET_BYTES, str(info.size))
    return made


def listed(front: SwiftFront, info: ObjectInfo, account: str) -> dict[str, object]:
    """What JSON listings say of a link besides."""
    facts: dict[str, object] = {
        "symlink_path": f"/v1/{info.headers.get(TARGET_ACCOUNT) or front.segment_of(account)}/{info.headers[TARGET]}"
    }
    if TARGET_ETAG in info.headers:
        facts.update(symlink_etag=info.headers[TARGET_ETAG], symlink_bytes=int(info.headers[TARGET_BYTES]))
    return facts
