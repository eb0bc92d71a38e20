"""Stored records of the index: layout, version, checksum.

Every value in every table of the index is sealed:

    offset  size  field
    0       8     XXH3-64, big endian, seeded by table and format version, over the key and the array: a value under a wrong
                  key, or in a wrong table, is damaged
    8       1     format version, 1
    9       n     msgpack array: Entry in `rows`, Shadow in `partitions`, plain values elsewhere

A bad checksum, an unknown version or an undecodable array raises DamagedRow; nothing of such a value is used.
"""

from collections.abc import Sequence
from enum import Enum
from typing import Any

import msgspec
import xxhash

from objstore.core.rows import BodyKind, Kind, Row, decode_row, stored_size
from objstore.core.timestamp import ZERO, Ballot
from objstore.core.versions import VERSION_KINDS
from objstore.errors import DamagedRow

FORMAT_VERSION = 1
_VERSION = bytes((FORMAT_VERSION,))
_SEAL_BYTES = 9


class Table(Enum):
    """Tables of the index; the number seeds the seal."""

    ROWS = ("rows", 1)  # index key -> Entry
    PARTITIONS = ("partitions", 2)  # partition (4 bytes, big endian) + index key -> Shadow
    BLOBS = ("blobs", 3)  # blob id + XXH3-128 of index key -> index key: which registers name a blob
    PURGE = ("purge", 4)  # blob id -> nothing: blobs to unlink when no register names them
    META = ("meta", 5)  # position, totals; "p" partition sums, "b" bucket sums, "f" floors, "n" notes, "k" packs

    def __init__(self, table: str, seed: int) -> None:
        self.table = table
        self.seed = seed << 8 | FORMAT_VERSION


TABLES = tuple(t.table for t in Table)


