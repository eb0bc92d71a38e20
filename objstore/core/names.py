"""Valid names, and the names of rows made from them; pure.

Everything that puts together or takes apart the name of a row does it here, so that the order of names (and with it the
order of every listing) is decided in one place.  Names of rows are bytes and compare as bytes.

    space    name                                           holds
    OBJECTS  key                                            head of an object
    UPLOADS  key NUL upload id                              multipart upload in progress
             key NUL "e" rest of an upload id               Shares: keys that may name the upload's parts, as written until now
             key NUL "e" rest of an upload id / digest      Shares: one key that may name the upload's parts
    PARTS    upload id / five-digit number / attempt        one attempt at one part, written once (ADR 5)
             upload id / number / attempt @ anchor          the same, lying where the body is that it shares (ADR 14)
             upload id / number / attempt ~ policy          a body in the ring of that policy (ADR 11); @ anchor may follow
    OBJECTS of the system bucket:
             bucket/<account>/<name>                        BucketRecord
             claim/<tenant>/<name>                          ClaimRecord
             account/<account>                              AccountRecord (objects/containers.py)
             gone/<bucket id>                               GoneRecord: a deleted bucket to be swept
             record/<kind>/<name>                           small records (objstore/records)
"""

import hashlib
import re
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes

from objstore.errors import InvalidArgument, InvalidBucketName, InvalidKey, KeyTooLong, MetadataTooLarge

KEY_LIMIT_BYTES = 1024  # S3 and Swift agree on it
# No row has a longer name: the longest in use is an upload's, an object key, a separator and the upload id.  Room for longer ids.
ROW_NAME_LIMIT_BYTES = 2048
METADATA_LIMIT_BYTES = 2048  # S3: names and values of user metadata together
PART_NUMBER_LIMIT = 10_000
UPLOAD_ID_DIGITS = 32
ATTEMPT_DIGITS = 16
ANCHOR_DIGITS = 16
_ANCHOR = "@"
_ANCHOR_BYTE = b"@"
_ANCHOR_MASK = 2**64 - 1
POLICY_LIMIT_BYTES = 32
_POLICY = "~"
_PLAIN_PART_BYTES = UPLOAD_ID_DIGITS + 1 + 5 + 1 + ATTEMPT_DIGITS

_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9.-]{1,61})[a-z0-9]", re.ASCII)
_IPV4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)
_UPLOAD_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_POLICY_NAME = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)


def check_bucket_name(name: str) -> None:
    """S3's rules for new names, which also fit a DNS label chain.  Raises InvalidBucketName."""
    if not _BUCKET.fullmatch(name) or ".." in name or ".-" in name or "-." in name or _IPV4.fullmatch(name) or name.startswith("xn--"):
        raise InvalidBucketName(f"{name!r}: a bucket name has 3 to 63 of a-z, 0-9, dots and hyphens and is no IPv4 address")


def check_container_name(name: str) -> None:
    """Swift's rules for new names: any text of at most 256 bytes without a slash.  Raises InvalidBucketName."""
    if not could_be_bucket(name) or name in (".", ".."):
        raise InvalidBucketName(f"a container's name has 1 to {BUCKET_NAME_LIMIT_BYTES} bytes of UTF-8 and no slash")


def object_name(key: str) -> bytes:
    """The row name of an object: its key in UTF-8.  Raises InvalidKey, KeyTooLong."""
    try:
        name = key.encode()
    except UnicodeEncodeError as failure:
        raise InvalidKey("the key is not valid UTF-8") from failure
    if not name:
        raise InvalidKey("the key is empty")
    if len(name) > KEY_LIMIT_BYTES:
        raise KeyTooLong(f"the key has {len(name)} bytes; {KEY_LIMIT_BYTES} are allowed", size=len(name), limit=KEY_LIMIT_BYTES)
    return name


def split_copy_source(text: str) -> tuple[str, str]:
    """("bucket/key" decoded, version id or "") of x-amz-copy-source, one character a byte.  Raises UnicodeDecodeError."""
    path, separator, version = text.rpartition("?versionId=")
    if not separator:
        path, version = text, ""
    return unquote_to_bytes(path.encode("latin-1")).decode().removeprefix("/"), version


