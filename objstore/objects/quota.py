"""Quotas of buckets and of accounts: room for every write of an object, exact through any number of proxies (ADR 10).

A write takes room before it begins and tells how it ended.  The room that a write takes is that of its whole object; only where
that does not fit, and the object replaces another, is it the difference, and then the write is conditional on replacing just that.
"""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import lru_cache, partial
from typing import NamedTuple

from objstore.cluster.api import ClusterApi
from objstore.core import quota
from objstore.core.container import CLASS_PART
from objstore.core.quota import QuotaConfig, Usage
from objstore.core.rows import Kind, Row, RowKey
from objstore.core.versions import ENABLED
from objstore.errors import ConditionalConflict, OutcomeUnknown, QuotaExceeded, Refused
from objstore.objects.accounts import Accounts
from objstore.objects.buckets import Bucket
from objstore.objects.budget import Budget, Full, Grant
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

PART = "quota"
_KEPT = 1000  # budgets of buckets remembered before those that are idle are dropped
_SCOPES_KEPT = 64  # each with its bucket, whose configuration may be large
_decode = lru_cache(maxsize=1024)(quota.decode)


class Room:
    """Room for one write, in every budget it counts against; `over` is what it must replace, if it counts on that."""

    __slots__ = ("_grants", "missed", "over")

    def __init__(self, grants: list[tuple[Budget, Grant]], over: Row | None = None) -> None:
        self._grants = grants
        self.over = over
        self.missed = False  # something else was there

    def check(self, current: Row | None) -> None:
        """For the judge of a conditional write.  Raises ConditionalConflict when the room does not suffice for what is there now."""
        if self.over is not None:
            self.missed = current is None or current.origin != self.over.origin
            if self.missed:
                raise ConditionalConflict("what was to be replaced within the quota was changed meanwhile; try again")

    def failed(self, failure: BaseException) -> None:
        """The write failed: what certainly changed nothing gives its room back."""
        refused = isinstance(failure, Refused) and (self.missed or not isinstance(failure, ConditionalConflict))
        self._end(written=False if refused else None)

    def used(self) -> None:
        """The write took effect.  Raises OutcomeUnknown when that took so long that the room may be another's by now."""
        if not self._end(written=True):
            raise OutcomeUnknown("the write took too long to be sure that it is within the quota; read before writing again")

    def _end(self, *, written: bool | None) -> bool:
        ends = [budget.end(grant, written=written) for budget, grant in self._grants]  # every one, whatever the first says
        return all(ends)


class _Scope(NamedTuple):
    """A quota that a write counts against."""

    budget: Budget
    config: QuotaConfig
    what: str  # for the refusal
    kind: str = "quota"


