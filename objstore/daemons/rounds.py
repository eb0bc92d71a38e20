"""Rounds over all buckets that want some work: one host of the cluster at a time, under a lease, at a limited pace.

Where a round stands is kept in a record, so that a restart, or the next holder of the lease, goes on there; a key that is
looked at twice is no harm, since every act is judged again by the write itself.
"""

import logging
from collections.abc import AsyncGenerator, Callable

import msgspec

from objstore.core.timestamp import CLOCKS_APART_US
from objstore.errors import ConditionalConflict, PreconditionFailed
from objstore.objects.buckets import LIVE, BucketRecord, all_buckets
from objstore.objects.store import ObjectStore
from objstore.records.store import Entry, Leases, Records
from objstore.runtime.world import World

log = logging.getLogger(__name__)

LEASE_TTL_S = 20.0
SAVE_EVERY_S = 5.0
NAME = "round"


class Round(msgspec.Struct, frozen=True, array_like=True):
    """Where a round stands.  New fields go last, with a default."""

    record_version: int
    started_us: int
    finished: bool = False
    bucket: str = ""  # account/name of the one at work; those before it are done
    start: bytes = b""  # where in it to go on


class Rounds:
    """The rounds of one kind of work, which names its record and its lease."""

    def __init__(self, store: ObjectStore, world: World, kind: str, *, holder: str, round_s: float) -> None:
        self._cluster = store.cluster
        self._clock = world.clock
        self._kind = kind
        self._round_s = round_s
        self._leases = Leases(store.cluster, world.clock, kind)
        self._records = Records(store.cluster, kind, Round)
        self._holder = f"{holder}-{world.rng.token(4).hex()}"
        self._round = Round(1, 0)
        self._saved: bytes | None = None  # version of the record as last written or read
        self._saved_at = 0.0

    async def buckets(self, wanted: Callable[[BucketRecord], bool]) -> AsyncGenerator[tuple[BucketRecord, bytes]]:
        """What is left of a round, or a new one when it is time: buckets, and the key at which to begin in each.

        Nothing while another host is at it.  Raises Unavailable; whoever iterates must let PreconditionFailed of `save` pass to `run`.
        """
        if await self._leases.acquire(NAME, self._holder, LEASE_TTL_S) is None:
            return
        entry: Entry[Round] | None = await self._records.get(NAME)
        self._saved, self._saved_at = (None if entry is None else entry.version), self._clock.monotonic()
        now_us = self._clock.wall_us()
        self._round = entry.value if entry is not None else Round(1, 0, finished=True)
        if self._round.finished:
            if -CLOCKS_APART_US <= now_us - self._round.started_us < self._round_s * 1e6:
                return
            self._round = Round(1, now_us)
        async for record in all_buckets(self._cluster):
            place = place_of(record)
            if record.state == LIVE and place >= self._round.bucket and wanted(record):
                yield record, (self._round.start if place == self._round.bucket else b"")
        self._round = msgspec.structs.replace(self._round, finished=True, bucket="", start=b"")
        await self.save(at_once=True)

    async def at(self, record: BucketRecord, start: bytes) -> None:
        """The round has come to this key of this bucket.  Raises PreconditionFailed when another host has it."""
        self._round = msgspec.structs.replace(self._round, bucket=place_of(record), start=start)
        await self.save()

    async def save(self, *, at_once: bool = False) -> None:
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

    def lost(self) -> None:
        """Another host took over."""
        log.info("another host goes on with the %s round", self._kind)


def place_of(record: BucketRecord) -> str:
    """The order of buckets in a round."""
    return f"{record.account}/{record.name}"
