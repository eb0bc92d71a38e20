"""Objects made of parts: which bytes of which part answer a range, and whose upload they came from; pure."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from objstore.core.names import UPLOAD_ID_DIGITS
from objstore.core.rows import BodyKind, PartRef, Row
from objstore.errors import InvalidPartNumber


class Piece(NamedTuple):
    """Bytes [offset, offset + length) of one part."""

    part: PartRef
    offset: int
    length: int


def pieces_of(parts: Sequence[PartRef], offset: int, length: int) -> Iterator[Piece]:
    """The pieces that make up bytes [offset, offset + length) of the whole, in order, none empty."""
    end = offset + length
    begin = 0
    for part in parts:
        if begin >= end:
            return
        low = max(offset - begin, 0)
        high = min(end - begin, part.size)
        if low < high:
            yield Piece(part, low, high - low)
        begin += part.size


def total_size(parts: Sequence[PartRef]) -> int:
    """Bytes of the whole."""
    return sum(part.size for part in parts)


def span_of_part(row: Row, number: int) -> tuple[int, int]:
    """(offset, length) of a part by its number; an object in one piece is its own part 1.  Raises InvalidPartNumber."""
    if number == 1 and (not row.parts or not row.parts[0].number):
        return 0, row.size
    begin = 0
    for part in row.parts:
        if part.number == number:
            return begin, part.size
        begin += part.size
    count = len(row.parts) if row.parts and row.parts[0].number else 1
    raise InvalidPartNumber(f"the object has no part {number}", part_number=number, part_count=count)


def upload_id_of(row: Row | None) -> str:
    """The multipart upload that made this object, or "" when none did."""
    if row is None or row.body != BodyKind.MANIFEST or not row.parts:
        return ""
    return row.parts[0].name[:UPLOAD_ID_DIGITS].decode()
