"""Versioned buckets: their state, and listings of all versions and delete markers."""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from objstore.cluster.api import ScannedRow
from objstore.core import names
from objstore.core.rows import Row, RowKey, Space
from objstore.core.timestamp import Ballot, wall_us_of
from objstore.core.versions import (
    ENABLED,
    NULL,
    SUSPENDED,
    age_key,
    check_version_id,
    is_version,
    modified_us,
    newest_before,
    newest_first,
    next_older,
    row_version,
    version_bytes,
    version_key,
)
from objstore.errors import InvalidArgument, InvalidBucketState
from objstore.objects.access import Action
from objstore.objects.api import BucketInfo, ListPage, ListQuery, ObjectInfo, Principal
from objstore.objects.buckets import Bucket, BucketRecord
from objstore.objects.context import object_key
from objstore.objects.info import object_info
from objstore.objects.listing import Listings, common_prefix, start_after
from objstore.objects.lock import PART as LOCK_PART

SCANNED_AGAIN = 4  # times, where heads move while they are listed; then what was seen is shown


class Versions(Listings):
    """Versioning of buckets."""

    async def set_versioning(self, who: Principal, bucket: str, status: str) -> BucketInfo:
        """ "Enabled" or "Suspended".  When it returns, every proxy writes accordingly: none still goes by what it knew before."""
        if status not in (ENABLED, SUSPENDED):
            raise InvalidArgument(f"{status!r} is no state of versioning")
        home = await self.open_bucket(who, bucket, Action.WRITE_VERSIONING)

        def edit(record: BucketRecord) -> BucketRecord:
            if status == SUSPENDED and LOCK_PART in record.config:
                raise InvalidBucketState(
                    "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
                )
            return msgspec.structs.replace(record, versioning=status)

        info = await self.directory.change(home, edit)
        if home.info.versioning != status:
            await self.directory.wait_out_caches()
        return info

    async def list_versions(self, who: Principal, bucket: str, query: ListQuery, *, after_version: str = "") -> ListPage:
        """All versions, newest first within a key.

        Without `after_version` the page begins behind all versions of the key `after`.  Raises InvalidArgument.
        """
        home = await self.open_bucket(who, bucket, Action.LIST_VERSIONS)
        if after_version != NULL:
            check_version_id(after_version)
        if query.limit <= 0:
            return ListPage(objects=[], prefixes=[], truncated=False)
        return await _Listing(self, home, query, after_version).page()


class _Place(NamedTuple):
    """Where to go on: with a name, or inside it with versions from `version` on, which are all of an age below `below`."""

    name: bytes
    version: bytes = b""
    below: tuple[int, str] = (0, "")


class _Chunk(NamedTuple):
    """What two scans showed: the head and the others of each name, and where they ended."""

    heads: dict[bytes, Row]
    others: dict[bytes, list[Row]]
    end: _Place | None


class _Since:
    """Which heads are others when the versions are scanned than when the heads were."""

    def __init__(self, heads: Sequence[ScannedRow]) -> None:
        self._shown = {item.name: item for item in heads}
        self._others = False

    def is_another(self, head: ScannedRow) -> bool:
        """Whether to show it too."""
        shown = self._shown.get(head.name)
        if shown is None or shown.accepted == head.accepted or shown.row.version == head.row.version:
            return False
        self._others = True
        return True

    def moved(self, versions: Sequence[ScannedRow]) -> bool:
        """Whether one of them has lost its place: another is the head, or it lies among the versions, and a newer one as well."""
        found: dict[bytes, set[bytes]] = {}
        for item in versions:
            found.setdefault(item.name, set()).add(item.version)
        for name, those in found.items():
            head = self._shown.get(name)
            version = version_bytes(head.row.version) if head is not None else b""
            if version and version in those and max(those) > version:
                return True
        return self._others


