"""Moving the bodies of a version to the ring of another storage class, while all that clients see of it stays (ADR 11).

First each body is copied into the other ring, verified on the way, as a row that nothing names; then the head of the key is written
again, conditionally on the very version that was copied, with a manifest that names the copies.  Version id, ETag, time of
modification, parts and keys of encryption stay.  What the old manifest named is reclaimed as parts are, once readers that are at it
have come to their end.  An object of many parts is moved some parts at a time, so that no copy waits for its name for long; a
process that dies in between leaves an object in two rings, which the next round takes up, and its class changes with the last part.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from objstore.cluster.api import Staging
from objstore.core import checksums, names
from objstore.core.etag import is_md5_etag
from objstore.core.rows import BodyKind, PartRef, Row, RowKey, stored_size
from objstore.errors import DamagedBody, PreconditionFailed
from objstore.objects.bodies import NAMED_WITHIN_S, body_key, drop_unnamed, lies_in, part_ref, split_encryption, stage_body
from objstore.objects.buckets import Bucket
from objstore.objects.context import object_key
from objstore.objects.intake import Digests
from objstore.objects.linking import Place, part_draft
from objstore.objects.store import ObjectStore

_Chunks = AsyncIterator[bytes | memoryview]
MOVE_FOR_S = NAMED_WITHIN_S / 3  # copying, before what was copied is named


class _Moved(NamedTuple):
    """What a version's row says of its bodies after some were copied; `done`: none is left.

    `since`: when the first of the copies became a row (monotonic), or will have at the earliest.
    """

    parts: tuple[PartRef, ...]
    encryption: bytes
    made: list[RowKey]
    since: float
    done: bool


class _Copy(NamedTuple):
    """A body whose bytes are in the other ring, durable, and that has no row yet."""

    key: RowKey
    draft: Row
    staging: Staging


class Mover:
    """Gives versions other classes; for a daemon, asks nobody for permission."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    async def move(self, bucket: Bucket, key: str, version_id: str, seen: Row, storage_class: str) -> None:
        """Give a version another class, and its bodies the ring of that class.

        Raises PreconditionFailed, NoSuchKey, NoSuchVersion when it is not the version `seen` any more; DamagedBody; Unavailable, then it
        is as it was or part of it was moved; ConditionalConflict under a storm of writes.
        """
        store, row = self._store, seen
        policy = store.settings.policy_of(storage_class)
        while not lies_in(row, policy, store.settings.inline_limit_bytes):
            moved = await self._copy_some(bucket, key, version_id, row, policy)
            await self._swap(bucket, key, version_id, row, moved, storage_class)
            if moved.done:
                return
            row = await store.find_version(bucket, key, version_id)
            if row.parts != moved.parts:
                raise PreconditionFailed("the version was changed meanwhile", condition="lifecycle")
        await store.alter(bucket, key, version_id, lambda found: _relabelled(found, row, storage_class))

    async def _swap(self, bucket: Bucket, key: str, version_id: str, seen: Row, moved: _Moved, storage_class: str) -> None:
        def change(found: Row) -> Row:
            if self._store.clock.monotonic() - moved.since > NAMED_WITHIN_S:
                raise PreconditionFailed("naming the copies took too long; the version is as it was", condition="lifecycle")
            labelled = _relabelled(found, seen, storage_class if moved.done else found.storage_class)
            return msgspec.structs.replace(
                labelled, body=BodyKind.MANIFEST, parts=moved.parts, encryption=moved.encryption, digest=b"", blob=b"", stored=-1
            )

        try:
            await self._store.alter(bucket, key, version_id, change)
        except BaseException as failure:
            await drop_unnamed(self._store, bucket, moved.made, failure)
            raise

    async def _copy_some(self, bucket: Bucket, key: str, version_id: str, row: Row, policy: str) -> _Moved:
        store, name = self._store, names.object_name(key)
        place = Place(bucket, name, row.owner, names.new_copy_id(store.clock.wall_us(), store.rng.token(8)))
        if row.body == BodyKind.BLOB:
            register = store.version_key(bucket, name, version_id) if version_id else object_key(bucket, name)
            head, seed = split_encryption(row.encryption)
            copy = await self._copy(register, msgspec.structs.replace(row, encryption=seed), place, 1, policy)
            since = store.clock.monotonic()
            body = await self._keep(copy, bucket)
            return _Moved((part_ref(copy.key.name, body),), head, [copy.key], since, done=True)
        parts = list(row.parts)
        written: list[RowKey] = []
        began = since = store.clock.monotonic()
        for index, part in enumerate(parts):
            if part.size <= store.settings.inline_limit_bytes or names.policy_of(part.name) == policy:
                continue
            if store.clock.monotonic() - began > MOVE_FOR_S:
                return _Moved(tuple(parts), row.encryption, written, since, done=False)
            held = await store.read_part(bucket, part)
            if held.row is None or held.row.origin != part.origin:
                raise DamagedBody(f"part {part.number} of the object is gone", part=part.number)
            if held.row.body != BodyKind.BLOB:
                continue  # it lies in a row, as small parts do
            source = RowKey(bucket.id, part.space, part.name)
            deadline = asyncio.timeout(since + MOVE_FOR_S - store.clock.monotonic() if written else None)
            try:
                async with deadline:
                    copy = await self._copy(source, held.row, place, max(part.number, 1), policy)
            except TimeoutError:
                if not deadline.expired():
                    raise
                # It takes long, and rows wait for their names: they get them first, and then it is copied alone.
                return _Moved(tuple(parts), row.encryption, written, since, done=False)
            since = since if written else store.clock.monotonic()
            body = await self._keep(copy, bucket)
            written.append(copy.key)
            parts[index] = msgspec.structs.replace(part, space=copy.key.space, name=copy.key.name, origin=body.origin)
        return _Moved(tuple(parts), row.encryption, written, since, done=True)

    async def _keep(self, copy: _Copy, bucket: Bucket) -> Row:
        return (await self._store.cluster.write(copy.key, copy.draft, spread=bucket.spread, staging=copy.staging)).row

    async def _copy(self, register: RowKey, found: Row, place: Place, number: int, policy: str) -> _Copy:
        """The same body in the ring of a policy, as it lies on disk: what is sealed stays sealed."""
        store, spread = self._store, place.bucket.spread
        key = body_key(store, place.bucket, place.upload_id, number, policy)
        key, staging = await stage_body(store, key, spread, stored_size(found))
        sums = found.checksums if found.checksum_type == checksums.FULL_OBJECT and not found.encryption else {}
        digests = None if found.encryption else Digests(store.threads, store.tasks, tuple(sums))
        try:
            async with _closed(store.cluster.read_body(register, found, spread=spread)) as chunks:
                async for piece in chunks:
                    if digests is not None:
                        await digests.feed(piece)
                    await staging.write(piece)
            if digests is not None:
                _verify(found, sums, *await digests.finish())
            await staging.finish()
        except BaseException:
            await staging.abort()
            if digests is not None:
                await digests.drop()
            raise
        return _Copy(key, msgspec.structs.replace(part_draft(found, place, found.checksums), blob=staging.blob), staging)


def _relabelled(found: Row, seen: Row, storage_class: str) -> Row:
    if found.origin != seen.origin:
        raise PreconditionFailed("the version was changed meanwhile", condition="lifecycle")
    return msgspec.structs.replace(found, storage_class=storage_class)


def _verify(row: Row, promised: dict[str, bytes], md5: bytes, found: dict[str, bytes]) -> None:
    if (is_md5_etag(row.etag) and md5.hex() != row.etag) or found != promised:
        raise DamagedBody("the body is not what its ETag and checksums say; it stays where it is")


@contextlib.asynccontextmanager
async def _closed(chunks: _Chunks) -> AsyncIterator[_Chunks]:
    try:
        yield chunks
    finally:
        close = getattr(chunks, "aclose", None)  # a generator's
        if close is not None:
            await close()
