"""Multipart uploads: begin, upload parts, list, abort.  Completion is in complete.py.

Each part is written under a name of its own (ADR 5): a part that is uploaded again, late or twice at once never touches
bytes that a manifest may already name.  An uploader looks after its write whether the upload is still there.  If it is not, he
is told so, and the part stays: a completion may name it, since of attempts with one ETag it takes the latest.  Else it is reclaimed.
"""

from objstore.core import checksums, names
from objstore.core.multipart import RECORD_VERSION, PartRecord, Stored, UploadRecord, latest_attempts
from objstore.core.rows import Kind, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.core.versions import modified_us
from objstore.errors import ConditionalConflict, InvalidArgument, InvalidRequest, NoSuchUpload
from objstore.objects.access import owner_of_new
from objstore.objects.actions import Action
from objstore.objects.api import Attributes, Body, Expected, PartInfo, PartPage, Principal, UploadInfo, UploadPage
from objstore.objects.bodies import apart, body_key, keep_body
from objstore.objects.buckets import Bucket, tombstone_row
from objstore.objects.context import PREPARES
from objstore.objects.intake import receive
from objstore.objects.listing import common_prefix, start_after
from objstore.objects.lock import locks_of_new
from objstore.objects.parts import attempts_of, drop_attempts, encode_record, upload_key, upload_record
from objstore.objects.sealing import Sealing

_ABORT_ATTEMPTS = 5  # rounds against completions that begin at the same moment


