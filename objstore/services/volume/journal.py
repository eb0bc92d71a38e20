"""The journal of one attached volume: what was written and is not yet in the store, on the local disk.

Records are gathered in memory.  `spill` hands them to the system at once, or `handed` in a thread: from then on they survive the end of this
process, as an answered write must, since its writer lives on and may flush it through the next process.  `flush` flushes for everybody who
waits, in that thread.  Segments whose records are all in the store are removed.  After a failed flush nothing is known about the disk: the journal refuses from then on.
Only a journal without gaps counts, behind what the store has: a segment is begun when the one before is flushed, so that a bad record in any
but the last is damage.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from objstore.errors import DamagedFile, Unavailable
from objstore.runtime.disk import Disk, File
from objstore.runtime.tasks import TaskOwner, Threads
from objstore.services.volume.journal_format import (
    RECORD_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    Record,
    Segment,
    decode_records,
    decode_segment,
    encode_record,
    encode_segment,
    seed_of,
)

SEGMENT_BYTES = 64 * 1024 * 1024
GATHERED_BYTES = 1024 * 1024  # written to the file without waiting to be asked
SPILL_BYTES = 256 * 1024  # the longest that the event loop itself copies into the system's cache
PREFIX = "journal-"
T = TypeVar("T")
BEGUN = "begun"  # a segment that has no name yet: nobody reads it


class JournalFailed(Unavailable):
    """The local disk failed under the journal: nothing more can be acknowledged on it."""


@dataclass
class _Open:
    """The segment that is being written."""

    name: str
    file: File
    size: int


def read_journal(
    disk: Disk, replay: Callable[[Record], None], *, volume: bytes, of: bytes, after: int, until: int = -1
) -> tuple[bytes, int] | None:  # fmt: skip
    """Give every good record to `replay`; (journal's id, the last good record's number), None where there is none.

    Blocks.  What lies behind the last good record is cut off, durably.  Of the journal `of` the store has what comes up to `after`,
    which is left out; any other journal is given whole, and may have gaps.

    With `until` the journal was read before and a segment was begun: nothing is cut off.  Raises DamagedFile.
    """
    names = [name for name in disk.list(".") if name.startswith(PREFIX)]
    journal, last = b"", -1
    for position, name in enumerate(names):
        file = disk.open(name, write=True)
        try:
            data = file.pread(file.size(), 0)
            header = decode_segment(data[:SEGMENT_HEADER_BYTES])
            if header is not None and 0 <= until < header.first:
                break
            if header is None:
                if position + 1 < len(names) or len(data) > SEGMENT_HEADER_BYTES:
                    raise DamagedFile(f"the journal's segment {name} has no good header, but others or records follow it")
                continue
            if header.volume != volume or (journal and header.journal != journal):
                raise DamagedFile(f"the journal's segment {name} does not belong to what comes before it")
            # Segments are removed once the store has what they hold; a power cut may bring any of those back.
            if header.first != last + 1 and header.first > after + 1 and header.journal == of:
                raise DamagedFile(
                    f"the journal's segment {name} begins at record {header.first}: those after {max(last, after)} are missing"
                )
            journal, last, end, new = header.journal, header.first - 1, 0, 0
            for record, behind in decode_records(memoryview(data)[SEGMENT_HEADER_BYTES:], seed_of(journal), header.first):
                last, end = record.number, behind
                if record.number > after or journal != of:
                    replay(record)
                else:
                    new = behind
            if position + 1 == len(names) and until < 0:
                _settle(file, data, SEGMENT_HEADER_BYTES + new, SEGMENT_HEADER_BYTES + end)
        finally:
            file.close()
    return (journal, last) if journal else None


def _settle(file: File, data: bytes, new: int, end: int) -> None:
    """Make durable what follows will rely on: the good records of the last segment up to `end`.  The store has those before `new`."""
    if end < len(data):
        file.truncate(end)
    # A process that was killed may have left records that the disk does not have yet.  After a flush that failed the system takes them
    # for flushed, and the next flush does nothing: they are written anew.
    file.pwrite([memoryview(data)[new:end]], new)
    file.datasync()


def clear_journal(disk: Disk, *, keep_as: str = "") -> None:
    """Remove a journal, or move it into the directory `keep_as`, where nobody reads it by itself.  Blocks."""
    names = [name for name in disk.list(".") if name.startswith(PREFIX)]
    if keep_as and names:
        disk.make_directory(keep_as)
        for name in names:
            disk.rename(name, f"{keep_as}/{name}")
        disk.sync_directory(keep_as)  # before the other directory: a power cut in between leaves both names, not none
    for name in disk.list("."):
        if name.startswith(PREFIX) or name == BEGUN:
            disk.unlink(name)
    disk.sync_directory(".")


class Journal:
    """Appends records.  `position` is the number of the last one, `durable` of the last that survives a power cut.

    `_lock` is held by who writes, `_syncing` by who flushes; both use the one thread.
    """

    def __init__(self, disk: Disk, threads: Threads, tasks: TaskOwner, *, journal: bytes, volume: bytes, position: int) -> None:
        self.id = journal
        self.position = self.durable = self._handed = position
        self.failure: JournalFailed | None = None
        self._volume = volume
        self._seed = seed_of(journal)
        self._disk = disk
        self._threads = threads
        self._tasks = tasks
        self._gathered: list[bytes] = []
        self.gathered_bytes = 0
        self._lock = asyncio.Lock()
        self._syncing = asyncio.Lock()
        self._writing: asyncio.Task[None] | None = None
        self._open: _Open | None = None
        self._full: list[tuple[str, int, int]] = []  # (name, last record's number, bytes) of segments that are complete
        self.size_bytes = 0  # on disk

    @staticmethod
    def start(disk: Disk, journal: "Journal") -> None:
        """Begin a segment, durably; blocks.  What was there before is counted until it is released."""
        for name in disk.list("."):
            if name.startswith(PREFIX):
                file = disk.open(name)
                journal._full.append((name, journal.position, file.size()))
                journal.size_bytes += file.size()
                file.close()
        journal._begin()

    def append(self, kind: int, offset: int, length: int, payload: bytes = b"") -> int:
        """Note a change; its number.  Nothing is durable before `flush`.  Raises JournalFailed."""
        if self.failure is not None:
            raise self.failure
        self.position += 1
        self._gathered.append(encode_record(self._seed, kind, self.position, offset, length, payload))
        self.gathered_bytes += RECORD_HEADER_BYTES + len(payload)
        if payload:
            self._gathered.append(payload)
        if self.gathered_bytes >= GATHERED_BYTES and self._writing is None:
            self._writing = self._tasks.spawn(self._write_out(), name="journal")
        return self.position

    def spill(self) -> bool:
        """Hand everything to the system now; whether that was possible without waiting.  Raises JournalFailed."""
        # While a flush is under way a write can wait for it in the system; the event loop must not.
        return not self._lock.locked() and not self._syncing.locked() and self._write_at_once()

    async def handed(self) -> None:
        """Returns when everything appended before the call survives the end of this process.  Raises JournalFailed."""
        await asyncio.shield(self._tasks.spawn(self._hand(self.position), name="journal write"))

    async def flush(self) -> None:
        """Returns when everything appended before the call is durable.  Raises JournalFailed."""
        # A caller that is cancelled must not leave a thread at the file while another takes its turn.
        await asyncio.shield(self._tasks.spawn(self._flush(self.position), name="journal flush"))

    async def _flush(self, target: int) -> None:
        await self._hand(target)
        async with self._syncing:
            if self.durable < target:
                upto = self._handed
                await self._in_thread(self._datasync)
                self.durable = max(self.durable, upto)

    async def _hand(self, target: int) -> None:
        async with self._lock:
            if self._handed < target and (self._syncing.locked() or not self._write_at_once()):
                await self._write_in_thread()

    async def _write_out(self) -> None:
        try:
            async with self._lock:
                if self.gathered_bytes:
                    await self._write_in_thread()
        except JournalFailed:
            pass  # kept in `failure`: whoever appends or flushes next hears of it
        finally:
            self._writing = None

    def _write_at_once(self) -> bool:
        if self.failure is not None:
            raise self.failure
        current = self._open
        assert current is not None
        if self.gathered_bytes > SPILL_BYTES or current.size + self.gathered_bytes >= SEGMENT_BYTES:
            return False
        if self._gathered:
            try:
                self._write(self._take())
            except OSError as failure:
                raise self._fail(failure) from failure
            self._handed = self.position
        return True

    async def _write_in_thread(self) -> None:
        upto = self.position
        if await self._in_thread(self._write_and_turn, self._take(), upto):
            self.durable = max(self.durable, upto)
        self._handed = upto

    def _take(self) -> list[bytes]:
        buffers, self._gathered, self.gathered_bytes = self._gathered, [], 0
        return buffers

    async def _in_thread(self, call: Callable[..., T], *arguments: Any) -> T:
        if self.failure is not None:
            raise self.failure
        try:
            return await self._threads.run(call, *arguments)
        except OSError as failure:
            raise self._fail(failure) from failure
        except BaseException as failure:
            # What was gathered may be on the disk or not: a record behind it could come after a gap.
            self.failure = JournalFailed(f"a write of the journal broke off: {failure!r}")
            raise

    def _fail(self, failure: OSError) -> JournalFailed:
        self.failure = JournalFailed(f"the journal cannot be written: {failure}; what is in memory still goes to the store")
        return self.failure

    def _write(self, buffers: list[bytes]) -> _Open:
        current = self._open
        assert current is not None
        size = current.file.pwrite(buffers, current.size)
        current.size += size
        self.size_bytes += size
        return current

    def _write_and_turn(self, buffers: list[bytes], upto: int) -> bool:
        """Write; where the segment is full, flush it and begin the next.  Whether all of it is durable now."""
        current = self._write(buffers)
        if current.size < SEGMENT_BYTES:
            return False
        current.file.datasync()
        current.file.close()
        self._full.append((current.name, upto, current.size))
        self._begin(upto)
        return True

    def _datasync(self) -> None:
        assert self._open is not None
        self._open.file.datasync()

    def _begin(self, upto: int | None = None) -> None:
        first = (self.position if upto is None else upto) + 1
        name = f"{PREFIX}{first:016x}"
        with contextlib.suppress(FileNotFoundError):
            self._disk.unlink(BEGUN)
        file = self._disk.open(BEGUN, create=True, exclusive=True)
        file.pwrite([encode_segment(Segment(self.id, self._volume, first))], 0)
        file.datasync()
        # A segment of that name can only be one that a crash left without any record.  It may be all there is of the journal, by
        # which this host shows that the volume is its own: so it goes when the other is whole.
        self._disk.rename(BEGUN, name)
        self._full = [entry for entry in self._full if entry[0] != name]
        self._disk.sync_directory(".")
        self._open = _Open(name, file, SEGMENT_HEADER_BYTES)

    async def release(self, position: int) -> None:
        """Everything up to this record is in the store: remove the segments that hold nothing else."""
        async with self._lock:
            gone = [entry for entry in self._full if entry[1] <= position]
            if gone:
                self._full = [entry for entry in self._full if entry[1] > position]
                with contextlib.suppress(OSError):  # one that stays is found when the volume is attached next
                    await self._threads.run(self._unlink, [name for name, _, _ in gone])
                self.size_bytes -= sum(size for _, _, size in gone)

    def _unlink(self, names: list[str]) -> None:
        for name in names:
            self._disk.unlink(name)

    async def aclose(self) -> None:
        """Close the file; nothing is flushed."""
        async with self._lock, self._syncing:
            if self._open is not None:
                self._open.file.close()


class Unkept:
    """No journal: for `durability = "store"`, where a flush waits for the store, nothing on the local disk is promised."""

    id = b""
    failure = None
    gathered_bytes = 0
    size_bytes = 0

    def __init__(self) -> None:
        self.position = self.durable = 0

    def append(self, kind: int, offset: int, length: int, payload: bytes = b"") -> int:
        """Count a change."""
        self.position += 1
        return self.position

    def spill(self) -> bool:
        """There is nothing to hand to the system."""
        return True

    async def handed(self) -> None:
        """There is nothing to hand to the system."""

    async def flush(self) -> None:
        """There is nothing to flush."""

    async def release(self, position: int) -> None:
        """There is nothing to remove."""

    async def aclose(self) -> None:
        """There is nothing to close."""
