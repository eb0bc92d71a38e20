"""A service as a plain ASGI application: find the route, know who calls, let the handler answer, write the answer.

A refusal has the service's own document, rendered by `refusal`.  Nothing of a body, of a query or of a token is ever logged.  Every
answer has X-Openstack-Request-Id, which is made here and never taken from the caller.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec

from objstore.errors import Damaged, IncompleteBody, InvalidArgument, ObjstoreError, TooBusy, Unavailable
from objstore.identity.rules import Access
from objstore.runtime.rng import Rng
from objstore.services.calls.call import Answer, Call, Handler, Receive, Scope, Send, parse_query
from objstore.services.calls.problems import CallRefused, Headers, not_found, unauthorized
from objstore.services.calls.routes import Routes, split

log = logging.getLogger(__name__)
_JSON = msgspec.json.Encoder().encode


class Tokens(Protocol):
    """Says whom a token stands for."""

    async def access(self, token: str, method: str, path: str) -> Access | None:
        """None when it is not good for this request.  Raises Unavailable."""


@dataclass(frozen=True)
class Service:
    """What the application is made of."""

    prefix: str  # of its paths, "image"
    url: str  # as clients reach it, with the prefix
    routes: Mapping[tuple[str, str], Handler]
    open_routes: Collection[tuple[str, str]]  # those that need no token
    refusal: Callable[[int, str], Any]  # the document of a refusal
    before: Callable[[Call], Awaitable[None]] | None = None  # sees every call with its token, may refuse it


class ServiceApp:
    """The application."""

    def __init__(self, service: Service, tokens: Tokens, rng: Rng) -> None:
        self._service = service
        self._routes: Routes[Handler] = Routes(service.routes)
        self._tokens = tokens
        self._rng = rng

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            raise ValueError(f"services speak HTTP, not {scope['type']}")
        asked = str(scope["method"])
        request_id = request_name(self._rng)
        extra: Headers = [(b"x-openstack-request-id", request_id.encode())]
        try:
            answer = await self._answer(scope, receive, "GET" if asked == "HEAD" else asked, request_id, extra)
        except CallRefused as refused:
            answer = self._refused(refused.status, refused.message, refused.headers)
            answer.body = answer.body if refused.document is None else refused.document
        except InvalidArgument as error:
            answer = self._refused(400, error.message)
        except IncompleteBody:
            answer = self._refused(400, "The body ended before it was whole.")
        except TooBusy as busy:
            answer = self._refused(503, busy.message, [(b"retry-after", b"1")])
        except (Unavailable, Damaged, ObjstoreError) as failure:
            log.warning("%s of %s cannot be served: %r", asked, self._service.prefix, failure)
            answer = self._refused(503, "The service cannot reach what it needs for this now; try again.", [(b"retry-after", b"1")])
        except Exception:
            log.exception("%s of %s failed", asked, self._service.prefix)
            answer = self._refused(500, "An unexpected error prevented the server from fulfilling your request.")
        answer.headers = [*extra, *answer.headers]
        await _send(send, answer, head=asked == "HEAD")

    def _refused(self, status: int, message: str, headers: Headers | None = None) -> Answer:
        return Answer(status, self._service.refusal(status, message), list(headers or ()))

    async def _answer(self, scope: Scope, receive: Receive, method: str, request_id: str, extra: Headers) -> Answer:
        raw = bytes(scope.get("raw_path") or str(scope["path"]).encode())
        pieces = split(raw)
        if pieces and pieces[0] == self._service.prefix:
            del pieces[0]
        # An empty name at the end is no name: GET /v2/images/ is not the list.
        found = None if raw.endswith(b"/") and len(pieces) > 1 else self._routes.find(pieces)
        if found is None:
            raise not_found()
        methods, values = found
        if method not in methods:
            raise CallRefused(405, "The method is not allowed for this resource.", [(b"allow", ", ".join(methods).encode())])
        template, names, handler = methods[method]
        headers = _headers(scope)
        path = "/" + "/".join(pieces)
        access = None
        if (method, template) not in self._service.open_routes:
            token = headers.get("x-auth-token", "")
            access = await self._tokens.access(token, method, path) if token else None
            if access is None:
                raise unauthorized()
        query = parse_query(bytes(scope.get("query_string", b"")))
        parameters = dict(zip(names, values, strict=True))
        call = Call(method, path, parameters, query, headers, receive, access, request_id, self._service.url, extra)
        if self._service.before is not None and access is not None:
            await self._service.before(call)
        return await handler(call)


def request_name(rng: Rng) -> str:
    """A request's name: req- and a UUID."""
    text = rng.token(16).hex()
    return f"req-{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _headers(scope: Scope) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key = bytes(name).decode("latin-1").lower()
        if key in found and key == "x-auth-token":
            raise CallRefused(400, f"{key} is given twice.")
        found[key] = bytes(value).decode("latin-1")
    return found


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
    headers = [*answer.headers, (b"x-content-type-options", b"nosniff")]
    if answer.stream is not None:
        await _send_stream(send, answer, headers, head=head)
        return
    body = answer.body if isinstance(answer.body, bytes) else b"" if answer.body is None else _JSON(answer.body)
    if answer.body is not None:
        headers.append((b"content-type", answer.content_type))
    if answer.status != 204:
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body, "more_body": False})


async def _send_stream(send: Send, answer: Answer, headers: Headers, *, head: bool) -> None:
    assert answer.stream is not None
    headers.append((b"content-type", answer.content_type))
    if answer.length is not None:
        headers.append((b"content-length", b"%d" % answer.length))
    try:
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        if not head:
            async for piece in answer.stream:
                await send({"type": "http.response.body", "body": bytes(piece), "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        close = getattr(answer.stream, "aclose", None)  # streams are generators, which hold a reader of the store
        if close is not None:
            await close()
