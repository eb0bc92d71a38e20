"""The lifecycle daemon: goes through all buckets that have rules, round by round (rounds.py), and does what is due.

It reads and acts at a limited pace: clients come first.
"""

import contextlib
from typing import NamedTuple

import msgspec

from objstore.core.lifecycle import Action, Due, LifecycleConfig, Rule, Version, abort_at_us, common_prefix, decode, due
from objstore.core.rows import Kind, Row
from objstore.core.versions import modified_us
from objstore.daemons.rounds import Rounds
from objstore.errors import ConditionalConflict, NoSuchUpload, OutcomeUnknown, PreconditionFailed
from objstore.objects.buckets import Bucket, BucketRecord
from objstore.objects.expire import Expirer, Inside, KeyVersions
from objstore.objects.store import ObjectStore
from objstore.runtime.world import World

PART = "lifecycle"  # of a bucket's configuration
POLL_LIMIT_S = 60.0


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


class _Rules(NamedTuple):
    """The rules of a bucket as they were when its turn came."""

    record: BucketRecord
    encoded: bytes
    config: LifecycleConfig


class Lifecycle:
    """Looks through buckets and acts on what is due."""

    def __init__(self, store: ObjectStore, world: World, settings: LifecycleSettings, *, holder: str) -> None:
        self.settings = settings
        self.acted: dict[str, int] = {}  # by what was done
        self.looked_at = 0
        self._store = store
        self._clock = world.clock
        self._expirer = Expirer(store)
        self._rounds = Rounds(store, world, "lifecycle", holder=holder, round_s=settings.round_s)
        self._day_us = int(settings.seconds_per_day * 1e6)

    async def run(self) -> int:
        """Do what is left of a round, or a new one when it is time; how many things were done.  Raises Unavailable."""
        before = sum(self.acted.values())
        try:
            async with contextlib.aclosing(self._rounds.buckets(lambda record: PART in record.config)) as buckets:
                async for record, start in buckets:
                    await self._look_through(record, start)
        except PreconditionFailed:
            self._rounds.lost()
        return sum(self.acted.values()) - before

    async def _look_through(self, record: BucketRecord, begin: bytes) -> None:
        bucket = await self._expirer.find(record.account, record.name, record.id)
        if bucket is None or PART not in bucket.info.config:
            return
        rules = _Rules(record, bucket.info.config[PART], decode(bucket.info.config[PART]))
        enabled = [rule for rule in rules.config.rules if rule.enabled]
        start: bytes | None = begin
        prefix = common_prefix([rule.prefix or "" for rule in enabled]).encode()
        if not any(_concerns_versions(rule) for rule in enabled):
            start = None
        inside: Inside | None = None
        while start is not None:
            await self._rounds.at(record, start)
            bucket = await self._while_in_force(rules)
            if bucket is None:
                return
            page = await self._expirer.keys(bucket, start, prefix, inside)
            for key in page.keys:
                if not await self._look_at(rules, key):
                    return
            self.looked_at += page.rows
            await self._clock.sleep(page.rows / self.settings.rows_per_s)
            start, inside = page.next_start, page.inside
        if any(rule.abort_days is not None for rule in enabled):
            await self._abort_uploads(rules, prefix)

    async def _while_in_force(self, rules: _Rules) -> Bucket | None:
        """The bucket, as fresh as a proxy knows it: whether it is versioned decides what a deletion is.

        None once it is gone or has other rules: those come in the next round.
        """
        bucket = await self._expirer.find(rules.record.account, rules.record.name, rules.record.id)
        return bucket if bucket is not None and bucket.info.config.get(PART) == rules.encoded else None

    async def _look_at(self, rules: _Rules, key: KeyVersions) -> bool:
        """Do what is due of a key; False once the rules are not in force any more."""
        name = key.name.decode()
        facts = [_facts(row) for row in key.rows]
        for found in due(rules.config, name, facts, self._clock.wall_us(), self._day_us, before=key.before):
            bucket = await self._while_in_force(rules)
            if bucket is None:
                return False
            try:
                done = await self._act(bucket, key, found)
            except (ConditionalConflict, OutcomeUnknown):  # somebody else is at that very key; the next round sees what is left
                continue
            if done:
                await self._acted(found.action.name.lower())
        return True

    async def _act(self, bucket: Bucket, key: KeyVersions, found: Due) -> bool:
        row = key.rows[found.place]
        if found.action is Action.EXPIRE:
            return await self._expirer.expire(bucket, key.name, row)
        if found.action is Action.TRANSITION:
            return await self._expirer.transition(bucket, key.name, row, found.storage_class, current=not found.place and not key.before)
        return await self._expirer.remove(bucket, key.name, row, lone=found.action is Action.REMOVE_MARKER)

    async def _abort_uploads(self, rules: _Rules, prefix: bytes) -> None:
        bucket = await self._while_in_force(rules)
        if bucket is None:
            return
        async for upload in self._expirer.uploads(bucket, prefix):
            self.looked_at += 1
            found = abort_at_us(rules.config, upload.name.decode(), upload.initiated_us, self._day_us)
            if found is None or found[0] > self._clock.wall_us():
                continue
            bucket = await self._while_in_force(rules)
            if bucket is None:
                return
            try:
                done = await self._expirer.abort(bucket, upload)
            except (ConditionalConflict, OutcomeUnknown, NoSuchUpload):
                continue
            if done:
                await self._acted("abort")

    async def _acted(self, what: str) -> None:
        self.acted[what] = self.acted.get(what, 0) + 1
        await self._rounds.save()
        await self._clock.sleep(1 / self.settings.actions_per_s)


def _facts(row: Row) -> Version:
    return Version(row.size, row.tags, modified_us(row), row.kind == Kind.DELETE_MARKER, row.storage_class)


def _concerns_versions(rule: Rule) -> bool:
    """Whether a rule asks for more than incomplete uploads."""
    ends = rule.days or rule.date_us or rule.expired_marker or rule.noncurrent_days
    return bool(ends or rule.transitions or rule.noncurrent_transitions)
