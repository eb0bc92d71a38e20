"""Quotas of buckets: room for every write of an object, exact through any number of proxies (ADR 10).

A write takes room before it begins and tells how it ended.  The room that a write takes is that of its whole object; only where
that does not fit, and the object replaces another, is it the difference, and then the write is conditional on replacing just that.
"""

import contextlib
from collections.abc import AsyncIterator
from functools import lru_cache, partial

from objstore.cluster.api import ClusterApi
from objstore.core import quota
from objstore.core.rows import Kind, Row, RowKey
from objstore.core.versions import ENABLED
from objstore.errors import ConditionalConflict, OutcomeUnknown, QuotaExceeded, Refused
from objstore.objects.buckets import Bucket
from objstore.objects.budget import Budget, Full, Grant
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

PART = "quota"
_KEPT = 1000  # budgets of buckets remembered before those that are idle are dropped
_decode = lru_cache(maxsize=1024)(quota.decode)


class Room:
    """Room for one write; `over` is what it must replace, if it counts on that."""

    __slots__ = ("_budget", "_grant", "missed", "over")

    def __init__(self, budget: Budget, grant: Grant, over: Row | None = None) -> None:
        self._budget = budget
        self._grant = grant
        self.over = over
        self.missed = False  # something else was there

    def check(self, current: Row | None) -> None:
        """For the judge of a conditional write.  Raises ConditionalConflict when the room does not suffice for what is there now."""
        if self.over is not None:
            self.missed = current is None or current.origin != self.over.origin
            if self.missed:
                raise ConditionalConflict("what was to be replaced within the bucket's quota was changed meanwhile; try again")

    def failed(self, failure: BaseException) -> None:
        """The write failed: what certainly changed nothing gives its room back."""
        refused = isinstance(failure, Refused) and (self.missed or not isinstance(failure, ConditionalConflict))
        self._budget.end(self._grant, written=False if refused else None)

    def used(self) -> None:
        """The write took effect.  Raises OutcomeUnknown when that took so long that the room may be another's by now."""
        if not self._budget.end(self._grant, written=True):
            raise OutcomeUnknown("the write took too long to be sure that it is within the bucket's quota; read before writing again")


class Quotas:
    """Lets writes into buckets that have a quota."""

    def __init__(self, cluster: ClusterApi, world: World) -> None:
        self._cluster = cluster
        self._world = world
        self._tasks = TaskOwner("quotas")
        self._holder = world.rng.token(8).hex()
        self._budgets: dict[bytes, Budget] = {}

    async def aclose(self) -> None:
        """Give all room back."""
        for budget in self._budgets.values():
            await budget.aclose()
        await self._tasks.aclose()

    def take(self, bucket: Bucket, data: bytes, size: int) -> Room | None:
        """Room for a whole object from what is in hand, without waiting; `data` is the bucket's configured quota."""
        budget = self._budgets.get(bucket.id)
        if budget is None:
            return None
        grant = budget.take(_decode(data), 1, size)
        return None if grant is None else Room(budget, grant)

    async def reserve(self, bucket: Bucket, key: RowKey, size: int, version: str) -> Room:
        """The same, waiting where needed; `version` is the draft's.  Raises QuotaExceeded, TooBusy, QuorumLost."""
        budget, config = self._budget(bucket), _decode(bucket.info.config[PART])
        try:
            return Room(budget, await budget.obtain(config, 1, size))
        except Full:
            over = await self._replaced(bucket, key, version)
            if over is None:
                raise _refusal(bucket, size) from None
        try:
            return Room(budget, await budget.obtain(config, 0, size - over.size), over)
        except Full:
            raise _refusal(bucket, size) from None

    async def grow(self, bucket: Bucket, over: Row, size: int, version: str) -> Room:
        """For a write that is conditional on `over` by itself, such as an append.  Raises QuotaExceeded, TooBusy, QuorumLost."""
        stays = version != "" or over.version != ""
        budget, config = self._budget(bucket), _decode(bucket.info.config[PART])
        try:
            return Room(budget, await budget.obtain(config, 1 if stays else 0, size if stays else size - over.size))
        except Full:
            raise _refusal(bucket, size) from None

    async def check(self, bucket: Bucket, key: RowKey, size: int) -> None:
        """Refuse a body before it is sent, if it is certain that there is no room.  Raises QuotaExceeded, QuorumLost."""
        budget, config = self._budget(bucket), _decode(bucket.info.config[PART])
        if await budget.could_fit(config, 1, size):
            return
        version = "*" if bucket.info.versioning == ENABLED else ""
        over = await self._replaced(bucket, key, version)
        if over is None or not await budget.could_fit(config, 0, size - over.size):
            raise _refusal(bucket, size)

    @contextlib.asynccontextmanager
    async def within(self, bucket: Bucket, key: RowKey, draft: Row, over: Row | None = None) -> AsyncIterator[Room | None]:
        """Around a conditional write, whose judge calls `check`; with `over` a write that judges itself whether it replaces that.

        None: the bucket has no quota.  Raises QuotaExceeded, TooBusy, QuorumLost.
        """
        if PART not in bucket.info.config:
            yield None
            return
        if over is not None:
            room = await self.grow(bucket, over, draft.size, draft.version)
        else:
            room = await self.reserve(bucket, key, draft.size, draft.version)
        try:
            yield room
        except BaseException as failure:
            room.failed(failure)
            raise
        room.used()

    def _budget(self, bucket: Bucket) -> Budget:
        found = self._budgets.get(bucket.id)
        if found is None:
            if len(self._budgets) >= _KEPT:
                self._budgets = {name: budget for name, budget in self._budgets.items() if not budget.idle}
            world = self._world
            measure = partial(self._cluster.usage, bucket.id)
            found = Budget(bucket.id.hex(), measure, self._cluster, world.clock, world.rng, self._tasks, self._holder)
            self._budgets[bucket.id] = found
        return found

    async def _replaced(self, bucket: Bucket, key: RowKey, version: str) -> Row | None:
        """The object that goes when one is written; None: nothing does, or it stays as a version."""
        if version:
            return None
        row = (await self._cluster.read(key, spread=bucket.spread)).row
        return row if row is not None and row.kind == Kind.OBJECT and not row.version else None


def _refusal(bucket: Bucket, size: int) -> QuotaExceeded:
    return QuotaExceeded(f"bucket {bucket.info.name!r} has no room for {size} bytes more", bucket=bucket.info.name)
