"""HEAD and GET: one version, whole, whatever is written meanwhile.

The row read first pins what follows: an inline payload or a blob by the row's origin, parts by the origin their
manifest names.  A part that is no longer what the manifest pinned means that the object was replaced long enough ago for
its parts to be reclaimed: before the first byte the read starts over, later it breaks off.
"""

from collections.abc import AsyncIterator, Sequence

from objstore.cluster.api import Held
from objstore.core import names
from objstore.core.conditions import check_read
from objstore.core.manifest import Piece, pieces_of, span_of_part
from objstore.core.ranges import resolve_range
from objstore.core.rows import BodyKind, Row, RowKey
from objstore.core.versions import modified_us, pick_head
from objstore.errors import DamagedBody
from objstore.objects.access import Action
from objstore.objects.api import NO_CONDITIONS, ByteRange, Conditions, ObjectInfo, Principal, Reading
from objstore.objects.buckets import Bucket
from objstore.objects.context import StoreContext, object_key
from objstore.objects.info import object_info

_RESTARTS = 3  # a key whose parts vanish that often under a read is being replaced without pause

Chunk = bytes | memoryview


class Gets(StoreContext):
    """Reading objects."""

    async def head(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS
    ) -> ObjectInfo:  # fmt: skip
        """Raises NoSuchKey, NoSuchVersion, PreconditionFailed, NotModified."""
        home = await self.open_bucket(who, bucket, Action.READ_OBJECT)
        held = await self.cluster.read(object_key(home, names.object_name(key)), spread=home.spread)
        row = pick_head(held.row, key, version_id)
        if conditions:
            check_read(conditions, row.etag, modified_us(row))
        return object_info(key, row)

    async def get(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS,
        range_: ByteRange | None = None, part_number: int | None = None,
    ) -> Reading:  # fmt: skip
        """Read one version, whole; the reader must exhaust or aclose `chunks`.  Raises InvalidRange, InvalidPart too."""
        home = await self.open_bucket(who, bucket, Action.READ_OBJECT)
        register = object_key(home, names.object_name(key))
        for _ in range(_RESTARTS):
            held = await self.cluster.read(register, spread=home.spread, inline=True)
            row = pick_head(held.row, key, version_id)
            if conditions:
                check_read(conditions, row.etag, modified_us(row))
            if part_number is not None:
                offset, length = span_of_part(row, part_number)
            elif range_ is not None:
                offset, length = resolve_range(range_.first, range_.last, row.size)
            else:
                offset, length = 0, row.size
            chunks = await self.open_chunks(home, register, held, row, offset, length)
            if chunks is not None:
                return Reading(object_info(key, row), offset, length, chunks)
        raise DamagedBody(f"parts of object {key!r} are missing", key=key)

    async def open_chunks(
        self, bucket: Bucket, register: RowKey, held: Held, row: Row, offset: int, length: int
    ) -> AsyncIterator[Chunk] | None:  # fmt: skip
        """Bytes [offset, offset + length) of a row; None when its first part is no longer there."""
        if length == 0:
            return _Whole(b"")
        if held.payload is not None and row.body == BodyKind.INLINE:
            return _Whole(held.payload if length == row.size else memoryview(held.payload)[offset : offset + length])
        if row.body != BodyKind.MANIFEST:
            return self.cluster.read_body(register, row, spread=bucket.spread, offset=offset, length=length, sources=held.sources)
        pieces = list(pieces_of(row.parts, offset, length))
        first = await self._read_part(bucket, pieces[0])
        return None if first is None else self._stream_parts(bucket, pieces, first)

    async def _read_part(self, bucket: Bucket, piece: Piece) -> Held | None:
        held = await self.cluster.read(_part_key(bucket, piece), spread=bucket.spread, inline=True)
        return held if held.row is not None and held.row.origin == piece.part.origin else None

    async def _stream_parts(self, bucket: Bucket, pieces: Sequence[Piece], first: Held) -> AsyncIterator[Chunk]:
        held: Held | None = first
        for index, piece in enumerate(pieces):
            if index:
                held = await self._read_part(bucket, piece)
            if held is None or held.row is None:
                raise DamagedBody(f"part {piece.part.number} of the object is gone", part=piece.part.number)
            chunks = await self.open_chunks(bucket, _part_key(bucket, piece), held, held.row, piece.offset, piece.length)
            assert chunks is not None  # a part has no parts
            async for chunk in chunks:
                yield chunk


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


def _part_key(bucket: Bucket, piece: Piece) -> RowKey:
    return RowKey(bucket.id, piece.part.space, piece.part.name)
