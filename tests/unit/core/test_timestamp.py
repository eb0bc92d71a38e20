"""Ballots order as bytes and never repeat."""

from hypothesis import given
from hypothesis import strategies as st

from objstore.core.timestamp import ZERO, HybridClock, ballot_at, hybrid_of, parse_version_id, version_id, wall_us_of

CLOCKS = st.integers(min_value=0, max_value=(1 << 52) - 1)


def test_a_clock_that_jumps_back_still_issues_higher_ballots() -> None:
    clock = HybridClock(7)
    first = clock.issue(1_000_000)
    second = clock.issue(5)
    assert second > first
    assert wall_us_of(first) == 1_000_000


def test_an_observed_ballot_is_exceeded() -> None:
    clock = HybridClock(1)
    seen = ballot_at(99 << 12, 2)
    clock.observe(seen)
    assert clock.issue(3) > seen


@given(st.lists(st.tuples(CLOCKS, CLOCKS), max_size=30))
def test_ballots_of_one_clock_are_unique_and_rise(steps: list[tuple[int, int]]) -> None:
    clock = HybridClock(3)
    issued = [clock.issue(wall, ballot_at(min(above << 12, (1 << 63)), 9)) for wall, above in steps]
    assert issued == sorted(set(issued))


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 32) - 1))
def test_byte_order_is_clock_order_then_proxy_order(a: int, p: int, b: int, q: int) -> None:
    assert (ballot_at(a, p) < ballot_at(b, q)) == ((a, p) < (b, q))
    assert hybrid_of(ballot_at(a, p)) == a


def test_version_ids_round_trip_and_garbage_is_none() -> None:
    ballot = ballot_at(123456789, 42)
    assert parse_version_id(version_id(ballot)) == ballot
    for text in ("", "null", "zz" * 12, version_id(ZERO)[:-1], version_id(ballot).upper().replace("0", "G")):
        assert parse_version_id(text) is None
