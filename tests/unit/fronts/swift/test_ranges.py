"""Range headers."""

import time

import pytest

from objstore.errors import InvalidRange
from objstore.fronts.swift.ranges import parse_ranges, resolve


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-1", [(0, 1)]),
        ("bytes= 0 - 1 ,5-,-3", [(0, 1), (5, None), (None, 3)]),
        ("bytes=", None),
        ("bytes=1-2,", None),
        ("bytes=3-2", None),
        ("Bytes=1-2", None),
        ("bytes=" + "9" * 19 + "-", None),
        ("bytes=" + ",".join(["0-0"] * 51), None),
        ("bytes=" + " " * 5000 + "0-1", None),
        ("", None),
    ],
)
def test_a_header_means_ranges_or_nothing(header: str, found: list[tuple[int | None, int | None]] | None) -> None:
    assert parse_ranges(header, 50) == found


def test_a_long_header_takes_no_time() -> None:
    began = time.process_time()
    for header in (" " * 4000 + "x", "1" + " " * 4000, " " * 2000 + "1-" + " " * 2000 + "x"):
        assert parse_ranges(f"bytes={header}", 50) is None
    assert time.process_time() - began < 0.01


def test_ranges_that_are_an_attack_are_refused() -> None:
    """As in Swift: each overlapping one reads the same bytes again."""
    assert resolve([(0, 4), (4, 5), (2, 3)], 10) == [(0, 5), (4, 2), (2, 2)]
    with pytest.raises(InvalidRange):
        resolve([(0, None)] * 4, 10)
    assert len(resolve([(9 - at, 9 - at) for at in range(7)], 10)) == 7
    with pytest.raises(InvalidRange):
        resolve([(9 - at, 9 - at) for at in range(8)], 10)
    assert len(resolve([(at, at) for at in range(50)], 50)) == 50


def test_ranges_that_lie_beyond_the_end_are_left_out() -> None:
    assert resolve([(0, 1), (99, None), (None, 3)], 10) == [(0, 2), (7, 3)]
    with pytest.raises(InvalidRange):
        resolve([(10, None)], 10)
