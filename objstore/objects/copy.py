"""CopyObject and UploadPartCopy: read the source's bytes, write them as any other body.

What the source promises of its bytes (a plain MD5 as ETag, full-object checksums) is verified on the way, so damage is
never copied.
"""

import dataclasses
from collections.abc import AsyncIterator, Mapping

import msgspec

from objstore.core import checksums, names
from objstore.core.acl import Acl
from objstore.core.conditions import check_copy_source
from objstore.core.encryption import NO_WISH, Wish, is_opaque
from objstore.core.etag import is_md5_etag
from objstore.core.locks import ObjectLock
from objstore.core.rows import Row
from objstore.core.versions import modified_us
from objstore.errors import InvalidRange, InvalidRequest, VersionIsMarker
from objstore.objects.access import Action
from objstore.objects.api import NO_CONDITIONS, Attributes, Conditions, CopySource, Expected, ObjectInfo, PartInfo, Principal
from objstore.objects.context import PREPARES
from objstore.objects.encryption import description_of
from objstore.objects.get import Gets, Opened
from objstore.objects.info import null_of, object_info
from objstore.objects.multipart import Uploads
from objstore.objects.put import Puts

NOT_COPIED = "x-amz-website-redirect-location"


class Copies(Gets, Puts, Uploads):
    """Copying objects and parts."""

    async def copy(  # noqa: PLR0913 as much as S3 lets a copy say
        self, who: Principal, source: CopySource, bucket: str, key: str, *, conditions: Conditions = NO_CONDITIONS,
        attributes: Attributes | None = None, tags: Mapping[str, str] | None = None, checksum: str = "", lock: ObjectLock | None = None,
        encryption: Wish = NO_WISH, acl: Acl | None = None, storage_class: str = "",
    ) -> ObjectInfo:  # fmt: skip
        """Copy one version.  Raises InvalidRequest for a copy onto itself that changes nothing, or a source too large for one copy."""
        name = names.object_name(key)
        home = await self.open_for_writing(who, bucket, key, Attributes(tags=tags or {}, acl=acl, lock=lock))
        changes = attributes is not None or tags is not None or checksum or source.version_id or encryption is not NO_WISH
        opened = await self._open_source(who, source)
        try:
            if source.key == key and source.bucket == bucket and not changes and opened.row.storage_class == storage_class:
                raise InvalidRequest("the copy would put the object onto itself and change nothing about it")
            row = opened.row
            if tags is None and row.tags:
                # What is taken along unasked is read and written all the same.
                await self.open_bucket(who, source.bucket, Action.READ_TAGS, source.key, source.version_id)
                await self.open_for_writing(who, bucket, key, Attributes(tags=row.tags, acl=acl, lock=lock))
            taken = attributes or Attributes(row.content_type, _copied_headers(row.headers), row.metadata)
            described = Attributes(
                taken.content_type, taken.headers, taken.metadata, row.tags if tags is None else tags, lock, encryption, acl, storage_class
            )
            written = await self.put_body(
                who, home, name, Copied(opened), attributes=described, expected=_promised(row, checksum), conditions=conditions
            )
        finally:
            await opened.chunks.aclose()
        info = object_info(key, written, null_of(home.info))
        return msgspec.structs.replace(info, source_version_id=opened.version_id) if opened.version_id else info

    async def copy_part(
        self, who: Principal, source: CopySource, bucket: str, key: str, upload_id: str, number: int, *, customer_key: bytes = b""
    ) -> PartInfo:
        """Write a part from (a range of) an object.  Raises InvalidRange when out of bounds."""
        home = await self.open_bucket(who, bucket, Action.WRITE_OBJECT, key, given=PREPARES)
        name = names.object_name(key)
        await self.find_upload(home, name, upload_id)
        opened = await self._open_source(who, source)
        try:
            part = await self.take_part(who, home, name, upload_id, number, Copied(opened), expected=Expected(), customer_key=customer_key)
            return dataclasses.replace(part, source_version_id=opened.version_id) if opened.version_id else part
        finally:
            await opened.chunks.aclose()

    async def _open_source(self, who: Principal, source: CopySource) -> Opened:
        origin = await self.open_bucket(who, source.bucket, Action.READ_OBJECT, source.key, source.version_id, row_follows=True)

        def judge(row: Row) -> tuple[int, int]:
            if source.conditions:
                check_copy_source(source.conditions, row.etag, modified_us(row))
            first = source.first or 0
            last = row.size - 1 if source.last is None else source.last
            if source.first is not None and not first <= last < row.size:
                raise InvalidRange(f"bytes {first} to {last} are not within the source's {row.size}", size_bytes=row.size)
            if last - first >= self.settings.max_put_bytes:
                raise InvalidRequest(f"the source is larger than the {self.settings.max_put_bytes} bytes that one copy may have")
            return first, last - first + 1

        try:
            return await self.open_version(origin, source.key, source.version_id, judge, source.customer_key, reader=who)
        except VersionIsMarker as refusal:
            raise InvalidRequest("The source of a copy request may not specifically refer to a delete marker by version id.") from refusal


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


def _copied_headers(headers: Mapping[str, str]) -> Mapping[str, str]:
    """What a copy keeps of its source's headers: not where a website sends those who ask for that very object."""
    if NOT_COPIED not in headers:
        return headers
    return {name: value for name, value in headers.items() if name != NOT_COPIED}


def _promised(row: Row, checksum: str) -> Expected:
    """What is known of the source's bytes, and what the copy is to have: the checksum named, else the source's own."""
    description = description_of(row)
    told = is_md5_etag(row.etag) and (description is None or not is_opaque(description))
    md5 = bytes.fromhex(row.etag) if told else None
    wanted = (checksum,) if checksum else tuple(row.checksums)
    full = row.checksums if row.checksum_type == checksums.FULL_OBJECT else {}
    return Expected(md5=md5, checksums={a: d for a, d in full.items() if a in wanted}, wanted=wanted)
