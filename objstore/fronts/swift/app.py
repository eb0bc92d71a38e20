"""The Swift front as a plain ASGI application, before another one that takes what is not Swift's.

Both dialects are served on one port.  Swift's are `/v1/...`, `/auth/v1.0` and `/info`, unless the request is signed for S3: a bucket
may well be called `auth` or `info`.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping

from objstore.errors import NotModified, ObjstoreError
from objstore.fronts.dates import http_time
from objstore.fronts.swift import (
    account,
    auth,
    bulk,
    container,
    cors,
    domains,
    etags,
    extract,
    formpost,
    info,
    staticweb,
    symlinks,
    tempurl,
    writing,
)
from objstore.fronts.swift.answers import HTML, Answer, page, refusal
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.ratelimit import RateLimits
from objstore.fronts.swift.request import Receive, Scope, Send, SwiftRequest

log = logging.getLogger(__name__)

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Handler = Callable[[SwiftFront, SwiftRequest], Awaitable[Answer]]

ACCOUNT: Mapping[str, Handler] = {"GET": account.get_account, "HEAD": account.head_account, "POST": account.post_account}
CONTAINER: Mapping[str, Handler] = {
    "GET": container.get_container,
    "HEAD": container.head_container,
    "PUT": container.put_container,
    "POST": container.post_container,
    "DELETE": container.delete_container,
}
OBJECT: Mapping[str, Handler] = {
    "GET": symlinks.get_object,
    "HEAD": symlinks.head_object,
    "PUT": writing.put_object,
    "POST": writing.post_object,
    "DELETE": writing.delete_object,
    "COPY": writing.copy_object,
}
_BARE = frozenset(("/info", "/info/", "/healthcheck", "/crossdomain.xml"))
_S3_QUERY = (b"X-Amz-", b"AWSAccessKeyId=")  # which names of parameters of signed requests begin with
_ID_STEP = 0x9E3779B97F4A7C15  # odd, so the ids of 2**64 requests all differ


def is_swift(scope: Scope) -> bool:
    """Whether a request is for this front."""
    path: str = scope["path"]
    if not (path.startswith("/v1/") or path in _BARE or path in auth.V1_PATHS):
        return False
    query: bytes = scope["query_string"]
    if any(mark in query for mark in _S3_QUERY) and any(part.startswith(_S3_QUERY) for part in query.split(b"&")):
        return False
    signed = any(name == b"authorization" and value.startswith((b"AWS4-", b"AWS ")) for name, value in scope["headers"])
    if signed or path.startswith("/v1/"):
        return not signed
    if path in auth.V1_PATHS:
        return any(name in (b"x-auth-user", b"x-storage-user") for name, _ in scope["headers"])
    return scope["method"] in ("GET", "HEAD") and not query


class SwiftApp:
    """The application; requests that are not Swift's go on to `other`."""

    def __init__(self, front: SwiftFront, other: App, is_others: Callable[[Scope], bool] | None = None) -> None:
        """`is_others` tells requests that are for the other application whatever their path: their host names a bucket."""
        self._front = front
        self._other = other
        self._is_others = is_others
        self._limits = RateLimits(front.settings, front.clock)
        self._next_id = int.from_bytes(front.rng.token(8), "big")
        self.answered: dict[int, int] = {}  # HTTP status -> requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        given = scope
        settings = self._front.settings
        if settings.storage_domains and scope["type"] == "http":
            mangles = settings.mangle_client_paths
            scope = domains.remapped(scope, settings.storage_domains, self._front.prefixes, mangles=mangles) or scope
        if scope["type"] != "http" or not is_swift(scope) or (self._is_others is not None and self._is_others(scope)):
            await self._other(given, receive, send)
            return
        self._next_id = (self._next_id + _ID_STEP) & 0xFFFFFFFFFFFFFFFF
        seconds = self._front.clock.wall_us() // 1_000_000
        request = SwiftRequest(scope, receive, f"tx{self._next_id:021x}-{seconds:010x}", self._front.clock)
        try:
            request.parse()
            answer = await self._answer(request)
        except NotModified as error:
            answer = Answer(
                304, [(b"etag", str(error.facts["etag"]).encode()), (b"last-modified", http_time(int(str(error.facts["modified_us"]))))]
            )
        except ObjstoreError as error:
            answer = refusal(error, known=not request.who.anonymous, realm=request.account)
            if answer.status >= 500 and answer.status != 501:
                log.warning("request %s: %s", request.id, error)
        except Exception:
            log.exception("request %s: %s failed", request.id, request.method)
            answer = page(500)
        if request.temp_url is not None:
            answer.headers = tempurl.without_private(answer.headers)
        if self._front.settings.etag_quoter and request.key:
            await etags.quote_etag(self._front, request, answer)
        if "origin" in request.headers:
            await cors.dress(self._front, request, answer)
        self.answered[answer.status] = self.answered.get(answer.status, 0) + 1
        await self._send(request, answer, send)

    async def _answer(self, request: SwiftRequest) -> Answer:
        front, path = self._front, request.scope["path"]
        if path in auth.V1_PATHS:
            return auth.log_in(front, request)
        if path in _BARE:
            return _bare(front, path)
        handlers = OBJECT if request.key else CONTAINER if request.container else ACCOUNT
        if request.method == "OPTIONS":
            return await cors.options(front, request, handlers)
        if formpost.is_form(request):
            return await formpost.post_form(front, request)
        await auth.authenticate(front, request)
        if self._limits.on:
            refused = await self._limits.admit(front, request)
            if refused is not None:
                return refused
        if "bulk-delete" in request.query and request.method in ("POST", "DELETE"):
            return await bulk.bulk_delete(front, request)
        if "extract-archive" in request.query and request.method == "PUT":
            return await extract.extract_archive(front, request)
        handler = handlers.get(request.method)
        if handler is None:
            return page(405, headers=[(b"allow", ", ".join(sorted({*handlers, "OPTIONS"})).encode())])
        if request.method in ("GET", "HEAD") and staticweb.applies(request):
            return await staticweb.serve(front, request, handler, OBJECT[request.method], container.list_items)
        return await handler(front, request)

    async def _send(self, request: SwiftRequest, answer: Answer, send: Send) -> None:
        headers, body, rest = answer.headers, answer.body, answer.rest
        transaction = request.id.encode()
        headers += [(b"x-trans-id", transaction), (b"x-openstack-request-id", transaction)]
        length = len(body) if answer.length is None else answer.length
        if length >= 0 and answer.status not in (204, 304):
            headers.append((b"content-length", b"%d" % length))
        try:
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            await send({"type": "http.response.body", "body": body, "more_body": rest is not None})
            if rest is not None:
                async for piece in rest:
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        except ObjstoreError as error:
            # Part of the answer is out: only a connection that breaks tells the client the truth.
            log.warning("request %s broke off: %s", request.id, error)
            raise ConnectionAbortedError(request.id) from error
        finally:
            closing = getattr(rest, "aclose", None)
            if closing is not None:
                await closing()


def _bare(front: SwiftFront, path: str) -> Answer:
    if path.startswith("/info"):
        return info.info(front)
    if path == "/healthcheck":
        return Answer(200, [HTML], b"OK")
    return info.cross_domain(front)