class Quotas:
    """Lets writes into buckets that have a quota, or whose account has one."""

    def __init__(self, cluster: ClusterApi, world: World, accounts: Accounts) -> None:
        self._cluster = cluster
        self._world = world
        self._accounts = accounts
        self._tasks = TaskOwner("quotas")
        self._holder = world.rng.token(8).hex()
        self._budgets: dict[str, Budget] = {}
        self._kept: dict[bytes, tuple[Bucket, QuotaConfig | None, QuotaConfig | None, list[_Scope]]] = {}  # by bucket: its scopes

    async def aclose(self) -> None:
        """Give all room back."""
        for budget in self._budgets.values():
            await budget.aclose()
        await self._tasks.aclose()

    async def limit(self, bucket: Bucket) -> bool:
        """Whether a write into the bucket must find room; to be asked before anything else here.  Raises QuorumLost."""
        account = self._accounts.known(bucket.account) or await self._accounts.get(bucket.account)
        return account.quota is not None or PART in bucket.info.config or bool(account.class_quotas)

    def take(self, bucket: Bucket, size: int) -> Room | None:
        """Room for a whole object from what is in hand, without waiting."""
        grants: list[tuple[Budget, Grant]] = []
        for budget, config, *_ in self._scopes(bucket):
            grant = budget.take(config, 1, size)
            if grant is None:
                _give_back(grants)
                return None
            grants.append((budget, grant))
        return Room(grants)

    async def reserve(self, bucket: Bucket, key: RowKey, size: int, version: str) -> Room:
        """The same, waiting where needed; `version` is the draft's.  Raises QuotaExceeded, TooBusy, QuorumLost."""
        grants: list[tuple[Budget, Grant]] = []
        over: Row | None = None
        try:
            for scope in self._scopes(bucket):
                try:
                    grants.append((scope.budget, await scope.budget.obtain(scope.config, 1, size)))
                    continue
                except Full:
                    over = over or await self._replaced(bucket, key, version)
                    if over is None:
                        raise _refusal(scope, size) from None
                grants.append((scope.budget, await _obtain(scope, 0, size - over.size, size)))
        except BaseException:
            _give_back(grants)
            raise
        return Room(grants, over)

    async def grow(self, bucket: Bucket, over: Row, size: int, version: str) -> Room:
        """For a write that is conditional on `over` by itself, such as an append.  Raises QuotaExceeded, TooBusy, QuorumLost."""
        stays = version != "" or over.version != ""
        grants: list[tuple[Budget, Grant]] = []
        try:
            for scope in self._scopes(bucket):
                grants.append((scope.budget, await _obtain(scope, 1 if stays else 0, size if stays else size - over.size, size)))  # noqa: PERF401 what was granted before a refusal is given back
        except BaseException:
            _give_back(grants)
            raise
        return Room(grants)

    async def check(self, bucket: Bucket, key: RowKey, size: int) -> None:
        """Refuse a body before it is sent, if it is certain that there is no room.  Raises QuotaExceeded, QuorumLost."""
        for scope in self._scopes(bucket):
            if await scope.budget.could_fit(scope.config, 1, size):
                continue
            version = "*" if bucket.info.versioning == ENABLED else ""
            over = await self._replaced(bucket, key, version)
            if over is None or not await scope.budget.could_fit(scope.config, 0, size - over.size):
                raise _refusal(scope, size)

    @contextlib.asynccontextmanager
    async def within(self, bucket: Bucket, key: RowKey, draft: Row, over: Row | None = None) -> AsyncIterator[Room | None]:
        """Around a conditional write, whose judge calls `check`; with `over` a write that judges itself whether it replaces that.

        None: there is no quota.  Raises QuotaExceeded, TooBusy, QuorumLost.
        """
        if not await self.limit(bucket):
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

    def _scopes(self, bucket: Bucket) -> list[_Scope]:
        """The bucket's quota, then its account's as `limit` found it, then that of the bucket's storage policy.

        Kept for as long as the directory hands out the same bucket, and the same quotas hold.
        """
        account = self._accounts.quota_of(bucket.account)
        storage_class = bucket.info.config.get(CLASS_PART, b"").decode()
        of_class = self._accounts.class_quota_of(bucket.account, storage_class)
        kept = self._kept.get(bucket.id)
        if kept is not None and kept[0] is bucket and kept[1] is account and kept[2] is of_class:
            return kept[3]
        budgets = self._budgets
        scopes = self._find_scopes(bucket, account, storage_class, of_class)
        if budgets is self._budgets:  # else idle ones were dropped, and these may be among them
            if len(self._kept) >= _SCOPES_KEPT:
                self._kept.clear()
            self._kept[bucket.id] = bucket, account, of_class, scopes
        return scopes

    def _find_scopes(self, bucket: Bucket, account: QuotaConfig | None, storage_class: str, of_class: QuotaConfig | None) -> list[_Scope]:
        scopes: list[_Scope] = []
        data = bucket.info.config.get(PART)
        if data is not None:
            budget = self._budget(bucket.id.hex(), partial(self._cluster.usage, bucket.id))
            scopes.append(_Scope(budget, _decode(data), f"bucket {bucket.info.name!r}"))
        if account is not None:
            budget = self._budget(f"account/{bucket.account}", partial(self._accounts.held, bucket.account))
            scopes.append(_Scope(budget, account, f"account {bucket.account!r}"))
        if of_class is not None:
            measure = partial(self._accounts.held_in, bucket.account, storage_class)
            budget = self._budget(f"class/{storage_class}/{bucket.account}", measure)
            scopes.append(_Scope(budget, of_class, f"account {bucket.account!r}", "policy quota"))
        return scopes

    def _budget(self, name: str, measure: Callable[[], Awaitable[Usage]]) -> Budget:
        found = self._budgets.get(name)
        if found is None:
            if len(self._budgets) >= _KEPT:
                self._budgets = {name: budget for name, budget in self._budgets.items() if not budget.idle}
                self._kept.clear()  # a quota has one budget here, never one that was dropped and another
            world = self._world
            found = self._budgets[name] = Budget(name, measure, self._cluster, world.clock, world.rng, self._tasks, self._holder)
        return found

    async def _replaced(self, bucket: Bucket, key: RowKey, version: str) -> Row | None:
        """The object that goes when one is written; None: nothing does, or it stays as a version."""
        if version:
            return None
        row = (await self._cluster.read(key, spread=bucket.spread)).row
        return row if row is not None and row.kind == Kind.OBJECT and not row.version else None


def _give_back(grants: list[tuple[Budget, Grant]]) -> None:
    for budget, grant in grants:
        budget.end(grant, written=False)


async def _obtain(scope: _Scope, objects: int, growth: int, size: int) -> Grant:
    try:
        return await scope.budget.obtain(scope.config, objects, growth)
    except Full:
        raise _refusal(scope, size) from None


def _refusal(scope: _Scope, size: int) -> QuotaExceeded:
    return QuotaExceeded(f"Upload exceeds {scope.kind}: {scope.what} has no room for {size} bytes more", bucket=scope.what)
