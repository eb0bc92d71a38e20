"""What a volume is in the store: a head, a tree of map nodes, and chunks; the bytes of the first two, and all their names.

The head is the one object of a volume that changes, by compare-and-set only.  It names the root of a tree of nodes with 1,024
entries each; the leaves' entries name chunks.  Nodes and chunks are written once, under a name that is never used again:

    head/VOLUME                                 the head
    chunk/VOLUME/GENERATION-NUMBER              `chunk_bytes` of data (the last of a volume too)
    node/VOLUME/GENERATION-NUMBER               a map node
    reader/READER                               a tree that is read by who has not attached its volume

VOLUME and READER are 32 hexadecimal digits, GENERATION 16: the head's generation when it was written, NUMBER 8.  An entry that is missing
reads as zeros.  docs/formats/volume.md says what each byte is.  Pure: no input or output, no clock.
"""

import struct
from typing import NamedTuple, TypeVar

import msgspec
import xxhash

from objstore.errors import DamagedFile, InvalidArgument

VOLUME_ID_BYTES = 16
FANOUT = 1024  # entries of a node: with chunks of 128 KiB a leaf maps 128 MiB
FANOUT_BITS = 10
LEVELS_LIMIT = 5  # 2^50 chunks, far above SIZE_LIMIT_BYTES
CHUNK_LIMITS = (64 * 1024, 16 * 1024 * 1024)
DEFAULT_CHUNK_BYTES = 128 * 1024  # measured, see ADR 16: the longest that lies in a pack, not in a file of its own
SIZE_LIMIT_BYTES = 1 << 50
SECTOR_BYTES = 512  # a volume's size is a multiple of it
PINS_LIMIT = 1024  # of a volume: the head carries them, and is written at each commit
HOLDER_LIMIT_BYTES = 255
NAME_LIMIT_BYTES = 255

NODE_MAGIC = b"objvmap\0"
HEAD_MAGIC = b"objvhead"
READER_MAGIC = b"objvread"
READERS = "reader/"
FORMAT_VERSION = 1

_REF = struct.Struct("<16sQIIQ")
REF_BYTES = _REF.size
HOLE = bytes(REF_BYTES)
_NODE_HEADER = struct.Struct("<8sHHHH")  # magic, version, level, count, zero
_NODE_ENTRY = struct.Struct(f"<HH{REF_BYTES}s")  # slot, zero, reference
_HEAD_HEADER = struct.Struct("<8sHHI")  # magic, version, zero, length of what follows without the checksum
_CHECKSUM = struct.Struct("<Q")
HEAD_LIMIT_BYTES = 1024 * 1024

T = TypeVar("T")


class Ref(NamedTuple):
    """Names one chunk or node, and says what its bytes must be."""

    volume: bytes
    generation: int
    number: int
    length: int
    checksum: int  # XXH3-64 of all its bytes

    def pack(self) -> bytes:
        """40 bytes."""
        return _REF.pack(*self)


def unpack_ref(data: bytes) -> Ref:
    """The reference of 40 bytes that are not HOLE."""
    return Ref(*_REF.unpack(data))


def ref_of(volume: bytes, generation: int, number: int, data: bytes | bytearray | memoryview) -> Ref:
    """The reference of bytes that are about to be written."""
    return Ref(volume, generation, number, len(data), xxhash.xxh3_64_intdigest(data))


def verify(ref: Ref, data: bytes | bytearray) -> None:
    """Raises DamagedFile when these are not the bytes that `ref` names."""
    if len(data) != ref.length or xxhash.xxh3_64_intdigest(data) != ref.checksum:
        raise DamagedFile(f"volume {ref.volume.hex()}: what {ref.generation}-{ref.number} names has other bytes than were written")


def head_key(volume: bytes) -> str:
    """The name of a volume's head."""
    return f"head/{volume.hex()}"


def chunk_key(ref: Ref) -> str:
    """The name of a chunk."""
    return f"chunk/{ref.volume.hex()}/{ref.generation:016x}-{ref.number:08x}"


def node_key(ref: Ref) -> str:
    """The name of a map node."""
    return f"node/{ref.volume.hex()}/{ref.generation:016x}-{ref.number:08x}"


def parse_piece(key: str) -> tuple[bytes, int, int] | None:
    """(volume, generation, number) of a chunk's or node's name; None for a name of another shape."""
    parts = key.split("/")
    if len(parts) != 3 or parts[0] not in ("chunk", "node") or len(parts[1]) != 32 or len(parts[2]) != 25 or parts[2][16] != "-":
        return None
    try:
        return bytes.fromhex(parts[1]), int(parts[2][:16], 16), int(parts[2][17:], 16)
    except ValueError:
        return None


