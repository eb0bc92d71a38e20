"""The row: one record per object version, the unit of metadata that replicas agree on.

A row is a value without a place: it says what the object is and what its bytes must hash to, never where one device
keeps them.  (A device adds pack, offset and length in its own stored record, `node/engine/records.py`.)  Rows travel
msgspec-encoded as arrays: new fields go last, with a default, so that old peers still decode.
"""

from enum import IntEnum
from typing import NewType

import msgspec

from objstore.core.timestamp import ZERO, Ballot

BucketId = NewType("BucketId", bytes)
Partition = NewType("Partition", int)

BUCKET_ID_BYTES = 8
SYSTEM_BUCKET = BucketId(bytes(BUCKET_ID_BYTES))  # bucket directory and records
INLINE_LIMIT_BYTES = 128 * 1024  # a larger payload is a blob of its own (architecture.md section 3)


NEW_VERSION = "*"  # `Row.version` of a draft: the version id of the operation's first ballot goes in its place (ADR 6)


class Space(IntEnum):
    """Which namespace of a bucket a row lies in; part of its key on disk and of its placement."""

    OBJECTS = 0
    UPLOADS = 1  # multipart uploads: name = object key + NUL + upload id
    PARTS = 2  # multipart parts: name = upload id + "/" + five-digit part number + "/" + attempt
    VERSIONS = 3  # noncurrent versions: name = object key, version = its ballot, empty for the null version (ADR 6)


class RowKey(msgspec.Struct, frozen=True, array_like=True):
    """Names one register.  `version` is empty for the head of a key, a ballot for a noncurrent version."""

    bucket: bytes
    space: int
    name: bytes
    version: bytes = b""


class Kind(IntEnum):
    """What a row stands for."""

    OBJECT = 1
    DELETE_MARKER = 2  # what a client sees in a versioned bucket
    TOMBSTONE = 3  # what a node keeps so that a deleted thing does not come back
    UPLOAD = 4
    PART = 5
    RECORD = 6  # bucket rows and other small records of the system bucket


class BodyKind(IntEnum):
    """Where the bytes of a row are."""

    NONE = 0
    INLINE = 1  # in each replica's pack, next to the row
    BLOB = 2  # one file per replica, named by the row's `blob`
    MANIFEST = 3  # in other rows, named by `parts`


class PartRef(msgspec.Struct, frozen=True, array_like=True):
    """One piece of a manifest: a PART row and what it must be."""

    space: int
    name: bytes
    size: int
    etag: str
    origin: Ballot  # the exact write of the part; a part uploaded again later has another
    number: int = 0  # 0: the only one, of an object that is in one piece to clients and shares its body (ADR 14)
    checksum: bytes = b""  # raw digest in the upload's algorithm, for GetObjectAttributes


class Row(msgspec.Struct, frozen=True, array_like=True, omit_defaults=False, gc=False):
    """What replicas agree on for one key (or one noncurrent version).

    `operation` is 16 random bytes naming the client's write; `origin` the ballot at which the row was first proposed
    (it is the version id and never changes); `base` for a plain write its own ballot, for a conditional write the
    `base` of the row it was judged against (architecture.md section 5).
    """

    kind: int
    operation: bytes
    origin: Ballot
    base: Ballot
    modified_us: int
    size: int = 0
    etag: str = ""  # as shown to clients, without quotes
    body: int = 0  # BodyKind
    digest: bytes = b""  # XXH3-128 of an inline payload; empty otherwise (blobs carry block checksums)
    blob: bytes = b""  # 16 bytes: blob id, the same on every replica
    content_type: str = ""
    headers: dict[str, str] = {}  # Cache-Control, Content-Encoding... as stored and returned, lower-case names
    metadata: dict[str, str] = {}  # user metadata, lower-case names without prefix
    checksums: dict[str, bytes] = {}  # algorithm ("crc32" "crc32c" "crc64nvme" "sha1" "sha256") -> raw digest
    checksum_type: str = ""  # "FULL_OBJECT" or "COMPOSITE"
    parts: tuple[PartRef, ...] = ()
    owner: str = ""  # account that wrote it
    record: bytes = b""  # RECORD and UPLOAD rows: their own encoded struct
    version: str = ""  # "" for the null version, else the version id (24 hexadecimal digits)
    tags: dict[str, str] = {}
    effects: tuple[bytes, ...] = ()  # encoded rows of other versions of the key, stored together with this one (ADR 6)
    acl: bytes = b""  # encoded access control list; empty: the owner alone
    lock_mode: str = ""  # "GOVERNANCE" or "COMPLIANCE" until `retain_until_us`
    retain_until_us: int = 0
    legal_hold: bool = False
    encryption: bytes = b""  # encoded description of how the bytes are encrypted; empty: they are not
    storage_class: str = ""  # "" is STANDARD
    stored: int = -1  # bytes of the body as it lies on disk, where that is not `size`: it is sealed (ADR 7); -1: it is `size`


class Register(msgspec.Struct, frozen=True, array_like=True):
    """What one replica holds for one key: the highest promise, the accepted ballot and its row (encoded)."""

    promised: Ballot = ZERO
    accepted: Ballot = ZERO
    row: bytes = b""  # encoded Row; empty when nothing was ever accepted

    @property
    def highest(self) -> Ballot:
        """The ballot that a new proposal must exceed."""
        return max(self.promised, self.accepted)


EMPTY = Register()

_DEAD = (int(Kind.TOMBSTONE), int(Kind.DELETE_MARKER))  # plain numbers: comparing members of an enumeration costs a call each


class _KindAlone(msgspec.Struct, frozen=True, array_like=True, gc=False):
    kind: int


_KIND_DECODER = msgspec.msgpack.Decoder(_KindAlone)
_ROW_ENCODER = msgspec.msgpack.Encoder()
_ROW_DECODER = msgspec.msgpack.Decoder(Row)


def encode_row(row: Row) -> bytes:
    """Row to bytes; equal rows give equal bytes, so replicas can be compared without decoding."""
    return _ROW_ENCODER.encode(row)


def decode_row(data: bytes) -> Row:
    """Bytes to Row.  Raises msgspec.DecodeError or ValidationError on anything else."""
    return _ROW_DECODER.decode(data)


def kind_of(data: bytes) -> int:
    """The kind of an encoded row, at a fifth of what decoding it costs.  Raises msgspec.DecodeError or ValidationError."""
    return _KIND_DECODER.decode(data).kind


def stored_size(row: Row) -> int:
    """Bytes of the body as a device holds it; `size` is what clients see."""
    return row.size if row.stored < 0 else row.stored


def is_live(row: Row) -> bool:
    """Whether a client sees something under this head."""
    return row.kind not in _DEAD
