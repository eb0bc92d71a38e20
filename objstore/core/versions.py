"""The versions of an object: which one a caller names, what removing or changing one makes of the head; pure (ADR 6).

A version id is empty (the current version), "null" (the one written while the bucket was not versioned, or while versioning
was suspended) or the ballot of a version in 24 hexadecimal digits.  Every change to a version of a key is a write of its
head; what changes besides travels in the `effects` of that row.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from objstore.core.rows import EMPTY, NEW_VERSION, Kind, Register, Row, RowKey, Space, decode_row, encode_row, is_live
from objstore.core.timestamp import BALLOT_BYTES, COUNTER_BITS, ZERO, Ballot, ballot_at, parse_version_id, wall_us_of
from objstore.errors import InvalidArgument, NoSuchKey, NoSuchVersion, VersionIsMarker

CURRENT = ""
NULL = "null"

ENABLED = "Enabled"
SUSPENDED = "Suspended"
VERSION_KINDS = (int(Kind.OBJECT), int(Kind.DELETE_MARKER))


def check_version_id(text: str) -> None:
    """Raises InvalidArgument when the text names no possible version."""
    if text not in (CURRENT, NULL) and parse_version_id(text) is None:
        raise InvalidArgument("Invalid version id specified", argument="versionId", value=text)


def row_version(version_id: str) -> str:
    """`Row.version` of what a version id names."""
    return "" if version_id == NULL else version_id


def version_bytes(version: str) -> bytes:
    """`RowKey.version` of a `Row.version`: the ballot, empty for the null version."""
    return bytes.fromhex(version)


def is_head(row: Row, version_id: str) -> bool:
    """Whether the head of a key is the version that is named."""
    return version_id == CURRENT or row.version == row_version(version_id)


def pick_head(row: Row | None, key: str, version_id: str) -> Row:
    """The head of a key when it is live and the version named.  Raises NoSuchKey, NoSuchVersion, InvalidArgument.

    A delete marker is named in the facts of NoSuchKey, or, when it was asked for by its id, raises VersionIsMarker.
    """
    if row is not None and row.kind == Kind.OBJECT and (version_id == CURRENT or is_head(row, version_id)):
        return row
    if version_id == CURRENT:
        if row is not None and row.kind == Kind.DELETE_MARKER:
            raise NoSuchKey(f"object {key!r} was deleted", key=key, marker=row.version or NULL)
        raise NoSuchKey(f"there is no object {key!r}", key=key)
    check_version_id(version_id)
    if row is not None and row.kind == Kind.DELETE_MARKER and is_head(row, version_id):
        raise VersionIsMarker(
            f"version {version_id!r} of object {key!r} is a delete marker", key=key, marker=version_id, modified_us=modified_us(row)
        )
    raise NoSuchVersion(f"there is no version {version_id!r} of object {key!r}", key=key, version_id=version_id)


def is_replaceable(row: Row | None) -> bool:
    """Whether a delete has anything to do here."""
    return row is not None and is_live(row)


def modified_us(row: Row) -> int:
    """When the object was last modified, in microseconds since 1970.

    The clock of the ballot that wrote it, unless the row keeps an older time because only its tags were changed since.
    """
    return row.modified_us or wall_us_of(row.origin)


# -- keys and order ----------------------------------------------------------------------------------------------------


def version_key(head: RowKey, version: str) -> RowKey:
    """Under which key a noncurrent version lies: `head` is that of the object, `version` as in a row ("" for the null version)."""
    return RowKey(head.bucket, Space.VERSIONS, head.name, version_bytes(version))


def head_key(version: RowKey) -> RowKey:
    """The key of the object whose noncurrent version this is."""
    return RowKey(version.bucket, Space.OBJECTS, version.name)


def is_version(row: Row | None) -> bool:
    """Whether a row is a version that a client sees, rather than nothing or a tombstone."""
    return row is not None and row.kind in VERSION_KINDS


def speaks_of(head: Row, version: str) -> bool:
    """Whether a head tells what becomes of a version (`Row.version`): it is that version, or says that the null version is deleted.

    A deletion in a bucket that was not versioned yet leaves nothing but the head's tombstone to tell that the null version is gone.
    """
    return head.version == version and (is_version(head) or (head.kind == Kind.TOMBSTONE and not version))


def rank(row: Row) -> tuple[Ballot, bool]:
    """Order of rows under one version key: the higher wins wherever two meet.

    By origin.  A null version that overwrites the noncurrent null version carries its tombstone, with one origin for both: what is
    there stands above what says that something older is gone.
    """
    return row.origin, row.kind != Kind.TOMBSTONE


def winner(held: Mapping[int, Register], space: int) -> tuple[Register, tuple[int, ...]]:
    """What wins where replicas of one key answer different things, and which devices hold its row; promises are not looked at.

    Heads: the highest accepted ballot.  Noncurrent versions: the highest rank, whatever the ballots; one that was demoted late has a
    higher accepted ballot than the tombstone that removed it since.
    """
    best, best_order = EMPTY, _order(EMPTY, space)
    orders = {device: _order(register, space) for device, register in held.items()}
    for device, order in orders.items():
        if order > best_order:
            best, best_order = held[device], order
    # Under a version key the accepted ballot only decides between answers of one row.
    same = best_order[0]
    return best, tuple(device for device, order in orders.items() if order[0] == same)


def _order(register: Register, space: int) -> tuple[tuple[Ballot, bool], Ballot]:
    if space != Space.VERSIONS:
        return (register.accepted, False), ZERO
    return rank(decode_row(register.row)) if register.row else (ZERO, False), register.accepted


def raised(row: Row, ballot: Ballot) -> Row:
    """A row of a version at the rank of a later ballot; a tombstone goes on telling in its `base` when the removal was first proposed."""
    if row.kind == Kind.TOMBSTONE:
        return msgspec.structs.replace(row, origin=ballot, base=removed_at(row))
    return msgspec.structs.replace(row, origin=ballot)


def removed_at(tombstone: Row) -> Ballot:
    """When the removal was first proposed: whatever was written at a higher ballot came after it."""
    return tombstone.base if tombstone.base != ZERO else tombstone.origin


def age_key(row: Row) -> tuple[int, str]:
    """Sorts the versions of a key from the oldest on; the null version by its time of modification."""
    return (wall_us_of(version_ballot(row.version)) if row.version else modified_us(row), row.version)


def next_older(version: bytes) -> bytes:
    """The highest possible version (`RowKey.version`) below this one; empty: there is none."""
    number = int.from_bytes(version, "big")
    return (number - 1).to_bytes(BALLOT_BYTES, "big") if number else b""


def newest_before(wall_us: int) -> bytes:
    """The highest possible version (`RowKey.version`) of an earlier microsecond; empty: there is none."""
    return next_older(ballot_at(wall_us << COUNTER_BITS, 0))


def version_ballot(version: str) -> Ballot:
    """The ballot behind the version of a row that is not the null version."""
    ballot = parse_version_id(version)
    assert ballot is not None
    return ballot


def newest_first(rows: Iterable[Row]) -> list[Row]:
    """Versions of one key, the newest first."""
    return sorted(rows, key=age_key, reverse=True)


# -- drafts ---------------------------------------------------------------------------------------------------


def _dead(version: str = "") -> Row:
    return Row(kind=Kind.TOMBSTONE, operation=b"", origin=ZERO, base=ZERO, modified_us=0, version=version)


_NULL_DEAD = (encode_row(_dead()),)


def new_version(draft: Row, versioning: str, **fields: Any) -> Row:
    """The draft of a new head, as a bucket with this state of versioning keeps it; `fields` are further ones of the row."""
    if versioning == ENABLED:
        return msgspec.structs.replace(draft, version=NEW_VERSION, **fields)
    if versioning:
        return msgspec.structs.replace(draft, version="", effects=_NULL_DEAD, **fields)
    return msgspec.structs.replace(draft, **fields) if fields else draft


def delete_marker(owner: str, versioning: str) -> Row:
    """The draft of a delete marker."""
    marker = Row(kind=Kind.DELETE_MARKER, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=owner)
    return new_version(marker, versioning)


def again(row: Row, *, effects: Sequence[Row] = (), tombstones: Sequence[str] = ()) -> Row:
    """The draft that writes a row once more as the head: itself, with these effects and no earlier ones.

    `effects`: other versions with changed metadata; `tombstones`: versions (`Row.version`) to remove.
    """
    encoded = (*(encode_row(kept(effect)) for effect in effects), *(encode_row(_dead(version)) for version in tombstones))
    return msgspec.structs.replace(row, modified_us=modified_us(row), effects=encoded)


def kept(row: Row) -> Row:
    """A row without its effects, its time of modification fixed, so that it can be written at another ballot."""
    return msgspec.structs.replace(row, modified_us=modified_us(row), effects=())


def removal(versions: Iterable[str], owner: str = "") -> Row:
    """The draft of a tombstone over the head that removes these versions (`Row.version`) of the key too."""
    return msgspec.structs.replace(_dead(), owner=owner, effects=tuple(encode_row(_dead(version)) for version in sorted(set(versions))))


class Others(Protocol):
    """The versions of a key besides its head, as `cluster.api.Versions` has them."""

    def newest(self) -> Row | None:
        """Of all versions but the current one the newest."""


def without_version(current: Row | None, others: Others, version: str, owner: str = "") -> Row:
    """The draft of a key's head once a version of it, which is there, is removed: what was the latest exposes the one before."""
    if current is None:
        return removal([version], owner)  # left behind by a write that nobody finished: there is no head to replace
    if current.kind not in VERSION_KINDS or current.version != version:
        return again(current, tombstones=(version,))
    successor = others.newest()
    return again(successor, tombstones=(version,)) if successor is not None else removal([version], owner)


def with_version(current: Row, changed: Row) -> Row:
    """The draft of a key's head once a version of it (`changed.version`, which must be there) has other metadata."""
    if current.kind in VERSION_KINDS and current.version == changed.version:
        return again(changed)
    return again(current, effects=(changed,))
