"""Tags of objects: a version is written again with other tags, atomically; bytes, ETag and time of modification stay."""

from collections.abc import Mapping

import msgspec

from objstore.core.rows import Row
from objstore.errors import NoSuchKey, NoSuchVersion
from objstore.objects.access import Action
from objstore.objects.alter import Alterations
from objstore.objects.api import ObjectInfo, Principal
from objstore.objects.info import null_of, object_info


class Tags(Alterations):
    """Tagging objects."""

    async def set_tags(self, who: Principal, bucket: str, key: str, tags: Mapping[str, str], *, version_id: str = "") -> ObjectInfo:
        """Replace a version's tags.  Raises NoSuchKey, NoSuchVersion, ConditionalConflict under a storm of writes."""
        action = Action.TAG_OBJECT if tags else Action.DELETE_TAGS
        home = await self.open_bucket(who, bucket, action, key, version_id, row_follows=True, tags=tags)
        wanted = dict(tags)

        def change(row: Row) -> Row:
            self.check_row(who, home, action, key, version_id, row)
            return msgspec.structs.replace(row, tags=wanted)

        try:
            row = await self.alter(home, key, version_id, change)
        except (NoSuchKey, NoSuchVersion):
            self.check_missing(who, home, action, key, version_id)
            raise
        return object_info(key, row, null_of(home.info))
