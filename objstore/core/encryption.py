"""Server-side encryption: what is decided of it.

Stored structs (a bucket's default, an object's description) and the values that a request may name.  Pure: keys are made,
wrapped and used elsewhere (`objects/encryption.py`, `identity/kms.py`).
"""

from typing import Final

import msgspec

AES256: Final = "AES256"  # SSE-S3: under the store's own key
AWS_KMS: Final = "aws:kms"  # SSE-KMS: under a named key of the key service
AWS_KMS_DSSE: Final = "aws:kms:dsse"  # two layers of encryption: not built
ALGORITHMS: Final = (AES256, AWS_KMS)
BLOCKABLE: Final = ("SSE-C",)  # what a bucket may refuse, by S3's names
MAX_KEY_ID: Final = 2048  # characters, as AWS KMS has it


class BucketEncryption(msgspec.Struct, frozen=True, array_like=True):
    """A bucket's configuration "encryption": what objects get that name nothing themselves.  New fields go last."""

    record_version: int = 1
    algorithm: str = ""  # one of ALGORITHMS; "" leaves objects as they come
    kms_key_id: str = ""  # as the client wrote it; "" with AWS_KMS is the store's default key
    bucket_key: bool = False
    blocked: tuple[str, ...] = ()  # of BLOCKABLE, refused in this bucket


_BUCKET_DECODER = msgspec.msgpack.Decoder(BucketEncryption)


def encode_bucket_encryption(config: BucketEncryption) -> bytes:
    """Struct to bytes, as kept in the bucket's record under "encryption"."""
    return msgspec.msgpack.encode(config)


def decode_bucket_encryption(data: bytes) -> BucketEncryption:
    """Bytes to struct.  Raises msgspec.DecodeError or ValidationError on anything else."""
    return _BUCKET_DECODER.decode(data)
