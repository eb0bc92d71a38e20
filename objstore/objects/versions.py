"""Versioned buckets: their state, and listings of all versions and delete markers."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import msgspec

from objstore.cluster.api import ScannedRow
from objstore.core import names
from objstore.core.rows import Row, Space
from objstore.core.versions import ENABLED, NULL, SUSPENDED, VERSION_KINDS, age_key, check_version_id, newest_first, row_version
from objstore.errors import InvalidArgument, InvalidBucketState
from objstore.objects.access import Action
from objstore.objects.api import BucketInfo, ListPage, ListQuery, ObjectInfo, Principal
from objstore.objects.buckets import Bucket, BucketRecord
from objstore.objects.info import object_info
from objstore.objects.listing import Listings, common_prefix, start_after
from objstore.objects.lock import PART as LOCK_PART

_name = attrgetter("name")


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


class _Listing:
    """One page being filled."""

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

    async def page(self) -> ListPage:
        """Fill it."""
        start: bytes | None = self._after if self._after_version else start_after(self._after, self._prefix, self._delimiter)
        while start is not None:
            found, go_on = await self._both(start)
            for name, versions in found:
                if self._delimiter and (common := common_prefix(name, self._prefix, self._delimiter)):
                    if self._prefixes and self._prefixes[-1].encode() == common:
                        continue
                    if self._room == 0:
                        return self._cut()
                    self._room -= 1
                    self._prefixes.append(common.decode())
                    self._last = (common.decode(), "")
                elif not self._take(name, versions):
                    return self._cut()
            start = go_on
            if start is not None and self._delimiter and self._prefixes and start.startswith(self._prefixes[-1].encode()):
                start = names.after_prefix(self._prefixes[-1].encode()) or None
        return ListPage(objects=self._objects, prefixes=self._prefixes, truncated=False)

    def _cut(self) -> ListPage:
        key, version = self._last
        return ListPage(objects=self._objects, prefixes=self._prefixes, truncated=True, next_after=key, next_version=version)

    def _take(self, name: bytes, versions: Sequence[tuple[Row, bool]]) -> bool:
        key = name.decode()
        for row, latest in self._resumed(name, versions):
            if self._room == 0:
                return False
            self._room -= 1
            self._objects.append(object_info(key, row, NULL, latest=latest))
            self._last = (key, row.version or NULL)
        return True

    def _resumed(self, name: bytes, versions: Sequence[tuple[Row, bool]]) -> Iterator[tuple[Row, bool]]:
        """The versions behind the marker: by place where it is still there, by age where it was removed since."""
        if name != self._after or not self._after_version:
            yield from versions
            return
        version = row_version(self._after_version)
        place = next((index for index, (row, _) in enumerate(versions) if row.version == version), None)
        if place is not None:
            yield from versions[place + 1 :]
        elif version:
            marker = msgspec.structs.replace(versions[0][0], version=version)
            yield from ((row, latest) for row, latest in versions if age_key(row) < age_key(marker))
        else:
            yield from versions  # it cannot be told how old the null version was; who removes what is listed wants all that is left

    async def _both(self, start: bytes) -> tuple[list[tuple[bytes, list[tuple[Row, bool]]]], bytes | None]:
        """Keys from `start` on with their versions, and where to go on.

        Heads are scanned first: a version that ceases to be the head meanwhile is then still among the noncurrent ones, and one
        that becomes it stays there too.  One more than there is room for is asked for, to know whether the page is the last.
        """
        bucket, limit = self._bucket, self._room + 1
        heads = await self._cluster.scan(bucket.id, Space.OBJECTS, prefix=self._prefix, start=start, limit=limit, markers=True)
        others = await self._cluster.scan(bucket.id, Space.VERSIONS, prefix=self._prefix, start=start, limit=limit, versions=True)
        ends = [end for end in (heads.next_start, others.next_start) if end is not None]
        end = min(ends) if ends else None
        rows = sorted([*_below(heads.rows, end), *_below(others.rows, end)], key=_name)  # stable: a head comes before the others
        current = {item.name for item in heads.rows}
        return [(name, _versions_of(list(items), has_head=name in current)) for name, items in groupby(rows, key=_name)], end


def _below(rows: Sequence[ScannedRow], end: bytes | None) -> Sequence[ScannedRow]:
    return rows if end is None else [item for item in rows if item.name < end]


def _versions_of(items: Sequence[ScannedRow], *, has_head: bool) -> list[tuple[Row, bool]]:
    """The versions of a key, the current one first, which is shown once although it may also lie among the others."""
    if not has_head:
        return [(row, False) for row in newest_first([item.row for item in items])]
    head = items[0].row
    others = newest_first([item.row for item in items[1:] if item.row.version != head.version and item.row.kind in VERSION_KINDS])
    return [(head, True), *((row, False) for row in others)]
