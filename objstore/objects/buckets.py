"""The bucket directory: records in the system bucket, names claimed by compare-and-set, a cache for a quarter second.

Two rows make a bucket.  `claim/<tenant>/<name>` says whose a name is; `bucket/<account>/<name>` holds the bucket.  The
claim is made first; a crash in between leaves a claim without a bucket, which its account may use again at once and
another account after a minute.  After the record is written the claim is read once more, so that a creator which was
overtaken while it slept takes its record back.

Deleting marks the record by compare-and-set, waits until no proxy can still hold the unmarked one, lists with a quorum,
and then removes the record by compare-and-set against that very mark.  A writer that took longer than the cache age since
it last saw the record looks again before it acknowledges (`confirm`).  So no object is acknowledged into a deleted bucket.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import msgspec

from objstore.cluster.api import ClusterApi, Judge
from objstore.core import names
from objstore.core.rows import SYSTEM_BUCKET, BucketId, Kind, Row, RowKey, Space, is_live
from objstore.core.timestamp import CLOCKS_APART_US, ZERO
from objstore.errors import (
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    ConditionalConflict,
    InvalidRequest,
    NoSuchBucket,
    NoSuchKey,
    ObjstoreError,
    OutcomeUnknown,
    Unavailable,
)
from objstore.objects.access import Gate, gate_of
from objstore.objects.api import BucketInfo, BucketPage, Principal
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

RECORD_VERSION = 1
ABANDONED_AFTER_US = 60_000_000  # a mark or a claim without a bucket this old belongs to a process that is gone
CONFIG_LIMIT_BYTES = 192 * 1024  # all configuration of one bucket: its record travels inside a row
CACHE_LIMIT = 20_000  # buckets held at once; the cache starts afresh beyond
CACHE_LIMIT_BYTES = 64 * 1024 * 1024  # of their configuration: 20,000 times the limit above would be 4 GB
LIVE = "live"
DELETING = "deleting"


class BucketRecord(msgspec.Struct, frozen=True, array_like=True):
    """A bucket as stored.  New fields go last, with a default."""

    record_version: int
    id: bytes
    name: str
    account: str
    created_us: int
    region: str = ""
    versioning: str = ""
    spread: int = 0
    state: str = LIVE
    mark: bytes = b""  # random: names one deletion under way
    marked_us: int = 0
    config: dict[str, bytes] = {}  # configuration by the name of its sub-resource, see objects/config.py


class ClaimRecord(msgspec.Struct, frozen=True, array_like=True):
    """Whose a bucket name is, within a tenant."""

    record_version: int
    account: str
    bucket_id: bytes  # of the bucket for which the name was claimed
    claimed_us: int


class GoneRecord(msgspec.Struct, frozen=True, array_like=True):
    """A deleted bucket whose leftovers a daemon may still have to sweep."""

    record_version: int
    bucket_id: bytes
    account: str
    name: str
    spread: int
    deleted_us: int


_decode_bucket = msgspec.msgpack.Decoder(BucketRecord).decode
_decode_claim = msgspec.msgpack.Decoder(ClaimRecord).decode
_encode = msgspec.msgpack.Encoder().encode


@dataclass(frozen=True, slots=True)
class Bucket:
    """A resolved bucket; what is known of it is good until `fresh_until` (monotonic seconds)."""

    info: BucketInfo
    id: bytes
    spread: int
    account: str
    fresh_until: float
    gate: Gate | None = None  # None: its account may do everything, nobody else anything


def record_row(encoded: bytes, *, owner: str = "") -> Row:
    """A draft of a RECORD row."""
    return Row(kind=Kind.RECORD, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=owner, record=encoded)


def tombstone_row(owner: str = "") -> Row:
    """A draft of a tombstone."""
    return Row(kind=Kind.TOMBSTONE, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=owner)


class BucketDirectory:
    """Finds, makes and removes buckets."""

    def __init__(self, cluster: ClusterApi, world: World, *, cache_s: float) -> None:
        self._cluster = cluster
        self._clock = world.clock
        self._rng = world.rng
        self._cache_s = cache_s
        self._cache: dict[tuple[str, str, str], Bucket] = {}
        self._cached_bytes = 0  # of their configuration
        self._fetching: dict[tuple[str, str, str], asyncio.Task[Bucket | ObjstoreError]] = {}
        self._tasks = TaskOwner("bucket directory")

    async def aclose(self) -> None:
        """Cancel look-ups that run."""
        await self._tasks.aclose()

    # -- finding ----------------------------------------------------------------------------------------------

    async def find(self, who: Principal, name: str) -> Bucket:
        """The bucket that `name` means to the caller: of the own account, else as claimed in the tenant.  Raises NoSuchBucket."""
        key = _meaning(who, name)
        bucket = self._cache.get(key)
        if bucket is not None and self._clock.monotonic() < bucket.fresh_until:
            return bucket
        if not names.could_be_bucket(name):
            raise NoSuchBucket(f"there is no bucket {name!r}", bucket=name)
        task = self._fetching.get(key)
        if task is not None:
            outcome = await asyncio.shield(task)
            if isinstance(outcome, Bucket):
                return outcome
            # That look-up may have begun before the bucket was made; one that begins now cannot have.
        outcome = await asyncio.shield(self._fetching.get(key) or self._begin_fetch(key))
        if isinstance(outcome, Bucket):
            return outcome
        raise outcome

    async def renewed(self, bucket: Bucket) -> Bucket:
        """The same bucket, as fresh as `find` gives it.  Raises NoSuchBucket when it is gone or being deleted."""
        if self._clock.monotonic() < bucket.fresh_until:
            return bucket
        found = await self.find(Principal(account=bucket.account), bucket.info.name)
        if found.id != bucket.id:
            raise NoSuchBucket(f"bucket {bucket.info.name!r} was deleted meanwhile", bucket=bucket.info.name)
        return found

    def known(self, who: Principal, name: str) -> BucketInfo | None:
        """What was last seen of a bucket, however old; None when nothing was, or it was changed from here since."""
        bucket = self._cache.get(_meaning(who, name))
        return None if bucket is None else bucket.info

    def _begin_fetch(self, key: tuple[str, str, str]) -> "asyncio.Task[Bucket | ObjstoreError]":
        task = self._fetching[key] = self._tasks.spawn(self._fetch(key), name="bucket look-up")
        return task

    async def confirm(self, bucket: Bucket) -> BucketRecord | None:
        """Called after a write and before its acknowledgement; the record, where it was looked at.

        Nothing happens while what the writer knew of the bucket is fresh.  Raises NoSuchBucket when the bucket is gone,
        OutcomeUnknown when it is being deleted (the deletion may yet find the new row and be taken back).
        """
        if self._clock.monotonic() < bucket.fresh_until:
            return None
        record = await self._read_bucket(bucket.account, bucket.info.name)
        if record is None or record.id != bucket.id:
            raise NoSuchBucket(f"bucket {bucket.info.name!r} was deleted meanwhile", bucket=bucket.info.name)
        if record.state != LIVE:
            raise OutcomeUnknown(f"bucket {bucket.info.name!r} is being deleted; read before writing again")
        return record

    async def _fetch(self, key: tuple[str, str, str]) -> Bucket | ObjstoreError:
        """The bucket, or why there is none, as a value: a missing bucket is no failed task."""
        began = self._clock.monotonic()
        outcome: Bucket | ObjstoreError
        try:
            record = await self._look_up(*key)
            outcome = _resolved(record, began + self._cache_s)
        except ObjstoreError as failure:
            outcome = failure
        if self._fetching.get(key) is asyncio.current_task():  # else it was forgotten meanwhile and may be outdated
            del self._fetching[key]
            if isinstance(outcome, Bucket):
                self._keep(key, outcome)
        return outcome

    async def _look_up(self, account: str, tenant: str, name: str) -> BucketRecord:
        record = await self._read_bucket(account, name) if account else None
        if record is None:
            claim = await self._read_claim(tenant, name) if tenant else None
            if claim is not None and claim.account != account:
                record = await self._read_bucket(claim.account, name)
        if record is not None and record.state != LIVE:
            record = await self._take_back_abandoned(record)
        if record is None:
            raise NoSuchBucket(f"there is no bucket {name!r}", bucket=name)
        return record

    def _keep(self, key: tuple[str, str, str], bucket: Bucket) -> None:
        self._drop(key)
        size = _config_bytes(bucket)
        if len(self._cache) >= CACHE_LIMIT or self._cached_bytes + size > CACHE_LIMIT_BYTES:
            self._cache.clear()
            self._cached_bytes = 0
        self._cache[key] = bucket
        self._cached_bytes += size

    def _drop(self, key: tuple[str, str, str]) -> None:
        bucket = self._cache.pop(key, None)
        if bucket is not None:
            self._cached_bytes -= _config_bytes(bucket)

    def _forget(self, name: str) -> None:
        for key in [key for key in self._cache if key[2] == name]:
            self._drop(key)
        for key in [key for key in self._fetching if key[2] == name]:
            del self._fetching[key]

    async def list(self, account: str, *, prefix: str, after: str, limit: int) -> BucketPage:
        """The buckets of an account by name."""
        if limit <= 0:
            return BucketPage(buckets=[], truncated=False)
        base = names.buckets_prefix(account)
        start = base + names.listing_bytes(after) + b"\0" if after else b""
        found: list[BucketInfo] = []
        more: bytes | None = start
        while more is not None and len(found) <= limit:
            page = await self._cluster.scan(
                SYSTEM_BUCKET, Space.OBJECTS, prefix=base + names.listing_bytes(prefix), start=more, limit=limit + 1 - len(found)
            )
            records = (_decode_bucket(item.row.record) for item in page.rows)
            found += [_info(record) for record in records if record.state == LIVE]
            more = page.next_start
        truncated = len(found) > limit
        found = found[:limit]
        return BucketPage(buckets=found, truncated=truncated, next_after=found[-1].name if truncated else "")

    # -- making -----------------------------------------------------------------------------------------------

    async def create(
        self, who: Principal, name: str, *, region: str, spread: int, versioning: str = "", config: dict[str, bytes] | None = None
    ) -> BucketInfo:  # fmt: skip
        """Raises InvalidBucketName, BucketAlreadyOwnedByYou, BucketAlreadyExists, ConditionalConflict (being deleted).

        A container (its caller has a `home`) may have any name, which is not claimed: only its own account knows it by the name alone.
        """
        account = who.home or who.account
        if who.home:
            names.check_container_name(name)
        else:
            names.check_bucket_name(name)
        current = await self._read_bucket(account, name)
        if current is not None and current.state != LIVE:
            current = await self._take_back_abandoned(current)
            if current is None:
                raise ConditionalConflict(f"bucket {name!r} is being deleted; try again")
        if current is not None:
            raise BucketAlreadyOwnedByYou(f"bucket {name!r} is yours already", bucket=name)
        now_us = self._clock.wall_us()
        record = BucketRecord(
            record_version=RECORD_VERSION, id=self._rng.token(8), name=name, account=account, created_us=now_us, region=region, spread=spread,
            versioning=versioning, config=config or {},
        )  # fmt: skip
        if who.home:
            await self._cluster.conditional(_bucket_key(account, name), _create_judge(record))
            self._forget(name)
            return _info(record)
        await self._claim(who, name, record.id, now_us)
        await self._cluster.conditional(_bucket_key(account, name), _create_judge(record))
        claim = await self._read_claim(who.tenant, name)
        if claim is None or claim.account != who.account:
            # Another account waited out this one's claim while the record was on its way: the name is theirs.
            await self._remove_record(record)
            raise BucketAlreadyExists(f"bucket name {name!r} is taken", bucket=name)
        self._forget(name)
        return _info(record)

    async def _claim(self, who: Principal, name: str, bucket_id: bytes, now_us: int) -> None:
        draft = record_row(_encode(ClaimRecord(RECORD_VERSION, who.account, bucket_id, now_us)), owner=who.account)
        key = _system_key(names.claim_name(who.tenant, name))
        stale: ClaimRecord | None = None
        found = await self._read_claim(who.tenant, name)
        if found is not None and found.account != who.account:
            if _is_young(found.claimed_us, now_us) or await self._read_bucket(found.account, name) is not None:
                raise BucketAlreadyExists(f"bucket name {name!r} is taken", bucket=name)
            stale = found

        def judge(current: Row | None) -> Row:
            if current is not None and is_live(current):
                claim = _decode_claim(current.record)
                if claim.account != who.account and claim != stale:
                    raise BucketAlreadyExists(f"bucket name {name!r} is taken", bucket=name)
            return draft

        await self._cluster.conditional(key, judge)

    # -- changing ---------------------------------------------------------------------------------------------

    async def change(self, bucket: Bucket, edit: Callable[[BucketRecord], BucketRecord]) -> BucketInfo:
        """Change a bucket's record atomically; `edit` is pure and may raise any Refused.  Raises NoSuchBucket, ConditionalConflict.

        Other proxies see the change within the cache age; this one at once.
        """
        name = bucket.info.name

        def judge(current: Row | None) -> Row:
            found = _record_of(current)
            if found is None or found.id != bucket.id:
                raise NoSuchBucket(f"there is no bucket {name!r}", bucket=name)
            if found.state != LIVE:
                raise ConditionalConflict(f"bucket {name!r} is being deleted")
            changed = edit(found)
            size = sum(len(value) for value in changed.config.values())
            if size > CONFIG_LIMIT_BYTES:
                raise InvalidRequest(f"the configuration of bucket {name!r} would take {size} bytes; {CONFIG_LIMIT_BYTES} are allowed")
            return _bucket_row(changed)

        try:
            written = await self._cluster.conditional(_bucket_key(bucket.account, name), judge)
        finally:
            self._forget(name)
        return _info(_decode_bucket(written.row.record))

    # -- removing ---------------------------------------------------------------------------------------------

    async def begin_delete(self, bucket: Bucket) -> BucketRecord:
        """Mark the bucket; from here on new writes are refused.  Raises NoSuchBucket, ConditionalConflict."""
        account, name = bucket.account, bucket.info.name
        mark, now_us = self._rng.token(8), self._clock.wall_us()

        def judge(current: Row | None) -> Row:
            found = _record_of(current)
            if found is None or found.id != bucket.id:
                raise NoSuchBucket(f"there is no bucket {name!r}", bucket=name)
            if found.state != LIVE:
                raise ConditionalConflict(f"bucket {name!r} is being deleted already")
            return _bucket_row(msgspec.structs.replace(found, state=DELETING, mark=mark, marked_us=now_us))

        try:
            written = await self._cluster.conditional(_bucket_key(account, name), judge)
        except (ConditionalConflict, Unavailable):
            with contextlib.suppress(ObjstoreError):  # the mark may have been set: nobody would take it away for a minute
                await self._take_back(account, name, bucket.id, mark)
            raise
        finally:
            self._forget(name)
        return _decode_bucket(written.row.record)

    async def wait_out_caches(self) -> None:
        """Returns when no proxy can still hold what it knew before now; clocks that run unequally get a tenth more."""
        await self._clock.sleep(self._cache_s * 1.1)

    async def take_back(self, record: BucketRecord) -> BucketRecord | None:
        """Undo a deletion under way; the bucket as it is then, or None when the deletion went through."""
        return await self._take_back(record.account, record.name, record.id, record.mark)

    async def _take_back(self, account: str, name: str, bucket_id: bytes, mark: bytes) -> BucketRecord | None:
        def judge(current: Row | None) -> Row:
            found = _record_of(current)
            if found is None or found.mark != mark or found.id != bucket_id:
                raise ConditionalConflict("the deletion went through, or was taken back already")
            return _bucket_row(msgspec.structs.replace(found, state=LIVE, mark=b"", marked_us=0))

        try:
            await self._cluster.conditional(_bucket_key(account, name), judge)
        except ConditionalConflict:
            pass  # by someone else, or by an own attempt whose outcome was not known: what is there now tells
        finally:
            self._forget(name)
        now = await self._read_bucket(account, name)
        return now if now is not None and now.state == LIVE else None

    async def finish_delete(self, tenant: str, record: BucketRecord) -> None:
        """Remove a marked bucket, then its claim unless the name was claimed anew.  Raises ConditionalConflict."""
        claim = await self._read_claim(tenant, record.name)
        await self._remove_record(record)
        gone = GoneRecord(RECORD_VERSION, record.id, record.account, record.name, record.spread, self._clock.wall_us())
        await self._cluster.write(_system_key(names.gone_name(record.id)), record_row(_encode(gone), owner=record.account))
        if claim is not None and claim.account == record.account:
            with contextlib.suppress(NoSuchKey, ConditionalConflict):  # gone already, or claimed anew at this moment
                await self._cluster.conditional(_system_key(names.claim_name(tenant, record.name)), _unclaim_judge(claim))
        self._forget(record.name)

    async def _remove_record(self, record: BucketRecord) -> None:
        def judge(current: Row | None) -> Row:
            found = _record_of(current)
            if found is None or found.id != record.id or found.mark != record.mark:
                raise ConditionalConflict(f"bucket {record.name!r} was changed while it was being deleted")
            return tombstone_row(record.account)

        await self._cluster.conditional(_bucket_key(record.account, record.name), judge)

    async def _take_back_abandoned(self, record: BucketRecord) -> BucketRecord | None:
        """A marked bucket as its finder may use it: live again when its deleter is gone, else None."""
        if _is_young(record.marked_us, self._clock.wall_us()):
            return None
        return await self.take_back(record)

    # -- rows -------------------------------------------------------------------------------------------------

    async def _read_bucket(self, account: str, name: str) -> BucketRecord | None:
        return _record_of((await self._cluster.read(_bucket_key(account, name))).row)

    async def _read_claim(self, tenant: str, name: str) -> ClaimRecord | None:
        row = (await self._cluster.read(_system_key(names.claim_name(tenant, name)))).row
        return _decode_claim(row.record) if row is not None and is_live(row) else None


def _is_young(dated_us: int, now_us: int) -> bool:
    """Whether whoever dated a mark or a claim may still be at it."""
    return -CLOCKS_APART_US <= now_us - dated_us < ABANDONED_AFTER_US


async def all_buckets(cluster: ClusterApi, after: bytes = b"") -> AsyncIterator[BucketRecord]:
    """Every bucket of every account, also those that are being deleted, behind the row name `after`; for daemons."""
    start: bytes | None = after + b"\0" if after else b""
    while start is not None:
        page = await cluster.scan(SYSTEM_BUCKET, Space.OBJECTS, prefix=names.ALL_BUCKETS_PREFIX, start=start)
        for item in page.rows:
            yield _decode_bucket(item.row.record)
        start = page.next_start


def _config_bytes(bucket: Bucket) -> int:
    return sum(map(len, bucket.info.config.values()))


def _meaning(who: Principal, name: str) -> tuple[str, str, str]:
    """What a name is looked up by: account, the tenant whose claims count besides (empty: none do), name."""
    return (who.home, "", name) if who.home else (who.account, who.tenant, name)


def _system_key(name: bytes) -> RowKey:
    return RowKey(SYSTEM_BUCKET, Space.OBJECTS, name)


def _bucket_key(account: str, name: str) -> RowKey:
    return RowKey(SYSTEM_BUCKET, Space.OBJECTS, names.bucket_record_name(account, name))


def _bucket_row(record: BucketRecord) -> Row:
    return record_row(_encode(record), owner=record.account)


def _record_of(row: Row | None) -> BucketRecord | None:
    return _decode_bucket(row.record) if row is not None and is_live(row) else None


def _info(record: BucketRecord) -> BucketInfo:
    return BucketInfo(
        id=BucketId(record.id), name=record.name, account=record.account, created_us=record.created_us,
        region=record.region, versioning=record.versioning, spread=record.spread, config=record.config,
    )  # fmt: skip


def _resolved(record: BucketRecord, fresh_until: float) -> Bucket:
    gate = gate_of(record.name, record.config)
    return Bucket(info=_info(record), id=record.id, spread=record.spread, account=record.account, fresh_until=fresh_until, gate=gate)


def _create_judge(record: BucketRecord) -> Judge:
    draft = _bucket_row(record)

    def judge(current: Row | None) -> Row:
        found = _record_of(current)
        if found is not None and found.state == LIVE:
            raise BucketAlreadyOwnedByYou(f"bucket {record.name!r} is yours already", bucket=record.name)
        if found is not None:
            raise ConditionalConflict(f"bucket {record.name!r} is being deleted; try again")
        return draft

    return judge


def _unclaim_judge(claim: ClaimRecord) -> Judge:
    def judge(current: Row | None) -> Row | None:
        if current is not None and is_live(current) and _decode_claim(current.record) == claim:
            return tombstone_row(claim.account)
        return None

    return judge
