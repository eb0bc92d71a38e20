"""Listings of objects: pages of keys and common prefixes in byte order, as consistent as a GET of each key."""

from objstore.core import names
from objstore.core.rows import Space
from objstore.objects.access import Action
from objstore.objects.api import ListPage, ListQuery, ObjectInfo, Principal
from objstore.objects.buckets import Bucket
from objstore.objects.context import StoreContext
from objstore.objects.info import object_info


class Listings(StoreContext):
    """Listing objects."""

    async def list(self, who: Principal, bucket: str, query: ListQuery) -> ListPage:
        """Objects in byte order of key."""
        home = await self.open_bucket(who, bucket, Action.LIST_OBJECTS)
        return await self.list_heads(home, query)

    async def list_heads(self, bucket: Bucket, query: ListQuery) -> ListPage:
        """One page.  Asks the cluster for one item more than the page has, to know whether it is the last."""
        if query.limit <= 0:
            return ListPage(objects=[], prefixes=[], truncated=False)
        prefix = names.listing_bytes(query.prefix)
        delimiter = names.listing_bytes(query.delimiter)
        objects: list[ObjectInfo] = []
        prefixes: list[str] = []
        last = b""
        start: bytes | None = start_after(names.listing_bytes(query.after), prefix, delimiter)
        room = query.limit
        while start is not None:
            page = await self.cluster.scan(bucket.id, Space.OBJECTS, prefix=prefix, start=start, limit=room + 1, delimiter=delimiter)
            skip_to = b""
            for item in page.rows:
                name = item.name
                if name < skip_to:
                    continue
                if room == 0:
                    return ListPage(objects=objects, prefixes=prefixes, truncated=True, next_after=last.decode())
                common = common_prefix(name, prefix, delimiter) if delimiter else b""
                if common:
                    prefixes.append(common.decode())
                    skip_to = names.after_prefix(common)
                    last = common
                else:
                    objects.append(object_info(name.decode(), item.row))
                    last = name
                room -= 1
            start = page.next_start
            if start is not None and skip_to > start:
                start = skip_to
        return ListPage(objects=objects, prefixes=prefixes, truncated=False)


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
