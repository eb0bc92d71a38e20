"""Bytes to Ring and back; pure.  The file format, version 1, all integers little-endian:

| offset | size | type | field | a reader meeting a bad one |
|---|---|---|---|---|
| 0 | 8 | bytes | magic `89 52 49 4E 47 0D 0A 1A` ("\\x89RING\\r\\n\\x1a") | refuses: not a ring file |
| 8 | 2 | u16 | format version, 1 | refuses: made by a newer program |
| 10 | 2 | u16 | flags, 0 | refuses |
| 12 | 4 | u32 | H, bytes of the header | refuses |
| 16 | 8 | u64 | L, bytes of the whole file | refuses: truncated, or something was added |
| 24 | 8 | u64 | epoch, 1 to 2^63 - 1 | refuses |
| 32 | 4 | u32 | M, moving partitions | refuses |
| 36 | 4 | u32 | reserved, 0 | refuses |
| 40 | H | JSON | header: `spec`, `devices`, `retired`, `next_id`; a closed schema | refuses |
| 40 + H | 4 P R | u32[] | current assignment: device ids, R a partition | refuses |
| | 4 P | u32[] | time of each partition's last move, seconds since 1970, 0 for never | takes any |
| | 4 M | u32[] | moving partitions, ascending | refuses |
| | 4 M R | u32[] | their previous assignment | refuses |
| L - 16 | 16 | bytes | XXH3-128 (seed 0, canonical order) of all that comes before | refuses: damaged |

P = 2^part_power and R = replica_count come from the header.  "Refuses" is always RingError; nothing is repaired, nothing
is executed, and no more memory is taken than a small multiple of the input.  The same ring always gives the same bytes.
The checksum finds damage, not malice: who may publish a ring is decided by the cluster's authenticated connections.
"""

import struct
import sys
from array import array

import msgspec
from xxhash import xxh3_128_digest

from ring.lookup import ID_TYPE, Ring
from ring.model import MAX_EPOCH, MAX_PART_POWER, MAX_REPLICAS, Device, RingError, RingSpec

MAGIC = b"\x89RING\r\n\x1a"  # as PNG's: a transfer in text mode or with 7 bits breaks it visibly
VERSION = 1
MAX_HEADER_BYTES = 16 << 20  # 10,000 devices with long names fit
MAX_FILE_BYTES = MAX_HEADER_BYTES + 4 * (1 << MAX_PART_POWER) * (2 * MAX_REPLICAS + 2) + 64
_PREFIX = struct.Struct("<8sHHIQQII")
_DIGEST_BYTES = 16


class _DeviceHeader(msgspec.Struct, forbid_unknown_fields=True):
    id: int
    node: str
    address: str
    region: str
    zone: str
    weight: float
    incarnation: str  # hexadecimal
    path: str


class _SpecHeader(msgspec.Struct, forbid_unknown_fields=True):
    policy: str
    replica_count: int
    part_power: int
    hash_seed: int
    min_part_hours: float
    overload: float


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    spec: _SpecHeader
    devices: list[_DeviceHeader]
    retired: list[int]
    next_id: int


_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(_Header)


def encode(ring: Ring) -> bytes:
    """The ring as a file; the same ring always gives the same bytes.  Raises RingError when that is over the limits."""
    spec = ring.spec
    header = _ENCODER.encode(
        _Header(
            spec=_SpecHeader(
                spec.policy, spec.replica_count, spec.part_power, spec.hash_seed, float(spec.min_part_hours), float(spec.overload)
            ),
            devices=[
                _DeviceHeader(d.id, d.node, d.address, d.region, d.zone, float(d.weight), d.incarnation.hex(), d.path)
                for d in ring.devices.values()
            ],
            retired=sorted(ring.retired),
            next_id=ring.next_id,
        )
    )
    count = spec.replica_count
    moving = array(ID_TYPE, ring.moving())
    before = array(ID_TYPE)
    table = ring.previous_table()
    if table is not None:
        for partition in moving:
            before.extend(table[partition * count : (partition + 1) * count])
    arrays = b"".join(_little(values).tobytes() for values in (ring.table(), ring.moved_table(), moving, before))
    size = _PREFIX.size + len(header) + len(arrays) + _DIGEST_BYTES
    body = _PREFIX.pack(MAGIC, VERSION, 0, len(header), size, ring.epoch, len(moving), 0) + header + arrays
    if len(header) > MAX_HEADER_BYTES or size > MAX_FILE_BYTES:
        raise RingError("the ring is too large for a file", f"it would have {size} bytes", "give devices shorter names and paths")
    return body + xxh3_128_digest(body)


