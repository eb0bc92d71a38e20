"""Reclaiming parts that nothing names, uploads that were completed but not ended, and what deleted buckets left.

A part is garbage when its upload is not in progress and no version of the object it was meant for names it: its upload was
aborted in the middle of a completion, its object was replaced or deleted, or its uploader died.  It is dropped once it was
found so twice, a grace apart, and its object's head is older than the grace too; so readers that are still at the object,
and completions under way, come to their end first.  Keys that share an object's parts are asked too, see sharing.py.  The order of the reads matters: the upload before the head, since a
completion writes the manifest before it ends the upload; and when something is due, the owner's head and the shares once more, since parts may have
gone from one name to the next while the names were asked one after the other.
"""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby

import msgspec

from objstore.cluster.api import ClusterApi, ScannedRow
from objstore.core import names
from objstore.core.lineage import shares_of
from objstore.core.manifest import upload_id_of
from objstore.core.rows import SYSTEM_BUCKET, Kind, Row, RowKey, Space, is_live
from objstore.core.timestamp import Ballot, wall_us_of
from objstore.errors import ConditionalConflict, NoSuchKey, Unavailable
from objstore.objects.buckets import BucketRecord, GoneRecord, all_buckets, tombstone_row
from objstore.objects.parts import drop_rows, part_owner, sweep_bucket, upload_key, upload_record, versions_of
from objstore.runtime.clock import Clock

log = logging.getLogger(__name__)

CANDIDATES_LIMIT = 200_000  # remembered at once; beyond, the oldest knowledge is given up and the grace begins anew
Named = tuple[bytes, Ballot]  # a part by its name and the ballot it was written at
GONE_AFTER_US = 3_600_000_000  # no write that began before a bucket was deleted can still arrive after an hour


@dataclass(frozen=True)
class Reclaimed:
    """One bounded step: where to go on (None at the end of the bucket), parts looked at and rows dropped."""

    next_start: bytes | None
    examined: int
    dropped: int


