"""Counts the work of matching patterns: a limit of time would fail on a busy machine, and pass on a fast one."""

import pytest

from objstore.core import glob


class Sought:
    """Counts how often a segment of a pattern is looked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times = 0
        find = glob._Segment.find

        def counted(segment: glob._Segment, text: str, position: int, end: int) -> int:
            self.times += 1
            return find(segment, text, position, end)

        monkeypatch.setattr(glob._Segment, "find", counted)
