"""HTTP/1.1 requests, sans-IO: strict heads and body framing, bytes in, values out.

Whatever two parsers could read differently is refused, because a proxy in front of this server may be the other one
(request smuggling): Content-Length beside Transfer-Encoding, repeated Content-Length or Host, a bare CR or LF, folded
lines, absolute-form targets, transfer codings other than exactly "chunked".  The target is handed on as it was received:
`//`, `./` and `%2F` are legal in object keys.
"""

import re
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

MAX_HEAD_BYTES = 48 * 1024  # request line and headers: 8 KiB of target, 2 KiB of metadata, a policy or two in headers
MAX_TARGET_BYTES = 16 * 1024  # a key of 1,024 bytes triples when percent-encoded; presigned parameters come on top
MAX_HEADER_COUNT = 200
MAX_CHUNK_LINE_BYTES = 256
MAX_TRAILER_BYTES = 8 * 1024
MAX_BODY_BYTES = 1 << 43  # 8 TiB: far above any limit of the dialects, far below what overflows anything

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
# Bytes that may stand in a head besides the line ends: everything but controls.
_TEXT = bytes([9, *range(32, 127), *range(128, 256)])
_TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_REQUEST_LINE = re.compile(rb"([A-Z]{1,20}) ([^\x00-\x20\x7f#]+) HTTP/1\.([01])")
_TRAILER_LINES = re.compile(rb"(?:" + _TOKEN + rb":[^\x00-\x08\x0a-\x1f\x7f]*+\r\n)*+")
_HOST = re.compile(rb"[A-Za-z0-9._\-:\[\]%]*")
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[ \t]*" + _TOKEN + rb"(?:=(?:" + _TOKEN + rb'|"[^"\\\x00-\x1f\x7f]*"))?)*')
_FRAMING = frozenset((b"content-length", b"transfer-encoding", b"host", b"connection", b"expect"))
# Names that become a framing header in gateways that map "_" to "-" (CGI, WSGI): only these are ambiguous.
_LOOKALIKES = frozenset(name.replace(b"-", b"_") for name in _FRAMING if b"-" in name)
_NOTABLE = _FRAMING | _LOOKALIKES


class HttpProblem(Exception):
    """A request that is refused before any application sees it; the connection closes after the answer."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message


@dataclass(slots=True)
class Head:
    """A request's head.  `path` and `query` are raw; header names are lower case, values stripped of outer blanks."""

    method: str
    path: bytes
    query: bytes
    headers: list[tuple[bytes, bytes]]
    version: str
    content_length: int | None = None
    chunked: bool = False
    keep_alive: bool = True
    expects_continue: bool = False

    @property
    def has_body(self) -> bool:
        """Whether bytes of a body follow."""
        return self.chunked or bool(self.content_length)


def _bad(message: str) -> HttpProblem:
    return HttpProblem(400, "BadRequest", message)


def parse_head(head: bytes) -> Head:
    """Parse a whole head, its closing empty line included.  Raises HttpProblem."""
    lines = head.split(b"\r\n")
    # What is left without all text must be the line ends, each CR before its LF and none alone.
    first = _REQUEST_LINE.fullmatch(lines[0])
    if first is None or head.translate(None, _TEXT) != b"\r\n" * (len(lines) - 1) or lines[-2] or lines[-1]:
        raise _bad("The request line or a header is malformed.")
    method, target, minor = first.groups()
    if len(target) > MAX_TARGET_BYTES:
        raise HttpProblem(414, "URITooLong", "The request target is too long.")
    if not target.startswith(b"/") and not (target == b"*" and method == b"OPTIONS"):
        raise _bad("The request target must be an absolute path.")
    if len(lines) - 3 > MAX_HEADER_COUNT:
        raise HttpProblem(431, "RequestHeaderSectionTooLarge", "There are too many headers.")
    headers: list[tuple[bytes, bytes]] = []
    framing: dict[bytes, bytes] = {}
    names = []
    for line in lines[1:-2]:
        name, colon, value = line.partition(b":")
        if not colon or not name:
            raise _bad("A header is malformed.")
        name = name.lower()
        value = value.strip(b" \t")
        names.append(name)
        headers.append((name, value))
        if name in _NOTABLE:
            _note(framing, name, value)
    if b"".join(names).translate(None, _TOKEN_BYTES):
        raise _bad("A header's name is malformed.")
    path, _, query = target.partition(b"?")
    return _framed(Head(method.decode(), path, query, headers, "1.1" if minor == b"1" else "1.0"), framing)


def _note(framing: dict[bytes, bytes], name: bytes, value: bytes) -> None:
    if name in _LOOKALIKES:
        raise _bad(f"The header name {name.decode()} is ambiguous.")
    if name in framing:
        if name != b"connection":
            raise _bad(f"The header {name.decode()} is repeated.")
        value = framing[name] + b"," + value
    framing[name] = value


