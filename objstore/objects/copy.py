"""CopyObject and UploadPartCopy: by reference where the body can be shared (linking.py), else the bytes are read and written.

Where bytes move, what the source promises of them (a plain MD5 as ETag, full-object checksums) is verified on the way, so damage is
never copied.  A body that is shared stays as it is: the same ETag, checksums and parts.
"""

import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping

import msgspec

from objstore.core import checksums, names
from objstore.core.acl import Acl
from objstore.core.conditions import check_copy_source, check_write
from objstore.core.encryption import NO_WISH, Wish, is_opaque
from objstore.core.etag import is_md5_etag
from objstore.core.locks import ObjectLock
from objstore.core.manifest import pieces_of
from objstore.core.multipart import UploadRecord
from objstore.core.rows import BodyKind, Row, RowKey, Space
from objstore.core.versions import modified_us
from objstore.errors import (
    ConditionalConflict,
    Damaged,
    InvalidRange,
    InvalidRequest,
    Refused,
    Unavailable,
    VersionIsMarker,
)
from objstore.objects.access import Action, owner_of_new
from objstore.objects.api import NO_CONDITIONS, Attributes, Conditions, CopySource, Expected, ObjectInfo, PartInfo, Principal
from objstore.objects.bodies import Kept, apart, lies_in, part_ref
from objstore.objects.buckets import Bucket
from objstore.objects.context import PREPARES, object_key
from objstore.objects.encryption import description_of
from objstore.objects.get import Opened
from objstore.objects.info import null_of, object_info
from objstore.objects.intake import Received
from objstore.objects.linking import Linking, Origin, Place, part_draft
from objstore.objects.lock import as_kept, locks_of_new
from objstore.objects.multipart import Uploads
from objstore.objects.put import Puts, object_row

NOT_COPIED = "x-amz-website-redirect-location"
# What sharing fails with when a body is just going, or its devices are not there: perhaps the bytes can still be read.
_NOT_SHARED = (Unavailable, Damaged)


