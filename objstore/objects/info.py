"""Rows as clients see them."""

from objstore.core.lineage import lineage_of
from objstore.core.rows import Kind, Row
from objstore.core.timestamp import wall_us_of
from objstore.core.versions import NULL
from objstore.objects.values import BucketInfo, ObjectInfo

_DELETE_MARKER = int(Kind.DELETE_MARKER)


def null_of(bucket: BucketInfo) -> str:
    """How a bucket shows the id of null versions: not at all unless it is, or was, versioned."""
    return NULL if bucket.versioning else ""


def object_info(key: str, row: Row, null: str = "", *, latest: bool = True) -> ObjectInfo:
    """A version of an object.  `null`: what the null version's id is shown as, see `null_of`.

    Called a thousand times a listing page: no copies, positional arguments.  A part without a number is no part to clients but the
    body of an object in one piece, shared with another (ADR 14).
    """
    parts = row.parts
    return ObjectInfo(
        key, row.size, row.etag, row.modified_us or wall_us_of(row.origin), row.version or null, row.content_type, row.headers, row.metadata,
        row.checksums, row.checksum_type, row.tags, row.owner, latest, row.kind == _DELETE_MARKER, len(parts) if parts and parts[0].number else 0,
        "", row.lock_mode, row.retain_until_us, row.legal_hold, row.encryption, row.storage_class, lineage_of(row).segments if row.record else b"",
    )  # fmt: skip
