"""One NBD connection: bytes from the socket to the device and back.

Requests are taken apart in the buffer that the socket fills; what the device can do at once is answered in the same turn of the loop,
the rest in tasks, so answers may come in any order.  A client that sends faster than it is served, or does not read its
answers, is not read from; one that sends nonsense is hung up on.
"""

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any, Protocol

from objstore.errors import ObjstoreError
from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.device import Device, Fenced, ReadOnly
from objstore.services.volume.nbd import protocol as nbd
from objstore.services.volume.nbd.handshake import Exports, Handshake

log = logging.getLogger(__name__)

BUFFER_BYTES = 256 * 1024
WAITING_LIMIT = 256  # requests of one connection that are being worked on
WAITING_BYTES = 64 * 1024 * 1024  # and their bytes
HANDSHAKE_S = 30.0
_REQUEST_BYTES = nbd.REQUEST.size
_CHANGING = (nbd.CMD_WRITE, nbd.CMD_TRIM, nbd.CMD_WRITE_ZEROES)
_RANGED = (nbd.CMD_READ, nbd.CMD_CACHE, nbd.CMD_BLOCK_STATUS, *_CHANGING)


class Served(Exports, Protocol):
    """Exports with the devices behind them."""

    def device(self, name: str) -> Device | None:
        """The device of an export; None when it went meanwhile."""


