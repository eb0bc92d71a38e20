"""DELETE: a tombstone or a delete marker over the head of a key, or one version removed for good."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from objstore.cluster.api import Versions
from objstore.core import names
from objstore.core.conditions import check_as_of, check_write
from objstore.core.locks import check_overwritten, check_removable
from objstore.core.rows import BodyKind, Kind, Row, RowKey
from objstore.core.timestamp import Ballot
from objstore.core.versions import (
    CURRENT,
    NULL,
    VERSION_KINDS,
    check_version_id,
    delete_marker,
    is_head,
    is_replaceable,
    row_version,
    without_version,
)
from objstore.errors import AccessDenied, ConditionalConflict, NoSuchKey, ObjstoreError, OutcomeUnknown
from objstore.objects.access import Action
from objstore.objects.alter import ATTEMPTS, Alterations
from objstore.objects.api import NO_CONDITIONS, Conditions, DeleteOutcome, DeleteTarget, Principal
from objstore.objects.buckets import Bucket, tombstone_row
from objstore.objects.context import object_key
from objstore.objects.doomed import RECORD_VERSION, Doomed, doom

UNKNOWN_WITHIN_S = 5.0  # how long a removal of unknown outcome is tried again


class _Doing(NamedTuple):
    """One deletion under way."""

    who: Principal
    bucket: Bucket
    register: RowKey
    target: DeleteTarget


class Deletes(Alterations):
    """Deleting objects."""

    async def delete(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS, bypass: bool = False
    ) -> DeleteOutcome:  # fmt: skip
        """Idempotent: a missing key is fine, unless something must match.  Raises AccessDenied for a locked version."""
        home = await self.open_bucket(who, bucket, Action.DELETE_OBJECT, key, version_id)
        if bypass:
            await self.admit(who, home, Action.BYPASS_GOVERNANCE, key, version_id)
        return await self._delete_one(who, home, DeleteTarget(key, version_id, conditions, bypass))

    async def delete_many(self, who: Principal, bucket: str, targets: Sequence[DeleteTarget]) -> list[DeleteOutcome]:
        """Some at a time; errors come back in the outcomes, which are in the order asked."""
        home = await self.find_home(who, bucket)
        outcomes = [DeleteOutcome(key=target.key, version_id=target.version_id) for target in targets]
        by_key: dict[str, list[int]] = {}  # versions of one key one after the other: they would only get into each other's way
        for index, target in enumerate(targets):
            by_key.setdefault(target.key, []).append(index)
        waiting = iter(by_key.values())

        async def worker() -> None:
            for indexes in waiting:
                for index in indexes:
                    target = targets[index]
                    try:
                        await self.admit(who, home, Action.DELETE_OBJECT, target.key, target.version_id)
                        if target.bypass:
                            await self.admit(who, home, Action.BYPASS_GOVERNANCE, target.key, target.version_id)
                        outcomes[index] = await self._delete_one(who, home, target)
                    except ObjstoreError as failure:
                        outcomes[index] = DeleteOutcome(key=target.key, version_id=target.version_id, error=failure)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.settings.bulk_concurrency, len(by_key))):
                group.create_task(worker())
        if who.anonymous and outcomes and all(isinstance(outcome.error, AccessDenied) for outcome in outcomes):
            raise AccessDenied("an anonymous caller may delete none of these", hint="Sign the request.")
        return outcomes

    async def delete_later(self, who: Principal, bucket: str, keys: Sequence[str]) -> None:
        """Have objects removed that are there now; when this returns, they will be.  Raises AccessDenied, NoSuchBucket, Unavailable."""
        home = await self.find_home(who, bucket)
        for key in keys:
            names.object_name(key)
            await self.admit(who, home, Action.DELETE_OBJECT, key)
        doomed = Doomed(RECORD_VERSION, home.account, home.info.name, home.id, self.clock.wall_us(), list(keys))
        await doom(self.cluster, doomed, iter(lambda: self.rng.token(8), b""))

    async def _delete_one(self, who: Principal, bucket: Bucket, target: DeleteTarget) -> DeleteOutcome:
        check_version_id(target.version_id)
        bucket = await self.directory.renewed(bucket)  # of many keys, the last may come long after the bucket was opened
        doing = _Doing(who, bucket, object_key(bucket, names.object_name(target.key)), target)
        if not bucket.info.versioning:
            return await self._bury(doing)
        if target.version_id:
            return await self._remove_version(doing)
        return await self._mark_deleted(doing)

    async def _bury(self, doing: _Doing) -> DeleteOutcome:
        """In a bucket that was never versioned: a tombstone, if there is anything to bury."""
        who, bucket, register, target = doing
        outcome = DeleteOutcome(key=target.key, version_id=target.version_id)
        if target.conditions.as_of_us is None:
            await self.announce(bucket, register)
        if target.conditions:
            await self._bury_if(doing)
            return outcome
        # Nothing is written where nothing is: that takes no flush and leaves no tombstone to be carried about.
        if target.version_id in (CURRENT, NULL):
            await self.cluster.bury(register, tombstone_row(who.account), spread=bucket.spread)
        return outcome

    async def _mark_deleted(self, doing: _Doing) -> DeleteOutcome:
        """A delete marker over whatever there is, also over nothing, as S3 does."""
        who, bucket, register, target = doing
        draft = delete_marker(who.account, bucket.info.versioning)
        if target.conditions.as_of_us is not None:
            draft = msgspec.structs.replace(draft, modified_us=target.conditions.as_of_us)
            check_as_of(target.conditions.as_of_us, (await self.cluster.read(register, spread=bucket.spread)).row)
        row = await self.commit(bucket, register, draft, conditions=target.conditions)
        return DeleteOutcome(key=target.key, delete_marker=True, marker_version_id=row.version or NULL)

    async def _bury_if(self, doing: _Doing) -> None:
        who, bucket, register, target = doing
        conditions, draft = target.conditions, tombstone_row(who.account)
        as_of_us = conditions.as_of_us
        now_us = self.clock.wall_us()
        if as_of_us is not None:
            # Said of a time before this one: a tombstone of that time, also over nothing, since what is older may still be on its way.
            draft = msgspec.structs.replace(draft, modified_us=as_of_us)
            check_as_of(as_of_us, (await self.cluster.read(register, spread=bucket.spread)).row)
            await self.announce(bucket, register)

        def judge(current: Row | None) -> Row | None:
            if as_of_us is not None:
                check_as_of(as_of_us, current)
                check_overwritten(current, draft, now_us)
                return draft
            named = current if current is not None and is_head(current, target.version_id) else None
            check_write(conditions, self.unexpired(named))
            check_overwritten(current, draft, now_us)
            return draft if is_replaceable(named) else None

        try:
            await self.cluster.conditional(register, judge, spread=bucket.spread)
        except NoSuchKey:
            if conditions.demands_presence:
                raise

    async def _remove_version(self, doing: _Doing) -> DeleteOutcome:
        """Remove one version for good; the one before it comes to light when it was the head."""
        who, bucket, register, target = doing
        version, conditions = row_version(target.version_id), target.conditions
        seen = (await self.cluster.read(self.version_key(bucket, register.name, target.version_id), spread=bucket.spread)).row
        if (seen is None or seen.kind == Kind.TOMBSTONE) and not conditions:
            return DeleteOutcome(key=target.key, version_id=target.version_id)
        removed: Row | None = None
        now_us = self.clock.wall_us()
        head: Row | None = None
        of: Ballot | None = None  # from the second attempt on: the write that made the version

        def judge(current: Row | None, versions: Versions) -> Row | None:
            nonlocal removed
            _check_payload(current, head, version)
            removed = versions.get(version)
            if removed is not None and of is not None and removed.base != of:
                removed = None  # an earlier attempt of ours, or somebody else, removed it: this null version is a newer one
            if conditions:
                check_write(conditions, removed)
            if removed is not None:
                check_removable(removed, now_us, bypass=target.bypass)
            return None if removed is None else without_version(current, versions, version, who.account)

        await self.announce(bucket, register)
        began = self.clock.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with self.turns.of(register):
                    head, payload = await self.head_with_payload(bucket, register)
                    stays = None if head is None or _is_version(head, version) else payload
                    await self.cluster.conditional_versions(register, judge, spread=bucket.spread, payload=stays)
                break
            except NoSuchKey:
                if conditions.demands_presence:
                    raise
                break
            except (ConditionalConflict, OutcomeUnknown) as failure:
                if attempt == ATTEMPTS or not self._may_try_again(failure, doing, began):
                    raise
                of = removed.base if removed is not None else of
                await self.pause(attempt)
        marker = removed is not None and removed.kind == Kind.DELETE_MARKER
        return DeleteOutcome(
            key=target.key, version_id=target.version_id, delete_marker=marker, marker_version_id=target.version_id if marker else ""
        )

    def _may_try_again(self, failure: ConditionalConflict | OutcomeUnknown, doing: _Doing, began: float) -> bool:
        """Whether a removal that was not told to have taken effect may be done once more."""
        if isinstance(failure, _WrittenMeanwhile):
            return True  # nothing was proposed
        if doing.target.conditions:
            return False  # they would be judged anew
        # Removing what is removed changes nothing.  A quorum that is gone stays gone a while.
        return isinstance(failure, ConditionalConflict) or self.clock.monotonic() - began < UNKNOWN_WITHIN_S


class _WrittenMeanwhile(ConditionalConflict):
    """Another head than the one whose payload was read.  Raised by a judge, and seen outside only when nothing was proposed."""


def _is_version(row: Row, version: str) -> bool:
    return row.kind in VERSION_KINDS and row.version == version


def _check_payload(current: Row | None, head: Row | None, version: str) -> None:
    """A head that stays is written again with the payload that was read of it: whether that is still its own.  Raises ConditionalConflict.

    One that is removed makes room for a version whose bytes the replicas hold, and no payload may go along with it.
    """
    stays = current is not None and not _is_version(current, version)
    expected = head is not None and not _is_version(head, version)
    inline = any(row is not None and row.body == BodyKind.INLINE for row in (current, head))
    if inline and (stays != expected or (stays and _bytes_of(current) != _bytes_of(head))):
        raise _WrittenMeanwhile("the object was written meanwhile")


def _bytes_of(row: Row | None) -> tuple[int, int, bytes] | None:
    return (row.body, row.size, row.digest) if row is not None else None
