"""Bodies that several rows name: a copy costs a row for each body and no bytes (ADR 14).

A part that shares a body lies in the ring slot of the row that it takes the body from, so each device that takes the part has the file
already; it takes the row only if it has, and unlinks a file when the last row that names it is gone.  So nobody counts and nobody asks:
the source may be replaced, deleted or reclaimed at any moment, before, while or after it is copied.  Every such part is its
object's own and is reclaimed as any part is.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from objstore.cluster.api import Held
from objstore.core import checksums, names
from objstore.core.encryption import AES256, AWS_KMS, Wish, settled
from objstore.core.lineage import owners_of, record_of
from objstore.core.multipart import RECORD_VERSION as PART_VERSION
from objstore.core.multipart import PartRecord
from objstore.core.rows import BodyKind, Kind, PartRef, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.errors import DamagedBody, ObjstoreError
from objstore.objects.api import BucketInfo
from objstore.objects.bodies import part_ref, split_encryption
from objstore.objects.buckets import Bucket
from objstore.objects.encryption import description_of, wants_nothing
from objstore.objects.get import Gets
from objstore.objects.parts import drop_rows, encode_record
from objstore.objects.sealing import bucket_encryption
from objstore.objects.sharing import Sharing

LINKS_AT_ONCE = 16
LINKS_AT_MOST = 16  # within a bucket more parts than these are shared as they are, by one row: see sharing.py


class Origin(NamedTuple):
    """What a body is taken from: a row that names it, and where that lies."""

    bucket: Bucket
    register: RowKey
    row: Row
    sources: Sequence[int]


class Place(NamedTuple):
    """What it is for: parts of the object under `name`, named by an upload or a copy."""

    bucket: Bucket
    name: bytes
    account: str
    upload_id: str


class Body(NamedTuple):
    """What a new object's row says of a body that it shares."""

    parts: tuple[PartRef, ...]
    encryption: bytes
    record: bytes


class Linking(Gets, Sharing):
    """Naming bodies of other rows."""

    async def link(self, origin: Origin, place: Place, number: int, sums: dict[str, bytes]) -> tuple[RowKey, Row]:
        """A part that has the blob of another row, and these checksums.  Raises Unavailable, also where the body has just gone."""
        found = origin.row
        assert found.body == BodyKind.BLOB
        anchor = self.cluster.anchor(origin.register, spread=origin.bucket.spread)
        policy = names.policy_of(origin.register.name) if origin.register.space == Space.PARTS else ""
        name = names.part_name(place.upload_id, number, self.rng.token(8), anchor, policy)
        register = RowKey(place.bucket.id, Space.PARTS, name)
        draft = msgspec.structs.replace(part_draft(found, place, sums), blob=found.blob)
        written = await self.cluster.write(register, draft, spread=place.bucket.spread, holders=origin.sources)
        return register, written.row

    async def share_body(self, origin: Origin, place: Place, made: list[RowKey]) -> Body:
        """What the copy of an object is made of.  `made` gets the parts written for it, also when this raises Unavailable or Damaged."""
        row, source = origin.row, origin.register.name
        if (
            row.body == BodyKind.MANIFEST
            and origin.bucket.id == place.bucket.id
            and (len(row.parts) > LINKS_AT_MOST or source == place.name)
        ):
            await self.share_parts(place.bucket, row, source, place.name)
            foreign = {upload_id: owner for upload_id, owner in owners_of(row, source).items() if owner != place.name}
            return Body(row.parts, row.encryption, record_of(owners=foreign))
        if row.body == BodyKind.MANIFEST:
            return Body(tuple(await self._link_all(origin.bucket, row.parts, place, made)), row.encryption, b"")
        head, seed = split_encryption(row.encryption)
        origin = origin._replace(row=msgspec.structs.replace(row, encryption=seed))
        register, part = await self.link(origin, place, 1, row.checksums)
        made.append(register)
        # Without a number: to clients it is an object in one piece.
        return Body((part_ref(register.name, part),), head, b"")

    async def give_back(self, bucket: Bucket, made: list[RowKey]) -> None:
        """Drop parts that no manifest will name, as far as that works now; reclaim.py finds the rest."""
        try:
            await drop_rows(self.cluster, made, bucket.spread)
        except ObjstoreError:
            return

    async def _link_all(self, origin: Bucket, parts: Sequence[PartRef], place: Place, made: list[RowKey]) -> list[PartRef]:
        linked: dict[int, PartRef] = {}
        waiting = iter(enumerate(parts))

        async def worker() -> None:
            for index, part in waiting:
                register, row = await self._link_part(origin, part, place)
                made.append(register)
                linked[index] = msgspec.structs.replace(part, space=Space.PARTS, name=register.name, origin=row.origin)

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(LINKS_AT_ONCE, len(parts))):
                    group.create_task(worker())
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [linked[index] for index in range(len(parts))]

    async def _link_part(self, origin: Bucket, part: PartRef, place: Place) -> tuple[RowKey, Row]:
        held = await self.read_part(origin, part)
        found = held.row
        if found is None or found.origin != part.origin:
            raise DamagedBody(f"part {part.number} of the object is gone", part=part.number)
        source = RowKey(origin.id, part.space, part.name)
        number = max(part.number, 1)
        if found.body == BodyKind.BLOB:
            return await self.link(Origin(origin, source, found, held.sources), place, number, found.checksums)
        return await self._copy_small(origin, source, held, found, place, number)

    async def _copy_small(
        self, origin: Bucket, source: RowKey, held: Held, found: Row, place: Place, number: int
    ) -> tuple[RowKey, Row]:  # fmt: skip
        """A part that lies in a pack: as it is there, sealed or not."""
        payload = held.payload
        if payload is None and found.body == BodyKind.INLINE:
            chunks = self.cluster.read_body(source, found, spread=origin.spread, sources=held.sources)
            payload = b"".join([bytes(chunk) async for chunk in chunks])
        register = RowKey(place.bucket.id, Space.PARTS, names.part_name(place.upload_id, number, self.rng.token(8)))
        draft = msgspec.structs.replace(part_draft(found, place, found.checksums), digest=found.digest)
        return register, await self.commit(place.bucket, register, draft, payload=payload)

    def keeps_seal(self, row: Row, bucket: BucketInfo, wish: Wish) -> bool:
        """Whether the bytes of a row, as they are sealed, are what a wish gets in a bucket: not sealed, or under the very same key."""
        description = description_of(row)
        if wants_nothing(wish, bucket):
            return description is None
        wish = settled(wish, bucket_encryption(bucket))
        if description is None:
            return not wish.algorithm and not wish.customer_key
        if wish.algorithm != description.algorithm:
            return False
        if wish.algorithm == AES256:
            return description.key_id == self.keys.store_key
        named = (wish.key_id or self.keys.default_key, wish.context, bool(wish.bucket_key))
        return wish.algorithm == AWS_KMS and named == (description.key_id, description.context, description.bucket_key)


def part_draft(found: Row, place: Place, sums: dict[str, bytes]) -> Row:
    """The draft of a part with the body of another row, which is still to be said."""
    return Row(
        kind=Kind.PART, operation=b"", origin=ZERO, base=ZERO, modified_us=0, size=found.size, etag=found.etag, body=found.body,
        checksums=sums, checksum_type=checksums.FULL_OBJECT, owner=place.account,
        record=encode_record(PartRecord(record_version=PART_VERSION, key=place.name)), encryption=found.encryption, stored=found.stored,
    )  # fmt: skip
