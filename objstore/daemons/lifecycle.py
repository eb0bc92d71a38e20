"""The lifecycle daemon: goes through all buckets that have rules, round by round, and does what is due.

One host of the cluster does so at a time, under a lease.  Where it stands is kept in a record, so that a restart, or the
next holder of the lease, goes on there; a key that is looked at twice is no harm, since every act is judged again by the
write itself.  It reads and acts at a limited pace: clients come first.
"""

import logging

import msgspec

from objstore.core.lifecycle import Action, Due, LifecycleConfig, Rule, Version, abort_at_us, common_prefix, decode, due
from objstore.core.rows import Kind, Row
from objstore.core.versions import modified_us
from objstore.errors import ConditionalConflict, NoSuchUpload, OutcomeUnknown, PreconditionFailed
from objstore.objects.buckets import LIVE, Bucket, BucketRecord, all_buckets
from objstore.objects.expire import Expirer, Inside, KeyVersions
from objstore.objects.store import ObjectStore
from objstore.records.store import Entry, Leases, Records
from objstore.runtime.world import World

log = logging.getLogger(__name__)

LEASE_TTL_S = 20.0
SAVE_EVERY_S = 5.0
POLL_LIMIT_S = 60.0
NAME = "round"


class LifecycleSettings(msgspec.Struct, frozen=True):
    """How the daemon goes about it."""

    seconds_per_day: float = 86_400.0
    interval_s: float = 3600.0
    rows_per_s: float = 2000.0
    actions_per_s: float = 100.0

    @property
    def round_s(self) -> float:
        """From the beginning of one round to that of the next."""
        return max(0.5, min(self.interval_s, self.seconds_per_day / 10))

    @property
    def poll_s(self) -> float:
        """How often to look whether a round is due: its time is kept in a record, so that restarts neither skip nor repeat one."""
        return min(self.round_s, POLL_LIMIT_S)


class Round(msgspec.Struct, frozen=True, array_like=True):
    """Where a round stands.  New fields go last, with a default."""

    record_version: int
    started_us: int
    finished: bool = False
    bucket: str = ""  # account/name of the one at work; those before it are done
    start: bytes = b""  # where in it to go on


