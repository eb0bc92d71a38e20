"""The HTTP server under every front: a protocol class for uvicorn that trusts nobody and copies nothing.

uvicorn brings the event loop, TLS, listening and shutdown; this class takes the place of its own protocol, which sets
no deadline on a request's headers, copies each body twice, and accepts requests that two parsers may read differently.
Here a body's slices reach `receive()` as they came from the socket, reading stops while an application is behind,
`Expect: 100-continue` is answered only when the application asks for the body, and head and body of an answer leave in
one write.  An application answers before it has read a body: a small rest is read and dropped so that the connection
lives on, a large one costs the connection.

Where a server has WebSockets, a connection that asks for one is handed to uvicorn's protocol for them, its head whole and checked.

Only these parts of uvicorn 0.54 are relied on: the four constructor arguments, `Config.loaded_app` and `ws_protocol_class`, `ServerState`'s
`connections`, `tasks`, `total_requests` and `default_headers`, `Server.startup`, `servers`, `lifespan` and `started`, and that the server calls
`shutdown()`.
"""

import asyncio
import logging
import socket
from dataclasses import dataclass
from functools import partial
from typing import Any, cast
from urllib.parse import unquote_to_bytes
from xml.sax.saxutils import escape

import uvicorn
from uvicorn.server import ServerState

from objstore.fronts.exchange import MAX_SLICES, STATUS_LINES, App, Exchange, Scope
from objstore.fronts.http1 import MAX_HEAD_BYTES, Head, HttpProblem, parse_head

log = logging.getLogger(__name__)

SWEEP_S = 1.0
RATE_WINDOW_S = 10.0
WRITE_HIGH_BYTES = 512 * 1024  # an application waits while so much of its answer is unsent, until WRITE_LOW_BYTES are
WRITE_LOW_BYTES = 128 * 1024
MAX_MESSAGE_BYTES = 1024 * 1024  # of a WebSocket
TLS_CLOSE_S = 0.25  # for the other side's word that it heard of the end of TLS; who is idle does not look


@dataclass(frozen=True)
class HttpLimits:
    """Limits of one listening server; zero switches the last two off."""

    header_s: float = 10.0  # from a head's first byte (or from connecting) to its last
    idle_s: float = 75.0  # between requests on a kept connection
    body_bytes_per_s: int = 1024  # an upload slower than this over a window of 10 s is cut
    write_stall_s: float = 60.0  # a client that takes nothing of its answer for so long is cut
    buffer_bytes: int = 512 * 1024  # body bytes held for one request before reading stops
    drain_bytes: int = 256 * 1024  # an unread body's rest up to this size is dropped and the connection kept
    linger_s: float = 2.0  # how long a refused upload may go on so that its sender sees the answer
    connections: int = 10_000
    connections_per_address: int = 0


class Sweeper:
    """One timer for all connections of a server: a deadline per request would cost every request a timer."""

    def __init__(self) -> None:
        self.by_address: dict[str, int] = {}
        self.refused = 0
        self._connections: dict[int, Connection] = {}  # in order of arrival
        self._timer: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._connections)

    def add(self, connection: "Connection") -> None:
        """Watch a connection from now on."""
        self._connections[id(connection)] = connection
        self.by_address[connection.address] = self.by_address.get(connection.address, 0) + 1
        if self._timer is None:
            self._timer = connection.loop.call_later(SWEEP_S, self._sweep, connection.loop)

    def remove(self, connection: "Connection") -> None:
        """Forget a connection."""
        if self._connections.pop(id(connection), None) is None:
            return
        count = self.by_address[connection.address] - 1
        if count:
            self.by_address[connection.address] = count
        else:
            del self.by_address[connection.address]
        if not self._connections and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for connection in list(self._connections.values()):
            connection.check(now)
        self._timer = loop.call_later(SWEEP_S, self._sweep, loop) if self._connections else None


def _plain_answer(status: int, code: str, message: str, request_id: str) -> bytes:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{escape(message)}</Message>'
        f"<RequestId>{request_id}</RequestId></Error>"
    )
    head = f"content-type: application/xml\r\nconnection: close\r\nx-amz-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
    return STATUS_LINES[status] + (head + body).encode()


