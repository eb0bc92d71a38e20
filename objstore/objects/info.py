"""Rows as clients see them."""

from objstore.core.rows import Kind, Row
from objstore.core.versions import modified_us
from objstore.objects.api import ObjectInfo


def object_info(key: str, row: Row, is_latest: bool = True) -> ObjectInfo:  # noqa: FBT001, FBT002 positional for the thousand of a listing
    """One object version.  Called a thousand times a listing page: no copies, positional arguments."""
    return ObjectInfo(
        key, row.size, row.etag, row.modified_us or modified_us(row), row.version, row.content_type, row.headers, row.metadata,
        row.checksums, row.checksum_type, row.tags, row.owner, is_latest, row.kind == Kind.DELETE_MARKER, len(row.parts),
    )  # fmt: skip
