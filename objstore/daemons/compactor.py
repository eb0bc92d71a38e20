"""Gives space back: checkpoints, mostly dead packs, purged blobs, abandoned stages, tombstones that every primary confirmed.

A tombstone goes only when *every* primary (of both sets, during a ring change) answered in this epoch that it holds exactly
this tombstone, or holds nothing and promises nothing older: merely waiting a time would bring deleted objects back from a device
that was away.

The tombstone of a noncurrent version also stays while the version is still the head of some primary, which would keep it as a
version again.  It is settled at a fresh ballot first and goes when that is old enough: the floor that it leaves then lies above every
ballot at which a slow reader may still try to store the version.  Where all floors are that high already it goes as it is: some primaries
may know nothing of it then, and settling would ask those.

To find tombstones every row of a partition is looked at, so a partition is left alone until one of those that it had can be old enough, or one
written since.
"""

from collections.abc import Sequence

from objstore.core.rows import Kind, Register, Row, RowKey, Space, decode_row, kind_of
from objstore.core.timestamp import ZERO, Ballot, wall_us_of
from objstore.core.versions import head_key, is_version, rank
from objstore.daemons.fleet import Fleet
from objstore.daemons.replicator import Settle, at_most, members
from objstore.errors import ObjstoreError, Refused, StaleEpoch, Unavailable
from objstore.wire.messages import (
    Maintain,
    Maintained,
    PartitionRow,
    PartitionRows,
    PartitionRowsAnswer,
    Query,
    Reclaim,
    ReclaimAnswer,
    RegisterAnswer,
)

# Bounded pieces a round; the rest waits for the next.  A sweep looks at one of 256 directories, at every blob in it: one a
# round goes through all of them in half an hour, which is soon enough for what must be an hour old to be swept.
UPKEEP_STEPS = {"checkpoint": 1, "purge": 100, "compact": 100, "sweep_staged": 1}
UPKEEP_TIMEOUT_S = 120.0
RECLAIMS_AT_ONCE = 16
PAGE_ROWS = 500
ROUNDS_AN_AGE = 12  # a partition is looked at so often while a tombstone grows old, however many there are


def confirmed(register: Register, tombstone: Register) -> bool:
    """Whether a primary's register lets the tombstone go.

    Not while a promise stands above it there: that device would keep it, and the replicator would bring it back to the others.
    """
    if register.accepted == tombstone.accepted:
        return register.promised <= tombstone.accepted
    return register.accepted == ZERO and register.promised >= tombstone.accepted


