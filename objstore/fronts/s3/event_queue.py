"""Events of one target on disk between the acknowledgement of a write and their delivery.

Each target has a queue in a directory of its own, which is emptied in order: so a target that is away holds up, and fills, its own
alone.  Segments are append-only files of entries: length (4 bytes, little-endian), XXH3-64 of the payload (8 bytes), payload (MessagePack
of target, time, body).  An entry is added by one write and one flush, shared by all that wait.  `done` holds (segment, offset)
up to which all is delivered, replaced by rename; behind a crash reading begins there, so what was delivered shortly before may
be delivered again, and nothing that was added is lost.  A torn entry ends its segment: nobody was told that it was added.
"""

import asyncio
import struct
from collections import deque

import msgspec
import xxhash

from objstore.errors import TooBusy
from objstore.runtime.disk import Disk, File
from objstore.runtime.tasks import TaskOwner, Threads

SEGMENT_BYTES = 8 * 1024 * 1024
ENTRY_LIMIT_BYTES = 256 * 1024
_HEAD = struct.Struct("<IQ")
_DONE = "done"

Place = tuple[int, int]  # segment, offset of the entry's end


class Pending(msgspec.Struct, array_like=True):
    """An event for one target."""

    target: str
    time_us: int
    body: bytes


class Entry(msgspec.Struct):
    """A pending event with its place."""

    place: Place
    pending: Pending
    size: int = 0  # on disk


_decode = msgspec.msgpack.Decoder(Pending).decode


