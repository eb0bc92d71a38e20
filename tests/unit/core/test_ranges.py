import pytest

from objstore.core.ranges import parse_range, resolve_range
from objstore.errors import InvalidRange


@pytest.mark.parametrize(
    ("header", "parsed"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=5-", (5, None)),
        ("bytes=-7", (None, 7)),
        (" bytes = 1 - 2 ", (1, 2)),
        ("bytes=-0", (None, 0)),
    ],
)
def test_single_ranges_are_understood(header: str, parsed: tuple[int | None, int | None]) -> None:
    assert parse_range(header) == parsed


@pytest.mark.parametrize(
    "header", ["", "bytes=", "bytes=-", "bytes=2-1", "bytes=1-2,4-5", "items=0-1", "bytes=a-b", "bytes=1--2", "bytes=\u0661-"]
)
def test_what_is_no_single_range_is_ignored(header: str) -> None:
    assert parse_range(header) is None


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [(0, 0, (0, 1)), (0, 99, (0, 10)), (3, 4, (3, 2)), (9, None, (9, 1)), (0, None, (0, 10)), (None, 3, (7, 3)), (None, 99, (0, 10))],
)
def test_ranges_are_cut_to_the_object(first: int | None, last: int | None, expected: tuple[int, int]) -> None:
    assert resolve_range(first, last, 10) == expected


@pytest.mark.parametrize(("first", "last", "size"), [(10, None, 10), (10, 20, 10), (None, 0, 10), (0, None, 0), (None, 5, 0), (0, 0, 0)])
def test_unsatisfiable_ranges_are_refused_with_the_size(first: int | None, last: int | None, size: int) -> None:
    with pytest.raises(InvalidRange) as refusal:
        resolve_range(first, last, size)
    assert refusal.value.facts == {"size_bytes": size}
