"""Append-only packs: rows and small payloads; the journal.

The loop decides what is written where (`Cursor`); `write` makes it durable and runs in the commit thread.  Nothing here
ever closes a pack that a reader may still use: files end with their last reference.
"""

import contextlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from objstore.node.engine.pack_format import (
    FILE_HEADER_BYTES,
    RECORD_HEADER_BYTES,
    RECORD_MAGIC_BYTES,
    RecordHead,
    checksum_of,
    decode_file_header,
    decode_record_head,
    encode_file_header,
    seed_of,
    verify_head,
)
from objstore.runtime.disk import Buffer, Disk, File

DIRECTORY = "packs"
OPEN_PACKS = 256  # file descriptors kept for reading
_WINDOW_BYTES = 1024 * 1024


@runtime_checkable
class CachedFile(Protocol):
    """A file that can tell whether bytes are in memory already."""

    def pread_cached(self, length: int, offset: int) -> bytes | None:
        """The bytes if no disk access is needed, else None."""


_PACK_NAME = re.compile(r"[0-9a-f]{16}\.pack")  # nothing else in the directory is ours


def pack_name(pack: int) -> str:
    """Path of a pack."""
    return f"{DIRECTORY}/{pack:016x}.pack"


class FlushFailed(Exception):
    """A flush failed, for whatever reason: what is on the disk is not known, and no second flush would tell."""


@dataclass(frozen=True)
class Record:
    """One record as read; `intact` tells whether the payload matches its checksum."""

    offset: int
    head: RecordHead
    meta: bytes
    intact: bool

    @property
    def end(self) -> int:
        """Offset of the next record."""
        return self.offset + self.head.length

    @property
    def payload_offset(self) -> int:
        """Where the payload lies."""
        return self.offset + RECORD_HEADER_BYTES


