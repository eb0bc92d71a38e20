"""THE durable write: append, one flush for all that wait, rows visible, answers.

Operations wait in a queue while a flush runs.  Then all of them (up to a limit of bytes) are decided in order, each
against what is flushed and what this batch has decided before it; their records leave in one write and one datasync in
a thread; only then the batch becomes state, and only then its futures are answered, also those of operations that
changed nothing.  So nobody is ever told what a crash could take back (ADR 3).

A write that fails for want of room, descriptors or memory is cut off again and its waiters get DeviceFull or TooBusy.  Any
other failure, and every failed flush, leaves the file in an unknown state: the device goes offline, and nothing is retried.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

from objstore.core.rows import Row, RowKey, Space
from objstore.core.timestamp import ZERO, Ballot
from objstore.errors import DeviceFull, DeviceOffline, TooBusy
from objstore.node.engine.faults import is_full, is_shortage
from objstore.node.engine.keys import long_name
from objstore.node.engine.pack_format import (
    RECORD_HEADER_BYTES,
    Drop,
    Floor,
    Note,
    Promise,
    RecordType,
    checksum_of,
    encode_meta,
    encode_record,
)
from objstore.node.engine.packs import Packs
from objstore.node.engine.records import SHADOWED, Entry, RowHead, flags_of
from objstore.node.engine.state import State
from objstore.runtime.disk import Buffer
from objstore.runtime.tasks import TaskOwner, Threads

log = logging.getLogger(__name__)

_LIMIT = 100_000  # operations waiting; the node bounds them long before


class Batch:
    """What one flush will make durable, as far as it is decided."""

    def __init__(self, state: State, packs: Packs, free_bytes: int) -> None:
        self.state = state
        self.free_bytes = free_bytes  # before this batch
        self.pack, self.offset, self._seed = packs.next_place()
        self.start = self.offset
        self.sequence = packs.sequence + 1
        self.buffers: list[Buffer] = []
        self.puts: list[tuple[bytes, Entry | None, Entry | None, bool]] = []
        self.floors: dict[int, Ballot] = {}
        self.notes: dict[str, bytes | None] = {}
        self.refused_for_room = False
        self.flags = 0  # of records that are appended: TIED while more of the same change follow
        self._overlay: dict[bytes, Entry | None] = {}

    @property
    def size_bytes(self) -> int:
        """Length so far."""
        return self.offset - self.start

    # -- what holds, with this batch ---------------------------------------------------------------------------------

    def get(self, index_key: bytes, partition: int) -> Entry | None:
        """The entry.  Raises DamagedRow."""
        if index_key in self._overlay:
            return self._overlay[index_key]
        return self.state.recall(index_key, partition)

    def floor(self, partition: int) -> Ballot:
        """The partition's reclaim floor."""
        return self.floors.get(partition) or self.state.floors.get(partition, ZERO)

    def is_named(self, blob: bytes) -> bool:
        """Whether a register names the blob, now or with this batch."""
        return any(new is not None and blob in new.row for _, _, new, _ in self.puts) or self.state.is_named(blob)

    # -- decisions -----------------------------------------------------------------------------------------------------

    def set_state(
        self, index_key: bytes, key: RowKey, old: Entry | None, *, partition: int, promised: Ballot, accepted: Ballot,
        row: bytes, head: RowHead | Row, payload: bytes | memoryview = b"", shadowed: bool = False,
    ) -> Entry:  # fmt: skip
        """Store a register in full.  `shadowed`: a version that is the head too."""
        length = len(payload)
        checksum = checksum_of(payload)
        entry = Entry(
            partition, flags_of(head) | shadowed * SHADOWED, promised, accepted, head.size, self.pack, self.offset + RECORD_HEADER_BYTES,
            length, checksum, self.pack if old is None else old.born, long_name(index_key, key.name), row,
        )  # fmt: skip
        meta = encode_meta((key, entry))
        header = encode_record(
            RecordType.STATE, meta, self.sequence, self._seed + self.offset, payload_length=length, checksum=checksum, flags=self.flags
        )
        if length:
            self.buffers += (header, payload, meta)
        else:
            self.buffers.append(header + meta)
        self.offset += RECORD_HEADER_BYTES + length + len(meta)
        self._put(index_key, key, old, entry)
        return entry

    def set_moved(
        self, index_key: bytes, key: RowKey, old: Entry | None, donor: Entry, *, promised: Ballot, accepted: Ballot, row: bytes,
        head: RowHead | Row, shadowed: bool = False,
    ) -> Entry:  # fmt: skip
        """Store a register whose payload is that of `donor`, an entry of the same bytes; they are not written again."""
        entry = Entry(
            donor.partition, flags_of(head) | shadowed * SHADOWED, promised, accepted, head.size, donor.pack, donor.offset,
            donor.length, donor.checksum, self.pack if old is None else old.born, long_name(index_key, key.name), row, self.pack, self.offset + RECORD_HEADER_BYTES,
        )  # fmt: skip
        meta = encode_meta((key, entry))
        self.buffers.append(encode_record(RecordType.MOVED, meta, self.sequence, self._seed + self.offset, flags=self.flags) + meta)
        self.offset += RECORD_HEADER_BYTES + len(meta)
        self._put(index_key, key, old, entry)
        return entry

    def set_promise(self, index_key: bytes, key: RowKey, old: Entry, ballot: Ballot) -> Entry:
        """Raise the promise of a register that exists."""
        entry = Entry(
            old.partition, old.flags, ballot, old.accepted, old.size, old.pack, old.offset, old.length, old.checksum,
            old.born, old.long_name, old.row, old.record_pack, old.record_offset,
        )  # fmt: skip
        self._append(RecordType.PROMISE, Promise(old.partition, key, ballot))
        self._put(index_key, key, old, entry)
        return entry

    def drop(self, index_key: bytes, key: RowKey, old: Entry, *, floor: Ballot) -> None:
        """Forget a register; raise the floor in the same record."""
        self._append(RecordType.DROP, Drop(old.partition, key, old.born, self.pack, floor))
        self._put(index_key, key, old, None)
        if floor > self.floor(old.partition):
            self.floors[old.partition] = floor

    def carry_drop(self, drop: Drop) -> None:
        """Keep a drop record alive whose pack goes away."""
        self._append(RecordType.DROP, drop)

    def set_floor(self, partition: int, ballot: Ballot) -> None:
        """Raise a floor."""
        self._append(RecordType.FLOOR, Floor(partition, ballot))
        self.floors[partition] = ballot

    def set_note(self, name: str, value: bytes | None) -> None:
        """Change a note."""
        self._append(RecordType.NOTE, Note(name, value))
        self.notes[name] = value

    def _append(self, kind: RecordType, value: Promise | Drop | Note | Floor) -> None:
        meta = encode_meta(value)
        self.buffers.append(encode_record(kind, meta, self.sequence, self._seed + self.offset) + meta)
        self.offset += RECORD_HEADER_BYTES + len(meta)

    def _put(self, index_key: bytes, key: RowKey, old: Entry | None, new: Entry | None) -> None:
        self._overlay[index_key] = new
        self.puts.append((index_key, old, new, is_counted(key)))

    def publish(self) -> None:
        """The batch is durable: make it state, in the order of its records."""
        state = self.state
        for index_key, old, new, counted in self.puts:
            state.put(index_key, old, new, counted=counted)
        for partition, ballot in self.floors.items():
            state.set_floor(partition, ballot)
        for name, value in self.notes.items():
            state.set_note(name, value)


