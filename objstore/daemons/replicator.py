"""Makes the replicas of each partition equal, refills new devices, sends misplaced copies home.

Rows pass through the daemon, bodies go from node to node (`Merge.sources`).  What it must never do: drop a copy before every
primary has confirmed that it holds that row or a later one; count anything as in sync that was read in another epoch.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from objstore.core.quorum import overlap
from objstore.core.reads import Offer
from objstore.core.rows import Register, Row, RowKey, Space, decode_row
from objstore.core.timestamp import ZERO, Ballot
from objstore.core.versions import rank
from objstore.daemons.fleet import CALL_TIMEOUT_S, Fleet
from objstore.errors import Damaged, ObjstoreError, Refused, StaleEpoch, Unavailable
from objstore.wire.messages import (
    Digests,
    DigestsAnswer,
    Done,
    DropPartition,
    Dropped,
    InSync,
    Merge,
    Merged,
    PartitionRow,
    PartitionRows,
    PartitionRowsAnswer,
    Query,
    RegisterAnswer,
    SyncState,
    SyncStateAnswer,
)
from ring.lookup import Ring

T = TypeVar("T")
MERGES_AT_ONCE = 16
PARTITIONS_AT_ONCE = 4
PAGE_ROWS = 1000
MISPLACED_PAGE_ROWS = 200
DIGESTS_A_CALL = 4096
MERGE_TIMEOUT_S = 120.0  # a merge may pull a large body


class Settle(Protocol):
    """Bring all primaries to the chosen row of a register (cluster.settle), of a version also to the one that is offered."""

    def __call__(self, key: RowKey, partition: int, offer: Offer | None = None) -> Awaitable[object]:
        """By key and partition.  Raises QuorumLost."""


Holdings = dict[RowKey, dict[int, Ballot]]
DigestTable = dict[int, dict[int, tuple[bytes, int]]]


@dataclass
class RepairCounts:
    """What a repair did, and what it could not reach."""

    partitions: int = 0
    rows_sent: int = 0
    bytes_sent: int = 0
    healed: int = 0
    dropped: int = 0
    failed: int = 0
    under_replicated: int = 0
    misplaced: int = 0
    silent: set[int] = field(default_factory=set)  # devices that did not answer

    def add(self, other: "RepairCounts") -> None:
        """Sum up."""
        for name in ("partitions", "rows_sent", "bytes_sent", "healed", "dropped", "failed", "under_replicated", "misplaced"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.silent |= other.silent

    @property
    def clean(self) -> bool:
        """Whether everything was reached and is in its place."""
        return not (self.failed or self.silent or self.under_replicated or self.misplaced)


def members(ring: Ring, partition: int) -> list[int]:
    """Current primaries, then those of the previous set that are still in the ring."""
    found = list(ring.primaries(partition))
    found += [d for d in ring.previous(partition) or () if d not in found and d in ring.devices]
    return found


async def at_most(limit: int, jobs: Iterable[Awaitable[T]]) -> list[T]:
    """All results in order, `limit` running at a time."""
    gate = asyncio.Semaphore(limit)

    async def one(job: Awaitable[T]) -> T:
        async with gate:
            return await job

    return list(await asyncio.gather(*(one(job) for job in jobs)))


def _is_held(answer: RegisterAnswer, row: Row) -> bool:
    return bool(answer.register.row) and rank(decode_row(answer.register.row)) >= rank(row)


def _is_forgotten(answer: RegisterAnswer, row: Row) -> bool:
    return not answer.register.row and answer.floor >= row.origin


class Replicator:
    """One pass compares all partitions and mends those that differ."""

    def __init__(self, fleet: Fleet, *, settle: Settle) -> None:
        self.fleet = fleet
        self._settle = settle
        self.totals: Counter[str] = Counter()

    async def survey(self, *, epoch: int, timeout_s: float = CALL_TIMEOUT_S) -> tuple[DigestTable, set[int]]:
        """Digests of every partition on every device, and the devices that did not answer within `timeout_s` a call."""
        ring = self.fleet.ring
        everything = range(ring.partition_count)
        table: DigestTable = {}
        silent: set[int] = set()

        async def one(device: int) -> None:
            held: dict[int, tuple[bytes, int]] = {}
            try:
                for low in range(0, len(everything), DIGESTS_A_CALL):
                    asked = list(everything[low : low + DIGESTS_A_CALL])
                    async with asyncio.timeout(timeout_s):  # also over the dialing, which a node that hangs lets wait
                        answer = await self.fleet.ask(Digests, DigestsAnswer, device, epoch=epoch, timeout_s=timeout_s, partitions=asked)
                    held.update(zip(asked, zip(answer.digests, answer.rows, strict=True), strict=True))
            except StaleEpoch:
                raise
            except (Refused, Unavailable, TimeoutError):
                silent.add(device)
            else:
                table[device] = held

        await asyncio.gather(*(one(device) for device in sorted(ring.devices)))
        return table, silent

    async def run(self) -> RepairCounts:
        """One full pass.  Raises StaleEpoch when the ring changed meanwhile; run it again then."""
        ring = self.fleet.ring
        epoch = ring.epoch
        table, silent = await self.survey(epoch=epoch)
        counts = RepairCounts(silent=silent)
        pending = await self._pending(ring, silent)
        todo = [p for p in range(ring.partition_count) if self._differs(ring, p, table) or p in pending]
        for done in await at_most(PARTITIONS_AT_ONCE, (self._partition(p, table, pending.get(p, ()), epoch) for p in todo)):
            counts.add(done)
        for device in sorted(table):
            primary_of = set(ring.partitions_of(device))
            for partition, (_, rows) in sorted(table[device].items()):
                if rows and partition not in primary_of:
                    counts.add(await self._send_home(device, partition, epoch))
        self.totals.update(rows_sent=counts.rows_sent, bytes_sent=counts.bytes_sent, failed=counts.failed, rounds=1)
        return counts

    def _differs(self, ring: Ring, partition: int, table: DigestTable) -> bool:
        return len({table[d][partition] for d in members(ring, partition) if d in table}) > 1

    async def _pending(self, ring: Ring, silent: set[int]) -> dict[int, list[int]]:
        """Partition -> new devices that do not hold it completely yet."""
        pending: dict[int, list[int]] = {}
        if not ring.moving():
            return pending
        for device in sorted(set(ring.devices) - silent):
            answer = await self.fleet.ask(SyncState, SyncStateAnswer, device, epoch=ring.epoch)
            for partition in answer.pending:
                pending.setdefault(partition, []).append(device)
        return pending

    async def _partition(self, partition: int, table: DigestTable, refill: Sequence[int], epoch: int) -> RepairCounts:
        ring = self.fleet.ring
        counts = RepairCounts(partitions=1)
        asked = [d for d in members(ring, partition) if d in table]
        holdings: Holdings = {}
        floors: dict[int, Ballot] = {}
        for device in asked:
            try:
                floors[device] = await self._list(device, partition, epoch, holdings)
            except StaleEpoch:
                raise
            except (Refused, Unavailable, Damaged):
                counts.silent.add(device)
        heard = set(floors)
        old = {d: floors[d] for d in ring.previous(partition) or () if d in floors}
        if not old or len(old) < overlap(len(ring.previous(partition) or ())):
            refill, old = (), {}
        for device in refill:
            if device in heard:
                counts.add(await self._drop_forgotten(device, partition, old, holdings, epoch))
        lagging = [(key, held) for key, held in holdings.items() if any(held.get(d, ZERO) < max(held.values()) for d in heard)]
        # Versions first: a head may carry a change of one, for which its bytes must be there.
        for versions in (True, False):
            wave = [(key, held) for key, held in lagging if (key.space == Space.VERSIONS) is versions]
            for done in await at_most(MERGES_AT_ONCE, (self._mend(key, held, partition, heard, epoch) for key, held in wave)):
                counts.add(done)
        if not counts.failed:
            # So many of the old primaries were read in this epoch that whatever a majority of them took is among it, and that no
            # majority is left for what is older: each has adopted the epoch.
            for device in refill:
                if device in heard:
                    await self.fleet.ask(InSync, Done, device, epoch=epoch, partition=partition, floor=max(old.values()))
        return counts

    async def _drop_forgotten(self, device: int, partition: int, old: dict[int, Ballot], holdings: Holdings, epoch: int) -> RepairCounts:
        """Remove rows that a new primary has from earlier, and that were deleted and reclaimed on the others since.

        `old`: the reclaim floors of a read quorum of the old primaries.  A row below all of them of which none holds
        anything cannot be chosen any more; merged, it would bring a deleted object back.
        """
        floor = min(old.values())
        unknown = [key for key, held in holdings.items() if held.get(device, ZERO) > ZERO and all(held.get(d, ZERO) == ZERO for d in old)]
        counts = RepairCounts()
        forgotten = []
        for key in unknown:
            if await self._began(key, holdings[key][device], device, partition, epoch) >= floor:
                continue
            try:
                known = key.space == Space.VERSIONS and await self._is_head_of_any(key, old, partition, epoch)
            except StaleEpoch:
                raise
            except ObjstoreError:
                counts.failed += 1  # it stays, and the device is not in sync before all of them answered
                known = True
            if not known:
                forgotten.append(key)
        items = [PartitionRow(key, Register(ZERO, holdings[key][device])) for key in forgotten]
        for low in range(0, len(items), PAGE_ROWS):
            page = items[low : low + PAGE_ROWS]
            counts.dropped += (await self.fleet.ask(DropPartition, Dropped, device, epoch=epoch, partition=partition, items=page)).rows
        for key in forgotten:
            del holdings[key][device]
            if not holdings[key]:
                del holdings[key]
        return counts

    async def _is_head_of_any(self, key: RowKey, old: Iterable[int], partition: int, epoch: int) -> bool:
        """Whether the version is the head of one that has not heard of a newer one: nothing lies under the version's key there."""
        for device in old:
            if (await self._ask_version(device, key, partition, epoch)).register.row:
                return True
        return False

    async def _began(self, key: RowKey, accepted: Ballot, device: int, partition: int, epoch: int) -> Ballot:
        """Below which floor a row is forgotten: a version may have been stored anew long after it was removed elsewhere."""
        if key.space != Space.VERSIONS:
            return accepted
        answer = await self.fleet.ask(Query, RegisterAnswer, device, epoch=epoch, partition=partition, key=key)
        return decode_row(answer.register.row).origin if answer.register.row else accepted

    async def _list(self, device: int, partition: int, epoch: int, holdings: Holdings) -> Ballot:
        """Add what a device holds of a partition to `holdings`; the device's reclaim floor."""
        floor = ZERO
        cursor: bytes | None = b""
        while cursor is not None:
            page = await self.fleet.ask(
                PartitionRows, PartitionRowsAnswer, device, epoch=epoch, partition=partition, cursor=cursor, limit=PAGE_ROWS, rows=False
            )
            for item in page.items:
                holdings.setdefault(item.key, {})[device] = item.register.accepted
            floor = page.floor
            cursor = page.cursor
        return floor

    async def _mend(self, key: RowKey, held: dict[int, Ballot], partition: int, heard: set[int], epoch: int) -> RepairCounts:
        counts = RepairCounts()
        newest = max(held.values())
        holders = sorted(d for d, ballot in held.items() if ballot == newest)
        register = await self._fetch(key, holders, partition, newest, epoch)
        if register is None:
            counts.failed += 1
            return counts
        for device in sorted(heard):
            if held.get(device, ZERO) >= newest:
                continue
            try:
                after = await self._merge(device, key, partition, Register(ZERO, register.accepted, register.row), holders, epoch)
                counts.bytes_sent += after.bytes_pulled
                counts.rows_sent += after.changed
                if after.accepted < newest or (key.space == Space.VERSIONS and not after.changed):
                    # A promise stands above the row: only a round of agreement can tell which row is right.  So it is with a
                    # version that was refused: it is not the ballot that says which of two rows is the later one.
                    await self._settle(key, partition)
                    counts.rows_sent += 1
            except StaleEpoch:
                raise
            except ObjstoreError:
                counts.failed += 1
        return counts

    async def _fetch(self, key: RowKey, holders: Sequence[int], partition: int, newest: Ballot, epoch: int) -> Register | None:
        for device in holders:
            try:
                answer = await self.fleet.ask(Query, RegisterAnswer, device, epoch=epoch, partition=partition, key=key, stored=True)
            except StaleEpoch:
                raise
            except ObjstoreError:
                continue
            if answer.register.accepted >= newest:
                return answer.register
        return None

    async def _merge(self, device: int, key: RowKey, partition: int, register: Register, sources: Sequence[int], epoch: int) -> Merged:
        return await self.fleet.ask(
            Merge,
            Merged,
            device,
            epoch=epoch,
            timeout_s=MERGE_TIMEOUT_S,
            partition=partition,
            key=key,
            register=register,
            sources=tuple(sources),
        )

    async def _send_home(self, device: int, partition: int, epoch: int) -> RepairCounts:
        """Hand every row that `device` should not have to all primaries, then drop the rows that all of them confirmed."""
        ring = self.fleet.ring
        counts = RepairCounts()
        primaries = members(ring, partition)
        cursor: bytes | None = b""
        while cursor is not None:
            page = await self.fleet.ask(
                PartitionRows, PartitionRowsAnswer, device, epoch=epoch, partition=partition, cursor=cursor, limit=MISPLACED_PAGE_ROWS
            )
            confirmed = await at_most(
                MERGES_AT_ONCE, (self._confirm(item, device, partition, primaries, epoch, counts) for item in page.items)
            )
            gone = [item for item, sure in zip(page.items, confirmed, strict=True) if sure]
            counts.misplaced += len(page.items) - len(gone)
            if gone:
                slim = [PartitionRow(item.key, Register(ZERO, item.register.accepted)) for item in gone]
                dropped = await self.fleet.ask(DropPartition, Dropped, device, epoch=epoch, partition=partition, items=slim)
                counts.dropped += dropped.rows
            cursor = page.cursor
        return counts

    async def _confirm(
        self, item: PartitionRow, device: int, partition: int, primaries: Sequence[int], epoch: int, counts: RepairCounts
    ) -> bool:
        ballot = item.register.accepted
        if item.key.space == Space.VERSIONS and item.register.row:
            return await self._confirm_version(item, device, partition, primaries, epoch, counts)
        for primary in primaries:
            try:
                after = await self._merge(primary, item.key, partition, Register(ZERO, ballot, item.register.row), (device,), epoch)
                if after.accepted < ballot <= after.promised:
                    # Either a promise stands in the way (settling moves it on), or the row is older than a reclaimed tombstone.
                    await self._settle(item.key, partition)
            except StaleEpoch:
                raise
            except ObjstoreError:
                counts.failed += 1
                return False
            counts.rows_sent += after.changed
            counts.bytes_sent += after.bytes_pulled
            if after.accepted < ballot and after.promised < ballot:
                return False
        return True

    async def _confirm_version(
        self, item: PartitionRow, device: int, partition: int, primaries: Sequence[int], epoch: int, counts: RepairCounts
    ) -> bool:
        """As `_confirm`, by rank: every primary holds this row of the version or a later one, or has forgotten that it was removed."""
        mine = decode_row(item.register.row)
        try:
            for primary in primaries:
                after = await self._merge(
                    primary, item.key, partition, Register(ZERO, item.register.accepted, item.register.row), (device,), epoch
                )
                counts.rows_sent += after.changed
                counts.bytes_sent += after.bytes_pulled
            answers = [await self._ask_version(primary, item.key, partition, epoch) for primary in primaries]
            if not all(_is_held(answer, mine) for answer in answers):
                # A promise of the head may keep it out of all of them for ever, at the ballot that it has.
                forgotten = any(_is_forgotten(answer, mine) for answer in answers)
                await self._settle(item.key, partition, None if forgotten else Offer(item.register, (device,)))
                answers = [await self._ask_version(primary, item.key, partition, epoch) for primary in primaries]
        except StaleEpoch:
            raise
        except ObjstoreError:
            counts.failed += 1
            return False
        return all(_is_held(answer, mine) or _is_forgotten(answer, mine) for answer in answers)

    async def _ask_version(self, device: int, key: RowKey, partition: int, epoch: int) -> RegisterAnswer:
        return await self.fleet.ask(Query, RegisterAnswer, device, epoch=epoch, partition=partition, key=key)

    async def verify(self, *, timeout_s: float = CALL_TIMEOUT_S) -> RepairCounts:
        """Count what is not in its place now, changing nothing: rows that some primary lacks, rows that no primary should miss.

        A device that does not give its digests within `timeout_s` is silent, and what it should hold is counted as lacking.
        """
        ring = self.fleet.ring
        epoch = ring.epoch
        table, silent = await self.survey(epoch=epoch, timeout_s=timeout_s)
        counts = RepairCounts(silent=silent)
        for partition in range(ring.partition_count):
            if self._differs(ring, partition, table):
                holdings: Holdings = {}
                asked = [d for d in members(ring, partition) if d in table]
                for device in asked:
                    await self._list(device, partition, epoch, holdings)
                counts.under_replicated += sum(len({held.get(d, ZERO) for d in asked}) > 1 for held in holdings.values())
            missing = [d for d in ring.primaries(partition) if d in silent]
            if missing:
                counts.under_replicated += max((table[d][partition][1] for d in ring.primaries(partition) if d in table), default=0)
        for device, held_by_partition in table.items():
            primary_of = set(ring.partitions_of(device))
            counts.misplaced += sum(rows for p, (_, rows) in held_by_partition.items() if p not in primary_of)
        return counts
