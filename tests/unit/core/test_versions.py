import msgspec
import pytest

from objstore.core.rows import Kind, Row
from objstore.core.timestamp import ZERO, ballot_at
from objstore.core.versions import check_version_id, is_replaceable, modified_us, pick_head
from objstore.errors import InvalidArgument, NoSuchKey, NoSuchVersion

ROW = Row(kind=Kind.OBJECT, operation=b"", origin=ballot_at(77 << 12, 1), base=ZERO, modified_us=0)
SOME_ID = "0123456789abcdef01234567"


def test_the_null_version_is_found_by_no_id_and_by_null() -> None:
    assert pick_head(ROW, "k", "") is ROW
    assert pick_head(ROW, "k", "null") is ROW


def test_a_named_version_is_found_by_its_id_alone() -> None:
    named = msgspec.structs.replace(ROW, version=SOME_ID)
    assert pick_head(named, "k", SOME_ID) is named
    assert pick_head(named, "k", "") is named
    with pytest.raises(NoSuchVersion):
        pick_head(named, "k", "null")


@pytest.mark.parametrize(
    "row", [None, msgspec.structs.replace(ROW, kind=Kind.TOMBSTONE), msgspec.structs.replace(ROW, kind=Kind.DELETE_MARKER)]
)
def test_what_is_not_there_is_no_key_or_no_version(row: Row | None) -> None:
    with pytest.raises(NoSuchKey):
        pick_head(row, "k", "")
    with pytest.raises(NoSuchVersion):
        pick_head(row, "k", "null")
    assert not is_replaceable(row)


def test_text_that_names_no_possible_version_is_an_invalid_argument() -> None:
    check_version_id("")
    check_version_id("null")
    check_version_id(SOME_ID)
    with pytest.raises(InvalidArgument):
        pick_head(ROW, "k", "nonsense")
    with pytest.raises(NoSuchVersion):
        pick_head(ROW, "k", SOME_ID)


def test_the_time_of_modification_is_the_ballots_unless_the_row_keeps_an_older_one() -> None:
    assert modified_us(ROW) == 77
    assert modified_us(msgspec.structs.replace(ROW, modified_us=5)) == 5
    assert is_replaceable(ROW)
