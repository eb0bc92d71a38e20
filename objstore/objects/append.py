"""Appending to objects: bytes written at an object's end, atomically, by one more piece in its manifest.

The piece is written first, under a name that nothing names yet; then the head, conditionally on being what the offset was checked
against.  Of two appends at one offset one wins, the other is told so.  In a versioned bucket each append makes a version, which shares
the pieces of the one before; reclaim.py keeps a piece for as long as any version names it.
"""

from collections.abc import Sequence
from typing import NamedTuple

import xxhash

from objstore.core import checksums, names
from objstore.core.append import appended, check_offset, next_number, own_append_id, pieces_before, running_algorithm, taken_along
from objstore.core.conditions import check_write
from objstore.core.etag import md5_etag
from objstore.core.locks import check_overwritten
from objstore.core.manifest import Piece
from objstore.core.multipart import RECORD_VERSION, PartRecord
from objstore.core.rows import BodyKind, Kind, PartRef, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.errors import (
    ConditionalConflict,
    EntityTooLarge,
    InvalidWriteOffset,
    NoSuchKey,
    NotImplementedHere,
    OutcomeUnknown,
    PreconditionFailed,
    Refused,
)
from objstore.objects.api import NO_CONDITIONS, Attributes, Body, Conditions, Expected, ObjectInfo, Principal
from objstore.objects.bodies import body_key
from objstore.objects.buckets import Bucket
from objstore.objects.complete import COMPLETE_WITHIN_S
from objstore.objects.context import object_key
from objstore.objects.copy import Copied
from objstore.objects.encryption import Seal, description_of, part_seal
from objstore.objects.get import Gets
from objstore.objects.info import null_of, object_info
from objstore.objects.intake import Received, receive
from objstore.objects.lock import as_kept
from objstore.objects.parts import drop_rows, encode_record
from objstore.objects.put import Puts
from objstore.objects.sealing import check_key

_ABSENT = Conditions(if_none_match=("*",))


class _Growing(NamedTuple):
    """An object that is appended to."""

    who: Principal
    bucket: Bucket
    name: bytes
    append_id: str
    row: Row  # as it was when the append began
    algorithm: str  # in which its checksum is carried on
    customer_key: bytes  # of an object that is encrypted under one
    data_key: bytes  # of an encrypted object, else empty


