"""One HTTP request and its answer: what ASGI calls `receive` and `send`, over a connection that owns the socket."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

from objstore.fronts.http1 import Framing, Head, HttpProblem, framing_of

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

log = logging.getLogger(__name__)

_SWIFTS = {497: "Blacklisted", 498: "Rate Limited"}  # statuses that Swift made up
STATUS_LINES = {
    status: f"HTTP/1.1 {status} {phrase}\r\n".encode()
    for status, phrase in {**{status.value: status.phrase for status in HTTPStatus}, **_SWIFTS}.items()
}
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
MAX_SLICES = 64  # of a body that is waiting: more are tiny, and taking the first of a hundred thousand moves all others
JOIN_BELOW_BYTES = 64 * 1024  # a body piece this small is joined to the head; a larger one is written beside it


class Carrier(Protocol):
    """The connection, as an exchange uses it."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    write_waiter: "asyncio.Future[None] | None"

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        """Headers of every answer."""

    def resume_reading(self, exchange: "Exchange | None") -> None:
        """Read on when enough of the body has been taken."""

    def can_stay_open(self, exchange: "Exchange") -> bool:
        """Whether another request may follow."""

    def answered(self, exchange: "Exchange") -> None:
        """The answer is written."""

    def refuse(self, problem: HttpProblem) -> None:
        """Answer in the application's place, if nothing is out yet, and close."""

    def abort(self) -> None:
        """Break the connection off."""


