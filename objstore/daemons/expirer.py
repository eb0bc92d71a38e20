"""The expirer: removes objects whose time has run out (Swift's X-Delete-At), and gives their bytes back.

Notes in order of time say which keys to look at (objects/notes.py), so its work is what expires, and nothing besides.  Readers do not
wait for it: an object is not found from that second on.  What it does is judged by the write itself, on the row that is there
then, so an object that was given more time, or written anew, stays.

Releases before had no notes: buckets in which such an object was written have a mark of theirs.  The expirer walks through these now and
then, removes what is due, writes the notes that lack, and takes the mark away when a walk found none lacking.

Where versions are kept, a version whose time has run out goes for good, also a noncurrent one; what it hid stays hidden,
behind a delete marker.
"""

import contextlib
from collections.abc import AsyncIterator

import msgspec

from objstore.core.rows import Kind, Row
from objstore.daemons.rounds import Rounds
from objstore.errors import ConditionalConflict, NoSuchBucket, OutcomeUnknown, PreconditionFailed
from objstore.objects.buckets import Bucket, BucketRecord
from objstore.objects.context import EXPIRES, EXPIRING, is_expired, object_key
from objstore.objects.expire import Expirer, Inside, KeyVersions
from objstore.objects.notes import EXPIRY, SETTLED_S, Noted, drop, expiry_name, expiry_seconds, has_note, note_expiry, notes
from objstore.objects.store import ObjectStore
from objstore.records.store import Leases
from objstore.runtime.world import World

POLL_LIMIT_S = 60.0
WALK_S = 3600.0  # between walks through marked buckets
LEASE_TTL_S = 30.0
RENEW_EVERY_S = 10.0
NOTES_PER_PAGE = 500
SEEN_KEPT = 100_000
AGAIN_S = 300.0  # before what could not be removed is tried again


class ExpirySettings(msgspec.Struct, frozen=True):
    """How the expirer goes about it: [lifecycle] with an interval of its own."""

    seconds_per_day: float = 86_400.0
    expire_interval_s: float = 300.0
    rows_per_s: float = 2000.0
    actions_per_s: float = 100.0

    @property
    def poll_s(self) -> float:
        """Between looks at what is due; shorter where days are."""
        return min(max(0.5, min(self.expire_interval_s, self.seconds_per_day / 10)), POLL_LIMIT_S)

    @property
    def walk_s(self) -> float:
        """From the beginning of one walk through marked buckets to that of the next."""
        return max(0.5, min(WALK_S, self.seconds_per_day / 10))