class Appends(Gets, Puts):
    """Writing behind what is there."""

    async def append(
        self, who: Principal, bucket: str, key: str, body: Body, *, offset: int, attributes: Attributes, expected: Expected,
        conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:  # fmt: skip
        """Write at the end of an object, which must be at `offset`; at 0 the object is made if it is not there.

        What an existing object is besides its bytes stays; `attributes` are for one that is made.  Raises InvalidWriteOffset,
        TooManyParts, ConditionalConflict (changed meanwhile in another way), NotImplementedHere; InvalidRequest and
        AccessDenied for a customer's key that is not the object's.
        """
        home = await self.open_for_writing(who, bucket, key, attributes)
        name = names.object_name(key)
        row = (await self.cluster.read(object_key(home, name), spread=home.spread)).row
        check_write(conditions, row)
        check_offset(row, offset)
        if row is None or row.kind != Kind.OBJECT:
            written = await self._make(who, home, name, body, attributes, expected, conditions)
            return object_info(key, written, null_of(home.info))
        customer_key = attributes.encryption.customer_key
        check_key(row, customer_key)
        if not row.encryption and await self.seal_for(home.info, attributes.encryption) is not None:
            raise NotImplementedHere(
                "Encrypted bytes behind an object that is not encrypted are not implemented; copy it onto itself first."
            )
        append_id = own_append_id(row) or names.new_append_id(self.clock.wall_us(), self.rng.token(8))
        algorithm = running_algorithm(row)
        growing = _Growing(who, home, name, append_id, row, algorithm, customer_key, await self.data_key_of(row, customer_key))
        written = await self._grow(growing, key, body, expected, conditions)
        return object_info(key, written, null_of(home.info))

    async def _make(
        self, who: Principal, bucket: Bucket, name: bytes, body: Body, attributes: Attributes, expected: Expected, conditions: Conditions
    ) -> Row:
        """The first bytes of an object that is not there."""
        try:
            return await self.put_body(who, bucket, name, body, attributes=attributes, expected=expected, conditions=_ABSENT)
        except PreconditionFailed:
            if conditions.if_none_match is not None:
                raise
            raise InvalidWriteOffset("somebody else made the object meanwhile") from None

    async def _grow(self, growing: _Growing, key: str, body: Body, expected: Expected, conditions: Conditions) -> Row:
        bucket, row, algorithm = growing.bucket, growing.row, growing.algorithm
        in_one_piece = row.body != BodyKind.MANIFEST and row.size > 0
        number = 2 if in_one_piece else next_number(pieces_before(row), 0)
        register = self._piece_key(growing, number, self.settings.policy_of(row.storage_class))
        # What the client sends comes first, however slowly: from the first row of a piece on, time runs until it is named.
        received = await receive(
            self, register, bucket.spread, body, expected, also=(algorithm or checksums.DEFAULT,), seal=self._seal(growing)
        )
        if received.size == 0:
            return row
        if row.size + received.size > self.settings.max_object_bytes:
            raise EntityTooLarge("the object would be too large", size=row.size + received.size, limit=self.settings.max_object_bytes)
        first = await self._copy_of_first(growing, key) if in_one_piece else None
        written: list[RowKey] = []
        try:
            began = self.clock.monotonic()
            draft = await self._write_pieces(growing, first, received, written)
            if self.clock.monotonic() - began > COMPLETE_WITHIN_S:
                raise OutcomeUnknown("appending took too long; the object is as it was, try again")
            return await self._write_head(growing, draft, conditions)
        except Refused as refusal:
            if not isinstance(refusal, ConditionalConflict):  # then it is not known whether a manifest names them
                await drop_rows(self.cluster, written, bucket.spread)
            raise

    async def _write_pieces(self, growing: _Growing, first: Received | None, received: Received, written: list[RowKey]) -> Row:
        """Write the rows of the pieces, whose keys `written` gets; the draft of the head that names them."""
        bucket, row, algorithm = growing.bucket, growing.row, growing.algorithm
        parts = pieces_before(row)
        if first is not None:
            written.append(first.key or self._piece_key(growing, 1))
            parts = [await self._write_piece(growing, written[-1], 1, first)]
        digest, size = received.checksums.get(algorithm, b""), received.size
        gathers = received.payload is not None and not row.encryption  # a payload that is sealed cannot be joined
        along = taken_along(parts, size, self.settings.inline_limit_bytes) if gathers else 0
        number = next_number(parts, along)
        register = received.key or self._piece_key(growing, number)
        if along:
            received = await self._together(bucket, parts[-along:], received, algorithm)
            parts = parts[:-along]
        written.append(register)
        parts.append(await self._write_piece(growing, register, number, received))
        return appended(row, parts, algorithm, digest, size)

    async def _write_head(self, growing: _Growing, draft: Row, conditions: Conditions) -> Row:
        bucket, name, row = await self.directory.renewed(growing.bucket), growing.name, growing.row
        now_us = self.clock.wall_us()
        new = as_kept(bucket, draft, None, now_us)

        def judge(current: Row | None) -> Row:
            check_write(conditions, current)
            check_offset(current, row.size)
            _check_same(current, row)
            check_overwritten(current, new, now_us)
            return new

        key = object_key(bucket, name)
        await self.announce(bucket, key, new)
        async with self.quotas.within(bucket, key, new, over=row):
            written = await self.cluster.conditional(key, judge, spread=bucket.spread)
        await self.directory.confirm(bucket)
        return written.row

    # -- pieces -----------------------------------------------------------------------------------------------

    def _piece_key(self, growing: _Growing, number: int, policy: str = "") -> RowKey:
        return body_key(self, growing.bucket, growing.append_id, number, policy)

    def _seal(self, growing: _Growing) -> Seal | None:
        description = description_of(growing.row)
        return None if description is None else part_seal(description, growing.data_key, self.rng)

    async def _write_piece(self, growing: _Growing, register: RowKey, number: int, received: Received) -> PartRef:
        algorithm = growing.algorithm
        draft = Row(
            kind=Kind.PART, operation=b"", origin=ZERO, base=ZERO, modified_us=0, size=received.size, etag=received.etag,
            body=received.body, digest=received.digest, blob=received.blob, checksums=received.checksums, checksum_type=checksums.FULL_OBJECT,
            owner=growing.who.account, record=encode_record(PartRecord(record_version=RECORD_VERSION, key=growing.name)),
            encryption=received.encryption, stored=received.stored,
        )  # fmt: skip
        row = await self.commit(growing.bucket, register, draft, payload=received.payload, staging=received.staging)
        return PartRef(
            space=Space.PARTS, name=register.name, size=row.size, etag=row.etag, origin=row.origin, number=number,
            checksum=row.checksums.get(algorithm, b""),
        )  # fmt: skip

    async def _copy_of_first(self, growing: _Growing, key: str) -> Received:
        """An object in one piece becomes the first of several: its bytes are copied, this once."""
        bucket, row = growing.bucket, growing.row

        def judge(found: Row) -> tuple[int, int]:
            _check_same(found, row)
            return 0, found.size

        try:
            opened = await self.open_version(bucket, key, "", judge, growing.customer_key)
        except NoSuchKey:
            raise InvalidWriteOffset("the object was deleted meanwhile", size_bytes=0) from None
        register = self._piece_key(growing, 1, self.settings.policy_of(row.storage_class))
        try:
            promised = {growing.algorithm: row.checksums[growing.algorithm]} if growing.algorithm else {}
            return await receive(self, register, bucket.spread, Copied(opened), Expected(checksums=promised), seal=self._seal(growing))
        finally:
            await opened.chunks.aclose()

    async def _together(self, bucket: Bucket, pieces: Sequence[PartRef], received: Received, algorithm: str) -> Received:
        """Small pieces and what comes behind them, as one."""
        assert received.payload is not None
        found = [await self.piece_bytes(bucket, piece) for piece in pieces]
        payload = b"".join([*found, received.payload])
        sums = {algorithm: checksums.digest_of(algorithm, payload)} if algorithm else {}
        digest = xxhash.xxh3_128_digest(payload)
        return Received(len(payload), md5_etag(payload), sums, BodyKind.INLINE, payload=payload, digest=digest)

    async def piece_bytes(self, bucket: Bucket, piece: PartRef) -> bytes:
        """All bytes of a piece that is small."""
        chunks = self.stream_pieces(bucket, [Piece(piece, 0, piece.size)], b"")
        return b"".join([bytes(chunk) async for chunk in chunks])


def _check_same(current: Row | None, seen: Row) -> None:
    """Whether an object has the bytes that it had, in the same pieces.  Raises InvalidWriteOffset."""
    if current is None or (current.etag, current.body, current.blob, current.digest, current.parts) != (
        seen.etag, seen.body, seen.blob, seen.digest, seen.parts
    ):  # fmt: skip
        raise InvalidWriteOffset("the object was replaced meanwhile")
