"""Attaching a volume to this process, and letting go of it.

Attaching swaps the head for one of the next epoch and generation that names the journal which goes on from it: from then on nobody who
attached it before can commit.  A volume that was not let go of in order may have acknowledged writes in a journal on the disk of its
holder; it is attached elsewhere only with `force`, which gives them up.  A journal that was given up is set aside on that disk, never
removed.

The head may change between being read and being swapped: by a snapshot, or by a swap of this host whose answer was lost.  Then all that
was concluded from it is concluded anew.
"""

import logging
from dataclasses import dataclass, field

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
TAKE_ATTEMPTS = 16  # each but the last met another's change of the head


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

    def __init__(self, device: Device, place: Place | None) -> None:
        self.device = device
        self._place = place

    async def detach(self) -> None:
        """Everything is in the store and the volume free for others when this returns.

        Raises Fenced; Unavailable or ConditionalConflict, and then it is attached on.
        """
        await self.device.let_go()
        await self.device.aclose()
        if self._place is not None:
            try:
                await self._place.threads.run(clear_journal, self._place.disk)
            except OSError as failure:  # all it has is in the store: whoever attaches the volume here next finds that out
                log.warning("the journal of volume %s is not removed: %s", self.device.at.head.volume.hex(), failure)
            await self._place.aclose()

    async def aclose(self) -> None:
        """Stop and stay attached: what the journal has is taken up when the volume is attached here again."""
        try:
            if self.device.journal is not None and self.device.journal.failure is None and self.device.failure is None:
                await self.device.journal.flush()
        finally:
            await self.device.aclose()
            if self._place is not None:
                await self._place.aclose()


async def attach(
    objects: VolumeObjects, world: World, volume: bytes, settings: VolumeSettings, *, holder: str, directory: str, force: bool = False,
    again: bool = False,
) -> Attached:  # fmt: skip
    """Attach a volume; `holder` names this host for ever, `directory` is on its disk and this volume's alone.

    With `again` it was attached here and must not have been let go of, nor taken away, since.

    Raises NoSuchKey, VolumeInUse, PreconditionFailed (read only, not ours `again`, or attached by somebody else's force at this moment),
    ConditionalConflict, DamagedFile, OSError.
    """
    if settings.durability == "store":
        device = await _Claim(objects, world, volume, settings, holder, None, force=force, again=again).device()
        device.start()
        return Attached(device, None)
    disk = world.open_disk(directory)
    place = Place(disk, world.new_threads("volume-journal", 1), TaskOwner("journal"))
    try:
        device = await _Claim(objects, world, volume, settings, holder, place, force=force, again=again).device()
    except BaseException:
        await place.aclose()
        raise
    device.start()
    return Attached(device, place)


def view(objects: VolumeObjects, world: World, at: Swapped, settings: VolumeSettings, tree: Tree | None = None) -> Device:
    """A device that is only read: a snapshot's tree, or what the store has of a volume at this moment."""
    return Device(objects, world.clock, at, settings, journal=None, tree=tree)


