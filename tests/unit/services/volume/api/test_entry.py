"""Fields of bodies."""

from collections.abc import Callable
from typing import Any

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.volume.api import entry

WRONG: list[Callable[[], Any]] = [
    lambda: entry.part({}, "volume"), lambda: entry.part({"volume": []}, "volume"), lambda: entry.text({"n": 5}, "n"),
    lambda: entry.text({"n": "x" * 256}, "n"), lambda: entry.text({"n": "\0"}, "n"), lambda: entry.needed({}, "n"), lambda: entry.needed({"n": "  "}, "n"),
    lambda: entry.uuid({"n": "5"}, "n"), lambda: entry.uuid({"n": 5}, "n"), lambda: entry.whole("n", True), lambda: entry.whole("n", "1.5"),
    lambda: entry.whole("n", None), lambda: entry.whole("n", -1), lambda: entry.whole("n", 2**31), lambda: entry.whole("n", "٣"),
    lambda: entry.flag({"n": "maybe"}, "n", default=False), lambda: entry.flag({"n": 2}, "n", default=False), lambda: entry.flag({"n": None}, "n", default=False),
    lambda: entry.metadata({"metadata": []}), lambda: entry.metadata({"metadata": {"a": 1}}), lambda: entry.metadata({"metadata": {"": "x"}}),
    lambda: entry.metadata({"metadata": {"a": "x" * 256}}), lambda: entry.metadata({"metadata": {"a" * 256: "x"}}),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(WRONG)))
def test_what_is_not_so_is_refused(number: int) -> None:
    with pytest.raises(CallRefused) as caught:
        WRONG[number]()
    assert caught.value.status == 400


def test_what_is_so_is_taken_as_cinder_takes_it() -> None:
    assert entry.text({"n": "  a b "}, "n") == "a b"
    assert entry.text({"n": None}, "n") is None
    assert entry.uuid({}, "n") == ""
    assert entry.whole("n", "12") == 12
    assert entry.whole("n", "-1", least=-1) == -1
    assert [entry.flag({"n": value}, "n", default=True) for value in ("true", "0", True, "False")] == [True, False, True, False]
    assert entry.metadata({"metadata": {"a": "b", "c": None}}) == {"a": "b", "c": ""}
    with pytest.raises(CallRefused) as caught:
        entry.metadata({"metadata": {str(number): "" for number in range(200)}})
    assert caught.value.status == 413
