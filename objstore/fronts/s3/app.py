"""The S3 front as a plain ASGI application: parse, authenticate, route, answer.

One writer of HTTP: handlers return a Response or raise; here alone it is decided how that looks on the wire.  Every answer
carries a request id, equal to the one in an error's document and in the log.
"""

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from objstore.errors import NotModified, ObjstoreError
from objstore.fronts.s3 import cors, routes
from objstore.fronts.s3.access_log import AccessLog
from objstore.fronts.s3.auth import Authenticator
from objstore.fronts.s3.context import XML_TYPE, Front, Headers, Response
from objstore.fronts.s3.counters import Counters
from objstore.fronts.s3.errors import Failure, error_document, failure_of
from objstore.fronts.s3.facts import S3Facts, TrustedProxies
from objstore.fronts.s3.notifier import Notifier
from objstore.fronts.s3.params import header_bytes
from objstore.fronts.s3.request import Receive, S3Request, Scope, Send, bucket_of_host
from objstore.fronts.s3.settings import S3Settings
from objstore.fronts.s3.times import http_time, iso_time
from objstore.identity.logic import Credentials
from objstore.objects.api import ObjectStoreApi, RequestFacts
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng
from objstore.runtime.tasks import TaskOwner, Threads

log = logging.getLogger(__name__)

EXPECTED_OWNER = "x-amz-expected-bucket-owner"
BROKEN_OFF = "BrokenOff"  # the outcome under which answers are counted that did not reach their end
CACHED_BY = ("cache-control", "expires")  # what a cache goes by, said with a 304 too
HEALTH_PATH = "/-/health"  # no bucket is called "-"
_INTERNAL = Failure(500, "InternalError", "We encountered an internal error. Please try again.", "Give the request id to the operator.")
_ID_STEP = 0x9E3779B97F4A7C15  # odd, so the ids of 2**64 requests all differ


class Calls(Protocol):
    """Another service on the same endpoint, at its root."""

    def takes(self, request: S3Request) -> bool:
        """Whether a request without a bucket is for it."""

    async def answer(self, request: S3Request, authenticator: Authenticator, facts: RequestFacts) -> tuple[str, Response]:
        """The name of the call, and its answer; refusals are answers too."""


