"""Bodies that travel in pieces under one request id, with credit: a receiver never holds more than its window.

The receiver of a body starts with a window of `WINDOW_BYTES` and grants more with CREDIT frames as its consumer takes
pieces; a sender that overruns the window breaks the protocol and loses the connection.  Every wait has a limit.
"""

import asyncio
from collections import deque

from objstore.errors import DeadlineExceeded, ObjstoreError
from objstore.wire.codec import MAX_DATA_BYTES, BadFrame, pack_credit
from objstore.wire.connection import Connection

# One round trip of 1 ms at 1 GB/s; with the stream limit it bounds what a connection can make its peer hold.
WINDOW_BYTES = 1024 * 1024
# Credit goes back in portions, so that a CREDIT frame is rare.
_GRANT_BYTES = WINDOW_BYTES // 4


class BodySender:
    """The sending half of one body."""

    def __init__(self, connection: Connection, request: int, *, wait_s: float) -> None:
        self.ended = False
        self._connection = connection
        self._request = request
        self._wait_s = wait_s
        self._credit = WINDOW_BYTES
        self._failure: ObjstoreError | None = None
        self._waiter: asyncio.Future[None] | None = None

    async def write(self, piece: bytes | memoryview) -> None:
        """Send a piece of any size; it must not change afterwards.

        Raises what broke the stream, or DeadlineExceeded when the other side takes nothing for the stream's time limit.
        """
        assert not self.ended
        view = memoryview(piece)
        while view:
            if self._failure is not None:
                raise self._failure
            if self._credit <= 0 or self._connection.congested:
                await self._wait()
                continue
            size = min(len(view), self._credit, MAX_DATA_BYTES)
            self._credit -= size
            self._connection.send_data(self._request, view[:size], end=False)
            view = view[size:]
        if self._failure is not None:
            raise self._failure

    def end(self) -> None:
        """Mark the end of the body."""
        self.ended = True
        self._connection.send_data(self._request, b"", end=True)

    def grant(self, size_bytes: int) -> None:
        """The receiver takes more."""
        self._credit += size_bytes
        if self._credit > WINDOW_BYTES:
            raise BadFrame("more credit was granted than was ever used")
        self._wake()

    def fail(self, failure: ObjstoreError) -> None:
        """Nothing more can be sent: the next write raises this."""
        if self._failure is None:
            self._failure = failure
        self._wake()

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(self._wait_s):
                if self._credit > 0:
                    await self._connection.room()
                    return
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter
        except TimeoutError as failure:
            raise DeadlineExceeded(f"the receiver of a body took nothing for {self._wait_s} s") from failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class BodyReceiver:
    """The receiving half of one body: an async iterator of its pieces."""

    def __init__(self, connection: Connection, request: int, *, wait_s: float) -> None:
        self.ended = False  # the last piece is here (it may not have been taken yet)
        self._connection = connection
        self._request = request
        self._wait_s = wait_s
        self._pieces: deque[memoryview] = deque()
        self._window = WINDOW_BYTES  # what the sender may still send
        self._taken = 0  # bytes taken since the last grant
        self._failure: ObjstoreError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def deliver(self, piece: memoryview, *, end: bool) -> None:
        """A DATA frame came.  Raises BadFrame when the sender overran the window or went on after the end."""
        if self.ended or len(piece) > self._window:
            raise BadFrame("a body went on after its end" if self.ended else "a body overran its window")
        self._window -= len(piece)
        self.ended = end
        if piece and self._failure is None:
            self._pieces.append(piece)
        self._wake()

    def fail(self, failure: ObjstoreError) -> None:
        """The body breaks off: after the pieces that are here, iteration raises this."""
        if self._failure is None and not self.ended:
            self._failure = failure
        self._wake()

    def forget(self) -> None:
        """Nobody takes what is here: whoever still names the stream must not keep a window of bytes."""
        self._pieces.clear()

    def __aiter__(self) -> "BodyReceiver":
        return self

    async def __anext__(self) -> memoryview:
        while not self._pieces:
            if self.ended:
                raise StopAsyncIteration
            if self._failure is not None:
                raise self._failure
            await self._wait()
        piece = self._pieces.popleft()
        self._taken += len(piece)
        if self._taken >= _GRANT_BYTES and not self.ended:
            self._window += self._taken
            self._connection.send(pack_credit(self._request, self._taken))
            self._taken = 0
        return piece

    async def _wait(self) -> None:
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(self._wait_s):
                await self._waiter
        except TimeoutError as failure:
            raise DeadlineExceeded(f"the next piece of a body did not come for {self._wait_s} s") from failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
