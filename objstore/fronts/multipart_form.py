"""multipart/form-data, read as it comes: the parts one after the other, each with a head and then its bytes.

Nothing is held but the piece that came last.  What the parts mean (fields, files, their limits) is each dialect's own business.
"""

import re
from collections.abc import AsyncIterator, Mapping
from typing import NamedTuple
from urllib.parse import unquote

from objstore.errors import InvalidRequest

MAX_PART_HEAD_BYTES = 4096
MAX_BOUNDARY_CHARS = 70  # RFC 2046, section 5.1.1

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE | re.ASCII)
_PARAMETER = re.compile(r';\s*([A-Za-z0-9*-]{1,32})=(?:"([^"]*)"|([^;\s"]*))', re.ASCII)


class FormBroken(InvalidRequest):
    """The body is no form."""


class FormTooLong(InvalidRequest):
    """A head, or a field, is longer than it may be."""


class PartHead(NamedTuple):
    """What stands before a part's bytes: its name, the name of the file (None: no file), all headers by lower-case name."""

    name: str
    filename: str | None
    headers: Mapping[str, str]


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a Content-Type header; None when it is no form's.  Raises FormBroken."""
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        return None
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise FormBroken("The Content-Type names no boundary.")
    return (match[1] or match[2]).encode("latin-1")


def parse_head(head: bytes) -> PartHead:
    """The head of a part.  Raises FormBroken when it names no field."""
    headers: dict[str, str] = {}
    for line in head.decode("utf-8", "replace").split("\r\n"):
        header, _, value = line.partition(":")
        headers.setdefault(header.strip().lower(), value.strip())
    kind, semicolon, rest = headers.get("content-disposition", "").partition(";")
    parameters = {match[1].lower(): match[2] if match[2] is not None else match[3] for match in _PARAMETER.finditer(semicolon + rest)}
    if kind.strip().lower() != "form-data" or not parameters.get("name"):
        raise FormBroken("A part has no Content-Disposition: form-data with a name.")
    filename = parameters.get("filename")
    extended = parameters.get("filename*", "").split("'", 2)
    if len(extended) == 3 and extended[0].lower() == "utf-8":
        filename = unquote(extended[2], errors="replace")
    # Browsers escape quotes and line breaks only.
    return PartHead(parameters["name"].lower(), None if filename is None else filename.replace("%22", '"'), headers)


class Parts:
    """The parts of a form."""

    def __init__(self, pieces: AsyncIterator[bytes | memoryview], boundary: bytes) -> None:
        self._pieces = pieces
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # so that the first delimiter looks like all others
        self._ended = False  # no more pieces
        self._begun = False
        self._open = False  # within a part

    async def next(self) -> bytes | None:
        """The head of the next part, None at the form's end; what was not read of the part before is passed over.  Raises FormBroken, FormTooLong."""
        if not self._begun:
            self._begun = True
            await self._demand(len(self._delimiter) + 2)
            if not self._buffer.startswith(self._delimiter):
                raise FormBroken("The body does not begin with its boundary.")
            self._buffer = self._buffer[len(self._delimiter) :]
        while self._open:
            await self.some()
        await self._demand(2)
        if self._buffer[:2] == b"--":
            return None
        if self._buffer[:2] != b"\r\n":
            raise FormBroken("The body does not begin with its boundary.")
        begin = 0
        while True:
            at = self._buffer.find(b"\r\n\r\n", begin)
            if 0 <= at <= MAX_PART_HEAD_BYTES:
                break
            begin = max(0, len(self._buffer) - 3)
            if begin > MAX_PART_HEAD_BYTES:
                raise FormTooLong("The head of a part is too long.")
            if not await self._pull():
                raise FormBroken("The body ended early.")
        head = self._buffer[2:at] if at >= 2 else b""
        self._buffer = self._buffer[at + 4 :]
        self._open = True
        return head

    async def some(self) -> bytes:
        """The next bytes of the part, as far as no delimiter can begin in them; none at its end.  Raises FormBroken."""
        delimiter = self._delimiter
        while self._open:
            at = self._buffer.find(delimiter)
            while at >= 0:
                end = at + len(delimiter)
                if len(self._buffer) < end + 2:
                    await self._demand(end + 2)
                if self._buffer[end : end + 2] in (b"--", b"\r\n"):
                    if at:
                        piece, self._buffer = self._buffer[:at], self._buffer[at:]
                        return piece
                    self._buffer = self._buffer[len(delimiter) :]
                    self._open = False
                    return b""
                at = self._buffer.find(delimiter, at + 1)
            kept = len(delimiter) + 1
            if len(self._buffer) > kept:
                piece, self._buffer = self._buffer[:-kept], self._buffer[-kept:]
                return piece
            if not await self._pull():
                raise FormBroken("The body ended before the file did.")
        return b""

    async def value(self, limit_bytes: int) -> bytes:
        """All of a part that is small.  Raises FormTooLong."""
        found = bytearray()
        while piece := await self.some():
            found += piece
            if len(found) > limit_bytes:
                raise FormTooLong("A field is too long.")
        return bytes(found)

    async def drain(self, most: int) -> bool:
        """Take what is left of the body, parts or not; False when that is more than `most`."""
        while not self._ended:
            self._buffer = b""
            if await self._pull():
                most -= len(self._buffer)
                if most < 0:
                    return False
        return True

    async def _pull(self) -> bool:
        """Add a piece to the buffer; False at the body's end."""
        piece = await anext(self._pieces, None)
        if piece is None:
            self._ended = True
            return False
        self._buffer += piece
        return True

    async def _demand(self, size: int) -> None:
        while len(self._buffer) < size:
            if not await self._pull():
                raise FormBroken("The body ended early.")