class S3App:
    """The application.  `calls` is another service at the endpoint's root.  `health` tells whether this proxy can serve; None: it always can."""

    def __init__(  # noqa: PLR0913 what a front is put together from, by name
        self,
        store: ObjectStoreApi,
        credentials: Credentials,
        clock: Clock,
        settings: S3Settings,
        *,
        rng: Rng,
        counters: Counters | None = None,
        threads: Threads | None = None,
        health: Callable[[], bool] | None = None,
        notifier: Notifier | None = None,
        seconds_per_day: float = 86_400.0,
        calls: Calls | None = None,
    ) -> None:
        self.counters = counters or Counters()
        self._clock = clock
        self._settings = settings
        self._tasks = TaskOwner("s3", limit=1000)
        self._authenticator = Authenticator(credentials, settings, clock)
        self._front = Front(
            store, credentials, settings, clock, self._tasks, threads, self._authenticator, notifier, int(seconds_per_day * 1e6)
        )
        self._access_log = AccessLog(store, clock, rng, settings)
        self._health = health
        self._proxies = TrustedProxies(settings.trusted_proxies) if settings.trusted_proxies else None
        self._calls = calls
        self._domains = settings.website_domains + settings.domains
        self._host_header = (b"x-amz-id-2", settings.host_id.encode())
        self._next_id = int.from_bytes(rng.token(8), "big")

    def names_bucket(self, scope: Scope) -> bool:
        """Whether a request's host names a bucket, so that all of its path is a key."""
        if not self._domains:
            return False
        host = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"host"), "")
        return bool(bucket_of_host(host, self._domains))

    async def aclose(self) -> None:
        """Stop the copies and completions that still run."""
        await self._tasks.aclose()
        await self._access_log.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request."""
        if scope["type"] != "http":
            raise ValueError(f"the S3 front serves HTTP, not {scope['type']}")
        started = self._clock.monotonic()
        self._next_id = (self._next_id + _ID_STEP) & 0xFFFFFFFFFFFFFFFF
        request = S3Request(scope, receive, f"{self._next_id:016X}")
        api = "Unknown"
        try:
            request.parse(scope, self._domains)
            if request.bucket == "-" and request.received.path == HEALTH_PATH and request.method in {"GET", "HEAD"}:
                await self._answer_health(request, send)
                return
            route = await self._route(request, scope)
            api = route.api
            request.who = request.who.of_request(S3Facts(scope, request.headers, request.query, self._clock, self._proxies))
            if EXPECTED_OWNER in request.amz and request.bucket and api != "CreateBucket":
                await self._front.check_owner(request, EXPECTED_OWNER, request.bucket)
            response = await route.handler(self._front, request)
            code = str(response.status)
        except ObjstoreError as error:
            response, code = self._refusal(request, error)
        except Exception:
            log.exception("request %s: %s %s failed", request.id, request.method, api)
            response, code = self._error(request, _INTERNAL), _INTERNAL.code
        if "origin" in request.headers and request.bucket and request.method != "OPTIONS":
            response.headers += await cors.actual_headers(self._front, request)
        try:
            await self._send(request, response, send)
        except ObjstoreError as error:
            # Part of the answer is out: only a connection that breaks tells the client the truth.
            code = BROKEN_OFF
            log.warning("request %s: %s broke off: %s", request.id, api, error)
            raise ConnectionAbortedError(request.id) from error
        except BaseException:
            code = BROKEN_OFF
            raise
        finally:
            self.counters.bytes_in += request.bytes_in
            seconds = self._clock.monotonic() - started
            self.counters.record(api, code, seconds)
            if request.bucket:
                sent = 0 if request.method == "HEAD" else len(response.body) if response.length is None else max(response.length, 0)
                self._access_log.record(request, api, code, status=response.status, sent=sent, seconds=seconds)

    async def _route(self, request: S3Request, scope: Scope) -> routes.Route:
        """Who answers: a website or a preflight, which nobody signs, or what a caller who is known may ask for."""
        websites = self._settings.website_domains
        if websites and bucket_of_host(request.headers.get("host", ""), websites):
            return routes.WEBSITE
        if request.method == "OPTIONS":
            return routes.PREFLIGHT
        if self._calls is not None and not request.bucket and self._calls.takes(request):
            action, response = await self._calls.answer(
                request, self._authenticator, S3Facts(scope, request.headers, request.query, self._clock, self._proxies)
            )

            async def answered(_front: Front, _request: S3Request) -> Response:
                return response

            return routes.Route(action, answered)
        await self._authenticator.authenticate(request)
        return routes.find(request)

    def _refusal(self, request: S3Request, error: ObjstoreError) -> tuple[Response, str]:
        if isinstance(error, NotModified):
            headers: Headers = [(b"etag", b'"%s"' % str(error.facts["etag"]).encode())]
            headers.append((b"last-modified", http_time(int(str(error.facts["modified_us"])))))
            stored = error.facts.get("headers")
            if isinstance(stored, Mapping):
                asked = request.query
                headers += [
                    (name.encode(), header_bytes(stored[name])) for name in CACHED_BY if name in stored and f"response-{name}" not in asked
                ]
            return Response(304, headers), "304"
        now = iso_time(self._clock.wall_us())
        failure = failure_of(error, bucket=request.bucket, key=request.key, server_time=now)
        if failure.status >= 500 and failure.status != 501:
            log.warning("request %s: %s: %s", request.id, failure.code, error)
        if failure.code == "InvalidRange" and "range" in request.headers:
            failure.elements["RangeRequested"] = request.headers["range"]
        return self._error(request, failure), failure.code

    def _error(self, request: S3Request, failure: Failure) -> Response:
        document = error_document(failure, request.resource, request.id, self._settings.host_id)
        # The length is that of what a GET would have been answered, or must not be said (RFC 9110, section 8.6).
        body = b"" if request.method == "HEAD" else document
        return Response(failure.status, [XML_TYPE, *failure.headers], body, length=len(document))

    async def _answer_health(self, request: S3Request, send: Send) -> None:
        good = self._health is None or self._health()
        text = b"ready\n" if good else b"not ready\n"
        await self._send(request, Response(200 if good else 503, [(b"content-type", b"text/plain")], text), send)

    async def _send(self, request: S3Request, response: Response, send: Send) -> None:
        headers = response.headers
        headers.append((b"x-amz-request-id", request.id.encode()))
        headers.append(self._host_header)
        body, rest = response.body, response.rest
        length = len(body) if response.length is None else response.length
        if length >= 0 and response.status not in (204, 304):
            headers.append((b"content-length", b"%d" % length))
        counters = self.counters
        try:
            await send({"type": "http.response.start", "status": response.status, "headers": headers})
            counters.bytes_out += len(body)
            await send({"type": "http.response.body", "body": body, "more_body": rest is not None})
            if rest is not None:
                async for piece in rest:
                    counters.bytes_out += len(piece)
                    await send({"type": "http.response.body", "body": piece, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            closing = getattr(rest, "aclose", None)
            if closing is not None:
                await closing()
