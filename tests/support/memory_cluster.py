"""A cluster in memory for unit tests of what lies above `ClusterApi`: real registers, ballots, scans and blobs, no replicas.

Every operation yields to the loop before and after it takes effect, so concurrent requests interleave; what happens in
between is atomic, as agreement makes it in the real cluster.  Several "proxies" share one `Registers`.  It checks what the
contract demands of callers: judges are called twice and must agree, and staged blobs are finished before they are named.  A
blob goes at once when no row names it any more.
"""

import asyncio
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import msgspec
import xxhash
from sortedcontainers import SortedDict

from objstore.cluster.api import ClusterApi, Held, Judge, ScannedRow, ScanPage, Staging, VersionsJudge, WantedHead, Written
from objstore.core.listing import place_of_version
from objstore.core.names import anchor_of
from objstore.core.quota import Holdings, Usage
from objstore.core.rows import NEW_VERSION, BodyKind, Kind, Row, RowKey, Space, decode_row, encode_row, is_live, stored_size
from objstore.core.timestamp import ZERO, Ballot, HybridClock, version_id
from objstore.core.versions import VERSION_KINDS, newest_first, version_bytes
from objstore.errors import NoSuchKey, NoSuchVersion, QuorumLost, Refused
from objstore.runtime.net import SocketNet
from objstore.runtime.rng import SystemRng
from objstore.runtime.world import World
from tests.sim.loop import run

T = TypeVar("T")
EPOCH_US = 1_800_000_000_000_000


class LoopClock:
    """Time as the running loop has it, virtual or real."""

    def __init__(self) -> None:
        self.skew_us = 0

    def wall_us(self) -> int:
        return EPOCH_US + int(asyncio.get_running_loop().time() * 1e6) + self.skew_us

    def monotonic(self) -> float:
        return 1000.0 + asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class InlineThreads:
    """Blocking calls on the loop, a turn later."""

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        await asyncio.sleep(0)
        return call(*args)

    def close(self) -> None:
        return


def _nowhere(_: str) -> Any:
    raise AssertionError("nothing above the cluster touches a disk")


def memory_world(clock: LoopClock | None = None) -> World:
    """A world with time, randomness and threads."""
    return World(
        clock=clock or LoopClock(),
        rng=SystemRng(),
        net=SocketNet(),
        open_disk=_nowhere,
        open_kv=_nowhere,
        new_threads=lambda *_: InlineThreads(),
    )


Where = tuple[bytes, int, bytes, bytes]
Kept = tuple[Ballot, bytes, bytes | None]  # accepted ballot, encoded row, payload


