"""Rows of multipart uploads and their parts: reading, scanning and dropping them."""

import asyncio
from collections.abc import AsyncIterator, Iterable

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.core import names
from objstore.core.etag import bare_etag
from objstore.core.multipart import Claimed, PartRecord, Stored, UploadRecord
from objstore.core.rows import Kind, Row, RowKey, Space, is_live
from objstore.core.versions import removal
from objstore.objects.buckets import tombstone_row

DROPS_AT_ONCE = 16  # tombstones of one upload written at a time
DROPS_TOGETHER = 1000  # parts whose names are held while they are dropped
DROPS_MOST = 20_000  # parts that a completion drops itself; what is left is reclaimed
REMOVED_AT_ONCE = 500  # versions named in one row that removes them, so that the row stays far below a frame

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


async def claimed_attempts(
    cluster: ClusterApi, bucket_id: bytes, upload_id: str, claimed: Iterable[Claimed]
) -> tuple[list[Stored], list[bytes]]:
    """The attempts that a list of parts may mean, and the names of all, or of as many as are dropped at once.

    A part may be uploaded again without end; so of attempts at one number with one ETag, which have the same bytes, the latest is held alone.
    """
    wanted = {(line.number, bare_etag(line.etag)) for line in claimed}
    latest: dict[tuple[int, str], Stored] = {}
    seen: list[bytes] = []
    async for attempt in attempts_of(cluster, bucket_id, upload_id):
        if len(seen) < DROPS_MOST:
            seen.append(attempt.name)
        mark = names.split_part_name(attempt.name)[1], attempt.row.etag
        if mark in wanted and (mark not in latest or attempt.row.origin > latest[mark].row.origin):
            latest[mark] = attempt
    return list(latest.values()), seen


async def drop_attempts(cluster: ClusterApi, bucket_id: bytes, upload_id: str, spread: int) -> None:
    """Write tombstones over all parts of an upload, however many they are."""
    keys: list[RowKey] = []
    async for attempt in attempts_of(cluster, bucket_id, upload_id):
        keys.append(RowKey(bucket_id, Space.PARTS, attempt.name))
        if len(keys) >= DROPS_TOGETHER:
            await drop_rows(cluster, keys, spread)
            keys = []
    await drop_rows(cluster, keys, spread)


async def versions_of(cluster: ClusterApi, bucket_id: bytes, name: bytes) -> AsyncIterator[Row]:
    """The versions and delete markers of a key, the head among them: the null version, then the newest first.

    Whoever has read a head before misses none: what has become the head since, as that one was removed, is shown here.
    """
    start: bytes | None = name
    version = b""
    while start == name:
        page = await cluster.scan(
            bucket_id, Space.VERSIONS, prefix=name, start=name, start_version=version, versions=True, heads=lambda head: head.name == name
        )  # fmt: skip
        for item in page.rows:
            if item.name != name:
                return
            yield item.row
        start, version = page.next_start, page.next_version


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
    for space in (Space.UPLOADS, Space.PARTS):
        start: bytes | None = b""
        while start is not None:
            page = await cluster.scan(bucket_id, space, start=start)
            dropped += await drop_rows(cluster, [RowKey(bucket_id, space, item.name) for item in page.rows if is_live(item.row)], spread)
            start = page.next_start
    dropped += await _sweep_objects(cluster, bucket_id, spread)
    for policy in cluster.policies.values():
        start = b""
        while start is not None:
            page = await policy.scan(bucket_id, Space.PARTS, start=start)
            dropped += await drop_rows(policy, [RowKey(bucket_id, Space.PARTS, item.name) for item in page.rows], spread)
            start = page.next_start
    return dropped


async def _sweep_objects(cluster: ClusterApi, bucket_id: bytes, spread: int) -> int:
    """Heads with all their versions.  Versions change with the head of their key alone, so each key takes one write.

    Or several, where it has very many versions: each is named in the row that removes it.
    """
    dropped = 0
    start: bytes | None = b""
    version = b""
    while start is not None:
        heads = await cluster.scan(bucket_id, Space.OBJECTS, start=start, markers=True)
        versions = await cluster.scan(
            bucket_id, Space.VERSIONS, start=start, start_version=version, versions=True, limit=REMOVED_AT_ONCE
        )  # fmt: skip
        start, version = versions.next_start, versions.next_version
        if heads.next_start is not None and (start is None or heads.next_start <= start):
            start, version = heads.next_start, b""
        found: dict[bytes, list[str]] = {}
        for items, noncurrent in ((heads.rows, False), (versions.rows, True)):
            for item in items:
                # Of a name that the page ends inside of, the head goes with the first of its versions.
                if start is None or item.name < start or (version and item.name == start):
                    there = found.setdefault(item.name, [])
                    if noncurrent or item.row.version:  # the null version that is the head goes with the head
                        there.append(item.row.version)
        for name, there in found.items():
            await cluster.write(RowKey(bucket_id, Space.OBJECTS, name), removal(there), spread=spread)
            dropped += 1
    return dropped