class Uploads(Sealing):
    """Multipart uploads up to their completion."""

    async def create_upload(
        self, who: Principal, bucket: str, key: str, *, attributes: Attributes, checksum_algorithm: str = "", checksum_type: str = "",
        segments: bytes = b"",
    ) -> UploadInfo:  # fmt: skip
        """Begin an upload.  Raises InvalidRequest for a checksum algorithm and type that do not go together.

        With `segments`, which is kept with the object, parts may be of any size (static large objects of Swift).
        """
        home = await self.open_for_writing(who, bucket, key, attributes, PREPARES)
        owner, acl = owner_of_new(who, home.account, home.gate, attributes.acl)
        name = names.object_name(key)
        names.check_metadata(attributes.metadata)
        if checksum_type and not checksum_algorithm:
            raise InvalidRequest("a checksum type needs a checksum algorithm")
        algorithm = checksum_algorithm or checksums.DEFAULT
        record = UploadRecord(
            record_version=RECORD_VERSION, checksum_algorithm=algorithm,
            checksum_type=checksums.upload_checksum_type(algorithm, checksum_type), declared=bool(checksum_algorithm),
            segments=segments,
        )  # fmt: skip
        asked = attributes.lock
        locks = locks_of_new(home, asked, self.clock.wall_us()) if asked is not None else {}  # else the default, once it is completed
        upload_id = names.new_upload_id(self.clock.wall_us(), self.rng.token(8))
        draft = Row(
            kind=Kind.UPLOAD, operation=b"", origin=ZERO, base=ZERO, modified_us=0, owner=owner, acl=acl, record=encode_record(record),
            content_type=attributes.content_type, headers=dict(attributes.headers), metadata=dict(attributes.metadata), tags=dict(attributes.tags),
            **locks,
            encryption=await self.upload_encryption(home.info, attributes.encryption), storage_class=self.class_in(home, attributes.storage_class),
        )  # fmt: skip
        row = await self.commit(home, upload_key(home.id, name, upload_id), draft)
        return _upload_info(key, upload_id, row, record)

    async def upload_part(
        self, who: Principal, bucket: str, key: str, upload_id: str, number: int, body: Body, *, expected: Expected, customer_key: bytes = b"",
    ) -> PartInfo:  # fmt: skip
        """Write a part; uploading a number again replaces it, last finished wins."""
        home = await self.open_bucket(who, bucket, Action.WRITE_OBJECT, key, given=PREPARES)
        name = names.object_name(key)
        return await self.take_part(who, home, name, upload_id, number, body, expected=expected, customer_key=customer_key)

    async def take_part(
        self, who: Principal, bucket: Bucket, name: bytes, upload_id: str, number: int, body: Body, *, expected: Expected, customer_key: bytes = b"",
    ) -> PartInfo:  # fmt: skip
        """The same once bucket and caller are settled; copies of parts come in here too."""
        names.check_part_number(number)
        upload, record = await self.find_upload(bucket, name, upload_id)
        asked = {*expected.checksums, *expected.wanted}
        if record.declared and asked - {record.checksum_algorithm}:
            raise InvalidRequest(f"the upload was begun with {record.checksum_algorithm}, the part comes with {', '.join(sorted(asked))}")
        seal = await self.part_seal_for(upload, customer_key)
        register = RowKey(bucket.id, Space.PARTS, names.part_name(upload_id, number, self.rng.token(8)))
        policy = self.settings.policy_of(upload.storage_class)
        target = register if not policy else body_key(self, bucket, upload_id, number, policy)
        received = await receive(self, target, bucket.spread, body, expected, also=(record.checksum_algorithm,), seal=seal)
        draft = Row(
            kind=Kind.PART, operation=b"", origin=ZERO, base=ZERO, modified_us=0, size=received.size, etag=received.etag,
            body=received.body, digest=received.digest, blob=received.blob, checksums=received.checksums, checksum_type=checksums.FULL_OBJECT,
            owner=who.account, record=encode_record(PartRecord(record_version=RECORD_VERSION, key=name)),
            encryption=received.encryption, stored=received.stored,
        )  # fmt: skip
        if policy and received.staging is not None:
            draft = apart(draft, await keep_body(self, bucket, name, who.account, received))
            row = await self.commit(bucket, register, draft)
        else:
            row = await self.commit(bucket, register, draft, payload=received.payload, staging=received.staging)
        # A completion may have taken this very part, also where it is told that the upload is gone: so it is left to reclaim.py.
        await self.find_upload(bucket, name, upload_id)
        shown = {a: d for a, d in row.checksums.items() if a in asked} or row.checksums
        return PartInfo(
            number=number, size=row.size, etag=row.etag, modified_us=modified_us(row), checksums=shown, encryption=upload.encryption
        )

    async def find_upload(self, bucket: Bucket, name: bytes, upload_id: str) -> tuple[Row, UploadRecord]:
        """An upload in progress.  Raises NoSuchUpload."""
        if names.is_upload_id(upload_id):
            row = (await self.cluster.read(upload_key(bucket.id, name, upload_id), spread=bucket.spread)).row
            record = upload_record(row)
            if row is not None and record is not None:
                return row, record
        raise NoSuchUpload(f"there is no upload {upload_id!r} of this object", upload_id=upload_id)

    async def abort_upload(self, who: Principal, bucket: str, key: str, upload_id: str) -> None:
        """Drop an upload and its parts.  Raises NoSuchUpload.

        The parts go at once only when no completion has begun: a completion that began may yet make them an object, so
        then they are left to reclaim.py, which looks whether one did.
        """
        home = await self.open_bucket(who, bucket, Action.ABORT_UPLOAD, key)
        name = names.object_name(key)
        for _ in range(_ABORT_ATTEMPTS):
            _, record = await self.find_upload(home, name, upload_id)
            if await self.close_upload(home, name, upload_id, record):
                break
        else:
            raise ConditionalConflict("the upload is being completed; try again")
        if not record.completing:
            await drop_attempts(self.cluster, home.id, upload_id, home.spread)

    async def close_upload(self, bucket: Bucket, name: bytes, upload_id: str, seen: UploadRecord) -> bool:
        """End an upload if it is still as seen; says whether it was."""

        def judge(current: Row | None) -> Row:
            if upload_record(current) != seen:
                raise ConditionalConflict("the upload changed meanwhile")
            return tombstone_row()

        try:
            await self.cluster.conditional(upload_key(bucket.id, name, upload_id), judge, spread=bucket.spread)
        except ConditionalConflict:
            return False
        return True

    # -- listing ----------------------------------------------------------------------------------------------

    async def list_parts(self, who: Principal, bucket: str, key: str, upload_id: str, *, after: int = 0, limit: int = 1000) -> PartPage:
        """Parts in order of number; of several attempts at one the latest."""
        home = await self.open_bucket(who, bucket, Action.LIST_PARTS, key)
        row, record = await self.find_upload(home, names.object_name(key), upload_id)
        upload = _upload_info(key, upload_id, row, record)
        if limit <= 0:
            return PartPage(upload=upload, parts=[], truncated=False)
        attempts: list[Stored] = []
        seen: set[int] = set()
        async for attempt in attempts_of(self.cluster, home.id, upload_id, after=max(after, 0)):
            seen.add(names.split_part_name(attempt.name)[1])
            if len(seen) > limit:
                break
            # Attempts at one number follow each other; there may be any number of them.
            same = bool(attempts) and names.split_part_name(attempts[-1].name)[1] == names.split_part_name(attempt.name)[1]
            attempts += latest_attempts([attempts.pop(), attempt]) if same else [attempt]
        parts = [
            PartInfo(
                number=names.split_part_name(name)[1], size=part.size, etag=part.etag, modified_us=modified_us(part), checksums=part.checksums
            )
            for name, part in latest_attempts(attempts)
        ]  # fmt: skip
        truncated = len(seen) > limit
        return PartPage(upload=upload, parts=parts, truncated=truncated, next_marker=parts[-1].number if parts else 0)

    async def list_uploads(
        self, who: Principal, bucket: str, *, prefix: str = "", delimiter: str = "",
        after_key: str = "", after_upload_id: str = "", limit: int = 1000,
    ) -> UploadPage:  # fmt: skip
        """Uploads in progress by key, then by time begun.  Raises InvalidArgument for an upload id that is none."""
        home = await self.open_bucket(who, bucket, Action.LIST_UPLOADS)
        if after_key and after_upload_id and not names.is_upload_id(after_upload_id):
            raise InvalidArgument(f"{after_upload_id!r} is not an upload id")
        head = names.listing_bytes(prefix)
        cut = names.listing_bytes(delimiter)
        uploads: list[UploadInfo] = []
        prefixes: list[str] = []
        start = _uploads_start(names.listing_bytes(after_key), after_upload_id, head, cut)
        while start is not None and limit > 0:
            page = await self.cluster.scan(home.id, Space.UPLOADS, prefix=head, start=start, limit=limit + 1 - len(uploads) - len(prefixes))
            start = page.next_start
            for item in page.rows:
                name, upload_id = names.split_upload_name(item.name)
                record = upload_record(item.row)
                if record is None or not name.startswith(head):
                    continue
                common = common_prefix(name, head, cut) if cut else b""
                if len(uploads) + len(prefixes) == limit:
                    return _truncated(uploads, prefixes)
                if common:
                    # The scan cannot group by a delimiter that may also occur in the upload id: skip by hand.
                    prefixes.append(common.decode())
                    start = names.after_prefix(common)
                    break
                uploads.append(_upload_info(name.decode(), upload_id, item.row, record))
        return UploadPage(uploads=uploads, prefixes=prefixes, truncated=False)


