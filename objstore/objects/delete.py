"""DELETE: a tombstone over the head of a key, if there is anything to bury."""

import asyncio
from collections.abc import Sequence

from objstore.core import names
from objstore.core.conditions import check_write
from objstore.core.rows import Row, RowKey
from objstore.core.versions import CURRENT, NULL, check_version_id, is_replaceable
from objstore.errors import NoSuchKey, ObjstoreError
from objstore.objects.access import Action
from objstore.objects.api import NO_CONDITIONS, Conditions, DeleteOutcome, Principal
from objstore.objects.buckets import Bucket, tombstone_row
from objstore.objects.context import StoreContext, object_key


class Deletes(StoreContext):
    """Deleting objects."""

    async def delete(
        self, who: Principal, bucket: str, key: str, *, version_id: str = "", conditions: Conditions = NO_CONDITIONS
    ) -> DeleteOutcome:  # fmt: skip
        """Idempotent: a missing key is fine, unless If-Match names an ETag."""
        home = await self.open_bucket(who, bucket, Action.DELETE_OBJECT)
        return await self._delete_one(who, home, key, version_id, conditions)

    async def delete_many(self, who: Principal, bucket: str, keys: Sequence[tuple[str, str]]) -> list[DeleteOutcome]:
        """(key, version id) pairs, some at a time; errors come back in the outcomes, which are in the order asked."""
        home = await self.open_bucket(who, bucket, Action.DELETE_OBJECT)
        outcomes: list[DeleteOutcome] = [DeleteOutcome(key=key, version_id=version_id) for key, version_id in keys]
        waiting = iter(range(len(keys)))

        async def worker() -> None:
            for index in waiting:
                key, version_id = keys[index]
                try:
                    outcomes[index] = await self._delete_one(who, home, key, version_id, NO_CONDITIONS)
                except ObjstoreError as failure:
                    outcomes[index] = DeleteOutcome(key=key, version_id=version_id, error=failure)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(self.settings.bulk_concurrency, len(keys))):
                group.create_task(worker())
        return outcomes

    async def _delete_one(self, who: Principal, bucket: Bucket, key: str, version_id: str, conditions: Conditions) -> DeleteOutcome:
        check_version_id(version_id)
        register = object_key(bucket, names.object_name(key))
        outcome = DeleteOutcome(key=key, version_id=version_id)
        if conditions:
            await self._delete_if(who, bucket, register, conditions)
            return outcome
        # Nothing is written where nothing is: that takes no flush and leaves no tombstone to be carried about.
        if version_id in (CURRENT, NULL):
            await self.cluster.bury(register, tombstone_row(who.account), spread=bucket.spread)
        return outcome

    async def _delete_if(self, who: Principal, bucket: Bucket, register: RowKey, conditions: Conditions) -> None:
        draft = tombstone_row(who.account)

        def judge(current: Row | None) -> Row | None:
            check_write(conditions, current)
            return draft if is_replaceable(current) else None

        try:
            await self.cluster.conditional(register, judge, spread=bucket.spread)
        except NoSuchKey:
            if conditions.if_match is not None:
                raise
