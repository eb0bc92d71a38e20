"""What every operation of the object model shares: the cluster, the world, the directory of buckets, settings."""

from dataclasses import dataclass

from objstore.cluster.api import ClusterApi, Staging
from objstore.core import names
from objstore.core.conditions import check_write
from objstore.core.multipart import MIN_PART_BYTES
from objstore.core.rows import INLINE_LIMIT_BYTES, Row, RowKey, Space
from objstore.core.versions import CURRENT, check_version_id, pick_head, row_version, version_bytes
from objstore.errors import ConditionalConflict, Refused
from objstore.objects.access import Action, authorize
from objstore.objects.api import NO_CONDITIONS, Conditions, Principal
from objstore.objects.buckets import Bucket, BucketDirectory
from objstore.objects.encryption import KeyService, NoKeyService
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


DEFAULT_SETTINGS = ObjectSettings()


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

    async def start(self) -> None:
        """Nothing needs to run before the first request; here so that every component starts alike."""

    async def aclose(self) -> None:
        """Cancel what runs in the background and end the threads."""
        await self.tasks.aclose()
        await self.directory.aclose()
        self.threads.close()

    async def open_bucket(self, who: Principal, name: str, action: Action) -> Bucket:
        """Resolve a bucket and see that the caller may do this there.  Raises NoSuchBucket, AccessDenied."""
        bucket = await self.directory.find(who, name)
        authorize(who, action, bucket.account)
        return bucket

    async def commit(
        self, bucket: Bucket, key: RowKey, draft: Row, *, conditions: Conditions = NO_CONDITIONS, payload: bytes | None = None, staging: Staging | None = None
    ) -> Row:  # fmt: skip
        """Write a row of a bucket, under conditions or plainly; acknowledged only while the bucket is there."""
        if conditions is not NO_CONDITIONS and conditions:

            def judge(current: Row | None) -> Row:
                check_write(conditions, current)
                return draft

            try:
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
            await self.directory.confirm(bucket)
        return written.row

    async def find_version(self, bucket: Bucket, key: str, version_id: str) -> Row:
        """A version as it is now.  Raises NoSuchKey, NoSuchVersion, VersionIsMarker."""
        held = await self.cluster.read(self.version_key(bucket, names.object_name(key), version_id), spread=bucket.spread)
        return pick_head(held.row, key, version_id)

    def version_key(self, bucket: Bucket, name: bytes, version_id: str) -> RowKey:
        """The register that tells of the version named: the head, or the version's own, which answers for a head too.  Raises InvalidArgument."""
        if version_id == CURRENT or not bucket.info.versioning:
            return RowKey(bucket.id, Space.OBJECTS, name)
        check_version_id(version_id)
        return RowKey(bucket.id, Space.VERSIONS, name, version_bytes(row_version(version_id)))


def object_key(bucket: Bucket, name: bytes) -> RowKey:
    """The register of an object's head."""
    return RowKey(bucket.id, Space.OBJECTS, name)