class Entry(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One register as this device holds it.  The key is the index key; `long_name` completes a cut one."""

    partition: int
    flags: int  # row kind in the lower four bits (0: nothing accepted), body kind in the next four, then IN_FAMILY
    promised: Ballot
    accepted: Ballot
    size: int  # of the object, from the row: counters change without decoding the old row
    pack: int  # pack that holds the record, and so the inline payload
    offset: int  # of the payload in the pack; the record's header lies before it
    length: int  # of the payload; 0 when there is none
    checksum: int  # XXH3-64 of the payload
    born: int  # pack in which this life of the key began: a drop record matters while packs from here on exist
    long_name: bytes
    row: bytes
    record_pack: int = 0  # a register that lives off another record's payload (MOVED): where its own record lies; 0: at the payload
    record_offset: int = 0  # of the (empty) payload of that record

    @property
    def kind(self) -> int:
        """Row kind, 0 when nothing was accepted."""
        return self.flags & 15

    @property
    def body(self) -> int:
        """BodyKind of the row."""
        return self.flags >> 4 & 15

    @property
    def place(self) -> tuple[int, int]:
        """(pack, offset of the payload) of the register's own record."""
        return (self.record_pack, self.record_offset) if self.record_pack else (self.pack, self.offset)


class Shadow(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The second copy of what matters of a register, ordered by partition; it lies on other pages than the entry.

    `pack` and `offset` name the register's own record.
    """

    promised: Ballot
    accepted: Ballot
    pack: int
    offset: int
    long_name: bytes


class RowHead(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The first fields of a Row, all that the engine looks at; decoding skips the rest."""

    kind: int
    operation: bytes
    origin: Ballot
    base: Ballot
    modified_us: int
    size: int = 0
    etag: str = ""
    body: int = 0
    digest: bytes = b""
    blob: bytes = b""
    content_type: msgspec.Raw = msgspec.Raw()  # raw: skipped, not decoded
    headers: msgspec.Raw = msgspec.Raw()
    metadata: msgspec.Raw = msgspec.Raw()
    checksums: msgspec.Raw = msgspec.Raw()
    checksum_type: msgspec.Raw = msgspec.Raw()
    parts: msgspec.Raw = msgspec.Raw()
    owner: msgspec.Raw = msgspec.Raw()
    record: msgspec.Raw = msgspec.Raw()
    version: str = ""
    tags: msgspec.Raw = msgspec.Raw()
    effects: tuple[bytes, ...] = ()


ENCODER = msgspec.msgpack.Encoder()
_decode_entry = msgspec.msgpack.Decoder(Entry).decode
_digest = xxhash.xxh3_64_digest
_SHADOW_DECODER = msgspec.msgpack.Decoder(Shadow)
_HEAD_DECODER = msgspec.msgpack.Decoder(RowHead)
_EMPTY_HEAD = RowHead(0, b"", ZERO, ZERO, 0)
# Plain numbers: looking a number up among members of an enumeration costs a call each time.
IN_FAMILY = 1 << 8  # in Entry.flags: the row has a version id or effects, so that replacing it concerns noncurrent versions
SHADOWED = 1 << 9  # in Entry.flags under a version key: the head held here is that very version, and is what bucket counters count
LIVE_KINDS = frozenset(int(kind) for kind in (Kind.OBJECT, Kind.UPLOAD, Kind.PART, Kind.RECORD))


def flags_of(head: RowHead | Row) -> int:
    """Entry.flags for a row."""
    flags = head.kind | head.body << 4
    return flags | IN_FAMILY if head.version or head.effects else flags


def counts_as_version(entry: Entry) -> bool:
    """Whether counters of noncurrent versions count an entry under a version key."""
    return entry.flags & 15 in VERSION_KINDS and not entry.flags & SHADOWED


def head_of(row: bytes) -> RowHead:
    """Decode the head of a row; of no row (nothing accepted) an empty one.  Raises msgspec.DecodeError."""
    return _HEAD_DECODER.decode(row) if row else _EMPTY_HEAD


def blob_of(entry: Entry | None) -> bytes:
    """The blob that an entry's row names, or nothing."""
    if entry is None or entry.flags >> 4 & 15 != BodyKind.BLOB:
        return b""
    return head_of(entry.row).blob


def blob_size(entry: Entry) -> int:
    """Bytes of the file that holds an entry's blob.  Decodes the whole row: not for hot paths.  Raises msgspec.DecodeError."""
    return stored_size(decode_row(entry.row))


def seal(table: Table, key: bytes, body: bytes) -> bytes:
    """The stored value."""
    digest: bytes = xxhash.xxh3_64_digest(key + body, table.seed)
    return digest + _VERSION + body


def seal_value(table: Table, key: bytes, value: Any) -> bytes:
    """Encode and seal."""
    return seal(table, key, ENCODER.encode(value))


def unseal(table: Table, key: bytes, value: bytes) -> bytes:
    """The body of a stored value.  Raises DamagedRow."""
    body = value[_SEAL_BYTES:]
    if xxhash.xxh3_64_digest(key + body, table.seed) != value[:8] or value[8] != FORMAT_VERSION:
        raise DamagedRow(f"a stored value in table {table.table} does not match its checksum", table=table.table, key=key)
    return body


_ROWS_SEED = Table.ROWS.seed


def decode_entry(key: bytes, value: bytes) -> Entry:
    """An entry of `rows`.  Raises DamagedRow."""
    body = value[_SEAL_BYTES:]
    if not value.startswith(_digest(key + body, _ROWS_SEED)) or value[8] != FORMAT_VERSION:
        raise DamagedRow("a stored row does not match its checksum", table="rows", key=key)
    return _decode_entry(body)


def decode_entries(pairs: Sequence[tuple[bytes, bytes]]) -> tuple[list[bytes], list[Entry]]:
    """Keys and entries of many values of `rows`, a third cheaper than one by one.  Raises DamagedRow."""
    keys = [key for key, _ in pairs]
    # One after the other, so that the copies made of one value lie where those of the value before did.
    entries = [
        _decode_entry(body)
        for key, value in pairs
        if value.startswith(_digest(key + (body := value[_SEAL_BYTES:]), _ROWS_SEED)) and value[8] == FORMAT_VERSION
    ]
    if len(entries) != len(keys):
        return keys, [decode_entry(key, value) for key, value in pairs]  # raises, and says which
    return keys, entries


def decode_shadow(key: bytes, value: bytes) -> Shadow:
    """A value of `partitions`.  Raises DamagedRow."""
    return _SHADOW_DECODER.decode(unseal(Table.PARTITIONS, key, value))


def shadow_key(partition: int, index_key: bytes) -> bytes:
    """Key in `partitions`."""
    return partition.to_bytes(4, "big") + index_key


def shadow_of(entry: Entry) -> Shadow:
    """The value in `partitions` for an entry."""
    return Shadow(entry.promised, entry.accepted, *entry.place, entry.long_name)


def reference_key(blob: bytes, index_key: bytes) -> bytes:
    """Key in `blobs`."""
    digest: bytes = xxhash.xxh3_128_digest(index_key)
    return blob + digest
