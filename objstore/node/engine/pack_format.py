"""The pack file format: the journal of a device and the home of small payloads (docs/formats/pack.md).

All integers little endian.  File header, 64 bytes:

    offset  size  field
    0       8     magic "objpack\\0"
    8       2     format version, 1
    10      6     zero
    16      8     pack id
    24      8     seal of the device (identity file): a pack of another device is refused
    32      8     sequence of the first batch that may lie in it
    40      16    zero
    56      8     XXH3-64 of bytes 0 to 55

Records follow without gaps.  Record = 40 bytes header, payload, meta:

    0       4     magic 0x4b434f52
    4       1     type, see RecordType
    5       1     record version, 1
    6       2     flags: 1, the record is tied to the next one (see TIED); else zero
    8       4     length of meta
    12      4     length of payload
    16      8     sequence: number of the commit batch, the same for all records that one flush made durable
    24      8     XXH3-64 of the payload (of nothing: 0)
    32      8     XXH3-64 over bytes 0 to 31 and meta, seeded by the device's seal, the pack id and the record's offset,
                  so that a record is valid only where it was written

A bad header or record is `None` here; what that means (torn tail, damage) is decided by who reads (recover.py).  A good
header of another pack, device or format version raises DamagedFile.
"""

import struct
from enum import IntEnum

import msgspec
import xxhash

from objstore.core.rows import RowKey
from objstore.core.timestamp import Ballot
from objstore.errors import DamagedFile
from objstore.node.engine.records import ENCODER, Entry

FILE_MAGIC = b"objpack\x00"
FILE_VERSION = 1
FILE_HEADER_BYTES = 64
RECORD_MAGIC = 0x4B434F52
RECORD_MAGIC_BYTES = RECORD_MAGIC.to_bytes(4, "little")
RECORD_VERSION = 1
RECORD_HEADER_BYTES = 40
TIED = 1  # flag of a record: the next one belongs to the same change, and a torn tail that lacks that lacks this one too
MAX_META_BYTES = 16 * 1024 * 1024
SEAL_BYTES = 8

_FILE = struct.Struct("<8sH6xQ8sQ16x")
_RECORD = struct.Struct("<IBBHIIQQ")
_MASK = (1 << 64) - 1


class RecordType(IntEnum):
    """What a record says."""

    STATE = 1  # a register in full, with its inline payload: [RowKey, Entry]; overwrites all before it
    PROMISE = 2  # the promise of a register that has a STATE: Promise
    DROP = 3  # a register is gone: Drop
    NOTE = 4  # a value kept for the node: Note
    FLOOR = 5  # a partition's reclaim floor: Floor
    MOVED = 6  # as STATE, but the payload lies where the entry says, in the record of another register: [RowKey, Entry]


class Promise(msgspec.Struct, frozen=True, array_like=True):
    """A raised promise."""

    partition: int
    key: RowKey
    ballot: Ballot


class Drop(msgspec.Struct, frozen=True, array_like=True):
    """A register removed.  Records of that life of it lie in packs `born` to `until`; `floor` raises the partition's."""

    partition: int
    key: RowKey
    born: int
    until: int
    floor: Ballot


class Note(msgspec.Struct, frozen=True, array_like=True):
    """A named value, None when it was removed."""

    name: str
    value: bytes | None


class Floor(msgspec.Struct, frozen=True, array_like=True):
    """A reclaim floor."""

    partition: int
    ballot: Ballot


REGISTERS = (RecordType.STATE, RecordType.MOVED)  # records of a register in full

_STATE_DECODER = msgspec.msgpack.Decoder(tuple[RowKey, Entry])
_DECODERS: dict[int, msgspec.msgpack.Decoder[Promise | Drop | Note | Floor]] = {
    RecordType.PROMISE: msgspec.msgpack.Decoder(Promise),
    RecordType.DROP: msgspec.msgpack.Decoder(Drop),
    RecordType.NOTE: msgspec.msgpack.Decoder(Note),
    RecordType.FLOOR: msgspec.msgpack.Decoder(Floor),
}


