"""The values that go into operations on buckets and objects and come out of them.

They say what a caller said or may see, never how it is stored; rows (`core/rows.py`) are made from them and they from rows in
`objects/`.  Those that every request makes are msgspec structs: a frozen dataclass takes a microsecond.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from objstore.core.acl import Acl
from objstore.core.encryption import NO_WISH, Wish
from objstore.core.locks import ObjectLock
from objstore.core.rows import BucketId


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
    as_of_us: int | None = None  # the write was made elsewhere at this time, which it keeps: nothing there may be as new (container sync)

    def __bool__(self) -> bool:
        return self is not NO_CONDITIONS and self != NO_CONDITIONS

    @property
    def demands_presence(self) -> bool:
        """Whether there must be an object for a write under these conditions."""
        return self.if_match is not None


NO_CONDITIONS = Conditions()


class DeleteTarget(msgspec.Struct, frozen=True):
    """What to delete: the object, or one version of it, under conditions."""

    key: str
    version_id: str = ""
    conditions: Conditions = NO_CONDITIONS
    bypass: bool = False  # lift GOVERNANCE retention


class Attributes(msgspec.Struct, frozen=True):
    """What a writer says about an object besides its bytes."""

    content_type: str = ""
    headers: Mapping[str, str] = {}  # cache-control, content-encoding... lower case
    metadata: Mapping[str, str] = {}
    tags: Mapping[str, str] = {}
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
    home: str = ""  # the account whose container it lies in, where that is not the one the copy goes to (Swift)


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
    segments: bytes = b""  # of a static large object: what it was made of


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


class DeleteOutcome(msgspec.Struct, frozen=True):
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
