"""Frames: bytes <-> (type code, request id, flags, head, payload).  Sans-IO; docs/formats/wire.md is the long form.

======  ====  ========  ==================================================================================
offset  size  field     meaning, and what a reader does with a bad one
======  ====  ========  ==================================================================================
0       8     checksum  XXH3-64 of the payload seeded with (XXH3-64 of the head seeded with the tag); a
                        mismatch closes the connection
8       4     body      bytes that follow the header (head and payload); over the limit: close
12      4     head      how many of them are the head; more than `body`: close
16      8     tag       request id (4), type code (1), flags (1), guard (2); a wrong guard: close
24            head      one msgspec-encoded message (arrays, no field names), or nothing
24+h          payload   raw bytes
======  ====  ========  ==================================================================================

All integers are little-endian.  The tag is the seed of the checksum, so a frame whose request id, type or flags were
garbled never reaches the wrong call; the lengths decide which bytes are hashed, so they are covered too.  The guard is
the magic number XOR both lengths folded to 16 bits: a garbled length is noticed before anybody waits for its bytes.
"""

import struct
from collections.abc import Callable

import msgspec
import xxhash

from objstore import errors
from objstore.errors import NotImplementedHere, ObjstoreError, Unavailable
from objstore.wire.messages import TYPES, Failure, Message

Buffer = bytes | bytearray | memoryview
Deliver = Callable[[int, int, int, memoryview, memoryview], None]
"""Takes a verified frame: request id, type code, flags, head, payload.  The views stay valid as long as they are kept."""

MAGIC = 0x6F62
HEADER = struct.Struct("<QIIQ")
HEADER_BYTES = HEADER.size

# Room for the ring file of a million partitions that all move; pages of rows are cut far below (node/pages.py).
MAX_FRAME_BYTES = 64 * 1024 * 1024
# One piece of a streamed body: large enough that a frame's cost vanishes, small enough that calls slip in between.
MAX_DATA_BYTES = 256 * 1024
# Where bytes are received that belong to no frame yet: many small frames at once.
SCRATCH_BYTES = 256 * 1024
# After a frame this long the next one is likely to be long too.  Then only so much is received before its length is known:
# what was received with the header must be copied, what comes afterwards is received in its place.
BULK_BYTES = 64 * 1024
BULK_START_BYTES = 4 * 1024
# Before authentication nobody needs more than a name, a nonce and a proof.
MAX_HANDSHAKE_BYTES = 1024

FLAG_END = 1  # DATA: the last one of its body

# Codes below 200 are messages (wire/messages.TYPES); these never reach a handler.
HELLO, CHALLENGE, PROOF, WELCOME, REFUSE = 200, 201, 202, 203, 204
DATA, CREDIT, CANCEL, PING, PONG = 210, 211, 212, 213, 214
FIRST_INTERNAL = 200

_CODES: dict[type[Message], int] = {message: code for code, message in TYPES.items()}
_DECODERS: dict[int, msgspec.msgpack.Decoder[Message]] = {code: msgspec.msgpack.Decoder(message) for code, message in TYPES.items()}
_encode = msgspec.msgpack.Encoder().encode
_hash = xxhash.xxh3_64_intdigest
_CREDIT = struct.Struct("<Q")
_ERRORS: dict[str, type[ObjstoreError]] = {
    name: item for name, item in vars(errors).items() if isinstance(item, type) and issubclass(item, ObjstoreError)
}
_TAKEN_FACTS = frozenset(dir(ObjstoreError)) | {"message", "facts"}


class BadFrame(Exception):
    """What came is not what this protocol sends: nothing after it can be trusted, so the connection must close."""


def pack_frame(code: int, request: int, flags: int, head: bytes, payload: Buffer = b"") -> bytes:
    """Header and head of a frame; the caller sends `payload` right behind them.

    Raises ValueError when the frame would be larger than any reader takes.
    """
    size = len(head) + len(payload)
    if size > MAX_FRAME_BYTES:
        raise ValueError(f"a frame of {size} bytes is over the limit of {MAX_FRAME_BYTES}")
    head_size = len(head)
    guard = MAGIC ^ (size ^ size >> 16 ^ head_size ^ head_size >> 16) & 0xFFFF
    tag = request | code << 32 | flags << 40 | guard << 48
    checksum = _hash(head, tag)
    if payload:
        checksum = _hash(payload, checksum)
    return HEADER.pack(checksum, size, head_size, tag) + head


def pack_message(message: Message, request: int, payload: Buffer = b"") -> bytes:
    """Header and head of a message's frame.  Raises ValueError when it is too large."""
    return pack_frame(_CODES[type(message)], request, 0, _encode(message), payload)


def pack_credit(request: int, size_bytes: int) -> bytes:
    """A frame that lets the sender of a body send `size_bytes` more."""
    return pack_frame(CREDIT, request, 0, _CREDIT.pack(size_bytes))


def unpack_credit(head: Buffer) -> int:
    """Bytes granted by a CREDIT frame.  Raises BadFrame."""
    if len(head) != _CREDIT.size:
        raise BadFrame("a CREDIT frame of the wrong length")
    granted: int = _CREDIT.unpack(head)[0]
    return granted


