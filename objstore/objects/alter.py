"""Changing what is said about a version (tags, grants, locks) while its bytes, ETag and time of modification stay.

The head of the key is written again, conditionally: changed itself, or with the changed version among its effects (ADR 6).
"""

from collections.abc import Callable

from objstore.cluster.api import Versions
from objstore.core import names
from objstore.core.rows import BodyKind, Kind, Row, RowKey
from objstore.core.versions import again, pick_head, row_version, with_version
from objstore.errors import ConditionalConflict, NoSuchVersion
from objstore.objects.buckets import Bucket
from objstore.objects.context import StoreContext, object_key

ATTEMPTS = 12  # rounds against concurrent writers of the same key
_PAUSE_S = 0.002  # before the second of them at most; doubled with each
_PAUSE_MOST_S = 0.25

Change = Callable[[Row], Row]
"""The row of a version with other metadata; pure, may raise any Refused."""


class Alterations(StoreContext):
    """Writing metadata of versions that exist."""

    async def alter(self, bucket: Bucket, key: str, version_id: str, change: Change) -> Row:
        """Change a version's metadata atomically and return its row.

        Raises NoSuchKey, NoSuchVersion, VersionIsMarker, what `change` raises, ConditionalConflict under a storm of writes.
        """
        register = object_key(bucket, names.object_name(key))
        if bucket.info.versioning and version_id:
            return await self._alter_version(bucket, register, key, version_id, change)
        for attempt in range(ATTEMPTS):
            head, payload = await self.head_with_payload(bucket, register)
            row = pick_head(head, key, version_id)

            def judge(current: Row | None, row: Row = row) -> Row:
                # The payload belongs to the row that was read, so only that very row may be replaced.
                if pick_head(current, key, version_id).origin != row.origin:
                    raise ConditionalConflict("the object was written meanwhile")
                return again(change(row))

            try:
                written = await self.cluster.conditional(register, judge, spread=bucket.spread, payload=payload)
            except ConditionalConflict:
                await self.pause(attempt)
                continue
            await self.directory.confirm(bucket)
            return written.row
        raise ConditionalConflict(f"object {key!r} is being written without pause; try again")

    async def _alter_version(self, bucket: Bucket, register: RowKey, key: str, version_id: str, change: Change) -> Row:
        version = row_version(version_id)
        for attempt in range(ATTEMPTS):
            head, payload = await self.head_with_payload(bucket, register)
            altered: Row | None = None

            def judge(current: Row | None, versions: Versions, head: Row | None = head) -> Row:
                nonlocal altered
                if current is None or head is None or current.origin != head.origin:
                    raise ConditionalConflict("the object was written meanwhile")
                altered = change(pick_head(versions.get(version), key, version_id))
                return with_version(current, altered)

            if head is None:
                raise NoSuchVersion(f"there is no version {version_id!r} of object {key!r}", key=key, version_id=version_id)
            try:
                await self.cluster.conditional_versions(register, judge, spread=bucket.spread, payload=payload)
            except ConditionalConflict:
                await self.pause(attempt)
                continue
            await self.directory.confirm(bucket)
            assert altered is not None
            return altered
        raise ConditionalConflict(f"object {key!r} is being written without pause; try again")

    async def pause(self, attempt: int) -> None:
        """Before another attempt (1 is the first): those who got into each other's way must not go on in step."""
        await self.clock.sleep(self.rng.uniform(0.0, min(_PAUSE_MOST_S, _PAUSE_S * 2.0**attempt)))

    async def head_with_payload(self, bucket: Bucket, register: RowKey) -> tuple[Row | None, bytes | None]:
        """The head of a key and its inline payload, which goes along when the head is written again."""
        for _ in range(ATTEMPTS):
            held = await self.cluster.read(register, spread=bucket.spread, inline=True)
            row = held.row
            if row is None or row.body != BodyKind.INLINE or row.kind != Kind.OBJECT:
                return row, None
            if held.payload is not None:
                return row, held.payload
            chunks = self.cluster.read_body(register, row, spread=bucket.spread, sources=held.sources)
            try:
                return row, b"".join([bytes(chunk) async for chunk in chunks])
            except NoSuchVersion:  # overwritten since
                continue
        raise ConditionalConflict("the object is being written without pause; try again")