def parse_head(key: str) -> bytes | None:
    """The volume whose head has this name."""
    kind, _, text = key.partition("/")
    if kind != "head":
        return None
    try:
        return volume_id(text)
    except InvalidArgument:
        return None


def volume_id(text: str) -> bytes:
    """The 16 bytes of an id, with or without the hyphens of a UUID.  Raises InvalidArgument."""
    try:
        found = bytes.fromhex(text.replace("-", "")) if text.isascii() and " " not in text else b""
    except ValueError:
        found = b""
    if len(found) != VOLUME_ID_BYTES:
        raise InvalidArgument(f"{text[:80]!r} is not the id of a volume: it has 32 hexadecimal digits, with or without hyphens")
    return found


def encode_node(level: int, entries: bytes | bytearray) -> bytes:
    """A node of FANOUT references, without its holes.  Level 1 is a leaf."""
    assert len(entries) == FANOUT * REF_BYTES
    present = [(slot, ref) for slot in range(FANOUT) if (ref := bytes(entries[slot * REF_BYTES : (slot + 1) * REF_BYTES])) != HOLE]
    body = b"".join([_NODE_ENTRY.pack(slot, 0, ref) for slot, ref in present])
    data = _NODE_HEADER.pack(NODE_MAGIC, FORMAT_VERSION, level, len(present), 0) + body
    return data + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(data))


def decode_node(data: bytes, level: int) -> bytearray:
    """The FANOUT references of a node that must be of this level.  Raises DamagedFile."""
    body = _checked(data, _NODE_HEADER.size, "a map node")
    magic, version, found_level, count, _ = _NODE_HEADER.unpack_from(body)
    if magic != NODE_MAGIC or version != FORMAT_VERSION or found_level != level or count > FANOUT:
        raise DamagedFile(
            f"a map node begins with {bytes(body[: _NODE_HEADER.size])!r}: not a node of level {level}, or of a newer version"
        )
    if len(body) != _NODE_HEADER.size + count * _NODE_ENTRY.size:
        raise DamagedFile(f"a map node of {count} entries has {len(data)} bytes")
    entries = bytearray(FANOUT * REF_BYTES)
    before = -1
    for slot, _, ref in _NODE_ENTRY.iter_unpack(body[_NODE_HEADER.size :]):
        if not before < slot < FANOUT or ref == HOLE:
            raise DamagedFile(f"a map node's slot {slot} is out of order or out of range")
        entries[slot * REF_BYTES : (slot + 1) * REF_BYTES] = ref
        before = slot
    return entries