@dataclass(frozen=True)
class _Claim:
    """What is tried until the head names this host."""

    objects: VolumeObjects
    world: World
    volume: bytes
    settings: VolumeSettings
    holder: str
    place: Place | None  # None: nothing is kept on this host
    force: bool = field(kw_only=True)
    again: bool = field(kw_only=True)

    async def device(self) -> Device:
        """The device, with what the journal has in it, not started."""
        before: Head | None = None
        for _ in range(TAKE_ATTEMPTS):
            at = await self.objects.head(self.volume)
            if at.head.read_only:
                raise PreconditionFailed(f"volume {self.volume.hex()} is read only", condition="read-only")
            if self.force and before is not None and at.head.epoch != before.epoch and at.head.holder not in ("", self.holder):
                raise PreconditionFailed(
                    f"volume {self.volume.hex()} was attached by {at.head.holder!r} at this moment", condition="if-match"
                )
            device = await (self._without_journal(at) if self.place is None else self._with_journal(at, self.place))
            if device is not None:
                return device
            before = at.head
        raise ConditionalConflict(f"volume {self.volume.hex()} is being changed without pause")

    async def _without_journal(self, at: Swapped) -> Device | None:
        self._check(at.head, ours=self._held_without_journal(at.head))
        taken = await self._take_over(at, journal=b"", position=0)
        return None if taken is None else Device(self.objects, self.world.clock, taken, self.settings, journal=Unkept())

    async def _with_journal(self, at: Swapped, place: Place) -> Device | None:
        head, run = at.head, place.threads.run
        ranges: list[tuple[int, int]] = []
        found, ours = await self._look(head, place, ranges)
        self._check(head, ours=ours or self._held_without_journal(head))
        if found is not None and (ours or (found[1] == 0 and not ranges)):
            # One without records may be that of an attempt before this one, whose swap takes effect yet: then it must be there.
            journal_id, last, position = found[0], max(found[1], head.position) if ours else 0, head.position if ours else 0
        else:
            await run(lambda: clear_journal(place.disk, keep_as=f"given-up-{head.epoch}" if ranges or found is None else ""))
            journal_id, last, position, ranges = self.world.rng.token(JOURNAL_ID_BYTES), 0, 0, []
        journal = Journal(place.disk, place.threads, place.tasks, journal=journal_id, volume=self.volume, position=last)
        await run(Journal.start, place.disk, journal)
        device = None
        try:
            taken = await self._take_over(at, journal=journal_id, position=position)
            if taken is not None:
                await journal.release(position)  # a crash between the last commit and this
                device = await self._taken_up(taken, place, journal, ranges)
        finally:
            if device is None:
                await journal.aclose()
        return device

    async def _taken_up(self, at: Swapped, place: Place, journal: Journal, ranges: list[tuple[int, int]]) -> Device:
        """The device with those records of the journal that the store has not."""
        device = Device(self.objects, self.world.clock, at, self.settings, journal=journal)
        if not ranges:
            return device
        for offset, length in ranges:
            if offset + length > device.size_bytes:
                raise DamagedFile(f"the journal of volume {self.volume.hex()} has a write at {offset}, behind the volume's end")
            await device.prepare(offset, length)
        after, last = at.head.position, journal.position
        await place.threads.run(lambda: read_journal(place.disk, device.replay, volume=self.volume, of=journal.id, after=after, until=last))
        log.warning("volume %s: %d records of the journal were taken up", self.volume.hex(), len(ranges))
        return device

    async def _look(self, head: Head, place: Place, ranges: list[tuple[int, int]]) -> tuple[tuple[bytes, int] | None, bool]:
        """(the journal on this disk and its last record, whether the head names it); its records that the store has not go into `ranges`."""

        def note(record: Record) -> None:
            ranges.append((record.offset, record.length))

        try:
            found = await place.threads.run(
                lambda: read_journal(place.disk, note, volume=self.volume, of=head.journal, after=head.position)
            )
        except DamagedFile as damaged:
            if head.holder == self.holder and not self.force:
                raise  # it may have what was acknowledged and is nowhere else
            log.error("volume %s: the journal on this disk is damaged: %s", self.volume.hex(), damaged)  # noqa: TRY400 the message says all there is
            return None, False
        ours = found is not None and found[0] == head.journal
        if ranges and not ours:
            log.error("volume %s: the journal on this disk is not the one that goes on from the store", self.volume.hex())
        return found, ours

    def _held_without_journal(self, head: Head) -> bool:
        """Whether it is attached here with everything that was acknowledged in the store."""
        return head.holder == self.holder and not head.journal

    def _check(self, head: Head, *, ours: bool) -> None:
        """Raises VolumeInUse, PreconditionFailed."""
        if head.holder and not ours and not self.force:
            raise _in_use(head)
        if self.again and not ours:
            raise PreconditionFailed(f"volume {head.volume.hex()} was let go of, or taken away from {self.holder!r}", condition="again")

    async def _take_over(self, at: Swapped, *, journal: bytes, position: int) -> Swapped | None:
        """Swap the head for one of the next epoch; None when it is another by now."""
        epoch, generation = at.head.epoch + 1, at.head.generation + 1
        head = msgspec.structs.replace(at.head, epoch=epoch, generation=generation, holder=self.holder, journal=journal, position=position)
        try:
            return await self.objects.swap(head, at)
        except PreconditionFailed:
            return None


def _in_use(head: Head) -> VolumeInUse:
    return VolumeInUse(
        f"volume {head.volume.hex()} is attached to {head.holder!r} (epoch {head.epoch}), whose disk may hold writes that the store has not; "
        "let go of it there, or attach it by force, which gives those up"
    )
