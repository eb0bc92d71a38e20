"""Quotas of buckets: whether there is room for a write, from counters that are at most a second old and what was let in since.

This proxy's own writes are counted when they are let in.  Before one is refused the counters are read anew, and an overwritten
object is taken off.  So through one proxy a quota is kept while replicas agree; through several it can be passed by what the
others let in within a second and what replicas that lag behind do not show yet.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from functools import lru_cache

from objstore.cluster.api import ClusterApi
from objstore.core import quota
from objstore.core.quota import Usage, fits
from objstore.core.rows import Kind, RowKey
from objstore.errors import QuotaExceeded, Refused
from objstore.objects.buckets import Bucket
from objstore.runtime.clock import Clock

FRESH_S = 1.0
_KEPT = 10_000  # buckets with quotas remembered at once
_NOTHING = Usage(0, 0)
_decode = lru_cache(maxsize=1024)(quota.decode)


@dataclass(eq=False)
class Grant:
    """Room that a write was given; `ended_in`: how many times the counters had been asked for when it ended."""

    added: Usage
    ended_in: int | None = None


@dataclass(eq=False)
class _Known:
    base: Usage = _NOTHING
    read_at: float = float("-inf")  # when the counters were asked for
    reads: int = 0  # how many times they were
    granted: Usage = _NOTHING
    grants: list[Grant] = field(default_factory=list)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Quotas:
    """Lets writes into buckets that have a quota."""

    def __init__(self, cluster: ClusterApi, clock: Clock) -> None:
        self._cluster = cluster
        self._clock = clock
        self._known: dict[bytes, _Known] = {}

    async def reserve(self, bucket: Bucket, key: RowKey, size: int) -> Grant:
        """Room for an object; give it to `end` whatever becomes of the write.  Raises QuotaExceeded, QuorumLost."""
        config = _decode(bucket.info.config["quota"])
        known = self._known.get(bucket.id)
        if known is None:
            if len(self._known) >= _KEPT:
                self._known.clear()
            known = self._known[bucket.id] = _Known()
        if self._clock.monotonic() - known.read_at > FRESH_S:
            await self._read(bucket, known)
        added = Usage(1, size)
        if not fits(config, known.base.plus(known.granted), added):
            await self._read(bucket, known)
            added = await self._growth(bucket, key, size)
            if not fits(config, known.base.plus(known.granted), added):
                raise QuotaExceeded(f"bucket {bucket.info.name!r} has no room for {size} bytes more", bucket=bucket.info.name)
        grant = Grant(added)
        known.grants.append(grant)
        known.granted = known.granted.plus(added)
        return grant

    def end(self, bucket: Bucket, grant: Grant, *, written: bool) -> None:
        """The write ended; one that did not happen gives its room back."""
        known = self._known.get(bucket.id)
        if known is None:
            return
        grant.ended_in = known.reads
        if not written and grant in known.grants:
            known.grants.remove(grant)
            known.granted = known.granted.plus(Usage(-grant.added.objects, -grant.added.bytes))

    async def check(self, bucket: Bucket, key: RowKey, size: int) -> None:
        """Refuse a body before it is sent.  Raises QuotaExceeded, QuorumLost."""
        self.end(bucket, await self.reserve(bucket, key, size), written=False)

    @contextlib.asynccontextmanager
    async def room(self, bucket: Bucket, key: RowKey, size: int) -> AsyncIterator[None]:
        """For the writing of an object of a bucket that may have a quota.  Raises QuotaExceeded, QuorumLost."""
        if "quota" not in bucket.info.config:
            yield
            return
        async with self.using(bucket, await self.reserve(bucket, key, size)):
            yield

    @contextlib.asynccontextmanager
    async def using(self, bucket: Bucket, grant: Grant) -> AsyncIterator[None]:
        """Around the write that a grant is for."""
        written = True
        try:
            yield
        except Refused:
            written = False  # after any other failure the write may have taken effect
            raise
        finally:
            self.end(bucket, grant, written=written)

    async def _read(self, bucket: Bucket, known: _Known) -> None:
        asked = known.reads
        async with known.lock:
            if known.reads > asked:
                return  # somebody else asked for them since
            known.reads += 1
            began = self._clock.monotonic()
            known.base = await self._cluster.usage(bucket.id)
            known.read_at = began
            # What ended before the counters were asked for is in them.
            known.grants = [grant for grant in known.grants if grant.ended_in is None or grant.ended_in >= known.reads]
            known.granted = Usage(sum(grant.added.objects for grant in known.grants), sum(grant.added.bytes for grant in known.grants))

    async def _growth(self, bucket: Bucket, key: RowKey, size: int) -> Usage:
        """What a write adds once what it replaces is gone."""
        if bucket.info.versioning:
            return Usage(1, size)
        row = (await self._cluster.read(key, spread=bucket.spread)).row
        return Usage(1, size) if row is None or row.kind != Kind.OBJECT else Usage(0, size - row.size)
