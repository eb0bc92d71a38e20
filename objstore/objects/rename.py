"""Renaming: the object appears under its new name, then goes from the old one.

Each of the two steps is atomic and the second is taken only if the source is still what was renamed; in between both names exist,
never none.  A rename that was cut short is finished by repeating it with the same client token.  No bytes are moved but those of small
objects, which lie in their rows: the parts of an object are shared (sharing.py), the body of one in one piece as by a copy (linking.py).
"""

import contextlib
from typing import Any

import msgspec

from objstore.core import names
from objstore.core.conditions import check_copy_source, check_write
from objstore.core.lineage import Lineage, encode_lineage, lineage_of, owners_of, rename_token
from objstore.core.locks import check_overwritten
from objstore.core.rows import BodyKind, Kind, Row, RowKey
from objstore.core.timestamp import Ballot
from objstore.core.versions import delete_marker, kept, modified_us, pick_head
from objstore.errors import ConditionalConflict, InvalidRequest, NoSuchKey, OutcomeUnknown, Refused
from objstore.objects.access import Action
from objstore.objects.alter import Alterations
from objstore.objects.api import NO_CONDITIONS, Attributes, Conditions, ObjectInfo, Principal
from objstore.objects.buckets import Bucket, tombstone_row
from objstore.objects.context import object_key
from objstore.objects.info import null_of, object_info
from objstore.objects.linking import Linking, Origin, Place
from objstore.objects.lock import as_kept

TOKEN_LIMIT = 64  # characters of a client token, as S3 has it


class Renames(Alterations, Linking):
    """Giving objects other names."""

    async def rename(
        self, who: Principal, bucket: str, source: str, key: str, *, token: str = "",
        source_conditions: Conditions = NO_CONDITIONS, conditions: Conditions = NO_CONDITIONS,
    ) -> ObjectInfo:  # fmt: skip
        """Rename an object within its bucket; what is under the new name is replaced, unless `conditions` forbid.

        The same `token` makes a repeat finish, or confirm, what a first call began.  Raises NoSuchKey, PreconditionFailed, InvalidRequest (onto
        itself), ConditionalConflict (the source was changed meanwhile).
        """
        if source == key:
            raise InvalidRequest("The object cannot be renamed to its own name.")
        home = await self.open_for_writing(who, bucket, key, Attributes())
        await self.admit(who, home, Action.READ_OBJECT, source)
        await self.admit(who, home, Action.DELETE_OBJECT, source)
        old, new = names.object_name(source), names.object_name(key)
        mark = rename_token(token.encode() if token else self.rng.token(16), old, new)
        there = (await self.cluster.read(object_key(home, new), spread=home.spread)).row
        if token and there is not None and lineage_of(there).token == mark:
            written = there  # done by an earlier call, but perhaps for the source's removal
        else:
            written = await self._appear(who, home, source, old, new, mark, source_conditions, conditions)
        await self._vanish(who, home, old, lineage_of(written).origin)
        await self.directory.confirm(home)
        return object_info(key, written, null_of(home.info))

    async def _appear(
        self, who: Principal, bucket: Bucket, source: str, old: bytes, new: bytes, mark: bytes, source_conditions: Conditions, conditions: Conditions
    ) -> Row:  # fmt: skip
        began = self.clock.monotonic()
        register = object_key(bucket, new)
        held = await self.cluster.read(object_key(bucket, old), spread=bucket.spread, inline=True)
        row = pick_head(held.row, source, "")
        if source_conditions:
            check_copy_source(source_conditions, row.etag, modified_us(row))
        _check_target((await self.cluster.read(register, spread=bucket.spread)).row, conditions)
        lineage = Lineage(token=mark, source=old, origin=row.origin, segments=lineage_of(row).segments)
        body: dict[str, Any] = {}
        payload: bytes | None = None
        made: list[RowKey] = []
        if row.body == BodyKind.MANIFEST:
            await self.share_parts(bucket, row, old, new)
            foreign = {upload_id: owner for upload_id, owner in owners_of(row, old).items() if owner != new}
            lineage = msgspec.structs.replace(lineage, owners=foreign)
        elif row.body == BodyKind.INLINE:
            payload = held.payload if held.payload is not None else await self._bytes(bucket, old, row)
        elif row.body == BodyKind.BLOB:
            place = Place(bucket, new, who.account, names.new_copy_id(self.clock.wall_us(), self.rng.token(8)))
            shared = await self.share_body(Origin(bucket, object_key(bucket, old), row, held.sources), place, made)
            body = {"body": BodyKind.MANIFEST, "blob": b"", "stored": -1, "parts": shared.parts, "encryption": shared.encryption}
        renamed = msgspec.structs.replace(
            kept(row), version="", record=encode_lineage(lineage), lock_mode="", retain_until_us=0, legal_hold=False, **body
        )
        bucket = await self.directory.renewed(bucket)
        if bucket.info.versioning:
            renamed = msgspec.structs.replace(renamed, modified_us=0)  # it takes its place among the versions of the new name
        now_us = self.clock.wall_us()
        draft = as_kept(bucket, renamed, None, now_us)
        if draft.body == BodyKind.MANIFEST and not self.in_time(began):
            await self.give_back(bucket, made)
            raise OutcomeUnknown("renaming took too long; the object is as it was, try again")

        def judge(current: Row | None) -> Row | None:
            if current is not None and lineage_of(current).token == mark:
                return None  # an earlier try of this very rename
            if room is not None:
                room.check(current)
            _check_target(current, conditions)
            check_overwritten(current, draft, now_us)
            return draft

        await self.announce(bucket, register, draft)
        try:
            async with self.quotas.within(bucket, register, draft) as room:
                return (await self.cluster.conditional(register, judge, spread=bucket.spread, payload=payload)).row
        except Refused as refusal:
            if not isinstance(refusal, ConditionalConflict):  # then it is not known whether a manifest names them
                await self.give_back(bucket, made)
            raise

    async def _bytes(self, bucket: Bucket, name: bytes, row: Row) -> bytes:
        chunks = self.cluster.read_body(object_key(bucket, name), row, spread=bucket.spread)
        return b"".join([bytes(chunk) async for chunk in chunks])

    async def _vanish(self, who: Principal, bucket: Bucket, name: bytes, origin: Ballot) -> None:
        """Take the old name away if it is still the object that was renamed; one written since is another object."""
        bucket = await self.directory.renewed(bucket)
        versioning = bucket.info.versioning
        draft = delete_marker(who.account, versioning) if versioning else tombstone_row(who.account)
        now_us = self.clock.wall_us()

        def judge(current: Row | None) -> Row | None:
            if current is None or current.kind != Kind.OBJECT or current.origin != origin:
                return None
            check_overwritten(current, draft, now_us)
            return draft

        register: RowKey = object_key(bucket, name)
        await self.announce(bucket, register)
        with contextlib.suppress(NoSuchKey):
            await self.cluster.conditional(register, judge, spread=bucket.spread)


def _check_target(current: Row | None, conditions: Conditions) -> None:
    """Judge what a rename would replace, by ETag and by date.  Raises NoSuchKey, PreconditionFailed."""
    if not conditions:
        return
    check_write(conditions, current)
    if current is not None and current.kind == Kind.OBJECT:
        dates = Conditions(if_modified_since_us=conditions.if_modified_since_us, if_unmodified_since_us=conditions.if_unmodified_since_us)
        if dates:
            check_copy_source(dates, current.etag, modified_us(current))
