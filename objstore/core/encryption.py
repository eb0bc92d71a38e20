"""Server-side encryption: what is decided of it (ADR 7).

Stored structs (a bucket's default, an object's description), what a request may wish for and what comes of it in a bucket,
the derivation of keys, and where the bytes of an object lie once they are sealed.  Pure: randomness comes in, ciphers are
used in `objects/encryption.py`, master keys live in `identity/kms.py`.

A sealed body is a row of blocks, each AES-256-GCM over up to 65,520 bytes followed by its tag of 16: so a full block has
just the size of a blob's checksum block.  The key is used for one body only, so the nonce can be the block's number and
whether it is the last (the STREAM construction of Hoang, Reyhanitabar, Rogaway, Vizar, 2015): blocks that were cut off,
moved or taken from elsewhere do not open.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import msgspec

from objstore.errors import AccessDenied, InvalidArgument, InvalidRequest

AES256: Final = "AES256"  # SSE-S3: under the store's own key
AWS_KMS: Final = "aws:kms"  # SSE-KMS: under a named key of the key service
AWS_KMS_DSSE: Final = "aws:kms:dsse"  # two layers of encryption: not built
ALGORITHMS: Final = (AES256, AWS_KMS)
CUSTOMER: Final = "SSE-C"  # under a key that the client brings each time
BLOCKABLE: Final = (CUSTOMER,)  # what a bucket may refuse, by S3's names
MAX_KEY_ID: Final = 2048  # characters, as AWS KMS has it
MAX_CONTEXT_BYTES: Final = 8192  # of an encryption context, as AWS KMS has it

KEY_BYTES: Final = 32
SEED_BYTES: Final = 32
TAG_BYTES: Final = 16
BLOCK_BYTES: Final = 65_520  # of plaintext
SEALED_BLOCK_BYTES: Final = BLOCK_BYTES + TAG_BYTES
RECORD_VERSION: Final = 1

# What is said to a client that brings a key where there is nothing to use it on, or none where one is needed: S3's words.
NEEDS_CUSTOMER_KEY: Final = (
    "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to retrieve the object."
)
NO_CUSTOMER_KEY_WANTED: Final = "The encryption parameters are not applicable to this object."
PART_NEEDS_KEY: Final = (
    "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate encryption parameters."
)
PART_NEEDS_SAME_KEY: Final = "The provided encryption parameters did not match the ones used originally."
PART_WANTS_NO_KEY: Final = (
    "The multipart upload initiate did not request encryption. Please resend the request without sending encryption parameters."
)


class BucketEncryption(msgspec.Struct, frozen=True, array_like=True):
    """A bucket's configuration "encryption": what objects get that name nothing themselves.  New fields go last."""

    record_version: int = 1
    algorithm: str = ""  # one of ALGORITHMS; "" leaves objects as they come
    kms_key_id: str = ""  # as the client wrote it; "" with AWS_KMS is the store's default key
    bucket_key: bool = False
    blocked: tuple[str, ...] = ()  # of BLOCKABLE, refused in this bucket


class Description(msgspec.Struct, frozen=True, array_like=True):
    """How the bytes of an object, an upload or a part are encrypted: a row's `encryption`.  New fields go last.

    The data key is wrapped (by the key service, or under the client's key) in the rows of objects and uploads; parts hold a
    seed only, their data key is in the row that names them.  Manifests and uploads have no seed, since no bytes are theirs.
    """

    record_version: int
    algorithm: str  # AES256, AWS_KMS or CUSTOMER; "" in parts
    seed: bytes = b""  # random: with the data key it makes the key of this very body
    wrapped: bytes = b""  # the data key, sealed
    key_id: str = ""  # AWS_KMS: the key as the client named it, shown to clients
    context: str = ""  # AWS_KMS: the client's encryption context, JSON
    bucket_key: bool = False
    salt: bytes = b""  # CUSTOMER: makes of the client's key the one that seals the data key
    verifier: bytes = b""  # CUSTOMER: tells another key at once


@dataclass(frozen=True)
class Wish:
    """What a request asks for of encryption; all empty: nothing."""

    algorithm: str = ""  # AES256 or AWS_KMS
    key_id: str = ""
    context: str = ""  # JSON
    bucket_key: bool | None = None  # None: as the bucket has it
    customer_key: bytes = field(default=b"", repr=False)  # 32 bytes; never stored, never shown, never logged


NO_WISH: Final = Wish()


class Window(NamedTuple):
    """Which sealed bytes hold some plain ones: blocks `first` on, at `offset` for `length`; then drop `skip` plain bytes."""

    first: int
    offset: int
    length: int
    skip: int


_BUCKET_DECODER = msgspec.msgpack.Decoder(BucketEncryption)
_DESCRIPTION_DECODER = msgspec.msgpack.Decoder(Description)


def encode_bucket_encryption(config: BucketEncryption) -> bytes:
    """Struct to bytes, as kept in the bucket's record under "encryption"."""
    return msgspec.msgpack.encode(config)


