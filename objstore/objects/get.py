"""HEAD and GET: one version, whole, whatever is written meanwhile.

The row read first pins what follows: an inline payload or a blob by the row's origin, parts by the origin their
manifest names.  The first bytes are fetched before the answer begins, so a read that cannot be served fails as a whole; one
that came too late for its version, because the key was overwritten in between, starts over on the new one.
"""

import contextlib
import logging
from bisect import bisect_right
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from operator import attrgetter
from typing import NamedTuple, Protocol

from objstore.cluster.api import Held
from objstore.core import names
from objstore.core.conditions import check_read
from objstore.core.encryption import content_key
from objstore.core.manifest import Piece, pieces_of, span_of_part
from objstore.core.ranges import resolve_range
from objstore.core.rows import BodyKind, PartRef, Row, RowKey
from objstore.core.versions import modified_us, pick_head
from objstore.errors import Damaged, DamagedBody, NoSuchVersion, NotModified, Refused, Unavailable
from objstore.objects.access import Action
from objstore.objects.api import NO_CONDITIONS, ByteRange, Conditions, ObjectInfo, ObjectParts, PartInfo, Principal, Reading
from objstore.objects.buckets import Bucket
from objstore.objects.encryption import Opener, description_of, open_whole
from objstore.objects.info import null_of, object_info
from objstore.objects.sealing import Sealing, check_key

log = logging.getLogger(__name__)
_RESTARTS = 4  # a key that is overwritten under a read that often is written without pause
_REPLICAS_TRIED = 3  # before a sealed body that does not open is given up

Chunk = bytes | memoryview


class Chunks(Protocol):
    """Bytes on their way out: an asynchronous iterator that can be closed."""

    def __aiter__(self) -> AsyncIterator[Chunk]: ...

    def __anext__(self) -> Awaitable[Chunk]: ...

    async def aclose(self) -> None:
        """Stop early; whatever is behind them is let go."""


class Opened(NamedTuple):
    """A version that is being read: `length` bytes from `offset` on come out of `chunks`."""

    row: Row
    offset: int
    length: int
    chunks: Chunks
    version_id: str = ""  # as shown, see info.null_of
    sources: tuple[int, ...] = ()  # devices that hold the row


