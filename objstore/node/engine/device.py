"""One open device: its files, threads and state, and what several parts of the engine need of them.

Opening recovers; `checkpoint` brings the index forward; `read_payload` is the one way to the bytes of a small object.
"""

import asyncio
import itertools
import logging
import math
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from objstore.errors import DamagedBody, DamagedFile, DeviceFull, DeviceOffline, TooBusy
from objstore.node.engine.ballast import Ballast
from objstore.node.engine.blobs import Blobs
from objstore.node.engine.commit import Committer
from objstore.node.engine.faults import is_shortage
from objstore.node.engine.identity import (
    INCARNATION_BYTES,
    index_directory,
    index_generation,
    load_identity,
    remove_old_indexes,
    replace_identity,
    set_index_generation,
)
from objstore.node.engine.index import Frozen, load
from objstore.node.engine.pack_format import checksum_of
from objstore.node.engine.packs import Packs
from objstore.node.engine.records import Entry
from objstore.node.engine.recover import Replay, replay
from objstore.node.engine.registers import Registers
from objstore.node.engine.settings import EngineSettings
from objstore.node.engine.state import Position, State
from objstore.runtime.clock import Clock
from objstore.runtime.disk import Disk
from objstore.runtime.kv import Change, Kv
from objstore.runtime.tasks import TaskOwner, Threads
from objstore.runtime.world import World

T = TypeVar("T")
log = logging.getLogger(__name__)

_CHECKPOINT_PAUSE_S = 5.0
_RENEW_PAUSE_S = 600.0
_REPLAY_SLICE = 512  # records applied between two turns of the event loop
_LOCK_WAIT_S = 3.0  # a process that was killed may still be ending
_LOCK_POLL_S = 0.05


@dataclass(frozen=True)
class DeviceThreads:
    """Threads by purpose, so that a slow reader never holds up a flush."""

    commit: Threads
    index: Threads
    io: Threads

    def close(self) -> None:
        """End them."""
        for threads in (self.commit, self.index, self.io):
            threads.close()


