"""multipart/form-data, read as it comes: first the fields, small and limited, then one file, streamed.

The file is the field named "file" and the last one that counts; what comes after it is read and dropped.  A file ends where
a delimiter stands, and a body that ends without one was cut off: nothing of it is kept.
"""

import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import unquote

from objstore.errors import EntityTooLarge, EntityTooSmall
from objstore.fronts.s3.body import RequestBody
from objstore.fronts.s3.errors import S3Refused

MAX_FIELDS = 100
MAX_BEFORE_FILE_BYTES = 64 * 1024  # Amazon allows 20 KB; tokens and policies are longer here
MAX_PART_HEAD_BYTES = 4096
MAX_AFTER_FILE_BYTES = 64 * 1024
MAX_BOUNDARY_CHARS = 70  # RFC 2046, section 5.1.1

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE | re.ASCII)
_PARAMETER = re.compile(r';\s*([A-Za-z0-9*-]{1,32})=(?:"([^"]*)"|([^;\s"]*))', re.ASCII)


def malformed(why: str) -> S3Refused:
    """The refusal of a body that is no form."""
    return S3Refused(400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.", hint=why)


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a Content-Type header; None when it is no form's."""
    if content_type.partition(";")[0].strip().lower() != "multipart/form-data":
        return None
    match = _BOUNDARY.search(content_type)
    if match is None:
        raise malformed("The Content-Type names no boundary.")
    return (match[1] or match[2]).encode("latin-1")


class Form:
    """A form whose fields are read; iterating gives the file.  Implements `objects.api.Body`."""

    def __init__(self, body: RequestBody, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}  # by lower-case name
        self.filename = ""
        self.size: int | None = None  # of the file: known at its end
        self.least_bytes = 0
        self.most_bytes: int | None = None
        self._pieces = aiter(body)
        self._body = body
        self._delimiter = b"\r\n--" + boundary
        self._buffer = b"\r\n"  # so that the first delimiter looks like all others
        self._ended = False  # no more pieces
        self._done = False  # the file has ended
        self._sent = 0

    async def read_fields(self) -> None:
        """Read up to the file.  Raises S3Refused."""
        await self._demand(len(self._delimiter) + 2)
        if not self._buffer.startswith(self._delimiter):
            raise malformed("The body does not begin with its boundary.")
        self._buffer = self._buffer[len(self._delimiter) :]
        used = 0
        while True:
            if self._buffer[:2] != b"\r\n":
                raise S3Refused(
                    400,
                    "InvalidArgument",
                    "POST requires exactly one file upload per request.",
                    elements={"ArgumentName": "file", "ArgumentValue": "0"},
                )
            head = await self._take_until(b"\r\n\r\n", 2, MAX_PART_HEAD_BYTES)
            name, filename = _disposition(head)
            if name == "file":
                self.filename = filename
                return
            value = await self._take_until(self._delimiter, 0, MAX_BEFORE_FILE_BYTES)
            used += len(head) + len(value)
            if used > MAX_BEFORE_FILE_BYTES or len(self.fields) >= MAX_FIELDS:
                raise _too_much()
            if name in self.fields:
                raise malformed(f"The field {name[:64]} is repeated.")
            try:
                self.fields[name] = value.decode()
            except UnicodeDecodeError:
                raise malformed(f"The field {name[:64]} is not UTF-8.") from None
            await self._demand(2)

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
                raise malformed("The body ended early.")

    async def _take_until(self, mark: bytes, skip: int, limit: int) -> bytes:
        """What stands before a mark, which is taken too; the first `skip` bytes are no part of it."""
        begin = 0
        while True:
            at = self._buffer.find(mark, begin)
            if at >= 0 and at <= limit:
                break
            begin = max(0, len(self._buffer) - len(mark) + 1)
            if begin > limit:
                raise _too_much()
            if not await self._pull():
                raise malformed("The body ended early.")
        taken = self._buffer[skip:at] if at >= skip else b""
        self._buffer = self._buffer[at + len(mark) :]
        return taken

    # -- the file ---------------------------------------------------------------------------------------------

    def limit(self, least_bytes: int, most_bytes: int | None) -> None:
        """Demand a size of the file; it is refused as soon as it is larger."""
        self.least_bytes, self.most_bytes = least_bytes, most_bytes

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        while not self._done:
            piece = await self._next()
            if piece:
                self._sent += len(piece)
                if self.most_bytes is not None and self._sent > self.most_bytes:
                    raise EntityTooLarge
                return piece
        raise StopAsyncIteration

    async def _next(self) -> bytes:
        """The next bytes of the file, as far as no delimiter can begin in them."""
        delimiter = self._delimiter
        at = self._buffer.find(delimiter)
        while at >= 0:
            await self._demand(at + len(delimiter) + 2)
            after = self._buffer[at + len(delimiter) :][:2]
            if after in (b"--", b"\r\n"):
                piece, self._buffer = self._buffer[:at], b""
                self._done = True
                return piece
            at = self._buffer.find(delimiter, at + 1)
        kept = len(delimiter) + 1
        if len(self._buffer) > kept:
            piece, self._buffer = self._buffer[:-kept], self._buffer[-kept:]
            return piece
        if not await self._pull():
            raise malformed("The body ended before the file did.")
        return b""

    async def finish(self) -> Mapping[str, bytes]:
        """Read what follows the file, and see that it was large enough."""
        assert self._done
        followed = 0
        while not self._ended:
            self._buffer = b""
            if await self._pull():
                followed += len(self._buffer)
                if followed > MAX_AFTER_FILE_BYTES:
                    raise malformed("Too much follows the file.")
        self.size = self._sent
        if self.size < self.least_bytes:
            raise EntityTooSmall
        return await self._body.finish()


def _too_much() -> S3Refused:
    return S3Refused(400, "MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.")


def _disposition(head: bytes) -> tuple[str, str]:
    """(lower-case name, filename) of a part's head."""
    for line in head.decode("utf-8", "replace").split("\r\n"):
        header, _, value = line.partition(":")
        if header.strip().lower() != "content-disposition":
            continue
        kind, semicolon, rest = value.strip().partition(";")
        parameters = {match[1].lower(): match[2] if match[2] is not None else match[3] for match in _PARAMETER.finditer(semicolon + rest)}
        if kind.strip().lower() != "form-data" or not parameters.get("name"):
            break
        filename = parameters.get("filename", "")
        extended = parameters.get("filename*", "").split("'", 2)
        if len(extended) == 3 and extended[0].lower() == "utf-8":
            filename = unquote(extended[2], errors="replace")
        # Browsers escape quotes and line breaks only; old ones send the whole path.
        return parameters["name"].lower(), re.split(r"[/\\]", filename.replace("%22", '"'))[-1]
    raise malformed("A part has no Content-Disposition: form-data with a name.")