class Packs:
    """The packs of one device."""

    def __init__(self, disk: Disk, seal: bytes, *, pack_size_bytes: int) -> None:
        self._disk = disk
        self._seal = seal
        self._pack_size_bytes = pack_size_bytes
        self._readers: dict[int, File] = {}
        self._cached: dict[int, Callable[[int, int], bytes | None]] = {}  # of the readers that can tell
        self._writer: File | None = None
        self._seed = (0, 0)  # of a pack
        self.sizes: dict[int, int] = {}  # pack -> bytes in use, flushed
        self.current = 0  # pack that is written, 0 before the first
        self.sequence = 0  # of the last flushed batch

    # -- writing -------------------------------------------------------------------------------------------------

    def next_place(self) -> tuple[int, int, int]:
        """(pack, offset, seed) where the next batch goes."""
        pack = self.current
        if pack == 0 or self.sizes[pack] >= self._pack_size_bytes:
            pack += 1
            return pack, FILE_HEADER_BYTES, self._seed_of(pack)
        return pack, self.sizes[pack], self._seed_of(pack)

    def _seed_of(self, pack: int) -> int:
        """The seed of the pack that is written, which each batch needs."""
        if self._seed[0] != pack:
            self._seed = pack, seed_of(pack, self._seal)
        return self._seed[1]

    def write(self, pack: int, offset: int, sequence: int, buffers: Sequence[Buffer]) -> None:
        """Append a batch and make it durable.  Blocks.

        Raises OSError before anything was flushed: the caller must `cut`, or stop for good.  Raises FlushFailed.
        """
        if pack != self.current:
            # After a failed attempt the file may be there already, with nothing in it that anybody was promised.
            file = self._disk.open(pack_name(pack), create=True, write=True)
            file.truncate(0)
            file.pwrite([encode_file_header(pack, self._seal, sequence), *buffers], 0)
            self._flush(file)
            try:
                self._disk.sync_directory(DIRECTORY)
            except OSError as failure:
                raise FlushFailed(f"the name of pack {pack} cannot be flushed: {failure!r}") from failure
            self._writer = file
            return
        assert self._writer is not None
        self._writer.pwrite(buffers, offset)
        self._flush(self._writer)

    @staticmethod
    def _flush(file: File) -> None:
        try:
            file.datasync()
        except OSError as failure:
            raise FlushFailed(f"a pack cannot be flushed: {failure!r}") from failure

    def wrote(self, pack: int, end: int, sequence: int) -> None:
        """A batch is durable."""
        self.sizes[pack] = end
        self.current = pack
        self.sequence = sequence

    def cut(self, pack: int) -> None:
        """Undo a batch that was not flushed, so that nothing of it can be replayed.  Blocks.  Raises OSError."""
        if pack != self.current:
            if self._disk.exists(pack_name(pack)):
                self._disk.unlink(pack_name(pack))
            return
        assert self._writer is not None
        self._writer.truncate(self.sizes[pack])

    # -- reading -------------------------------------------------------------------------------------------------

    def file(self, pack: int) -> File:
        """A pack for reading; it stays readable while it is held.  Raises OSError."""
        file = self._readers.get(pack)
        if file is None:
            file = self._disk.open(pack_name(pack))
            if len(self._readers) >= OPEN_PACKS:
                self._close(next(iter(self._readers)))
            self._readers[pack] = file
            if isinstance(file, CachedFile):
                self._cached[pack] = file.pread_cached
        return file

    def read_cached(self, pack: int, offset: int, length: int) -> bytes | None:
        """Bytes that need no disk access, or None; never blocks for long."""
        read = self._cached.get(pack)
        return None if read is None else read(length, offset)

    def records(self, pack: int, start: int, end: int, *, payloads: bool = True) -> Iterator[Record | int]:
        """Records from `start` on; an int is the offset of a bad one, and the last thing yielded.  Blocks.

        Without `payloads` they are not read, and `intact` is always true.
        """
        return iter_records(self.file(pack), start, end, seed_of(pack, self._seal), payloads=payloads)

    def is_valid(self, pack: int, offset: int, raw_head: bytes, meta: bytes) -> bool:
        """Whether a record's header and meta were written at this place of this pack."""
        return verify_head(raw_head, meta, seed_of(pack, self._seal) + offset)

    def find_record(self, pack: int, start: int, end: int) -> Record | None:
        """The first valid record at or after `start`, wherever it begins.  Blocks."""
        return find_record(self.file(pack), start, end, seed_of(pack, self._seal))

    def header(self, pack: int) -> int | None:
        """The sequence in a pack's header, None when the header is bad.  Blocks."""
        return decode_file_header(self.file(pack).pread(FILE_HEADER_BYTES, 0), pack, self._seal)

    def mend_header(self, pack: int) -> bool:
        """Write a damaged header again; False when no record of the pack is good.  Blocks.  Raises OSError.

        Any good record says what the header said: its checksum proves pack and device.  What rotted next to the header may
        have been dead for long, so the first record need not be good for the pack to be needed.
        """
        first = self.find_record(pack, FILE_HEADER_BYTES, self.size_on_disk(pack))
        if first is None:
            return False
        file = self._disk.open(pack_name(pack), write=True)
        try:
            file.pwrite([encode_file_header(pack, self._seal, first.head.sequence)], 0)
            file.datasync()
        finally:
            file.close()
        return True

    # -- the set -------------------------------------------------------------------------------------------------

    def list(self) -> list[int]:
        """Packs on disk, ascending.  Blocks."""
        names = self._disk.list(DIRECTORY) if self._disk.exists(DIRECTORY) else []
        return [int(name[:16], 16) for name in names if _PACK_NAME.fullmatch(name)]

    def closed(self) -> None:
        """Forget what was found, before it is looked for again."""
        self.sizes = {}
        self.current = 0
        self.sequence = 0

    def opened(self, sizes: dict[int, int], sequence: int) -> None:
        """Set what recovery found; the last pack goes on being written.  Blocks."""
        self.sizes = sizes
        self.sequence = sequence
        self.current = max(sizes, default=0)
        if self.current:
            self._writer = self._disk.open(pack_name(self.current), write=True)

    def secure(self, position_pack: int, offset: int) -> None:
        """Make durable what the last process may have left unflushed: the last batch, and the names of packs.  Blocks.

        A process that was killed between its write and its flush leaves bytes that can be read and are not on the disk.  So
        does a flush that failed, and then another flush does nothing, since the kernel takes the pages for clean: the bytes
        are written again first.  `position_pack`, `offset`: where the index goes on.  Raises OSError.
        """
        ids = self.list()
        if not ids:
            return
        pack = ids[-1]
        start = offset if pack == position_pack else FILE_HEADER_BYTES
        begin, end, sequence = start, start, -1
        for record in self.records(pack, start, self.size_on_disk(pack), payloads=False):
            if isinstance(record, int):
                break
            if record.head.sequence != sequence:
                begin, sequence = record.offset, record.head.sequence
            end = record.end
        file = self._disk.open(pack_name(pack), write=True)
        try:
            for start, stop in ((0, FILE_HEADER_BYTES), (begin, end)):
                if stop > start:
                    file.pwrite([file.pread(stop - start, start)], start)
            file.datasync()
        finally:
            file.close()
        self._disk.sync_directory(DIRECTORY)

    def trim(self, pack: int, size: int) -> None:
        """Cut a torn tail durably.  Blocks."""
        file = self._disk.open(pack_name(pack), write=True)
        file.truncate(size)
        file.datasync()
        file.close()

    def forget(self, pack: int) -> None:
        """Stop using a pack."""
        assert pack != self.current
        self._close(pack)
        self.sizes.pop(pack, None)

    def _close(self, pack: int) -> None:
        # Only forgotten: the descriptor is closed with the last reference, which a reader may hold.
        self._readers.pop(pack, None)
        self._cached.pop(pack, None)

    def delete(self, pack: int) -> None:
        """Remove the file durably, also one that was removed before and not durably.  Blocks.  Raises OSError."""
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(pack_name(pack))
        self._disk.sync_directory(DIRECTORY)

    def size_on_disk(self, pack: int) -> int:
        """Length of the file.  Blocks."""
        return self.file(pack).size()


