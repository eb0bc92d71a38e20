"""Requests that carry bodies in pieces: staging a blob before its row, streaming a row's bytes out."""

import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from typing import cast

from objstore.errors import IncompleteBody, InvalidArgument, TooBusy
from objstore.node.checks import check_ballots, check_key
from objstore.node.engine.api import StageWriter
from objstore.node.state import LocalDevice, NodeState
from objstore.wire.messages import BodyBegin, ReadBody, StageBody, Staged
from objstore.wire.server import Call
from objstore.wire.streams import BodyReceiver

BLOB_ID_BYTES = 16
# Bodies that come in at the same time; each may hold a window of a megabyte and what the engine collects.
MAX_STAGING = 128
MAX_READING = 512


class Bodies:
    """Answers them for all devices of a node."""

    def __init__(self, state: NodeState, counters: "Counter[str]") -> None:
        self.staging = 0
        self.reading = 0
        self._state = state
        self._counters = counters
        self.handlers = {StageBody: self._stage, ReadBody: self._read}

    def _stage(self, call: Call, device: LocalDevice, message: StageBody) -> None:
        if len(message.blob) != BLOB_ID_BYTES or message.size < -1:
            raise InvalidArgument(f"a blob id has {BLOB_ID_BYTES} bytes, a size is at least 0, or -1 for unknown")
        self._state.check_partition(message.partition)
        device.open()
        if self.staging >= MAX_STAGING:
            raise TooBusy(f"{MAX_STAGING} bodies are being received already")
        # No limit on the whole: a body takes as long as its client needs.  Every wait for a piece has one.
        call.run(self._receive)

    async def _receive(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, StageBody)
        assert call.body is not None
        device = self._state.admit(message)
        self.staging += 1
        try:
            writer = await device.open().stage(message.blob, size=message.size)
            try:
                await _take(call.body, writer, message.size)
                staged = await writer.finish()
            except BaseException:
                await writer.abort()
                raise
        finally:
            self.staging -= 1
        self._counters["staged_bytes"] += staged.size
        call.answer(Staged(staged.size, staged.digest))

    def _read(self, call: Call, device: LocalDevice, message: ReadBody) -> None:
        if message.offset < 0 or message.length < -1:
            raise InvalidArgument("an offset is at least 0, a length too, or -1 for all")
        check_key(message.key)
        check_ballots(message.origin)
        device.open()
        if self.reading >= MAX_READING:
            raise TooBusy(f"{MAX_READING} bodies are being sent already")
        call.run(self._send)

    async def _send(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, ReadBody)
        assert call.sender is not None
        device = self._state.admit(message)
        self.reading += 1
        try:
            stream = await device.open().read_body(
                message.key, origin=message.origin, offset=message.offset, length=message.length, content=message.content
            )
            async with _closing(stream.chunks) as chunks:
                call.answer(BodyBegin(stream.size, stream.length))
                sent = 0
                async for chunk in chunks:
                    await call.sender.write(chunk)
                    sent += len(chunk)
            assert sent == stream.length
        finally:
            self.reading -= 1
        self._counters["sent_bytes"] += sent
        call.end_body()


async def _take(body: BodyReceiver, writer: StageWriter, size: int) -> None:
    """Hand all pieces on.  Raises IncompleteBody when they are more or fewer than announced (-1: nothing was)."""
    received = 0
    async for piece in body:
        received += len(piece)
        if 0 <= size < received:
            raise IncompleteBody(f"more than the {size} bytes that were announced")
        await writer.write(piece)
    if size not in (-1, received):
        raise IncompleteBody(f"{received} bytes came, {size} were announced")


@contextlib.asynccontextmanager
async def _closing(chunks: AsyncIterator[bytes | memoryview]) -> AsyncIterator[AsyncIterator[bytes | memoryview]]:
    """Close a generator of chunks when its reader stops, so that the engine's file is closed now and not some day."""
    try:
        yield chunks
    finally:
        if hasattr(chunks, "aclose"):
            await cast("AsyncGenerator[bytes | memoryview, None]", chunks).aclose()
