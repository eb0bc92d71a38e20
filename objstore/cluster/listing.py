"""Merged scans: a set of devices that covers each partition with a read quorum, one range scan each, doubts settled by reads.

Everything is judged by the placement that the scans were asked in: nodes refuse any other epoch, so all answers of one page are of
one epoch, and a newer ring that comes meanwhile changes nothing about them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import msgspec

from objstore.cluster.api import Held, ScannedRow, ScanPage, WantedHead
from objstore.cluster.membership import Membership
from objstore.core.listing import Doubt, Scanned, after_group, merge, merge_groups, place_of_version, reach, reach_version
from objstore.core.names import ROW_NAME_LIMIT_BYTES
from objstore.core.placement import Placement
from objstore.core.quorum import Tally
from objstore.core.rows import Kind, Row, RowKey, Space, encode_row, is_live
from objstore.core.versions import version_bytes
from objstore.errors import DeadlineExceeded, NewerEpoch, ObjstoreError, QuorumLost, StaleEpoch
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner
from objstore.wire.messages import Message, Scan, ScanAnswer, ScanRow
from ring.model import RingError

Read = Callable[[RowKey, int], Coroutine[Any, Any, Held]]
"""Read a register by key and partition."""

SOON_S = 1.5  # a device that has not answered by then is avoided, if the others suffice
PAUSE_S = 0.27  # before all devices are tried again
COVERS_TRIED = 8  # for two scans to be of the same devices
CATCH_UPS = 3  # ring changes between a device and us that one page follows
READS_AT_ONCE = 16
DOUBTS_AT_ONCE = 4 * READS_AT_ONCE  # read together, so that a page with many of them reads little beyond its limit
GROUP_PAGE = 32


class Lister:
    """Scans of one proxy."""

    def __init__(
        self, members: Membership, clock: Clock, tasks: TaskOwner, *, read: Read, timeout_s: float, patience_s: float
    ) -> None:  # fmt: skip
        self._members = members
        self._clock = clock
        self._tasks = tasks
        self._read = read
        self._timeout_s = timeout_s
        self._patience_s = patience_s

    async def scan(
        self, bucket: bytes, space: int, *, prefix: bytes, start: bytes, limit: int, delimiter: bytes, versions: bool,
        start_version: bytes = b"", heads: WantedHead | None = None,
    ) -> ScanPage:  # fmt: skip
        """One page of at most `limit` rows.  It may hold fewer, even none, and go on.

        Raises QuorumLost when no set of devices that answers covers every partition.
        """
        assert limit > 0
        assert not (delimiter and space == Space.VERSIONS), "versions are not listed in groups"
        if len(prefix) > ROW_NAME_LIMIT_BYTES:
            return ScanPage([], None)  # what no name can begin with; nodes refuse to look for it
        if len(delimiter) > ROW_NAME_LIMIT_BYTES:
            delimiter = b""  # nor hold
        if start < prefix or len(start) > ROW_NAME_LIMIT_BYTES:
            start_version = b""
        start = start[:ROW_NAME_LIMIT_BYTES]  # every name that is shorter stands on the same side of it
        until_s = self._clock.monotonic() + self._timeout_s
        search = _Search(self, self._clock, bucket, space, versions=versions, until_s=until_s, heads=heads)
        return await search.page(prefix=prefix, start=max(start, prefix), limit=limit, delimiter=delimiter, start_version=start_version)

    # -- asking -------------------------------------------------------------------------------------------------------

    async def gather(self, ask: Callable[..., Scan]) -> tuple[list[Scanned[ScanRow]], Placement]:
        """Answers of a set of devices that covers every partition, all in one epoch, and the placement of that epoch.

        Devices that are ill, slow or without a vote are left out as long as the others suffice; then all are asked again, with
        as much patience as there is time, since nodes may be restarting.
        """
        began_s = self._clock.monotonic()
        avoid = set(self._members.ill())
        refusals: dict[int, int] = {}
        said: list[str] = []
        patient = False
        while (left_s := began_s + self._timeout_s - self._clock.monotonic()) > 0:
            placement = self._members.placement
            try:
                cover = placement.cover(frozenset(avoid))
            except RingError as failure:
                if not avoid or (patient and self._clock.monotonic() - began_s >= self._patience_s):
                    raise QuorumLost(f"too few devices answer a listing: {failure}; {'; '.join(said[-6:])}") from failure
                if patient:
                    await self._clock.sleep(PAUSE_S)
                patient = True
                avoid.clear()
                continue
            answers = await self._ask_all(ask, placement, cover, wait_s=left_s if patient else min(left_s, SOON_S))
            scans: list[Scanned[ScanRow]] = []
            known: list[tuple[msgspec.Raw, list[ScanRow]]] = []
            for device, answered in answers.items():
                answer = _scanned(device, answered, known)
                if isinstance(answer, ObjstoreError):
                    said.append(f"device {device}: {answer.message}")
                    await self._after(device, answer, avoid, refusals)
                elif _lacks_vote(placement, answer):
                    said.append(f"device {device} has no vote on some partitions")
                    avoid.add(device)
                else:
                    scans.append(answer)
            if len(scans) == len(cover):
                return scans, placement
        raise QuorumLost(f"too few devices answered a listing in time: {'; '.join(said[-6:])}")

    async def gather_families(
        self, ask_heads: Callable[..., Scan], ask_versions: Callable[..., Scan]
    ) -> tuple[list[Scanned[ScanRow]], list[Scanned[ScanRow]], Placement]:
        """Heads, then noncurrent versions, of the same devices in the same epoch.  Raises QuorumLost.

        A version that was told to be there lies on one device of each cover, as the head or as a noncurrent version; looked for in this order it
        is seen, whichever it is by then.  Two covers could each show the half that lacks it.
        """
        for _ in range(COVERS_TRIED):
            heads, before = await self.gather(ask_heads)
            versions, placement = await self.gather(ask_versions)
            if before.ring.epoch == placement.ring.epoch and {s.device for s in heads} == {s.device for s in versions}:
                return heads, versions, placement
        raise QuorumLost("devices come and go too fast for a listing of versions")

    async def _after(self, device: int, failure: ObjstoreError, avoid: set[int], refusals: dict[int, int]) -> None:
        if isinstance(failure, StaleEpoch | NewerEpoch) and refusals.get(device, 0) < CATCH_UPS:
            refusals[device] = refusals.get(device, 0) + 1
            await self._members.catch_up(device, failure)
        else:
            avoid.add(device)

    async def _ask_all(
        self, ask: Callable[..., Scan], placement: Placement, cover: Sequence[int], *, wait_s: float
    ) -> dict[int, ScanAnswer | ObjstoreError]:
        ring = placement.ring
        loop = asyncio.get_running_loop()
        answers: dict[int, asyncio.Future[ScanAnswer | ObjstoreError]] = {}
        for device in cover:
            future = answers[device] = loop.create_future()
            if device not in self._members.ring.devices:
                future.set_result(QuorumLost("it is not in the ring any more"))
                continue
            message = ask(
                epoch=ring.epoch, device=device, incarnation=ring.devices[device].incarnation, timeout_ms=int(self._timeout_s * 1000)
            )
            self._members.client(device).send(message, b"", timeout_s=wait_s + 1.0, done=partial(_note, future))
        await asyncio.wait(answers.values(), timeout=wait_s)
        silence = DeadlineExceeded(f"no answer to a scan within {wait_s:.3g} s")
        return {device: future.result() if future.done() else silence for device, future in answers.items()}

    async def read_doubts(
        self, bucket: bytes, space: int, doubts: Sequence[Doubt], *, versions: bool
    ) -> dict[tuple[bytes, bytes], ScannedRow | None]:
        """The agreed row of each doubt, None where there is nothing to list."""
        settled: dict[tuple[bytes, bytes], ScannedRow | None] = {}
        for low in range(0, len(doubts), READS_AT_ONCE):
            portion = doubts[low : low + READS_AT_ONCE]
            held = await self._together([self._read(RowKey(bucket, space, d.name, d.version), d.partition) for d in portion])
            for doubt, found in zip(portion, held, strict=True):
                settled[doubt.name, doubt.version] = _listed(doubt, found.row, versions=versions)
        return settled

    async def _together(self, reads: Sequence[Coroutine[Any, Any, Held]]) -> list[Held]:
        if len(reads) == 1:
            return [await reads[0]]
        tasks: list[asyncio.Task[Held | ObjstoreError]] = []
        try:
            for read in reads:
                tasks.append(self._tasks.spawn(_outcome(read), name="doubt"))  # noqa: PERF401 those begun must end when one cannot begin
            outcomes = await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            for read in reads[len(tasks) :]:
                read.close()
            raise
        failure = next((outcome for outcome in outcomes if isinstance(outcome, ObjstoreError)), None)
        if failure is not None:
            raise failure
        return [outcome for outcome in outcomes if isinstance(outcome, Held)]


async def _outcome(read: Coroutine[Any, Any, Held]) -> Held | ObjstoreError:
    try:
        return await read
    except ObjstoreError as failure:
        return failure


class _Search:
    """One listing, which may take several scans: of a group whose first keys all proved dead, the rest is looked at."""

    def __init__(
        self, lister: Lister, clock: Clock, bucket: bytes, space: int, *, versions: bool, until_s: float, heads: WantedHead | None = None
    ) -> None:  # fmt: skip
        self._heads = heads
        self._lister = lister
        self._clock = clock
        self._bucket = bucket
        self._space = space
        self._versions = versions
        self._until_s = until_s

    async def page(self, *, prefix: bytes, start: bytes, limit: int, delimiter: bytes, start_version: bytes = b"") -> ScanPage:
        ask = partial(
            Scan, bucket=self._bucket, space=self._space, prefix=prefix, start=start, limit=limit, delimiter=delimiter,
            versions=self._versions, start_version=start_version, torn=self._space == Space.VERSIONS,
        )  # fmt: skip
        if self._space == Space.VERSIONS:
            return await self._families(ask, start, start_version, limit)
        scans, placement = await self._lister.gather(ask)
        electorate = Electorate(placement)
        end = reach(scans)
        if delimiter:
            groups = merge_groups(scans, prefix=prefix, delimiter=delimiter, electorate=electorate, end=end)
            return await self._grouped(groups, limit, end)
        return await self._flat(merge(scans, electorate=electorate, end=end), limit, end, b"")

    async def _families(self, ask: "partial[Scan]", start: bytes, start_version: bytes, limit: int) -> ScanPage:
        """Noncurrent versions, and what is one although the device that shows it has not heard of a newer head yet."""
        heads, scans, placement = await self._lister.gather_families(partial(ask, space=Space.OBJECTS, start_version=b"", torn=False), ask)
        electorate = Electorate(placement)
        end = reach(scans)
        if start_version:
            scans = [_not_before(scan, start, start_version) for scan in scans]
        end_version = reach_version(scans, end)
        heads_end = reach(heads)
        if heads_end is not None and (end is None or heads_end <= end):
            end, end_version = heads_end, b""
        entries: list[ScanRow | Doubt] = merge(scans, electorate=electorate, end=end, end_version=end_version)
        known = {(entry.name, entry.version) for entry in entries}
        first, behind = (start, place_of_version(start_version)), None if end is None else (end, place_of_version(end_version))
        for entry in _as_versions(heads, electorate, self._heads):
            place = _place(entry)
            if (entry.name, entry.version) in known or (start_version and place < first):
                continue
            if behind is None or (place < behind if end_version else entry.name < behind[0]):
                entries.append(entry)
        if len(entries) > len(known):
            entries.sort(key=_place)
        return await self._flat(entries, limit, end, end_version)

    async def _flat(self, entries: Sequence[ScanRow | Doubt], limit: int, end: bytes | None, end_version: bytes) -> ScanPage:
        if len(entries) <= limit and Doubt not in set(map(type, entries)):  # as nearly always
            return ScanPage(cast("Sequence[ScanRow]", entries), end, end_version)
        rows: list[ScannedRow] = []
        settled: dict[tuple[bytes, bytes], ScannedRow | None] = {}
        for index, entry in enumerate(entries):
            if len(rows) >= limit:
                return ScanPage(rows, entry.name, entry.version)
            if isinstance(entry, ScanRow):  # nodes show nothing that is not to be listed
                rows.append(entry)
                continue
            if (entry.name, entry.version) not in settled:
                settled = await self._settle(entries[index : index + DOUBTS_AT_ONCE])
            row = settled[entry.name, entry.version]
            if row is not None:
                rows.append(row)
        return ScanPage(rows, end, end_version)

    async def _grouped(self, groups: Sequence[tuple[bytes, list[ScanRow | Doubt]]], limit: int, end: bytes | None) -> ScanPage:
        rows: list[ScannedRow] = []
        settled: dict[tuple[bytes, bytes], ScannedRow | None] = {}
        for index, (group, candidates) in enumerate(groups):
            first = candidates[0]
            if len(rows) >= limit and (group or first.name != rows[-1].name):
                return ScanPage(rows, group or first.name)
            if isinstance(first, Doubt) and (first.name, first.version) not in settled:
                near = groups[index : index + DOUBTS_AT_ONCE // 2]
                settled = await self._settle([entry for _, entries in near for entry in entries])
            row = next((row for row in (self._row(entry, settled) for entry in candidates) if row is not None), None)
            if row is None and group:
                row, go_on = await self._behind(group, first.name)
                if go_on is not None:
                    return ScanPage(rows, go_on)
            if row is not None:
                rows.append(row)
        last = groups[-1][0] if groups else b""
        if last and end is not None and end.startswith(last):
            return ScanPage(rows, after_group(last))  # some device stopped inside of a group that is dealt with
        return ScanPage(rows, end)

    async def _behind(self, group: bytes, first: bytes) -> tuple[ScannedRow | None, bytes | None]:
        """The first live row of a group all of whose candidates are dead, and where to go on when the time is up before.

        Behind the first candidate there may be keys that no device has shown yet.
        """
        start: bytes | None = first + b"\0"
        while start is not None:
            if self._clock.monotonic() >= self._until_s:
                return None, start
            page = await self.page(prefix=group, start=start, limit=GROUP_PAGE, delimiter=b"")
            if page.rows:
                return page.rows[0], None
            start = page.next_start
        return None, None

    async def _settle(self, entries: Sequence[ScanRow | Doubt]) -> dict[tuple[bytes, bytes], ScannedRow | None]:
        doubts = [entry for entry in entries if isinstance(entry, Doubt)]
        return await self._lister.read_doubts(self._bucket, self._space, doubts, versions=self._versions)

    @staticmethod
    def _row(entry: ScanRow | Doubt, settled: dict[tuple[bytes, bytes], ScannedRow | None]) -> ScannedRow | None:
        return settled[entry.name, entry.version] if isinstance(entry, Doubt) else entry


class Electorate:
    """Who must agree on a listed row: in a change both sets, as in a read.

    A row that a quorum of the previous set alone holds may get lost with that set; one that is absent there may have been written
    since by those who know the next ring already.
    """

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    def needed(self, partition: int) -> int:
        """See core.listing.Electorate."""
        quorum = self._placement.plan(partition).quorum
        return quorum.needs[0] if len(quorum.needs) == 1 else 0

    def agree(self, partition: int, devices: Sequence[int]) -> bool:
        """See core.listing.Electorate."""
        quorum = self._placement.plan(partition).quorum
        tally = Tally(quorum)
        for device in devices:
            if device in quorum:
                tally.yes(device)
        return tally.reached


def _lacks_vote(placement: Placement, scan: Scanned[ScanRow]) -> bool:
    # A new device of a moving partition has no vote on it and shows nothing of it; what it holds is asked for when in doubt.
    return any(scan.device in placement.plan(partition).reading for partition in scan.silent)


def _note(future: "asyncio.Future[ScanAnswer | ObjstoreError]", answer: Message | None, _: object, failure: ObjstoreError | None) -> None:
    if future.done():
        return
    if isinstance(answer, ScanAnswer):
        future.set_result(answer)
    else:
        future.set_result(failure or QuorumLost(f"a scan was answered with {type(answer).__name__}"))


def _as_versions(heads: Sequence[Scanned[ScanRow]], electorate: Electorate, wanted: WantedHead | None) -> list[ScanRow | Doubt]:
    """Heads on which devices differ, as doubts about the versions that they are: each may be noncurrent, or be nothing any more.

    Of those on which they agree the ones that are wanted, as the versions that they are.
    """
    merged = merge(heads, electorate=electorate, end=None)
    found: list[ScanRow | Doubt] = []
    if wanted is not None:
        found += [
            ScanRow(head.name, version_bytes(head.row.version), head.partition, head.accepted, head.encoded)
            for head in merged
            if isinstance(head, ScanRow) and wanted(head)
        ]
    differ = {entry.name for entry in merged if isinstance(entry, Doubt)}
    if not differ:
        return found
    shown = {(row.name, version_bytes(row.row.version)): row.partition for scan in heads for row in scan.rows if row.name in differ}
    return found + [Doubt(name, version, partition) for (name, version), partition in shown.items()]


def _place(entry: ScanRow | Doubt) -> tuple[bytes, bytes]:
    return entry.name, place_of_version(entry.version)


def _not_before(scan: Scanned[ScanRow], start: bytes, start_version: bytes) -> Scanned[ScanRow]:
    """A node of an older release begins with the newest version of a name whatever it is asked."""
    place = place_of_version(start_version)
    rows = [row for row in scan.rows if row.name != start or place_of_version(row.version) >= place]
    return replace(scan, rows=rows)


def _scanned(
    device: int, answer: ScanAnswer | ObjstoreError, known: list[tuple[msgspec.Raw, list[ScanRow]]]
) -> Scanned[ScanRow] | ObjstoreError:
    """An answer decoded.  Rows that came in the same bytes from another device, as they mostly do, are taken from `known`."""
    if isinstance(answer, ObjstoreError):
        return answer
    rows = next((rows for encoded, rows in known if encoded == answer.encoded), None)
    if rows is None:
        try:
            rows = answer.rows
        except msgspec.MsgspecError as failure:
            return QuorumLost(f"the rows of a scan do not decode: {failure}")
        known.append((answer.encoded, rows))
    return Scanned(device, rows, answer.scanned_to, frozenset(answer.silent), answer.scanned_version)


def _listed(doubt: Doubt, row: Row | None, *, versions: bool) -> ScannedRow | None:
    if row is None or not (is_live(row) or (versions and row.kind == Kind.DELETE_MARKER)):
        return None
    return ScanRow(doubt.name, doubt.version, doubt.partition, row.origin, encode_row(row))