class Device:
    """The parts of one open device."""

    def __init__(self, world: World, directory: str, settings: EngineSettings, disk: Disk, identity: tuple[bytes, bytes]) -> None:
        self.directory = directory
        self.settings = settings
        self.disk = disk
        self.clock: Clock = world.clock
        self.incarnation, self.seal = identity
        self.tasks = TaskOwner(f"engine {directory}")
        self.threads = DeviceThreads(
            world.new_threads("commit", 1), world.new_threads("index", 1), world.new_threads("engine-io", settings.io_threads)
        )
        self.packs = Packs(disk, self.seal, pack_size_bytes=settings.pack_size_bytes)
        self.ballast = Ballast(disk, settings.ballast_bytes, settings.reserve_bytes)
        self.blobs = Blobs(disk, world.clock, self.threads.io, self.tasks, self.ballast, settings)
        self._open_kv = world.open_kv
        self._rng = world.rng
        self.kv: Kv | None = None
        self.generation = 0  # of the index in use
        self.state: State
        self.registers: Registers
        self.committer: Committer
        self.recovered = Replay()
        self.upkeep = asyncio.Lock()  # held while packs are deleted, and while they are read to build an index
        self._renewed_at = -math.inf
        self._checkpointing: asyncio.Task[int] | None = None
        self._checkpoint_after = 0.0  # when one may begin by itself again, after one that found no room

    @classmethod
    async def open(cls, world: World, directory: str, settings: EngineSettings, *, salvage: bool = False) -> "Device":
        """Open and recover.  Raises DamagedFile, OSError; DeviceOffline when another process has it; FileNotFoundError when it was never formatted.

        A damaged index is replaced by one built from the packs, which hold everything.  `salvage`: go on when the packs are
        damaged too, lose what cannot be read, and begin a new incarnation (rebuild.py).
        """
        disk = world.open_disk(directory)
        identity = load_identity(disk)
        if identity is None:
            raise FileNotFoundError(f"{directory} is not a formatted device")
        await take(disk, directory, world.clock)
        device = cls(world, directory, settings, disk, identity)
        try:
            await device._open_index()
            await device._recover(salvage=salvage)
        except (Exception, asyncio.CancelledError):
            device.threads.close()
            if device.kv is not None:
                device.kv.close()
            disk.unlock()
            raise
        return device

    async def _open_index(self) -> None:
        self.generation = await self.threads.index.run(index_generation, self.disk)
        try:
            self.kv = await self.threads.index.run(self._open_kv, index_directory(self.directory, self.generation))
            state = load(self.kv)
        except DamagedFile as failure:
            state = await self._next_index(failure)
        await self.threads.index.run(self._look_around)
        self._start(state)

    def _look_around(self) -> None:
        remove_old_indexes(self.disk, self.generation)
        self.blobs.quarantined = self.blobs.count_quarantine()
        self.ballast.restore()

    async def _next_index(self, failure: DamagedFile) -> State:
        """Begin an empty index in the place of a damaged one; durable before anything is in it."""
        log.warning("%s: %r: building a new index from the packs", self.directory, failure)
        self.generation += 1
        await self.threads.index.run(set_index_generation, self.disk, self.generation)
        old, self.kv = self.kv, await self.threads.index.run(self._open_kv, index_directory(self.directory, self.generation))
        if old is not None:
            old.close()
        return load(self.kv)

    def _start(self, state: State) -> None:
        state.kv.upkeep()
        self.state = state
        self.registers = Registers(state, self.blobs.present, self.ballast, self.settings)
        self.committer = Committer(state, self.packs, self.threads.commit, self.tasks, batch_bytes=self.settings.batch_bytes)
        self.committer.usage = self.disk.usage
        self.committer.make_room = self.ballast.release
        self.committer.published = self._published
        self.blobs.failed = self.committer.take_offline

    async def _recover(self, *, salvage: bool) -> None:
        await self.threads.io.run(self.packs.secure, self.state.position.pack, self.state.position.offset)
        steps = replay(self.state, self.packs, salvage=salvage)
        found: Replay | None = None
        reborn = False
        while True:
            found = await self.threads.io.run(_some_steps, steps)
            if found is None:
                break
            self.recovered = found
            if found.lost_heads and not reborn:
                # Before any checkpoint stands behind the loss: without a vote this device may forget, with one it may not.
                reborn = True
                self.incarnation = self._rng.token(INCARNATION_BYTES)
                await self.threads.io.run(replace_identity, self.disk, self.incarnation, self.seal)
            if self._memtable_is_full():
                await self._write_checkpoint(found.position)
        self.packs.opened(dict(self.recovered.sizes), max(self.recovered.position.sequence, self.state.position.sequence))
        self.committer.free_bytes = self.disk.usage()[1]
        if self.recovered.records or self.recovered.cut_bytes:
            log.info("%s: replayed %d records, cut %d bytes", self.directory, self.recovered.records, self.recovered.cut_bytes)

    # -- checkpoints -----------------------------------------------------------------------------------------------------

    def _memtable_is_full(self) -> bool:
        active = self.state.active
        return len(active) >= self.settings.checkpoint_rows or active.bytes >= self.settings.checkpoint_bytes

    def _published(self) -> None:
        if self._checkpointing is None and self._memtable_is_full() and self.clock.monotonic() >= self._checkpoint_after:
            self._checkpointing = self.tasks.spawn(self._checkpoint(), name="checkpoint")

    async def checkpoint(self) -> int:
        """Bring the index forward to what is flushed now; rows written.  Raises DeviceFull, DeviceOffline."""
        while self._checkpointing is not None:
            await asyncio.wait([self._checkpointing])
        self.committer.check()
        self._checkpointing = self.tasks.spawn(self._checkpoint(), name="checkpoint")
        return await asyncio.shield(self._checkpointing)

    async def _checkpoint(self) -> int:
        try:
            packs = self.packs
            return await self._write_checkpoint(Position(packs.current, packs.sizes.get(packs.current, 0), packs.sequence))
        except DeviceFull:
            await self.threads.io.run(self.ballast.release)
            self._checkpoint_after = self.clock.monotonic() + _CHECKPOINT_PAUSE_S
            log.warning("%s: no room for a checkpoint; %d rows wait in memory", self.directory, len(self.state.active))
            raise
        except DamagedFile as failure:
            self.tasks.spawn(self._renew_index(failure), name="renew index")
            raise DeviceOffline("the index is damaged and is built anew") from failure
        except OSError as failure:
            self.committer.take_offline(failure)
            raise DeviceOffline(f"the index cannot be written: {failure!r}") from failure
        finally:
            self._checkpointing = None

    async def _write_checkpoint(self, position: Position) -> int:
        state = self.state
        if position == state.position and not state.changed and not len(state.active) and not state.restated:
            return 0
        frozen = Frozen(state, position)
        try:
            changes: list[Change] = []
            for slice_ in frozen.changes():
                changes += slice_
                await self.clock.sleep(0)
            await self.threads.index.run(state.kv.apply, changes)
        except (Exception, asyncio.CancelledError):
            frozen.failed(state)
            raise
        frozen.done(state)
        return len(frozen.memtable)

    async def to_its_end(self, work: Coroutine[Any, Any, T], *, name: str) -> T:
        """Do work that must not stop half way because its caller gives up; only closing the device breaks it off."""
        return await asyncio.shield(self.tasks.spawn(work, name=name))

    async def renew_index(self, failure: DamagedFile) -> None:
        """Build a new index from the packs in the place of a damaged one; meanwhile everything raises DeviceOffline.

        Raises DeviceOffline when that fails, or was done a short while ago: then it is not the index that is at fault.
        """
        await self.to_its_end(self._renew_index(failure), name="renew index")

    async def _renew_index(self, failure: DamagedFile) -> None:
        async with self.upkeep:
            self.committer.check()
            await self.committer.pause(failure)
            while self._checkpointing is not None:
                await asyncio.wait([self._checkpointing])
            if self.clock.monotonic() - self._renewed_at < _RENEW_PAUSE_S:
                self.committer.check()
            self._renewed_at = self.clock.monotonic()
            try:
                self.state.restart(await self._next_index(failure))
                self.packs.closed()
                await self._recover(salvage=False)
                await self._write_checkpoint(self.recovered.position)
            except (DamagedFile, DeviceFull, OSError) as second:
                log.exception("%s: the index cannot be built anew", self.directory)
                raise DeviceOffline(f"the index cannot be built anew: {second!r}") from second
            self.committer.resume()

    # -- payloads --------------------------------------------------------------------------------------------------------

    async def read_payload(self, index_key: bytes, entry: Entry) -> bytes | None:
        """The inline payload of an entry, verified; None when the register changed and its old pack is gone.

        Raises DamagedBody, DamagedRow, TooBusy.
        """
        if not entry.length:
            return b""
        while True:
            data = self.packs.read_cached(entry.pack, entry.offset, entry.length)
            if data is None:
                try:
                    data = await self.threads.io.run(self._pread, entry)
                except FileNotFoundError:
                    now = self.state.get(index_key, entry.partition)
                    if now is None or now.row != entry.row:
                        return None
                    if now.pack != entry.pack:
                        entry = now  # compaction moved it
                        continue
                    data = b""
                except OSError as failure:
                    if is_shortage(failure):
                        raise TooBusy(f"a payload cannot be read now: {failure!r}") from failure
                    self.state.suspect(index_key, entry.partition)
                    raise DamagedBody(f"a payload cannot be read: {failure!r}", pack=entry.pack, offset=entry.offset) from failure
            if len(data) != entry.length or checksum_of(data) != entry.checksum:
                self.state.suspect(index_key, entry.partition)
                raise DamagedBody("a payload does not match its checksum", pack=entry.pack, offset=entry.offset)
            return data

    def _pread(self, entry: Entry) -> bytes:
        return self.packs.file(entry.pack).pread(entry.length, entry.offset)

    # -- end -------------------------------------------------------------------------------------------------------------

    async def close(self) -> None:
        """Checkpoint, unless the device is offline or full, and close everything."""
        await self.committer.idle()
        try:
            if self.committer.offline is None:
                await self.checkpoint()
        except (DeviceFull, DeviceOffline) as failure:
            log.warning("%s: closed without a checkpoint: %r", self.directory, failure)
        self.committer.close()
        await self.tasks.aclose()
        self.threads.close()
        self.state.kv.close()
        self.disk.unlock()


async def take(disk: Disk, directory: str, clock: Clock) -> None:
    """Lock the device.  Two processes would each take the other's unfinished batches for torn ones, and cut them off.  Raises DeviceOffline."""
    until_s = clock.monotonic() + _LOCK_WAIT_S
    while True:
        try:
            disk.lock()
        except BlockingIOError as failure:
            if clock.monotonic() >= until_s:
                raise DeviceOffline(f"{directory} is in use by another process; end that one first") from failure
            await clock.sleep(_LOCK_POLL_S)
        else:
            return


def _some_steps(steps: Iterator[Replay]) -> Replay | None:
    found = None
    for found in itertools.islice(steps, _REPLAY_SLICE):  # noqa: B007 the last one is what counts
        pass
    return found
