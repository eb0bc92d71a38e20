"""Tags of objects: the head is written again with other tags, atomically; bytes, ETag and time of modification stay."""

from collections.abc import Mapping

import msgspec

from objstore.core import names
from objstore.core.rows import BodyKind, Row
from objstore.core.versions import modified_us, pick_head
from objstore.errors import ConditionalConflict, NoSuchVersion
from objstore.objects.access import Action
from objstore.objects.api import ObjectInfo, Principal
from objstore.objects.context import StoreContext, object_key
from objstore.objects.info import object_info

_ATTEMPTS = 5  # rounds against concurrent writers of the same key


class Tags(StoreContext):
    """Tagging objects."""

    async def set_tags(self, who: Principal, bucket: str, key: str, tags: Mapping[str, str], *, version_id: str = "") -> ObjectInfo:
        """Replace an object's tags.  Raises NoSuchKey, NoSuchVersion, ConditionalConflict under a storm of writes."""
        home = await self.open_bucket(who, bucket, Action.TAG_OBJECT)
        register = object_key(home, names.object_name(key))
        for _ in range(_ATTEMPTS):
            held = await self.cluster.read(register, spread=home.spread, inline=True)
            row = pick_head(held.row, key, version_id)
            payload = held.payload if row.body == BodyKind.INLINE else None
            if row.body == BodyKind.INLINE and payload is None:
                chunks = self.cluster.read_body(register, row, spread=home.spread, sources=held.sources)
                try:
                    payload = b"".join([bytes(chunk) async for chunk in chunks])
                except NoSuchVersion:  # overwritten since
                    continue
            tagged = msgspec.structs.replace(row, tags=dict(tags), modified_us=modified_us(row))

            def judge(current: Row | None, row: Row = row, tagged: Row = tagged) -> Row:
                # The payload belongs to the row that was read, so only that very row may be replaced.
                if pick_head(current, key, version_id).origin != row.origin:
                    raise ConditionalConflict("the object was written meanwhile")
                return tagged

            try:
                written = await self.cluster.conditional(register, judge, spread=home.spread, payload=payload)
            except ConditionalConflict:
                continue
            await self.directory.confirm(home)
            return object_info(key, written.row)
        raise ConditionalConflict(f"object {key!r} is being written without pause; try again")