class Copies(Linking, Puts, Uploads):
    """Copying objects and parts."""

    async def copy(  # noqa: PLR0913 as much as S3 lets a copy say
        self, who: Principal, source: CopySource, bucket: str, key: str, *, conditions: Conditions = NO_CONDITIONS,
        attributes: Attributes | None = None, tags: Mapping[str, str] | None = None, checksum: str = "", lock: ObjectLock | None = None,
        encryption: Wish = NO_WISH, acl: Acl | None = None, storage_class: str = "", redirect: str = "",
    ) -> ObjectInfo:  # fmt: skip
        """Copy one version.  Raises InvalidRequest for a copy onto itself that changes nothing, or a source too large for one copy."""
        name = names.object_name(key)
        home = await self.open_for_writing(who, bucket, key, Attributes(tags=tags or {}, acl=acl, lock=lock))
        storage_class = self.class_in(home, storage_class)
        policy = self.settings.policy_of(storage_class)
        changes = attributes is not None or tags is not None or checksum or source.version_id or encryption is not NO_WISH or redirect

        def shares(row: Row, _first: int, _length: int) -> bool:
            known = not checksum or (row.checksum_type == checksums.FULL_OBJECT and checksum in row.checksums)
            large = row.body == BodyKind.BLOB or (row.body == BodyKind.MANIFEST and row.size > self.settings.inline_limit_bytes)
            here = lies_in(row, policy, self.settings.inline_limit_bytes)
            return large and known and here and self.keeps_seal(row, home.info, encryption)

        written: Row | None = None
        version_id = ""
        for only_bytes in (False, True):
            began = self.clock.monotonic()
            origin, opened = await self._open_source(who, source, None if only_bytes else shares)
            version_id = opened.version_id
            try:
                row = opened.row
                if source.key == key and source.bucket == bucket and not changes and row.storage_class == storage_class:
                    raise InvalidRequest(
                        "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
                        "metadata, storage class, website redirect location or encryption attributes."
                    )
                if tags is None and row.tags:
                    # What is taken along unasked is read and written all the same.
                    await self.open_bucket(who, source.bucket, Action.READ_TAGS, source.key, source.version_id)
                    await self.open_for_writing(who, bucket, key, Attributes(tags=row.tags, acl=acl, lock=lock))
                taken = attributes or Attributes(row.content_type, _copied_headers(row.headers, redirect), row.metadata)
                described = Attributes(
                    taken.content_type,
                    taken.headers,
                    taken.metadata,
                    row.tags if tags is None else tags,
                    lock,
                    encryption,
                    acl,
                    storage_class,
                )
                if not only_bytes and shares(row, 0, row.size):
                    written = await self._copy_by_reference(who, (home, name), origin, source, opened, described, conditions, began)
                else:
                    promised = _promised(row, checksum)
                    written = await self.put_body(
                        who, home, name, Copied(opened), attributes=described, expected=promised, conditions=conditions
                    )
            finally:
                await opened.chunks.aclose()
            if written is not None:
                break
        assert written is not None
        info = object_info(key, written, null_of(home.info))
        return msgspec.structs.replace(info, source_version_id=version_id) if version_id else info

    async def _copy_by_reference(
        self, who: Principal, target: tuple[Bucket, bytes], origin: Bucket, source: CopySource, opened: Opened, attributes: Attributes,
        conditions: Conditions, began: float,
    ) -> Row | None:  # fmt: skip
        """The head of a copy that shares the source's body; None where that could not be shared, and nothing is left of the try."""
        (home, name), row = target, opened.row
        names.check_metadata(attributes.metadata)
        if attributes.lock is not None:
            locks_of_new(home, attributes.lock, self.clock.wall_us())
        owner, acl = owner_of_new(who, home.account, home.gate, attributes.acl)
        key = object_key(home, name)
        if conditions:
            check_write(conditions, self.unexpired((await self.cluster.read(key, spread=home.spread)).row))
        if await self.quotas.limit(home):
            await self.quotas.check(home, key, row.size)
        made: list[RowKey] = []
        place = Place(home, name, who.account, names.new_copy_id(self.clock.wall_us(), self.rng.token(8)))
        register = self.version_key(origin, names.object_name(source.key), source.version_id)
        try:
            body = await self.share_body(Origin(origin, register, row, opened.sources), place, made)
        except _NOT_SHARED:
            body = None
        if body is None or not self.in_time(began):
            await self.give_back(home, made)
            return None
        received = Received(row.size, row.etag, dict(row.checksums), BodyKind.MANIFEST, encryption=body.encryption)
        draft = object_row(owner, received, attributes, acl)
        draft = msgspec.structs.replace(draft, parts=body.parts, record=body.record, checksum_type=row.checksum_type)
        try:
            home = await self.directory.renewed(home)
            draft = as_kept(home, draft, attributes.lock, self.clock.wall_us())
            return await self.commit(home, key, draft, conditions=conditions)
        except Refused as refusal:
            if not isinstance(refusal, ConditionalConflict):  # then it is not known whether a manifest names them
                await self.give_back(home, made)
            raise

    async def copy_part(
        self, who: Principal, source: CopySource, bucket: str, key: str, upload_id: str, number: int, *, customer_key: bytes = b""
    ) -> PartInfo:
        """Write a part from (a range of) an object.  Raises InvalidRange when out of bounds."""
        home = await self.open_bucket(who, bucket, Action.WRITE_OBJECT, key, given=PREPARES)
        name = names.object_name(key)
        names.check_part_number(number)
        upload, record = await self.find_upload(home, name, upload_id)
        place = Place(home, name, who.account, upload_id)
        part: PartInfo | None = None
        if not upload.encryption and not customer_key:
            origin, opened = await self._open_source(who, source, _is_one_body)
            span = _span_of(source, opened.row)
            if _is_one_body(opened.row, *span):
                part = await self._part_by_reference(place, origin, source, opened, span, number, record, upload.storage_class)
            if part is not None:
                return dataclasses.replace(part, source_version_id=opened.version_id) if opened.version_id else part
            await opened.chunks.aclose()
        origin, opened = await self._open_source(who, source)
        try:
            part = await self.take_part(who, home, name, upload_id, number, Copied(opened), expected=Expected(), customer_key=customer_key)
            return dataclasses.replace(part, source_version_id=opened.version_id) if opened.version_id else part
        finally:
            await opened.chunks.aclose()

    async def _part_by_reference(
        self, place: Place, origin: Bucket, source: CopySource, opened: Opened, span: tuple[int, int], number: int, record: UploadRecord,
        upload_class: str,
    ) -> PartInfo | None:  # fmt: skip
        """A part that shares the body of an object, or of one of its parts; None where it cannot."""
        register, found, sources = self.version_key(origin, names.object_name(source.key), source.version_id), opened.row, opened.sources
        policy = self.settings.policy_of(upload_class)
        algorithm = record.checksum_algorithm
        try:
            if found.body == BodyKind.MANIFEST:
                ref = next(pieces_of(found.parts, *span)).part
                held = await self.read_part(origin, ref)
                if held.row is None or held.row.origin != ref.origin:
                    return None
                register, found, sources = RowKey(origin.id, ref.space, ref.name), held.row, held.sources
            known = found.checksum_type == checksums.FULL_OBJECT and algorithm in found.checksums and is_md5_etag(found.etag)
            elsewhere = names.policy_of(register.name) if register.space == Space.PARTS else ""
            # Segments of Swift's large objects stay where they are.
            if found.body != BodyKind.BLOB or not known or (elsewhere != policy and not record.segments):
                return None
            sums = {algorithm: found.checksums[algorithm]}
            made, row = await self.link(Origin(origin, register, found, sources), place, number, sums)
            if names.policy_of(made.name):
                made, row = await self._name_part(place, number, made, row)
        except _NOT_SHARED:
            return None
        if self.clock.monotonic() >= place.bucket.fresh_until:
            await self.directory.confirm(place.bucket)
        upload, _ = await self.find_upload(place.bucket, place.name, place.upload_id)  # else it is left to reclaim.py, as any late part is
        return PartInfo(number, row.size, row.etag, modified_us(row), sums, encryption=upload.encryption)

    async def _name_part(self, place: Place, number: int, made: RowKey, body: Row) -> tuple[RowKey, Row]:
        """The row of an uploaded part, in the default ring as all rows are, that names a body in the ring of a policy."""
        register = RowKey(place.bucket.id, Space.PARTS, names.part_name(place.upload_id, number, self.rng.token(8)))
        draft = apart(part_draft(body, place, body.checksums), Kept(made, part_ref(made.name, body), body.encryption))
        return register, (await self.cluster.write(register, draft, spread=place.bucket.spread)).row

    async def _open_source(
        self, who: Principal, source: CopySource, shares: Callable[[Row, int, int], bool] | None = None
    ) -> tuple[Bucket, Opened]:
        """The source and its bucket; not a byte is read where `shares` says of (row, offset, length) that none will be wanted."""
        who = who.at(source.home) if source.home else who
        origin = await self.open_bucket(who, source.bucket, Action.READ_OBJECT, source.key, source.version_id, row_follows=True)

        def judge(row: Row) -> tuple[int, int]:
            if source.conditions:
                check_copy_source(source.conditions, row.etag, modified_us(row))
            first, length = _span_of(source, row)
            if length > self.settings.max_put_bytes:
                raise InvalidRequest(f"the source is larger than the {self.settings.max_put_bytes} bytes that one copy may have")
            return (0, 0) if shares is not None and shares(row, first, length) else (first, length)

        try:
            return origin, await self.open_version(origin, source.key, source.version_id, judge, source.customer_key, reader=who)
        except VersionIsMarker as refusal:
            raise InvalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.") from refusal


