"""Rows as clients see them."""

from objstore.core.rows import Kind, Row
from objstore.core.timestamp import wall_us_of
from objstore.objects.api import ObjectInfo

_DELETE_MARKER = int(Kind.DELETE_MARKER)


def object_info(key: str, row: Row) -> ObjectInfo:
    """The current version of an object.  Called a thousand times a listing page: no copies, positional arguments."""
    return ObjectInfo(
        key, row.size, row.etag, row.modified_us or wall_us_of(row.origin), row.version, row.content_type, row.headers, row.metadata,
        row.checksums, row.checksum_type, row.tags, row.owner, True, row.kind == _DELETE_MARKER, len(row.parts),  # noqa: FBT003 is_latest
    )  # fmt: skip
