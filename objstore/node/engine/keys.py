"""Row keys to index keys that keep their order within LMDB's 511 bytes.

    offset  size  field
    0       8     bucket id
    8       1     space
    9       n     name, each 0x00 written as 0x00 0xFF so that the terminator sorts below every continuation
    9+n     2     0x00 0x00: the name is whole.   0x00 0x02: the name was cut, see below
            0|13  nothing for the head; 0x01 and the inverted ballot for a version, so: head first, then newest first

A name whose escaped form is longer than NAME_LIMIT_BYTES is cut there (never inside an escape pair) and followed by
0x00 0x02 and BLAKE2b-128 of the whole name; the stored value holds the whole name.  Index order equals name order except
among long names that share their cut prefix: such a *group* is contiguous, sorts exactly where its names belong, and a
scan sorts it by whole name.  BLAKE2b and not XXH3, since a collision would make two names one.
"""

import hashlib

from objstore.core.rows import BUCKET_ID_BYTES, RowKey
from objstore.core.timestamp import BALLOT_BYTES

NAME_LIMIT_BYTES = 464  # 511 = partition 4 + bucket 8 + space 1 + name 464 + mark 2 + digest 16 + version 13, and 3 spare
NAME_AT = BUCKET_ID_BYTES + 1
_DIGEST_BYTES = 16
_WHOLE = b"\x00\x00"
_CUT = b"\x00\x02"
_AFTER_CUT = b"\x00\x03"
_VERSION = b"\x01"
_INVERT = bytes(255 - i for i in range(256))
_SPACES = [bytes((i,)) for i in range(256)]


def encode_key(key: RowKey) -> bytes:
    """The index key of a register."""
    bucket = key.bucket
    name = key.name
    version = key.version
    assert len(bucket) == BUCKET_ID_BYTES
    escaped = name.replace(b"\x00", b"\x00\xff") if b"\x00" in name else name
    if len(escaped) <= NAME_LIMIT_BYTES:
        head = bucket + _SPACES[key.space] + escaped + _WHOLE
    else:
        head = bucket + _SPACES[key.space] + _cut(escaped) + _CUT + hashlib.blake2b(name, digest_size=_DIGEST_BYTES).digest()
    if not version:
        return head
    assert len(version) == BALLOT_BYTES
    return head + _VERSION + version.translate(_INVERT)


def long_name(index_key: bytes, name: bytes) -> bytes:
    """What the stored value must hold besides the index key: the whole name when it was cut, else nothing."""
    return name if len(name) > NAME_LIMIT_BYTES // 2 and is_cut(index_key) else b""


def mark_at(index_key: bytes) -> int:
    """Offset of the mark that ends the name.  Raises ValueError when there is none: not an index key."""
    at = index_key.index(b"\x00", NAME_AT)
    while index_key[at + 1 : at + 2] == b"\xff":
        at = index_key.index(b"\x00", at + 2)
    if at + 1 == len(index_key):
        raise ValueError("not an index key")
    return at


def is_cut(index_key: bytes) -> bool:
    """Whether the index key holds only the beginning of the name."""
    at = mark_at(index_key)
    return index_key[at + 1] == _CUT[1]


def group_of(index_key: bytes) -> bytes:
    """The beginning that all index keys of a group of cut names share."""
    return index_key[: mark_at(index_key) + 2]


def decode_key(index_key: bytes, whole_name: bytes = b"") -> RowKey:
    """The register's key.  `whole_name` comes from the stored value of a cut name.  Raises ValueError for other bytes."""
    at = mark_at(index_key)
    mark = index_key[at + 1]
    if mark == _WHOLE[1]:
        name = index_key[NAME_AT:at]
        if b"\x00" in name:
            name = name.replace(b"\x00\xff", b"\x00")
        rest = at + 2
    elif mark == _CUT[1] and whole_name:
        name = whole_name
        rest = at + 2 + _DIGEST_BYTES
    else:
        raise ValueError("not an index key")
    version = index_key[rest + 1 :].translate(_INVERT)
    if len(index_key) != rest and (index_key[rest : rest + 1] != _VERSION or len(version) != BALLOT_BYTES):
        raise ValueError("not an index key")
    return RowKey(index_key[:BUCKET_ID_BYTES], index_key[BUCKET_ID_BYTES], name, version)


def lower_bound(bucket: bytes, space: int, name: bytes) -> bytes:
    """The smallest index key that any name >= `name` can have; a group may also hold smaller names: compare whole ones."""
    escaped = name.replace(b"\x00", b"\x00\xff")
    if len(escaped) <= NAME_LIMIT_BYTES:
        return bucket + _SPACES[space] + escaped
    return bucket + _SPACES[space] + _cut(escaped) + _CUT


def end_of_prefix(bucket: bytes, space: int, prefix: bytes) -> bytes:
    """An index key above that of every name that begins with `prefix`."""
    escaped = prefix.replace(b"\x00", b"\x00\xff")
    if len(escaped) > NAME_LIMIT_BYTES:
        return bucket + _SPACES[space] + _cut(escaped) + _AFTER_CUT
    successor = successor_of_prefix(escaped)
    return bucket + _SPACES[space] + successor if successor is not None else bucket + _SPACES[space + 1]


def successor_of_prefix(prefix: bytes) -> bytes | None:
    """The smallest bytes above everything that begins with `prefix`; None when there are none."""
    stripped = prefix.rstrip(b"\xff")
    return stripped[:-1] + bytes((stripped[-1] + 1,)) if stripped else None


def _cut(escaped: bytes) -> bytes:
    # An escape pair is 0x00 0xFF, and a bare 0x00 never ends an escaped name: a cut after 0x00 is inside a pair.
    return escaped[: NAME_LIMIT_BYTES - 1] if escaped[NAME_LIMIT_BYTES - 1] == 0 else escaped[:NAME_LIMIT_BYTES]
