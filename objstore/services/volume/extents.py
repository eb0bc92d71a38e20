"""A set of byte ranges within one chunk: which bytes of it are known.  Pure.

Kept as one sorted list of boundaries [start, end, start, end...]; touching ranges are one.  A chunk that is written to without
having been read holds few of them, and none once it is read.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class Extents:
    """Ranges [start, end) of non-negative integers."""

    __slots__ = ("_edges",)

    def __init__(self) -> None:
        self._edges: list[int] = []

    def add(self, start: int, end: int) -> None:
        """Unite with [start, end)."""
        assert 0 <= start < end
        edges = self._edges
        left, right = bisect_left(edges, start), bisect_right(edges, end)
        edges[left:right] = ([start] if left % 2 == 0 else []) + ([end] if right % 2 == 0 else [])

    def covers(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is in."""
        at = bisect_right(self._edges, start)
        return at % 2 == 1 and self._edges[at] >= end

    def gaps(self, length: int) -> Iterator[tuple[int, int]]:
        """What of [0, length) is not in."""
        at = 0
        for start, end in self:
            if start > at:
                yield at, start
            at = end
        if at < length:
            yield at, length

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._edges[::2], self._edges[1::2], strict=True)

    def __len__(self) -> int:
        return len(self._edges) // 2
