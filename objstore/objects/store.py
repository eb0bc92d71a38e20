"""The object store: every operation of `ObjectStoreApi`, put together from the modules beside this one."""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

from objstore.cluster.api import ClusterApi
from objstore.core.account_acl import READ_WRITE
from objstore.core.locks import LockConfig, encode_config
from objstore.core.rows import Space
from objstore.core.versions import ENABLED
from objstore.errors import BucketNotEmpty, ObjstoreError, Unavailable
from objstore.objects.access import Action, authorize, check_home, check_may_list
from objstore.objects.acls import Acls
from objstore.objects.api import NO_CONFIG, BucketInfo, BucketPage, ObjectStoreApi, Principal
from objstore.objects.append import Appends
from objstore.objects.buckets import Bucket
from objstore.objects.complete import Completions
from objstore.objects.config import PARTS, Configs, first_config
from objstore.objects.containers import Containers
from objstore.objects.context import DEFAULT_SETTINGS, ObjectSettings
from objstore.objects.copy import Copies
from objstore.objects.delete import Deletes
from objstore.objects.encryption import KeyService
from objstore.objects.lock import PART as LOCK_PART
from objstore.objects.lock import Locks
from objstore.objects.parts import sweep_bucket
from objstore.objects.rename import Renames
from objstore.objects.tags import Tags
from objstore.objects.versions import Versions
from objstore.runtime.world import World


class ObjectStore(Renames, Acls, Appends, Containers, Copies, Completions, Configs, Deletes, Locks, Tags, Versions, ObjectStoreApi):
    """Implements `ObjectStoreApi` on a cluster; one for each proxy process."""

    def __init__(
        self, cluster: ClusterApi, world: World, settings: ObjectSettings = DEFAULT_SETTINGS, keys: KeyService | None = None
    ) -> None:
        super().__init__(cluster, world, settings, keys)

    async def create_bucket(
        self, who: Principal, name: str, *, region: str = "", object_lock: bool = False, config: Mapping[str, bytes] = NO_CONFIG
    ) -> BucketInfo:  # fmt: skip
        """Raises InvalidBucketName, BucketAlreadyOwnedByYou, BucketAlreadyExists, AccessDenied, AclAgainstOwnership."""
        authorize(who, Action.CREATE_BUCKET, name, {"s3:locationconstraint": (region,)} if region else None)
        for wanted in (
            *(PARTS[part][1] for part in config if part in PARTS),
            *((Action.WRITE_BUCKET_LOCK, Action.WRITE_VERSIONING) if object_lock else ()),
        ):
            authorize(who, wanted, name)
        check_home(who, "make containers", READ_WRITE)
        first = first_config(config, self.settings)
        if object_lock:
            first[LOCK_PART] = encode_config(LockConfig())
        return await self.directory.create(
            who, name, region=region, spread=self.settings.bucket_spread, versioning=ENABLED if object_lock else "", config=first
        )

    async def bucket(self, who: Principal, name: str, action: Action = Action.READ_BUCKET) -> BucketInfo:
        """Resolve a name, first in the caller's account, then in the directory of claimed names."""
        return (await self.open_bucket(who, name, action)).info

    async def check_access(
        self, who: Principal, bucket: str, action: Action, key: str, *, version_id: str = "", given: Mapping[str, Sequence[str]] | None = None
    ) -> None:  # fmt: skip
        """Raises AccessDenied, NoSuchBucket."""
        await self.open_bucket(who, bucket, action, key, version_id, given=given)

    async def find_bucket(self, who: Principal, name: str) -> BucketInfo:
        """The same without asking what the caller may do."""
        return (await self.directory.find(who, name)).info

    def known_bucket(self, who: Principal, name: str) -> BucketInfo | None:
        """What this proxy knows of a bucket at this moment."""
        return self.directory.known(who, name)

    async def list_buckets(self, who: Principal, *, prefix: str = "", after: str = "", limit: int = 10_000) -> BucketPage:
        """The caller's own buckets by name."""
        check_may_list(who)
        return await self.directory.list(who.home or who.account, prefix=prefix, after=after, limit=limit)

    async def delete_bucket(self, who: Principal, name: str) -> None:
        """Raises BucketNotEmpty; pending multipart uploads do not count and are removed with it."""
        bucket = await self.open_bucket(who, name, Action.DELETE_BUCKET)
        if await self._has_objects(bucket):
            raise BucketNotEmpty(f"bucket {name!r} still holds objects", bucket=name)
        # Owned by the store: a caller that goes away must not leave the bucket marked until somebody takes that back.
        await asyncio.shield(self.tasks.spawn(self._delete_marked(bucket, who.tenant), name=f"delete bucket {name}"))

    async def _delete_marked(self, bucket: Bucket, tenant: str) -> None:
        record = await self.directory.begin_delete(bucket)
        try:
            await self.directory.wait_out_caches()
            if await self._has_objects(bucket):
                raise BucketNotEmpty(f"bucket {record.name!r} holds objects again", bucket=record.name)
        except ObjstoreError:
            await self.directory.take_back(record)
            raise
        await self.directory.finish_delete(tenant, record)
        with contextlib.suppress(Unavailable):  # the bucket is gone all the same; reclaim.py sweeps what is left
            # Only now, since up to here the deletion could have been taken back.
            await sweep_bucket(self.cluster, bucket.id, bucket.spread)

    async def _has_objects(self, bucket: Bucket) -> bool:
        """Whether anything is left: versions and delete markers count."""
        for space in (Space.OBJECTS, Space.VERSIONS):
            start: bytes | None = b""
            version = b""
            noncurrent = space is Space.VERSIONS
            while start is not None:
                page = await self.cluster.scan(
                    bucket.id, space, start=start, limit=1, versions=noncurrent, markers=not noncurrent, start_version=version
                )
                if page.rows:
                    return True
                start, version = page.next_start, page.next_version
        return False