class EventQueue:
    """Adds durably, remembers what is delivered.  `open` gives what an earlier run left behind."""

    def __init__(self, disk: Disk, threads: Threads, *, limit_bytes: int, directory: str = ".") -> None:
        self.bytes_held = 0  # on disk; what is delivered of the oldest segment comes on top
        self._disk = disk
        self._directory = directory
        self._threads = threads
        self._limit_bytes = limit_bytes
        self._tasks = TaskOwner("event queue")
        self._segment = 0
        self._offset = 0
        self._file: File | None = None
        self._waiting: list[tuple[bytes, Pending, asyncio.Future[Entry]]] = []
        self._flushing = False
        self._open: deque[Place] = deque()  # places in order, delivered ones at the front taken away
        self._delivered: set[Place] = set()
        self._done: Place = (0, 0)
        self._done_written: Place = (0, 0)

    async def open(self) -> list[Entry]:
        """What is to be delivered still, oldest first.  Raises OSError."""
        found = await self._threads.run(self._recover)
        self._open.extend(entry.place for entry in found)
        self.bytes_held = sum(entry.size for entry in found)
        return found

    async def aclose(self) -> None:
        """Keep how far delivery came, and close."""
        await self._tasks.drain()
        await self._threads.run(self._write_done)
        if self._file is not None:
            self._file.close()

    async def discard(self) -> None:
        """Drop what an earlier run left, all of it; nothing must have been added."""
        await self._threads.run(self._unlink_all)

    async def add(self, pending: Pending, *, taken_over: bool = False) -> Entry:
        """Returns when the event is durable.  Raises TooBusy when too much waits for delivery, unless it was accepted before; OSError."""
        payload = msgspec.msgpack.encode(pending)
        assert len(payload) <= ENTRY_LIMIT_BYTES
        data = _HEAD.pack(len(payload), xxhash.xxh3_64_intdigest(payload)) + payload
        if self.bytes_held + len(data) > self._limit_bytes and not taken_over:
            raise TooBusy(f"too many events wait for the target {pending.target!r}; the write took effect, its event is not kept")
        self.bytes_held += len(data)
        future: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._waiting.append((data, pending, future))
        if not self._flushing:
            self._flushing = True
            self._tasks.spawn(self._flush(), name="flush")
        return await asyncio.shield(future)

    def delivered(self, entry: Entry) -> None:
        """An event reached its target, or was given up."""
        self.bytes_held -= entry.size
        self._delivered.add(entry.place)
        while self._open and self._open[0] in self._delivered:
            self._done = self._open.popleft()
            self._delivered.discard(self._done)

    async def save(self) -> None:
        """Keep how far delivery came, and drop segments that are done with; called now and then."""
        if self._done != self._done_written:
            await self._threads.run(self._write_done)

    # -- in threads, one at a time ----------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                start, segment = await self._threads.run(self._append, [data for data, _, _ in batch])
            except OSError as failure:
                self._file = None  # its state is unknown: the next batch begins a new one
                for data, _, future in batch:
                    self.bytes_held -= len(data)
                    if not future.done():
                        future.set_exception(TooBusy(f"the event could not be kept: {failure.strerror}"))
                continue
            for data, pending, future in batch:
                start += len(data)
                self._open.append((segment, start))
                if not future.done():
                    future.set_result(Entry((segment, start), pending, len(data)))
        self._flushing = False

    def _append(self, pieces: list[bytes]) -> tuple[int, int]:
        if self._file is None or self._offset >= SEGMENT_BYTES:
            if self._file is not None:
                self._file.close()
            self._segment += 1
            self._offset = 0
            self._file = self._disk.open(self._at(_name(self._segment)), create=True, exclusive=True, write=True)
            self._disk.sync_directory(self._directory)
        start = self._offset
        self._offset += self._file.pwrite(pieces, start)
        self._file.datasync()
        return start, self._segment

    def _write_done(self) -> None:
        done = self._done
        file = self._disk.open(self._at(_DONE + ".new"), create=True, write=True)
        try:
            file.truncate(0)
            file.pwrite([struct.pack("<QQ", *done)], 0)
            file.datasync()
        finally:
            file.close()
        self._disk.rename(self._at(_DONE + ".new"), self._at(_DONE))
        self._disk.sync_directory(self._directory)
        self._done_written = done
        for name in self._segments():
            if int(name[:16]) < done[0]:
                self._disk.unlink(self._at(name))

    def _unlink_all(self) -> None:
        for name in (*self._segments(), _DONE):
            if self._disk.exists(self._at(name)):
                self._disk.unlink(self._at(name))

    def _recover(self) -> list[Entry]:
        if self._directory != ".":
            self._disk.make_directory(self._directory)
            self._disk.sync_directory(".")
        if self._disk.exists(self._at(_DONE)):
            self._done = self._done_written = _parse_done(self._read(_DONE))
        found: list[Entry] = []
        for name in self._segments():
            number = int(name[:16])
            self._segment = max(self._segment, number)
            if number >= self._done[0]:
                offset = self._done[1] if number == self._done[0] else 0
                found += [Entry((number, end), pending, size) for end, pending, size in _entries(self._read(name), offset)]
        return found

    def _segments(self) -> list[str]:
        return [name for name in self._disk.list(self._directory) if name.endswith(".events") and name[:16].isdigit()]

    def _at(self, name: str) -> str:
        return name if self._directory == "." else f"{self._directory}/{name}"

    def _read(self, name: str) -> bytes:
        file = self._disk.open(self._at(name))
        try:
            return file.pread(file.size(), 0)
        finally:
            file.close()


def _name(segment: int) -> str:
    return f"{segment:016d}.events"


def _parse_done(data: bytes) -> Place:
    if len(data) != 16:
        return (0, 0)
    segment, offset = struct.unpack("<QQ", data)
    return (segment, offset)


def _entries(data: bytes, offset: int) -> list[tuple[int, Pending, int]]:
    found = []
    while offset + _HEAD.size <= len(data):
        length, digest = _HEAD.unpack_from(data, offset)
        payload = data[offset + _HEAD.size : offset + _HEAD.size + length]
        if len(payload) != length or xxhash.xxh3_64_intdigest(payload) != digest:
            break
        offset += _HEAD.size + length
        found.append((offset, _decode(payload), _HEAD.size + length))
    return found