def levels_for(size_bytes: int, chunk_bytes: int) -> int:
    """How many levels of nodes a volume of this size needs; at least one."""
    chunks = max(1, -(-size_bytes // chunk_bytes))
    levels = 1
    while chunks > 1 << (FANOUT_BITS * levels):
        levels += 1
    assert levels <= LEVELS_LIMIT
    return levels


class Tree(msgspec.Struct, frozen=True, array_like=True):
    """A state of a volume's bytes, complete in itself: what a snapshot keeps and a clone begins with."""

    size_bytes: int
    levels: int  # may be fewer than the size needs when it grew and nothing was written since
    root: bytes  # a packed reference, HOLE where nothing was ever written


SNAPSHOT, CLONE = "snapshot", "clone"


class Pin(msgspec.Struct, frozen=True, array_like=True):
    """A tree that a volume keeps besides its current one: a snapshot, or what a clone that is being made will begin with."""

    kind: str
    id: bytes
    tree: Tree
    created_us: int
    name: str = ""


class Head(msgspec.Struct, frozen=True):
    """A volume.  `generation` rises with every attach and every commit of data, with nothing else."""

    volume: bytes
    chunk_bytes: int
    tree: Tree
    write: bytes  # drawn anew by each writer of the head: who does not know whether his write took effect finds out
    created_us: int
    generation: int = 0
    epoch: int = 0  # rises with every attach: the fencing token
    holder: str = ""  # who attached it; empty: it is detached, and everything ever acknowledged is in the tree
    journal: bytes = b""  # the journal that goes on from this tree
    position: int = 0  # the last record of the journal that is in the tree
    name: str = ""
    read_only: bool = False
    pins: tuple[Pin, ...] = ()
    maker: bytes = b""  # of a clone whose source it is not known to have been pinned at until this head was there: the pin's id

    @property
    def size_bytes(self) -> int:
        """Length of the device."""
        return self.tree.size_bytes

    def pin(self, kind: str, pin_id: bytes) -> Pin | None:
        """The pin of that id."""
        return next((pin for pin in self.pins if pin.kind == kind and pin.id == pin_id), None)


class Reader(msgspec.Struct, frozen=True):
    """A tree that somebody reads who has not attached its volume: the sweep keeps it, whatever becomes of the volume, while this is written anew."""

    id: bytes
    volume: bytes
    tree: Tree
    seen_us: int  # when the reader wrote this
    who: str = ""  # for people


_encode_head = msgspec.msgpack.Encoder().encode
_decode_head = msgspec.msgpack.Decoder(Head).decode
_decode_reader = msgspec.msgpack.Decoder(Reader).decode


def encode_head(head: Head) -> bytes:
    """The bytes of a head."""
    check_head(head)
    return _framed(HEAD_MAGIC, _encode_head(head))


def decode_head(data: bytes) -> Head:
    """Raises DamagedFile."""
    try:
        head = _decode_head(_unframed(HEAD_MAGIC, data, "a volume's head"))
        check_head(head)
    except (msgspec.DecodeError, InvalidArgument) as failure:
        raise DamagedFile(f"a volume's head does not make sense: {failure}") from failure
    return head


def reader_key(reader: bytes) -> str:
    """The name of a reader."""
    return f"{READERS}{reader.hex()}"


def encode_reader(reader: Reader) -> bytes:
    """The bytes of a reader."""
    return _framed(READER_MAGIC, _encode_head(reader))


def decode_reader(data: bytes) -> Reader:
    """Raises DamagedFile."""
    try:
        reader = _decode_reader(_unframed(READER_MAGIC, data, "a reader of a volume"))
        check_tree(reader.tree)
    except (msgspec.DecodeError, InvalidArgument) as failure:
        raise DamagedFile(f"a reader of a volume does not make sense: {failure}") from failure
    return reader


def check_head(head: Head) -> None:
    """Raises InvalidArgument for what cannot be a volume."""
    check_shape(head.size_bytes, head.chunk_bytes)
    if len(head.volume) != VOLUME_ID_BYTES or len(head.holder.encode()) > HOLDER_LIMIT_BYTES or len(head.name.encode()) > NAME_LIMIT_BYTES:
        raise InvalidArgument("a volume's id has 16 bytes, the names of volume and holder at most 255")
    if len(head.pins) > PINS_LIMIT:
        raise InvalidArgument(f"a volume has at most {PINS_LIMIT} snapshots; delete some first")
    for tree in (head.tree, *(pin.tree for pin in head.pins)):
        check_tree(tree)


def check_tree(tree: Tree) -> None:
    """Raises InvalidArgument for what cannot be a tree."""
    if len(tree.root) != REF_BYTES or not 1 <= tree.levels <= LEVELS_LIMIT:
        raise InvalidArgument(f"a volume's tree has a root of 40 bytes and 1 to {LEVELS_LIMIT} levels")


def check_shape(size_bytes: int, chunk_bytes: int) -> None:
    """Raises InvalidArgument for sizes that a volume cannot have."""
    if not 0 < size_bytes <= SIZE_LIMIT_BYTES or size_bytes % SECTOR_BYTES:
        raise InvalidArgument(f"a volume of {size_bytes} bytes: it has 512 bytes to 1 PiB, in whole sectors of 512 bytes")
    if not CHUNK_LIMITS[0] <= chunk_bytes <= CHUNK_LIMITS[1] or chunk_bytes & (chunk_bytes - 1):
        raise InvalidArgument(f"chunks of {chunk_bytes} bytes: they have 64 KiB to 16 MiB, a power of two")


def _framed(magic: bytes, body: bytes) -> bytes:
    data = _HEAD_HEADER.pack(magic, FORMAT_VERSION, 0, len(body)) + body
    return data + _CHECKSUM.pack(xxhash.xxh3_64_intdigest(data))


def _unframed(magic: bytes, data: bytes, what: str) -> memoryview:
    """Raises DamagedFile."""
    body = _checked(data, _HEAD_HEADER.size, what)
    found, version, _, length = _HEAD_HEADER.unpack_from(body)
    if found != magic or version != FORMAT_VERSION or length != len(body) - _HEAD_HEADER.size:
        raise DamagedFile(f"{what} begins with {bytes(body[:16])!r}: it is none, or of a newer version")
    return body[_HEAD_HEADER.size :]


def _checked(data: bytes, least: int, what: str) -> memoryview:
    """The bytes before a good checksum."""
    if len(data) < least + _CHECKSUM.size:
        raise DamagedFile(f"{what} has {len(data)} bytes, which is too few")
    body = memoryview(data)[: -_CHECKSUM.size]
    if xxhash.xxh3_64_intdigest(body) != _CHECKSUM.unpack_from(data, len(body))[0]:
        raise DamagedFile(f"the checksum of {what} does not match")
    return body
