"""Known-bad histories must be judged bad, and good ones good: what the simulator says is worth no more than this."""

import pytest

from tests.sim.checks import check_counter, check_history, explain
from tests.sim.workload import History, WrongBytes, body_of, label_of
from tests.support.linearizability import Operation


def history(*operations: Operation, key: str = "k") -> History:
    return History(operations={key: list(operations)})


def put(value: str, start: int, end: int | None) -> Operation:
    return Operation("put", start, end, value=value)


def get(result: str, start: int, end: int) -> Operation:
    return Operation("get", start, end, result=result)


def create(value: str, start: int, end: int | None, *, ok: bool = True) -> Operation:
    return Operation("create", start, end, value=value, ok=ok)


def match(expected: str, value: str, start: int, end: int | None, *, ok: bool = True) -> Operation:
    return Operation("match", start, end, value=value, expected=expected, ok=ok)


GOOD = {
    "writes one after another": [put("a", 1, 2), get("a", 3, 4), put("b", 5, 6), get("b", 7, 8)],
    "a read during a write sees either": [put("a", 1, 2), put("b", 3, 8), get("a", 4, 5), get("b", 6, 7)],
    "an unknown write takes effect late": [put("a", 1, 2), put("b", 3, None), get("a", 4, 5), get("b", 6, 7)],
    "an unknown write never takes effect": [put("a", 1, 2), put("b", 3, None), get("a", 4, 5), get("a", 6, 7)],
    "an unknown delete takes effect": [put("a", 1, 2), Operation("delete", 3, None), get("a", 4, 5), get("", 6, 7)],
    "one creator wins": [create("a", 1, 4), create("b", 2, 3, ok=False), get("a", 5, 6)],
    "a match wins and the next must match it": [put("a", 1, 2), match("a", "b", 3, 4), match("a", "c", 5, 6, ok=False), get("b", 7, 8)],
}

BAD = {
    "an acknowledged write is lost": [put("a", 1, 2), put("b", 3, 4), get("a", 5, 6)],
    "an acknowledged first write is lost": [put("a", 1, 2), get("", 3, 4)],
    "a deleted object comes back": [put("a", 1, 2), Operation("delete", 3, 4), get("", 5, 6), get("a", 7, 8)],
    "a read goes back in time": [put("a", 1, 2), put("b", 3, 8), get("b", 4, 5), get("a", 6, 7)],
    "an unknown write comes and goes": [put("a", 1, 2), put("b", 3, None), get("b", 4, 5), get("a", 6, 7)],
    "two creators win": [create("a", 1, 4), create("b", 2, 3)],
    "two matches of one etag win": [put("a", 1, 2), match("a", "b", 3, 6), match("a", "c", 4, 5)],
    "a condition is refused without a reason": [put("a", 1, 2), match("a", "b", 3, 4, ok=False)],
    "a value that nobody wrote": [put("a", 1, 2), get("x", 3, 4)],
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_history_is_judged_good(name: str) -> None:
    assert check_history(history(*GOOD[name])) == []


@pytest.mark.parametrize("name", BAD)
def test_a_bad_history_is_judged_bad_and_explained(name: str) -> None:
    (violation,) = check_history(history(*BAD[name]))
    assert "key k is not linearizable" in violation
    assert len(violation.splitlines()) > 1


def test_the_explanation_ends_where_the_history_went_wrong() -> None:
    operations = [put("a", 1, 2), put("b", 3, 4), get("a", 5, 6), *(get("b", n, n + 1) for n in range(10, 100, 2))]
    lines = explain(operations).splitlines()
    assert "saw a" in lines[-1]
    assert len(lines) == 3


def test_keys_are_judged_apart() -> None:
    both = history(*GOOD["one creator wins"])
    both.operations["other"] = BAD["two creators win"]
    (violation,) = check_history(both)
    assert violation.startswith("key other")


def test_violations_seen_on_the_way_are_reported() -> None:
    seen = history(*GOOD["one creator wins"])
    assert seen.label("no such etag").startswith("unknown")
    assert len(check_history(seen)) == 1


@pytest.mark.parametrize(("last", "good"), [("x-2", True), ("x-3", True), ("x-1", False), ("x-4", False), ("", False)])
def test_the_counter_lies_between_acknowledged_and_attempted_increments(last: str, good: bool) -> None:
    operations = [create("x-1", 1, 2), match("x-1", "x-2", 3, 4), match("x-2", "y-3", 5, None), get(last, 6, 7)]
    assert (check_counter(history(*operations), "k") == []) is good


@pytest.mark.parametrize("size", [12, 60, 4096, 131_073])
def test_a_body_names_itself_and_any_change_is_noticed(size: int) -> None:
    data = body_of("c1.17", size)
    assert label_of(data) == "c1.17"
    for wrong in (data[:-1], data + b"x", data[:-1] + bytes([data[-1] ^ 1]), b"", b"\0" * size):
        with pytest.raises(WrongBytes):
            label_of(wrong)