class Compactor:
    """One round over all devices and partitions."""

    def __init__(self, fleet: Fleet, *, reclaim_age_s: float, settle: Settle) -> None:
        self.fleet = fleet
        self.reclaim_age_s = reclaim_age_s
        self._settle = settle
        self._due_us: dict[int, int] = {}  # partition -> when it is worth looking at again
        self._due_in_epoch = -1

    async def upkeep(self) -> dict[str, int]:
        """Checkpoint, purge, compact and sweep on every device that answers; counts by name."""
        counts: dict[str, int] = {}
        epoch = self.fleet.ring.epoch
        for device in sorted(self.fleet.ring.devices):
            try:
                for what in UPKEEP_STEPS:
                    await self._upkeep(device, what, epoch, counts)
            except StaleEpoch:
                raise
            except (Refused, Unavailable):
                counts["silent"] = counts.get("silent", 0) + 1
        return counts

    async def _upkeep(self, device: int, what: str, epoch: int, counts: dict[str, int]) -> None:
        for _ in range(UPKEEP_STEPS[what]):
            answer = await self.fleet.ask(Maintain, Maintained, device, epoch=epoch, timeout_s=UPKEEP_TIMEOUT_S, what=what)
            for name, count in answer.counts.items():
                counts[name] = counts.get(name, 0) + count
            if not answer.more:
                return

    async def reclaim(self) -> int:
        """Drop tombstones that are old enough and confirmed everywhere; how many went."""
        self._due_us.clear()
        return await self.reclaim_due()

    async def reclaim_due(self) -> int:
        """The same where a tombstone may have become old enough since the last time."""
        ring = self.fleet.ring
        epoch = ring.epoch
        if self._due_in_epoch != epoch:  # partitions came to other devices
            self._due_in_epoch = epoch
            self._due_us.clear()
        gone = 0
        for partition in range(ring.partition_count):
            now_us = self.fleet.world.clock.wall_us()
            if now_us < self._due_us.get(partition, 0) <= now_us + self._age_us:  # later ones are from before the clock was set back
                continue
            primaries = members(ring, partition)
            due_us = now_us + self._age_us
            for device in primaries:
                dropped, device_due_us = await self._reclaim_from(device, partition, primaries, epoch)
                gone += dropped
                due_us = min(due_us, device_due_us)
            self._due_us[partition] = max(due_us, now_us + self._age_us // ROUNDS_AN_AGE)
        return gone

    @property
    def _age_us(self) -> int:
        return int(self.reclaim_age_s * 1e6)

    async def _reclaim_from(self, device: int, partition: int, primaries: Sequence[int], epoch: int) -> tuple[int, int]:
        """How many went, and when the oldest of those that are left, and may go by then, is old enough."""
        now_us = self.fleet.world.clock.wall_us()
        gone, due_us = 0, now_us + self._age_us
        cursor: bytes | None = b""
        while cursor is not None:
            try:
                page = await self.fleet.ask(
                    PartitionRows, PartitionRowsAnswer, device, epoch=epoch, partition=partition, cursor=cursor, limit=PAGE_ROWS
                )
            except StaleEpoch:
                raise
            except ObjstoreError:
                return gone, now_us
            tombstones = [item for item in page.items if item.register.row and kind_of(item.register.row) == Kind.TOMBSTONE]
            ripe_us = [wall_us_of(item.register.accepted) + self._age_us for item in tombstones]
            old = [item for item, at_us in zip(tombstones, ripe_us, strict=True) if at_us <= now_us]
            went = sum(await at_most(RECLAIMS_AT_ONCE, (self._reclaim_one(item, partition, primaries, epoch) for item in old)))
            gone += went
            if went < len(old):
                due_us = now_us
            due_us = min([due_us, *(at_us for at_us in ripe_us if at_us > now_us)])
            cursor = page.cursor
        return gone, due_us

    async def _reclaim_one(self, item: PartitionRow, partition: int, primaries: Sequence[int], epoch: int) -> bool:
        try:
            if item.key.space == Space.VERSIONS:
                if not await self._version_is_confirmed(item, partition, primaries, epoch):
                    return False
                return await self._drop(item, partition, primaries, epoch)
            for device in primaries:
                answer = await self.fleet.ask(Query, RegisterAnswer, device, epoch=epoch, partition=partition, key=item.key)
                if confirmed(answer.register, item.register):
                    continue
                if answer.register.accepted == item.register.accepted:
                    await self._settle(item.key, partition)  # the one who was promised is gone; at its new ballot it can go later
                return False
            return await self._drop(item, partition, primaries, epoch)
        except StaleEpoch:
            raise
        except ObjstoreError:
            return False

    async def _drop(self, item: PartitionRow, partition: int, primaries: Sequence[int], epoch: int) -> bool:
        for device in primaries:
            ballot = item.register.accepted
            await self.fleet.ask(Reclaim, ReclaimAnswer, device, epoch=epoch, partition=partition, key=item.key, ballot=ballot)
        return True

    async def _version_is_confirmed(self, item: PartitionRow, partition: int, primaries: Sequence[int], epoch: int) -> bool:
        tombstone = decode_row(item.register.row)
        age_us = int(self.reclaim_age_s * 1e6)
        settled = item.register.accepted > tombstone.origin and (
            wall_us_of(item.register.accepted) - wall_us_of(tombstone.origin) >= age_us
        )
        agreed = True
        floors = []
        for device in primaries:
            head = await self.fleet.ask(Query, RegisterAnswer, device, epoch=epoch, partition=partition, key=head_key(item.key))
            if head.register.row and is_the_version(decode_row(head.register.row), item.key):
                return False
            answer = await self.fleet.ask(Query, RegisterAnswer, device, epoch=epoch, partition=partition, key=item.key)
            register = answer.register
            floors.append(answer.floor)
            if not register.row:
                agreed = agreed and answer.floor >= item.register.accepted
            elif rank(decode_row(register.row)) != rank(tombstone):
                return False
            else:
                agreed = agreed and register.accepted == item.register.accepted
        if _is_forgotten(item.register.accepted, tombstone.origin, min(floors), age_us):
            return True
        if not settled or not agreed:
            await self._settle(item.key, partition)
            return False
        return True


def is_the_version(head: Row, version: RowKey) -> bool:
    """Whether a head is the version that a key names."""
    return is_version(head) and head.version == version.version.hex()


def _is_forgotten(accepted: Ballot, origin: Ballot, floor: Ballot, age_us: int) -> bool:
    """Whether every primary's floor is already where dropping the settled tombstone of a version would leave it: nothing rests on it any more.

    So it is where it was dropped everywhere and a replica made it once more, of a head that was copied to its new device.
    """
    return floor >= accepted and wall_us_of(floor) - wall_us_of(origin) >= age_us