def decode_message(code: int, head: Buffer) -> Message:
    """The message in a verified frame.

    Raises NotImplementedHere for a code of a newer version (the request is answered with that, the connection lives
    on), BadFrame for a head that is not such a message.
    """
    decoder = _DECODERS.get(code)
    if decoder is None:
        raise NotImplementedHere(f"message type {code} is not known here: this side is of an older version")
    try:
        return decoder.decode(head)
    except msgspec.MsgspecError as failure:
        raise BadFrame(f"a frame of type {code} does not decode: {failure}") from failure


def failure_of(error: ObjstoreError) -> Failure:
    """The answer that carries an error; facts that are not plain are left out."""
    facts = {name: value for name, value in error.facts.items() if isinstance(value, str | int)}
    return Failure(type(error).__name__, error.message, facts)


def error_of(failure: Failure) -> ObjstoreError:
    """The error that an answer carries, with its facts; a class not known here becomes `Unavailable`."""
    facts = {name: value for name, value in failure.facts.items() if name.isidentifier() and name not in _TAKEN_FACTS}
    kind = _ERRORS.get(failure.error)
    if kind is None:
        return Unavailable(f"{failure.error}: {failure.message}", **facts)
    return kind(failure.message, **facts)


class FrameReader:
    """Cuts a byte stream into frames.  Payloads are views of what came in; one that came in pieces is gathered once.

    Bytes come by `feed`, or are received in place: `buffer` says where the next ones shall go (into the very frame that is
    being gathered, where one is), `received` how many came.
    """

    def __init__(self, deliver: Deliver, *, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes  # raised by the owner after authentication
        self.stopped = False  # set by the owner from within `deliver`: what is left is thrown away
        self._deliver = deliver
        self._header = b""  # the beginning of a header, or the whole one of the frame in `_body`
        self._body = bytearray()  # of the frame that was cut off; as long as it will be
        self._missing = 0  # bytes of that frame still to come
        self._scratch: memoryview | None = None
        self._in_bulk = False  # a long frame just ended: more such are likely, so receive little more than a header first

    def buffer(self) -> memoryview:
        """Where the next bytes of the stream shall be received; valid until `received` or `feed`."""
        if self._missing:
            return memoryview(self._body)[-self._missing :]
        if self._scratch is None:
            self._scratch = memoryview(bytearray(SCRATCH_BYTES))
        return self._scratch[:BULK_START_BYTES] if self._in_bulk else self._scratch

    def received(self, count: int) -> None:
        """So many bytes are in what `buffer` returned last.  Raises BadFrame; then feed no more."""
        if self._missing:
            self._missing -= count
            if not self._missing:
                self._in_bulk = len(self._body) >= BULK_BYTES
                self._complete()
            return
        assert self._scratch is not None
        self._in_bulk = False
        # A copy, since what is delivered may be kept; it is as long as what came.
        self.feed(bytes(self._scratch[:count]))

    def feed(self, data: bytes) -> None:
        """Take what came and deliver every frame that it completes.  Raises BadFrame; then feed no more."""
        view = memoryview(data)
        size = len(data)
        offset = self._resume(view) if self._header else 0
        while size - offset >= HEADER_BYTES and not self.stopped:
            checksum, body, head, tag = HEADER.unpack_from(data, offset)
            if tag >> 48 != MAGIC ^ (body ^ body >> 16 ^ head ^ head >> 16) & 0xFFFF or body > self.limit_bytes or head > body:
                raise BadFrame("a frame header with a wrong guard or length")
            start = offset + HEADER_BYTES
            if size - start < body:
                self._header = data[offset:start]
                self._begin(body, view[start:])
                return
            offset = start + body
            self._open(checksum, tag, view[start : start + head], view[start + head : offset])
        if offset < size and not self.stopped:
            self._header = data[offset:]

    def _begin(self, size: int, first: memoryview) -> None:
        """Gather a frame's body, of which the beginning is here."""
        self._body = bytearray(size)
        self._body[: len(first)] = first
        self._missing = size - len(first)

    def _resume(self, view: memoryview) -> int:
        """Go on with the frame that was cut off; returns how much of `view` belonged to it."""
        offset = 0
        if not self._missing:
            offset = min(HEADER_BYTES - len(self._header), len(view))
            self._header += view[:offset]
            if len(self._header) < HEADER_BYTES:
                return offset
            _, body, head, tag = HEADER.unpack(self._header)
            if tag >> 48 != MAGIC ^ (body ^ body >> 16 ^ head ^ head >> 16) & 0xFFFF or body > self.limit_bytes or head > body:
                raise BadFrame("a frame header with a wrong guard or length")
            self._begin(body, view[:0])
        piece = view[offset : offset + self._missing]
        filled = len(self._body) - self._missing
        self._body[filled : filled + len(piece)] = piece
        self._missing -= len(piece)
        if not self._missing:
            self._complete()
        return offset + len(piece)

    def _complete(self) -> None:
        checksum, _, head, tag = HEADER.unpack(self._header)
        whole = memoryview(self._body)
        self._header = b""
        self._body = bytearray()
        self._open(checksum, tag, whole[:head], whole[head:])

    def _open(self, checksum: int, tag: int, head: memoryview, payload: memoryview) -> None:
        actual = _hash(head, tag)
        if payload:
            actual = _hash(payload, actual)
        if actual != checksum:
            raise BadFrame("a frame does not match its checksum")
        self._deliver(tag & 0xFFFF_FFFF, tag >> 32 & 0xFF, tag >> 40 & 0xFF, head, payload)
