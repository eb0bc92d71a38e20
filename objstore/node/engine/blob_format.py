"""The blob file format: one large payload, contiguous from offset 0 (docs/formats/blob.md).

    offset      size  field
    0           n     the payload, so that sendfile can serve it
    n           8*b   XXH3-64, little endian, of each of its b blocks
    n + 8*b     72    trailer

Trailer, little endian:

    0           8     magic "objblob\\0"
    8           2     format version, 1
    10          2     zero
    12          4     block size in bytes
    16          8     n
    24          16    blob id
    40          16    XXH3-128 of the payload
    56          8     microseconds since 1970 when it was staged
    64          8     XXH3-64 of the block checksums and the trailer's first 64 bytes

A file whose trailer or table is bad raises DamagedFile; a block that does not match raises DamagedBody.
"""

import struct
from dataclasses import dataclass

import xxhash

from objstore.errors import DamagedFile

MAGIC = b"objblob\x00"
VERSION = 1
TRAILER_BYTES = 72
BLOB_ID_BYTES = 16
MIN_BLOCK_BYTES = 512

_TRAILER = struct.Struct("<8sHxxIQ16s16sQ")


@dataclass(frozen=True)
class Trailer:
    """What a blob says of itself."""

    block_size_bytes: int
    size: int
    blob: bytes
    digest: bytes
    staged_us: int

    @property
    def blocks(self) -> int:
        """Number of blocks; the last may be short."""
        return -(-self.size // self.block_size_bytes)

    @property
    def table_bytes(self) -> int:
        """Length of the block checksums."""
        return 8 * self.blocks


def encode_footer(trailer: Trailer, table: bytes) -> bytes:
    """Block checksums and trailer, as they follow the payload."""
    assert len(table) == trailer.table_bytes
    head = _TRAILER.pack(MAGIC, VERSION, trailer.block_size_bytes, trailer.size, trailer.blob, trailer.digest, trailer.staged_us)
    digest: int = xxhash.xxh3_64_intdigest(table + head)
    return table + head + digest.to_bytes(8, "little")


def decode_trailer(data: bytes, blob: bytes, file_size: int) -> Trailer:
    """The last TRAILER_BYTES of a file.  Raises DamagedFile when it cannot be the trailer of this blob."""
    if len(data) != TRAILER_BYTES:
        raise DamagedFile("a blob is shorter than its trailer", blob=blob.hex())
    magic, version, block_size, size, found, digest, staged_us = _TRAILER.unpack_from(data)
    if (magic, version, found) != (MAGIC, VERSION, blob) or block_size < MIN_BLOCK_BYTES:
        raise DamagedFile("a blob's trailer is not that of this blob", blob=blob.hex())
    trailer = Trailer(block_size, size, blob, digest, staged_us)
    if trailer.size + trailer.table_bytes + TRAILER_BYTES != file_size:
        raise DamagedFile("a blob's length is not what its trailer says", blob=blob.hex())
    return trailer


def verify_footer(table: bytes, trailer_bytes: bytes, blob: bytes) -> None:
    """Raises DamagedFile when block checksums or trailer do not match their checksum."""
    digest: int = xxhash.xxh3_64_intdigest(table + trailer_bytes[:64])
    if digest != int.from_bytes(trailer_bytes[64:], "little"):
        raise DamagedFile("a blob's block checksums do not match their checksum", blob=blob.hex())