def decode(data: bytes | bytearray | memoryview) -> Ring:
    """The ring in a file.  Raises RingError on anything but what `encode` makes."""
    view = memoryview(data)
    header_bytes, epoch, moving_count = _check_frame(view)
    end_of_header = _PREFIX.size + header_bytes
    try:
        header = _DECODER.decode(view[_PREFIX.size : end_of_header])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as failure:
        raise _bad("its header is not what it should be", str(failure)) from failure
    spec = RingSpec(**msgspec.structs.asdict(header.spec))
    count, partitions = spec.replica_count, spec.partition_count
    sizes = (partitions * count, partitions, moving_count, moving_count * count)
    if moving_count > partitions or end_of_header + 4 * sum(sizes) + _DIGEST_BYTES != len(view):
        raise _bad("its tables do not have the size that its header says")
    current, moved_s, moving, before = _arrays(view[end_of_header:], sizes)
    if any(moving[i] >= moving[i + 1] for i in range(moving_count - 1)) or (moving_count and moving[-1] >= partitions):
        raise _bad("its list of moving partitions is not in order")
    previous = current[:] if moving_count else None
    if previous is not None:
        for index, partition in enumerate(moving):
            previous[partition * count : (partition + 1) * count] = before[index * count : (index + 1) * count]
    ids = [device.id for device in header.devices]
    if ids != sorted(set(ids)) or header.retired != sorted(set(header.retired)):
        raise _bad("its devices are not in order")
    ring = Ring(
        epoch=epoch,
        spec=spec,
        devices=[_device(fields) for fields in header.devices],
        current=current,
        previous=previous,
        moved_s=moved_s,
        retired=header.retired,
        next_id=header.next_id,
    )
    if len(ring.moving()) != moving_count:
        raise _bad("a partition that is said to move does not")
    return ring


def _check_frame(view: memoryview) -> tuple[int, int, int]:
    """Everything before the header and the checksum at the end: (bytes of header, epoch, moving partitions)."""
    if len(view) > MAX_FILE_BYTES:
        raise _bad(f"it has {len(view)} bytes, and {MAX_FILE_BYTES} is the limit")
    if len(view) < _PREFIX.size + _DIGEST_BYTES or view[:8] != MAGIC:
        raise _bad("it does not begin as one" if len(view) else "it is empty")
    _, version, flags, header_bytes, size, epoch, moving_count, reserved = _PREFIX.unpack_from(view)
    if version != VERSION:
        raise _bad(f"it has format version {version}, and this program reads version {VERSION}", "", "upgrade this program")
    if size != len(view):
        raise _bad(f"it has {len(view)} bytes and should have {size}: it was cut off or added to")
    if xxh3_128_digest(view[:-_DIGEST_BYTES]) != view[-_DIGEST_BYTES:]:
        raise _bad("its checksum is wrong: it is damaged")
    if flags or reserved or header_bytes > min(MAX_HEADER_BYTES, len(view) - _PREFIX.size - _DIGEST_BYTES):
        raise _bad("its fixed fields contradict each other")
    if not 1 <= epoch <= MAX_EPOCH:
        raise _bad(f"its epoch is {epoch}")
    return header_bytes, epoch, moving_count


def _arrays(view: memoryview, sizes: tuple[int, ...]) -> "list[array[int]]":
    found = []
    offset = 0
    for size in sizes:
        values = array(ID_TYPE)
        values.frombytes(view[offset : offset + 4 * size])
        found.append(_little(values))
        offset += 4 * size
    return found


def _little(values: "array[int]") -> "array[int]":
    """The array with its bytes in the file's order; swapped in place on a big-endian machine."""
    if sys.byteorder == "big":
        values.byteswap()
    return values


def _device(fields: _DeviceHeader) -> Device:
    text = fields.incarnation
    if not all(c in "0123456789abcdef" for c in text) or len(text) % 2:
        raise _bad(f"the incarnation of device {fields.id} is not hexadecimal")
    return Device(fields.id, fields.node, fields.address, fields.region, fields.zone, fields.weight, bytes.fromhex(text), fields.path)


def _bad(why: str, detail: str = "", hint: str = "take the ring from another node or from your backup") -> RingError:
    return RingError("this is no valid ring file", f"{why} ({detail})" if detail else why, hint)
