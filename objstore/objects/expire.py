"""What lifecycle rules do to a bucket: everything by a conditional write against the very row that a rule was judged by.

So a newer write is never taken for the older one, and what is locked by the time of the write stays.
"""

import logging
from collections.abc import AsyncIterator, Callable, Iterable
from typing import NamedTuple

from objstore.cluster.api import Versions
from objstore.core import names
from objstore.core.locks import is_locked
from objstore.core.rows import Kind, Row, Space
from objstore.core.timestamp import Ballot, wall_us_of
from objstore.core.versions import CURRENT, ENABLED, NULL, VERSION_KINDS, delete_marker, modified_us, newest_first, without_version
from objstore.errors import ConditionalConflict, Damaged, NoSuchBucket, NoSuchKey, Refused, Unavailable
from objstore.objects.api import Principal
from objstore.objects.buckets import Bucket, tombstone_row
from objstore.objects.context import StoreContext, object_key
from objstore.objects.parts import drop_attempts, upload_record
from objstore.objects.store import ObjectStore
from objstore.objects.transition import Mover

log = logging.getLogger(__name__)

PAGE_KEYS = 500
PAGE_VERSIONS = 5000  # a page ends when so many were looked at, be it inside of a key


class KeyVersions(NamedTuple):
    """A key with all that it has: the current version or delete marker first, then the others, newest first.

    A page that begins inside of a key has `before` versions of it behind, and shows the last of these again as the first.
    """

    name: bytes
    rows: list[Row]
    before: int = 0


class Inside(NamedTuple):
    """Where a page ended inside of a key: `version` is the next one, `last` and `before` as KeyVersions has them."""

    version: bytes
    last: Row
    before: int
    head: Row
    null: Row | None  # of which the turn has not come yet


class KeyPage(NamedTuple):
    """Some keys in order; `next_start` is where to go on, None at the end, of that key `inside`; `rows` were looked at."""

    keys: list[KeyVersions]
    next_start: bytes | None
    rows: int
    inside: Inside | None = None


class PendingUpload(NamedTuple):
    """A multipart upload in progress."""

    name: bytes
    upload_id: str
    initiated_us: int


def _any(_row: Row) -> bool:
    return True


