"""The five checksums of S3: incremental, combined over parts, composite; pure.

CRCs are linear, so the CRC of a whole follows from those of its pieces (`combine`) and can be FULL_OBJECT over a
multipart object; SHA-1 and SHA-256 can only be COMPOSITE: the digest of the parts' digests.  CRC64NVME is always
FULL_OBJECT; CRC32 and CRC32C are either.  Digests are raw bytes, big-endian ("Checking object integrity", S3 User Guide).
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol

from awscrt import checksums as crt

from objstore.errors import BadDigest, InvalidRequest

FULL_OBJECT: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"
DEFAULT: Final = "crc64nvme"  # what the server adds when the client sends none

Data = bytes | bytearray | memoryview


class Hasher(Protocol):
    """One running checksum."""

    def update(self, data: Data, /) -> None:
        """Take the next bytes."""

    def digest(self) -> bytes:
        """The raw digest of all bytes so far."""


class _Crc:
    """A running CRC over one of the C functions, which give up the interpreter's lock."""

    __slots__ = ("_compute", "_size", "_value")

    def __init__(self, compute: Callable[[Data, int], int], size: int) -> None:
        self._compute = compute
        self._size = size
        self._value = 0

    def update(self, data: Data, /) -> None:
        self._value = self._compute(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


_CRCS: dict[str, tuple[Callable[[Data, int], int], Callable[[int, int, int], int], int]] = {
    "crc32": (crt.crc32, crt.combine_crc32, 4),
    "crc32c": (crt.crc32c, crt.combine_crc32c, 4),
    "crc64nvme": (crt.crc64nvme, crt.combine_crc64nvme, 8),
}
_HASHES: dict[str, tuple[Callable[[], Hasher], int]] = {
    "sha1": (lambda: hashlib.sha1(usedforsecurity=False), 20),
    "sha256": (hashlib.sha256, 32),
}
ALGORITHMS: Final = (*_CRCS, *_HASHES)
DIGEST_BYTES: Final = {**{name: size for name, (_, _, size) in _CRCS.items()}, **{name: size for name, (_, size) in _HASHES.items()}}


def new_hasher(algorithm: str) -> Hasher:
    """A running checksum.  Raises InvalidRequest for an unknown algorithm."""
    if algorithm in _CRCS:
        compute, _, size = _CRCS[algorithm]
        return _Crc(compute, size)
    if algorithm in _HASHES:
        return _HASHES[algorithm][0]()
    raise InvalidRequest(f"{algorithm!r} is not a checksum algorithm; take one of {', '.join(ALGORITHMS)}")


def digest_of(algorithm: str, data: Data) -> bytes:
    """The checksum of bytes that are all here."""
    if algorithm in _CRCS:
        compute, _, size = _CRCS[algorithm]
        return compute(data, 0).to_bytes(size, "big")
    hasher = new_hasher(algorithm)
    hasher.update(data)
    return hasher.digest()


def is_crc(algorithm: str) -> bool:
    """Whether the checksum of a whole follows from those of its pieces."""
    return algorithm in _CRCS


def combine(algorithm: str, pieces: Iterable[tuple[bytes, int]]) -> bytes:
    """The CRC of the whole from (digest, size in bytes) of each piece in order.  Only for CRCs."""
    _, join, size = _CRCS[algorithm]
    value = 0
    for digest, length in pieces:
        value = join(value, int.from_bytes(digest, "big"), length)
    return value.to_bytes(size, "big")


def composite(algorithm: str, digests: Sequence[bytes]) -> bytes:
    """The checksum of the parts' checksums; clients see it in base64 with "-" and the number of parts behind."""
    return digest_of(algorithm, b"".join(digests))


def wrong_md5(sent: bytes, found: bytes) -> BadDigest:
    """The refusal of bytes whose MD5 is another than the one sent."""
    return _wrong("The Content-MD5 you specified did not match what we received.", sent, found)


def wrong_checksum(algorithm: str, sent: bytes, found: bytes) -> BadDigest:
    """The refusal of bytes whose checksum is another than the one sent."""
    return _wrong(f"The {algorithm.upper()} you specified did not match the calculated checksum.", sent, found)


def _wrong(message: str, sent: bytes, found: bytes) -> BadDigest:
    return BadDigest(message, expected=base64.b64encode(sent).decode(), calculated=base64.b64encode(found).decode())


def upload_checksum_type(algorithm: str, asked: str) -> str:
    """The checksum type of a multipart upload with `algorithm`, given the one asked for ("" leaves it to the algorithm).

    Raises InvalidRequest for a pair that does not exist.
    """
    if algorithm not in ALGORITHMS:
        raise InvalidRequest(f"{algorithm!r} is not a checksum algorithm; take one of {', '.join(ALGORITHMS)}")
    if asked not in ("", FULL_OBJECT, COMPOSITE):
        raise InvalidRequest(f"{asked!r} is not a checksum type; take {FULL_OBJECT} or {COMPOSITE}")
    if algorithm == "crc64nvme":
        allowed: tuple[str, ...] = (FULL_OBJECT,)
    elif algorithm in _HASHES:
        allowed = (COMPOSITE,)
    else:
        allowed = (COMPOSITE, FULL_OBJECT)
    if asked and asked not in allowed:
        raise InvalidRequest(f"the {asked} checksum type cannot be used with the {algorithm} checksum algorithm")
    return asked or allowed[0]
