"""Headers of server-side encryption, in and out.

Codes and messages are Amazon's.  A customer's key is taken off the request here, checked, and handed on as bytes; it
is never repeated, only its MD5 is, as S3 does it.
"""

import base64
import binascii
import hmac
import json
from collections.abc import Mapping
from hashlib import md5

from objstore.core.encryption import (
    AES256,
    ALGORITHMS,
    AWS_KMS,
    AWS_KMS_DSSE,
    CUSTOMER,
    KEY_BYTES,
    MAX_CONTEXT_BYTES,
    MAX_KEY_ID,
    NO_WISH,
    Wish,
    decode_description,
)
from objstore.errors import InvalidArgument, InvalidRequest
from objstore.fronts.s3.context import Front, Headers
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request

PREFIX = "x-amz-server-side-encryption"
KEY_ID = f"{PREFIX}-aws-kms-key-id"
CONTEXT = f"{PREFIX}-context"
BUCKET_KEY = f"{PREFIX}-bucket-key-enabled"
CUSTOMER_PREFIX = f"{PREFIX}-customer-"
SOURCE_CUSTOMER_PREFIX = "x-amz-copy-source-server-side-encryption-customer-"

_SAYS = "Requests specifying Server Side Encryption with Customer provided keys must"
_BYTES = {name: name.encode() for name in (PREFIX, KEY_ID, CONTEXT, BUCKET_KEY)}
_ALGORITHM_OUT = f"{CUSTOMER_PREFIX}algorithm".encode()
_MD5_OUT = f"{CUSTOMER_PREFIX}key-md5".encode()


def wish_of(front: Front, request: S3Request) -> Wish:
    """What a request that writes asks for.  Raises InvalidArgument, InvalidRequest."""
    amz = request.amz
    for name in amz:
        if name.startswith(PREFIX):
            break
    else:
        return NO_WISH
    customer_key = _customer_key(front, request, CUSTOMER_PREFIX)
    algorithm = amz.get(PREFIX, "")
    if algorithm == AWS_KMS_DSSE:
        raise S3Refused(501, "NotImplemented", "Dual-layer server-side encryption (aws:kms:dsse) is not implemented.", hint="Use aws:kms.")
    if PREFIX in amz and algorithm not in ALGORITHMS:
        raise InvalidArgument("The encryption method specified is not supported")
    key_id = amz.get(KEY_ID, "")
    if len(key_id) > MAX_KEY_ID or not key_id.isascii():
        raise InvalidArgument("The key id specified is longer than any, or not ASCII.")
    if (KEY_ID in amz or CONTEXT in amz) and algorithm != AWS_KMS and not customer_key:
        raise InvalidArgument(f"Server Side Encryption with AWS KMS managed key requires HTTP header {PREFIX} : {AWS_KMS}")
    return Wish(algorithm, key_id, _context(amz), _bucket_key(amz), customer_key)


def part_key_of(front: Front, request: S3Request) -> bytes:
    """The customer's key of a request that uploads a part; what else it says of encryption the upload has said already."""
    return _customer_key(front, request, CUSTOMER_PREFIX)


def reading_key_of(front: Front, request: S3Request) -> bytes:
    """The customer's key of a request that reads.  Raises InvalidArgument for headers that only a write may have."""
    found = False
    for name in request.amz:
        if name.startswith(PREFIX):
            found = True
            if not name.startswith(CUSTOMER_PREFIX):
                raise InvalidArgument(f"{name} header is not supported for this operation.")
    return _customer_key(front, request, CUSTOMER_PREFIX) if found else b""


def source_key_of(front: Front, request: S3Request) -> bytes:
    """The customer's key of a copy's source."""
    return _customer_key(front, request, SOURCE_CUSTOMER_PREFIX)


