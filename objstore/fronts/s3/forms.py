"""multipart/form-data, read as it comes: first the fields, small and limited, then one file, streamed.

The file is the field named "file" and the last one that counts; what comes after it is read and dropped.  A file ends where
a delimiter stands, and a body that ends without one was cut off: nothing of it is kept.
"""

import contextlib
import re
from collections.abc import AsyncIterator, Iterator, Mapping

from objstore.errors import EntityTooLarge, EntityTooSmall
from objstore.fronts import multipart_form
from objstore.fronts.multipart_form import FormBroken, FormTooLong, Parts
from objstore.fronts.s3.body import RequestBody
from objstore.fronts.s3.errors import S3Refused

MAX_FIELDS = 100
MAX_BEFORE_FILE_BYTES = 64 * 1024  # Amazon allows 20 KB; tokens and policies are longer here
MAX_AFTER_FILE_BYTES = 64 * 1024


def malformed(why: str) -> S3Refused:
    """The refusal of a body that is no form."""
    return S3Refused(400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data.", hint=why)


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except FormBroken as broken:
        raise malformed(broken.message) from None
    except FormTooLong:
        raise S3Refused(400, "MaxPostPreDataLengthExceeded", "Your POST request fields preceding the upload file were too large.") from None


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a Content-Type header; None when it is no form's."""
    with _told():
        return multipart_form.boundary_of(content_type)


class Form:
    """A form whose fields are read; iterating gives the file.  Implements `objects.api.Body`."""

    def __init__(self, body: RequestBody, boundary: bytes) -> None:
        self.fields: dict[str, str] = {}  # by lower-case name
        self.filename = ""
        self.size: int | None = None  # of the file: known at its end
        self.least_bytes = 0
        self.most_bytes: int | None = None
        self._body = body
        self._parts = Parts(aiter(body), boundary)
        self._done = False  # the file has ended
        self._sent = 0

    async def read_fields(self) -> None:
        """Read up to the file.  Raises S3Refused."""
        with _told():
            await self._read_fields()

    async def _read_fields(self) -> None:
        used = 0
        while True:
            head = await self._parts.next()
            if head is None:
                raise S3Refused(
                    400,
                    "InvalidArgument",
                    "POST requires exactly one file upload per request.",
                    elements={"ArgumentName": "file", "ArgumentValue": "0"},
                )
            name, filename, _ = multipart_form.parse_head(head)
            if name == "file":
                self.filename = re.split(r"[/\\]", filename or "")[-1]  # old browsers send the whole path
                return
            value = await self._parts.value(MAX_BEFORE_FILE_BYTES)
            used += len(head) + len(value)
            if used > MAX_BEFORE_FILE_BYTES or len(self.fields) >= MAX_FIELDS:
                raise FormTooLong
            if name in self.fields:
                raise FormBroken(f"The field {name[:64]} is repeated.")
            try:
                self.fields[name] = value.decode()
            except UnicodeDecodeError:
                raise FormBroken(f"The field {name[:64]} is not UTF-8.") from None

    # -- the file ---------------------------------------------------------------------------------------------

    def limit(self, least_bytes: int, most_bytes: int | None) -> None:
        """Demand a size of the file; it is refused as soon as it is larger."""
        self.least_bytes, self.most_bytes = least_bytes, most_bytes

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        with _told():
            piece = await self._parts.some()
        if not piece:
            self._done = True
            raise StopAsyncIteration
        self._sent += len(piece)
        if self.most_bytes is not None and self._sent > self.most_bytes:
            raise EntityTooLarge("the file is larger than it may be", size=self._sent, limit=self.most_bytes)
        return piece

    async def finish(self) -> Mapping[str, bytes]:
        """Read what follows the file, and see that it was large enough."""
        assert self._done
        if not await self._parts.drain(MAX_AFTER_FILE_BYTES):
            raise malformed("Too much follows the file.")
        self.size = self._sent
        if self.size < self.least_bytes:
            raise EntityTooSmall("the file is smaller than the policy demands", size=self.size, min_size=self.least_bytes)
        return await self._body.finish()
