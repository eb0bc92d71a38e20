"""Rows of multipart uploads and their parts: reading, scanning and dropping them."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.core import names
from objstore.core.multipart import PartRecord, Stored, UploadRecord
from objstore.core.rows import Kind, Row, RowKey, Space, is_live
from objstore.objects.buckets import tombstone_row

DROPS_AT_ONCE = 16  # tombstones of one upload written at a time

_encode = msgspec.msgpack.Encoder().encode
_decode_upload = msgspec.msgpack.Decoder(UploadRecord).decode
_decode_part = msgspec.msgpack.Decoder(PartRecord).decode


def upload_key(bucket_id: bytes, name: bytes, upload_id: str) -> RowKey:
    """The register of an upload."""
    return RowKey(bucket_id, Space.UPLOADS, names.upload_name(name, upload_id))


def encode_record(record: UploadRecord | PartRecord) -> bytes:
    """What goes into a row's `record`."""
    return _encode(record)


def upload_record(row: Row | None) -> UploadRecord | None:
    """What an UPLOAD row holds; None when the upload is not in progress."""
    return _decode_upload(row.record) if row is not None and row.kind == Kind.UPLOAD else None


def part_owner(row: Row) -> bytes:
    """The key of the object for which a part was uploaded."""
    return _decode_part(row.record).key


async def attempts_of(cluster: ClusterApi, bucket_id: bytes, upload_id: str, *, after: int = 0) -> AsyncIterator[Stored]:
    """All attempts at the parts of an upload with numbers above `after`, in order of number."""
    start: bytes | None = names.after_part(upload_id, after) if after else b""
    while start is not None:
        page = await cluster.scan(bucket_id, Space.PARTS, prefix=names.parts_prefix(upload_id), start=start)
        for item in page.rows:
            yield Stored(item.name, item.row)
        start = page.next_start


async def drop_rows(cluster: ClusterApi, keys: Iterable[RowKey], spread: int) -> int:
    """Write tombstones, some at a time; returns how many.  Raises the first failure once all that run have ended."""
    waiting = iter(keys)
    dropped = 0

    async def worker() -> None:
        nonlocal dropped
        for key in waiting:
            await cluster.write(key, tombstone_row(), spread=spread)
            dropped += 1

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(DROPS_AT_ONCE):
                group.create_task(worker())
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return dropped


async def sweep_bucket(cluster: ClusterApi, bucket_id: bytes, spread: int) -> int:
    """Drop every row of a bucket that was deleted; returns how many there were."""
    dropped = 0
    for space in (Space.UPLOADS, Space.PARTS, Space.OBJECTS):
        start: bytes | None = b""
        while start is not None:
            page = await cluster.scan(bucket_id, space, start=start)
            dropped += await drop_rows(cluster, [RowKey(bucket_id, space, item.name) for item in page.rows if is_live(item.row)], spread)
            start = page.next_start
    return dropped
