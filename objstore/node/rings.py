"""Adopting a ring: durable first, then in force, then the barrier between two epochs, device by device.

The order is what the handover's proof needs (architecture.md section 1).  1: the ring is on disk.  2: requests of the old
epoch are refused, those of the new one wait.  3: per device, changes admitted under the old epoch come to their end, the
device notes durably in which epoch it serves, and what is known of its refilling is read.  4: what waited is answered.
A device that hangs in step 3 holds up nobody else.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

import msgspec

from objstore.core.timestamp import Ballot
from objstore.errors import DeadlineExceeded, DeviceFull, InvalidArgument, ObjstoreError, Refused, StaleEpoch, Unavailable
from objstore.node.ring_file import RingFile
from objstore.node.state import NOTE_EPOCH, NOTE_IN_SYNC, LocalDevice, NodeState, View, decode_in_sync, encode_in_sync, view_of
from objstore.runtime.tasks import TaskOwner, Threads
from objstore.runtime.world import World
from objstore.wire.server import Call
from ring import codec
from ring.lookup import Ring
from ring.model import RingError

log = logging.getLogger(__name__)

ENTER_AGAIN_S = 5.0  # until a device that could not enter an epoch tries once more


class RingKeeper:
    """Changes the ring of one node."""

    def __init__(self, world: World, state: NodeState, file: RingFile, threads: Threads, *, redo: Callable[[Call], None]) -> None:
        self.tasks = TaskOwner("ring changes")
        self._clock = world.clock
        self._state = state
        self._file = file
        self._threads = threads
        self._redo = redo  # answers a request that was held back, from its admission on
        self._durable = b""  # what is in both of the file's copies
        self._lock = asyncio.Lock()  # one change at a time
        self._settling: dict[str, asyncio.Lock] = {}  # by directory: notes of one device are written in order

    async def load(self, bootstrap: RingFile | None) -> None:
        """Adopt the newer of the own ring and the bootstrap one, if there is any.

        Raises InvalidArgument when nothing of the own ring is whole: it may have been newer than what others would give us,
        so a person must look at it.
        """
        try:
            own = await self._threads.run(self._file.load)
        except RingError as damage:
            raise InvalidArgument(f"{self._file.path}: {damage}; remove it and its copy to take the ring from other nodes") from damage
        if own:
            self._durable = own if self._file.is_settled else b""
            await self.put(own)
        if bootstrap is not None:
            try:
                given = await self._threads.run(bootstrap.load)
            except RingError as damage:
                log.warning("%s: %s", bootstrap.path, damage)
            else:
                if given:
                    await self.put(given)

    async def put(self, data: bytes) -> int:
        """Adopt a ring if it is newer than the one in use; returns the epoch then in use.

        Raises InvalidArgument for bytes that are no ring, Refused for the ring of another cluster, Unavailable when it cannot
        be made durable here.
        """
        try:
            ring = await self._threads.run(codec.decode, data)
        except RingError as damage:
            raise InvalidArgument(f"not a ring: {damage}") from damage
        async with self._lock:
            state = self._state
            if state.ring is not None and ring.spec.hash_seed != state.ring.spec.hash_seed:
                raise Refused("that is the ring of another cluster: its hash seed differs")
            if ring.epoch > state.epoch:
                if data != self._durable:
                    await self._save(data)
                views = await self._views(ring)
                state.switch(ring, data, views)
                for device in state.devices:
                    if device.held is not None:
                        self.tasks.spawn(self._settle(device), name=f"settle {device.directory}")
            return state.epoch

    async def take_in(self, device: LocalDevice) -> None:
        """A device was opened after the ring was adopted: give it its place."""
        async with self._lock:
            if self._state.ring is None:
                return
            view = (await self._views(self._state.ring)).get(device.incarnation)
            self._state.place(device, view)
            if view is not None:
                self.tasks.spawn(self._settle(device), name=f"settle {device.directory}")

    async def mark_in_sync(self, device: LocalDevice, partition: int, *, epoch: int, floor: Ballot) -> None:
        """Durably note that a moving partition is complete on its new device, which takes over the others' reclaim floor.

        Raises StaleEpoch when `epoch` is over.
        """
        async with self._lock_of(device):
            if self._state.epoch != epoch:
                raise StaleEpoch(f"epoch {epoch} is over, this node is at {self._state.epoch}", epoch=self._state.epoch)
            if device.view is None or partition not in device.pending:
                return
            pending = device.pending - {partition}
            # First: with a vote and without the floor it would take rows of keys that were deleted and forgotten elsewhere.
            await device.open().raise_floor(partition, floor)
            await device.open().set_notes({NOTE_IN_SYNC: encode_in_sync(epoch, device.view.refilling - pending)})
            if self._state.epoch == epoch:
                device.set_pending(pending)

    async def aclose(self) -> None:
        """Stop what runs."""
        await self.tasks.aclose()

    async def _save(self, data: bytes) -> None:
        try:
            await self._threads.run(self._file.save, data)
        except OSError as failure:
            raise Unavailable(f"{self._file.path} cannot be written: {failure!r}") from failure
        self._durable = data

    async def _views(self, ring: Ring) -> dict[bytes, View]:
        own = {device.incarnation for device in self._state.devices if device.incarnation}
        named = [device for device in ring.devices.values() if device.incarnation in own]
        return {device.incarnation: await self._threads.run(view_of, ring, device.id) for device in named}

    def _lock_of(self, device: LocalDevice) -> asyncio.Lock:
        return self._settling.setdefault(device.directory, asyncio.Lock())

    async def _settle(self, device: LocalDevice) -> None:
        """Steps 3 and 4 for one device."""
        async with self._lock_of(device):
            epoch = self._state.epoch
            drained: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            device.when_drained(partial(_settle_once, drained))
            await drained
            if self._state.epoch != epoch:
                return  # a newer ring came meanwhile, and with it another call of this
            entered = device.view is None or await self._has_entered(device, epoch)
            if self._state.epoch != epoch:
                return
            held, device.held = device.held, None
        self._release(held or [])
        while not entered:
            # What was in the way may pass: an index that is built anew, descriptors that ran out.
            await self._clock.sleep(ENTER_AGAIN_S)
            async with self._lock_of(device):
                if self._state.epoch != epoch or device.view is None:
                    return
                entered = await self._has_entered(device, epoch)

    async def _has_entered(self, device: LocalDevice, epoch: int) -> bool:
        """Whether the device serves in the epoch now; if not, nothing is admitted to it."""
        try:
            await self._enter(device, epoch)
        except (ObjstoreError, OSError, msgspec.MsgspecError) as failure:
            detail = f"could not enter epoch {epoch}: {failure}"
            if device.detail != detail:
                log.warning("%s %s", device.directory, detail)
            device.detail = detail
            return False
        device.detail = ""
        return True

    async def _enter(self, device: LocalDevice, epoch: int) -> None:
        engine = device.open()
        device.noted_epoch = int(engine.note(NOTE_EPOCH) or b"0")
        if device.noted_epoch > epoch:
            return  # the disk has seen a newer ring than this node: it stays silent until the node has that one
        done = decode_in_sync(engine.note(NOTE_IN_SYNC), epoch)
        assert device.view is not None
        device.set_pending(device.view.refilling - done)
        if device.noted_epoch == epoch:
            return
        notes: dict[str, bytes | None] = {NOTE_EPOCH: str(epoch).encode()}
        if not done:
            notes[NOTE_IN_SYNC] = None  # of an older epoch
        try:
            await engine.set_notes(notes)
        except DeviceFull as full:
            # Reads and deletes must go on: the ring itself is durable beside the device, the note is the second safeguard.
            log.warning("%s has no room to note epoch %d: %s", device.directory, epoch, full)
        device.noted_epoch = epoch

    def _release(self, held: list[tuple[Call, float]]) -> None:
        now = self._clock.monotonic()
        for call, arrived in held:
            if now - arrived >= call.timeout_s:
                call.fail(DeadlineExceeded("the change of epochs took longer than the request may"))
            elif not call.abandoned:
                self._redo(call)


def _settle_once(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
