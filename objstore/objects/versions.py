"""Listings of versions.  Buckets are not versioned yet: each key has its null version alone."""

from objstore.core.versions import NULL, check_version_id
from objstore.objects.access import Action
from objstore.objects.api import ListPage, ListQuery, Principal
from objstore.objects.listing import Listings


class Versions(Listings):
    """Listing versions."""

    async def list_versions(self, who: Principal, bucket: str, query: ListQuery, *, after_version: str = "") -> ListPage:
        """All versions, newest first within a key; a page ends between keys, so `after` alone says where to go on."""
        home = await self.open_bucket(who, bucket, Action.LIST_OBJECTS)
        if after_version != NULL:
            check_version_id(after_version)
        return await self.list_heads(home, query)
