"""Completing a multipart upload: the parts become an object by one row, the manifest.

Steps: read the upload; scan and choose the parts; mark the upload as being completed, by compare-and-set; write the
manifest, plainly or under conditions; end the upload.  A crash after any of them leaves an upload that can be completed
again or aborted, or an object and an upload that is to be ended.  The mark keeps an abort from dropping parts that a
manifest is about to name; parts that no manifest names in the end go by reclaim.py.
"""

from collections.abc import Sequence

import msgspec

from objstore.core import names
from objstore.core.conditions import check_write
from objstore.core.etag import segments_etag
from objstore.core.lineage import record_of
from objstore.core.locks import ObjectLock, check_overwritten
from objstore.core.manifest import total_size, upload_id_of
from objstore.core.multipart import UploadRecord, check_promised, choose_parts, completed_checksum, completed_etag
from objstore.core.rows import BodyKind, Kind, PartRef, Row, RowKey, Space, is_live
from objstore.core.timestamp import ZERO
from objstore.core.versions import new_version
from objstore.errors import (
    ConditionalConflict,
    EntityTooLarge,
    InvalidRequest,
    NoSuchKey,
    NoSuchUpload,
    OutcomeUnknown,
    PreconditionFailed,
    QuotaExceeded,
    Refused,
    Unavailable,
)
from objstore.objects.access import Action
from objstore.objects.api import NO_CONDITIONS, CompletedPart, Conditions, Expected, ObjectInfo, Principal
from objstore.objects.buckets import Bucket
from objstore.objects.context import CREATES, object_key
from objstore.objects.info import null_of, object_info
from objstore.objects.lock import as_kept
from objstore.objects.multipart import Uploads
from objstore.objects.parts import claimed_attempts, drop_rows, encode_record, upload_key, upload_record, versions_of

# From mark to manifest.  Far below the grace after which parts of a closed upload are reclaimed, so that a process that
# slept in between does not name parts that are gone.
COMPLETE_WITHIN_S = 60.0


