"""Bodies to send and ways to read them back."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from objstore.objects.api import Reading


class SentBody:
    """objects.api.Body over pieces that are all here."""

    def __init__(
        self,
        pieces: Sequence[bytes | memoryview],
        *,
        size: int | None = -1,
        trailers: Mapping[str, bytes] | None = None,
        failure: Exception | None = None,
    ) -> None:
        self._pieces = pieces
        self.size = sum(len(p) for p in pieces) if size == -1 else size
        self._trailers = trailers or {}
        self._failure = failure
        self.finished = False

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        for piece in self._pieces:
            yield piece

    async def finish(self) -> Mapping[str, bytes]:
        assert not self.finished
        self.finished = True
        if self._failure is not None:
            raise self._failure
        return self._trailers


class SlowBody(SentBody):
    """A body whose last byte comes a long time after the others."""

    def __init__(self, data: bytes, pause_s: float) -> None:
        super().__init__([data[:-1], data[-1:]])
        self._pause_s = pause_s

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        yield self._pieces[0]
        await asyncio.sleep(self._pause_s)
        yield self._pieces[1]


def sent(data: bytes, *, piece: int = 65536, known: bool = True) -> SentBody:
    """A body of `data` in pieces; of unknown length unless `known`."""
    return SentBody([data[i : i + piece] for i in range(0, len(data), piece)], size=len(data) if known else None)


async def content(reading: Reading) -> bytes:
    """All bytes of a reading."""
    return b"".join([bytes(chunk) async for chunk in reading.chunks])
