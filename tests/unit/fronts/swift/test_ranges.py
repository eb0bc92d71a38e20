"""Range headers."""

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


def test_ranges_that_lie_beyond_the_end_are_left_out() -> None:
    assert resolve([(0, 1), (99, None), (None, 3)], 10) == [(0, 2), (7, 3)]
    with pytest.raises(InvalidRange):
        resolve([(10, None)], 10)