def encryption_headers(encryption: bytes, customer_key: bytes = b"") -> Headers:
    """What an answer says of an object's encryption; nothing where it has none."""
    if not encryption:
        return []
    described = decode_description(encryption)
    if described.algorithm == CUSTOMER:
        if not customer_key:
            return [(_ALGORITHM_OUT, AES256.encode())]
        return [(_ALGORITHM_OUT, AES256.encode()), (_MD5_OUT, base64.b64encode(_md5(customer_key)))]
    headers: Headers = [(_BYTES[PREFIX], described.algorithm.encode())]
    if described.algorithm == AWS_KMS:
        headers.append((_BYTES[KEY_ID], described.key_id.encode()))
        if described.bucket_key:
            headers.append((_BYTES[BUCKET_KEY], b"true"))
    return headers


def written_headers(encryption: bytes, customer_key: bytes = b"") -> Headers:
    """The same for an answer to a write, which also repeats the encryption context."""
    headers = encryption_headers(encryption, customer_key)
    if headers and (context := decode_description(encryption).context):
        headers.append((_BYTES[CONTEXT], base64.b64encode(context.encode())))
    return headers


def _customer_key(front: Front, request: S3Request, prefix: str) -> bytes:
    """The 32 bytes, empty where none of the three headers is there."""
    amz = request.amz
    algorithm, text, digest = amz.get(f"{prefix}algorithm"), amz.get(f"{prefix}key"), amz.get(f"{prefix}key-md5")
    if algorithm is None and text is None and digest is None:
        return b""
    if request.scheme != "https" and not front.settings.allow_sse_c_over_http:
        raise InvalidRequest(
            f"{_SAYS} be made over a secure connection.",
            hint="Use https, and another key: this one was sent in the clear. Behind a proxy that ends TLS, "
            "the operator sets s3.allow_sse_c_over_http.",
        )
    if algorithm is None:
        raise InvalidArgument(f"{_SAYS} provide a valid encryption algorithm.")
    if algorithm != AES256:
        raise S3Refused(
            400, "InvalidEncryptionAlgorithmError", f"The encryption request you specified is not valid. The valid value is {AES256}."
        )
    if text is None:
        raise InvalidArgument(f"{_SAYS} provide an appropriate secret key.")
    if digest is None:
        raise InvalidArgument(f"{_SAYS} provide the client calculated MD5 of the secret key.")
    key = _decoded(text)
    if len(key) != KEY_BYTES:
        raise InvalidArgument("The secret key was invalid for the specified algorithm.")
    if not hmac.compare_digest(_md5(key), _decoded(digest)):
        raise InvalidArgument("The calculated MD5 hash of the key did not match the hash that was provided.")
    return key


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("latin-1"), validate=True)
    except binascii.Error:
        return b""


def _md5(key: bytes) -> bytes:
    return md5(key, usedforsecurity=False).digest()


def _context(amz: Mapping[str, str]) -> str:
    """The encryption context as JSON with its names in order, so that the same pairs are the same text.  Raises InvalidArgument."""
    text = amz.get(CONTEXT)
    if text is None:
        return ""
    try:
        pairs = json.loads(_decoded(text)) if len(text) <= 2 * MAX_CONTEXT_BYTES else None
    except (ValueError, RecursionError):
        pairs = None
    if not isinstance(pairs, dict) or not all(isinstance(value, str) for value in pairs.values()):
        raise InvalidArgument(
            f"The header {CONTEXT} shall be Base64-encoded UTF-8 string holding JSON which represents a string-string map"
        )
    canonical = json.dumps(pairs, sort_keys=True, separators=(",", ":"))
    if len(canonical) > MAX_CONTEXT_BYTES:
        raise InvalidArgument(f"The encryption context is longer than {MAX_CONTEXT_BYTES} bytes.")
    return canonical


def _bucket_key(amz: Mapping[str, str]) -> bool | None:
    text = amz.get(BUCKET_KEY)
    if text is None:
        return None
    if text.lower() not in ("true", "false"):
        raise InvalidArgument(f"The header {BUCKET_KEY} is neither true nor false.")
    return text.lower() == "true"
