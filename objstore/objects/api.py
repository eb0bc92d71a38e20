"""The object model's face: what both dialects and all services call.

`ObjectStore` (in `objstore/objects/store.py`) implements every method of the Protocol below.  Names are text; keys any
UTF-8 of 1 to 1,024 bytes.  Methods raise only `objstore.errors` classes.  Nothing here knows of HTTP or of rings.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from objstore.core.acl import Acl
from objstore.core.encryption import NO_WISH, Wish
from objstore.core.locks import LockConfig, ObjectLock
from objstore.core.rows import BucketId
from objstore.objects.actions import Action


class RequestFacts:
    """What a request says of itself, for the conditions of policies; this base says nothing.

    A front derives its own.  Nothing is worked out before a policy asks, so that making one costs next to nothing.
    """

    __slots__ = ()

    @property
    def source_ip(self) -> str:
        """The address the request came from; empty when there is none."""
        return ""

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        return False

    @property
    def now_us(self) -> int:
        """The time of the request."""
        return 0

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return None

    def parameter(self, name: str) -> str | None:
        """A query parameter."""
        return None


NO_FACTS = RequestFacts()


@dataclass(frozen=True)
class Principal:
    """Who calls: the account that pays, the user in it; `anonymous` has neither.

    Without `policies` a user may do in the own account whatever the account may; with them, what they allow.  With
    `session_policies` no more than those allow as well.
    """

    account: str
    user: str = ""
    display_name: str = ""
    canonical_id: str = ""
    tenant: str = "default"
    admin: bool = False
    anonymous: bool = False
    arn: str = ""  # arn:aws:iam::ACCOUNT:user/NAME, arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION; empty: the account's user `user`
    policies: tuple[Any, ...] | None = None  # identity policies, parsed by core/policy.py; None: all of the own account, as its root
    session_policies: tuple[Any, ...] | None = None  # of temporary credentials: nothing goes beyond them; None: there are none
    boundary: Any = None  # permissions boundary: nothing goes beyond it either
    facts: Mapping[str, str] = field(default_factory=dict)  # for conditions of policies: "aws:username", "aws:userid"...
    request: RequestFacts = field(default=NO_FACTS, compare=False, repr=False)
    plain: bool = field(init=False, default=False, compare=False, repr=False)  # an account, and nothing narrows its rights

    def __post_init__(self) -> None:
        narrowed = self.anonymous or self.policies is not None or self.session_policies is not None or self.boundary is not None
        object.__setattr__(self, "plain", bool(self.account) and not narrowed)

    def of_request(self, request: RequestFacts) -> "Principal":
        """The same caller of one request; made for every request, so it copies as cheaply as can be."""
        made = object.__new__(Principal)
        made.__dict__.update(self.__dict__)
        made.__dict__["request"] = request
        return made


class Body(Protocol):
    """An incoming body.  Iterating gives non-empty pieces in order; slices need not be copied."""

    size: int | None  # announced length in bytes, None when unknown until the end

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        """Pieces as they come.  Raises IncompleteBody when the sender stops early."""

    async def finish(self) -> Mapping[str, bytes]:
        """Called once, after the last piece and before anything becomes visible.

        Raises BadDigest and the like when what came is not what was signed.  Returns checksums promised in trailers
        (algorithm -> raw digest), which the caller then verifies along with those announced before.
        """


@dataclass(frozen=True)
class Conditions:
    """Conditional request headers, parsed: etags without quotes, "*" as it is."""

    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since_us: int | None = None
    if_unmodified_since_us: int | None = None
    if_match_size: int | None = None  # deletes: the object's size
    if_match_modified_us: int | None = None  # deletes: when it was last modified, compared in whole seconds

    def __bool__(self) -> bool:
        return self is not NO_CONDITIONS and self != NO_CONDITIONS

    @property
    def demands_presence(self) -> bool:
        """Whether there must be an object for a write under these conditions."""
        return self.if_match is not None or self.if_match_size is not None or self.if_match_modified_us is not None


NO_CONDITIONS = Conditions()


@dataclass(frozen=True)
class DeleteTarget:
    """What to delete: the object, or one version of it, under conditions."""

    key: str
    version_id: str = ""
    conditions: Conditions = NO_CONDITIONS
    bypass: bool = False  # lift GOVERNANCE retention


@dataclass(frozen=True)
class Attributes:
    """What a writer says about an object besides its bytes."""

    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)  # cache-control, content-encoding... lower case
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    lock: ObjectLock | None = None
    encryption: Wish = NO_WISH
    acl: Acl | None = None  # None: the owner's alone
    storage_class: str = ""  # empty: STANDARD


@dataclass(frozen=True)
class Expected:
    """Digests a writer promised: verified before anything is visible."""

    md5: bytes | None = None
    checksums: Mapping[str, bytes] = field(default_factory=dict)  # algorithm -> raw digest
    wanted: tuple[str, ...] = ()  # algorithms to compute although the digest comes in a trailer or not at all


@dataclass(frozen=True)
class CopySource:
    """What to copy: a version of an object, under conditions, and for a part the bytes first..last (inclusive)."""

    bucket: str
    key: str
    version_id: str = ""
    conditions: Conditions = NO_CONDITIONS
    first: int | None = None
    last: int | None = None
    customer_key: bytes = field(default=b"", repr=False)  # of a source that is encrypted under one


@dataclass(frozen=True)
class BucketInfo:
    """A bucket as resolved for a caller."""

    id: BucketId
    name: str
    account: str
    created_us: int
    region: str = ""
    versioning: str = ""  # "", "Enabled", "Suspended"
    spread: int = 0
    config: Mapping[str, bytes] = field(default_factory=dict)  # by name of sub-resource, see objects/config.py


class ObjectInfo(msgspec.Struct, frozen=True, gc=False):
    """One object version as clients see it.  A msgspec struct, since a listing page makes a thousand of them."""

    key: str
    size: int
    etag: str
    modified_us: int
    version_id: str = ""  # "" for the null version of a bucket that was never versioned
    content_type: str = ""
    headers: Mapping[str, str] = {}
    metadata: Mapping[str, str] = {}
    checksums: Mapping[str, bytes] = {}
    checksum_type: str = ""
    tags: Mapping[str, str] = {}
    owner: str = ""
    is_latest: bool = True
    is_delete_marker: bool = False
    part_count: int = 0  # 0: not multipart
    source_version_id: str = ""  # of a copy: which version was copied
    lock_mode: str = ""  # "GOVERNANCE" or "COMPLIANCE" until `retain_until_us`
    retain_until_us: int = 0
    legal_hold: bool = False
    encryption: bytes = b""  # a core.encryption.Description, encoded; empty: it is not encrypted
    storage_class: str = ""  # empty: STANDARD


@dataclass(frozen=True)
class ByteRange:
    """A Range header: first and last byte, either open; suffix form has first None and last = number of bytes."""

    first: int | None
    last: int | None


@dataclass
class Reading:
    """An object being read: its facts, which bytes follow, and the bytes."""

    info: ObjectInfo
    offset: int
    length: int  # of what `chunks` yields; info.size is the whole
    chunks: AsyncIterator[bytes | memoryview]


@dataclass(frozen=True)
class ListQuery:
    """One listing page asked for.  `after` is exclusive; `limit` counts keys and common prefixes together."""

    prefix: str = ""
    delimiter: str = ""
    after: str = ""
    limit: int = 1000


@dataclass(frozen=True)
class ListPage:
    """One page; `objects` and `prefixes` are each in byte order; `next_after` (with `next_version`) resumes when `truncated`."""

    objects: Sequence[ObjectInfo]
    prefixes: Sequence[str]
    truncated: bool
    next_after: str = ""
    next_version: str = ""  # listings of versions: the last version id on the page, empty behind a common prefix


@dataclass(frozen=True)
class BucketPage:
    """One page of buckets."""

    buckets: Sequence[BucketInfo]
    truncated: bool
    next_after: str = ""


@dataclass(frozen=True)
class DeleteOutcome:
    """Result of one delete; `error` is set instead of raising in `delete_many`.

    `version_id` is the version that was named; `delete_marker`: a marker was made, or the version removed was one.
    """

    key: str
    version_id: str = ""
    delete_marker: bool = False
    marker_version_id: str = ""
    error: Exception | None = None


@dataclass(frozen=True)
class UploadInfo:
    """A multipart upload in progress."""

    key: str
    upload_id: str
    initiated_us: int
    owner: str = ""
    checksum_algorithm: str = ""
    checksum_type: str = ""
    encryption: bytes = b""  # of the object to be, as in ObjectInfo
    storage_class: str = ""  # empty: STANDARD


@dataclass(frozen=True)
class PartInfo:
    """One uploaded part."""

    number: int
    size: int
    etag: str
    modified_us: int
    checksums: Mapping[str, bytes] = field(default_factory=dict)
    source_version_id: str = ""  # of a copy: which version was copied
    encryption: bytes = b""  # of its upload, as in ObjectInfo


@dataclass(frozen=True)
class CompletedPart:
    """One line of a CompleteMultipartUpload request."""

    number: int
    etag: str
    checksums: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class PartPage:
    """One page of ListParts."""

    upload: UploadInfo
    parts: Sequence[PartInfo]
    truncated: bool
    next_marker: int = 0


@dataclass(frozen=True)
class ObjectParts:
    """An object and a page of the parts that it was made of, in order of number; none when it was written in one piece."""

    info: ObjectInfo
    parts: Sequence[PartInfo]
    truncated: bool


@dataclass(frozen=True)
class UploadPage:
    """One page of ListMultipartUploads."""

    uploads: Sequence[UploadInfo]
    prefixes: Sequence[str]
    truncated: bool
    next_key: str = ""
    next_upload_id: str = ""


NO_CONFIG: Mapping[str, bytes] = {}


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

    async def check_access(self, who: Principal, bucket: str, action: Action, key: str, *, version_id: str = "") -> None:
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

    async def copy(  # noqa: PLR0913 as much as S3 lets a copy say
        self, who: Principal, source: CopySource, bucket: str, key: str, *, conditions: Conditions = NO_CONDITIONS,
        attributes: Attributes | None = None, tags: Mapping[str, str] | None = None, checksum: str = "", lock: ObjectLock | None = None,
        encryption: Wish = NO_WISH, acl: Acl | None = None, storage_class: str = "",
    ) -> ObjectInfo:  # fmt: skip
        """Copy; `attributes` None keeps the source's, `tags` None too, `acl` None is the owner's alone; `checksum` names an algorithm to compute.

        The copy is encrypted as `encryption` and its bucket say, never as the source was; `attributes.encryption` is not looked at.

        Raises InvalidRequest for a copy onto itself that changes nothing.
        """

    async def list(self, who: Principal, bucket: str, query: ListQuery) -> ListPage:
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
    ) -> UploadInfo:  # fmt: skip
        """Begin a multipart upload."""

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
        expected: Expected, object_size: int | None = None,
    ) -> ObjectInfo:  # fmt: skip
        """Make the parts an object.  Idempotent: a repeat gives the same answer."""

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