@dataclass
class Registers:
    """What all proxies share."""

    rows: SortedDict = field(default_factory=SortedDict)  # (bucket, space, name, version) -> Kept
    blobs: dict[bytes, bytes] = field(default_factory=dict)  # named by a row
    staged: dict[bytes, bytes] = field(default_factory=dict)
    names: dict[bytes, set[Where]] = field(default_factory=dict)  # which rows name a blob

    def get(self, key: RowKey) -> Kept | None:
        return self.rows.get((key.bucket, key.space, key.name, key.version))

    def version(self, key: RowKey) -> Kept | None:
        """What answers a read of a version: its row, or the head while that is this version (docs/adr/0006-versions.md)."""
        found = self.get(key)
        head = self.get(RowKey(key.bucket, Space.OBJECTS, key.name))
        row = decode_row(head[1]) if head is not None else None
        if row is None or row.kind not in VERSION_KINDS or version_bytes(row.version) != key.version:
            return found
        return head if found is None or row.origin >= decode_row(found[1]).origin else found

    def versions(self, bucket: bytes, name: bytes) -> list[Row]:
        """Noncurrent versions of a key, newest first, also one that is the head at the moment."""
        rows = [decode_row(value[1]) for value in self._rows_of(bucket, Space.VERSIONS, name)]
        return newest_first([row for row in rows if row.kind in VERSION_KINDS])

    def _rows_of(self, bucket: bytes, space: int, name: bytes) -> list[Kept]:
        return [
            self.rows[w] for w in self.rows.irange((bucket, space, name, b""), (bucket, space, name + b"\0", b""), inclusive=(True, False))
        ]

    def put(self, key: RowKey, ballot: Ballot, row: Row, payload: bytes | None) -> None:
        """Store a row; with the head of an object what it does to other versions of its key."""
        if row.body == BodyKind.INLINE and payload is None:
            payload = self._payload_of(key, row)
        if key.space == Space.OBJECTS:
            self._change_versions(key, ballot, row)
        self._set((key.bucket, key.space, key.name, key.version), (ballot, encode_row(row), payload))

    def _payload_of(self, key: RowKey, row: Row) -> bytes | None:
        """Of a version that becomes the head again; a head that is written again brings its own."""
        held = self.get(RowKey(key.bucket, Space.VERSIONS, key.name, version_bytes(row.version)))
        return held[2] if held is not None and decode_row(held[1]).digest == row.digest else None

    def _change_versions(self, key: RowKey, ballot: Ballot, row: Row) -> None:
        kept = self.get(key)
        old = decode_row(kept[1]) if kept is not None else None
        changes: list[tuple[Where, Kept]] = []
        for encoded in row.effects:
            effect = decode_row(encoded)
            where = (key.bucket, int(Space.VERSIONS), key.name, version_bytes(effect.version))
            held = self.version(RowKey(*where))
            assert effect.kind == Kind.TOMBSTONE or held is not None, "an effect on a version that is not there"
            same = msgspec.structs.replace(effect, operation=row.operation, origin=row.origin, base=row.base)
            changes.append((where, (ballot, encode_row(same), held[2] if held is not None and effect.body == BodyKind.INLINE else None)))
        if kept is not None and old is not None and old.kind in VERSION_KINDS and old.version != row.version:
            where = (key.bucket, int(Space.VERSIONS), key.name, version_bytes(old.version))
            there = self.rows.get(where)
            if there is None or decode_row(there[1]).origin <= old.origin:
                self._set(where, kept)
        for where, change in changes:
            self._set(where, change)

    def _set(self, where: Where, kept: Kept) -> None:
        row = decode_row(kept[1])
        before = self.rows.get(where)
        if row.body == BodyKind.BLOB and row.blob not in self.blobs:
            if row.blob not in self.staged:
                raise QuorumLost("no replica has the body that the row names")
            self.blobs[row.blob] = self.staged.pop(row.blob)
        if row.body == BodyKind.BLOB:
            self.names.setdefault(row.blob, set()).add(where)
        if row.body == BodyKind.BLOB:
            assert len(self.blobs[row.blob]) == stored_size(row)
        if row.body == BodyKind.INLINE:
            payload = kept[2]
            assert payload is not None
            assert len(payload) == stored_size(row)
            assert xxhash.xxh3_128_digest(payload) == row.digest
        self.rows[where] = kept
        old = decode_row(before[1]) if before is not None else None
        if old is not None and old.body == BodyKind.BLOB and old.blob != row.blob:
            self.names[old.blob].discard(where)
            if not self.names[old.blob]:
                del self.blobs[old.blob], self.names[old.blob]

    def live_names(self, bucket: bytes, space: int) -> list[bytes]:
        """For assertions."""
        return [key[2] for key, value in self.rows.items() if key[:2] == (bucket, space) and is_live(decode_row(value[1]))]


class MemoryStaging:
    """cluster.api.Staging."""

    def __init__(self, registers: Registers, blob: bytes) -> None:
        self.blob = blob
        self.finished = False
        self.aborted = False
        self._registers = registers
        self._pieces: list[bytes] = []

    async def write(self, piece: bytes | memoryview) -> None:
        assert not self.finished
        await asyncio.sleep(0)
        self._pieces.append(bytes(piece))

    async def finish(self) -> None:
        await asyncio.sleep(0)
        self._registers.staged[self.blob] = b"".join(self._pieces)
        self.finished = True

    async def abort(self) -> None:
        self.aborted = True
        self._registers.staged.pop(self.blob, None)