class Gets(Sealing):
    """Reading objects."""

    async def head(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS, customer_key: bytes = b"",
        action: Action = Action.READ_OBJECT,
    ) -> ObjectInfo:  # fmt: skip
        """Raises NoSuchKey, NoSuchVersion, PreconditionFailed, NotModified."""
        home = await self.open_bucket(who, bucket, action, key, version_id, row_follows=True)
        row = await self.find_admitted(who, home, action, key, version_id)
        # Tags and lists are not encrypted, and who asks for them need not have the object's key.
        _check(row, conditions, customer_key, keyed=action is Action.READ_OBJECT)
        return object_info(key, row, null_of(home.info))

    async def object_parts(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS, after: int = 0, limit: int = 1000,
        customer_key: bytes = b"",
    ) -> ObjectParts:  # fmt: skip
        """As `head`, with the parts numbered above `after`; their checksums are in the object's algorithm."""
        home = await self.open_bucket(who, bucket, Action.READ_ATTRIBUTES, key, version_id, row_follows=True)
        row = await self.find_admitted(who, home, Action.READ_ATTRIBUTES, key, version_id)
        _check(row, conditions, customer_key)
        first = bisect_right(row.parts, after, key=attrgetter("number"))
        page = row.parts[first : first + limit]
        algorithm = next(iter(row.checksums), "")
        parts = [
            PartInfo(part.number, part.size, part.etag, modified_us(row), {algorithm: part.checksum} if algorithm and part.checksum else {})
            for part in page
        ]
        return ObjectParts(object_info(key, row, null_of(home.info)), parts, truncated=first + len(page) < len(row.parts))

    async def get(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS,
        range_: ByteRange | None = None, part_number: int | None = None, customer_key: bytes = b"",
    ) -> Reading:  # fmt: skip
        """Read one version, whole; the reader must exhaust or aclose `chunks`.  Raises InvalidRange, InvalidPartNumber too."""
        home = await self.open_bucket(who, bucket, Action.READ_OBJECT, key, version_id, row_follows=True)

        def judge(row: Row) -> tuple[int, int]:
            if conditions:
                _check_read(row, conditions)
            if part_number is not None:
                return span_of_part(row, part_number)
            return (0, row.size) if range_ is None else resolve_range(range_.first, range_.last, row.size)

        opened = await self.open_version(home, key, version_id, judge, customer_key, reader=who)
        return Reading(object_info(key, opened.row, null_of(home.info)), opened.offset, opened.length, opened.chunks)

    async def open_version(
        self, bucket: Bucket, key: str, version_id: str, judge: Callable[[Row], tuple[int, int]], customer_key: bytes = b"", *,
        reader: Principal | None = None,
    ) -> Opened:  # fmt: skip
        """Find a version, let `judge` refuse it or say which (offset, length) is wanted, and begin to read it.

        For a `reader`, for whom the bucket was opened to read it, what depends on the row is decided here, on every row that is tried.
        """
        register = self.version_key(bucket, names.object_name(key), version_id)
        held = await self.cluster.read(register, spread=bucket.spread, inline=True)
        for _ in range(_RESTARTS):
            try:
                row = pick_head(held.row, key, version_id)
                if row.headers:
                    self.check_unexpired(row, key, reader)
            except Refused:
                if reader is not None:
                    self.check_missing(reader, bucket, Action.READ_OBJECT, key, version_id)
                raise
            if reader is not None:
                self.check_row(reader, bucket, Action.READ_OBJECT, key, version_id, row)
            check_key(row, customer_key)
            offset, length = judge(row)
            try:
                data_key = await self.data_key_of(row, customer_key) if row.encryption else b""
                chunks = await self._open_chunks(bucket, register, held, offset, length, data_key)
                return Opened(row, offset, length, chunks, row.version or null_of(bucket.info), held.sources)
            except (NoSuchVersion, Damaged, Unavailable):  # the first means that these bytes were overwritten
                held = await self.cluster.read(register, spread=bucket.spread, inline=True)
                if held.row is not None and held.row.origin == row.origin:
                    raise
        raise Unavailable(f"object {key!r} is being overwritten without pause; try again")

    async def _open_chunks(self, bucket: Bucket, register: RowKey, held: Held, offset: int, length: int, data_key: bytes) -> Chunks:
        row = held.row
        assert row is not None
        if length == 0:
            return _Whole(b"")
        if row.encryption and row.body != BodyKind.MANIFEST:
            return await self._open_sealed(bucket, register, held, offset, length, data_key)
        if row.body == BodyKind.INLINE and held.payload is not None:
            return _Whole(held.payload if length == row.size else memoryview(held.payload)[offset : offset + length])
        if row.body != BodyKind.MANIFEST:
            chunks = self.cluster.read_body(register, row, spread=bucket.spread, offset=offset, length=length, sources=held.sources)
            return await _primed(chunks)
        return await _primed(self.stream_pieces(bucket, list(pieces_of(row.parts, offset, length)), data_key))

    async def _open_sealed(self, bucket: Bucket, register: RowKey, held: Held, offset: int, length: int, data_key: bytes) -> Chunks:
        row, description = held.row, description_of(held.row) if held.row is not None else None
        assert row is not None
        assert description is not None
        if not data_key:
            raise DamagedBody("a sealed part belongs to an object that is not encrypted")
        key = content_key(data_key, description.seed)
        if row.body == BodyKind.INLINE and held.payload is not None:
            plain = open_whole(key, held.payload, row.size, offset, length)
            if plain is not None:
                return _Whole(plain)

        def read(at: int, wanted: int, attempt: int) -> AsyncIterator[Chunk]:
            # What does not open came with good checksums, so the replica itself is wrong: begin with another one.
            if attempt:
                log.error("sealed bytes of %r do not open: changed on a device's disk, or a row that is not theirs", register.name[:200])
            return self.cluster.read_body(register, row, spread=bucket.spread, offset=at, length=wanted, sources=held.sources, turn=attempt)

        return await _primed(Opener(key, row.size, offset, length, read=read, attempts=_REPLICAS_TRIED))

    async def stream_pieces(self, bucket: Bucket, pieces: Sequence[Piece], data_key: bytes) -> AsyncIterator[Chunk]:
        """The bytes of pieces of a manifest, one after the other."""
        held = await self.read_part(bucket, pieces[0].part)
        for index, (part, offset, length) in enumerate(pieces):
            # The next part's row is fetched while this part's bytes stream: no pause of a round trip between parts.
            following = pieces[index + 1].part if index + 1 < len(pieces) else None
            ahead = self.tasks.spawn(self.read_part(bucket, following), name="next part") if following is not None else None
            try:
                if held.row is None or held.row.origin != part.origin:
                    raise DamagedBody(f"part {part.number} of the object is gone", part=part.number)
                register = RowKey(bucket.id, part.space, part.name)
                async with contextlib.aclosing(await self._open_chunks(bucket, register, held, offset, length, data_key)) as chunks:
                    async for chunk in chunks:
                        yield chunk
                if ahead is not None:
                    held = await ahead
            finally:
                if ahead is not None:
                    ahead.cancel()

    async def read_part(self, bucket: Bucket, part: PartRef) -> Held:
        """The row of a part, with its bytes where they lie beside it."""
        if names.policy_of(part.name):
            return await self.cluster.read_once_written(RowKey(bucket.id, part.space, part.name), part.origin, spread=bucket.spread)
        return await self.cluster.read(RowKey(bucket.id, part.space, part.name), spread=bucket.spread, inline=True)


