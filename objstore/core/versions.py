"""Which version of an object a caller names; pure.

A version id is empty (the current version), "null" (the one written while the bucket was not versioned) or the ballot
of a version in 24 hexadecimal digits.  A bucket that was never versioned holds the null version alone.
"""

from objstore.core.rows import Kind, Row, is_live
from objstore.core.timestamp import parse_version_id, wall_us_of
from objstore.errors import InvalidArgument, NoSuchKey, NoSuchVersion

CURRENT = ""
NULL = "null"


def check_version_id(text: str) -> None:
    """Raises InvalidArgument when the text names no possible version."""
    if text not in (CURRENT, NULL) and parse_version_id(text) is None:
        raise InvalidArgument(f"{text!r} is not a version id")


def is_head(row: Row, version_id: str) -> bool:
    """Whether the head of a key is the version that is named."""
    return version_id == CURRENT or row.version == ("" if version_id == NULL else version_id)


def pick_head(row: Row | None, key: str, version_id: str) -> Row:
    """The head of a key when it is live and the version named.  Raises NoSuchKey, NoSuchVersion, InvalidArgument."""
    if row is not None and row.kind == Kind.OBJECT and (version_id == CURRENT or is_head(row, version_id)):
        return row
    if version_id == CURRENT:
        raise NoSuchKey(f"there is no object {key!r}", key=key)
    check_version_id(version_id)
    raise NoSuchVersion(f"there is no version {version_id!r} of object {key!r}", key=key, version_id=version_id)


def is_replaceable(row: Row | None) -> bool:
    """Whether a delete has anything to do here."""
    return row is not None and is_live(row)


def modified_us(row: Row) -> int:
    """When the object was last modified, in microseconds since 1970.

    The clock of the ballot that wrote it, unless the row keeps an older time because only its tags were changed since.
    """
    return row.modified_us or wall_us_of(row.origin)