def listing_bytes(text: str) -> bytes:
    """A prefix, delimiter or marker in the byte order of names; unlike a key it may be empty or long.  Raises InvalidArgument."""
    try:
        return text.encode()
    except UnicodeEncodeError as failure:
        raise InvalidArgument("the prefix, delimiter or marker is not valid UTF-8") from failure


def check_metadata(metadata: Mapping[str, str]) -> None:
    """Raises MetadataTooLarge."""
    size = sum(len(name.encode()) + len(value.encode("utf-8", "surrogateescape")) for name, value in metadata.items())
    if size > METADATA_LIMIT_BYTES:
        raise MetadataTooLarge(f"user metadata has {size} bytes; {METADATA_LIMIT_BYTES} are allowed", size=size, limit=METADATA_LIMIT_BYTES)


def check_part_number(number: int) -> None:
    """Raises InvalidArgument outside 1..10,000."""
    if not 1 <= number <= PART_NUMBER_LIMIT:
        raise InvalidArgument(f"part number {number} is not between 1 and {PART_NUMBER_LIMIT}")


def after_prefix(prefix: bytes) -> bytes:
    """The smallest name above every name that begins with `prefix`; empty when there is none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else b""


# -- uploads and parts ----------------------------------------------------------------------------------------


def new_upload_id(wall_us: int, token: bytes) -> str:
    """An upload id: 8 bytes of time, so that the uploads of a key list in the order begun, then 8 random bytes; in hexadecimal."""
    assert len(token) == 8
    return (wall_us.to_bytes(8, "big") + token).hex()


_APPEND = "f"  # what the ids of appends begin with; those of uploads begin with a time of some thousand years less


def new_append_id(wall_us: int, token: bytes) -> str:
    """What the pieces of one append are named by, in place of an upload id."""
    return _APPEND + new_upload_id(wall_us, token)[1:]


_COPY = "d"


def new_copy_id(wall_us: int, token: bytes) -> str:
    """What the parts of an object that was copied by reference are named by, in place of an upload id."""
    return _COPY + new_upload_id(wall_us, token)[1:]


def is_append_piece(name: bytes) -> bool:
    """Whether a PARTS row was appended to an object, rather than uploaded as a part."""
    return name.startswith(_APPEND.encode())


def is_upload_id(text: str) -> bool:
    """Whether the text could be an upload id; anything else names no upload."""
    return _UPLOAD_ID.fullmatch(text) is not None


def upload_time_us(upload_id: str) -> int:
    """When the upload was begun, in microseconds since 1970."""
    return int(upload_id[:16], 16)


def upload_name(key: bytes, upload_id: str) -> bytes:
    """The row name of an upload."""
    return key + b"\0" + upload_id.encode()


def split_upload_name(name: bytes) -> tuple[bytes, str]:
    """(key, upload id) of an upload's row name."""
    return name[: -UPLOAD_ID_DIGITS - 1], name[-UPLOAD_ID_DIGITS:].decode()


def after_uploads_of(key: bytes) -> bytes:
    """A name above all uploads of `key` and below those of the next key."""
    return key + b"\0g"  # upload ids are hexadecimal, so they all sort below "g"


_SHARES = "e"  # in place of the first digit of an upload id, which is "0", "f" for appends or "d" for copies


def shares_prefix(key: bytes, upload_id: str) -> bytes:
    """What the names begin with, among the uploads, of the rows that say which other keys name the parts of an upload.

    Also of the one row that named all of them formerly: its name is this.
    """
    return upload_name(key, _SHARES + upload_id[1:])


def share_name(key: bytes, upload_id: str, sharer: bytes) -> bytes:
    """The row name of one key that shares: by a digest, since two keys together are too long for a name."""
    return shares_prefix(key, upload_id) + b"/" + hashlib.sha256(sharer).hexdigest()[:UPLOAD_ID_DIGITS].encode()


