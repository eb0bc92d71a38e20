"""An archive as it comes: unpacked piece by piece, member by member, never held whole.

Its data is decompressed in threads, a quarter of a megabyte at a time, and bounded: an archive that unpacks to more than it may ends
there, as one that is cut off does.
"""

import bz2
import zlib
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple

from objstore.core import tar
from objstore.core.tar import BLOCK_BYTES, MAX_EXTENDED_BYTES, MAX_RECORDS, Head, TarBroken
from objstore.fronts.swift.answers import SwiftRefused
from objstore.runtime.tasks import Threads

STEP_BYTES = 256 * 1024  # that one step unpacks to at most
FEED_BYTES = 64 * 1024  # that one step is given
MAX_IDLE_BYTES = 1024 * 1024  # of data of members that are no files: directories and links have none
MAX_STREAMS = 10_000  # compressed one by one and joined, as parallel compressors do
FORMS = {"tar": "", "tar.gz": "gz", "tar.bz2": "bz2"}


class ArchiveBroken(SwiftRefused):
    """The archive cannot be read further."""

    def __init__(self, why: str) -> None:
        super().__init__(400, f"Invalid Tar File: {why}")


class _Gzip:
    """zlib's object with the manner of bz2's: it keeps what it was not yet let unpack."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


class Unpacked:
    """The bytes of an archive after decompression; at most `limit_bytes`."""

    def __init__(self, pieces: AsyncIterator[bytes | memoryview], form: str, limit_bytes: int, threads: Threads | None) -> None:
        self._pieces = pieces
        self._form = form
        self._left = limit_bytes
        self._threads = threads
        self._inner: _Gzip | bz2.BZ2Decompressor | None = None
        self._raw = memoryview(b"")  # came, and is not unpacked yet
        self._ahead = b""  # before that: the beginning of a stream
        self._streams = 0
        self._data = memoryview(b"")  # unpacked, and not taken yet
        self._ended = False  # no more pieces

    async def some(self, most: int) -> memoryview:
        """The next 1 to `most` bytes; none at the end.  Raises ArchiveBroken."""
        while not self._data:
            data = await (self._plain() if not self._form else self._step())
            if data is None:
                return memoryview(b"")
            self._left -= len(data)
            if self._left < 0:
                raise ArchiveBroken("it unpacks to more than it may")
            self._data = memoryview(data)
        taken = self._data[:most]
        self._data = self._data[len(taken) :]
        return taken

    async def take(self, size: int, *, may_end: bool = False) -> bytes:
        """Exactly so many bytes, or none where it `may_end`.  Raises ArchiveBroken."""
        found = bytearray()
        while len(found) < size:
            piece = await self.some(size - len(found))
            if not piece:
                if may_end and not found:
                    return b""
                raise ArchiveBroken("unexpected end of data")
            found += piece
        return bytes(found)

    async def skip(self, size: int) -> None:
        """Leave so many bytes out.  Raises ArchiveBroken."""
        while size > 0:
            piece = await self.some(size)
            if not piece:
                raise ArchiveBroken("unexpected end of data")
            size -= len(piece)

    async def finish(self, most: int) -> None:
        """Unpack what follows the last member: whether compressed data is whole is known at its end alone.  Raises ArchiveBroken."""
        while self._form and most > 0:
            piece = await self.some(most)
            if not piece:
                return
            most -= len(piece)

    async def drain(self, most: int) -> None:
        """Take what follows the archive from the sender, without a look at it."""
        async for piece in self._pieces:
            most -= len(piece)
            if most < 0:
                return

    async def _pull(self) -> bytes | memoryview:
        """The next piece; none at the end."""
        if self._ended:
            return b""
        piece = await anext(self._pieces, None)
        self._ended = piece is None
        return b"" if piece is None else piece

    async def _plain(self) -> bytes | memoryview | None:
        return (await self._pull()) or None

    async def _step(self) -> bytes | None:
        """Some unpacked bytes, perhaps none this time; None at the end."""
        if self._inner is None or self._inner.eof:
            return await self._next_stream()
        feed = b""
        if self._inner.needs_input:
            feed, self._ahead = self._ahead or await self._feed(), b""
            if not feed:
                raise ArchiveBroken("the compressed data ends early")
        try:
            if self._threads is None:
                return self._inner.decompress(feed, STEP_BYTES)
            return await self._threads.run(self._inner.decompress, feed, STEP_BYTES)
        except (zlib.error, OSError, EOFError, ValueError):
            raise ArchiveBroken(f"the data is not {self._form}") from None

    async def _feed(self) -> bytes:
        if not self._raw:
            self._raw = memoryview(await self._pull())
        feed, self._raw = self._raw[:FEED_BYTES], self._raw[FEED_BYTES:]
        return bytes(feed)

    async def _next_stream(self) -> bytes | None:
        """Begin to unpack; streams that were joined are one.  What else follows is passed over, as tar does."""
        head = self._inner.unused_data if self._inner is not None else b""
        while len(head) < 3:
            more = await self._feed()
            if not more:
                break
            head += more
        if not head.startswith(b"\x1f\x8b" if self._form == "gz" else b"BZh"):
            if self._inner is None:
                raise ArchiveBroken(f"the data is not {self._form}" if head else "empty file")
            return None
        self._streams += 1
        if self._streams > MAX_STREAMS:
            raise ArchiveBroken(f"more than {MAX_STREAMS} compressed streams")
        self._inner = _Gzip() if self._form == "gz" else bz2.BZ2Decompressor()
        self._ahead = head
        return b""


class Member(NamedTuple):
    """A member of an archive; its data must be read, or skipped, before the next one is asked for."""

    head: Head
    records: Mapping[str, bytes]
    sparse: bool


async def members(data: Unpacked, most: int) -> AsyncIterator[Member]:
    """The members, with what was said of them before.  Raises ArchiveBroken, also when there are more than `most`."""
    everywhere: dict[str, bytes] = {}
    here: dict[str, bytes] = {}
    count = 0
    while True:
        block = await data.take(BLOCK_BYTES, may_end=True)
        try:
            head = tar.parse_head(block) if block else None
            if head is None:
                return
            count += 1
            if count > most:
                raise ArchiveBroken(f"it has more than {most} members")
            if head.kind in (tar.PAX, tar.PAX_SOLARIS, tar.PAX_GLOBAL, tar.LONG_NAME, tar.LONG_LINK):
                text = await _extended(data, head)
                if head.kind == tar.PAX_GLOBAL:
                    everywhere = _bounded({**everywhere, **tar.parse_pax(text)})
                elif head.kind in (tar.PAX, tar.PAX_SOLARIS):
                    here = _bounded({**here, **tar.parse_pax(text)})
                elif head.kind == tar.LONG_NAME:
                    here = _bounded({"path": text.partition(b"\0")[0], **here})
                continue
            if head.kind == tar.SPARSE and block[tar.MORE_OF_HEAD]:
                while (await data.take(BLOCK_BYTES))[tar.MORE_OF_MAP]:
                    pass
            records = {**everywhere, **here}
            head = tar.with_pax(head, records)
        except TarBroken as broken:
            raise ArchiveBroken(str(broken)) from None
        here = {}
        yield Member(head, records, tar.is_sparse(head, records))


async def _extended(data: Unpacked, head: Head) -> bytes:
    if head.size > MAX_EXTENDED_BYTES:
        raise TarBroken(f"a name or a list of records longer than {MAX_EXTENDED_BYTES} bytes")
    return (await data.take(tar.padded(head.size)))[: head.size]


def _bounded(records: dict[str, bytes]) -> dict[str, bytes]:
    """The records of one member, or for all, which any number of heads may say.  Raises TarBroken when these are too much together."""
    if len(records) > MAX_RECORDS or sum(len(keyword) + len(value) for keyword, value in records.items()) > MAX_EXTENDED_BYTES:
        raise TarBroken(f"more than {MAX_RECORDS} records, or more than {MAX_EXTENDED_BYTES} bytes of them, for one member or for all")
    return records


class MemberBody:
    """objects.api.Body over a member's data."""

    def __init__(self, data: Unpacked, size: int) -> None:
        self.size: int | None = size
        self.left = size  # not read yet
        self._data = data

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        if not self.left:
            raise StopAsyncIteration
        piece = await self._data.some(self.left)
        if not piece:
            raise ArchiveBroken("unexpected end of data")
        self.left -= len(piece)
        return piece

    async def finish(self) -> Mapping[str, bytes]:
        """Nothing follows the bytes."""
        return {}