class ObjectExpirer:
    """Looks at keys with expiring objects when these are due, and removes them."""

    def __init__(self, store: ObjectStore, world: World, settings: ExpirySettings, *, holder: str) -> None:
        self.settings = settings
        self.removed = 0
        self.looked_at = 0  # keys that notes named, rows of walks
        self._store = store
        self._cluster = store.cluster
        self._clock = world.clock
        self._expirer = Expirer(store)
        self._leases = Leases(store.cluster, world.clock, "expiry")
        self._holder = f"{holder}-{world.rng.token(4).hex()}"
        self._renewed_at = 0.0
        self._seen: dict[bytes, tuple[bytes, float]] = {}  # notes that stay for now: name -> version, when to look at it again
        self._rounds = Rounds(store, world, "expirer", holder=holder, round_s=settings.walk_s)

    async def run(self) -> int:
        """Remove what is due; how many versions were.  Raises Unavailable."""
        before = self.removed
        await self._look_at_notes()
        try:
            async with contextlib.aclosing(self._rounds.buckets(lambda record: EXPIRING in record.config)) as buckets:
                async for record, start in buckets:
                    await self._walk(record, start)
        except PreconditionFailed:
            self._rounds.lost()
        return self.removed - before

    # -- notes ----------------------------------------------------------------------------------------------------

    async def _look_at_notes(self) -> None:
        self._renewed_at = 0.0
        start: bytes | None = b""
        while start is not None:
            found, start = await notes(self._cluster, EXPIRY, start, NOTES_PER_PAGE)
            for noted in found:
                if expiry_seconds(noted.name) * 1_000_000 > self._clock.wall_us():
                    return  # they come in order of time
                if self._is_to_do(noted) and not await self._look_at_noted(noted):
                    return

    def _is_to_do(self, noted: Noted) -> bool:
        version, again_at = self._seen.get(noted.name, (b"", 0.0))
        return version != noted.version or self._clock.monotonic() >= again_at

    async def _look_at_noted(self, noted: Noted) -> bool:
        """Look at the key of a note; False while another host does."""
        if self._clock.monotonic() - self._renewed_at > RENEW_EVERY_S:
            if await self._leases.acquire("notes", self._holder, LEASE_TTL_S) is None:
                return False
            self._renewed_at = self._clock.monotonic()
        note = noted.note
        bucket = await self._expirer.find(note.account, note.bucket, note.bucket_id)
        left = False
        if bucket is not None:
            async for key in self._versions(bucket, note.key):
                left |= not await self._look_at(bucket, key)
        self.looked_at += 1
        if not left and await drop(self._cluster, noted, self._clock.wall_us()):
            self._seen.pop(noted.name, None)
            return True
        if len(self._seen) >= SEEN_KEPT:
            self._seen.clear()
        # What is left is locked, or being written; else the write that the note announced may yet come.
        young_s = SETTLED_S - (self._clock.wall_us() - note.written_us) / 1e6
        self._seen[noted.name] = (noted.version, self._clock.monotonic() + (AGAIN_S if left else max(young_s, 0.0)))
        return True

    async def _versions(self, bucket: Bucket, name: bytes) -> AsyncIterator[KeyVersions]:
        """All versions of a key, in pages."""
        if not bucket.info.versioning:
            row = (await self._cluster.read(object_key(bucket, name), spread=bucket.spread)).row
            if row is not None:
                yield KeyVersions(name, [row])
            return
        start: bytes | None = name
        inside: Inside | None = None
        while start == name:
            page = await self._expirer.keys(bucket, start, name, inside)
            for key in page.keys:
                if key.name == name:
                    yield key
            start, inside = page.next_start, page.inside

    # -- walks ----------------------------------------------------------------------------------------------------

    async def _walk(self, record: BucketRecord, begin: bytes) -> None:
        start: bytes | None = begin
        inside: Inside | None = None
        lacking = bool(begin)  # what was before it was not looked at just now
        while start is not None:
            await self._rounds.at(record, start)
            # As fresh as a proxy knows it: whether the bucket is versioned decides what a removal is.
            bucket = await self._expirer.find(record.account, record.name, record.id)
            if bucket is None:
                return
            page = await self._expirer.keys(bucket, start, b"", inside)
            for key in page.keys:
                await self._look_at(bucket, key, saves=True)
                lacking |= await self._write_notes(bucket, key)
            self.looked_at += page.rows
            await self._clock.sleep(page.rows / self.settings.rows_per_s)
            start, inside = page.next_start, page.inside
        if not lacking:
            await self._unmark(record)

    async def _write_notes(self, bucket: Bucket, key: KeyVersions) -> bool:
        """See that there is a note for each version that will expire; whether one was lacking."""
        lacking = False
        for row in key.rows:
            if row.kind == Kind.OBJECT and EXPIRES in row.headers and not self._is_due(row):
                seconds = int(row.headers[EXPIRES])
                if not await has_note(self._cluster, expiry_name(seconds, bucket.id, key.name)):
                    lacking = True
                    await note_expiry(self._cluster, bucket, key.name, seconds, self._clock.wall_us())
        return lacking

    async def _unmark(self, record: BucketRecord) -> None:
        bucket = await self._expirer.find(record.account, record.name, record.id)
        if bucket is not None:
            with contextlib.suppress(NoSuchBucket, ConditionalConflict):
                await self._store.directory.change(bucket, _unmarked)

    # -- one key --------------------------------------------------------------------------------------------------

    async def _look_at(self, bucket: Bucket, key: KeyVersions, *, saves: bool = False) -> bool:
        """Remove what is due of a key; whether nothing that is due is left."""
        done = True
        for place, row in enumerate(key.rows):
            if row.kind != Kind.OBJECT or not self._is_due(row) or (key.before and not place):
                continue  # the first of a page that begins inside of a key was looked at with the page before
            try:
                removed = await self._remove(bucket, key, row, current=not place)
            except (ConditionalConflict, OutcomeUnknown):  # somebody else is at that very key; the next round sees what is left
                removed = False
            if not removed:
                done = False
                continue
            self.removed += 1
            if saves:
                await self._rounds.save()
            await self._clock.sleep(1 / self.settings.actions_per_s)
        return done

    async def _remove(self, bucket: Bucket, key: KeyVersions, row: Row, *, current: bool) -> bool:
        expirer = self._expirer
        if not current:
            return await expirer.remove(bucket, key.name, row, still=self._is_due)
        if not bucket.info.versioning:
            return await expirer.expire(bucket, key.name, row, still=self._is_due)
        if await expirer.remove(bucket, key.name, row, lone=True, still=self._is_due):
            return True
        # Others are behind it: they must not come to light.
        if not await expirer.expire(bucket, key.name, row, still=self._is_due):
            return False
        await expirer.remove(bucket, key.name, row, still=self._is_due)  # False: a marker of the null version took its place
        return True

    def _is_due(self, row: Row) -> bool:
        return is_expired(row, self._clock.wall_us())


def _unmarked(record: BucketRecord) -> BucketRecord:
    return msgspec.structs.replace(record, config={name: data for name, data in record.config.items() if name != EXPIRING})
