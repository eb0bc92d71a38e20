"""One authenticated connection, the part that both ends share: frames in, frames out, backpressure, liveness.

Everything that becomes ready in one turn of the event loop leaves in one write.  While the transport is full, frames
wait here and not in its buffer, so that the amount is known and limited.  Nothing is handed on before the handshake is
done; a frame that does not verify closes the connection at once.
"""

import asyncio
import contextlib
from typing import Any, cast

from objstore.runtime.net import widen
from objstore.wire.codec import (
    CANCEL,
    CREDIT,
    DATA,
    FIRST_INTERNAL,
    FLAG_END,
    MAX_DATA_BYTES,
    MAX_FRAME_BYTES,
    MAX_HANDSHAKE_BYTES,
    PING,
    PONG,
    BadFrame,
    Buffer,
    FrameReader,
    pack_frame,
)

# Smaller payloads are joined with their header: one buffer costs less than a copy of this size.
JOIN_LIMIT_BYTES = 8 * 1024
# The transport takes this much before it asks to pause: a few DATA pieces, so that calls do not queue behind more.
TRANSPORT_BUFFER_BYTES = 1024 * 1024
# What may wait here behind a full transport before new work is turned away.
MAX_QUEUED_BYTES = 64 * 1024 * 1024


class Connection(asyncio.BufferedProtocol):
    """Base of both ends.  The subclass handles the handshake, messages and the end of the connection."""

    def __init__(self) -> None:
        self.closed = False
        self.authenticated = False
        self.heard = False  # set by whatever comes in; the subclass clears it to measure silence
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._reader = FrameReader(self._deliver, limit_bytes=MAX_HANDSHAKE_BYTES)
        self._queue: list[Buffer] = []
        self._queued_bytes = 0
        self._flush_due = False
        self._paused = False
        self._room: asyncio.Future[None] | None = None

    # -- what the subclass must do --------------------------------------------------------------------------------

    def opened(self) -> None:
        """The transport is there; nothing has been exchanged."""
        raise NotImplementedError

    def on_handshake(self, code: int, head: memoryview) -> None:
        """A frame before authentication."""
        raise NotImplementedError

    def on_message(self, request: int, code: int, head: memoryview, payload: memoryview) -> None:
        """A message's frame."""
        raise NotImplementedError

    def on_stream(self, request: int, code: int, flags: int, head: memoryview, payload: memoryview) -> None:
        """A DATA, CREDIT or CANCEL frame."""
        raise NotImplementedError

    def lost(self, reason: str) -> None:
        """The connection has ended; called once, from `abort` or when the transport says so."""
        raise NotImplementedError

    def backed_up(self, queued_bytes: int) -> None:
        """Something was queued behind a full transport; `queued_bytes` wait there now."""

    # -- sending --------------------------------------------------------------------------------------------------

    @property
    def overloaded(self) -> bool:
        """Whether so much waits to be sent that new work must be refused."""
        return self._queued_bytes > MAX_QUEUED_BYTES

    @property
    def congested(self) -> bool:
        """Whether the transport is full: streams wait for `room`."""
        return self._paused

    def send(self, frame: bytes, payload: Buffer = b"") -> None:
        """Queue a packed frame and the payload behind it for the end of this turn of the loop.

        The payload must not change afterwards.
        """
        if self.closed:
            return
        if not payload:
            self._queue.append(frame)
        elif len(payload) <= JOIN_LIMIT_BYTES:
            self._queue.append(frame + payload)
        else:
            self._queue.append(frame)
            self._queue.append(payload)
        self._queued_bytes += len(frame) + len(payload)
        if self._paused:
            self.backed_up(self._queued_bytes)
        elif not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def send_data(self, request: int, piece: Buffer, *, end: bool) -> None:
        """Queue one DATA frame of at most MAX_DATA_BYTES."""
        assert len(piece) <= MAX_DATA_BYTES
        self.send(pack_frame(DATA, request, FLAG_END if end else 0, b"", piece), piece)

    def send_cancel(self, request: int) -> None:
        """Tell the other side that nobody waits for this request any more."""
        self.send(pack_frame(CANCEL, request, 0, b""))

    def send_ping(self) -> None:
        """Ask for a sign of life."""
        self.send(pack_frame(PING, 0, 0, b""))

    async def room(self) -> None:
        """Wait until the transport takes more (or the connection has ended)."""
        while self._paused and not self.closed:
            if self._room is None:
                self._room = self._loop.create_future()
            await asyncio.shield(self._room)

    def _flush(self) -> None:
        self._flush_due = False
        if self.closed or self._paused or not self._queue:
            return
        queue, self._queue = self._queue, []
        self._queued_bytes = 0
        assert self._transport is not None
        if len(queue) == 1:
            self._transport.write(queue[0])
        else:
            self._transport.writelines(queue)

    # -- asyncio.BufferedProtocol -----------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The loop opened the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=TRANSPORT_BUFFER_BYTES)
        widen(transport)
        self.opened()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the loop shall put the next bytes."""
        return self._reader.buffer()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes are there."""
        self.heard = True
        try:
            self._reader.received(nbytes)
        except BadFrame as failure:
            self.abort(f"the peer broke the protocol: {failure}")

    def data_received(self, data: bytes) -> None:
        """Bytes came in a buffer of their own."""
        self.heard = True
        try:
            self._reader.feed(data)
        except BadFrame as failure:
            self.abort(f"the peer broke the protocol: {failure}")

    def pause_writing(self) -> None:
        """The transport is full."""
        self._paused = True

    def resume_writing(self) -> None:
        """The transport takes more."""
        self._paused = False
        self._flush()
        if self._room is not None and not self._paused:
            self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The loop closed the connection."""
        self._end(f"the connection was lost: {exc!r}" if exc else "the peer closed the connection")

    # -- ending ---------------------------------------------------------------------------------------------------

    def finish(self, reason: str) -> None:
        """Send what is queued, then close."""
        self._paused = False
        self._flush()
        if self._transport is not None:
            self._transport.close()
        self._end(reason)

    def abort(self, reason: str) -> None:
        """Close at once; what is queued is dropped."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    def _end(self, reason: str) -> None:
        if self.closed:
            return
        self.closed = True
        self._reader.stopped = True
        self._queue.clear()
        self._queued_bytes = 0
        self._wake()
        self.lost(reason)

    def _wake(self) -> None:
        if self._room is not None:
            with contextlib.suppress(asyncio.InvalidStateError):
                self._room.set_result(None)
            self._room = None

    # -- receiving ------------------------------------------------------------------------------------------------

    def admit_peer(self) -> None:
        """Called by the subclass when the other side has proved itself."""
        self.authenticated = True
        self._reader.limit_bytes = MAX_FRAME_BYTES

    def _deliver(self, request: int, code: int, flags: int, head: memoryview, payload: memoryview) -> None:
        if not self.authenticated:
            self.on_handshake(code, head)
        elif code < FIRST_INTERNAL:
            self.on_message(request, code, head, payload)
        elif code in (DATA, CREDIT, CANCEL):
            self.on_stream(request, code, flags, head, payload)
        elif code == PING:
            self.send(pack_frame(PONG, 0, 0, b""))
        elif code != PONG:
            raise BadFrame(f"a frame of the unknown type {code}")

    def peer_address(self) -> Any:
        """What the transport knows of the other end, for logs."""
        return self._transport.get_extra_info("peername") if self._transport is not None else None
