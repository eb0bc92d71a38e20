"""Listings of objects: pages of keys and common prefixes in byte order, as consistent as a GET of each key."""

from collections.abc import Sequence

from objstore.cluster.api import ScannedRow
from objstore.core import names
from objstore.core.rows import Space
from objstore.objects.access import Action
from objstore.objects.api import HeadPage, Heads, ListQuery, Principal
from objstore.objects.buckets import Bucket
from objstore.objects.context import StoreContext


class Listings(StoreContext):
    """Listing objects."""

    async def list(self, who: Principal, bucket: str, query: ListQuery) -> HeadPage:
        """Objects in byte order of key."""
        home = await self.open_bucket(who, bucket, Action.LIST_OBJECTS)
        return await self.list_heads(home, query)

    async def list_heads(self, bucket: Bucket, query: ListQuery) -> HeadPage:
        """One page.  Asks the cluster for one item more than the page has, to know whether it is the last."""
        if query.limit <= 0:
            return HeadPage(objects=Heads([]), prefixes=[], truncated=False)
        prefix = names.listing_bytes(query.prefix)
        delimiter = names.listing_bytes(query.delimiter)
        filling = _Filling(prefix, delimiter, query.limit)
        start: bytes | None = start_after(names.listing_bytes(query.after), prefix, delimiter)
        while start is not None:
            page = await self.cluster.scan(
                bucket.id, Space.OBJECTS, prefix=prefix, start=start, limit=filling.room + 1, delimiter=delimiter
            )  # fmt: skip
            if not (filling.take_grouped(page.rows) if delimiter else filling.take(page.rows)):
                return HeadPage(
                    objects=Heads(filling.objects), prefixes=filling.prefixes, truncated=True, next_after=filling.last.decode(),
                    folders=Heads(filling.folders),
                )  # fmt: skip
            start = page.next_start
            if start is not None and filling.skip_to > start:
                start = filling.skip_to
        return HeadPage(objects=Heads(filling.objects), prefixes=filling.prefixes, truncated=False, folders=Heads(filling.folders))


class _Filling:
    """A page being filled."""

    def __init__(self, prefix: bytes, delimiter: bytes, room: int) -> None:
        self.room = room
        self.objects: list[ScannedRow] = []
        self.prefixes: list[str] = []
        self.folders: list[ScannedRow] = []  # whose keys are common prefixes
        self.last = b""  # the last key or common prefix on the page
        self.skip_to = b""  # everything below is represented by a common prefix on the page
        self._prefix = prefix
        self._delimiter = delimiter

    def take(self, rows: Sequence[ScannedRow]) -> bool:
        """Take rows of a listing without a delimiter; False when there are more than fit."""
        fitting = rows[: self.room]
        self.objects += fitting
        self.room -= len(fitting)
        if fitting:
            self.last = fitting[-1].name
        return len(fitting) == len(rows)

    def take_grouped(self, rows: Sequence[ScannedRow]) -> bool:
        """Take rows and group them by the delimiter; False when there are more than fit."""
        delimiter, prefix_length, delimiter_length = self._delimiter, len(self._prefix), len(self._delimiter)
        objects, skip_to, last, room = self.objects, self.skip_to, self.last, self.room
        fits = True
        for item in rows:
            name = item.name
            if name < skip_to:
                continue
            if room == 0:
                fits = False
                break
            room -= 1
            found = name.find(delimiter, prefix_length)
            if found < 0:
                objects.append(item)
                last = name
            else:
                last = name[: found + delimiter_length]
                if len(last) == len(name):
                    self.folders.append(item)
                self.prefixes.append(last.decode())
                skip_to = names.after_prefix(last)
        self.skip_to, self.last, self.room = skip_to, last, room
        return fits


def common_prefix(name: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """The name up to and including the first delimiter behind the prefix; empty when there is none."""
    found = name.find(delimiter, len(prefix))
    return name[: found + len(delimiter)] if found >= 0 else b""


def start_after(after: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """Where a scan begins that leaves out everything up to `after`, and all of it when `after` is a common prefix."""
    if not after:
        return b""
    if delimiter and after.startswith(prefix) and common_prefix(after, prefix, delimiter) == after:
        return names.after_prefix(after)
    return after + b"\0"