class _Listing:
    """One page being filled.

    Nodes show the versions of a name from the newest on, but the null version before them all, since its age is not in its key.  So
    wherever a listing begins or ends inside a name, the null version is put in its place here.
    """

    def __init__(self, store: Versions, bucket: Bucket, query: ListQuery, after_version: str) -> None:
        self._cluster = store.cluster
        self._bucket = bucket
        self._prefix = names.listing_bytes(query.prefix)
        self._delimiter = names.listing_bytes(query.delimiter)
        self._after = names.listing_bytes(query.after)
        self._after_version = after_version if query.after else ""
        self._room = query.limit
        self._objects: list[ObjectInfo] = []
        self._prefixes: list[str] = []
        self._last = ("", "")  # key or common prefix, and version id, of the last entry
        self._head: tuple[bytes, str] | None = None  # of which name the head, of which version, was dealt with

    async def page(self) -> ListPage:
        """Fill it."""
        place = await self._begin()
        while place is not None:
            chunk = await self._scan(place)
            for name in sorted({*chunk.heads, *chunk.others}):
                versions = await self._versions_of(name, chunk, place)
                if versions and self._delimiter and (common := common_prefix(name, self._prefix, self._delimiter)):
                    if self._prefixes and self._prefixes[-1].encode() == common:
                        continue
                    if self._room == 0:
                        return self._cut()
                    self._room -= 1
                    self._prefixes.append(common.decode())
                    self._last = (common.decode(), "")
                elif not self._take(name, versions):
                    return self._cut()
            place = chunk.end
            if place is not None and self._delimiter and self._prefixes and place.name.startswith(self._prefixes[-1].encode()):
                beyond = names.after_prefix(self._prefixes[-1].encode())
                place = _Place(beyond) if beyond else None
        return ListPage(objects=self._objects, prefixes=self._prefixes, truncated=False)

    async def _begin(self) -> _Place | None:
        """Behind the marker: by its age, so that it may have been removed since."""
        if not self._after_version:
            start = start_after(self._after, self._prefix, self._delimiter)
            return _Place(start)
        version = row_version(self._after_version)
        head = (await self._cluster.read(object_key(self._bucket, self._after), spread=self._bucket.spread)).row
        if head is not None and is_version(head) and head.version == version:
            # All others come behind it, also one that is newer: two writers may have ended in another order than they began.
            self._head = (self._after, version)
            return _Place(self._after)
        if version:
            older, below = next_older(version_bytes(version)), _age_of(version_bytes(version))
        else:
            null = await self._read(self._after, "")
            if null is None:
                # It cannot be told how old the null version was; who removes what is listed wants all that is left.
                return _Place(self._after)
            older, below = newest_before(modified_us(null)), age_key(null)
        return _Place(self._after, older, below) if older else _Place(self._after + b"\0")

    def _cut(self) -> ListPage:
        key, version = self._last
        return ListPage(objects=self._objects, prefixes=self._prefixes, truncated=True, next_after=key, next_version=version)

    def _take(self, name: bytes, versions: Sequence[tuple[Row, bool]]) -> bool:
        key = name.decode()
        for row, latest in versions:
            if self._room == 0:
                return False
            self._room -= 1
            self._objects.append(object_info(key, row, NULL, latest=latest))
            self._last = (key, row.version or NULL)
        return True

    async def _scan(self, place: _Place) -> _Chunk:
        """What there is from a place on.

        Heads are scanned first: a version that ceases to be the head meanwhile is then still among the noncurrent ones.  Where another
        one is the head by then, both are scanned again.  One that lost its place to a newer one would come a second time where a page
        ends between the two; and one that became the head, as the one above it was removed, may not lie among the noncurrent ones.
        """
        bucket, limit = self._bucket, self._room + 1
        for _ in range(SCANNED_AGAIN):
            heads = await self._cluster.scan(bucket.id, Space.OBJECTS, prefix=self._prefix, start=place.name, limit=limit, markers=True)
            since = _Since(heads.rows)
            others = await self._cluster.scan(
                bucket.id, Space.VERSIONS, prefix=self._prefix, start=place.name, limit=limit, versions=True, start_version=place.version,
                heads=since.is_another,
            )  # fmt: skip
            if not since.moved(others.rows):
                break
        end: _Place | None = None
        if others.next_start is not None:
            end = _Place(others.next_start, others.next_version, _age_of(others.next_version))
        if heads.next_start is not None and (end is None or heads.next_start <= end.name):
            end = _Place(heads.next_start)
        found: dict[bytes, list[Row]] = {}
        for item in others.rows:
            if end is None or item.name < end.name or (end.version and item.name == end.name):
                found.setdefault(item.name, []).append(item.row)
        shown = {
            item.name: item.row for item in heads.rows if end is None or item.name < end.name or (end.version and item.name == end.name)
        }
        return _Chunk(shown, found, end)

    async def _versions_of(self, name: bytes, chunk: _Chunk, place: _Place) -> list[tuple[Row, bool]]:
        """The versions of a key in a chunk, the current one first, which is shown once although it may also lie among the others."""
        head, rows = chunk.heads.get(name), list(chunk.others.get(name, ()))
        begins_inside = name == place.name and bool(place.version)
        first = head is not None and (self._head is None or self._head[0] != name)
        if begins_inside:
            first = await self._is_head_left(name, head, place)
            null = await self._read(name, "")
            rows += [row for row in (null, head) if row is not None and age_key(row) < place.below]
        if chunk.end is not None and chunk.end.version and name == chunk.end.name:
            rows = [row for row in rows if age_key(row) > chunk.end.below or version_bytes(row.version) > chunk.end.version]
        if head is not None and (first or self._head is None or self._head[0] != name):
            self._head = (name, head.version)
        current = self._head[1] if self._head is not None and self._head[0] == name else None
        others = newest_first({row.version: row for row in rows if row.version != current}.values())
        return [*([(head, True)] if head is not None and first else []), *((row, False) for row in others)]

    async def _is_head_left(self, name: bytes, head: Row | None, place: _Place) -> bool:
        """Of a key that a page begins inside of, whether its head comes yet: what was before the marker is gone since.

        The head is nearly always the newest, but two writers may have ended in another order than they began: where the marker
        is still there, the head was shown before it.
        """
        if head is None or (self._head is not None and self._head[0] == name) or age_key(head) >= place.below:
            return False
        marker = row_version(self._after_version)
        return head.version != marker and await self._read(name, marker) is None

    async def _read(self, name: bytes, version: str) -> Row | None:
        key: RowKey = version_key(object_key(self._bucket, name), version)
        row = (await self._cluster.read(key, spread=self._bucket.spread)).row
        return row if is_version(row) else None


def _age_of(version: bytes) -> tuple[int, str]:
    """As `age_key` of a row with this version."""
    return (wall_us_of(Ballot(version)), version.hex()) if version else (0, "")