class Expirer:
    """Looks through buckets and acts, for a daemon; asks nobody for permission."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._mover = Mover(store)
        self._cluster = store.cluster
        self._clock = store.clock

    async def find(self, account: str, name: str, bucket_id: bytes) -> Bucket | None:
        """The bucket as it is now, None when it is gone or another has its name."""
        try:
            bucket = await self._store.directory.find(Principal(account=account), name)
        except NoSuchBucket:
            return None
        return bucket if bucket.id == bucket_id else None

    async def keys(self, bucket: Bucket, start: bytes, prefix: bytes, inside: Inside | None = None) -> KeyPage:
        """The next keys from `start` on, or the rest of that key where a page ended `inside` of it."""
        # Heads first: a version that is demoted meanwhile is then seen twice, not missed.
        heads = await self._cluster.scan(bucket.id, Space.OBJECTS, prefix=prefix, start=start, limit=PAGE_KEYS, markers=True)
        others: dict[bytes, list[Row]] = {}
        looked = len(heads.rows)
        at: bytes | None = start if bucket.info.versioning else None
        version = inside.version if inside is not None else b""
        end = heads.next_start
        while at is not None and (end is None or at < end) and looked < PAGE_VERSIONS:
            page = await self._cluster.scan(
                bucket.id, Space.VERSIONS, prefix=prefix, start=at, limit=PAGE_KEYS, versions=True, start_version=version
            )  # fmt: skip
            looked += len(page.rows)
            for item in page.rows:
                if end is None or item.name < end:
                    others.setdefault(item.name, []).append(item.row)
            at, version = page.next_start, page.next_version
        if at is None or (end is not None and at >= end):
            at, version = end, b""
        keys = []
        left: Inside | None = None
        for item in heads.rows:
            if at is not None and item.name >= at and not (version and item.name == at):
                break
            begun = inside if inside is not None and item.name == start else None
            key, ended = _in_order(item.name, item.row, others.get(item.name, ()), begun, version if item.name == at else b"")
            keys.append(key)
            left = ended if item.name == at else left
        if version and left is None:
            at, version = (at or b"") + b"\0", b""  # a key without a head: nothing expires there
        return KeyPage(keys, at, looked, left)

    async def uploads(self, bucket: Bucket, prefix: bytes) -> AsyncIterator[PendingUpload]:
        """All uploads in progress."""
        start: bytes | None = b""
        while start is not None:
            page = await self._cluster.scan(bucket.id, Space.UPLOADS, prefix=prefix, start=start, limit=PAGE_KEYS)
            for item in page.rows:
                if upload_record(item.row) is not None:
                    name, upload_id = names.split_upload_name(item.name)
                    yield PendingUpload(name, upload_id, names.upload_time_us(upload_id))
            start = page.next_start

    async def expire(self, bucket: Bucket, name: bytes, seen: Row, *, still: Callable[[Row], bool] = _any) -> bool:
        """Delete the current version as a client would who names none; False when it is another by now, or locked, or not due `still`."""
        key, versioning = object_key(bucket, name), bucket.info.versioning
        draft = delete_marker(bucket.account, versioning) if versioning else tombstone_row(bucket.account)
        done = False

        def judge(current: Row | None) -> Row | None:
            nonlocal done
            done = False
            if current is None or current.kind != Kind.OBJECT or current.origin != seen.origin or not still(current):
                return None
            # Enabled: the version stays, behind the marker.  Else it goes, so a lock stands in the way.
            if (versioning != ENABLED and not (versioning and current.version)) and is_locked(current, self._clock.wall_us()):
                return None
            done = True
            return draft

        await self._store.announce(bucket, key)
        try:
            await self._cluster.conditional(key, judge, spread=bucket.spread)
        except NoSuchKey:
            return False
        return done

    async def remove(
        self, bucket: Bucket, name: bytes, seen: Row, *, lone: bool = False, still: Callable[[Row], bool] = _any
    ) -> bool:  # fmt: skip
        """Remove a noncurrent version for good, or the current version or delete marker that is all that is left of a key (`lone`).

        False when it is another by now, became the current version, has others beside it, or is locked, or not due `still`.
        """
        key = object_key(bucket, name)
        done = False

        def judge(current: Row | None, versions: Versions) -> Row | None:
            nonlocal done
            done = False
            found = versions.get(seen.version)
            if found is None or found.origin != seen.origin or is_locked(found, self._clock.wall_us()) or not still(found):
                return None
            is_current = current is not None and current.kind in VERSION_KINDS and current.version == seen.version
            if is_current != lone or (lone and (found.kind != seen.kind or versions.newest() is not None)):
                return None
            # A head that stays is written again without its bytes: replicas hold them, or get them from those that do.
            draft = without_version(current, versions, seen.version, bucket.account)
            done = True
            return draft

        await self._store.announce(bucket, key)
        try:
            await self._cluster.conditional_versions(key, judge, spread=bucket.spread)
        except NoSuchKey:
            return False
        return done

    async def transition(self, bucket: Bucket, name: bytes, seen: Row, storage_class: str, *, current: bool) -> bool:
        """Give a version another storage class; its id, ETag and time of modification stay.  False when it was changed or is gone by now.

        Also when its bodies cannot be moved now: the ring of a policy that is away must not keep other rules from being obeyed.
        Raises ConditionalConflict under a storm of writes.
        """
        try:
            await self._mover.move(bucket, name.decode(), CURRENT if current else seen.version or NULL, seen, storage_class)
        except ConditionalConflict:
            raise
        except Refused:
            return False
        except (Unavailable, Damaged) as failure:
            log.warning("an object stays in its storage class for now, %s was due: %s", storage_class, failure)
            return False
        return True

    async def abort(self, bucket: Bucket, upload: PendingUpload) -> bool:
        """Give up an upload and drop its parts; False when it ended or is being completed.

        A completion that began and did not end within the grace was cut short.  Its manifest may be there all the same, so
        then the parts are left to reclaim.py, which looks.
        """
        store: StoreContext = self._store
        row, record = await self._store.find_upload(bucket, upload.name, upload.upload_id)
        if record.completing and self._clock.wall_us() - wall_us_of(row.origin) < store.settings.part_grace_s * 1e6:
            return False
        if not await self._store.close_upload(bucket, upload.name, upload.upload_id, record):
            return False
        if not record.completing:
            await drop_attempts(store.cluster, bucket.id, upload.upload_id, bucket.spread)
        return True


def _in_order(name: bytes, head: Row, found: Iterable[Row], begun: Inside | None, version: bytes) -> tuple[KeyVersions, Inside]:
    """The versions of a key on a page in order, and what the next page has to know when this one ends before `version` of it.

    Nodes show the null version of a key before its others; here it comes when it is its turn.
    """
    rows = [*found, *([begun.null] if begun is not None and begun.null is not None else [])]
    gone = {head.version, begun.head.version} if begun is not None else {head.version}
    rest = newest_first([row for row in rows if row.version not in gone])
    waiting = next((row for row in rest if version and not row.version and modified_us(row) <= wall_us_of(Ballot(version))), None)
    shown = [row for row in rest if row is not waiting]
    if begun is None:
        key = KeyVersions(name, [head, *shown])
        return key, Inside(version, key.rows[-1], len(key.rows), head, waiting)
    key = KeyVersions(name, [begun.last, *shown], begun.before)
    return key, Inside(version, key.rows[-1], begun.before + len(shown), begun.head, waiting)