def _check(row: Row, conditions: Conditions, customer_key: bytes, *, keyed: bool = True) -> None:
    if keyed:
        check_key(row, customer_key)
    if conditions:
        _check_read(row, conditions)


def _check_read(row: Row, conditions: Conditions) -> None:
    try:
        check_read(conditions, row.etag, modified_us(row))
    except NotModified as refusal:
        # What a cache goes by is said again where the object itself is not (RFC 9110, section 15.4.5).
        if row.headers:
            refusal.facts["headers"] = row.headers
        raise


class _Whole:
    """An iterator over bytes that are all here; cheaper than a generator on the hot path."""

    __slots__ = ("_data",)

    def __init__(self, data: Chunk) -> None:
        self._data: Chunk | None = data if len(data) else None

    def __aiter__(self) -> "_Whole":
        return self

    async def __anext__(self) -> Chunk:
        data = self._data
        if data is None:
            raise StopAsyncIteration
        self._data = None
        return data

    async def aclose(self) -> None:
        """Forget the bytes."""
        self._data = None


class _Primed:
    """An iterator whose first bytes are here already."""

    __slots__ = ("_first", "_rest")

    def __init__(self, first: Chunk, rest: AsyncIterator[Chunk]) -> None:
        self._first: Chunk | None = first
        self._rest = rest

    def __aiter__(self) -> "_Primed":
        return self

    async def __anext__(self) -> Chunk:
        first = self._first
        if first is not None:
            self._first = None
            return first
        return await anext(self._rest)

    async def aclose(self) -> None:
        """Forget the first bytes and close what the rest comes from."""
        self._first = None
        close = getattr(self._rest, "aclose", None)  # a generator's; a plain iterator has nothing to close
        if close is not None:
            await close()


async def _primed(chunks: AsyncIterator[Chunk]) -> Chunks:
    try:
        return _Primed(await anext(chunks), chunks)
    except StopAsyncIteration:
        raise DamagedBody("a body that should have bytes has none") from None