class Connection(asyncio.Protocol):
    """One client connection.  Requests are served one after the other, pipelined ones too."""

    def __init__(
        self,
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        limits: HttpLimits,
        sweeper: Sweeper,
    ) -> None:
        self.server_state = server_state
        self.limits = limits
        self._config = config
        self.loop = _loop or asyncio.get_running_loop()
        self.exchange: Exchange | None = None
        self.transport: asyncio.Transport = None  # type: ignore[assignment] # set by connection_made, before anything reads it
        self.address = ""
        self.write_waiter: asyncio.Future[None] | None = None
        self._app: App = config.loaded_app
        self._state = app_state
        self._sweeper = sweeper
        self._base_scope: Scope = {}
        self._pending = b""  # bytes of a head that is incomplete, or of a pipelined request
        self._since = self.loop.time()  # when the current phase began: idle, head, stalled write, lingering
        self._begun = True  # a head's first byte is due now, or came
        self._paused = False
        self._lingering = False  # set while what still comes in is dropped, until the connection closes
        self._shutting_down = False
        self._parting: asyncio.TimerHandle | None = None  # over TLS, from the polite close on

    # -- asyncio ----------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept, or refuse when there are too many."""
        transport = self.transport = cast("asyncio.Transport", transport)  # uvloop's transports are not of that class
        transport.set_write_buffer_limits(WRITE_HIGH_BYTES, WRITE_LOW_BYTES)
        peer = transport.get_extra_info("peername")
        client = (str(peer[0]), int(peer[1])) if isinstance(peer, tuple) and len(peer) >= 2 else None
        self.address = client[0] if client else ""
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._base_scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "scheme": "https" if transport.get_extra_info("sslcontext") else "http",
            "server": transport.get_extra_info("sockname"),
            "client": client,
            "root_path": "",
        }
        self.server_state.connections.add(self)  # type: ignore[arg-type] # uvicorn's alias names its own classes only
        self._sweeper.add(self)
        here = self._sweeper.by_address.get(self.address, 0)
        if len(self._sweeper) > self.limits.connections or 0 < self.limits.connections_per_address < here:
            transport.write(self._refusal(HttpProblem(503, "SlowDown", "There are too many connections; reduce the request rate.")))
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the application that its client is gone."""
        self.server_state.connections.discard(self)
        self._sweeper.remove(self)
        if self._parting is not None:
            self._parting.cancel()
        exchange = self.exchange
        if exchange is not None:
            exchange.disconnected = True
            exchange.wake()
            if exchange.answered:
                self.exchange = None  # the two name each other: what they hold goes now, not at the next full collection
        self.resume_writing()

    def eof_received(self) -> bool:
        """A half-closed client still gets the answer to a request that is whole."""
        exchange = self.exchange
        self._shutting_down = True
        whole = exchange is not None and exchange.body_done and not exchange.answered
        return whole and self._base_scope["scheme"] == "http"

    def pause_writing(self) -> None:
        """The client is slower than the application."""
        if self.write_waiter is None:
            self.write_waiter = self.loop.create_future()
            self._since = self.loop.time()

    def resume_writing(self) -> None:
        """The client caught up."""
        waiter, self.write_waiter = self.write_waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self.exchange is None and waiter is not None:
            self._go_on()

    def data_received(self, data: bytes) -> None:
        """Cut the stream into heads and bodies."""
        if self._lingering:
            return
        try:
            self._consume(self._pending + data if self._pending else data)
        except HttpProblem as problem:
            self.refuse(problem)

    # -- requests ---------------------------------------------------------------------------------------------

    def _consume(self, data: bytes) -> None:
        self._pending = b""
        while data and not self.transport.is_closing():
            exchange = self.exchange
            if exchange is None:
                if self.write_waiter is not None:
                    self._hold(data)  # who does not take his answers gets no more of them: each may be a megabyte
                    return
                end = data.find(b"\r\n\r\n")
                if end < 0:
                    self._incomplete_head(data)
                    return
                if end > MAX_HEAD_BYTES:
                    raise HttpProblem(431, "RequestHeaderSectionTooLarge", "The request's headers are too large.")
                start = 2 if data.startswith(b"\r\n") else 0  # RFC 9112 section 2.2: one empty line before a request
                head = parse_head(data[start : end + 4])
                if self._config.ws_protocol_class is not None and _asks_for_websocket(head):
                    self._hand_over(data[start:])
                    return
                data = data[end + 4 :]
                self._begin(head)
            elif not exchange.body_done:
                data = self._feed(exchange, data)
            else:
                self._hold(data)
                return

    def _hold(self, data: bytes) -> None:
        """Keep what is there of the next requests until their turn comes."""
        self._pending = data
        if len(data) > MAX_HEAD_BYTES:
            self._pause()

    def _hand_over(self, data: bytes) -> None:
        """From its head on, uvicorn's protocol for WebSockets has the connection."""
        self.server_state.connections.discard(self)
        self._sweeper.remove(self)
        make = cast("Any", self._config.ws_protocol_class)
        protocol: asyncio.Protocol = make(config=self._config, server_state=self.server_state, app_state=self._state)
        protocol.connection_made(self.transport)
        self.transport.set_protocol(protocol)
        protocol.data_received(data)

    def _incomplete_head(self, data: bytes) -> None:
        if len(data) > MAX_HEAD_BYTES:
            raise HttpProblem(431, "RequestHeaderSectionTooLarge", "The request's headers are too large.")
        if not self._begun:
            self._begun = True
            self._since = self.loop.time()
        self._pending = data

    def _begin(self, head: Head) -> None:
        exchange = self.exchange = Exchange(self, head, self.loop.time())
        path = head.path.decode("latin-1")
        scope: Scope = {
            **self._base_scope,
            "http_version": head.version,
            "method": head.method,
            "path": path if "%" not in path else _unquoted(head.path),
            "raw_path": head.path,
            "query_string": head.query,
            "headers": head.headers,
            "state": self._state.copy(),
        }
        # The server waits for these tasks on shutdown: it is their owner.
        task = self.loop.create_task(exchange.run(self._app, scope))
        self.server_state.tasks.add(task)
        task.add_done_callback(self.server_state.tasks.discard)

    def _feed(self, exchange: Exchange, data: bytes) -> bytes:
        slices = exchange.slices
        held = len(slices)
        if exchange.broken:
            return b""
        try:
            rest = exchange.framing.feed(data, slices)
        except HttpProblem as problem:
            if exchange.answered:
                raise
            # The application sees a body that ends early and answers that.  One that needs no body may have acted already: a refusal
            # in its place would tell the client that nothing was done.
            exchange.broken = problem
            exchange.wake()
            return b""
        gained = sum(map(len, slices[held:]))
        exchange.window_bytes += gained
        exchange.body_done = exchange.framing.done
        if exchange.answered:
            slices.clear()
            if exchange.body_done:
                self._next()
            return rest
        exchange.buffered += gained
        if (exchange.buffered > self.limits.buffer_bytes or len(slices) > MAX_SLICES) and not exchange.body_done:
            self._pause()
        exchange.wake()
        return rest

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self, exchange: Exchange | None) -> None:
        """Read on when enough of the body has been taken."""
        if self._paused and (exchange is None or exchange.buffered <= self.limits.buffer_bytes // 4):
            self._paused = False
            if exchange is not None:
                exchange.window_start, exchange.window_bytes = self.loop.time(), 0
            if not self.transport.is_closing():
                self.transport.resume_reading()

    # -- answers ----------------------------------------------------------------------------------------------

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every answer: the date, which the server renews once a second."""
        return self.server_state.default_headers

    def can_stay_open(self, exchange: Exchange) -> bool:
        """Whether the connection can serve another request after this answer, whatever is left of the body."""
        if self._shutting_down:
            return False
        if exchange.body_done:
            return True
        if exchange.broken:
            return False
        if exchange.wants_continue:
            return False  # whether the body still comes cannot be known
        remaining = exchange.framing.remaining
        return remaining is not None and remaining <= self.limits.drain_bytes

    def answered(self, exchange: Exchange) -> None:
        """An answer is written: serve the next request, drop the body's rest, or close."""
        self.server_state.total_requests += 1
        exchange.slices.clear()
        exchange.buffered = 0
        exchange.wake()
        if not exchange.keep_alive or self._shutting_down:
            self._close_after(exchange)
        elif exchange.body_done:
            self._next()
        else:
            self.resume_reading(None)
            exchange.window_start, exchange.window_bytes = self.loop.time(), 0

    def _next(self) -> None:
        self.exchange = None
        self._since = self.loop.time()
        self._begun = False
        if self.write_waiter is None:
            self._go_on()

    def _go_on(self) -> None:
        """Take the next request, be it here already."""
        self.resume_reading(None)
        if self._pending:
            self.loop.call_soon(self.data_received, b"")

    def _close_after(self, exchange: Exchange | None) -> None:
        """Close; when bytes are still under way, only after a while, or the reset would destroy the answer."""
        if exchange is not None and exchange.body_done:
            self._close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._lingering = True
        self._since = self.loop.time()
        self.resume_reading(None)

    def _close(self) -> None:
        """Close when what is written is sent."""
        self.transport.close()
        self._since = self.loop.time()
        if self._base_scope["scheme"] == "https" and self._parting is None:
            self._parting = self.loop.call_later(TLS_CLOSE_S, self._part)

    def _part(self) -> None:
        """Leave a client that does not answer the end of TLS: the loop would wait half a minute for it, a stopping server too."""
        if self.transport.get_write_buffer_size():
            self._parting = self.loop.call_later(TLS_CLOSE_S, self._part)
        else:
            self.transport.abort()

    def refuse(self, problem: HttpProblem) -> None:
        """Answer for the application, if nothing is out yet, and close."""
        exchange = self.exchange
        if self.transport.is_closing():
            return
        if exchange is not None and (exchange.answered or exchange.committed):
            self.abort()
            return
        if exchange is not None:
            exchange.disconnected = True
            exchange.wake()
        answer = self._refusal(problem)
        if exchange is not None and exchange.head.method == "HEAD":
            answer = answer[: answer.index(b"\r\n\r\n") + 4]
        self.transport.write(answer)
        self._close_after(None)

    def _refusal(self, problem: HttpProblem) -> bytes:
        self._sweeper.refused += 1
        request_id = f"{int(self.loop.time() * 1e6) & 0xFFFFFFFF:08X}{self._sweeper.refused & 0xFFFFFFFF:08X}"
        log.debug("request %s from %s refused: %s", request_id, self.address, problem.message)
        return _plain_answer(problem.status, problem.code, problem.message, request_id)

    def abort(self) -> None:
        """Break the connection off."""
        if self.transport is not None and not self.transport.is_closing():
            self.transport.abort()

    # -- the sweeper and the server ---------------------------------------------------------------------------

    def check(self, now: float) -> None:
        """Called once a second: enforce the deadlines."""
        limits = self.limits
        age = now - self._since
        exchange = self.exchange
        if self.transport.is_closing():
            if age > limits.write_stall_s:
                self.transport.abort()  # it takes nothing of what it was sent last
        elif self._lingering:
            if age > limits.linger_s:
                self.abort()
        elif exchange is None:
            if self._begun and age > limits.header_s and not self._pending:
                self._close()  # it never said anything
            elif self._begun and age > limits.header_s:
                self.refuse(HttpProblem(408, "RequestTimeout", "The request's headers did not arrive in time."))
            elif not self._begun and age > limits.idle_s:
                self._close()
        elif self.write_waiter is not None:
            if age > limits.write_stall_s:
                self.abort()
        elif not (exchange.body_done or exchange.broken or exchange.wants_continue or self._paused):
            elapsed = now - exchange.window_start
            if elapsed >= RATE_WINDOW_S:
                if exchange.window_bytes < limits.body_bytes_per_s * elapsed:
                    self._too_slow(exchange)
                exchange.window_start, exchange.window_bytes = now, 0

    def _too_slow(self, exchange: Exchange) -> None:
        if exchange.answered:
            self.abort()
        else:
            self.refuse(HttpProblem(408, "RequestTimeout", "The request's body is coming in too slowly."))

    def shutdown(self) -> None:
        """Called by the server: finish the current request, take no other."""
        self._shutting_down = True
        if self.exchange is None:
            self._close()


def _asks_for_websocket(head: Head) -> bool:
    return head.method == "GET" and not head.has_body and any(n == b"upgrade" and v.lower() == b"websocket" for n, v in head.headers)


def _unquoted(path: bytes) -> str:
    return unquote_to_bytes(path).decode("utf-8", "replace")


class Server(uvicorn.Server):
    """uvicorn's server on sockets that it is given.  Over TLS a client has as long for the handshake as for a head; the loop would give it a minute."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        config = self.config
        if config.ssl is None or not sockets:
            await super().startup(sockets)
            return
        await self.lifespan.startup()
        make = cast("Any", config.http_protocol_class)
        limits: HttpLimits = make.keywords["limits"]
        self.servers = [
            await asyncio.get_running_loop().create_server(
                lambda: make(config=config, server_state=self.server_state, app_state=self.lifespan.state),
                sock=sock, ssl=config.ssl, backlog=config.backlog, ssl_handshake_timeout=limits.header_s,
            )
            for sock in sockets
        ]  # fmt: skip
        self.started = True


def uvicorn_config(
    app: App,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    fd: int | None = None,
    uds: str | None = None,
    certificate_file: str | None = None,
    key_file: str | None = None,
    lifespan: bool = False,
    limits: HttpLimits | None = None,
    websockets: bool = False,
) -> uvicorn.Config:
    """A uvicorn configuration with this module's protocol; TLS when a certificate is given; with `websockets` the application is given them."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        fd=fd,
        uds=uds,
        loop="uvloop",
        http=partial(Connection, limits=limits or HttpLimits(), sweeper=Sweeper()),  # type: ignore[arg-type] # uvicorn only calls it
        ws="websockets-sansio" if websockets else "none",
        ws_max_size=MAX_MESSAGE_BYTES,
        ws_per_message_deflate=False,  # a small message must not become a large one
        lifespan="on" if lifespan else "off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=10,
        ssl_certfile=certificate_file,
        ssl_keyfile=key_file,
    )