def _framed(head: Head, framing: dict[bytes, bytes]) -> Head:
    """Fill in what the framing headers say; raise HttpProblem where they contradict each other."""
    modern = head.keep_alive = head.version == "1.1"
    host = framing.get(b"host")
    if host is None and modern:
        raise _bad("The Host header is missing.")
    if host is not None and _HOST.fullmatch(host) is None:
        raise _bad("The Host header is malformed.")
    length = framing.get(b"content-length")
    coding = framing.get(b"transfer-encoding")
    if coding is not None:
        if length is not None or not modern:
            raise _bad("Transfer-Encoding contradicts the rest of the request's framing.")
        if coding.lower() != b"chunked":
            raise HttpProblem(501, "NotImplemented", "The only Transfer-Encoding is chunked.")
        head.chunked = True
    if length is not None:
        if not length.isdigit() or len(length) > 19 or int(length) > MAX_BODY_BYTES:
            raise _bad("Content-Length is not a number of bytes.")
        head.content_length = int(length)
    connection = framing.get(b"connection")
    if connection is not None and b"close" in [token.strip() for token in connection.lower().split(b",")]:
        head.keep_alive = False
    expect = framing.get(b"expect")
    if expect is not None and expect.lower() == b"100-continue":  # any other is passed over, as by Amazon (RFC 9110, section 10.1.1)
        head.expects_continue = modern
    return head


class Framing(Protocol):
    """Cuts one request's body out of the byte stream."""

    done: bool
    remaining: int | None  # bytes still to come, None when unknown

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Append the body's pieces in `data` to `out` and return what follows the body.  Raises HttpProblem."""


class FixedFraming:
    """A body of announced length; a slice that lies in the body whole is handed on without a copy."""

    __slots__ = ("done", "remaining")

    def __init__(self, length: int) -> None:
        self.remaining: int | None = length
        self.done = length == 0

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Take up to the announced length."""
        size = len(data)
        remaining = self.remaining or 0
        if size < remaining:
            self.remaining = remaining - size
            out.append(data)
            return b""
        rest = b""
        if size > remaining:
            data, rest = data[:remaining], data[remaining:]
        if data:
            out.append(data)
        self.remaining = 0
        self.done = True
        return rest


class _Step(Enum):
    SIZE = 1
    DATA = 2
    DATA_END = 3
    TRAILER = 4


class ChunkedFraming:
    """A body in HTTP chunks.  Extensions are skipped when well-formed, trailers likewise; both are bounded."""

    __slots__ = ("_checked", "_held", "_remaining", "_step", "done", "remaining")

    def __init__(self) -> None:
        self.done = False
        self.remaining: int | None = None
        self._checked = 0  # bytes of the trailer section that are good lines
        self._step = _Step.SIZE
        self._remaining = 0
        self._held = b""  # an incomplete line

    def feed(self, data: bytes, out: list[bytes]) -> bytes:
        """Take chunks."""
        if self._held:
            data = self._held + data
            self._held = b""
        at = 0
        size = len(data)
        while at < size and not self.done:
            if self._step is _Step.DATA:
                end = min(size, at + self._remaining)
                out.append(data if end - at == size else data[at:end])
                self._remaining -= end - at
                at = end
                if not self._remaining:
                    self._step = _Step.DATA_END
            else:
                after = self._line(data, at)
                if after < 0:
                    self._held = data[at:]
                    return b""
                at = after
        return data[at:] if self.done else b""

    def _line(self, data: bytes, at: int) -> int:
        """Consume one line (or the trailer); returns where the next thing begins, -1 when it is incomplete."""
        if self._step is _Step.TRAILER:
            return self._trailer(data, at)
        if self._step is _Step.DATA_END:
            if not b"\r\n".startswith(data[at : at + 2]):
                raise _bad("A chunk is longer than it announced.")
            if len(data) - at < 2:
                return -1
            self._step = _Step.SIZE
            return at + 2
        end = data.find(b"\n", at, at + MAX_CHUNK_LINE_BYTES)
        if end < 0:
            if len(data) - at >= MAX_CHUNK_LINE_BYTES:
                raise _bad("A chunk's size line is too long.")
            return -1
        match = _CHUNK_LINE.fullmatch(data, at, end - 1) if data[end - 1 : end] == b"\r" and end > at else None
        if match is None:
            raise _bad("A chunk's size line is malformed.")
        self._remaining = int(match.group(1), 16)
        if self._remaining > MAX_BODY_BYTES:
            raise _bad("A chunk is too large.")
        self._step = _Step.DATA if self._remaining else _Step.TRAILER
        return end + 1

    def _trailer(self, data: bytes, at: int) -> int:
        if data.startswith(b"\r\n", at):
            self.done = True
            return at + 2
        end = data.find(b"\r\n\r\n", at, at + MAX_TRAILER_BYTES)
        # What is wrong is refused as soon as its line is there; nobody waits for more of it.
        last = data.rfind(b"\r\n", at) if end < 0 else end
        lines = last + 2
        if last >= 0 and lines > at + self._checked:
            if _TRAILER_LINES.fullmatch(data, at + self._checked, lines) is None:
                raise _bad("The trailer section is malformed.")
            self._checked = lines - at
        if end < 0:
            if len(data) - at >= MAX_TRAILER_BYTES:
                raise _bad("The trailer section is too long.")
            return -1
        self.done = True
        return end + 4


def framing_of(head: Head) -> Framing:
    """The decoder for a request's body."""
    return ChunkedFraming() if head.chunked else FixedFraming(head.content_length or 0)