class Lifecycle:
    """Looks through buckets and acts on what is due."""

    def __init__(self, store: ObjectStore, world: World, settings: LifecycleSettings, *, holder: str) -> None:
        self.settings = settings
        self.acted: dict[str, int] = {}  # by what was done
        self.looked_at = 0
        self._store = store
        self._clock = world.clock
        self._expirer = Expirer(store)
        self._leases = Leases(store.cluster, world.clock, "lifecycle")
        self._records = Records(store.cluster, "lifecycle", Round)
        self._holder = f"{holder}-{world.rng.token(4).hex()}"
        self._day_us = int(settings.seconds_per_day * 1e6)
        self._round = Round(1, 0)
        self._saved: bytes | None = None  # version of the record as last written or read
        self._saved_at = 0.0

    async def run(self) -> int:
        """Do what is left of a round, or a new one when it is time; how many things were done.  Raises Unavailable."""
        if await self._leases.acquire(NAME, self._holder, LEASE_TTL_S) is None:
            return 0
        entry: Entry[Round] | None = await self._records.get(NAME)
        self._saved, self._saved_at = (None if entry is None else entry.version), self._clock.monotonic()
        now_us = self._clock.wall_us()
        self._round = entry.value if entry is not None else Round(1, 0, finished=True)
        if self._round.finished:
            if now_us - self._round.started_us < self.settings.round_s * 1e6:
                return 0
            self._round = Round(1, now_us)
        before = sum(self.acted.values())
        try:
            async for record in all_buckets(self._store.cluster):
                place = f"{record.account}/{record.name}"
                if record.state == LIVE and "lifecycle" in record.config and place >= self._round.bucket:
                    await self._look_through(record, place)
            self._round = msgspec.structs.replace(self._round, finished=True, bucket="", start=b"")
            await self._save(at_once=True)
        except PreconditionFailed:  # another host took over
            log.info("another host goes on with the lifecycle round")
        return sum(self.acted.values()) - before

    async def _save(self, *, at_once: bool = False) -> None:
        """Keep where the round stands, and the lease.  Raises PreconditionFailed when another host has it."""
        if not at_once and self._clock.monotonic() - self._saved_at < SAVE_EVERY_S:
            return
        if await self._leases.acquire(NAME, self._holder, LEASE_TTL_S) is None:
            raise PreconditionFailed("the lease is another's", condition="lease")
        try:
            self._saved = await self._records.put_if(NAME, self._round, self._saved)
        except ConditionalConflict as conflict:
            raise PreconditionFailed("the round may be another's", condition="round") from conflict
        self._saved_at = self._clock.monotonic()

    async def _look_through(self, record: BucketRecord, place: str) -> None:
        config = decode(record.config["lifecycle"])
        rules = [rule for rule in config.rules if rule.enabled]
        start: bytes | None = self._round.start if place == self._round.bucket else b""
        prefix = common_prefix([rule.prefix or "" for rule in rules]).encode()
        if not any(_concerns_versions(rule) for rule in rules):
            start = None
        inside: Inside | None = None
        while start is not None:
            self._round = msgspec.structs.replace(self._round, bucket=place, start=start)
            await self._save()
            # As fresh as a proxy knows it: whether the bucket is versioned decides what a deletion is.
            bucket = await self._expirer.find(record.account, record.name, record.id)
            if bucket is None:
                return
            page = await self._expirer.keys(bucket, start, prefix, inside)
            for key in page.keys:
                await self._look_at(bucket, config, key)
            self.looked_at += page.rows
            await self._clock.sleep(page.rows / self.settings.rows_per_s)
            start, inside = page.next_start, page.inside
        if any(rule.abort_days is not None for rule in rules):
            await self._abort_uploads(record, config, prefix)

    async def _look_at(self, bucket: Bucket, config: LifecycleConfig, key: KeyVersions) -> None:
        name = key.name.decode()
        facts = [_facts(row) for row in key.rows]
        for found in due(config, name, facts, self._clock.wall_us(), self._day_us, before=key.before):
            try:
                done = await self._act(bucket, key, found)
            except (ConditionalConflict, OutcomeUnknown):  # somebody else is at that very key; the next round sees what is left
                continue
            if done:
                await self._acted(found.action.name.lower())

    async def _act(self, bucket: Bucket, key: KeyVersions, found: Due) -> bool:
        row = key.rows[found.place]
        if found.action is Action.EXPIRE:
            return await self._expirer.expire(bucket, key.name, row)
        if found.action is Action.TRANSITION:
            return await self._expirer.transition(bucket, key.name, row, found.storage_class, current=not found.place and not key.before)
        return await self._expirer.remove(bucket, key.name, row, lone_marker=found.action is Action.REMOVE_MARKER)

    async def _abort_uploads(self, record: BucketRecord, config: LifecycleConfig, prefix: bytes) -> None:
        bucket = await self._expirer.find(record.account, record.name, record.id)
        if bucket is None:
            return
        async for upload in self._expirer.uploads(bucket, prefix):
            self.looked_at += 1
            found = abort_at_us(config, upload.name.decode(), upload.initiated_us, self._day_us)
            if found is None or found[0] > self._clock.wall_us():
                continue
            try:
                done = await self._expirer.abort(bucket, upload)
            except (ConditionalConflict, OutcomeUnknown, NoSuchUpload):
                continue
            if done:
                await self._acted("abort")

    async def _acted(self, what: str) -> None:
        self.acted[what] = self.acted.get(what, 0) + 1
        await self._save()
        await self._clock.sleep(1 / self.settings.actions_per_s)


def _facts(row: Row) -> Version:
    return Version(row.size, row.tags, modified_us(row), row.kind == Kind.DELETE_MARKER, row.storage_class)


def _concerns_versions(rule: Rule) -> bool:
    """Whether a rule asks for more than incomplete uploads."""
    ends = rule.days or rule.date_us or rule.expired_marker or rule.noncurrent_days
    return bool(ends or rule.transitions or rule.noncurrent_transitions)
