"""What is known of accounts: a record each, made when something is first said of it, and what its buckets hold.

The record is kept for at most FRESH_S: a list or a quota that is changed is so for every proxy after that.  One read serves all that
ask meanwhile; where the record cannot be read, what was last known of it goes on.
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.core import names
from objstore.core.container import CLASS_PART, class_quotas_of, quota_of
from objstore.core.quota import QuotaConfig, Usage
from objstore.core.rows import SYSTEM_BUCKET, Row, RowKey, Space, is_live
from objstore.errors import Unavailable
from objstore.objects.buckets import BucketDirectory
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner

RECORD_VERSION = 1
FRESH_S = 1.0
_KEPT = 4096
_PAGE = 1000
NO_QUOTAS: Mapping[str, QuotaConfig] = {}


class AccountRecord(msgspec.Struct, frozen=True, array_like=True):
    """What was said of an account.  Metadata by lower-case name."""

    record_version: int = RECORD_VERSION
    metadata: dict[str, str] = {}
    acl: dict[str, list[str]] = {}  # see core/account_acl.py
    hidden: dict[str, str] = {}  # settings that are no metadata, by name


class Account(NamedTuple):
    """A record as it was read at a time, and what it says of room."""

    read_at: float
    record: AccountRecord
    quota: QuotaConfig | None
    class_quotas: Mapping[str, QuotaConfig] = NO_QUOTAS  # of containers by storage class

    @property
    def metadata(self) -> Mapping[str, str]:
        """What is said by name."""
        return self.record.metadata


class Total(NamedTuple):
    """What all buckets of an account hold: as accounts show it, and as quotas count it (versions too)."""

    buckets: int
    shown: Usage
    counted: Usage
    created_us: int  # of the oldest bucket; 0: there is none
    classes: Mapping[str, tuple[int, Usage]]  # of buckets with a storage class of their own: how many, and what they hold
    counted_classes: Mapping[str, Usage]  # `counted` by storage class; "" is that of buckets without one


decode = msgspec.msgpack.Decoder(AccountRecord).decode
encode = msgspec.msgpack.Encoder().encode


def account_key(account: str) -> RowKey:
    """Where the record is."""
    return RowKey(SYSTEM_BUCKET, Space.OBJECTS, names.account_record_name(account))


def record_of(row: Row | None) -> AccountRecord:
    """The record in its row; of an account of which nothing was said, an empty one."""
    return decode(row.record) if row is not None and is_live(row) else AccountRecord()


class Accounts:
    """The records that this process knows."""

    def __init__(self, cluster: ClusterApi, directory: BucketDirectory, clock: Clock, tasks: TaskOwner) -> None:
        self._cluster, self._directory, self._clock, self._tasks = cluster, directory, clock, tasks
        self._known: dict[str, Account] = {}
        self._reading: dict[str, asyncio.Task[Account]] = {}

    def known(self, account: str) -> Account | None:
        """What is known and fresh."""
        found = self._known.get(account)
        return found if found is not None and self._clock.monotonic() < found.read_at + FRESH_S else None

    async def get(self, account: str) -> Account:
        """The same, read where it must be.  Raises QuorumLost where nothing was ever known."""
        found = self.known(account)
        if found is not None:
            return found
        reading = self._reading.get(account)
        if reading is None:
            reading = self._reading[account] = self._tasks.spawn(self._read(account), name="account")
            reading.add_done_callback(partial(self._read_ended, account))
        try:
            return await asyncio.shield(reading)
        except Unavailable:
            last = self._known.get(account)
            if last is None:
                raise
            return last

    def quota_of(self, account: str) -> QuotaConfig | None:
        """The quota by what was last known."""
        found = self._known.get(account)
        return None if found is None else found.quota

    def class_quota_of(self, account: str, storage_class: str) -> QuotaConfig | None:
        """The same of an account's containers with a storage class."""
        found = self._known.get(account)
        return None if found is None else found.class_quotas.get(storage_class)

    def drop(self, account: str) -> None:
        """Read it again at the next question: this process has changed it."""
        self._known.pop(account, None)
        self._reading.pop(account, None)

    async def _read(self, account: str) -> Account:
        began = self._clock.monotonic()
        record = record_of((await self._cluster.read(account_key(account))).row)
        quota, last = quota_of(record.metadata), self._known.get(account)
        if last is not None and last.quota == quota:
            quota = last.quota  # the very object: a budget takes another one for another limit
        class_quotas = class_quotas_of(record.hidden) or NO_QUOTAS
        if last is not None and last.class_quotas == class_quotas:
            class_quotas = last.class_quotas
        found = Account(began, record, quota, class_quotas)
        if self._reading.get(account) is asyncio.current_task():  # else the record was changed meanwhile
            if len(self._known) >= _KEPT:
                self._known.clear()
            self._known[account] = found
        return found

    def _read_ended(self, account: str, task: "asyncio.Task[Account]") -> None:
        if self._reading.get(account) is task:
            del self._reading[account]

    async def total(self, account: str, *, most: bool = False) -> Total:
        """What an account holds, by the devices' counters; with `most` rather too much than too little.  Raises QuorumLost."""
        buckets, shown, counted, after, created_us = 0, Usage(0, 0), Usage(0, 0), "", 0
        classes: dict[str, tuple[int, Usage]] = {}
        counted_classes: dict[str, Usage] = {}
        while True:
            page = await self._directory.list(account, prefix="", after=after, limit=_PAGE)
            holdings = await self._cluster.holdings_of([bucket.id for bucket in page.buckets], most=most)
            for bucket, held in zip(page.buckets, holdings, strict=True):
                usage = Usage(held.objects, held.bytes)
                shown = shown.plus(usage)
                counted = counted.plus(held.usage)
                name = bucket.config.get(CLASS_PART, b"").decode()
                counted_classes[name] = counted_classes.get(name, Usage(0, 0)).plus(held.usage)
                if name:
                    number, before = classes.get(name, (0, Usage(0, 0)))
                    classes[name] = number + 1, before.plus(usage)
            buckets += len(page.buckets)
            created_us = min([info.created_us for info in page.buckets] + ([created_us] if created_us else []), default=0)
            if not page.truncated:
                return Total(buckets, shown, counted, created_us, classes, counted_classes)
            after = page.next_after

    async def held(self, account: str) -> Usage:
        """What counts against the account's quota."""
        return (await self.total(account, most=True)).counted

    async def held_in(self, account: str, storage_class: str) -> Usage:
        """What counts against its quota for containers with a storage class."""
        return (await self.total(account, most=True)).counted_classes.get(storage_class, Usage(0, 0))
