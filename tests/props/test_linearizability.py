"""The checker of histories, against known histories and against trying every order."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.linearizability import NOTHING, Operation, apply, linearizable


def put(start: int, end: int | None, value: str) -> Operation:
    return Operation("put", start, end, value)


def get(start: int, end: int, result: str) -> Operation:
    return Operation("get", start, end, result=result)


def delete(start: int, end: int | None) -> Operation:
    return Operation("delete", start, end)


def create(start: int, end: int | None, value: str, *, ok: bool = True) -> Operation:
    return Operation("create", start, end, value, ok=ok)


def match(start: int, end: int | None, expected: str, value: str, *, ok: bool = True) -> Operation:
    return Operation("match", start, end, value, expected, ok=ok)


GOOD: dict[str, list[Operation]] = {
    "one after the other": [put(0, 1, "a"), get(2, 3, "a"), delete(4, 5), get(6, 7, NOTHING)],
    "a read beside a write sees either": [put(0, 9, "a"), get(1, 2, NOTHING), get(3, 4, "a")],
    "an unknown write may happen late": [put(0, None, "a"), put(1, 2, "b"), get(3, 4, "b"), get(5, 6, "a")],
    "an unknown write may never happen": [put(0, None, "a"), get(1, 2, NOTHING), get(3, 4, NOTHING)],
    "an unknown delete may happen": [put(0, 1, "a"), delete(2, None), get(3, 4, "a"), get(5, 6, NOTHING)],
    "one creation wins": [create(0, 5, "a"), create(1, 6, "b", ok=False), get(7, 8, "a")],
    "a swap sees what it expects": [put(0, 1, "a"), match(2, 3, "a", "b"), match(4, 5, "a", "c", ok=False), get(6, 7, "b")],
}
BAD: dict[str, list[Operation]] = {
    "a lost write": [put(0, 1, "a"), get(2, 3, NOTHING)],
    "a stale read": [put(0, 1, "a"), put(2, 3, "b"), get(4, 5, "a")],
    "reads that go back": [put(0, 9, "a"), get(1, 2, "a"), get(3, 4, NOTHING)],
    "a deleted object comes back": [put(0, 1, "a"), delete(2, 3), get(4, 5, NOTHING), get(6, 7, "a")],
    "two creations win": [create(0, 5, "a"), create(1, 6, "b")],
    "a refusal without a reason": [create(0, 1, "a", ok=False)],
    "a swap of what was gone": [put(0, 1, "a"), put(2, 3, "b"), match(4, 5, "a", "c")],
    "a value that nobody wrote": [put(0, 1, "a"), get(2, 3, "x")],
    "a write that happens twice": [put(0, None, "a"), get(1, 2, "a"), match(3, 4, "a", "b"), get(5, 6, "a")],
    "an unknown write before it began": [get(0, 1, "a"), put(2, None, "a")],
}


def test_many_deletions_that_nobody_knows_about_do_not_take_for_ever() -> None:
    unknown = [delete(number, None) for number in range(40)]
    writes = [
        op
        for turn in range(8)
        for op in (put(100 * turn + 50, 100 * turn + 51, f"v{turn}"), get(100 * turn + 60, 100 * turn + 61, NOTHING))
    ]
    assert linearizable([*unknown, *writes])
    few = unknown[:7]
    assert not linearizable([*few, *writes])


@pytest.mark.parametrize("name", GOOD)
def test_a_history_that_some_order_explains_is_linearizable(name: str) -> None:
    assert linearizable(GOOD[name])


@pytest.mark.parametrize("name", BAD)
def test_a_history_that_no_order_explains_is_not(name: str) -> None:
    assert not linearizable(BAD[name])


def explained(history: Sequence[Operation]) -> bool:
    """Try every subset of unknown operations in every order."""
    known = [op for op in history if op.end is not None]
    unknown = [op for op in history if op.end is None and op.kind != "get"]
    for count in range(len(unknown) + 1):
        for chosen in itertools.combinations(unknown, count):
            for order in itertools.permutations([*known, *chosen]):
                late = any(b.end is not None and b.end < a.start for i, a in enumerate(order) for b in order[i + 1 :])
                if not late and fits(order):
                    return True
    return False


def fits(order: Sequence[Operation]) -> bool:
    state: str | None = NOTHING
    for operation in order:
        state = apply(state, operation)
        if state is None:
            return False
    return True


@st.composite
def histories(draw: st.DrawFn) -> list[Operation]:
    count = draw(st.integers(1, 5))
    times = draw(st.permutations(range(2 * count)))
    history = []
    for number in range(count):
        start, end = sorted(times[2 * number : 2 * number + 2])
        kind = draw(st.sampled_from(["put", "delete", "get", "create", "match"]))
        values = st.sampled_from([NOTHING, *(f"v{n}" for n in range(count))])
        unknown = kind != "get" and draw(st.booleans())
        history.append(
            Operation(
                kind, start, None if unknown else end, value=f"v{number}" if kind not in ("get", "delete") else NOTHING,
                expected=draw(values) if kind == "match" else NOTHING, result=draw(values) if kind == "get" else NOTHING,
                ok=kind not in ("create", "match") or unknown or draw(st.booleans()),
            )
        )  # fmt: skip
    return history


@settings(max_examples=300, deadline=None)
@given(histories())
def test_the_checker_agrees_with_trying_every_order(history: list[Operation]) -> None:
    assert linearizable(history) == explained(history)
