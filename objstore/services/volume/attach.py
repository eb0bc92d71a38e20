"""Attaching a volume to this process, and letting go of it.

Attaching swaps the head for one of the next epoch and generation that names the journal which goes on from it: from then on nobody who
attached it before can commit.  A volume that was not let go of in order may have acknowledged writes in a journal on the disk of its
holder; it is attached elsewhere only with `force`, which gives them up.  A journal that was given up is set aside on that disk, never
removed.
"""

import contextlib
import logging
from dataclasses import dataclass

import msgspec

from objstore.errors import ConditionalConflict, DamagedFile, PreconditionFailed
from objstore.runtime.disk import Disk
from objstore.runtime.tasks import TaskOwner, Threads
from objstore.runtime.world import World
from objstore.services.volume.device import Device
from objstore.services.volume.journal import Journal, Unkept, clear_journal, read_journal
from objstore.services.volume.journal_format import Record
from objstore.services.volume.layout import Head, Tree
from objstore.services.volume.objects import Swapped, VolumeObjects
from objstore.services.volume.settings import VolumeSettings

log = logging.getLogger(__name__)

JOURNAL_ID_BYTES = 16
CLEAR_ATTEMPTS = 16  # each has another's change of the head before it


class VolumeInUse(ConditionalConflict):
    """The volume is attached elsewhere, or was and may have left acknowledged writes there."""


@dataclass(frozen=True)
class Place:
    """Where the journal of one volume is kept: on this disk nothing else lies."""

    disk: Disk
    threads: Threads
    tasks: TaskOwner

    async def aclose(self) -> None:
        """End what runs here."""
        await self.tasks.aclose()
        self.threads.close()


class Attached:
    """A device that is being served, until `detach` or `aclose`."""

    def __init__(self, device: Device, objects: VolumeObjects, place: Place | None) -> None:
        self.device = device
        self._objects = objects
        self._place = place

    async def detach(self) -> None:
        """Everything is in the store and the volume free for others when this returns.  Raises Fenced, Unavailable."""
        await self.device.commit()
        for _ in range(CLEAR_ATTEMPTS):
            at = await self.device.moved()
            with contextlib.suppress(PreconditionFailed):  # somebody made a snapshot; `moved` raises where it is more than that
                await self._objects.swap(msgspec.structs.replace(at.head, holder=""), at)
                break
        await self.device.aclose()
        if self._place is not None:
            await self._place.threads.run(clear_journal, self._place.disk)
            await self._place.aclose()

    async def aclose(self) -> None:
        """Stop and stay attached: what the journal has is taken up when the volume is attached here again."""
        if self.device.journal is not None and self.device.journal.failure is None:
            await self.device.journal.flush()
        await self.device.aclose()
        if self._place is not None:
            await self._place.aclose()


async def attach(
    objects: VolumeObjects, world: World, volume: bytes, settings: VolumeSettings, *, holder: str, directory: str, force: bool = False
) -> Attached:  # fmt: skip
    """Attach a volume; `holder` names this host for ever, `directory` is on its disk and this volume's alone.

    Raises NoSuchKey, VolumeInUse, PreconditionFailed (read only, or somebody attached it at this moment), DamagedFile, OSError.
    """
    at = await objects.head(volume)
    if at.head.read_only:
        raise PreconditionFailed(f"volume {volume.hex()} is read only", condition="read-only")
    if settings.durability == "store":
        if not force and at.head.holder and (at.head.journal or at.head.holder != holder):
            raise _in_use(at.head)
        at = await _take_over(objects, at, holder=holder, journal=b"", position=0)
        device = Device(objects, world.clock, at, settings, journal=Unkept())
        device.start()
        return Attached(device, objects, None)
    disk = world.open_disk(directory)
    place = Place(disk, world.new_threads("volume-journal", 1), TaskOwner("journal"))
    try:
        device = await _with_journal(objects, world, at, settings, place, holder=holder, force=force)
    except BaseException:
        await place.aclose()
        raise
    device.start()
    return Attached(device, objects, place)


def view(objects: VolumeObjects, world: World, at: Swapped, settings: VolumeSettings, tree: Tree | None = None) -> Device:
    """A device that is only read: a snapshot's tree, or what the store has of a volume at this moment."""
    return Device(objects, world.clock, at, settings, journal=None, tree=tree)


async def _with_journal(
    objects: VolumeObjects, world: World, at: Swapped, settings: VolumeSettings, place: Place, *, holder: str, force: bool
) -> Device:  # fmt: skip
    head = at.head
    volume = head.volume
    ranges: list[tuple[int, int]] = []

    def note(record: Record) -> None:
        ranges.append((record.offset, record.length))

    found = await place.threads.run(lambda: read_journal(place.disk, note, volume=volume, of=head.journal, after=head.position))
    ours = found is not None and found[0] == head.journal
    if head.holder and not ours and not force:
        raise _in_use(head)
    if found is not None and not ours:
        if ranges:
            log.error("volume %s: the journal on this disk is not the one that goes on from the store; it is set aside", volume.hex())
        await place.threads.run(lambda: clear_journal(place.disk, keep_as=f"given-up-{head.epoch}" if ranges else ""))
    if ours and found is not None:
        journal_id, last, position = found[0], max(found[1], head.position), head.position
    else:
        journal_id, last, position, ranges = world.rng.token(JOURNAL_ID_BYTES), 0, 0, []
    journal = Journal(place.disk, place.threads, place.tasks, journal=journal_id, volume=volume, position=last)
    await place.threads.run(Journal.start, place.disk, journal)
    at = await _take_over(objects, at, holder=holder, journal=journal_id, position=position)
    device = Device(objects, world.clock, at, settings, journal=journal)
    await journal.release(position)  # a crash between the last commit and this
    if ranges:
        for offset, length in ranges:
            if offset + length > device.size_bytes:
                raise DamagedFile(f"the journal of volume {volume.hex()} has a write at {offset}, behind the volume's end")
            await device.prepare(offset, length)
        await place.threads.run(lambda: read_journal(place.disk, device.replay, volume=volume, of=journal_id, after=position, until=last))
        log.warning("volume %s: %d records of the journal were taken up", volume.hex(), len(ranges))
    return device


async def _take_over(objects: VolumeObjects, at: Swapped, *, holder: str, journal: bytes, position: int) -> Swapped:
    """Swap the head for one of the next epoch.  Raises PreconditionFailed when somebody was faster."""
    head = msgspec.structs.replace(
        at.head, epoch=at.head.epoch + 1, generation=at.head.generation + 1, holder=holder, journal=journal, position=position
    )
    return await objects.swap(head, at)


def _in_use(head: Head) -> VolumeInUse:
    return VolumeInUse(
        f"volume {head.volume.hex()} is attached to {head.holder!r} (epoch {head.epoch}), whose disk may hold writes that the store has not; "
        "let go of it there, or attach it by force, which gives those up"
    )
