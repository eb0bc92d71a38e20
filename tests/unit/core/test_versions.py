import msgspec
import pytest

from objstore.core.rows import EMPTY, NEW_VERSION, Kind, Register, Row, Space, decode_row, encode_row
from objstore.core.timestamp import ZERO, ballot_at, version_id
from objstore.core.versions import (
    check_version_id,
    delete_marker,
    is_replaceable,
    modified_us,
    new_version,
    newest_before,
    newest_first,
    next_older,
    pick_head,
    raised,
    removed_at,
    winner,
    with_version,
    without_version,
)
from objstore.errors import InvalidArgument, NoSuchKey, NoSuchVersion, VersionIsMarker

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


@pytest.mark.parametrize("row", [None, msgspec.structs.replace(ROW, kind=Kind.TOMBSTONE)])
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


# -- changes of version sets ----------------------------------------------------------------------------------


def version(at: int, *, kind: Kind = Kind.OBJECT, null: bool = False) -> Row:
    ballot = ballot_at(at << 12, 1)
    return msgspec.structs.replace(ROW, kind=kind, origin=ballot, version="" if null else version_id(ballot))


def effects(row: Row | None) -> list[tuple[int, str]]:
    assert row is not None
    return [(effect.kind, effect.version) for effect in map(decode_row, row.effects)]


def test_versions_are_ordered_by_their_ids_and_the_null_version_by_its_time() -> None:
    one, two, three = version(1), version(2, null=True), version(3)
    late = msgspec.structs.replace(one, origin=ballot_at(9 << 12, 1))  # tagged since: its place stays
    assert newest_first([two, late, three]) == [three, two, late]
    again_null = msgspec.structs.replace(two, origin=ballot_at(9 << 12, 1), modified_us=2)
    assert newest_first([three, again_null, one]) == [three, again_null, one]


def test_the_next_older_version_is_where_a_page_goes_on() -> None:
    at = ballot_at(5 << 12, 3)
    assert next_older(at) == ballot_at(5 << 12, 2)
    assert newest_before(5) == ballot_at((5 << 12) - 1, 0xFFFFFFFF)
    assert next_older(ZERO) == newest_before(0) == b""


def test_new_heads_are_as_the_state_of_versioning_demands() -> None:
    assert new_version(ROW, "") is ROW
    assert new_version(ROW, "Enabled").version == NEW_VERSION
    suspended = new_version(ROW, "Suspended")
    assert (suspended.version, effects(suspended)) == ("", [(Kind.TOMBSTONE, "")])
    marker = delete_marker("alice", "Enabled")
    assert (marker.kind, marker.version, marker.owner) == (Kind.DELETE_MARKER, NEW_VERSION, "alice")


class Others:
    def __init__(self, *rows: Row) -> None:
        self.rows = rows

    def newest(self) -> Row | None:
        return self.rows[0] if self.rows else None


def test_removing_the_head_exposes_the_one_before() -> None:
    one, two, three = version(1), version(2, kind=Kind.DELETE_MARKER), version(3)
    draft = without_version(three, Others(two, one), three.version)
    assert (draft.kind, draft.version, draft.modified_us) == (Kind.DELETE_MARKER, two.version, 2)
    assert effects(draft) == [(Kind.TOMBSTONE, three.version)]


def test_removing_another_version_leaves_the_head_as_it_is_and_drops_its_old_effects() -> None:
    one, three = version(1), version(3)
    head = msgspec.structs.replace(three, effects=(b"old",), modified_us=0)
    draft = without_version(head, Others(one), one.version)
    assert (draft.version, draft.modified_us, effects(draft)) == (three.version, 3, [(Kind.TOMBSTONE, one.version)])


def test_removing_the_last_version_leaves_a_tombstone() -> None:
    one = version(1)
    draft = without_version(one, Others(), one.version, "alice")
    assert (draft.kind, draft.owner, effects(draft)) == (Kind.TOMBSTONE, "alice", [(Kind.TOMBSTONE, one.version)])
    null = version(1, null=True)
    assert effects(without_version(null, Others(), "")) == [(Kind.TOMBSTONE, "")]  # an older null version may lie there


def test_a_version_behind_a_tombstone_goes_without_bringing_others_to_light() -> None:
    dead = msgspec.structs.replace(ROW, kind=Kind.TOMBSTONE)
    draft = without_version(dead, Others(version(2), version(1)), version(2).version)
    assert (draft.kind, effects(draft)) == (Kind.TOMBSTONE, [(Kind.TOMBSTONE, version(2).version)])


def test_a_changed_version_is_the_head_or_an_effect_of_it() -> None:
    one, two = version(1), version(2)
    changed = msgspec.structs.replace(two, tags={"a": "1"}, effects=(b"old",))
    assert with_version(two, changed) == msgspec.structs.replace(changed, modified_us=2, effects=())
    changed = msgspec.structs.replace(one, tags={"a": "1"}, effects=(b"old",))
    draft = with_version(two, changed)
    assert (draft.version, draft.tags) == (two.version, {})
    assert decode_row(draft.effects[0]) == msgspec.structs.replace(changed, modified_us=1, effects=())


def test_a_delete_marker_is_told_by_the_key_and_refused_by_its_id() -> None:
    marker = version(5, kind=Kind.DELETE_MARKER)
    with pytest.raises(NoSuchKey) as missing:
        pick_head(marker, "k", "")
    assert missing.value.facts["marker"] == marker.version
    with pytest.raises(VersionIsMarker) as refused:
        pick_head(marker, "k", marker.version)
    assert (refused.value.facts["marker"], refused.value.facts["modified_us"]) == (marker.version, 5)
    with pytest.raises(VersionIsMarker):
        pick_head(version(5, kind=Kind.DELETE_MARKER, null=True), "k", "null")


def test_a_tombstone_raised_to_a_later_rank_tells_when_the_removal_was_first_proposed() -> None:
    dead = Row(Kind.TOMBSTONE, b"", ballot_at(5, 1), ZERO, 0, version=ballot_at(3, 1).hex())
    assert removed_at(dead) == ballot_at(5, 1)
    twice = raised(raised(dead, ballot_at(7, 1)), ballot_at(9, 1))
    assert (twice.origin, removed_at(twice)) == (ballot_at(9, 1), ballot_at(5, 1))
    there = Row(Kind.OBJECT, b"", ballot_at(5, 1), ballot_at(2, 1), 0)
    assert (raised(there, ballot_at(7, 1)).origin, raised(there, ballot_at(7, 1)).base) == (ballot_at(7, 1), ballot_at(2, 1))


def kept_at(origin: int, accepted: int, kind: Kind = Kind.OBJECT) -> Register:
    row = msgspec.structs.replace(ROW, kind=kind, origin=ballot_at(origin << 12, 1), version=SOME_ID)
    return Register(ZERO, ballot_at(accepted << 12, 1), encode_row(row))


def test_of_answers_about_a_version_the_highest_rank_wins_whatever_the_ballots() -> None:
    late, tombstone, older = kept_at(5, 9), kept_at(8, 8, Kind.TOMBSTONE), kept_at(8, 7, Kind.TOMBSTONE)
    assert winner({1: late, 2: older, 3: tombstone, 4: EMPTY}, Space.VERSIONS) == (tombstone, (2, 3))
    assert winner({1: late, 2: older, 3: tombstone}, Space.OBJECTS) == (late, (1,))
    assert winner({1: EMPTY}, Space.VERSIONS) == (EMPTY, (1,))
    assert winner({1: EMPTY, 2: kept_at(8, 8)}, Space.OBJECTS) == (kept_at(8, 8), (2,))