def _span_of(source: CopySource, row: Row) -> tuple[int, int]:
    """(offset, length) of what is copied.  Raises InvalidRange."""
    first = source.first or 0
    last = row.size - 1 if source.last is None else source.last
    if source.first is not None and not first <= last < row.size:
        raise InvalidRange(f"bytes {first} to {last} are not within the source's {row.size}", size_bytes=row.size)
    return first, last - first + 1


def _is_one_body(row: Row, first: int, length: int) -> bool:
    """Whether a range is all of a body that is not sealed, as far as the object's row tells."""
    if row.encryption or not length:
        return False
    if row.body == BodyKind.BLOB:
        return length == row.size
    pieces = pieces_of(row.parts, first, length)
    piece = next(pieces, None)
    return piece is not None and (piece.offset, piece.length) == (0, piece.part.size) and length == piece.length


class Copied:
    """objects.api.Body over what is being read."""

    def __init__(self, opened: Opened) -> None:
        self._chunks = opened.chunks
        self.size: int | None = opened.length

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self._chunks

    async def finish(self) -> Mapping[str, bytes]:
        """Nothing follows the bytes."""
        return {}


def _copied_headers(headers: Mapping[str, str], redirect: str) -> Mapping[str, str]:
    """What a copy keeps of its source's headers: not where a website sends those who ask for that very object, which is said anew."""
    if NOT_COPIED not in headers and not redirect:
        return headers
    kept = {name: value for name, value in headers.items() if name != NOT_COPIED}
    return {**kept, NOT_COPIED: redirect} if redirect else kept


def _promised(row: Row, checksum: str) -> Expected:
    """What is known of the source's bytes, and what the copy is to have: the checksum named, else the source's own."""
    description = description_of(row)
    told = is_md5_etag(row.etag) and (description is None or not is_opaque(description))
    md5 = bytes.fromhex(row.etag) if told else None
    wanted = (checksum,) if checksum else tuple(row.checksums)
    full = row.checksums if row.checksum_type == checksums.FULL_OBJECT else {}
    return Expected(md5=md5, checksums={a: d for a, d in full.items() if a in wanted}, wanted=wanted)