def is_counted(key: RowKey) -> bool:
    """Whether bucket counters count the register: heads of objects."""
    return key.space == Space.OBJECTS and not key.version


Operation = Callable[..., Any]


class Committer:
    """Queue and flush of one device."""

    def __init__(self, state: State, packs: Packs, threads: Threads, tasks: TaskOwner, *, batch_bytes: int) -> None:
        self._state = state
        self._packs = packs
        self._threads = threads
        self._tasks = tasks
        self._batch_bytes = batch_bytes
        self._queue: deque[tuple[asyncio.Future[Any], Operation, tuple[Any, ...]]] = deque()
        self._running: asyncio.Task[None] | None = None
        self.free_bytes = 0
        self.recheck_room = False  # something was refused for want of room: look again before the next batch
        self.usage: Callable[[], tuple[int, int]] = lambda: (0, 0)
        self.make_room: Callable[[], None] = lambda: None  # called in the thread when a write found none
        self.offline: BaseException | None = None
        self.published: Callable[[], None] = lambda: None

    def submit(self, operation: Operation, *args: Any) -> asyncio.Future[Any]:
        """Decide `operation(batch, *args)` in the next batch; its result after the flush.

        An operation must raise before it appends anything.  Raises DeviceOffline, TooBusy.
        """
        self.check()
        if len(self._queue) >= _LIMIT:
            raise TooBusy("too many changes wait for the device")
        if self._running is None:
            self._running = self._tasks.spawn(self._run(), name="commit")
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._queue.append((future, operation, args))
        return future

    def check(self) -> None:
        """Raises DeviceOffline."""
        if self.offline is not None:
            raise DeviceOffline(f"the device is out of service: {self.offline!r}")

    async def _run(self) -> None:
        try:
            while self._queue:
                await self._commit()
        finally:
            self._running = None

    async def _commit(self) -> None:
        batch = Batch(self._state, self._packs, self.free_bytes)
        answers: list[tuple[asyncio.Future[Any], Any, Exception | None]] = []
        try:
            if self.recheck_room:
                self.recheck_room = False
                batch.free_bytes = self.free_bytes = (await self._threads.run(self.usage))[1]
            self._decide(batch, answers)
            self.recheck_room = batch.refused_for_room
            if batch.buffers:
                self.free_bytes = await self._threads.run(self._write, batch)
                self._packs.wrote(batch.pack, batch.offset, batch.sequence)
                batch.publish()
        except Exception as failure:  # noqa: BLE001 whatever it was, nothing of the batch may be answered
            refused = await self._failed(batch, failure)
            for future, _, _ in answers:
                if not future.done():
                    future.set_exception(refused)
            return
        for future, result, failed in answers:
            if future.done():
                continue  # its caller was cancelled; what it asked for is done all the same
            if failed is None:
                future.set_result(result)
            else:
                future.set_exception(failed)
        self.published()

    def _decide(self, batch: Batch, answers: list[tuple[asyncio.Future[Any], Any, Exception | None]]) -> None:
        queue = self._queue
        while queue and batch.size_bytes < self._batch_bytes:
            future, operation, args = queue.popleft()
            try:
                answers.append((future, operation(batch, *args), None))
            except Exception as failure:  # noqa: BLE001 it belongs to the one who asked, not to those who wait beside him
                answers.append((future, None, failure))

    def _write(self, batch: Batch) -> int:
        self._packs.write(batch.pack, batch.offset - batch.size_bytes, batch.sequence, batch.buffers)
        return self.usage()[1]

    async def _failed(self, batch: Batch, failure: Exception) -> Exception:
        if is_full(failure) or is_shortage(failure):
            try:
                await self._threads.run(self._packs.cut, batch.pack)
                if is_full(failure):
                    await self._threads.run(self.make_room)
                self.recheck_room = True
            except OSError as second:
                failure = second
            else:
                if is_full(failure):
                    return DeviceFull(f"no room in the packs: {failure!r}")
                return TooBusy(f"the packs cannot be written now: {failure!r}")
        self.take_offline(failure)
        return DeviceOffline(f"the device is out of service: {failure!r}")

    def take_offline(self, failure: BaseException) -> None:
        """Stop for good: everything that waits and everything that comes raises DeviceOffline."""
        if self.offline is None:
            log.error("device goes offline: %r", failure)
            self.offline = failure
        while self._queue:
            future, _, _ = self._queue.popleft()
            if not future.done():
                future.set_exception(DeviceOffline(f"the device is out of service: {failure!r}"))

    async def pause(self, failure: BaseException) -> None:
        """Go offline, and wait until the flush that runs has ended; `resume` undoes it."""
        self.take_offline(failure)
        await self.idle()

    def resume(self) -> None:
        """Be in service again after `pause`."""
        self.offline = None

    def close(self) -> None:
        """Refuse everything from now on."""
        if self.offline is None:
            self.offline = DeviceOffline("the device is closed")

    async def idle(self) -> None:
        """Wait until nothing is queued or being flushed."""
        while self._running is not None:
            await asyncio.wait([self._running])
