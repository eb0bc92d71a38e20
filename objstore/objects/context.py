"""What every operation of the object model shares: the cluster, the world, the directory of buckets, settings."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec

from objstore.cluster.api import ClusterApi, Staging
from objstore.core import names
from objstore.core.conditions import check_as_of, check_write
from objstore.core.container import CLASS_PART
from objstore.core.container_sync import SYNC_TO
from objstore.core.locks import check_overwritten, is_locked
from objstore.core.multipart import MIN_PART_BYTES
from objstore.core.rows import INLINE_LIMIT_BYTES, Kind, Row, RowKey, Space
from objstore.core.versions import CURRENT, check_version_id, pick_head, row_version, version_bytes
from objstore.errors import AccessDenied, ConditionalConflict, NoSuchBucket, NoSuchKey, Refused
from objstore.objects.access import MISSING, Decision, Question, check_may_list, decide, denied, may_know, needs_row, resource_of
from objstore.objects.accounts import Accounts
from objstore.objects.actions import OF_VERSION, ON_OBJECT, Action
from objstore.objects.api import NO_CONDITIONS, Attributes, Conditions, Principal
from objstore.objects.asked import lock_facts
from objstore.objects.buckets import Bucket, BucketDirectory
from objstore.objects.encryption import KeyService, NoKeyService
from objstore.objects.notes import note_change, note_expiry
from objstore.objects.quota import Quotas, Room
from objstore.objects.turns import Turns
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World


@dataclass(frozen=True)
class ObjectSettings:
    """Limits and sizes; all proxies of a cluster must agree on `bucket_cache_s`."""

    bucket_cache_s: float = 0.25  # how long a bucket may be used without looking; deleting one waits this long
    inline_limit_bytes: int = INLINE_LIMIT_BYTES
    max_put_bytes: int = 5 * 1024**3  # S3's limit for one request; Swift's for one object
    max_object_bytes: int = 50 * 1024**4  # S3's limit for a multipart object
    min_part_bytes: int = MIN_PART_BYTES
    bulk_concurrency: int = 16  # keys of one request at work at once
    digest_threads: int = 2
    part_grace_s: float = 900.0  # parts of a replaced object stay this long, for readers that are at it
    bucket_spread: int = 0
    # What a new bucket begins with unless its maker says else, as on Amazon: lists are off, and nothing can be made public before
    # the block is taken away.  "" and False: as on Amazon before 2023.
    new_bucket_ownership: Literal["BucketOwnerEnforced", "BucketOwnerPreferred", "ObjectWriter", ""] = "BucketOwnerEnforced"
    new_bucket_block_public: bool = True
    # Storage class -> the policy in whose ring its large bodies lie (ADR 11); other classes are labels.
    storage_classes: Mapping[str, str] = field(default_factory=dict)

    def policy_of(self, storage_class: str) -> str:
        """The policy of a class ("": STANDARD); "" is the default ring."""
        return self.storage_classes.get(storage_class, "") if storage_class else ""


DEFAULT_SETTINGS = ObjectSettings()
EXPIRES = "x-delete-at"  # among an object's headers: seconds since 1970 when it goes (Swift)
EXPIRING = (
    "expiring"  # part of the configuration of a bucket in which a release before notes.py wrote such an object: the expirer walks there
)
# For conditions of policies: whether the operation makes an object, rather than a part of one.
QUOTA_ATTEMPTS = 8  # of a write that fits only over what it replaces, while that changes
CREATES = {"s3:objectcreationoperation": ("true",)}
_LOCKING = (Action.WRITE_RETENTION, Action.WRITE_LEGAL_HOLD)
PREPARES = {"s3:objectcreationoperation": ("false",)}


class StoreContext:
    """Base of the operations; holds no state of a request."""

    def __init__(self, cluster: ClusterApi, world: World, settings: ObjectSettings, keys: KeyService | None = None) -> None:
        self.cluster = cluster
        self.keys = keys or NoKeyService()
        self.clock = world.clock
        self.rng = world.rng
        self.settings = settings
        self.directory = BucketDirectory(cluster, world, cache_s=settings.bucket_cache_s)
        self.threads = world.new_threads("digest", settings.digest_threads)
        self.tasks = TaskOwner("objects")
        self.turns = Turns()
        self.accounts = Accounts(cluster, self.directory, world.clock, self.tasks)
        self.quotas = Quotas(cluster, world, self.accounts)

    async def start(self) -> None:
        """Nothing needs to run before the first request; here so that every component starts alike."""

    async def aclose(self) -> None:
        """Cancel what runs in the background and end the threads."""
        await self.quotas.aclose()
        await self.tasks.aclose()
        await self.directory.aclose()
        self.threads.close()

    async def open_bucket(
        self, who: Principal, name: str, action: Action, key: str = "", version_id: str = "", *,
        row_follows: bool = False, tags: Mapping[str, str] | None = None, given: Mapping[str, Sequence[str]] | None = None,
    ) -> Bucket:  # fmt: skip
        """Resolve a bucket and see that the caller may do this there, or to an object in it.  Raises NoSuchBucket, AccessDenied.

        Where that depends on the object it is read; with `row_follows` the caller promises to do so himself, and to call
        `check_row` or `check_missing`.  `tags` and `given` are what the operation knows of itself, see asked.py.
        """
        bucket = await self.find_home(who, name)
        if bucket.gate is not None or not who.plain or who.account != bucket.account:
            await self._admit(who, bucket, Question(action, key, version_id, tags=tags, given=given), row_follows=row_follows)
        return bucket

    async def find_home(self, who: Principal, name: str) -> Bucket:
        """Resolve a bucket.  Raises NoSuchBucket, in another account's place to who may list its containers; AccessDenied to others."""
        try:
            return await self.directory.find(who, name)
        except NoSuchBucket:
            if who.home:
                check_may_list(who)
            raise

    async def admit(self, who: Principal, bucket: Bucket, action: Action, key: str = "", version_id: str = "") -> None:
        """The same for a bucket that is open already.  Raises AccessDenied."""
        if bucket.gate is not None or not who.plain or who.account != bucket.account:
            await self._admit(who, bucket, Question(action, key, version_id))

    async def open_for_writing(
        self, who: Principal, name: str, key: str, attributes: Attributes, given: Mapping[str, Sequence[str]] = CREATES
    ) -> Bucket:
        """Open a bucket for an object with these attributes; what else the attributes need must not be forbidden.

        The caller's own policies must allow tags, lists and locks besides; a bucket's policy may forbid them, and must allow locks of others.
        """
        lock = attributes.lock
        if lock is not None and lock.mode:
            given = {**given, **lock_facts(lock.mode, lock.retain_until_us)}
        bucket = await self.open_bucket(who, name, Action.WRITE_OBJECT, key, tags=attributes.tags, given=given)
        if bucket.gate is not None or not who.plain or who.account != bucket.account:
            for action in self._also_written(who, attributes):
                question = Question(action, key, tags=attributes.tags, given=given)
                decision = decide(who, bucket.info, bucket.gate, question)
                # A lock binds the bucket's account, perhaps for a century: from others it takes an allow of its own.
                if not decision.allowed and (decision.forbidden or who.policies is not None or action in _LOCKING):
                    raise self._refusal(who, bucket, question, decision)
        return bucket

    def _also_written(self, who: Principal, attributes: Attributes) -> Iterator[Action]:
        if attributes.tags:
            yield Action.TAG_OBJECT
        if attributes.acl is not None:
            yield Action.WRITE_ACL
        if attributes.lock is not None and attributes.lock.mode:
            yield Action.WRITE_RETENTION
        if attributes.lock is not None and (attributes.lock.legal_hold or who.request.header("x-amz-object-lock-legal-hold") is not None):
            yield Action.WRITE_LEGAL_HOLD

    def check_row(self, who: Principal, bucket: Bucket, action: Action, key: str, version_id: str, row: Row) -> None:
        """Called with the row that will be served, where `row_follows` was promised.  Raises AccessDenied."""
        gate = bucket.gate
        if gate is None and who.plain:
            return
        action = _of_version(action, version_id)
        if needs_row(who, gate, action):
            self._require(who, bucket, Question(action, key, version_id, row))

    def check_missing(self, who: Principal, bucket: Bucket, action: Action, key: str, version_id: str) -> None:
        """Called when there is no such object: only who may list the bucket is told so.  Raises AccessDenied."""
        if bucket.gate is None and who.plain and who.account == bucket.account:
            return
        question = Question(_of_version(action, version_id), key, version_id, MISSING)
        decision = decide(who, bucket.info, bucket.gate, question)
        lists_may_allow = bucket.gate is not None and bucket.gate.has_lists and not decision.forbidden
        # Swift tells whoever may read that there is nothing.
        if not (decision.allowed or lists_may_allow) or not (who.home or may_know(who, bucket.info, bucket.gate, key)):
            raise self._refusal(who, bucket, question, decision)

    async def _admit(self, who: Principal, bucket: Bucket, question: Question, *, row_follows: bool = False) -> None:
        action = _of_version(question.action, question.version_id)
        if action is not question.action:
            question = msgspec.structs.replace(question, action=action)
        if action in ON_OBJECT and not question.key:
            raise AccessDenied(f"{action.value} was asked for without an object's name")
        if needs_row(who, bucket.gate, action):
            if row_follows:
                return
            register = self.version_key(bucket, names.object_name(question.key), question.version_id)
            row = (await self.cluster.read(register, spread=bucket.spread)).row
            there = row is not None and row.kind == Kind.OBJECT
            question = msgspec.structs.replace(question, found=row if there else MISSING)
        self._require(who, bucket, question)

    def _require(self, who: Principal, bucket: Bucket, question: Question) -> None:
        decision = decide(who, bucket.info, bucket.gate, question)
        if not decision.allowed:
            raise self._refusal(who, bucket, question, decision)

    def _refusal(self, who: Principal, bucket: Bucket, question: Question, decision: Decision) -> AccessDenied:
        own = who.account == bucket.account and not who.anonymous
        return denied(who, question.action, resource_of(bucket.info.name, question.key), decision.reason, own=own)

    async def commit(
        self, bucket: Bucket, key: RowKey, draft: Row, *, conditions: Conditions = NO_CONDITIONS, payload: bytes | None = None, staging: Staging | None = None
    ) -> Row:  # fmt: skip
        """Write a row of a bucket, under conditions or plainly; acknowledged only while the bucket is there, and has room."""
        if SYNC_TO in bucket.info.config or (draft.headers and EXPIRES in draft.headers):
            await self.announce(bucket, key, draft)
        if draft.kind != Kind.OBJECT or not await self.quotas.limit(bucket):
            return await self._commit(bucket, key, draft, conditions, payload, staging)
        attempt = 0
        while True:
            attempt += 1
            room = self.quotas.take(bucket, draft.size)
            try:
                if room is None:
                    room = await self.quotas.reserve(bucket, key, draft.size, draft.version)
            except BaseException:
                if staging is not None:
                    await staging.abort()
                raise
            try:
                row = await self._commit(bucket, key, draft, conditions, payload, staging, room)
            except BaseException as failure:
                room.failed(failure)
                if room.missed and attempt < QUOTA_ATTEMPTS:
                    continue
                raise
            room.used()
            return row

    async def _commit(
        self, bucket: Bucket, key: RowKey, draft: Row, conditions: Conditions, payload: bytes | None, staging: Staging | None, room: Room | None = None
    ) -> Row:  # fmt: skip
        if (conditions is not NO_CONDITIONS and conditions) or (room is not None and room.over is not None):
            now_us = self.clock.wall_us()

            def judge(current: Row | None) -> Row:
                if room is not None:
                    room.check(current)
                check_as_of(conditions.as_of_us, current)
                check_write(conditions, self.unexpired(current))
                check_overwritten(current, draft, now_us)
                return draft

            try:
                # Where a conflict with another one of this proxy would leave the outcome open: a row may be kept as a version.
                async with self.turns.of(key) if bucket.info.versioning else contextlib.nullcontext():
                    written = await self.cluster.conditional(key, judge, spread=bucket.spread, payload=payload, staging=staging)
            except Refused as refusal:
                # Nothing names the blob.  Where the outcome is not known a replica may hold the row, so the blob is left to
                # it or to the nodes' sweep.
                if staging is not None and not isinstance(refusal, ConditionalConflict):
                    await staging.abort()
                raise
        else:
            written = await self.cluster.write(key, draft, spread=bucket.spread, payload=payload, staging=staging)
        if self.clock.monotonic() >= bucket.fresh_until:
            record = await self.directory.confirm(bucket)
            if record is not None and SYNC_TO in record.config and SYNC_TO not in bucket.info.config and key.space == Space.OBJECTS:
                # A peer was named while the body came in, and the comparison may have gone by already.
                await note_change(self.cluster, bucket, key.name, self.clock.wall_us())
        return written.row

    async def announce(self, bucket: Bucket, key: RowKey, draft: Row | None = None) -> None:
        """Before the head of a key is written: leave notes for who must hear of it, see notes.py.  Raises Unavailable."""
        if key.space != Space.OBJECTS:
            return
        if draft is not None and draft.headers and EXPIRES in draft.headers:
            await note_expiry(self.cluster, bucket, key.name, int(draft.headers[EXPIRES]), self.clock.wall_us())
        if SYNC_TO in bucket.info.config:
            await note_change(self.cluster, bucket, key.name, self.clock.wall_us())

    async def find_version(self, bucket: Bucket, key: str, version_id: str, who: Principal | None = None) -> Row:
        """A version as it is now.  Raises NoSuchKey, NoSuchVersion, VersionIsMarker."""
        held = await self.cluster.read(self.version_key(bucket, names.object_name(key), version_id), spread=bucket.spread)
        row = pick_head(held.row, key, version_id)
        if row.headers:
            self.check_unexpired(row, key, who)
        return row

    def class_in(self, bucket: Bucket, storage_class: str) -> str:
        """The storage class of a new object: the one named, else that of its bucket."""
        if storage_class or not self.settings.storage_classes:
            return storage_class
        return bucket.info.config.get(CLASS_PART, b"").decode()

    def check_unexpired(self, row: Row, key: str, who: Principal | None = None) -> None:
        """See that an object's time has not run out, unless its reader may open such ones; a daemon removes it later.  Raises NoSuchKey."""
        if is_hidden(row, self.clock.wall_us()) and not (who is not None and who.opens_expired and who.opens_expired == who.home):
            raise NoSuchKey(f"object {key!r} has expired", key=key)

    def unexpired(self, row: Row | None) -> Row | None:
        """The head of a key for conditions: nothing where its time has run out."""
        return None if row is not None and row.headers and is_hidden(row, self.clock.wall_us()) else row

    async def find_admitted(self, who: Principal, bucket: Bucket, action: Action, key: str, version_id: str) -> Row:
        """A version as it is now, of a bucket that was opened for this with `row_follows`.

        Raises AccessDenied rather than NoSuchKey to who may not list the bucket.
        """
        try:
            row = await self.find_version(bucket, key, version_id, who)
        except Refused:
            self.check_missing(who, bucket, action, key, version_id)
            raise
        self.check_row(who, bucket, action, key, version_id, row)
        return row

    def version_key(self, bucket: Bucket, name: bytes, version_id: str) -> RowKey:
        """The register that tells of the version named: the head, or the version's own, which answers for a head too.  Raises InvalidArgument."""
        if version_id == CURRENT or not bucket.info.versioning:
            return RowKey(bucket.id, Space.OBJECTS, name)
        check_version_id(version_id)
        return RowKey(bucket.id, Space.VERSIONS, name, version_bytes(row_version(version_id)))


def is_expired(row: Row, now_us: int) -> bool:
    """Whether an object's time has run out."""
    expires = row.headers.get(EXPIRES)
    return expires is not None and int(expires) * 1_000_000 <= now_us


def is_hidden(row: Row, now_us: int) -> bool:
    """Whether an object is not found for that; what object lock keeps, it keeps to be read."""
    return is_expired(row, now_us) and not is_locked(row, now_us)


def _of_version(action: Action, version_id: str) -> Action:
    return OF_VERSION.get(action, action) if version_id else action


def object_key(bucket: Bucket, name: bytes) -> RowKey:
    """The register of an object's head."""
    return RowKey(bucket.id, Space.OBJECTS, name)
