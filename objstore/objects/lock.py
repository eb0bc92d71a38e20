"""Object lock: of buckets (it is on, with a default retention) and of versions (retention and legal hold)."""

from typing import Any

import msgspec

from objstore.core.locks import LockConfig, ObjectLock, check_config, check_retention_change, decode_config, encode_config, lock_fields
from objstore.core.rows import Row
from objstore.core.versions import ENABLED, new_version
from objstore.errors import InvalidBucketState, InvalidRequest
from objstore.objects.access import Action
from objstore.objects.alter import Alterations
from objstore.objects.api import BucketInfo, ObjectInfo, Principal
from objstore.objects.asked import lock_facts
from objstore.objects.buckets import Bucket, BucketRecord
from objstore.objects.config import Parsed
from objstore.objects.info import null_of, object_info

PART = "object-lock"  # name of the sub-resource
CONFIGS: Parsed[LockConfig] = Parsed(PART, decode_config)


class Locks(Alterations):
    """Locking objects."""

    async def set_lock_config(self, who: Principal, bucket: str, config: LockConfig) -> BucketInfo:
        """Turn object lock on for a versioned bucket, or change its default retention.  It cannot be turned off.

        Raises InvalidBucketState, InvalidRetentionPeriod.  When it returns, every proxy goes by it.
        """
        check_config(config)
        home = await self.open_bucket(who, bucket, Action.WRITE_BUCKET_LOCK)
        encoded = encode_config(config)

        def edit(record: BucketRecord) -> BucketRecord:
            if record.versioning != ENABLED:
                raise InvalidBucketState("Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration")
            return msgspec.structs.replace(record, config={**record.config, PART: encoded})

        info = await self.directory.change(home, edit)
        await self.directory.wait_out_caches()
        return info

    async def retention_of(self, who: Principal, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        """A version with its retention.  Raises InvalidRequest where the bucket has no object lock."""
        return await self._locked(who, bucket, key, version_id, Action.READ_RETENTION)

    async def legal_hold_of(self, who: Principal, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        """A version with its legal hold.  Raises InvalidRequest where the bucket has no object lock."""
        return await self._locked(who, bucket, key, version_id, Action.READ_LEGAL_HOLD)

    async def set_retention(
        self, who: Principal, bucket: str, key: str, mode: str, until_us: int, *, version_id: str = "", bypass: bool = False
    ) -> ObjectInfo:  # fmt: skip
        """Set a version's retention; without a mode take it away.  Raises AccessDenied, InvalidArgument, InvalidRequest."""
        given = lock_facts(mode, until_us) if mode else None
        home = await self.open_bucket(who, bucket, Action.WRITE_RETENTION, key, version_id, given=given)
        if bypass:
            await self.admit(who, home, Action.BYPASS_GOVERNANCE, key, version_id)
        _demand_lock(home)
        now_us = self.clock.wall_us()

        def change(row: Row) -> Row:
            check_retention_change(row, mode, until_us, now_us, bypass=bypass)
            return msgspec.structs.replace(row, lock_mode=mode, retain_until_us=until_us if mode else 0)

        return object_info(key, await self.alter(home, key, version_id, change), null_of(home.info))

    async def set_legal_hold(self, who: Principal, bucket: str, key: str, *, on: bool, version_id: str = "") -> ObjectInfo:
        """Put a version under legal hold, or end that.  Raises InvalidRequest where the bucket has no object lock."""
        home = await self.open_bucket(
            who, bucket, Action.WRITE_LEGAL_HOLD, key, version_id, given={"s3:object-lock-legal-hold": ("ON" if on else "OFF",)}
        )
        _demand_lock(home)

        def change(row: Row) -> Row:
            return msgspec.structs.replace(row, legal_hold=on)

        return object_info(key, await self.alter(home, key, version_id, change), null_of(home.info))

    async def _locked(self, who: Principal, bucket: str, key: str, version_id: str, action: Action) -> ObjectInfo:
        home = await self.open_bucket(who, bucket, action, key, version_id, row_follows=True)
        _demand_lock(home)
        return object_info(key, await self.find_admitted(who, home, action, key, version_id), null_of(home.info))


def _demand_lock(bucket: Bucket) -> LockConfig:
    config = CONFIGS.of(bucket.info)
    if config is None:
        raise InvalidRequest("Bucket is missing Object Lock Configuration")
    return config


def as_kept(bucket: Bucket, draft: Row, asked: ObjectLock | None, now_us: int) -> Row:
    """The draft of a new head as the bucket keeps it: with or without a version of its own, locked as asked or by default.

    A bucket that is not fresh is to be renewed before: a write that went by what the bucket was when its body began to come would remove
    the null version, which may have become one to keep.  Raises InvalidRequest, InvalidArgument.
    """
    versioning = bucket.info.versioning
    return new_version(draft, versioning, **locks_of_new(bucket, asked, now_us)) if versioning else draft


def locks_of_new(bucket: Bucket, asked: ObjectLock | None, now_us: int) -> dict[str, Any]:
    """The lock's fields of a new version in a bucket.  Raises InvalidRequest, InvalidArgument."""
    config = CONFIGS.of(bucket.info)
    if config is None:
        if asked is not None:
            raise InvalidRequest("Bucket is missing Object Lock Configuration")
        return {}
    return lock_fields(config, asked, now_us)
