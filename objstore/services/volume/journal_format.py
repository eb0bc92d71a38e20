"""The bytes of a volume's journal on the local disk.  Pure.  docs/formats/volume.md.

A segment is a header and records.  A record's checksum covers its header and payload and is seeded with the journal's id, so
that what an earlier journal left on the disk can never pass for a record of this one.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

import xxhash

from objstore.errors import DamagedFile

SEGMENT_MAGIC = b"objvjrnl"
FORMAT_VERSION = 1
RECORD_MAGIC = 0x4352564F  # "OVRC"
WRITE, ZEROES = 1, 2
RECORD_LIMIT_BYTES = 64 * 1024 * 1024  # of a payload

_SEGMENT = struct.Struct("<8sHHI16s16sQQ")  # magic, version, zero, zero, journal, volume, first record's number, checksum
_RECORD = struct.Struct("<IHHIIQQ")  # magic, kind, zero, length, zero, number, offset
_CHECKSUM = struct.Struct("<Q")
SEGMENT_HEADER_BYTES = _SEGMENT.size
RECORD_HEADER_BYTES = _RECORD.size + _CHECKSUM.size


class Segment(NamedTuple):
    """The header of a segment."""

    journal: bytes
    volume: bytes
    first: int


class Record(NamedTuple):
    """One change of the volume's bytes; a payload for WRITE alone."""

    kind: int
    number: int
    offset: int
    length: int
    payload: memoryview


def encode_segment(segment: Segment) -> bytes:
    """64 bytes."""
    head = _SEGMENT.pack(SEGMENT_MAGIC, FORMAT_VERSION, 0, 0, segment.journal, segment.volume, segment.first, 0)[:-8]
    return head + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(head))


def decode_segment(data: bytes) -> Segment | None:
    """None for a header that was not written to its end.  Raises DamagedFile for one of another version."""
    if len(data) < SEGMENT_HEADER_BYTES:
        return None
    magic, version, _, _, journal, volume, first, checksum = _SEGMENT.unpack_from(data)
    if checksum != xxhash.xxh3_64_intdigest(data[: SEGMENT_HEADER_BYTES - 8]):
        return None
    if magic != SEGMENT_MAGIC or version != FORMAT_VERSION:
        raise DamagedFile(f"a journal of version {version} cannot be read by this release, which knows {FORMAT_VERSION}")
    return Segment(journal, volume, first)


def seed_of(journal: bytes) -> int:
    """What the checksums of a journal's records begin with."""
    return xxhash.xxh3_64_intdigest(journal)


def encode_record(seed: int, kind: int, number: int, offset: int, length: int, payload: bytes | memoryview = b"") -> bytes:
    """The header of a record; the payload follows it."""
    head = _RECORD.pack(RECORD_MAGIC, kind, 0, length, 0, number, offset)
    return head + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(payload, xxhash.xxh3_64_intdigest(head, seed)))


def decode_records(data: bytes | memoryview, seed: int, first: int) -> Iterator[tuple[Record, int]]:
    """(record, offset behind it) of what follows a segment's header, up to the first thing that is no whole, good record `first`, `first` + 1..."""
    view = memoryview(data)
    at = 0
    number = first
    while at + RECORD_HEADER_BYTES <= len(view):
        magic, kind, _, length, _, found, offset = _RECORD.unpack_from(view, at)
        size = length if kind == WRITE else 0
        end = at + RECORD_HEADER_BYTES + size
        if magic != RECORD_MAGIC or kind not in (WRITE, ZEROES) or found != number or size > RECORD_LIMIT_BYTES or end > len(view):
            return
        payload = view[at + RECORD_HEADER_BYTES : end]
        head = xxhash.xxh3_64_intdigest(view[at : at + _RECORD.size], seed)
        if xxhash.xxh3_64_intdigest(payload, head) != _CHECKSUM.unpack_from(view, at + _RECORD.size)[0]:
            return
        yield Record(kind, number, offset, length, payload), end
        at = end
        number += 1