def decode_bucket_encryption(data: bytes) -> BucketEncryption:
    """Bytes to struct.  Raises msgspec.DecodeError or ValidationError on anything else."""
    return _BUCKET_DECODER.decode(data)


def encode_description(description: Description) -> bytes:
    """Struct to bytes, as kept in a row."""
    return msgspec.msgpack.encode(description)


def decode_description(data: bytes) -> Description:
    """Bytes to struct.  Raises msgspec.DecodeError or ValidationError on anything else."""
    return _DESCRIPTION_DECODER.decode(data)


def settled(wish: Wish, default: BucketEncryption | None) -> Wish:
    """What a request gets in a bucket: its own wish, else the bucket's default.

    Raises AccessDenied for a kind that the bucket refuses, InvalidRequest or InvalidArgument for a wish that contradicts itself.
    """
    if wish.customer_key:
        if wish.algorithm or wish.key_id:
            raise InvalidArgument("Server Side Encryption with Customer provided key is incompatible with the encryption method specified")
        if default is not None and CUSTOMER in default.blocked:
            raise AccessDenied(
                "this bucket does not accept objects encrypted with customer-provided keys",
                hint="Write without a customer's key, or take SSE-C out of the bucket's BlockedEncryptionTypes (PutBucketEncryption).",
            )
        return wish
    if wish.algorithm:
        if wish.algorithm not in ALGORITHMS:
            raise InvalidArgument("The encryption method specified is not supported")
        if wish.algorithm == AES256:
            return Wish(AES256)
        if wish.bucket_key is None:
            return Wish(AWS_KMS, wish.key_id, wish.context, default is not None and default.bucket_key)
        return wish
    if wish.key_id or wish.context:
        raise InvalidArgument("Server Side Encryption with AWS KMS managed key requires HTTP header x-amz-server-side-encryption : aws:kms")
    if default is None or not default.algorithm:
        return NO_WISH
    if default.algorithm == AES256:
        return Wish(AES256)
    return Wish(AWS_KMS, default.kms_key_id, "", default.bucket_key if wish.bucket_key is None else wish.bucket_key)


def is_opaque(description: Description) -> bool:
    """Whether ETags of such objects say nothing of the bytes: an MD5 beside the ciphertext would tell them apart."""
    return description.algorithm != AES256


def check_customer_key(description: Description | None, customer_key: bytes) -> None:
    """Hold a request's key against an object.  Raises InvalidRequest for one too many or too few, AccessDenied for another."""
    if description is None or description.algorithm != CUSTOMER:
        if customer_key:
            raise InvalidRequest(NO_CUSTOMER_KEY_WANTED, hint="It is under no customer's key: leave the headers of one away.")
        return
    if not customer_key:
        raise InvalidRequest(NEEDS_CUSTOMER_KEY, hint="Send the customer's key with which the object was written.")
    if not hmac.compare_digest(customer_keys(customer_key, description.salt)[1], description.verifier):
        raise AccessDenied(
            "the object is encrypted with another customer-provided key", hint="Send the customer's key with which the object was written."
        )


def customer_keys(customer_key: bytes, salt: bytes) -> tuple[bytes, bytes]:
    """(key that seals the data key, verifier) of a client's key, in an object with that salt."""
    return _derive(customer_key, b"objstore sse-c wrap 1", salt), _derive(customer_key, b"objstore sse-c verify 1", salt)


def content_key(data_key: bytes, seed: bytes) -> bytes:
    """The key of one body."""
    return _derive(data_key, b"objstore content 1", seed)


def _derive(key: bytes, label: bytes, salt: bytes) -> bytes:
    assert len(key) == KEY_BYTES
    return hmac.digest(key, label + b"\0" + salt, hashlib.sha256)


# -- where the bytes lie --------------------------------------------------------------------------------------------------


def block_count(size: int) -> int:
    """Blocks of a body of `size` plain bytes."""
    return -(-size // BLOCK_BYTES)


def sealed_size(size: int) -> int:
    """Bytes of a sealed body of `size` plain ones."""
    return size + TAG_BYTES * block_count(size)


def plain_limit(sealed_limit: int) -> int:
    """The largest body that is no longer than `sealed_limit` bytes once it is sealed."""
    blocks, rest = divmod(sealed_limit, SEALED_BLOCK_BYTES)
    return blocks * BLOCK_BYTES + max(rest - TAG_BYTES, 0)


def window_of(size: int, offset: int, length: int) -> Window:
    """The sealed bytes that hold plain bytes [offset, offset + length) of a body of `size`; the range is within it, not empty."""
    assert 0 <= offset < offset + length <= size
    first = offset // BLOCK_BYTES
    last = (offset + length - 1) // BLOCK_BYTES
    begin = first * SEALED_BLOCK_BYTES
    end = min((last + 1) * SEALED_BLOCK_BYTES, sealed_size(size))
    return Window(first, begin, end - begin, offset - first * BLOCK_BYTES)


def nonce_of(block: int, *, last: bool) -> bytes:
    """The nonce of a block, by number."""
    return block.to_bytes(11, "big") + (b"\1" if last else b"\0")
