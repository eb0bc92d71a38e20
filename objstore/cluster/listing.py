"""Merged scans: a set of devices that covers each partition with a read quorum, one range scan each, doubts settled by reads."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from objstore.cluster.api import Held, ScannedRow, ScanPage
from objstore.cluster.membership import Membership
from objstore.core.listing import Doubt, Scanned, after_group, merge, merge_groups, reach
from objstore.core.quorum import majority
from objstore.core.rows import RowKey, decode_row, is_live
from objstore.errors import NewerEpoch, ObjstoreError, QuorumLost, StaleEpoch
from objstore.wire.messages import Message, Scan, ScanAnswer, ScanRow
from ring.model import RingError

Read = Callable[[RowKey, int], Awaitable[Held]]
"""Read a register by key and partition."""

SCAN_ROUNDS = 4  # devices that fail are avoided in the next round
READS_AT_ONCE = 16
GROUP_PAGE = 32


class Lister:
    """Scans of one proxy."""

    def __init__(self, members: Membership, *, read: Read, timeout_s: float) -> None:
        self._members = members
        self._read = read
        self._timeout_s = timeout_s

    async def scan(
        self, bucket: bytes, space: int, *, prefix: bytes, start: bytes, limit: int, delimiter: bytes, versions: bool
    ) -> ScanPage:
        """One page.  Raises QuorumLost when no set of devices that answers covers every partition."""
        ask = partial(
            Scan, bucket=bucket, space=space, prefix=prefix, start=max(start, prefix), limit=limit, delimiter=delimiter, versions=versions
        )
        scans, voters = await self._gather(ask)
        end = reach(scans)
        if not delimiter:
            entries = merge(scans, voters=voters, quorum=self._needed, end=end)
            rows, cut = await self._settle(bucket, space, entries, limit)
            return ScanPage(rows, rows[-1].name + b"\0" if cut else end)
        return await self._grouped(bucket, space, scans, voters, end, prefix=prefix, limit=limit, delimiter=delimiter)

    def _needed(self, partition: int) -> int:
        return majority(len(self._members.plan(partition).reading))

    # -- asking -------------------------------------------------------------------------------------------------------

    async def _gather(self, ask: Callable[..., Scan]) -> tuple[list[Scanned[ScanRow]], "_Voters"]:
        avoid: set[int] = set(self._members.down())
        said: list[str] = []
        for _ in range(SCAN_ROUNDS):
            ring = self._members.ring
            try:
                cover = ring.cover(self._copies(), frozenset(avoid & set(ring.devices)))
            except RingError as failure:
                if not avoid:
                    raise QuorumLost(f"no set of devices covers every partition: {failure}") from failure
                avoid.clear()  # what was down a moment ago may be back: try once more with all
                said.append(str(failure))
                continue
            answers = await asyncio.gather(*(self._ask(ask, device, ring.epoch) for device in cover))
            failed = [(device, answer) for device, answer in zip(cover, answers, strict=True) if isinstance(answer, ObjstoreError)]
            for device, why in failed:
                said.append(f"device {device}: {why.message}")
                await self._after(device, why, avoid)
            silent = [d for d, answer in zip(cover, answers, strict=True) if isinstance(answer, Scanned) and self._lacks_vote(answer)]
            if failed:
                continue
            if silent:
                avoid.update(silent)
                said.append(f"devices {silent} have no vote on some partitions")
                continue
            scans = [answer for answer in answers if isinstance(answer, Scanned)]
            return scans, _Voters(self._members, cover)
        raise QuorumLost(f"too few devices answered a listing: {'; '.join(said[-6:])}")

    def _lacks_vote(self, scan: Scanned[ScanRow]) -> bool:
        # A new device of a moving partition has no vote on it, and none is asked of it: the previous set is read.
        return any(scan.device in self._members.plan(partition).reading for partition in scan.silent)

    def _copies(self) -> int:
        return majority(self._members.ring.spec.replica_count)

    async def _after(self, device: int, failure: ObjstoreError, avoid: set[int]) -> None:
        known = self._members.ring.devices.get(device)
        if known is None:
            return
        if isinstance(failure, StaleEpoch):
            await self._members.fetch(known.address)
        elif isinstance(failure, NewerEpoch):
            await self._members.push(known.address)
        else:
            avoid.add(device)

    async def _ask(self, ask: Callable[..., Scan], device: int, epoch: int) -> Scanned[ScanRow] | ObjstoreError:
        about = self._members.ring.devices[device]
        message = ask(epoch=epoch, device=device, incarnation=about.incarnation, timeout_ms=int(self._timeout_s * 1000))
        future: asyncio.Future[Scanned[ScanRow] | ObjstoreError] = asyncio.get_running_loop().create_future()

        def done(answer: Message | None, _payload: bytes | memoryview, failure: ObjstoreError | None) -> None:
            if future.done():
                return
            if isinstance(answer, ScanAnswer):
                future.set_result(Scanned(device, answer.rows, answer.scanned_to, frozenset(answer.silent)))
            else:
                future.set_result(failure or QuorumLost(f"device {device} answered a scan with {type(answer).__name__}"))

        self._members.client(device).send(message, b"", timeout_s=self._timeout_s, done=done)
        return await future

    # -- settling -----------------------------------------------------------------------------------------------------

    async def _settle(self, bucket: bytes, space: int, entries: Sequence[ScanRow | Doubt], limit: int) -> tuple[list[ScannedRow], bool]:
        """Rows of the entries in order, at most `limit`; whether entries were left over."""
        rows: list[ScannedRow] = []
        # Doubts are read a portion at a time, so that a page with many of them reads little beyond its limit.
        portion = READS_AT_ONCE * 4 if any(isinstance(entry, Doubt) for entry in entries) else max(1, len(entries))
        for low in range(0, len(entries), portion):
            part = entries[low : low + portion]
            settled = await self._read_doubts(bucket, space, part)
            for entry in part:
                row = settled[entry.name, entry.version] if isinstance(entry, Doubt) else _live(entry)
                if row is None:
                    continue
                if len(rows) == limit:
                    return rows, True
                rows.append(row)
        return rows, False

    async def _read_doubts(
        self, bucket: bytes, space: int, entries: Sequence[ScanRow | Doubt]
    ) -> dict[tuple[bytes, bytes], ScannedRow | None]:
        doubts = [entry for entry in entries if isinstance(entry, Doubt)]
        settled: dict[tuple[bytes, bytes], ScannedRow | None] = {}
        for low in range(0, len(doubts), READS_AT_ONCE):
            part = doubts[low : low + READS_AT_ONCE]
            held = await asyncio.gather(*(self._read(RowKey(bucket, space, d.name, d.version), d.partition) for d in part))
            for doubt, found in zip(part, held, strict=True):
                live = found.row is not None and is_live(found.row)
                settled[doubt.name, doubt.version] = ScannedRow(doubt.name, found.row, doubt.version) if live and found.row else None
        return settled

    # -- groups -------------------------------------------------------------------------------------------------------

    async def _grouped(
        self, bucket: bytes, space: int, scans: list[Scanned[ScanRow]], voters: "_Voters", end: bytes | None, *,
        prefix: bytes, limit: int, delimiter: bytes,
    ) -> ScanPage:  # fmt: skip
        found = merge_groups(scans, prefix=prefix, delimiter=delimiter, voters=voters, quorum=self._needed, end=end)
        rows: list[ScannedRow] = []
        for group, candidates in found:
            row = await self._first_live(bucket, space, group, candidates)
            if row is None:
                continue
            if len(rows) == limit:
                last = rows[-1].name
                at = last.find(delimiter, len(prefix))
                return ScanPage(rows, after_group(last[: at + len(delimiter)]) if at >= 0 else last + b"\0")
            rows.append(row)
        return ScanPage(rows, end)

    async def _first_live(self, bucket: bytes, space: int, group: bytes, candidates: Sequence[ScanRow | Doubt]) -> ScannedRow | None:
        for entry in candidates:
            if not isinstance(entry, Doubt):
                return _live(entry)
            held = await self._read(RowKey(bucket, space, entry.name, entry.version), entry.partition)
            if held.row is not None and is_live(held.row):
                return ScannedRow(entry.name, held.row, entry.version)
        if not group:
            return None
        # Every candidate is dead, but behind the first of them there may be keys that no device has shown yet.
        start: bytes | None = candidates[0].name + b"\0"
        while start is not None:
            page = await self.scan(bucket, space, prefix=group, start=start, limit=GROUP_PAGE, delimiter=b"", versions=False)
            if page.rows:
                return page.rows[0]
            start = page.next_start
        return None


class _Voters:
    """Partition -> devices of the cover that are in its read set; worked out when asked."""

    def __init__(self, members: Membership, cover: Sequence[int]) -> None:
        self._members = members
        self._cover = set(cover)
        self._known: dict[int, Sequence[int]] = {}

    def __call__(self, partition: int) -> Sequence[int]:
        found = self._known.get(partition)
        if found is None:
            found = self._known[partition] = tuple(d for d in self._members.plan(partition).reading if d in self._cover)
        return found


def _live(row: ScanRow) -> ScannedRow | None:
    decoded = decode_row(row.row)
    return ScannedRow(row.name, decoded, row.version) if is_live(decoded) or row.version else None
