"""Images' bytes in the store: one object for each body, in a bucket of the service's own account that no client can name.

Bytes stream through once: on their way into the store they are hashed (MD5 and SHA-512) and inspected in a thread.  A body becomes
an object only after its last byte was judged, so what is refused was never there.  Beyond `PART_BYTES` an object is
written in parts.
"""

import contextlib
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass

from objstore.errors import BucketAlreadyOwnedByYou, NoSuchKey, NoSuchUpload
from objstore.objects.api import Attributes, ByteRange, CompletedPart, Expected, ListQuery, ObjectStoreApi, Principal, Reading
from objstore.runtime.tasks import Threads
from objstore.services.calls.problems import too_large
from objstore.services.image.formats import Found, Inspection

ACCOUNT = ".image"  # no project has such an id
BUCKET = "image-bodies"
WHO = Principal(account=ACCOUNT, user="image", tenant=ACCOUNT)
BATCH_BYTES = 1024 * 1024  # hashed at a time
WHOLE_BYTES = 8 * 1024 * 1024  # of a stream of unknown length are looked at before it is written in parts
PART_BYTES = 1024**3
CONTENT_TYPE = "application/octet-stream"


@dataclass(frozen=True)
class Stored:
    """What was written."""

    size: int
    checksum: str  # MD5, hexadecimal
    sha512: str
    found: Found


class Bodies:
    """The service's bucket."""

    def __init__(self, store: ObjectStoreApi, threads: Threads) -> None:
        self._store = store
        self._threads = threads

    async def start(self) -> None:
        """Make the bucket where it is not there yet.  Raises Unavailable."""
        with contextlib.suppress(BucketAlreadyOwnedByYou):
            await self._store.create_bucket(WHO, BUCKET)

    async def write(
        self, id_: str, source: AsyncIterator[bytes], inspection: Inspection, *, size: int | None, limit: Callable[[], int]
    ) -> Stored:
        """Write a body.  `limit()` is how many bytes may come in all.  Raises FormatRefused, 413, IncompleteBody, Unavailable."""
        stream = _Stream(source, inspection, self._threads, limit)
        await self._ready(id_, stream, size)
        return stream.stored()

    async def _ready(self, id_: str, stream: "_Stream", size: int | None) -> None:
        if size is not None and size <= PART_BYTES:
            await self._put(id_, _Whole(stream, size, ()))
            return
        first: list[bytes] = []
        length = 0
        if size is None:
            while length < WHOLE_BYTES and (piece := await stream.take(BATCH_BYTES)):
                first.append(piece)
                length += len(piece)
            if length < WHOLE_BYTES:
                await self._put(id_, _Whole(stream, length, first))
                return
        await self._write_parts(id_, stream, first)

    async def _put(self, id_: str, body: "_Whole") -> None:
        await self._store.put(WHO, BUCKET, id_, body, attributes=Attributes(content_type=CONTENT_TYPE), expected=Expected())

    async def _write_parts(self, id_: str, stream: "_Stream", first: list[bytes]) -> None:
        upload = await self._store.create_upload(WHO, BUCKET, id_, attributes=Attributes(content_type=CONTENT_TYPE))
        parts: list[CompletedPart] = []
        try:
            while not stream.ended:
                number = len(parts) + 1
                body = _Part(stream, first if number == 1 else [], PART_BYTES)
                part = await self._store.upload_part(WHO, BUCKET, id_, upload.upload_id, number, body, expected=Expected())
                parts.append(CompletedPart(number, part.etag))
            await stream.judge()
            await self._store.complete_upload(WHO, BUCKET, id_, upload.upload_id, parts, expected=Expected())
        except BaseException:
            with contextlib.suppress(NoSuchUpload):
                await self._store.abort_upload(WHO, BUCKET, id_, upload.upload_id)
            raise

    async def read(self, id_: str, range_: ByteRange | None = None) -> Reading:
        """The bytes of a body.  Raises NoSuchKey, InvalidRange, Unavailable."""
        return await self._store.get(WHO, BUCKET, id_, range_=range_)

    async def drop(self, id_: str) -> None:
        """Remove a body, whole or not.  Raises Unavailable."""
        page = await self._store.list_uploads(WHO, BUCKET, prefix=id_)
        for upload in page.uploads:
            with contextlib.suppress(NoSuchUpload):
                await self._store.abort_upload(WHO, BUCKET, id_, upload.upload_id)
        with contextlib.suppress(NoSuchKey):
            await self._store.delete(WHO, BUCKET, id_)

    async def ids(self, *, before_us: int) -> AsyncIterator[str]:
        """Bodies that were written before some time."""
        after = ""
        while True:
            page = await self._store.list(WHO, BUCKET, ListQuery(after=after))
            for info in page.objects:
                if info.modified_us < before_us:
                    yield info.key
            if not page.truncated:
                return
            after = page.next_after


class _Stream:
    """A source in batches, each hashed and inspected in a thread while the one before it is written."""

    def __init__(self, source: AsyncIterator[bytes], inspection: Inspection, threads: Threads, limit: Callable[[], int]) -> None:
        self.ended = False
        self._source = source
        self._inspection = inspection
        self._threads = threads
        self._limit = limit
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._sha512 = hashlib.sha512()
        self._size = 0
        self._left = b""
        self._found: Found | None = None

    async def take(self, most: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        pieces = [self._left] if self._left else []
        size = len(self._left)
        while size < most and not self.ended:
            try:
                piece = await anext(self._source)
            except StopAsyncIteration:
                self.ended = True
                break
            pieces.append(bytes(piece))
            size += len(piece)
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        data, self._left = (data[:most], data[most:]) if size > most else (data, b"")
        if self._left:
            self.ended = False
        if data:
            self._size += len(data)
            if self._size > (most_in_all := self._limit()):
                raise too_large(f"The image has more than the {most_in_all} bytes that it may have.")
            await self._threads.run(self._look_at, data)
        return data

    def _look_at(self, data: bytes) -> None:
        self._md5.update(data)
        self._sha512.update(data)
        self._inspection.feed(data)

    async def judge(self) -> None:
        """After the last byte.  Raises FormatRefused."""
        self._found = await self._threads.run(self._inspection.finish)

    def stored(self) -> Stored:
        """What came, once it was judged."""
        assert self._found is not None
        return Stored(self._size, self._md5.hexdigest(), self._sha512.hexdigest(), self._found)


class _Whole:
    """objects.api.Body: all that is left of a stream, after pieces that were taken from it before."""

    def __init__(self, stream: _Stream, size: int, first: "list[bytes] | tuple[()]") -> None:
        self.size: int | None = size
        self._stream = stream
        self._first = first

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        for piece in self._first:
            yield piece
        while piece := await self._stream.take(BATCH_BYTES):
            yield piece

    async def finish(self) -> Mapping[str, bytes]:
        """Nothing is visible before the last byte was judged."""
        await self._stream.judge()
        return {}


class _Part:
    """objects.api.Body: the next part of a stream."""

    size: int | None = None

    def __init__(self, stream: _Stream, first: list[bytes], most: int) -> None:
        self._stream = stream
        self._first = first
        self._most = most

    async def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        room = self._most
        for piece in self._first:
            yield piece
            room -= len(piece)
        while room > 0 and (piece := await self._stream.take(min(BATCH_BYTES, room))):
            yield piece
            room -= len(piece)

    async def finish(self) -> Mapping[str, bytes]:
        """The whole is judged after the last part."""
        return {}
