"""Notes: small rows of the system bucket that tell a daemon which keys to look at, so that it need not walk through buckets.

`expiry/<seconds>/<bucket id>/<digest of the key>` for an object that expires then, in order of time; `change/<bucket id>/<digest of the
key>` for a key that changes in a bucket whose changes are sent elsewhere.  A note is written *before* the row that it tells of, so no
crash can leave a row without one; a note too many does no harm, since whoever finds it looks at the key.  It is dropped by
compare-and-set, once it is so old (`SETTLED_S`) that the write which it announced has ended one way or the other.
"""

import hashlib
from typing import NamedTuple

import msgspec

from objstore.cluster.api import ClusterApi
from objstore.core import names
from objstore.core.container_sync import SyncState
from objstore.core.rows import SYSTEM_BUCKET, Row, RowKey, Space, is_live
from objstore.core.timestamp import Ballot
from objstore.errors import ConditionalConflict, NoSuchKey
from objstore.objects.buckets import Bucket, record_row, tombstone_row

RECORD_VERSION = 1
SETTLED_S = 120.0  # several times as long as a write is tried
EXPIRY, CHANGE, SYNC = names.record_prefix("expiry"), names.record_prefix("change"), names.record_prefix("sync")


class Note(msgspec.Struct, frozen=True, array_like=True):
    """Which key to look at.  New fields go last, with a default."""

    record_version: int
    account: str
    bucket: str
    bucket_id: bytes
    key: bytes
    written_us: int


class Noted(NamedTuple):
    """A note as it was read."""

    name: bytes
    note: Note
    version: Ballot


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Note).decode


def expiry_name(seconds: int, bucket_id: bytes, key: bytes) -> bytes:
    """The row name of a note that an object expires."""
    return EXPIRY + f"{seconds:010d}/{bucket_id.hex()}/{_digest(key)}".encode()


def expiry_seconds(name: bytes) -> int:
    """When the object of such a note expires."""
    return int(name[len(EXPIRY) : len(EXPIRY) + 10])


def change_prefix(bucket_id: bytes) -> bytes:
    """What the names of all notes of a bucket's changes begin with."""
    return CHANGE + bucket_id.hex().encode() + b"/"


def sync_name(bucket_id: bytes) -> str:
    """The name of a container's SyncState among the records "sync"."""
    return bucket_id.hex()


async def note_expiry(cluster: ClusterApi, bucket: Bucket, key: bytes, seconds: int, now_us: int) -> None:
    """Tell the expirer of an object that is about to be written.  Raises Unavailable."""
    await _write(cluster, expiry_name(seconds, bucket.id, key), bucket, key, now_us)


async def note_change(cluster: ClusterApi, bucket: Bucket, key: bytes, now_us: int) -> None:
    """Tell the daemon of container sync of a key that is about to change.  Raises Unavailable."""
    await _write(cluster, change_prefix(bucket.id) + _digest(key).encode(), bucket, key, now_us)


async def begin_sync(cluster: ClusterApi, bucket: Bucket, now_us: int) -> None:
    """Have a container compared with its peer from the beginning: before the peer is named.  Raises Unavailable."""
    state = SyncState(RECORD_VERSION, bucket.account, bucket.info.name, now_us)
    await cluster.write(_key(SYNC + sync_name(bucket.id).encode()), record_row(_encode(state)))


async def sync_state(cluster: ClusterApi, bucket_id: bytes) -> SyncState | None:
    """How far a container is; None when it was never sent anywhere."""
    row = (await cluster.read(_key(SYNC + sync_name(bucket_id).encode()))).row
    return None if row is None or not is_live(row) else msgspec.msgpack.decode(row.record, type=SyncState)


async def has_note(cluster: ClusterApi, name: bytes) -> bool:
    """Whether there is a note of this name."""
    row = (await cluster.read(_key(name))).row
    return row is not None and is_live(row)


async def notes(cluster: ClusterApi, prefix: bytes, start: bytes, limit: int) -> tuple[list[Noted], bytes | None]:
    """Some notes in order of name, and where to go on."""
    page = await cluster.scan(SYSTEM_BUCKET, Space.OBJECTS, prefix=prefix, start=start, limit=limit)
    return [Noted(item.name, _decode(item.row.record), item.row.origin) for item in page.rows], page.next_start


async def drop(cluster: ClusterApi, noted: Noted, now_us: int) -> bool:
    """Drop a note that is settled; False when it is too young, or was written anew."""
    if now_us - noted.note.written_us < SETTLED_S * 1e6:
        return False

    def judge(current: Row | None) -> Row | None:
        return tombstone_row() if current is not None and is_live(current) and current.origin == noted.version else None

    try:
        return not is_live((await cluster.conditional(_key(noted.name), judge)).row)
    except (NoSuchKey, ConditionalConflict):
        return False


async def _write(cluster: ClusterApi, name: bytes, bucket: Bucket, key: bytes, now_us: int) -> None:
    note = Note(RECORD_VERSION, bucket.account, bucket.info.name, bucket.id, key, now_us)
    await cluster.write(_key(name), record_row(_encode(note)))


def _key(name: bytes) -> RowKey:
    return RowKey(SYSTEM_BUCKET, Space.OBJECTS, name)


def _digest(key: bytes) -> str:
    return hashlib.sha256(key).hexdigest()[:32]  # keys may be as long as names of rows