class _Window:
    """Reads a file forward in large pieces."""

    def __init__(self, file: File, end: int) -> None:
        self._file = file
        self._end = end
        self._at = 0
        self._data = b""

    def read(self, offset: int, length: int) -> bytes:
        skip = offset - self._at
        if skip < 0 or skip + length > len(self._data):
            self._at = offset
            self._data = self._file.pread(min(max(length, _WINDOW_BYTES), max(self._end - offset, 0)), offset)
            skip = 0
        return self._data[skip : skip + length]


def _read_record(window: _Window, offset: int, end: int, seed: int, *, payloads: bool) -> Record | None:
    raw = window.read(offset, RECORD_HEADER_BYTES)
    head = decode_record_head(raw)
    if head is None or offset + head.length > end:
        return None
    intact = True
    if payloads and head.payload_length:
        payload = window.read(offset + RECORD_HEADER_BYTES, head.payload_length)
        intact = checksum_of(payload) == head.payload_checksum
    meta = window.read(offset + RECORD_HEADER_BYTES + head.payload_length, head.meta_length)
    if len(meta) != head.meta_length or not verify_head(raw, meta, seed + offset):
        return None
    return Record(offset, head, meta, intact)


def iter_records(file: File, start: int, end: int, seed: int, *, payloads: bool) -> Iterator[Record | int]:
    """See Packs.records."""
    window = _Window(file, end)
    offset = start
    while offset < end:
        record = _read_record(window, offset, end, seed, payloads=payloads)
        if record is None:
            yield offset
            return
        yield record
        offset = record.end


def find_record(file: File, start: int, end: int, seed: int) -> Record | None:
    """See Packs.find_record."""
    scan = _Window(file, end)
    window = _Window(file, end)
    offset = start
    while offset < end:
        data = scan.read(offset, min(_WINDOW_BYTES, end - offset))
        at = data.find(RECORD_MAGIC_BYTES)
        if at < 0:
            if len(data) <= len(RECORD_MAGIC_BYTES):
                return None
            offset += len(data) - len(RECORD_MAGIC_BYTES) + 1
            continue
        record = _read_record(window, offset + at, end, seed, payloads=True)
        if record is not None:
            return record
        offset += at + 1
    return None
