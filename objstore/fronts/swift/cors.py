"""Cross-origin requests, by what a container says of them: `X-Container-Meta-Access-Control-Allow-Origin`, `-Max-Age`, `-Expose-Headers`.

A preflight carries no token, since browsers send none: it tells what the container's metadata says of an origin and nothing else, and
answers alike for a container that is not there and one that lets nobody in.  A request without an Origin header pays one look into a
dictionary.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from objstore.core.container import decode_container
from objstore.errors import ObjstoreError
from objstore.fronts.swift.answers import Answer, Headers, SwiftRefused, unauthorized
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.request import SwiftRequest, header_bytes
from objstore.objects.api import Principal
from objstore.objects.config import Parsed

CONTAINER = Parsed("container", decode_container)
ALLOW_ORIGIN, MAX_AGE, EXPOSE = "access-control-allow-origin", "access-control-max-age", "access-control-expose-headers"
MAX_REQUESTED_HEADERS = 100
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")
# What scripts may read of any answer, besides its metadata.
_EXPOSED = (
    "cache-control", "content-language", "content-type", "etag", "expires", "last-modified", "pragma", "x-openstack-request-id",
    "x-timestamp", "x-trans-id",
)  # fmt: skip


@dataclass(frozen=True)
class Cors:
    """What a container says of other origins."""

    origins: frozenset[str]
    max_age: str
    exposed: tuple[str, ...]

    @property
    def is_for_all(self) -> bool:
        """Whether any page may read."""
        return "*" in self.origins

    def lets(self, origin: str) -> bool:
        """Whether pages of an origin may read."""
        return self.is_for_all or origin in self.origins


async def cors_of(front: SwiftFront, request: SwiftRequest) -> Cors | None:
    """What the request's container says; None: nothing, or there is none."""
    try:
        home = front.account_of(request.account)
        info = await front.store.find_bucket(Principal(account=home).at(home), request.container)
    except (SwiftRefused, ObjstoreError):
        return None
    container = CONTAINER.of(info)
    origins = frozenset(container.metadata.get(ALLOW_ORIGIN, "").split()) if container is not None else frozenset()
    if container is None or not origins:
        return None
    age = container.metadata.get(MAX_AGE, "").strip()
    exposed = [name.lower() for name in container.metadata.get(EXPOSE, "").replace(",", " ").split() if _TOKEN.fullmatch(name)]
    return Cors(origins, age if age.isascii() and age.isdigit() else "", tuple(exposed))


async def options(front: SwiftFront, request: SwiftRequest, methods: Iterable[str]) -> Answer:
    """OPTIONS: what can be done here, and for a preflight whether a page of its origin may."""
    allowed = sorted({*methods, "OPTIONS"})
    headers: Headers = [(b"allow", ", ".join(allowed).encode())]
    origin = request.headers.get("origin")
    if not origin or not request.container:
        return Answer(200, headers)
    cors = await cors_of(front, request)
    if cors is None or not cors.lets(origin) or request.headers.get("access-control-request-method") not in allowed:
        refused = unauthorized(request.account)
        refused.headers += headers
        return refused
    headers += _allow_origin(cors, origin)
    if cors.max_age:
        headers.append((b"access-control-max-age", cors.max_age.encode()))
    headers.append((b"access-control-allow-methods", ", ".join(allowed).encode()))
    wanted = [name.strip() for name in request.headers.get("access-control-request-headers", "").split(",")]
    named = list(dict.fromkeys(name for name in wanted[:MAX_REQUESTED_HEADERS] if _TOKEN.fullmatch(name)))
    if named:
        headers.append((b"access-control-allow-headers", ", ".join(named).encode()))
        headers = [header for header in headers if header[0] != b"vary"]
        headers.append((b"vary", b"Access-Control-Request-Headers" if cors.is_for_all else b"Origin, Access-Control-Request-Headers"))
    return Answer(200, headers)


async def dress(front: SwiftFront, request: SwiftRequest, answer: Answer) -> None:
    """Tell the browser that the page that asked may read the answer, where the container says so; refusals too."""
    origin = request.headers["origin"]
    if request.method == "OPTIONS" or not request.container:
        return
    cors = await cors_of(front, request)
    if cors is None or not cors.lets(origin):
        return
    exposed = {*_EXPOSED, *cors.exposed, *_metadata(answer.headers)}
    answer.headers += [*_allow_origin(cors, origin), (EXPOSE.encode(), ", ".join(sorted(exposed)).encode())]


def _allow_origin(cors: Cors, origin: str) -> Headers:
    if cors.is_for_all:
        return [(ALLOW_ORIGIN.encode(), b"*")]
    return [(ALLOW_ORIGIN.encode(), header_bytes(origin)), (b"vary", b"Origin")]


def _metadata(headers: Headers) -> Iterable[str]:
    return [name.decode("latin-1").lower() for name, _ in headers if name.lower().startswith((b"x-container-meta-", b"x-object-meta-"))]
