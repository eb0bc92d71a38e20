from dataclasses import dataclass

import msgspec
import pytest

from objstore.core.conditions import check_copy_source, check_read, check_write
from objstore.core.rows import Kind, Row
from objstore.core.timestamp import ZERO
from objstore.errors import NoSuchKey, NotModified, PreconditionFailed

S = 1_000_000
NOW = 1_000 * S


@dataclass(frozen=True)
class Asked:
    if_match: tuple[str, ...] | None = None
    if_none_match: tuple[str, ...] | None = None
    if_modified_since_us: int | None = None
    if_unmodified_since_us: int | None = None
    if_match_size: int | None = None
    if_match_modified_us: int | None = None


def row(kind: Kind = Kind.OBJECT, etag: str = "e") -> Row:
    return Row(kind=kind, operation=b"", origin=ZERO, base=ZERO, modified_us=NOW, etag=etag)


@pytest.mark.parametrize(
    "asked",
    [
        Asked(),
        Asked(if_match=("e",)),
        Asked(if_match=("x", "e")),
        Asked(if_match=("*",)),
        Asked(if_none_match=("x",)),
        Asked(if_modified_since_us=NOW - S),
        Asked(if_unmodified_since_us=NOW),
        Asked(if_unmodified_since_us=NOW + S),
        Asked(if_match=("e",), if_unmodified_since_us=NOW - 9 * S),  # If-Match decides alone
        Asked(if_none_match=("x",), if_modified_since_us=NOW + 9 * S),  # If-None-Match decides alone
    ],
)
def test_reads_go_on_when_their_conditions_hold(asked: Asked) -> None:
    check_read(asked, "e", NOW)


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        (Asked(if_match=("x",)), "If-Match"),
        (Asked(if_match=()), "If-Match"),
        (Asked(if_unmodified_since_us=NOW - S), "If-Unmodified-Since"),
        (Asked(if_match=("x",), if_none_match=("e",)), "If-Match"),
    ],
)
def test_reads_that_ask_for_another_state_fail(asked: Asked, condition: str) -> None:
    with pytest.raises(PreconditionFailed) as refusal:
        check_read(asked, "e", NOW)
    assert refusal.value.facts == {"condition": condition}


@pytest.mark.parametrize(
    "asked",
    [
        Asked(if_none_match=("e",)),
        Asked(if_none_match=("*",)),
        Asked(if_modified_since_us=NOW),
        Asked(if_modified_since_us=NOW + S),
        Asked(if_match=("e",), if_none_match=("e",)),
        Asked(if_none_match=("e",), if_modified_since_us=NOW - 9 * S),
    ],
)
def test_reads_of_what_the_caller_has_are_not_modified(asked: Asked) -> None:
    with pytest.raises(NotModified) as refusal:
        check_read(asked, "e", NOW)
    assert refusal.value.facts == {"etag": "e", "modified_us": NOW}


def test_dates_are_compared_in_whole_seconds() -> None:
    with pytest.raises(NotModified):
        check_read(Asked(if_modified_since_us=NOW), "e", NOW + 999_999)
    check_read(Asked(if_unmodified_since_us=NOW), "e", NOW + 999_999)


@pytest.mark.parametrize("asked", [Asked(if_none_match=("e",)), Asked(if_modified_since_us=NOW), Asked(if_match=("x",))])
def test_a_copy_whose_source_does_not_fit_is_never_not_modified(asked: Asked) -> None:
    with pytest.raises(PreconditionFailed):
        check_copy_source(asked, "e", NOW)


@pytest.mark.parametrize("current", [None, row(Kind.TOMBSTONE), row(Kind.DELETE_MARKER)])
def test_a_deleted_object_counts_as_absent_for_writes(current: Row | None) -> None:
    check_write(Asked(if_none_match=("*",)), current)
    check_write(Asked(if_none_match=("e",)), current)
    for listed in (("*",), ("e",)):
        with pytest.raises(NoSuchKey):
            check_write(Asked(if_match=listed), current)


def test_writes_are_judged_against_the_etag_that_is_there() -> None:
    check_write(Asked(if_match=("e",)), row())
    check_write(Asked(if_match=("*",)), row())
    check_write(Asked(if_none_match=("x",)), row())
    for asked, condition in (
        (Asked(if_none_match=("*",)), "If-None-Match"),
        (Asked(if_none_match=("e", "f")), "If-None-Match"),
        (Asked(if_match=("x",)), "If-Match"),
        (Asked(if_match=("e",), if_none_match=("*",)), "If-None-Match"),
    ):
        with pytest.raises(PreconditionFailed) as refusal:
            check_write(asked, row())
        assert refusal.value.facts == {"condition": condition}


@pytest.mark.parametrize(
    ("asked", "condition"),
    [
        (Asked(if_match_size=5), ""),
        (Asked(if_match_size=6), "x-amz-if-match-size"),
        (Asked(if_match_modified_us=NOW + 999), ""),
        (Asked(if_match_modified_us=NOW + S), "x-amz-if-match-last-modified-time"),
        (Asked(if_match=("e",), if_match_size=5, if_match_modified_us=NOW), ""),
        (Asked(if_match=("x",), if_match_size=5, if_match_modified_us=NOW), "If-Match"),
    ],
)
def test_size_and_time_condition_writes(asked: Asked, condition: str) -> None:
    current = msgspec.structs.replace(row(), size=5)
    if not condition:
        check_write(asked, current)
        return
    with pytest.raises(PreconditionFailed) as refusal:
        check_write(asked, current)
    assert refusal.value.facts == {"condition": condition}


@pytest.mark.parametrize("asked", [Asked(if_match_size=0), Asked(if_match_modified_us=NOW)])
def test_size_and_time_are_those_of_an_object_that_is_there(asked: Asked) -> None:
    for current in (None, row(Kind.DELETE_MARKER), row(Kind.TOMBSTONE)):
        check_write(asked, current)


def test_a_write_heeds_what_was_modified_since_unless_an_etag_decides() -> None:
    check_write(Asked(if_unmodified_since_us=NOW), row())
    check_write(Asked(if_unmodified_since_us=NOW - S), None)
    check_write(Asked(if_match=("e",), if_unmodified_since_us=NOW - S), row())
    check_write(Asked(if_modified_since_us=NOW), row())
    with pytest.raises(PreconditionFailed) as refusal:
        check_write(Asked(if_unmodified_since_us=NOW - S), row())
    assert refusal.value.facts == {"condition": "If-Unmodified-Since"}