class PartReclaimer:
    """Looks through the parts of buckets again and again; remembers between looks what seemed to be garbage."""

    def __init__(self, cluster: ClusterApi, clock: Clock, *, grace_s: float = 900.0) -> None:
        self._cluster = cluster
        self._clock = clock
        self._grace_s = grace_s
        self._since: dict[tuple[bytes, bytes], float] = {}  # (bucket id, part's name) -> first found to be garbage
        self._todo: list[
            tuple[BucketRecord, str]
        ] = []  # buckets, and rings ("": the default), still to be looked through, the next one last
        self._start = b""

    async def run(self, *, limit: int = 10_000) -> int:
        """Look at about `limit` parts, going on where the last call ended; returns how many rows were dropped.

        At the end of each pass over all buckets, those that were deleted are swept.  A daemon calls it now and then.
        """
        dropped = 0
        left = limit
        if not self._todo:
            dropped += await self.sweep_buckets()
            records = [record async for record in all_buckets(self._cluster)]
            self._todo = [(record, policy) for policy in ("", *sorted(self._cluster.policies)) for record in records][::-1]
        while self._todo and left > 0:
            record, policy = self._todo[-1]
            try:
                done = await self.step(record.id, record.spread, policy=policy, start=self._start, limit=min(left, 1000))
            except Unavailable as failure:
                if not policy:
                    raise
                log.warning("bodies of policy %r will be looked through later: %s", policy, failure)
                done = Reclaimed(None, 0, 0)
            dropped += done.dropped
            left -= max(done.examined, 1)
            self._start = done.next_start or b""
            if done.next_start is None:
                self._todo.pop()
        return dropped

    async def step(self, bucket_id: bytes, spread: int, *, policy: str = "", start: bytes = b"", limit: int = 1000) -> Reclaimed:
        """Look at up to `limit` parts of a bucket from `start` on, in the default ring or in that of a policy.

        What names them is always in the default ring.
        """
        ring = self._cluster.policies[policy] if policy else self._cluster
        page = await ring.scan(bucket_id, Space.PARTS, start=start, limit=limit)
        dropped = 0
        for (upload_id, owner), items in groupby(page.rows, lambda item: (names.split_part_name(item.name)[0], part_owner(item.row))):
            dropped += await self._look_at(bucket_id, spread, upload_id, owner, list(items))
        return Reclaimed(next_start=page.next_start, examined=len(page.rows), dropped=dropped)

    async def sweep_buckets(self) -> int:
        """Sweep buckets that were deleted over an hour ago a last time and forget them; returns the rows dropped."""
        dropped = 0
        living = {record.id async for record in all_buckets(self._cluster)}
        start: bytes | None = b""
        while start is not None:
            page = await self._cluster.scan(SYSTEM_BUCKET, Space.OBJECTS, prefix=names.GONE_PREFIX, start=start)
            for item in page.rows:
                gone = msgspec.msgpack.decode(item.row.record, type=GoneRecord)
                if self._clock.wall_us() - gone.deleted_us < GONE_AFTER_US:
                    continue
                if gone.bucket_id not in living:
                    dropped += await sweep_bucket(self._cluster, gone.bucket_id, gone.spread)
                await self._cluster.write(RowKey(SYSTEM_BUCKET, Space.OBJECTS, item.name), tombstone_row())
            start = page.next_start
        return dropped

    async def _look_at(self, bucket_id: bytes, spread: int, upload_id: str, owner: bytes, parts: list[ScannedRow]) -> int:
        upload = upload_key(bucket_id, owner, upload_id)
        upload_row = (await self._cluster.read(upload, spread=spread)).row
        head = (await self._cluster.read(RowKey(bucket_id, Space.OBJECTS, owner), spread=spread)).row
        record = upload_record(upload_row)
        if record is not None:
            self._forget(bucket_id, parts)
            if record.completing and self._is_old(upload_row) and await self._became_object(bucket_id, owner, head, upload_id):
                return await self._end(upload, spread, upload_row)
            return 0
        unnamed = {(item.name, item.row.origin) for item in parts} - _named_by(head)
        if unnamed:
            # The head was read before: a version that it was then is found among the noncurrent ones now.
            await self._strike(bucket_id, owner, unnamed)
        shares: list[ScannedRow] = []
        dropped = 0
        if unnamed:
            shares = await self._shares(bucket_id, owner, upload_id)
            dropped += await self._strike_shared(bucket_id, spread, upload_id, shares, unnamed)
        self._forget(bucket_id, [item for item in parts if (item.name, item.row.origin) not in unnamed])
        garbage = [item.name for item in parts if (item.name, item.row.origin) in unnamed]
        settled = (head is None or self._is_old(head)) and all(self._is_old(item.row) for item in shares)
        due = [name for name in garbage if self._is_due(bucket_id, name)] if settled else []
        if not due or not await self._is_still_so(bucket_id, spread, owner, upload_id, head, shares):
            return dropped
        for name in due:
            self._since.pop((bucket_id, name), None)
        return dropped + await drop_rows(self._cluster, [RowKey(bucket_id, Space.PARTS, name) for name in due], spread)

    async def _strike(self, bucket_id: bytes, key: bytes, parts: set[Named]) -> None:
        """Take away the parts that noncurrent versions of a key name."""
        async for row in versions_of(self._cluster, bucket_id, key):
            parts -= _named_by(row)
            if not parts:
                return

    async def _shares(self, bucket_id: bytes, owner: bytes, upload_id: str) -> list[ScannedRow]:
        """Entries of the keys that may name the upload's parts."""
        found: list[ScannedRow] = []
        prefix = names.shares_prefix(owner, upload_id)
        start: bytes | None = prefix
        while start is not None:
            page = await self._cluster.scan(bucket_id, Space.UPLOADS, prefix=prefix, start=start)
            found += [item for item in page.rows if item.row.kind == Kind.RECORD and names.is_share_name(item.name, prefix)]
            start = page.next_start
        return found

    async def _strike_shared(self, bucket_id: bytes, spread: int, upload_id: str, shares: list[ScannedRow], parts: set[Named]) -> int:
        """Take away the parts that the keys name which share them, until none is left; drops entries that are of no use any more."""
        dropped = 0
        prefix = names.parts_prefix(upload_id)
        for item in shares:
            needed = False
            for key in shares_of(item.row):
                needed |= await self._strike_of(bucket_id, spread, key, prefix, parts)
            if not needed and self._is_old(item.row):
                dropped += await self._end(RowKey(bucket_id, Space.UPLOADS, item.name), spread, item.row)
            if not parts:
                break
        return dropped

    async def _strike_of(self, bucket_id: bytes, spread: int, key: bytes, prefix: bytes, parts: set[Named]) -> bool:
        """Take away the parts that versions of a key name; whether one names a part that begins with `prefix`."""
        theirs = _named_by((await self._cluster.read(RowKey(bucket_id, Space.OBJECTS, key), spread=spread)).row)
        parts -= theirs
        needed = any(name.startswith(prefix) for name, _ in theirs)
        if needed and not parts:
            return True
        async for row in versions_of(self._cluster, bucket_id, key):
            theirs = _named_by(row)
            parts -= theirs
            needed = needed or any(name.startswith(prefix) for name, _ in theirs)
            if needed and not parts:
                return True
        return needed

    async def _is_still_so(
        self, bucket_id: bytes, spread: int, owner: bytes, upload_id: str, head: Row | None, shares: list[ScannedRow]
    ) -> bool:
        """Whether the owner is as it was, and nobody has come to share since: who is about to take parts over enters first."""
        now = (await self._cluster.read(RowKey(bucket_id, Space.OBJECTS, owner), spread=spread)).row
        if (None if now is None else now.origin) != (None if head is None else head.origin):
            return False
        before = {(item.name, item.row.origin) for item in shares}
        return all((item.name, item.row.origin) in before for item in await self._shares(bucket_id, owner, upload_id))

    async def _became_object(self, bucket_id: bytes, owner: bytes, head: Row | None, upload_id: str) -> bool:
        if _is_of(head, upload_id):
            return True
        async for row in versions_of(self._cluster, bucket_id, owner):
            if _is_of(row, upload_id):
                return True
        return False

    async def _end(self, upload: RowKey, spread: int, seen: Row | None) -> int:
        """End an upload whose completion got as far as the object; one that changed meanwhile is left alone."""

        def judge(current: Row | None) -> Row | None:
            return tombstone_row() if current is not None and seen is not None and current.origin == seen.origin else None

        try:
            await self._cluster.conditional(upload, judge, spread=spread)
        except (ConditionalConflict, NoSuchKey):
            return 0  # somebody else is at it
        return 1

    def _is_due(self, bucket_id: bytes, name: bytes) -> bool:
        now = self._clock.monotonic()
        if len(self._since) >= CANDIDATES_LIMIT:
            self._since.clear()
        return now - self._since.setdefault((bucket_id, name), now) >= self._grace_s

    def _is_old(self, row: Row | None) -> bool:
        return row is not None and self._clock.wall_us() - wall_us_of(row.origin) >= self._grace_s * 1e6

    def _forget(self, bucket_id: bytes, parts: Iterable[ScannedRow]) -> None:
        for item in parts:
            self._since.pop((bucket_id, item.name), None)


def _named_by(row: Row | None) -> set[Named]:
    """The parts that a version of an object is made of."""
    return {(part.name, part.origin) for part in row.parts} if row is not None and is_live(row) else set()


def _is_of(head: Row | None, upload_id: str) -> bool:
    return head is not None and is_live(head) and upload_id_of(head) == upload_id
