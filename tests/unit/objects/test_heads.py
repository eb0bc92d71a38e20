"""Objects of a page that are made when they are looked at."""

import msgspec
import pytest

from objstore.cluster.api import ScannedRow
from objstore.core.rows import Kind, Row, encode_row
from objstore.core.timestamp import ballot_at
from objstore.objects.heads import HeadPage, Heads
from objstore.objects.info import object_info

ROWS = {
    f"key-{number}": Row(Kind.OBJECT, b"o" * 16, ballot_at(number << 12, 1), ballot_at(number << 12, 1), number, number)
    for number in range(5)
}
SCANNED = [ScannedRow(key.encode(), b"", 0, row.origin, encode_row(row)) for key, row in ROWS.items()]


def test_heads_are_a_sequence_of_what_each_row_says() -> None:
    heads = Heads(SCANNED)
    wanted = [object_info(key, row) for key, row in ROWS.items()]
    assert list(heads) == list(heads) == wanted
    assert len(heads) == 5
    assert heads[1] == wanted[1]
    assert heads[-1] == wanted[-1]
    assert list(heads[1:3]) == wanted[1:3]
    assert heads.keys == list(ROWS)
    assert list(heads.rows()) == list(ROWS.values())
    assert wanted[2] in heads


def test_no_heads_are_nothing() -> None:
    page = HeadPage(Heads([]), [], truncated=False)
    assert not page.objects
    assert list(page.objects) == []


def test_a_row_that_does_not_decode_is_an_error_and_nothing_else() -> None:
    with pytest.raises(msgspec.MsgspecError):
        list(Heads([ScannedRow(b"k", b"", 0, ballot_at(1, 1), b"\x91")]))
