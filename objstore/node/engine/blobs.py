"""A file per large payload: staged while it streams in, durable and named before any row names it.

Order of a write: unlinked temporary file, bytes, footer, datasync, link, flush of the directory.  So a blob that has a
name is complete.  Blocking work runs in the engine's threads.
"""

import asyncio
import posixpath
import re
import threading
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from typing import Any, TypeVar

import xxhash

from objstore.errors import DamagedBody, DamagedFile, DeviceFull, DeviceOffline, IncompleteBody, TooBusy
from objstore.node.engine.api import StagedBody
from objstore.node.engine.ballast import Ballast
from objstore.node.engine.blob_format import TRAILER_BYTES, Trailer, decode_trailer, encode_footer, verify_footer
from objstore.node.engine.faults import is_full, is_shortage
from objstore.node.engine.settings import EngineSettings
from objstore.runtime.clock import Clock
from objstore.runtime.disk import Disk, File
from objstore.runtime.tasks import TaskOwner, Threads

T = TypeVar("T")

DIRECTORY = "blobs"
QUARANTINE = "quarantine"


_BLOB_NAME = re.compile(r"[0-9a-f]{32}")


def blob_name(blob: bytes) -> str:
    """Path of a blob."""
    name = blob.hex()
    return f"{DIRECTORY}/{name[:2]}/{name}"


def blob_of_name(name: str) -> bytes | None:
    """The blob whose file has this name; None for what is not ours."""
    return bytes.fromhex(name) if _BLOB_NAME.fullmatch(name) else None


class BlobReader:
    """An open blob whose footer was verified; it stays readable when the file is unlinked."""

    def __init__(self, file: File, blob: bytes) -> None:
        """Read the footer.  Blocks.  Raises DamagedFile, OSError."""
        size = file.size()
        tail = file.pread(TRAILER_BYTES, max(size - TRAILER_BYTES, 0))
        self.trailer = decode_trailer(tail, blob, size)
        self._table = file.pread(self.trailer.table_bytes, self.trailer.size)
        verify_footer(self._table, tail, blob)
        self._file = file
        self._lock = threading.Lock()  # over the next two: reads run in threads and outlive whoever asked for them
        self._reading = 0
        self._closed = False
        self.ahead: tuple[tuple[int, int], bytes] | None = None  # a range of blocks that was read with the opening

    def read(self, first: int, last: int) -> bytes:
        """Blocks first to last, verified.  Blocks.  Raises DamagedBody, TooBusy when it was closed."""
        with self._lock:
            if self._closed:
                raise TooBusy("the blob was closed before it was read")
            self._reading += 1
        try:
            return self._read(first, last)
        finally:
            with self._lock:
                self._reading -= 1
                if self._closed and not self._reading:
                    self._file.close()

    def close(self) -> None:
        """Give the file back, now or when the read that runs has ended: its descriptor must not become another file's meanwhile."""
        with self._lock:
            self._closed = True
            if not self._reading:
                self._file.close()

    def _read(self, first: int, last: int) -> bytes:
        trailer = self.trailer
        block_size = trailer.block_size_bytes
        start = first * block_size
        length = min((last + 1) * block_size, trailer.size) - start
        try:
            data = self._file.pread(length, start)
        except OSError as failure:
            if is_shortage(failure):
                raise TooBusy(f"a blob cannot be read now: {failure!r}") from failure
            raise DamagedBody(f"a blob cannot be read: {failure!r}", blob=trailer.blob.hex()) from failure
        if len(data) != length:
            raise DamagedBody("a blob is shorter than its trailer says", blob=trailer.blob.hex())
        view = memoryview(data)
        table = self._table
        for block in range(first, last + 1):
            at = (block - first) * block_size
            if xxhash.xxh3_64_intdigest(view[at : at + block_size]) != int.from_bytes(table[8 * block : 8 * block + 8], "little"):
                raise DamagedBody("a block of a blob does not match its checksum", blob=trailer.blob.hex(), block=block)
        return data


