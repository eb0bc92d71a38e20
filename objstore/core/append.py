"""Appending to an object: what is made of its manifest and checksums when bytes come behind it; pure.

An object that grows is a manifest of pieces, each written once under a name of its own, as parts of an upload are.  So whoever
reads an older manifest goes on reading what it names.  Small pieces at the end are written again together with what comes
behind them: a piece is taken along while it is no larger than what has gathered already, so a byte is written anew a number
of times that grows with the logarithm of the pieces.
"""

from collections.abc import Sequence

import msgspec

from objstore.core import checksums
from objstore.core.lineage import encode_lineage, lineage_of
from objstore.core.multipart import completed_etag
from objstore.core.names import is_append_piece, split_part_name
from objstore.core.rows import BodyKind, Kind, PartRef, Row
from objstore.core.versions import kept
from objstore.errors import InvalidWriteOffset, TooManyParts

MAX_PIECES = 10_000


def check_offset(current: Row | None, offset: int) -> None:
    """Whether bytes may be written at `offset`: the end of the object, or the beginning of one that is not there.

    Raises InvalidWriteOffset (fact: size_bytes).
    """
    size = current.size if current is not None and current.kind == Kind.OBJECT else 0
    if offset != size:
        raise InvalidWriteOffset("the write offset is not the current object size", size_bytes=size)


def running_algorithm(row: Row) -> str:
    """The checksum that can be carried on over appended bytes; empty when the object has none such."""
    if row.checksum_type != checksums.FULL_OBJECT:
        return ""
    return next((name for name in row.checksums if checksums.is_crc(name)), "")


def taken_along(parts: Sequence[PartRef], size: int, limit: int) -> int:
    """How many appended pieces at the end are written again with `size` bytes that come behind them.

    Only pieces that were appended: parts of an upload keep their numbers and sizes.
    """
    count, gathered = 0, size
    while count < len(parts):
        piece = parts[-1 - count]
        if not is_append_piece(piece.name) or piece.size > gathered or gathered + piece.size > limit:
            break
        gathered += piece.size
        count += 1
    return count


def own_append_id(row: Row) -> str:
    """What the object's own pieces are named by, when its last one was appended under its present name; else nothing."""
    last = row.parts[-1].name if row.parts else b""
    if not is_append_piece(last):
        return ""
    append_id = split_part_name(last)[0]
    return "" if append_id in lineage_of(row).owners else append_id


def pieces_before(row: Row) -> list[PartRef]:
    """The pieces that others come behind; the one of an object in one piece that shares its body becomes the first."""
    if row.parts and not row.parts[0].number:
        return [msgspec.structs.replace(row.parts[0], number=1)]
    return list(row.parts)


def next_number(parts: Sequence[PartRef], along: int) -> int:
    """The number of the piece that replaces the last `along` ones, or comes behind all.  Raises TooManyParts."""
    if len(parts) - along >= MAX_PIECES:
        raise TooManyParts(f"an object that is appended to has at most {MAX_PIECES} pieces", limit=MAX_PIECES)
    if along:
        return parts[-along].number
    return parts[-1].number + 1 if parts else 1


def _without_segments(row: Row) -> bytes:
    """What a row says of its past, but for what it was made of: that is not all of it any more."""
    lineage = lineage_of(row)
    return encode_lineage(msgspec.structs.replace(lineage, segments=b"")) if lineage.segments else row.record


def appended(row: Row, parts: Sequence[PartRef], algorithm: str, digest: bytes, size: int) -> Row:
    """The draft of an object that consists of `parts` now, the last `size` bytes of which are new.

    `digest` is theirs in the algorithm that the object's checksum is carried on in; without one the object has none any more.
    """
    carried: dict[str, bytes] = {}
    if algorithm and algorithm in row.checksums:
        carried = {algorithm: checksums.combine(algorithm, [(row.checksums[algorithm], row.size), (digest, size)])}
    return msgspec.structs.replace(
        kept(row), modified_us=0, size=row.size + size, etag=completed_etag(parts), body=BodyKind.MANIFEST, parts=tuple(parts),
        blob=b"", digest=b"", checksums=carried, checksum_type=checksums.FULL_OBJECT if carried else "",
        stored=-1, version="", lock_mode="", retain_until_us=0, legal_hold=False, record=_without_segments(row),
    )  # fmt: skip
