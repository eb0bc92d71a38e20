import pytest

from objstore.core.manifest import pieces_of, span_of_part, total_size, upload_id_of
from objstore.core.names import new_upload_id, part_name
from objstore.core.rows import BodyKind, Kind, PartRef, Row, Space
from objstore.core.timestamp import ZERO
from objstore.errors import InvalidPartNumber

UPLOAD = new_upload_id(5, b"abcdefgh")


def part(number: int, size: int) -> PartRef:
    return PartRef(space=Space.PARTS, name=part_name(UPLOAD, number, b"12345678"), size=size, etag="", origin=ZERO, number=number)


PARTS = (part(1, 10), part(3, 0), part(4, 5))
ROW = Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0, size=15, body=BodyKind.MANIFEST, parts=PARTS)


def test_a_range_takes_the_right_bytes_of_each_part() -> None:
    assert [(p.part.number, p.offset, p.length) for p in pieces_of(PARTS, 0, 15)] == [(1, 0, 10), (4, 0, 5)]
    assert [(p.part.number, p.offset, p.length) for p in pieces_of(PARTS, 9, 2)] == [(1, 9, 1), (4, 0, 1)]
    assert [(p.part.number, p.offset, p.length) for p in pieces_of(PARTS, 10, 1)] == [(4, 0, 1)]
    assert list(pieces_of(PARTS, 3, 0)) == []
    assert total_size(PARTS) == 15


def test_parts_are_found_by_their_number_not_their_place() -> None:
    assert span_of_part(ROW, 1) == (0, 10)
    assert span_of_part(ROW, 3) == (10, 0)
    assert span_of_part(ROW, 4) == (10, 5)
    for number in (0, 2, 5):
        with pytest.raises(InvalidPartNumber):
            span_of_part(ROW, number)


def test_an_object_in_one_piece_is_its_own_first_part() -> None:
    whole = Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0, size=7, body=BodyKind.INLINE)
    assert span_of_part(whole, 1) == (0, 7)
    with pytest.raises(InvalidPartNumber):
        span_of_part(whole, 2)


def test_a_manifest_tells_which_upload_made_it() -> None:
    assert upload_id_of(ROW) == UPLOAD
    assert upload_id_of(None) == ""
    assert upload_id_of(Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0)) == ""
