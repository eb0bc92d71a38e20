"""Chunks of one volume in memory: those that were changed and those that were read.  Pure: no input or output.

A chunk's buffer may be known in part only, when it was written to before anybody read it.  A commit *freezes* the changed
buffers: they stay as they are while they are uploaded, and a write to one goes into a copy.  So a commit takes the volume as it was at one
moment, whatever is written meanwhile.  Unchanged buffers are dropped, the longest unused first, when they are more than the limit.
"""

from collections import OrderedDict
from collections.abc import Container, Iterator

from objstore.services.volume.extents import Extents

Piece = tuple[int, int, int]  # (chunk, first byte in it, byte behind the last in it)


class Buffer:
    """One chunk's bytes.  `known` None: all of them; `data` of type bytes: zeros, shared by all such chunks."""

    __slots__ = ("changed", "data", "frozen", "known")

    def __init__(self, data: bytearray | bytes, known: Extents | None) -> None:
        self.data = data
        self.known = known
        self.changed = False
        self.frozen = False

    def fill(self, base: bytes | bytearray) -> None:
        """Take from `base` whatever is not known yet."""
        if self.known is None:
            return
        assert isinstance(self.data, bytearray)
        for start, end in self.known.gaps(len(self.data)):
            self.data[start:end] = base[start:end]
        self.known = None

    def copy(self) -> "Buffer":
        """The same bytes, to be written to."""
        twin = Buffer(bytearray(self.data), None)
        if self.known is not None:
            twin.known = Extents()
            for start, end in self.known:
                twin.known.add(start, end)
        return twin


class ChunkCache:
    """Buffers by chunk number.  `changed_bytes` counts what is not in the store, with the copies of a commit in progress."""

    def __init__(self, chunk_bytes: int, clean_limit_bytes: int) -> None:
        self.chunk_bytes = chunk_bytes
        self.zeros = bytes(chunk_bytes)
        self._zeros_view = memoryview(self.zeros)
        self._shift = chunk_bytes.bit_length() - 1
        self._mask = chunk_bytes - 1
        self._buffers: dict[int, Buffer] = {}
        self._clean: OrderedDict[int, None] = OrderedDict()
        self._changed: dict[int, Buffer] = {}
        self._frozen: dict[int, Buffer] = {}
        self._clean_limit = max(4, clean_limit_bytes // chunk_bytes)
        self.changed_bytes = 0

    def get(self, index: int) -> Buffer | None:
        """A chunk's buffer, as the last write left it."""
        return self._buffers.get(index)

    def pieces(self, offset: int, length: int) -> Iterator[Piece]:
        """The chunks that a range of the volume lies in."""
        end = offset + length
        while offset < end:
            start = offset & self._mask
            stop = min(self.chunk_bytes, start + end - offset)
            yield offset >> self._shift, start, stop
            offset += stop - start

    def view(self, index: int, start: int, stop: int) -> memoryview | None:
        """Bytes of a chunk, if they are known."""
        buffer = self._buffers.get(index)
        if buffer is None or (buffer.known is not None and not buffer.known.covers(start, stop)):
            return None
        if not buffer.changed and not buffer.frozen:
            self._clean.move_to_end(index)
        return memoryview(buffer.data)[start:stop]

    def zeros_view(self, start: int, stop: int) -> memoryview:
        """So many zeros."""
        return self._zeros_view[start:stop]

    def keep(self, index: int, data: bytearray) -> None:
        """What the store has of a chunk; where it was written to meanwhile, that stays."""
        buffer = self._buffers.get(index)
        if buffer is None:
            self._buffers[index] = Buffer(data, None)
            self._clean[index] = None
            self._evict()
        else:
            buffer.fill(data)

    def write(self, index: int, start: int, data: bytes | memoryview, *, blank: bool) -> None:
        """Change bytes of a chunk.  `blank`: the store has nothing there, so that what is not written is zeros."""
        stop = start + len(data)
        buffer = self._to_change(index, blank=blank, whole=stop - start == self.chunk_bytes)
        assert isinstance(buffer.data, bytearray)
        buffer.data[start:stop] = data
        if buffer.known is not None:
            buffer.known.add(start, stop)

    def zero(self, index: int, start: int, stop: int, *, blank: bool) -> None:
        """Make bytes of a chunk zeros; a whole one takes no memory."""
        before = self._buffers.get(index)
        if isinstance(before.data, bytes) if before is not None else blank:
            return
        if stop - start < self.chunk_bytes:
            self.write(index, start, self._zeros_view[start:stop], blank=blank)
            return
        self._drop(index)
        buffer = Buffer(self.zeros, None)
        buffer.changed = True
        self._buffers[index] = self._changed[index] = buffer

    def is_zero(self, index: int) -> bool | None:
        """Whether a chunk is one of zeros; None when there is no buffer and the map must say so."""
        buffer = self._buffers.get(index)
        return None if buffer is None else isinstance(buffer.data, bytes)

    def freeze(self) -> dict[int, Buffer]:
        """The changed chunks, which from now on stay as they are until `thaw`."""
        assert not self._frozen
        self._frozen, self._changed = self._changed, {}
        for buffer in self._frozen.values():
            buffer.frozen, buffer.changed = True, False
        return self._frozen

    def thaw(self, holes: Container[int] = ()) -> None:
        """What was frozen is in the store; of these chunks as nothing, since they had become zeros."""
        for index, buffer in self._frozen.items():
            buffer.frozen = False
            if isinstance(buffer.data, bytearray):
                self.changed_bytes -= self.chunk_bytes
            if self._buffers.get(index) is buffer:
                if isinstance(buffer.data, bytes) or index in holes:
                    del self._buffers[index]  # the map says as much
                else:
                    self._clean[index] = None
        self._frozen = {}
        self._evict()

    def changed(self) -> bool:
        """Whether anything waits for a commit."""
        return bool(self._changed)

    def _to_change(self, index: int, *, blank: bool, whole: bool) -> Buffer:
        buffer = self._changed.get(index)
        if buffer is not None and isinstance(buffer.data, bytearray):
            return buffer
        before = self._buffers.get(index)
        if before is None:
            buffer = Buffer(bytearray(self.chunk_bytes), None if blank or whole else Extents())
        elif before.frozen or isinstance(before.data, bytes):
            buffer = before.copy()
        else:
            buffer = before
            self._clean.pop(index, None)
        buffer.changed = True
        self.changed_bytes += self.chunk_bytes
        self._buffers[index] = self._changed[index] = buffer
        return buffer

    def _drop(self, index: int) -> None:
        if (buffer := self._changed.pop(index, None)) is not None and isinstance(buffer.data, bytearray):
            self.changed_bytes -= self.chunk_bytes
        self._clean.pop(index, None)

    def _evict(self) -> None:
        while len(self._clean) > self._clean_limit:
            index, _ = self._clean.popitem(last=False)
            del self._buffers[index]
