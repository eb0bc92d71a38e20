"""Finds damaged bytes on every device and heals them from the other primaries.

The node quarantines what is damaged and gives it no vote; this daemon then hands it the row that a read quorum of the *others*
agrees on, together with their highest promise, since a promise that the damaged register made may be lost.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from objstore.core.quorum import majority, overlap
from objstore.core.rows import Register, RowKey
from objstore.core.timestamp import ZERO
from objstore.core.versions import winner
from objstore.daemons.fleet import Fleet
from objstore.daemons.replicator import MERGE_TIMEOUT_S, Settle, members
from objstore.errors import ObjstoreError, QuorumLost, Refused, StaleEpoch, Unavailable
from objstore.wire.messages import Audit, AuditAnswer, Merge, Merged, PartitionRow, Query, RegisterAnswer
from ring.lookup import Ring

BUDGET_BYTES = 32 * 1024 * 1024
AUDIT_TIMEOUT_S = 120.0


@dataclass
class AuditCounts:
    """What a scrub read, found and healed."""

    rows: int = 0
    bytes: int = 0
    damaged: int = 0
    healed: int = 0
    quarantined: int = 0
    failed: int = 0
    rows_sent: int = 0  # to devices that lacked them
    bytes_sent: int = 0  # of bodies that they fetched for those rows
    late: bool = False  # the time was over before the end
    silent: set[int] = field(default_factory=set)

    @property
    def clean(self) -> bool:
        """Whether every device was read to its end and nothing damaged is left."""
        return not self.silent and not self.failed and not self.late and self.damaged == self.healed


class Auditor:
    """A full pass reads every byte of every device in bounded steps; between steps others get their turn."""

    def __init__(self, fleet: Fleet, *, settle: Settle, pause_s: float = 0.0) -> None:
        self.fleet = fleet
        self.pause_s = pause_s
        self.totals: Counter[str] = Counter()
        self._settle = settle

    async def run(self, *, timeout_s: float | None = None) -> AuditCounts:
        """One full pass over all devices; what was done within `timeout_s`, where that is not enough for it.

        Raises StaleEpoch when the ring changed meanwhile.
        """
        counts = AuditCounts()
        epoch = self.fleet.ring.epoch
        try:
            async with asyncio.timeout(timeout_s):
                await self._all(epoch, counts)
        except TimeoutError:
            counts.late = True
        self.totals.update(errors=counts.damaged, healed=counts.healed, rounds=1)
        return counts

    async def _all(self, epoch: int, counts: AuditCounts) -> None:
        for device in sorted(self.fleet.ring.devices):
            try:
                await self._device(device, epoch, counts)
            except StaleEpoch:
                raise
            except (Refused, Unavailable):
                counts.silent.add(device)

    async def _device(self, device: int, epoch: int, counts: AuditCounts) -> None:
        cursor: bytes | None = b""
        while cursor is not None:
            step = await self.fleet.ask(
                Audit, AuditAnswer, device, epoch=epoch, timeout_s=AUDIT_TIMEOUT_S, cursor=cursor, budget_bytes=BUDGET_BYTES
            )
            counts.rows += step.rows
            counts.bytes += step.bytes
            counts.damaged += len(step.damaged)
            counts.quarantined += step.quarantined
            for item in step.damaged:
                if await self._heal(device, item, epoch, counts):
                    counts.healed += 1
                else:
                    counts.failed += 1
            cursor = step.cursor
            if self.pause_s:
                await self.fleet.world.clock.sleep(self.pause_s)

    async def _heal(self, device: int, item: PartitionRow, epoch: int, counts: AuditCounts) -> bool:
        """Give a damaged register what the others hold; True when it holds it now."""
        ring = self.fleet.ring
        partition = item.partition
        try:
            others = [d for d in members(ring, partition) if d != device]
            try:
                await self._settle(item.key, partition)
            except QuorumLost:
                # Two replicas without one of them cannot settle anything; what the other holds is then all that may be right.
                if can_settle(ring, partition, device):
                    raise
            best, sources = await self._ask_others(ring, item.key, partition, others, epoch)
            after = await self.fleet.ask(
                Merge, Merged, device, epoch=epoch, timeout_s=MERGE_TIMEOUT_S,
                partition=partition, key=item.key, register=best, sources=tuple(sources),
            )  # fmt: skip
        except StaleEpoch:
            raise
        except ObjstoreError:
            return False
        counts.rows_sent += after.changed
        counts.bytes_sent += after.bytes_pulled
        return after.accepted >= best.accepted

    async def _ask_others(self, ring: Ring, key: RowKey, partition: int, others: Sequence[int], epoch: int) -> tuple[Register, list[int]]:
        """The highest row and the highest promise of all others that answer; a read quorum of the read set must be among them."""
        promised = ZERO
        answers: dict[int, Register] = {}
        for other in others:
            try:
                answer = await self.fleet.ask(Query, RegisterAnswer, other, epoch=epoch, partition=partition, key=key)
            except StaleEpoch:
                raise
            except ObjstoreError:
                continue
            answers[other] = answer.register
            promised = max(promised, answer.register.promised)
        read_set = ring.previous(partition) or ring.primaries(partition)
        needed = overlap(len(read_set)) if len(read_set) > 1 else 0
        if len(set(answers) & set(read_set)) < needed:
            raise Unavailable(f"only {len(answers)} other primaries of partition {partition} answer: not enough to heal from")
        best, sources = winner(answers, key.space)
        return Register(promised, best.accepted, best.row), list(sources)


def can_settle(ring: Ring, partition: int, device: int) -> bool:
    """Whether the replicas that say what is so have a majority without a device."""
    read_set = ring.previous(partition) or ring.primaries(partition)
    return len([other for other in read_set if other != device]) >= majority(len(read_set))
