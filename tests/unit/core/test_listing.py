"""Merge of scans: agreement, doubts, groups and how far a page reaches."""

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from objstore.core.listing import Doubt, Scanned, after_group, group_of, merge, merge_groups, place_of_version, reach, reach_version
from objstore.core.quorum import Quorum, Tally
from objstore.core.timestamp import Ballot, ballot_at


@dataclass(frozen=True)
class Shown:
    name: bytes
    accepted: Ballot
    version: bytes = b""
    partition: int = 0


class Voters:
    """Three devices, two of which are a quorum; partition 9 moves from 1, 2, 3 to 1, 4, 5."""

    def needed(self, partition: int) -> int:
        return 0 if partition == 9 else 2

    def agree(self, partition: int, devices: Sequence[int]) -> bool:
        tally = Tally(Quorum([(1, 2, 3), (1, 4, 5)] if partition == 9 else [(1, 2, 3)]))
        for device in devices:
            tally.yes(device)
        return tally.reached


def row(name: str, number: int = 1, *, version: int = 0, partition: int = 0) -> Shown:
    return Shown(name.encode(), ballot_at(number, 1), ballot_at(version, 1) if version else b"", partition)


def scan(device: int, *rows: Shown, to: bytes | None = None) -> Scanned[Shown]:
    return Scanned(device, rows, to)


def merged(*scans: Scanned[Shown], end: bytes | None = None) -> list[Shown | Doubt]:
    return merge(scans, electorate=Voters(), end=end)


def test_rows_that_a_quorum_shows_alike_are_agreed_in_order_of_name() -> None:
    assert merged(scan(1, row("a"), row("c")), scan(2, row("a"), row("c"))) == [row("a"), row("c")]


def test_a_row_that_one_device_shows_is_a_doubt() -> None:
    assert merged(scan(1, row("a"), row("b")), scan(2, row("b"))) == [Doubt(b"a", b"", 0), row("b")]


def test_another_ballot_is_a_doubt() -> None:
    assert merged(scan(1, row("a", 1)), scan(2, row("a", 2))) == [Doubt(b"a", b"", 0)]


def test_a_third_device_that_lacks_a_row_makes_no_doubt_and_one_that_differs_does() -> None:
    assert merged(scan(1, row("a")), scan(2, row("a")), scan(3)) == [row("a")]
    assert merged(scan(1, row("a")), scan(2, row("a")), scan(3, row("a", 7))) == [Doubt(b"a", b"", 0)]


def test_in_a_change_both_sets_must_show_a_row() -> None:
    moving = row("a", partition=9)
    assert merged(scan(2, moving), scan(3, moving)) == [Doubt(b"a", b"", 9)]
    assert merged(scan(1, moving), scan(2, moving)) == [Doubt(b"a", b"", 9)], "one of the new set is no quorum of it"
    assert merged(scan(1, moving), scan(2, moving), scan(5, moving)) == [moving]


def test_versions_of_a_name_come_after_its_head_and_the_newest_first() -> None:
    rows = [row("a"), row("a", version=9), row("a", version=3), row("b")]
    assert merged(scan(1, *rows), scan(2, *rows)) == rows


def test_nothing_at_or_behind_the_end_is_told() -> None:
    assert merged(scan(1, row("a"), row("b")), scan(2, row("a"), row("b")), end=b"b") == [row("a")]


def test_a_page_reaches_as_far_as_the_device_that_stopped_first() -> None:
    assert reach([scan(1, to=b"m"), scan(2, to=b"k"), scan(3)]) == b"k"
    assert reach([scan(1), scan(2)]) is None