def is_share_name(name: bytes, prefix: bytes) -> bool:
    """Whether what begins with a `shares_prefix` is such a row, and not one of a key that begins so."""
    return len(name) - len(prefix) in (0, UPLOAD_ID_DIGITS + 1)


def parts_prefix(upload_id: str) -> bytes:
    """What the names of all parts of an upload begin with."""
    return upload_id.encode() + b"/"


def part_name(upload_id: str, number: int, attempt: bytes, anchor: int | None = None, policy: str = "") -> bytes:
    """The row name of one attempt at a part; `attempt` is 8 random bytes, since no name is ever written twice.

    `anchor`: the hash by which a part is placed that shares the body of another row, see `anchor_of`.  `policy`: see `policy_of`.
    """
    assert len(attempt) == ATTEMPT_DIGITS // 2
    plain = f"{upload_id}/{number:05d}/{attempt.hex()}"
    if policy:
        plain = f"{plain}{_POLICY}{policy}"
    return (plain if anchor is None else f"{plain}{_ANCHOR}{anchor:016x}").encode()


def policy_of(name: bytes) -> str:
    """The policy in whose ring a PARTS row lies; "" for the default ring."""
    if len(name) <= _PLAIN_PART_BYTES or name[_PLAIN_PART_BYTES] != ord(_POLICY):
        return ""
    return name[_PLAIN_PART_BYTES + 1 :].partition(_ANCHOR_BYTE)[0].decode()


def could_be_policy(name: str) -> bool:
    """Whether a storage policy may have this name, which goes into names of rows, files and processes."""
    return len(name) <= POLICY_LIMIT_BYTES and _POLICY_NAME.fullmatch(name) is not None


def anchor_of(name: bytes) -> int | None:
    """The hash by which a PARTS row is placed, when it is not that of its name: 64 bits, the top ones of which are its partition."""
    if name[-ANCHOR_DIGITS - 1 : -ANCHOR_DIGITS] != _ANCHOR_BYTE:
        return None
    try:
        return int(name[-ANCHOR_DIGITS:], 16) & _ANCHOR_MASK
    except ValueError:
        return None


def split_part_name(name: bytes) -> tuple[str, int]:
    """(upload id, part number) of a part's row name."""
    upload_id, number, _ = name.decode().split("/")
    return upload_id, int(number)


def after_part(upload_id: str, number: int) -> bytes:
    """A name above all attempts at part `number` and below those at the next."""
    return f"{upload_id}/{number:05d}0".encode()  # "0" is the character after "/"


# -- the system bucket ----------------------------------------------------------------------------------------

ALL_BUCKETS_PREFIX = b"bucket/"
GONE_PREFIX = b"gone/"
BUCKET_NAME_LIMIT_BYTES = 256  # Swift's limit for containers; S3's is tighter


def could_be_bucket(name: str) -> bool:
    """Whether a bucket of this name could exist in either dialect; anything else need not be looked up."""
    if not name or "/" in name:
        return False
    try:
        return len(name.encode()) <= BUCKET_NAME_LIMIT_BYTES
    except UnicodeEncodeError:
        return False


def buckets_prefix(account: str) -> bytes:
    """What the names of an account's bucket records begin with."""
    return f"bucket/{account}/".encode()


def bucket_record_name(account: str, bucket: str) -> bytes:
    """The row name of a bucket's record."""
    return f"bucket/{account}/{bucket}".encode()


def account_record_name(account: str) -> bytes:
    """The row name of what was said of an account."""
    return f"account/{account}".encode()


def claim_name(tenant: str, bucket: str) -> bytes:
    """The row name of the claim on a bucket name within a tenant."""
    return f"claim/{tenant}/{bucket}".encode()


def gone_name(bucket_id: bytes) -> bytes:
    """The row name of what is remembered of a deleted bucket."""
    return GONE_PREFIX + bucket_id.hex().encode()


def record_prefix(kind: str) -> bytes:
    """What the names of all records of a kind begin with."""
    return f"record/{kind}/".encode()
