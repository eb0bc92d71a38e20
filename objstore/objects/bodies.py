"""Bodies of storage classes that have a policy: large ones lie in the ring of that policy, named by a manifest (ADR 11).

Such a body is a part (of no upload, or of one): a row that is written once, beside its blob, in its policy's ring.  What names it, the
head of an object or the row of an uploaded part, lies in the default ring with all other rows, and is written after it; a body
that was never named is reclaimed.  Bodies that fit into a row stay in the row, whatever their class.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from objstore.cluster.api import Staging
from objstore.core import names
from objstore.core.checksums import FULL_OBJECT
from objstore.core.encryption import RECORD_VERSION, Description, decode_description, encode_description
from objstore.core.multipart import RECORD_VERSION as PART_VERSION
from objstore.core.multipart import PartRecord
from objstore.core.rows import BodyKind, Kind, PartRef, Row, RowKey, Space
from objstore.core.timestamp import ZERO
from objstore.errors import ConditionalConflict, ObjstoreError, Refused, Unavailable
from objstore.objects.buckets import Bucket
from objstore.objects.context import StoreContext
from objstore.objects.parts import drop_rows, encode_record

if TYPE_CHECKING:
    from objstore.objects.intake import Received

NAMES_TRIED = 64  # until one is found whose devices all answer: of 64 partitions one nearly always has them, if any has
STAGES_TRIED = 3
# From a body's row to what names it: far below the grace after which bodies that nothing names are reclaimed.
NAMED_WITHIN_S = 60.0


class Kept(NamedTuple):
    """A body that is durable in its ring: where, and what names it; `encryption` is what its object's row says besides."""

    register: RowKey
    part: PartRef
    encryption: bytes


def body_key(context: StoreContext, bucket: Bucket, upload_id: str, number: int, policy: str) -> RowKey:
    """A new name for a body, in a partition of the policy's ring whose devices are all there as far as is known.

    In a ring of two replicas a write needs both: rather than wait for a device, a body takes another partition.
    """
    key = RowKey(bucket.id, Space.PARTS, names.part_name(upload_id, number, context.rng.token(8), policy=policy))
    if not policy or context.cluster.is_well(key, spread=bucket.spread):
        return key
    return _another(context, key, bucket.spread, policy) or key


async def stage_body(context: StoreContext, key: RowKey, spread: int, size: int | None) -> tuple[RowKey, Staging]:
    """Open a blob for the row of `key`; for a body of a policy perhaps under another name, where devices turn out to be away."""
    policy = names.policy_of(key.name) if key.space == Space.PARTS else ""
    if policy:
        for _ in range(STAGES_TRIED - 1):
            try:
                return key, await context.cluster.stage(key, spread=spread, size=size)
            except Unavailable:
                another = _another(context, key, spread, policy)
                if another is None:
                    raise
                key = another
    return key, await context.cluster.stage(key, spread=spread, size=size)


def _another(context: StoreContext, key: RowKey, spread: int, policy: str) -> RowKey | None:
    """Another name for the same body, in a partition whose devices are all there; None where none was found."""
    upload_id, number = names.split_part_name(key.name)
    for _ in range(NAMES_TRIED):
        found = RowKey(key.bucket, key.space, names.part_name(upload_id, number, context.rng.token(8), policy=policy))
        if context.cluster.is_well(found, spread=spread):
            return found
    return None


async def keep_body(context: StoreContext, bucket: Bucket, name: bytes, account: str, received: "Received", number: int = 0) -> Kept:
    """Write the row of a body that came in, for the object under `name`.  Raises Unavailable; then it is swept or reclaimed."""
    register = received.key
    assert register is not None
    head, body = split_encryption(received.encryption)
    draft = Row(
        kind=Kind.PART, operation=b"", origin=ZERO, base=ZERO, modified_us=0, size=received.size, etag=received.etag,
        body=received.body, digest=received.digest, blob=received.blob, checksums=received.checksums, checksum_type=FULL_OBJECT, owner=account,
        record=encode_record(PartRecord(record_version=PART_VERSION, key=name)), encryption=body, stored=received.stored,
    )  # fmt: skip
    row = (await context.cluster.write(register, draft, spread=bucket.spread, payload=received.payload, staging=received.staging)).row
    return Kept(register, part_ref(register.name, row, number), head)


def part_ref(name: bytes, row: Row, number: int = 0) -> PartRef:
    """What a manifest says of a part.  Number 0: the whole of an object that is in one piece to clients."""
    return PartRef(space=Space.PARTS, name=name, size=row.size, etag=row.etag, origin=row.origin, number=number)


def split_encryption(encryption: bytes) -> tuple[bytes, bytes]:
    """(what the row of the object says, what its body's says) of how a body is sealed: together they open it, as before.

    The data key stays with the object, the seed goes to the body.
    """
    if not encryption:
        return b"", b""
    description = decode_description(encryption)
    seed = encode_description(Description(RECORD_VERSION, "", description.seed))
    return encode_description(msgspec.structs.replace(description, seed=b"")), seed


def apart(draft: Row, kept: Kept) -> Row:
    """The draft of a row whose body lies in another: without what it said of the bytes itself."""
    return msgspec.structs.replace(
        draft, body=BodyKind.MANIFEST, digest=b"", blob=b"", stored=-1, parts=(kept.part,), encryption=kept.encryption
    )


def lies_in(row: Row, policy: str, inline_limit_bytes: int) -> bool:
    """Whether all of an object's bodies that are not small are in the ring of a policy ("": the default ring)."""
    if row.body == BodyKind.MANIFEST:
        return all(part.size <= inline_limit_bytes or names.policy_of(part.name) == policy for part in row.parts)
    return row.body != BodyKind.BLOB or not policy


async def drop_unnamed(context: StoreContext, bucket: Bucket, registers: Sequence[RowKey], failure: BaseException) -> None:
    """After a refusal: drop bodies that no manifest names, as far as that works now; reclaim.py finds the rest."""
    if registers and isinstance(failure, Refused) and not isinstance(failure, ConditionalConflict):  # then a manifest may name them
        try:
            await drop_rows(context.cluster, registers, bucket.spread)
        except ObjstoreError:
            return
