"""Deletions to come: objects that a daemon removes after the request which asked for that was answered.

`record/doomed/<time, 16 digits><8 random bytes>` names them; it is written once, and goes when all of them are gone.  Each is removed as of the time of
the request: what was written since stays, and removing twice changes nothing, so a daemon that dies begins the record again.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.core import names
from objstore.core.rows import SYSTEM_BUCKET, RowKey, Space
from objstore.objects.buckets import record_row, tombstone_row

RECORD_VERSION = 1
DOOMED = names.record_prefix("doomed")
RECORD_BYTES = 128 * 1024  # of names in one record: half of what a record may have


class Doomed(msgspec.Struct, frozen=True, array_like=True):
    """Objects of one bucket.  New fields go last, with a default."""

    record_version: int
    account: str
    bucket: str
    bucket_id: bytes
    as_of_us: int
    keys: list[str]


class DoomedRow(NamedTuple):
    """Such a record as it was read."""

    name: bytes
    doomed: Doomed


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Doomed).decode


async def doom(cluster: ClusterApi, doomed: Doomed, tokens: Iterator[bytes]) -> None:
    """Have objects removed; when this returns, they will be.  `tokens` are 8 random bytes each.  Raises Unavailable."""
    for keys in _portions(doomed.keys):
        name = DOOMED + f"{doomed.as_of_us:016d}{next(tokens).hex()}".encode()
        await cluster.write(_key(name), record_row(_encode(msgspec.structs.replace(doomed, keys=keys))))


async def doomed_rows(cluster: ClusterApi, start: bytes, limit: int) -> tuple[list[DoomedRow], bytes | None]:
    """Some records, the oldest first, and where to go on."""
    page = await cluster.scan(SYSTEM_BUCKET, Space.OBJECTS, prefix=DOOMED, start=start, limit=limit)
    return [DoomedRow(item.name, _decode(item.row.record)) for item in page.rows], page.next_start


async def forget(cluster: ClusterApi, row: DoomedRow) -> None:
    """The objects of a record are gone: no other record ever has its name."""
    await cluster.write(_key(row.name), tombstone_row())


def _portions(keys: Iterable[str]) -> Iterator[list[str]]:
    portion: list[str] = []
    size = 0
    for key in keys:
        length = len(key.encode()) + 8
        if portion and size + length > RECORD_BYTES:
            yield portion
            portion, size = [], 0
        portion.append(key)
        size += length
    if portion:
        yield portion


def _key(name: bytes) -> RowKey:
    return RowKey(SYSTEM_BUCKET, Space.OBJECTS, name)