def _uploads_start(after_key: bytes, after_upload_id: str, prefix: bytes, delimiter: bytes) -> bytes | None:
    if not after_key:
        return b""
    if after_upload_id:
        return names.upload_name(after_key, after_upload_id) + b"\0"
    skipped = start_after(after_key, prefix, delimiter)
    return skipped if skipped != after_key + b"\0" else names.after_uploads_of(after_key)


def _truncated(uploads: list[UploadInfo], prefixes: list[str]) -> UploadPage:
    """A page that goes on behind its last entry, which is an upload or a common prefix."""
    if uploads and (not prefixes or uploads[-1].key.encode() > prefixes[-1].encode()):
        return UploadPage(
            uploads=uploads, prefixes=prefixes, truncated=True, next_key=uploads[-1].key, next_upload_id=uploads[-1].upload_id
        )
    return UploadPage(uploads=uploads, prefixes=prefixes, truncated=True, next_key=prefixes[-1])


def _upload_info(key: str, upload_id: str, row: Row, record: UploadRecord) -> UploadInfo:
    return UploadInfo(
        key=key, upload_id=upload_id, initiated_us=names.upload_time_us(upload_id), owner=row.owner,
        checksum_algorithm=record.checksum_algorithm if record.declared else "", checksum_type=record.checksum_type if record.declared else "",
        encryption=row.encryption, storage_class=row.storage_class,
    )  # fmt: skip