class RecordHead(msgspec.Struct, frozen=True):
    """A record's header, not yet verified."""

    type: int
    meta_length: int
    payload_length: int
    sequence: int
    payload_checksum: int
    checksum: int
    flags: int = 0

    @property
    def length(self) -> int:
        """Of the whole record."""
        return RECORD_HEADER_BYTES + self.payload_length + self.meta_length


def encode_file_header(pack: int, seal: bytes, sequence: int) -> bytes:
    """The first bytes of a pack."""
    head = _FILE.pack(FILE_MAGIC, FILE_VERSION, pack, seal, sequence)
    digest: bytes = xxhash.xxh3_64_intdigest(head).to_bytes(8, "little")
    return head + digest


def decode_file_header(data: bytes, pack: int, seal: bytes) -> int | None:
    """The sequence in a pack's header, or None when it is no header.  Raises DamagedFile when it is that of another pack."""
    if len(data) < FILE_HEADER_BYTES:
        return None
    head = data[: FILE_HEADER_BYTES - 8]
    if xxhash.xxh3_64_intdigest(head) != int.from_bytes(data[FILE_HEADER_BYTES - 8 : FILE_HEADER_BYTES], "little"):
        return None
    magic, version, found_pack, found_seal, sequence = _FILE.unpack(head)
    if (magic, version, found_pack, found_seal) != (FILE_MAGIC, FILE_VERSION, pack, seal):
        raise DamagedFile(f"the file of pack {pack} is pack {found_pack} of device {found_seal.hex()}, format {version}")
    return int(sequence)


def seed_of(pack: int, seal: bytes) -> int:
    """The seed of a pack's record checksums; the record's offset is added to it."""
    seed: int = xxhash.xxh3_64_intdigest(seal + pack.to_bytes(8, "little"))
    return seed


def checksum_of(payload: bytes | memoryview) -> int:
    """XXH3-64 of a payload, 0 of none."""
    if not payload:
        return 0
    digest: int = xxhash.xxh3_64_intdigest(payload)
    return digest


def encode_record(kind: int, meta: bytes, sequence: int, seed: int, *, payload_length: int = 0, checksum: int = 0, flags: int = 0) -> bytes:
    """The header of a record; header, payload and meta are then written in this order.  `seed`: seed_of + offset."""
    head = _RECORD.pack(RECORD_MAGIC, kind, RECORD_VERSION, flags, len(meta), payload_length, sequence, checksum)
    digest: int = xxhash.xxh3_64_intdigest(head + meta, seed & _MASK)
    return head + digest.to_bytes(8, "little")


def decode_record_head(data: bytes, at: int = 0) -> RecordHead | None:
    """Split a header; None when it cannot be one."""
    if len(data) < at + RECORD_HEADER_BYTES:
        return None
    magic, kind, version, flags, meta_length, payload_length, sequence, payload_checksum = _RECORD.unpack_from(data, at)
    if magic != RECORD_MAGIC or version != RECORD_VERSION or meta_length > MAX_META_BYTES:
        return None
    digest = int.from_bytes(data[at + 32 : at + RECORD_HEADER_BYTES], "little")
    return RecordHead(kind, meta_length, payload_length, sequence, payload_checksum, digest, flags)


def verify_head(raw_head: bytes, meta: bytes, seed: int) -> bool:
    """Whether header and meta are what was written here.  `raw_head` is the 40 header bytes."""
    digest: int = xxhash.xxh3_64_intdigest(raw_head[:32] + meta, seed & _MASK)
    return digest == int.from_bytes(raw_head[32:RECORD_HEADER_BYTES], "little")


def encode_meta(value: object) -> bytes:
    """Encode the meta of a record."""
    return ENCODER.encode(value)


def decode_state(meta: bytes) -> tuple[RowKey, Entry]:
    """Meta of a STATE or MOVED record."""
    return _STATE_DECODER.decode(meta)


def decode_meta(kind: int, meta: bytes) -> Promise | Drop | Note | Floor:
    """Meta of the other records.  Raises KeyError for an unknown type."""
    return _DECODERS[kind].decode(meta)