class Completions(Uploads):
    """The end of multipart uploads."""

    async def complete_upload(
        self, who: Principal, bucket: str, key: str, upload_id: str, parts: Sequence[CompletedPart], *, conditions: Conditions = NO_CONDITIONS,
        expected: Expected, object_size: int | None = None, checksum_type: str = "",
    ) -> ObjectInfo:  # fmt: skip
        """Make the parts an object.  Idempotent: a repeat gives the same answer.  Raises InvalidRequest for another checksum type."""
        home = await self.open_bucket(who, bucket, Action.WRITE_OBJECT, key, given=CREATES)
        name = names.object_name(key)
        try:
            row, record = await self.find_upload(home, name, upload_id)
        except NoSuchUpload:
            made = await self._made_by(home, name, upload_id)
            if made is None:
                raise
            return object_info(key, made, null_of(home.info))
        if checksum_type and checksum_type != record.checksum_type:
            raise InvalidRequest(
                f"The upload was created using the {record.checksum_type} checksum mode. The complete request must use the same checksum mode."
            )
        attempts, uploaded = await claimed_attempts(self.cluster, home.id, upload_id, parts)
        chosen = choose_parts(parts, attempts, record, 1 if record.segments else self.settings.min_part_bytes)
        draft = self._manifest(row, record, chosen, expected, object_size)
        written = await self._finish(home, name, upload_id, record, draft, uploaded, conditions)
        return object_info(key, written, null_of(home.info))

    async def _made_by(self, bucket: Bucket, name: bytes, upload_id: str) -> Row | None:
        """The version of an object that an upload has become, if it is still there."""
        head = (await self.cluster.read(object_key(bucket, name), spread=bucket.spread)).row
        if head is not None and is_live(head) and upload_id_of(head) == upload_id:
            return head
        if bucket.info.versioning:
            async for row in versions_of(self.cluster, bucket.id, name):
                if is_live(row) and upload_id_of(row) == upload_id:
                    return row
        return None

    def _manifest(self, upload: Row, record: UploadRecord, chosen: list[PartRef], expected: Expected, object_size: int | None) -> Row:
        size = total_size(chosen)
        if object_size is not None and object_size != size:
            raise InvalidRequest(f"the parts have {size} bytes together, the request says {object_size}")
        if size > self.settings.max_object_bytes:
            raise EntityTooLarge(f"{size} bytes are more than an object may have", size=size, limit=self.settings.max_object_bytes)
        checksum = completed_checksum(record, chosen)
        check_promised(record, checksum, expected.checksums)
        return Row(
            kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0, size=size, record=record_of(segments=record.segments),
            etag=segments_etag(part.etag for part in chosen) if record.segments else completed_etag(chosen),
            body=BodyKind.MANIFEST, content_type=upload.content_type, headers=upload.headers, metadata=upload.metadata, tags=upload.tags,
            checksums={record.checksum_algorithm: checksum}, checksum_type=record.checksum_type, parts=tuple(chosen), owner=upload.owner, acl=upload.acl,
            encryption=upload.encryption, storage_class=upload.storage_class, lock_mode=upload.lock_mode, retain_until_us=upload.retain_until_us,
            legal_hold=upload.legal_hold,
        )  # fmt: skip

    def _as_kept(self, bucket: Bucket, draft: Row) -> Row:
        """Locked as the upload was begun with, or by the bucket's default."""
        if draft.lock_mode:
            return new_version(draft, bucket.info.versioning)
        return as_kept(bucket, draft, ObjectLock(legal_hold=True) if draft.legal_hold else None, self.clock.wall_us())

    async def _finish(
        self, bucket: Bucket, name: bytes, upload_id: str, seen: UploadRecord, draft: Row, uploaded: list[bytes], conditions: Conditions
    ) -> Row:  # fmt: skip
        began = self.clock.monotonic()
        marked = msgspec.structs.replace(seen, completing=self.rng.token(8))
        alone = await self._mark(bucket, name, upload_id, marked)
        if self.clock.monotonic() - began > COMPLETE_WITHIN_S:
            raise OutcomeUnknown("completing took too long; the upload is as it was, try again")
        try:
            written = await self._write_manifest(bucket, object_key(bucket, name), draft, upload_id, conditions)
        except (PreconditionFailed, NoSuchKey, QuotaExceeded):
            # Judged and refused, so this manifest will never be.  After any other failure it may yet be, and the mark stays; also
            # where it took the place of another one's, which has not ended.
            if alone:
                await self._unmark(bucket, name, upload_id, marked)
            raise
        try:
            if await self.close_upload(bucket, name, upload_id, marked) and alone:
                # Nobody else is completing this upload, so no manifest names the parts that were left out.
                used = {part.name for part in draft.parts}
                unused = [RowKey(bucket.id, Space.PARTS, part) for part in uploaded if part not in used]
                await drop_rows(self.cluster, unused, bucket.spread)
        except Unavailable:
            pass  # the object is there, which is what was asked for; reclaim.py ends the upload and drops the rest
        return written

    async def _write_manifest(self, bucket: Bucket, key: RowKey, draft: Row, upload_id: str, conditions: Conditions) -> Row:
        bucket = await self.directory.renewed(bucket)
        draft = self._as_kept(bucket, draft)
        if not conditions and not bucket.info.versioning:
            return await self.commit(bucket, key, draft)
        now_us = self.clock.wall_us()

        def judge(current: Row | None) -> Row | None:
            if current is not None and is_live(current) and upload_id_of(current) == upload_id and current.parts == draft.parts:
                return None  # an earlier try of the same completion: its own object does not stand against it
            if room is not None:
                room.check(current)
            check_write(conditions, current)
            check_overwritten(current, draft, now_us)
            return draft

        await self.announce(bucket, key, draft)
        async with self.quotas.within(bucket, key, draft) as room:
            written = await self.cluster.conditional(key, judge, spread=bucket.spread)
        await self.directory.confirm(bucket)
        return written.row

    async def _mark(self, bucket: Bucket, name: bytes, upload_id: str, marked: UploadRecord) -> bool:
        """Mark an upload as being completed; whether no other completion had, whose manifest may be on its way."""
        alone = True

        def judge(current: Row | None) -> Row:
            nonlocal alone
            record = upload_record(current)
            if current is None or record is None:
                raise NoSuchUpload(f"upload {upload_id!r} was ended meanwhile", upload_id=upload_id)
            alone = alone and record.completing in (b"", marked.completing)  # its own: an earlier try of this very write
            return msgspec.structs.replace(current, record=encode_record(marked))

        await self.cluster.conditional(upload_key(bucket.id, name, upload_id), judge, spread=bucket.spread)
        return alone

    async def _unmark(self, bucket: Bucket, name: bytes, upload_id: str, marked: UploadRecord) -> None:
        """Take an own mark back after a refusal, so that an abort may drop the parts at once again."""

        def judge(current: Row | None) -> Row:
            if current is None or upload_record(current) != marked:
                raise ConditionalConflict("another completion has begun")
            return msgspec.structs.replace(current, record=encode_record(msgspec.structs.replace(marked, completing=b"")))

        try:
            await self.cluster.conditional(upload_key(bucket.id, name, upload_id), judge, spread=bucket.spread)
        except Refused:
            return  # the other one's mark stands
