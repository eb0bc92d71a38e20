"""The aws-chunked content coding, sans-IO: frames in, data and the ends of chunks out.

    hex-size [";chunk-signature=" 64 hex digits] CRLF  data CRLF  ...  "0" [";chunk-signature=..."] CRLF
    then, without a trailer: CRLF
    with one: ("name:value" CRLF)...  ["x-amz-trailer-signature:" 64 hex digits CRLF]  CRLF

Nothing of this framing may ever reach what is stored: that has corrupted backups elsewhere.  Data is handed on before its
chunk's signature is known, so a reader must not make it visible before the end was reached.
"""

import re
from enum import Enum

from objstore.errors import IncompleteBody, InvalidRequest

MAX_LINE_BYTES = 128  # 16 hexadecimal digits, ";chunk-signature=" and 64 more
MAX_TRAILER_BYTES = 4096
TRAILER_SIGNATURE = "x-amz-trailer-signature"

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,16})(?:;chunk-signature=([0-9a-f]{64}))?")
_TRAILER_LINE = re.compile(rb"([A-Za-z0-9\-]{1,64}):[ \t]*([\x21-\x7e]{1,256})[ \t]*")


class ChunkEnd:
    """The end of a chunk; `signature` is empty in unsigned streams.  The last one ends the chunk of no bytes."""

    __slots__ = ("signature",)

    def __init__(self, signature: str) -> None:
        self.signature = signature


class _Step(Enum):
    SIZE = 1
    DATA = 2
    DATA_END = 3
    TRAILER = 4
    DONE = 5


class ChunkDecoder:
    """Cuts an aws-chunked stream.  `size` is the announced decoded length: neither more nor less may come."""

    def __init__(self, size: int, *, signed: bool, trailer: bool) -> None:
        self.trailers: dict[str, str] = {}  # lower-case names; complete once `done`
        self.trailer_lines = b""  # what a trailer's signature covers
        self._signed = signed
        self._trailer = trailer
        self._expected = size  # decoded bytes still to come
        self._remaining = 0  # bytes of the current chunk still to come
        self._signature = ""
        self._step = _Step.SIZE
        self._held = b""

    @property
    def done(self) -> bool:
        """Whether the stream ended as it must."""
        return self._step is _Step.DONE

    def feed(self, data: bytes | memoryview) -> list[bytes | memoryview | ChunkEnd]:
        """What `data` adds, in order.  Raises InvalidRequest or IncompleteBody on anything that is not this coding."""
        if self._held:
            data = self._held + bytes(data)
            self._held = b""
        view = memoryview(data)
        out: list[bytes | memoryview | ChunkEnd] = []
        at = 0
        size = len(view)
        while at < size:
            if self._step is _Step.DATA:
                end = min(size, at + self._remaining)
                out.append(view[at:end])
                self._remaining -= end - at
                at = end
                if not self._remaining:
                    self._step = _Step.DATA_END
            elif self._step is _Step.DONE:
                raise InvalidRequest("There are bytes after the end of the aws-chunked body.")
            else:
                after = self._line(view, at, out)
                if after < 0:
                    self._held = bytes(view[at:])
                    break
                at = after
        return out

    def finish(self) -> None:
        """The stream ended here.  Raises IncompleteBody when it should have gone on."""
        if not self.done:
            raise IncompleteBody("The aws-chunked body ended before its last chunk.")

    def _line(self, view: memoryview, at: int, out: list[bytes | memoryview | ChunkEnd]) -> int:
        """Consume one line (or the trailer); returns where the next thing begins, -1 when it is incomplete."""
        if self._step is _Step.DATA_END:
            if len(view) - at < 2:
                return -1
            if bytes(view[at : at + 2]) != b"\r\n":
                raise InvalidRequest("A chunk of the aws-chunked body is longer than it announced.")
            out.append(ChunkEnd(self._signature))
            self._step = _Step.SIZE
            return at + 2
        if self._step is _Step.TRAILER:
            return self._read_trailer(view, at)
        window = bytes(view[at : at + MAX_LINE_BYTES])
        end = window.find(b"\r\n")
        if end < 0:
            if len(window) == MAX_LINE_BYTES:
                raise InvalidRequest("A chunk header of the aws-chunked body is too long.")
            return -1
        self._begin_chunk(window[:end], out)
        return at + end + 2

    def _begin_chunk(self, line: bytes, out: list[bytes | memoryview | ChunkEnd]) -> None:
        match = _SIZE_LINE.fullmatch(line)
        if match is None or (match.group(2) is not None) is not self._signed:
            raise InvalidRequest("A chunk header of the aws-chunked body is malformed.")
        size = int(match.group(1), 16)
        self._signature = (match.group(2) or b"").decode()
        if size > self._expected:
            raise IncompleteBody("The body is longer than x-amz-decoded-content-length announced.")
        self._expected -= size
        self._remaining = size
        if size:
            self._step = _Step.DATA
            return
        if self._expected:
            raise IncompleteBody("The body is shorter than x-amz-decoded-content-length announced.")
        out.append(ChunkEnd(self._signature))
        self._step = _Step.TRAILER

    def _read_trailer(self, view: memoryview, at: int) -> int:
        window = bytes(view[at : at + MAX_TRAILER_BYTES])
        if not self._trailer:
            if len(window) < 2:
                return -1
            if not window.startswith(b"\r\n"):
                raise InvalidRequest("The aws-chunked body has a trailer that was not announced.")
            self._step = _Step.DONE
            return at + 2
        if window.startswith(b"\r\n"):
            end = 0
        else:
            end = window.find(b"\r\n\r\n") + 2
            if end < 2:
                if len(window) == MAX_TRAILER_BYTES:
                    raise InvalidRequest("The trailer of the aws-chunked body is too long.")
                return -1
        self._parse_trailer(window[:end])
        self._step = _Step.DONE
        return at + end + 2

    def _parse_trailer(self, block: bytes) -> None:
        signed_lines = []
        for raw in block.split(b"\r\n"):
            line = raw.strip(b"\n")  # Amazon's own description closes each line with LF CRLF: the LF belongs to no value
            if not line:
                continue
            match = _TRAILER_LINE.fullmatch(line)
            if match is None:
                raise InvalidRequest("The trailer of the aws-chunked body is malformed.")
            name, value = match.group(1).decode().lower(), match.group(2).decode()
            if name in self.trailers:
                raise InvalidRequest("The trailer of the aws-chunked body names a field twice.")
            self.trailers[name] = value
            if name != TRAILER_SIGNATURE:
                signed_lines.append(f"{name}:{value}\n".encode())
        self.trailer_lines = b"".join(signed_lines)