class Exchange:
    """One request and its answer: what ASGI calls `receive` and `send`."""

    __slots__ = (
        "_head_out", "_length_out", "answered", "body_done", "broken", "buffered", "chunked_out", "connection", "delivered", "disconnected",
        "framing", "head", "keep_alive", "reader", "slices", "started", "wants_continue", "window_bytes", "window_start",
    )  # fmt: skip

    def __init__(self, connection: Carrier, head: Head, now: float) -> None:
        self.connection = connection
        self.head = head
        self.framing: Framing = framing_of(head)
        self.body_done = self.framing.done
        self.slices: list[bytes] = []
        self.buffered = 0
        self.reader: asyncio.Future[None] | None = None
        self.wants_continue = head.expects_continue
        self.keep_alive = head.keep_alive
        self.delivered = False  # the application has seen the body's end
        self.disconnected = False
        self.broken: HttpProblem | None = None  # the body's framing is wrong: nothing after it can be understood
        self.started = False
        self.answered = False
        self.chunked_out = False
        self.window_start = now
        self.window_bytes = 0
        self._head_out: bytes | None = None
        self._length_out = 0

    async def run(self, app: App, scope: Scope) -> None:
        """Run the application and make sure that an answer is complete or the connection is gone."""
        try:
            await app(scope, self.receive, self.send)
        except (ConnectionError, asyncio.CancelledError):
            if not self.disconnected:
                self.connection.abort()
        except Exception:  # the process edge: an application's bug ends here, logged, never as half an answer
            log.exception("the application failed on %s", self.head.method)
            self._fail()
        else:
            if not self.answered and not self.disconnected:
                if self.broken is None:
                    log.error("the application returned without completing its answer")
                self._fail()

    def _fail(self) -> None:
        if not self.disconnected:
            self.connection.refuse(self.broken or HttpProblem(500, "InternalError", "We encountered an internal error. Please try again."))

    @property
    def committed(self) -> bool:
        """Whether part of the answer is out already: then only a broken connection tells that it failed."""
        return self.started and self._head_out is None

    def wake(self) -> None:
        """Let a waiting `receive` look again."""
        if self.reader is not None and not self.reader.done():
            self.reader.set_result(None)

    async def receive(self) -> Message:
        """The next slice of the body, as it came from the socket; small slices are joined."""
        while not self.slices:
            if self.disconnected or self.answered or self.broken:
                return {"type": "http.disconnect"}
            if not self.body_done:
                if self.wants_continue:
                    self.wants_continue = False
                    self.window_start = self.connection.loop.time()  # its sender begins now, however long ago the head came
                    self.connection.transport.write(CONTINUE)
                self.connection.resume_reading(self)
            elif not self.delivered:
                self.delivered = True
                return {"type": "http.request", "body": b"", "more_body": False}
            self.reader = self.connection.loop.create_future()
            await self.reader
        if len(self.slices) > 1 and (self.buffered <= JOIN_BELOW_BYTES or len(self.slices) > MAX_SLICES):
            body = b"".join(self.slices)
            self.slices.clear()
            self.buffered = 0
        else:
            body = self.slices.pop(0)
            self.buffered -= len(body)
        more = bool(self.slices) or not self.body_done
        self.delivered = not more
        if not self.body_done:
            self.connection.resume_reading(self)
        return {"type": "http.request", "body": body, "more_body": more}

    async def send(self, message: Message) -> None:
        """Take an answer's head and body.  Raises ConnectionResetError once the client is gone."""
        if self.disconnected:
            raise ConnectionResetError("the client closed the connection")
        if message["type"] == "http.response.start":
            assert not self.started, "an answer begins once"
            self.started = True
            self._head_out = self._render_head(message["status"], message.get("headers", ()))
            return
        assert self.started, "an answer begins with its head"
        assert not self.answered, "an answer ends once"
        body = message.get("body", b"")
        more = message.get("more_body", False)
        self._write(body, last=not more)
        if not more:
            self.answered = True
            self.connection.answered(self)
        elif self.connection.write_waiter is not None:
            await self.connection.write_waiter

    def _render_head(self, status: int, headers: Any) -> bytes:
        out = [STATUS_LINES[status]]
        length = -1
        for name, value in self.connection.default_headers():
            out.append(b"%s: %s\r\n" % (name, value))
        for name, value in headers:
            if name == b"content-length":
                length = int(value)
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
                continue
            elif name == b"transfer-encoding":
                continue
            out.append(b"%s: %s\r\n" % (name, value))
        bodyless = self.head.method == "HEAD" or status in (204, 304)
        self._length_out = 0 if bodyless else length
        if length < 0 and not bodyless:
            self.chunked_out = self.head.version == "1.1"
            if self.chunked_out:
                out.append(b"transfer-encoding: chunked\r\n")
            else:
                self.keep_alive = False  # to HTTP/1.0 the end of the connection is the end of the body
        if not self.connection.can_stay_open(self):
            self.keep_alive = False
        if not self.keep_alive:
            out.append(b"connection: close\r\n")
        head = b"".join(out)
        # Whatever an application echoes, it cannot add a line of its own (response splitting).
        if head.count(b"\n") != len(out) or head.count(b"\r") != len(out) or b"\0" in head:
            self._head_out = None
            self.started = False
            raise ValueError("a header value holds a line break or NUL")
        return head + b"\r\n"

    def _write(self, body: bytes | memoryview, *, last: bool) -> None:
        transport = self.connection.transport
        size = len(body)
        if self.head.method == "HEAD":
            body, size = b"", 0
        elif self.chunked_out:
            pieces = [b"%x\r\n" % size, body, b"\r\n"] if size else []
            if last:
                pieces.append(b"0\r\n\r\n")
            body = b"".join(pieces)
            size = len(body)
        elif self._length_out >= 0:
            self._length_out -= size
            if self._length_out < 0 or (last and self._length_out):
                self.connection.abort()
                raise RuntimeError("the answer's body is not as long as its Content-Length")
        head, self._head_out = self._head_out, None
        if head is not None and self.wants_continue and self.body_done:
            # An empty body is not asked for, but its sender waits all the same.  botocore that gets the final answer at once keeps its
            # status line for the connection's next request, and then waits for ever for that one's headers.
            self.wants_continue = False
            head = CONTINUE + head
        if head is not None and size <= JOIN_BELOW_BYTES:
            transport.write(head + body if size else head)
            return
        if head is None:
            if size:
                transport.write(body)
        elif size:
            transport.writelines((head, body))  # one system call, and the client wakes up once
        else:
            transport.write(head)