class Unread(Exception):
    """What was asked for must be read first; then the judge is called again."""


class MemoryVersions:
    """cluster.api.Versions: everything has to be asked for twice."""

    def __init__(self, registers: Registers, key: RowKey, current: Row | None) -> None:
        self._registers = registers
        self._key = key
        self._current = current
        self._asked: set[str] = set()

    def _read(self, what: str) -> None:
        if what not in self._asked:
            self._asked.add(what)
            raise Unread

    def get(self, version: str) -> Row | None:
        self._read("version " + version)
        found = self._registers.version(RowKey(self._key.bucket, Space.VERSIONS, self._key.name, version_bytes(version)))
        row = decode_row(found[1]) if found is not None else None
        return row if row is not None and row.kind in VERSION_KINDS else None

    def newest(self) -> Row | None:
        self._read("newest")
        current = self._current
        own = current.version if current is not None and current.kind in VERSION_KINDS else None
        return next((row for row in self._registers.versions(self._key.bucket, self._key.name) if row.version != own), None)


class MemoryCluster:
    """cluster.api.ClusterApi for one proxy."""

    def __init__(self, registers: Registers | None = None, *, clock: LoopClock | None = None, proxy_id: int = 1) -> None:
        self.registers = registers or Registers()
        self.clock = clock or LoopClock()
        self.page_limit = 1_000_000  # a smaller one makes scans return early
        self.counts: dict[str, int] = {}
        self.before: Callable[[str, RowKey], Coroutine[Any, Any, None]] | None = None  # may wait or raise
        self.after: Callable[[str, RowKey], Coroutine[Any, Any, None]] | None = None
        self.policies: dict[str, ClusterApi] = {}
        self.ill: set[int] = set()  # partitions of which a replica is away
        self._hybrid = HybridClock(proxy_id)
        self._rng = SystemRng()

    async def _enter(self, what: str, key: RowKey) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        await asyncio.sleep(0)
        if self.before is not None:
            await self.before(what, key)

    async def _leave(self, what: str, key: RowKey) -> None:
        if self.after is not None:
            await self.after(what, key)
        await asyncio.sleep(0)

    def partition(self, key: RowKey, *, spread: int = 0) -> int:
        return self.anchor(key) >> 56

    def anchor(self, key: RowKey, *, spread: int = 0) -> int:
        anchor = anchor_of(key.name) if key.space == Space.PARTS else None
        return zlib.crc32(key.name) << 32 if anchor is None else anchor

    def _current(self, key: RowKey) -> tuple[Ballot, Row | None, bytes | None]:
        found = self.registers.version(key) if key.space == Space.VERSIONS else self.registers.get(key)
        if found is None:
            return ZERO, None, None
        return found[0], decode_row(found[1]), found[2]

    async def read(self, key: RowKey, *, spread: int = 0, inline: bool = False) -> Held:
        await self._enter("read", key)
        accepted, row, payload = self._current(key)
        self._hybrid.observe(accepted)
        await self._leave("read", key)
        return Held(accepted=accepted, row=row, payload=payload if inline else None, sources=(0,) if row else ())

    async def read_once_written(self, key: RowKey, origin: Ballot, *, spread: int = 0) -> Held:
        assert key.space == Space.PARTS
        held = await self.read(key, spread=spread, inline=True)
        assert held.row is None or held.row.kind == Kind.TOMBSTONE or held.row.origin == origin
        return held

    def is_well(self, key: RowKey, *, spread: int = 0) -> bool:
        return self.partition(key, spread=spread) not in self.ill

    async def settle(self, key: RowKey, partition: int) -> None:
        await self._enter("settle", key)

    def _store(self, key: RowKey, draft: Row, accepted: Ballot, base: Ballot | None, payload: bytes | None, staging: Staging | None) -> Row:
        if staging is not None:
            assert isinstance(staging, MemoryStaging)
            assert staging.finished
            assert not staging.aborted
            assert staging.blob == draft.blob
        assert key.space != Space.VERSIONS, "versions change with the head of their key"
        ballot = self._hybrid.issue(self.clock.wall_us(), accepted)
        row = msgspec.structs.replace(
            draft, operation=self._rng.token(16), origin=ballot, base=ballot if base is None else base,
            version=version_id(ballot) if draft.version == NEW_VERSION else draft.version,
        )  # fmt: skip
        self.registers.put(key, ballot, row, payload)
        return row

    async def write(
        self, key: RowKey, draft: Row, *, spread: int = 0, payload: bytes | None = None, staging: Staging | None = None,
        holders: Sequence[int] = (),
    ) -> Written:  # fmt: skip
        await self._enter("write", key)
        accepted, previous, _ = self._current(key)
        row = self._store(key, draft, accepted, None, payload, staging)
        await self._leave("write", key)
        return Written(row=row, previous=previous)

    async def bury(self, key: RowKey, draft: Row, *, spread: int = 0) -> bool:
        row = (await self.read(key, spread=spread)).row
        if row is None or row.kind == Kind.TOMBSTONE:
            return False
        await self.write(key, draft, spread=spread)
        return True

    async def conditional(
        self, key: RowKey, judge: Judge, *, spread: int = 0, payload: bytes | None = None, staging: Staging | None = None
    ) -> Written:
        return await self._conditional(key, lambda current, _: judge(current), payload, staging)

    async def conditional_versions(
        self, key: RowKey, judge: VersionsJudge, *, spread: int = 0, payload: bytes | None = None, staging: Staging | None = None
    ) -> Written:
        return await self._conditional(key, judge, payload, staging)

    async def _conditional(self, key: RowKey, judge: VersionsJudge, payload: bytes | None, staging: Staging | None) -> Written:
        await self._enter("conditional", key)
        accepted, previous, _ = self._current(key)
        versions = MemoryVersions(self.registers, key, previous)
        outcomes: list[Row | type[Refused] | None] = []
        while len(outcomes) < 2:
            try:
                outcomes.append(judge(previous, versions))
            except Refused as refusal:
                outcomes.append(type(refusal))
            except Unread:
                continue
        assert outcomes[0] == outcomes[1]  # a judge is pure
        draft = judge(previous, versions)
        if draft is None:
            if previous is None:
                raise NoSuchKey("there is nothing under this key")
            row = previous
        else:
            row = self._store(key, draft, accepted, previous.base if previous is not None else ZERO, payload, staging)
        await self._leave("conditional", key)
        return Written(row=row, previous=previous)

    async def stage(self, key: RowKey, *, spread: int = 0, size: int | None = None) -> Staging:
        await self._enter("stage", key)
        return MemoryStaging(self.registers, self._rng.token(16))

    async def read_body(
        self, key: RowKey, row: Row, *, spread: int = 0, offset: int = 0, length: int = -1, sources: Sequence[int] = (), turn: int = 0
    ) -> AsyncIterator[bytes | memoryview]:
        await self._enter("read_body", key)
        _, current, payload = self._current(key)
        if current is None or current.origin != row.origin:
            raise NoSuchVersion("the bytes of this version are gone: it was overwritten")
        data = payload if row.body == BodyKind.INLINE else self.registers.blobs[row.blob]
        assert data is not None
        end = stored_size(row) if length < 0 else offset + length
        assert end <= stored_size(row)
        for begin in range(offset, end, 65536):
            await asyncio.sleep(0)
            yield memoryview(data)[begin : min(begin + 65536, end)]

    async def usage(self, bucket: bytes) -> Usage:
        await self._enter("usage", RowKey(bucket, Space.OBJECTS, b""))
        return (await self.holdings(bucket)).usage

    async def holdings_of(self, buckets: Sequence[bytes], *, most: bool = False) -> list[Holdings]:
        return [await self.holdings(bucket) for bucket in buckets]

    async def holdings(self, bucket: bytes) -> Holdings:
        heads, others, markers = [0, 0], [0, 0], 0
        for (home, space, name, version), (_, encoded, _) in self.registers.rows.items():
            if home == bucket and space in (Space.OBJECTS, Space.VERSIONS):
                row = decode_row(encoded)
                head = self.registers.get(RowKey(bucket, Space.OBJECTS, name)) if space == Space.VERSIONS else None
                if (
                    head is not None
                    and (current := decode_row(head[1])).kind in VERSION_KINDS
                    and version_bytes(current.version) == version
                ):
                    continue  # the head is this very version
                markers += row.kind == Kind.DELETE_MARKER
                if row.kind == Kind.OBJECT:
                    total = others if space == Space.VERSIONS or version else heads
                    total[0] += 1
                    total[1] += row.size
        return Holdings(*heads, *others, markers, heads[1] + others[1])

    async def scan(
        self,
        bucket: bytes,
        space: int,
        *,
        prefix: bytes = b"",
        start: bytes = b"",
        limit: int = 1000,
        delimiter: bytes = b"",
        versions: bool = False,
        markers: bool = False,
        start_version: bytes = b"",
        heads: WantedHead | None = None,
    ) -> ScanPage:
        await self._enter("scan", RowKey(bucket, space, prefix))
        assert limit > 0
        assert versions == (space == Space.VERSIONS)
        shown = VERSION_KINDS if versions or markers else None
        found: list[ScannedRow] = []
        group = b""
        also = self._heads_as_versions(bucket, max(prefix, start), heads) if heads is not None else {}
        for where in self._places(bucket, space, max(prefix, start), start_version if start >= prefix else b"", also):
            name = where[2]
            if not name.startswith(prefix):
                break
            row = decode_row((also.get(where) or self.registers.rows[where])[1])
            if not (is_live(row) if shown is None else row.kind in shown) or (group and name.startswith(group)):
                continue
            if len(found) >= min(limit, self.page_limit):
                return ScanPage(rows=found, next_start=name, next_version=where[3])
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            group = name[: cut + len(delimiter)] if cut >= 0 else b""
            found.append(ScannedRow(name, where[3], 0, row.origin, encode_row(row)))
        await self._leave("scan", RowKey(bucket, space, prefix))
        return ScanPage(rows=found, next_start=None)

    def _heads_as_versions(self, bucket: bytes, start: bytes, wanted: WantedHead) -> dict[Where, tuple[Ballot, bytes]]:
        found: dict[Where, tuple[Ballot, bytes]] = {}
        for where in self.registers.rows.irange((bucket, Space.OBJECTS, start, b""), (bucket, Space.OBJECTS + 1), inclusive=(True, False)):
            accepted, encoded = self.registers.rows[where][:2]
            if wanted(ScannedRow(where[2], b"", 0, accepted, encoded)):
                found[bucket, Space.VERSIONS, where[2], version_bytes(decode_row(encoded).version)] = accepted, encoded
        return found

    def _places(self, bucket: bytes, space: int, start: bytes, start_version: bytes, also: Iterable[Where]) -> Iterator[Where]:
        """By name, then the null version, then from the newest on, as nodes show them."""
        rows = self.registers.rows.irange((bucket, space, start, b""), (bucket, space + 1), inclusive=(True, False))
        if space != Space.VERSIONS:
            yield from rows
            return
        for name, group in groupby(sorted({*rows, *also}), key=lambda where: where[2]):
            for where in sorted(group, key=lambda where: place_of_version(where[3])):
                if name != start or place_of_version(where[3]) >= place_of_version(start_version):
                    yield where


__all__ = ["InlineThreads", "LoopClock", "MemoryCluster", "MemoryStaging", "Registers", "memory_world", "run"]