class Blobs:
    """The blobs of one device."""

    def __init__(self, disk: Disk, clock: Clock, threads: Threads, tasks: TaskOwner, ballast: Ballast, settings: EngineSettings) -> None:
        self._disk = disk
        self._clock = clock
        self._threads = threads
        self._tasks = tasks
        self._ballast = ballast
        self._settings = settings
        self._directories: set[str] = set()
        self._lock = threading.Lock()  # makes a directory and flushes its parent as one step
        self._doomed: dict[bytes, asyncio.Future[None]] = {}
        self.present: dict[bytes, None] = {}  # complete on disk and named by no row yet, as far as this process knows
        self.quarantined = 0  # files moved aside, at start and since
        self.failed: Callable[[OSError], None] = lambda _: None  # told of write errors other than a full disk

    # -- presence --------------------------------------------------------------------------------------------------

    async def check(self, blob: bytes) -> bool:
        """Look whether a complete blob is on disk; if so it is `present` from now on."""
        while blob in self._doomed:
            await asyncio.shield(self._doomed[blob])
        if await self.guarded(self._is_complete, blob):
            if blob in self._doomed:
                return False
            self.present[blob] = None
            return True
        return False

    def _is_complete(self, blob: bytes) -> bool:
        try:
            BlobReader(self._disk.open(blob_name(blob)), blob)
            # A process that was killed after naming it may have left the name unflushed.
            self._disk.sync_directory(posixpath.dirname(blob_name(blob)))
        except (DamagedFile, OSError) as failure:
            if is_shortage(failure):
                raise
            return False
        return True

    def doom(self, blob: bytes) -> None:
        """Decide that an unnamed blob goes: from now on no row may name it before it was staged again."""
        self.present.pop(blob, None)
        self._doomed[blob] = asyncio.get_running_loop().create_future()

    def is_doomed(self, blob: bytes) -> bool:
        """Whether somebody is removing it already."""
        return blob in self._doomed

    async def remove_doomed(self, blobs: Sequence[bytes]) -> int:
        """Unlink doomed blobs; bytes freed.  Raises OSError."""
        try:
            return await self._threads.run(self._unlink, blobs)
        finally:
            self.spare(blobs)

    def spare(self, blobs: Iterable[bytes]) -> None:
        """They are removed, or will not be."""
        for blob in blobs:
            self._doomed.pop(blob).set_result(None)

    def _unlink(self, blobs: Sequence[bytes]) -> int:
        freed = 0
        for blob in blobs:
            try:
                freed += self._size(blob)
                self._disk.unlink(blob_name(blob))
            except FileNotFoundError:
                continue
            except IsADirectoryError:
                self._move_aside(blob)  # somebody put it there: it is not ours to empty
        return freed

    def _size(self, blob: bytes) -> int:
        try:
            return self._disk.open(blob_name(blob)).size()
        except FileNotFoundError:
            raise
        except OSError as failure:
            if is_shortage(failure):
                raise
            return 0  # a link, a pipe, a file of somebody else: it goes all the same, and frees nothing of ours

    # -- reading ---------------------------------------------------------------------------------------------------

    async def open(self, blob: bytes, offset: int = 0, length: int = 0) -> BlobReader:
        """Open for reading; the beginning of `length` bytes (-1: to the end) from `offset` on is read on the same way.

        Raises DamagedBody when the blob is missing or bad: a row names it.
        """
        try:
            return await self._threads.run(self._open_at, blob, offset, length)
        except FileNotFoundError as failure:
            raise DamagedBody("a blob that a row names is missing", blob=blob.hex()) from failure
        except (DamagedFile, OSError) as failure:
            if is_shortage(failure):
                raise TooBusy(f"a blob cannot be opened now: {failure!r}") from failure
            raise DamagedBody(f"a blob cannot be opened: {failure}", blob=blob.hex()) from failure

    def _open(self, blob: bytes) -> BlobReader:
        return BlobReader(self._disk.open(blob_name(blob)), blob)

    def _open_at(self, blob: bytes, offset: int, length: int) -> BlobReader:
        reader = self._open(blob)
        size = reader.trailer.size
        ranges = self._ranges(reader, offset, size if length < 0 else min(offset + length, size))
        if ranges:
            reader.ahead = (ranges[0], reader.read(*ranges[0]))
        return reader

    def _ranges(self, reader: BlobReader, offset: int, end: int) -> list[tuple[int, int]]:
        """First and last block of each read that bytes from `offset` to before `end` need."""
        block_size = reader.trailer.block_size_bytes
        blocks = max(self._settings.read_bytes // block_size, 1)
        ranges = []
        position = offset
        while position < end:
            first = position // block_size
            last = min((end - 1) // block_size, first + blocks - 1)
            ranges.append((first, last))
            position = (last + 1) * block_size
        return ranges

    async def chunks(self, reader: BlobReader, offset: int, length: int) -> AsyncGenerator[bytes | memoryview, None]:
        """Verified bytes in large pieces, the next one being read while one is consumed.  Raises DamagedBody.

        The reader is closed at the end, also of a download that breaks off: what a cancelled task leaves goes only with the collector.
        """
        block_size = reader.trailer.block_size_bytes
        end = offset + length
        ranges = self._ranges(reader, offset, end)
        ahead: asyncio.Task[bytes] | None = None
        try:
            for index, (first, last) in enumerate(ranges):
                if ahead is not None:
                    data = await ahead
                elif reader.ahead is not None and reader.ahead[0] == (first, last):
                    data = reader.ahead[1]
                else:
                    data = await self._threads.run(reader.read, first, last)
                ahead = reader.ahead = None
                if index + 1 < len(ranges):
                    ahead = self._tasks.spawn(self._threads.run(reader.read, *ranges[index + 1]), name="read ahead")
                start = first * block_size
                skip = max(offset - start, 0)
                stop = min(end - start, len(data))
                yield data if skip == 0 and stop == len(data) else memoryview(data)[skip:stop]
        finally:
            if ahead is not None:
                ahead.cancel()
            reader.close()

    # -- damage ----------------------------------------------------------------------------------------------------

    async def quarantine(self, blob: bytes) -> bool:
        """Move a damaged file aside; False when it is gone already."""
        moved = await self._threads.run(self._move_aside, blob)
        self.quarantined += moved
        return moved

    def _move_aside(self, blob: bytes) -> bool:
        self._disk.make_directory(QUARANTINE)
        name = blob.hex()
        number = sum(1 for other in self._disk.list(QUARANTINE) if other.startswith(name))
        try:
            self._disk.rename(blob_name(blob), f"{QUARANTINE}/{name}.{number}")
        except FileNotFoundError:
            return False
        self._disk.sync_directory(QUARANTINE)
        self._disk.sync_directory(f"{DIRECTORY}/{name[:2]}")
        return True

    def count_quarantine(self) -> int:
        """Files that were moved aside.  Blocks."""
        return len(self._disk.list(QUARANTINE)) if self._disk.exists(QUARANTINE) else 0

    # -- listing ---------------------------------------------------------------------------------------------------

    def list(self, fan_out: int) -> list[bytes]:
        """Blobs in one of the 256 directories.  Blocks."""
        directory = f"{DIRECTORY}/{fan_out:02x}"
        if not self._disk.exists(directory):
            return []
        return [blob for name in self._disk.list(directory) if (blob := blob_of_name(name)) is not None]

    def staged_us(self, blob: bytes) -> int | None:
        """When a blob was staged; None when it is gone, 0 when its footer is bad.  Blocks."""
        try:
            return self._open(blob).trailer.staged_us
        except FileNotFoundError:
            return None
        except DamagedFile:
            return 0

    # -- writing ---------------------------------------------------------------------------------------------------

    async def stage(self, blob: bytes, size: int) -> "BlobWriter":
        """Begin a blob of `size` bytes (-1: unknown).  Raises DeviceFull, DeviceOffline."""
        assert len(blob) == 16
        file = await self.guarded(self._create, blob, max(size, 0))
        return BlobWriter(self, file, blob, size, self._settings, self._tasks)

    def _create(self, blob: bytes, size: int) -> File:
        free = self._disk.usage()[1]
        if free - size < self._ballast.reserve_bytes:
            raise DeviceFull("the device has no room left for payloads", free_bytes=free)
        directory = blob_name(blob).rpartition("/")[0]
        with self._lock:
            if directory not in self._directories:
                self._disk.make_directory(directory)
                # A process that was killed after making it may have left its name unflushed.
                self._disk.sync_directory(DIRECTORY)
                self._directories.add(directory)
        return self._disk.create_unlinked(directory)

    async def guarded(self, call: Callable[..., T], *args: Any) -> T:
        """Run blocking work of a write.  Raises DeviceFull, TooBusy or DeviceOffline in place of OSError."""
        try:
            return await self._threads.run(call, *args)
        except OSError as failure:
            if is_full(failure):
                raise DeviceFull(f"no room for a blob: {failure!r}") from failure
            if is_shortage(failure):
                raise TooBusy(f"a blob cannot be written now: {failure!r}") from failure
            self.failed(failure)
            raise DeviceOffline(f"the device is out of service: {failure!r}") from failure

    async def named(self, blob: bytes, finish: Callable[[], T]) -> T:
        """Let `finish` (which blocks) make a blob complete, durable and named.  Raises DeviceFull, DeviceOffline."""
        while blob in self._doomed:
            await asyncio.shield(self._doomed[blob])
        result = await self.guarded(finish)
        self.present[blob] = None
        return result

    def link(self, file: File, trailer: Trailer, table: bytes) -> None:
        """Make a written blob durable and give it its name.  Blocks.  Raises OSError."""
        file.pwrite([encode_footer(trailer, table)], trailer.size)
        file.datasync()
        name = blob_name(trailer.blob)
        try:
            self._disk.link(file, name)
        except FileExistsError:
            if not self._is_same(trailer):
                self._move_aside(trailer.blob)
                self._disk.link(file, name)
        self._disk.sync_directory(name.rpartition("/")[0])

    def _is_same(self, trailer: Trailer) -> bool:
        """Whether the blob of that name on disk is intact and has the same bytes; read in full, since this is rare."""
        try:
            reader = self._open(trailer.blob)
            if (reader.trailer.size, reader.trailer.digest) != (trailer.size, trailer.digest):
                return False
            for block in range(reader.trailer.blocks):
                reader.read(block, block)
        except (DamagedFile, DamagedBody, OSError):
            return False
        return True

    def new_trailer(self, blob: bytes, size: int, digest: bytes) -> Trailer:
        """The trailer of a blob finished now."""
        return Trailer(self._settings.block_size_bytes, size, blob, digest, self._clock.wall_us())


class BlobWriter:
    """Receives one blob; implements StageWriter.

    A piece must not change after it was given: it is written behind the caller's back, without a copy.
    """

    def __init__(self, blobs: Blobs, file: File, blob: bytes, size: int, settings: EngineSettings, tasks: TaskOwner) -> None:
        self._blobs = blobs
        self._file = file
        self._blob = blob
        self._announced = size
        self._settings = settings
        self._tasks = tasks
        self._pieces: list[bytes | memoryview] = []
        self._waiting_bytes = 0
        self._running: asyncio.Task[Any] | None = None
        self._size = 0  # written
        self._whole = xxhash.xxh3_128()
        self._block = xxhash.xxh3_64()
        self._block_room = settings.block_size_bytes
        self._table = bytearray()

    async def write(self, piece: bytes | memoryview) -> None:
        """Take a piece; waits while too much is unwritten.  Raises DeviceFull, DeviceOffline."""
        self._pieces.append(piece)
        self._waiting_bytes += len(piece)
        if self._running is not None and self._running.done():
            self._reap()
        if self._running is None and self._waiting_bytes >= self._settings.stage_bytes and not self._is_end():
            self._start()
        while self._running is not None and self._waiting_bytes >= self._settings.stage_waiting_bytes:
            await asyncio.wait([self._running])
            self._reap()
            self._start()

    def _is_end(self) -> bool:
        """Whether what waits is all that is left: then `finish` writes it, on the same way through a thread."""
        return self._waiting_bytes <= self._settings.stage_bytes and self._size + self._waiting_bytes == self._announced

    def _start(self) -> None:
        pieces, self._pieces = self._pieces, []
        self._waiting_bytes = 0
        self._running = self._tasks.spawn(self._blobs.guarded(self._write, pieces), name="stage")

    def _reap(self) -> None:
        running, self._running = self._running, None
        if running is None:
            return
        failure = running.exception()
        if failure is not None:
            self._file.close()  # gives its room back at once
            raise failure

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        self._file.pwrite(pieces, self._size)
        for piece in pieces:
            self._size += len(piece)
            self._whole.update(piece)
            self._hash_blocks(memoryview(piece))

    def _hash_blocks(self, piece: memoryview) -> None:
        block_size = self._settings.block_size_bytes
        at = 0
        while at < len(piece):
            take = piece[at : at + self._block_room]
            at += len(take)
            if len(take) == block_size:
                self._table += xxhash.xxh3_64_intdigest(take).to_bytes(8, "little")
                continue
            self._block.update(take)
            self._block_room -= len(take)
            if self._block_room == 0:
                self._end_block()

    def _end_block(self) -> None:
        self._table += self._block.intdigest().to_bytes(8, "little")
        self._block.reset()
        self._block_room = self._settings.block_size_bytes

    async def _settle(self) -> None:
        if self._running is not None:
            await asyncio.wait([self._running])
            self._reap()

    async def finish(self) -> StagedBody:
        """Flush, link and flush the directory.  Raises IncompleteBody when the announced size did not come."""
        await self._settle()
        size = self._size + self._waiting_bytes
        if self._announced not in (-1, size):
            raise IncompleteBody("a blob is not of its announced size", size=size, announced=self._announced)
        # A task, so that `abort` can wait for it: a file must not be closed under the thread that names it.
        self._running = self._tasks.spawn(self._blobs.named(self._blob, self._finish), name="finish a blob")
        await asyncio.wait([self._running])
        running, self._running = self._running, None
        self._file.close()
        staged: StagedBody = running.result()
        return staged

    def _finish(self) -> StagedBody:
        self._write(self._pieces)
        self._pieces = []
        if self._block_room < self._settings.block_size_bytes:
            self._end_block()
        trailer = self._blobs.new_trailer(self._blob, self._size, self._whole.digest())
        self._blobs.link(self._file, trailer, bytes(self._table))
        return StagedBody(self._size, trailer.digest)

    async def abort(self) -> None:
        """Forget it: the file has no name and ends with its descriptor."""
        self._pieces = []
        if self._running is not None:
            await asyncio.wait([self._running])
            self._running = None
        self._file.close()
