"""Merge of scans against a dumb twin that looks at every device's whole truth."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from objstore.core.listing import Doubt, Scanned, group_of, merge, merge_groups, reach
from objstore.core.timestamp import Ballot
from objstore.wire.messages import ScanRow

NAMES = [b"a", b"a/", b"a/b", b"a/b/c", b"a/c", b"a0", b"b", b"b/x", b"b/y/z", b"c\xff/", b"c\xff/d", b"d"]
PARTITION = {name: index % 3 for index, name in enumerate(NAMES)}
# Which of the three devices vote on each partition: each partition has two or three voters.
VOTERS = {0: (0, 1), 1: (1, 2), 2: (0, 1, 2)}

registers = st.fixed_dictionaries({name: st.integers(0, 3) for name in NAMES})  # 0: nothing live, else the ballot
stops = st.one_of(st.none(), st.sampled_from(NAMES))


def shown(device: int, held: dict[bytes, int], stop: bytes | None, delimiter: bytes) -> Scanned[ScanRow]:
    """What a device shows: everything live below its stop for which it votes, of each group the first."""
    rows: list[ScanRow] = []
    seen: set[bytes] = set()
    for name in sorted(NAMES):
        group = group_of(name, b"", delimiter)
        if held[name] and device in VOTERS[PARTITION[name]] and (stop is None or name < stop) and group not in seen:
            rows.append(ScanRow(name, b"", PARTITION[name], Ballot(bytes([held[name]]) * 12), b""))
            if group:
                seen.add(group)
    return Scanned(device, rows, stop)


class Voters:
    """A quorum of each partition's voters; partition 2 asks `agree`, as one that moves does."""

    def needed(self, partition: int) -> int:
        return 0 if partition == 2 else len(VOTERS[partition]) // 2 + 1

    def agree(self, partition: int, devices: Sequence[int]) -> bool:
        assert set(devices) <= set(VOTERS[partition])
        return len(set(devices)) >= len(VOTERS[partition]) // 2 + 1


def agreed(name: bytes, held: tuple[dict[bytes, int], ...]) -> bool:
    """Whether a quorum holds one live row of it."""
    voters = VOTERS[PARTITION[name]]
    ballots = [held[device][name] for device in voters]
    return any(ballot and ballots.count(ballot) >= len(voters) // 2 + 1 for ballot in ballots)


@settings(max_examples=80, deadline=None)
@given(st.tuples(registers, registers, registers), st.tuples(stops, stops, stops))
def test_merge_agrees_where_a_quorum_shows_one_row_and_nobody_another(
    held: tuple[dict[bytes, int], ...], ends: tuple[bytes | None, ...]
) -> None:
    scans = [shown(device, held[device], ends[device], b"") for device in range(3)]
    end = reach(scans)
    merged = merge(scans, electorate=Voters(), end=end)
    assert [entry.name for entry in merged] == sorted({entry.name for entry in merged})
    expected: dict[bytes, bool] = {}
    for name in NAMES:
        ballots = [held[device][name] for device in VOTERS[PARTITION[name]] if held[device][name]]
        if ballots and (end is None or name < end):
            expected[name] = agreed(name, held) and len(set(ballots)) == 1
    assert {entry.name: not isinstance(entry, Doubt) for entry in merged} == expected


@settings(max_examples=80, deadline=None)
@given(st.tuples(registers, registers, registers), st.tuples(stops, stops, stops))
def test_groups_hold_every_key_that_may_be_first_and_agreed_candidates_are_live_for_certain(
    held: tuple[dict[bytes, int], ...], ends: tuple[bytes | None, ...]
) -> None:
    scans = [shown(device, held[device], ends[device], b"/") for device in range(3)]
    end = reach(scans)
    merged = merge_groups(scans, prefix=b"", delimiter=b"/", electorate=Voters(), end=end)
    places = [group or entries[0].name for group, entries in merged]
    assert places == sorted(places)
    assert len(set(places)) == len(places)
    for group, entries in merged:
        assert [entry.name for entry in entries] == sorted(entry.name for entry in entries)
        for entry in entries:
            assert group_of(entry.name, b"", b"/") == group
            assert isinstance(entry, Doubt) or agreed(entry.name, held)
    # Whatever some voter shows as the first of its group, or as a name of its own, is among the candidates.
    candidates = {entry.name for _, entries in merged for entry in entries}
    for scan in scans:
        for row in scan.rows:
            place = group_of(row.name, b"", b"/") or row.name
            assert row.name in candidates or (end is not None and place >= end)