def test_inside_a_name_a_page_reaches_as_far_as_the_device_that_stopped_at_the_newest_version() -> None:
    def stopped(device: int, name: bytes, version: int) -> Scanned[Shown]:
        return Scanned(
            device, [row("k", version=number) for number in (9, 8, 7, 6)], name, frozenset(), ballot_at(version, 1) if version else b""
        )

    scans = [stopped(1, b"k", 6), stopped(2, b"k", 8), stopped(3, b"l", 9)]
    assert reach_version(scans, reach(scans)) == ballot_at(8, 1)
    assert reach_version([stopped(1, b"k", 0), *scans], b"k") == b""
    assert reach_version([scan(1)], None) == b""
    assert merge(scans, electorate=Voters(), end=b"k", end_version=ballot_at(8, 1)) == [row("k", version=9)]
    assert merge(scans, electorate=Voters(), end=b"k") == []
    assert sorted([ballot_at(1, 1), b"", ballot_at(2, 1)], key=place_of_version) == [b"", ballot_at(2, 1), ballot_at(1, 1)]


@pytest.mark.parametrize(
    ("name", "prefix", "delimiter", "group"),
    [
        (b"a/b/c", b"", b"/", b"a/"),
        (b"a/b/c", b"a/", b"/", b"a/b/"),
        (b"a/b", b"a/", b"/", b""),
        (b"abc", b"", b"/", b""),
        (b"a--b--c", b"", b"--", b"a--"),
        (b"a/b", b"", b"", b""),
    ],
)
def test_group_is_what_comes_up_to_the_first_delimiter_behind_the_prefix(
    name: bytes, prefix: bytes, delimiter: bytes, group: bytes
) -> None:
    assert group_of(name, prefix, delimiter) == group


@pytest.mark.parametrize(("group", "after"), [(b"a/", b"a0"), (b"a\xff", b"b"), (b"\xff\xff", None)])
def test_after_a_group_is_the_next_name_outside_of_it(group: bytes, after: bytes | None) -> None:
    assert after_group(group) == after


def groups(*scans: Scanned[Shown], end: bytes | None = None) -> list[tuple[bytes, list[Shown | Doubt]]]:
    return merge_groups(scans, prefix=b"", delimiter=b"/", electorate=Voters(), end=end)


def test_a_group_is_settled_by_a_first_key_that_a_quorum_shows() -> None:
    assert groups(scan(1, row("a/1"), row("b")), scan(2, row("a/1"), row("b"))) == [(b"a/", [row("a/1")]), (b"", [row("b")])]


def test_devices_that_show_different_first_keys_leave_candidates_in_order() -> None:
    found = groups(scan(1, row("a/2", partition=1)), scan(2, row("a/1", partition=2)))
    assert found == [(b"a/", [Doubt(b"a/1", b"", 2, b"a/"), Doubt(b"a/2", b"", 1, b"a/")])]


def test_a_third_device_that_shows_another_first_key_says_nothing_against_an_agreed_one() -> None:
    found = groups(scan(1, row("a/2")), scan(2, row("a/2")), scan(3, row("a/1", partition=5)))
    assert found == [(b"a/", [Doubt(b"a/1", b"", 5, b"a/"), row("a/2")])]


def test_a_group_that_begins_before_the_end_is_told_and_one_behind_it_is_not() -> None:
    found = groups(scan(1, row("a/9"), row("b/1"), to=b"a/5"), scan(2, row("a/9"), row("b/1")), end=b"a/5")
    assert found == [(b"a/", [row("a/9")])]


names = st.sampled_from(["a", "b", "c/1", "c/2", "d/1"])
shown = st.dictionaries(names, st.integers(1, 3), max_size=5)


@given(st.lists(shown, min_size=1, max_size=3))
def test_merge_agrees_with_counting_devices(held: list[dict[str, int]]) -> None:
    scans = [scan(d, *(row(n, b) for n, b in sorted(rows.items()))) for d, rows in enumerate(held, 1)]
    expected: list[Shown | Doubt] = []
    for name in sorted({name for rows in held for name in rows}):
        ballots = [rows[name] for rows in held if name in rows]
        agreed = len(ballots) >= 2 and len(set(ballots)) == 1
        expected.append(row(name, ballots[0]) if agreed else Doubt(name.encode(), b"", 0))
    assert merged(*scans) == expected
