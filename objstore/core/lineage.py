"""Where an object's bytes and name come from, when that is not where one would look: stored in its row's `record`; pure.

The parts of a manifest belong to the key that they were written for.  When another key of the bucket comes to name them (a rename, a
copy by reference), that key is entered in the *shares* of the owner first, a row for each key, and reclaiming asks those that share.
"""

import hashlib
from collections.abc import Mapping
from types import MappingProxyType

import msgspec

from objstore.core.names import split_part_name
from objstore.core.rows import Kind, Row
from objstore.core.timestamp import ZERO, Ballot

RECORD_VERSION = 1


class Lineage(msgspec.Struct, frozen=True, array_like=True):
    """What an object's row says of its past.  New fields go last, with a default."""

    record_version: int = RECORD_VERSION
    owners: dict[str, bytes] = {}  # upload id -> key, of parts in its manifest that were written for another key
    token: bytes = b""  # digest that names the rename which made it
    source: bytes = b""  # that rename's source, and which write of it
    origin: Ballot = ZERO
    segments: bytes = b""  # of a static large object of Swift: what it was made of, see fronts/swift/static.py


class Shares(msgspec.Struct, frozen=True, array_like=True):
    """Which other keys may name the parts of an upload: one; up to 64 in rows of before there was a row for each."""

    record_version: int = RECORD_VERSION
    keys: tuple[bytes, ...] = ()


_encode = msgspec.msgpack.Encoder().encode
_decode_lineage = msgspec.msgpack.Decoder(Lineage).decode
_decode_shares = msgspec.msgpack.Decoder(Shares).decode
NO_LINEAGE = Lineage()


def encode_lineage(lineage: Lineage) -> bytes:
    """As it lies in a row."""
    return _encode(lineage)


def lineage_of(row: Row | None) -> Lineage:
    """What an object's row says of its past."""
    return _decode_lineage(row.record) if row is not None and row.kind == Kind.OBJECT and row.record else NO_LINEAGE


def record_of(*, owners: Mapping[str, bytes] = MappingProxyType({}), segments: bytes = b"") -> bytes:
    """What goes into the row of an object that was not renamed: nothing where there is nothing to say."""
    return _encode(Lineage(owners=dict(owners), segments=segments)) if owners or segments else b""


def owners_of(row: Row, key: bytes) -> dict[str, bytes]:
    """Upload id -> the key that its parts were written for, of all parts that the object under `key` names."""
    foreign = lineage_of(row).owners
    found = {split_part_name(part.name)[0] for part in row.parts}
    return {upload_id: foreign.get(upload_id, key) for upload_id in sorted(found)}


def rename_token(client_token: bytes, source: bytes, key: bytes) -> bytes:
    """What one rename is known by, so that it can be repeated."""
    return hashlib.sha256(b"\0".join((client_token, source, key))).digest()[:16]


def encode_shares(shares: Shares) -> bytes:
    """As they lie in a row."""
    return _encode(shares)


def shares_of(row: Row | None) -> tuple[bytes, ...]:
    """The keys in a row of shares."""
    return _decode_shares(row.record).keys if row is not None and row.kind == Kind.RECORD else ()
