"""The object model's face: what both dialects and all services call.

`ObjectStore` (in `objstore/objects/store.py`) implements every method of the Protocol below.  Names are text; keys any
UTF-8 of 1 to 1,024 bytes.  Methods raise only `objstore.errors` classes.  Nothing here knows of HTTP or of rings.  The values
that methods take and give (`objects/values.py`) and the caller (`objects/caller.py`) are part of the face, and named here too.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from objstore.core.acl import Acl
from objstore.core.container import AccountInfo, ContainerChange
from objstore.core.container_sync import SyncState
from objstore.core.encryption import NO_WISH, Wish
from objstore.core.locks import LockConfig, ObjectLock
from objstore.core.quota import Usage
from objstore.objects.actions import Action
from objstore.objects.caller import NO_FACTS, Principal, RequestFacts
from objstore.objects.heads import HeadPage, Heads
from objstore.objects.values import (
    NO_CONDITIONS,
    Attributes,
    Body,
    BucketInfo,
    BucketPage,
    ByteRange,
    CompletedPart,
    Conditions,
    CopySource,
    DeleteOutcome,
    DeleteTarget,
    Expected,
    ListPage,
    ListQuery,
    ObjectInfo,
    ObjectParts,
    PartInfo,
    PartPage,
    Reading,
    UploadInfo,
    UploadPage,
)

__all__ = [
    "NO_CONDITIONS", "NO_FACTS", "Attributes", "Body", "BucketInfo", "BucketPage", "ByteRange", "CompletedPart", "Conditions", "CopySource",
    "DeleteOutcome", "DeleteTarget", "Expected", "HeadPage", "Heads", "ListPage", "ListQuery", "ObjectInfo", "ObjectParts", "ObjectStoreApi", "PartInfo",
    "PartPage", "Principal", "Reading", "RequestFacts", "UploadInfo", "UploadPage",
]  # fmt: skip

NO_CONFIG: Mapping[str, bytes] = {}
NO_CHANGE: Mapping[str, str] = {}


class ObjectStoreApi(Protocol):
    """Every operation on buckets and objects.

    `who` is authorised here, by one table (`objects/access.py`); names that do not exist raise NoSuchBucket, NoSuchKey,
    NoSuchUpload; too few replicas raise QuorumLost or OutcomeUnknown.
    """

    async def create_bucket(
        self, who: Principal, name: str, *, region: str = "", object_lock: bool = False, config: Mapping[str, bytes] = NO_CONFIG
    ) -> BucketInfo:
        """Make a bucket, with a configuration from its first moment on.  Raises InvalidBucketName, BucketAlreadyOwnedByYou, BucketAlreadyExists."""

    async def bucket(self, who: Principal, name: str, action: Action = Action.READ_BUCKET) -> BucketInfo:
        """Resolve a name, first in the caller's account, then in the directory of claimed names, for a caller who may do this there."""

    async def check_access(
        self, who: Principal, bucket: str, action: Action, key: str, *, version_id: str = "", given: Mapping[str, Sequence[str]] | None = None
    ) -> None:  # fmt: skip
        """See that the caller may do this to an object, before his document is read.  Raises AccessDenied, NoSuchBucket."""

    async def find_bucket(self, who: Principal, name: str) -> BucketInfo:
        """The same without asking what the caller may do: for fronts that need a configuration before they know who calls (a
        preflight, a website), never to be shown.  Raises NoSuchBucket."""

    def known_bucket(self, who: Principal, name: str) -> BucketInfo | None:
        """What this proxy knows of a bucket at this moment, perhaps a little old or nothing; asks nobody."""

    async def list_buckets(self, who: Principal, *, prefix: str = "", after: str = "", limit: int = 10_000) -> BucketPage:
        """The caller's own buckets by name."""

    async def delete_bucket(self, who: Principal, name: str) -> None:
        """Raises BucketNotEmpty; pending multipart uploads do not count and are removed with it."""

    async def get_config(self, who: Principal, bucket: str, part: str) -> bytes:
        """A sub-resource of a bucket as it was set.  Raises NoSuchConfig when it is not."""

    async def may_configure(self, who: Principal, bucket: str, part: str) -> BucketInfo:
        """The bucket, when the caller may set this part of its configuration.  Raises AccessDenied."""

    async def set_config(self, who: Principal, bucket: str, part: str, value: bytes | None) -> BucketInfo:
        """Set a sub-resource of a bucket, or take it away (None), atomically."""

    async def set_container(self, who: Principal, name: str, change: ContainerChange) -> BucketInfo:
        """Change a container's lists and metadata.  Raises InvalidArgument, InvalidRequest."""

    async def sync_state(self, who: Principal, name: str) -> SyncState | None:
        """How far the peer of a container is kept in step; None when it was never sent anywhere."""

    async def container_usage(self, who: Principal, name: str) -> Usage:
        """What a container holds, from the devices' counters."""

    async def usages(self, who: Principal, buckets: Sequence[BucketInfo]) -> list[Usage]:
        """The same of containers of the caller's home that were listed before."""

    async def account(self, who: Principal) -> AccountInfo:
        """The account that is the caller's home."""

    async def account_metadata(self, account: str) -> Mapping[str, str]:
        """What was said of an account, at most a second old; not to be shown."""

    async def account_level(self, who: Principal, account: str) -> str:
        """What an account's access control list gives a caller: "admin", "read-write", "read-only" or ""."""

    async def account_settings(self, account: str) -> Mapping[str, str]:
        """An account's settings that are no metadata, at most a second old."""

    async def set_account(
        self, who: Principal, change: Mapping[str, str], acl: dict[str, list[str]] | None = None, hidden: Mapping[str, str] = NO_CHANGE
    ) -> None:
        """Change an account's metadata and hidden settings, where an empty value takes a name away, and its access control list."""

    async def set_attributes(self, who: Principal, bucket: str, key: str, attributes: Attributes) -> ObjectInfo:
        """Replace an object's metadata and headers; its bytes stay."""

    async def set_policy(self, who: Principal, bucket: str, data: bytes, *, may_lock_out: bool = False) -> BucketInfo:
        """Set the bucket's policy.  Raises MalformedPolicy, AccessDenied when it is public and that is blocked, or locks its setter out."""

    async def get_acl(self, who: Principal, bucket: str, key: str, *, version_id: str = "") -> tuple[ObjectInfo, Acl]:
        """A version and its access control list."""

    async def set_acl(self, who: Principal, bucket: str, key: str, acl: Acl, *, version_id: str = "") -> ObjectInfo:
        """Replace a version's access control list.  Raises AclNotSupported, AccessDenied."""

    async def set_versioning(self, who: Principal, bucket: str, status: str) -> BucketInfo:
        """ "Enabled" or "Suspended".  When it returns, every proxy writes accordingly."""

    async def put(
        self, who: Principal, bucket: str, key: str, body: Body, *,
        attributes: Attributes, expected: Expected, conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:  # fmt: skip
        """Write an object; nothing is visible before the whole body came, matched and is durable on a quorum."""

    async def rename(
        self, who: Principal, bucket: str, source: str, key: str, *, token: str = "",
        source_conditions: Conditions = NO_CONDITIONS, conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:  # fmt: skip
        """Give an object another name in its bucket.  Raises NoSuchKey, PreconditionFailed, InvalidRequest."""

    async def append(
        self, who: Principal, bucket: str, key: str, body: Body, *, offset: int, attributes: Attributes, expected: Expected,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:  # fmt: skip
        """Write at the end of an object, which must be at `offset`.  Raises InvalidWriteOffset, TooManyParts."""

    async def head(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS, customer_key: bytes = b"",
        action: Action = Action.READ_OBJECT,
    ) -> ObjectInfo:  # fmt: skip
        """For a caller who may do this to it.  Raises NoSuchKey, NoSuchVersion, PreconditionFailed, NotModified; InvalidRequest, AccessDenied for a wrong `customer_key`."""

    async def get(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS,
        range_: ByteRange | None = None, part_number: int | None = None, customer_key: bytes = b"",
    ) -> Reading:  # fmt: skip
        """Read one version, whole; the reader must exhaust or aclose `chunks`.  Raises InvalidRange too."""

    async def object_parts(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS, after: int = 0, limit: int = 1000,
        customer_key: bytes = b"",
    ) -> ObjectParts:  # fmt: skip
        """As `head`, with the parts numbered above `after`; their checksums are in the object's algorithm."""

    async def delete(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS, bypass: bool = False
    ) -> DeleteOutcome:
        """Idempotent: a missing key is fine.  `bypass` lifts GOVERNANCE retention.  Raises AccessDenied for a locked version."""

    async def delete_many(self, who: Principal, bucket: str, targets: Sequence[DeleteTarget]) -> list[DeleteOutcome]:
        """Some at a time; errors come back in the outcomes."""

    async def delete_later(self, who: Principal, bucket: str, keys: Sequence[str]) -> None:
        """Have objects removed that are there now, by a daemon; what is written since stays."""

    async def copy(  # noqa: PLR0913 as much as S3 lets a copy say
        self, who: Principal, source: CopySource, bucket: str, key: str, *, conditions: Conditions = NO_CONDITIONS,
        attributes: Attributes | None = None, tags: Mapping[str, str] | None = None, checksum: str = "", lock: ObjectLock | None = None,
        encryption: Wish = NO_WISH, acl: Acl | None = None, storage_class: str = "", redirect: str = "",
    ) -> ObjectInfo:  # fmt: skip
        """Copy; `attributes` None keeps the source's but for where a website redirects to, which is `redirect` then, `tags` None too, `acl` None is
        the owner's alone; `checksum` names an algorithm to compute.

        The copy is encrypted as `encryption` and its bucket say, never as the source was; `attributes.encryption` is not looked at.

        Raises InvalidRequest for a copy onto itself that changes nothing.
        """

    async def list(self, who: Principal, bucket: str, query: ListQuery) -> HeadPage:
        """Objects in byte order of key; as consistent as a GET of each."""

    async def list_versions(self, who: Principal, bucket: str, query: ListQuery, *, after_version: str = "") -> ListPage:
        """All versions and delete markers, newest first within a key."""

    async def set_tags(self, who: Principal, bucket: str, key: str, tags: Mapping[str, str], *, version_id: str = "") -> ObjectInfo:
        """Replace an object's tags."""

    async def set_lock_config(self, who: Principal, bucket: str, config: LockConfig) -> BucketInfo:
        """Turn object lock on for a versioned bucket, or change its default retention.  Raises InvalidBucketState."""

    async def retention_of(self, who: Principal, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        """A version with its retention.  Raises InvalidRequest where the bucket has no object lock."""

    async def legal_hold_of(self, who: Principal, bucket: str, key: str, *, version_id: str = "") -> ObjectInfo:
        """A version with its legal hold.  Raises InvalidRequest where the bucket has no object lock."""

    async def set_retention(
        self, who: Principal, bucket: str, key: str, mode: str, until_us: int, *, version_id: str = "", bypass: bool = False
    ) -> ObjectInfo:
        """Set a version's retention; without a mode take it away.  Raises AccessDenied, InvalidArgument, InvalidRequest."""

    async def set_legal_hold(self, who: Principal, bucket: str, key: str, *, on: bool, version_id: str = "") -> ObjectInfo:
        """Put a version under legal hold, or end that."""

    async def create_upload(
        self, who: Principal, bucket: str, key: str, *, attributes: Attributes, checksum_algorithm: str = "", checksum_type: str = "",
        segments: bytes = b"",
    ) -> UploadInfo:  # fmt: skip
        """Begin a multipart upload; with `segments`, which the object keeps, parts may be of any size."""

    async def upload_part(
        self, who: Principal, bucket: str, key: str, upload_id: str, number: int, body: Body, *, expected: Expected, customer_key: bytes = b"",
    ) -> PartInfo:  # fmt: skip
        """Write a part; uploading a number again replaces it, last finished wins."""

    async def copy_part(
        self, who: Principal, source: CopySource, bucket: str, key: str, upload_id: str, number: int, *, customer_key: bytes = b""
    ) -> PartInfo:
        """Write a part from (a range of) an object.  Raises InvalidRange when out of bounds."""

    async def complete_upload(
        self, who: Principal, bucket: str, key: str, upload_id: str, parts: Sequence[CompletedPart], *, conditions: Conditions = NO_CONDITIONS,
        expected: Expected, object_size: int | None = None, checksum_type: str = "",
    ) -> ObjectInfo:  # fmt: skip
        """Make the parts an object.  Idempotent: a repeat gives the same answer.  `checksum_type`: that with which the upload must have begun."""

    async def abort_upload(self, who: Principal, bucket: str, key: str, upload_id: str) -> None:
        """Drop an upload and its parts.  Raises NoSuchUpload."""

    async def list_parts(self, who: Principal, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000) -> PartPage:
        """Parts in order of number."""

    async def list_uploads(
        self,
        who: Principal,
        bucket: str,
        *,
        prefix: str = "",
        delimiter: str = "",
        after_key: str = "",
        after_upload_id: str = "",
        limit: int = 1000,
    ) -> UploadPage:
        """Uploads in progress by key, then by time begun."""
