"""The expirer: removes objects whose time has run out (Swift's X-Delete-At), and gives their bytes back.

It goes round by round (rounds.py) through the buckets in which such an object was ever written, and no others.  Readers do not
wait for it: an object is not found from that second on.  What it does is judged by the write itself, on the row that is there
then, so an object that was given more time, or written anew, stays.

Where versions are kept, a version whose time has run out goes for good, also a noncurrent one; what it hid stays hidden,
behind a delete marker.
"""

import contextlib

import msgspec

from objstore.core.rows import Kind, Row
from objstore.daemons.rounds import Rounds
from objstore.errors import ConditionalConflict, OutcomeUnknown, PreconditionFailed
from objstore.objects.buckets import Bucket, BucketRecord
from objstore.objects.context import EXPIRING, is_expired
from objstore.objects.expire import Expirer, Inside, KeyVersions
from objstore.objects.store import ObjectStore
from objstore.runtime.world import World

POLL_LIMIT_S = 60.0


class ExpirySettings(msgspec.Struct, frozen=True):
    """How the expirer goes about it: [lifecycle] with an interval of its own."""

    seconds_per_day: float = 86_400.0
    expire_interval_s: float = 300.0
    rows_per_s: float = 2000.0
    actions_per_s: float = 100.0

    @property
    def round_s(self) -> float:
        """From the beginning of one round to that of the next; shorter where days are."""
        return max(0.5, min(self.expire_interval_s, self.seconds_per_day / 10))

    @property
    def poll_s(self) -> float:
        """How often to look whether a round is due."""
        return min(self.round_s, POLL_LIMIT_S)


class ObjectExpirer:
    """Looks through buckets with expiring objects and removes those that are due."""

    def __init__(self, store: ObjectStore, world: World, settings: ExpirySettings, *, holder: str) -> None:
        self.settings = settings
        self.removed = 0
        self.looked_at = 0
        self._clock = world.clock
        self._expirer = Expirer(store)
        self._rounds = Rounds(store, world, "expirer", holder=holder, round_s=settings.round_s)

    async def run(self) -> int:
        """Do what is left of a round, or a new one when it is time; how many versions were removed.  Raises Unavailable."""
        before = self.removed
        try:
            async with contextlib.aclosing(self._rounds.buckets(lambda record: EXPIRING in record.config)) as buckets:
                async for record, start in buckets:
                    await self._look_through(record, start)
        except PreconditionFailed:
            self._rounds.lost()
        return self.removed - before

    async def _look_through(self, record: BucketRecord, begin: bytes) -> None:
        start: bytes | None = begin
        inside: Inside | None = None
        while start is not None:
            await self._rounds.at(record, start)
            # As fresh as a proxy knows it: whether the bucket is versioned decides what a removal is.
            bucket = await self._expirer.find(record.account, record.name, record.id)
            if bucket is None:
                return
            page = await self._expirer.keys(bucket, start, b"", inside)
            for key in page.keys:
                await self._look_at(bucket, key)
            self.looked_at += page.rows
            await self._clock.sleep(page.rows / self.settings.rows_per_s)
            start, inside = page.next_start, page.inside

    async def _look_at(self, bucket: Bucket, key: KeyVersions) -> None:
        for place, row in enumerate(key.rows):
            if row.kind != Kind.OBJECT or not self._is_due(row) or (key.before and not place):
                continue  # the first of a page that begins inside of a key was looked at with the page before
            try:
                done = await self._remove(bucket, key, row, current=not place)
            except (ConditionalConflict, OutcomeUnknown):  # somebody else is at that very key; the next round sees what is left
                continue
            if done:
                self.removed += 1
                await self._rounds.save()
                await self._clock.sleep(1 / self.settings.actions_per_s)

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