class Connection(asyncio.BufferedProtocol):
    """The server's side of one connection."""

    def __init__(self, served: Served, tasks: TaskOwner, connections: "set[Connection]", *, refused: bool = False) -> None:
        self._served = served
        self._tasks = tasks
        self._connections = connections
        self._handshake = Handshake(served)
        self._device: Device | None = None
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray(BUFFER_BYTES)
        self._view = memoryview(self._buffer)
        self._start = self._end = 0
        self._payload: bytearray | None = None  # a write too long for the buffer, received in place
        self._received = 0
        self._request: tuple[int, int, int] = (0, 0, 0)  # flags, cookie, offset of that write
        self._waiting = self._waiting_bytes = 0
        self._owed: list[int] = []  # cookies of writes that were done in this turn and are not answered yet
        self._full = False  # the client does not read its answers
        self._paused = False
        self._leaving = False
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = refused
        self.export = ""

    # -- the socket -------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Greet."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "writelines")
        self._transport = transport  # type: ignore[assignment]  # uvloop's is no subclass
        if self._refused:
            self.hang_up()
            return
        self._connections.add(self)
        self._deadline = asyncio.get_running_loop().call_later(HANDSHAKE_S, self.hang_up)
        self._write(Handshake.greeting())

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget; what is being worked on comes to its end."""
        self._transport = None
        self._connections.discard(self)
        self._settle()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the next bytes go."""
        if self._payload is not None:
            return memoryview(self._payload)[self._received :]
        if self._start == self._end:
            self._start = self._end = 0
        elif self._leaving:
            self._start = self._end = 0  # nobody looks at it
        elif self._end == len(self._buffer):
            left = self._end - self._start
            self._buffer[:left] = self._buffer[self._start : self._end]
            self._start, self._end = 0, left
        return self._view[self._end :]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self._payload is not None:
            self._received += nbytes
            if self._received == len(self._payload):
                payload, self._payload = self._payload, None
                flags, cookie, offset = self._request
                self._handle(nbd.CMD_WRITE, flags, cookie, offset, len(payload), memoryview(payload))
        else:
            self._end += nbytes
        self._go_on()

    def eof_received(self) -> bool:
        """The client sends nothing more: answer what it asked, then close."""
        self._leave()
        return True

    def pause_writing(self) -> None:
        """The client does not read."""
        self._full = True
        self._balance()

    def resume_writing(self) -> None:
        """It does again."""
        self._full = False
        self._balance()
        self._go_on()

    def hang_up(self) -> None:
        """At once."""
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """When the answers that are due were sent."""
        self._leave()

    # -- taking requests apart --------------------------------------------------------------------------------

    def _go_on(self) -> None:
        if self._device is None and not self._shake_hands():
            return
        while not self._paused and not self._leaving and self._payload is None and self._end - self._start >= _REQUEST_BYTES:
            if not self._next():
                break
        self._pay()

    def _shake_hands(self) -> bool:
        """True once the transmission phase has begun."""
        if self._leaving or self._transport is None:
            return False
        shake = self._handshake
        answer = shake.receive(self._view[self._start : self._end])
        self._start = self._end = 0
        self._write(answer)
        if shake.closed:
            self._leave()
        if shake.chosen is None or shake.closed:
            return False
        self._settle()
        self._device = self._served.device(shake.chosen.name)
        if self._device is None:
            self.hang_up()
            return False
        self.export = shake.chosen.name
        rest = shake.rest
        self._buffer[: len(rest)] = rest  # an option is shorter than the buffer, and so is what came behind it
        self._end = len(rest)
        return True

    def _next(self) -> bool:
        """Handle one request of the buffer; False when its payload is not there yet."""
        magic, flags, command, cookie, offset, length = nbd.REQUEST.unpack_from(self._buffer, self._start)
        if magic != nbd.REQUEST_MAGIC or (command == nbd.CMD_WRITE and length > nbd.TRANSFER_LIMIT_BYTES):
            self.hang_up()
            self._leaving = True
            return False
        begin = self._start + _REQUEST_BYTES
        if command != nbd.CMD_WRITE:
            self._start = begin
            self._handle(command, flags, cookie, offset, length, None)
            return True
        there = self._end - begin
        if there >= length:
            self._start = begin + length
            self._handle(command, flags, cookie, offset, length, self._view[begin : begin + length])
            return True
        if _REQUEST_BYTES + length > len(self._buffer):
            self._payload = bytearray(length)
            self._payload[:there] = self._view[begin : self._end]
            self._received = there
            self._request = flags, cookie, offset
            self._start = self._end = 0
        elif begin + length > len(self._buffer):  # make room for the rest of it
            left = self._end - self._start
            self._buffer[:left] = self._buffer[self._start : self._end]
            self._start, self._end = 0, left
        return False

    def _handle(self, command: int, flags: int, cookie: int, offset: int, length: int, payload: memoryview | None) -> None:
        device = self._device
        assert device is not None
        if command == nbd.CMD_DISC:
            self._leave()
            return
        error = _refusal(device, command, flags, offset, length)
        if command == nbd.CMD_BLOCK_STATUS and not self._handshake.allocation:
            error = nbd.EINVAL
        if error:
            self._fail(command, cookie, error)
            return
        try:
            if command == nbd.CMD_READ:
                views = device.read_now(offset, length)
                if views is not None:
                    self._answer_read(flags, cookie, offset, views)
                    return
            elif command in _CHANGING and (device.zero_now(offset, length) if payload is None else device.write_now(offset, payload)):
                if not flags & nbd.FLAG_FUA:
                    self._owed.append(cookie)
                    return
                command, payload = nbd.CMD_FLUSH, None
        except ObjstoreError as failure:
            self._fail(command, cookie, _errno(failure))
            return
        # The buffer may be filled again before a task gets to write what lies in it.
        data = None if payload is None else memoryview(bytes(payload))
        size = length if command in (nbd.CMD_READ, nbd.CMD_WRITE) else 0
        self._spawn(self._work(device, command, flags, cookie, offset, length, data), command, cookie, size)

    async def _work(self, device: Device, command: int, flags: int, cookie: int, offset: int, length: int, data: memoryview | None) -> None:
        if command == nbd.CMD_READ:
            self._answer_read(flags, cookie, offset, await device.read(offset, length))
            return
        if command == nbd.CMD_BLOCK_STATUS:
            self._answer_status(cookie, await device.spans(offset, length), one=bool(flags & nbd.FLAG_REQ_ONE))
            return
        if command == nbd.CMD_CACHE:
            await device.cache(offset, length)
        elif command == nbd.CMD_FLUSH:
            await device.flush()
        else:
            if data is not None:
                await device.write(offset, data)
            else:
                await device.zero(offset, length)
            await (device.flush() if flags & nbd.FLAG_FUA else device.handed())
        self._answer(cookie)

    # -- answers ----------------------------------------------------------------------------------------------

    def _answer(self, cookie: int) -> None:
        self._write(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, 0, cookie))

    def _pay(self) -> None:
        """Answer the writes of this turn: their writer outlives this process, so they must as well."""
        if not self._owed:
            return
        device, owed, self._owed = self._device, self._owed, []
        assert device is not None
        try:
            if device.hand_over():
                self._answer_all(owed, 0)
                return
        except ObjstoreError as failure:
            self._answer_all(owed, _errno(failure))
            return
        self._spawn(self._pay_later(device, owed), nbd.CMD_WRITE, owed[0], 0)

    async def _pay_later(self, device: Device, owed: list[int]) -> None:
        error = 0
        try:
            await device.handed()
        except ObjstoreError as failure:
            error = _errno(failure)
        self._answer_all(owed, error)

    def _answer_all(self, cookies: list[int], error: int) -> None:
        self._write(b"".join([nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, error, cookie) for cookie in cookies]))

    def _answer_read(self, flags: int, cookie: int, offset: int, views: list[memoryview]) -> None:
        if self._transport is None:
            return
        if not self._handshake.structured:
            self._transport.writelines([nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, 0, cookie), *views])
            return
        assert self._device is not None
        pieces: list[bytes | memoryview] = []
        length = sum(map(len, views))
        if flags & nbd.FLAG_DF or (len(views) == 1 and not self._device.is_hole(views[0])):
            pieces = [
                nbd.OFFSET_DATA.pack(nbd.STRUCTURED_REPLY_MAGIC, nbd.REPLY_DONE, nbd.REPLY_OFFSET_DATA, cookie, length + 8, offset),
                *views,
            ]
        else:
            end = offset + length
            for view in views:
                done = nbd.REPLY_DONE if offset + len(view) == end else 0
                if self._device.is_hole(view):
                    pieces.append(
                        nbd.OFFSET_HOLE.pack(nbd.STRUCTURED_REPLY_MAGIC, done, nbd.REPLY_OFFSET_HOLE, cookie, 12, offset, len(view))
                    )
                else:
                    head = nbd.OFFSET_DATA.pack(nbd.STRUCTURED_REPLY_MAGIC, done, nbd.REPLY_OFFSET_DATA, cookie, len(view) + 8, offset)
                    pieces += (head, view)
                offset += len(view)
        self._transport.writelines(pieces)

    def _answer_status(self, cookie: int, spans: list[tuple[int, bool]], *, one: bool) -> None:
        extents = [
            nbd.EXTENT.pack(length, nbd.STATE_HOLE | nbd.STATE_ZERO if zero else 0) for length, zero in spans[: 1 if one else len(spans)]
        ]
        body = nbd.U32.pack(nbd.ALLOCATION_ID) + b"".join(extents)
        self._write(nbd.STRUCTURED_REPLY.pack(nbd.STRUCTURED_REPLY_MAGIC, nbd.REPLY_DONE, nbd.REPLY_BLOCK_STATUS, cookie, len(body)) + body)

    def _fail(self, command: int, cookie: int, error: int) -> None:
        if self._handshake.structured and command in (nbd.CMD_READ, nbd.CMD_BLOCK_STATUS):
            body = nbd.U32.pack(error) + nbd.U16.pack(0)
            self._write(nbd.STRUCTURED_REPLY.pack(nbd.STRUCTURED_REPLY_MAGIC, nbd.REPLY_DONE, nbd.REPLY_ERROR, cookie, len(body)) + body)
        else:
            self._write(nbd.SIMPLE_REPLY.pack(nbd.SIMPLE_REPLY_MAGIC, error, cookie))

    def _write(self, data: bytes) -> None:
        if self._transport is not None and data:
            self._transport.write(data)

    # -- pace -------------------------------------------------------------------------------------------------

    def _spawn(self, work: Coroutine[Any, Any, None], command: int, cookie: int, size: int) -> None:
        self._waiting += 1
        self._waiting_bytes += size
        self._balance()
        self._tasks.spawn(self._guarded(work, command, cookie, size), name="nbd request")

    async def _guarded(self, work: Coroutine[Any, Any, None], command: int, cookie: int, size: int) -> None:
        try:
            await work
        except ObjstoreError as failure:
            log.warning("export %s: command %d failed: %s", self.export, command, failure)
            self._fail(command, cookie, _errno(failure))
        except Exception:
            log.exception("export %s: command %d ended by a bug", self.export, command)
            self._fail(command, cookie, nbd.EIO)
            raise
        finally:
            self._waiting -= 1
            self._waiting_bytes -= size
            self._balance()
            if self._leaving:
                self._leave()
            else:
                self._go_on()

    def _balance(self) -> None:
        """Read from the socket, or not."""
        paused = self._full or self._waiting >= WAITING_LIMIT or self._waiting_bytes >= WAITING_BYTES
        if paused != self._paused and self._transport is not None and not self._leaving:
            self._paused = paused
            if paused:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    def _leave(self) -> None:
        self._pay()
        self._leaving = True
        self._settle()
        if self._transport is not None and not self._waiting:
            self._transport.close()

    def _settle(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


def _refusal(device: Device, command: int, flags: int, offset: int, length: int) -> int:
    """The error for a request that cannot be carried out whatever the device holds; 0 for the others."""
    allowed = nbd.ALLOWED_FLAGS.get(command)
    if allowed is None or flags & ~allowed:
        return nbd.EINVAL
    if command in _RANGED:
        if device.read_only and command in _CHANGING:
            return nbd.EPERM
        if offset + length > device.size_bytes:
            return nbd.ENOSPC if command in _CHANGING else nbd.EINVAL
        if not length or (command == nbd.CMD_READ and length > nbd.TRANSFER_LIMIT_BYTES):
            return nbd.EINVAL
    return 0


def _errno(failure: ObjstoreError) -> int:
    if isinstance(failure, Fenced):
        return nbd.ESHUTDOWN
    return nbd.EPERM if isinstance(failure, ReadOnly) else nbd.EIO
