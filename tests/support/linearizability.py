"""Is a history of one key linearizable?  Just-in-time linearization (Lowe 2017, "Testing for linearizability").

Events are replayed in order of time.  A configuration is the value of the register and the set of operations that have
taken effect but not yet returned; an operation is linearized only when some return demands it.  An operation whose outcome
is unknown never returns: it may take effect at any time after its start, or never.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NOTHING = ""


@dataclass(frozen=True)
class Operation:
    """One operation of one client.

    kind: "put" (value), "delete", "get" (result), "create" (value, if nothing is there), "match" (value, if `expected` is
    there).  `end` None: outcome unknown.  `ok` False: a condition did not hold.  Values of writes are unique.
    """

    kind: str
    start: int
    end: int | None
    value: str = NOTHING
    expected: str = NOTHING
    result: str = NOTHING
    ok: bool = True


def apply(state: str, operation: Operation) -> str | None:
    """The state after the operation, or None when it cannot have happened in this state."""
    known = operation.end is not None
    match operation.kind:
        case "put":
            return operation.value
        case "delete":
            return NOTHING
        case "get":
            return state if not known or state == operation.result else None
        case "create":
            holds = state == NOTHING
        case "match":
            holds = state == operation.expected
        case other:
            raise AssertionError(other)
    if operation.ok:
        return operation.value if holds else None
    return None if holds else state


def _pruned(history: Sequence[Operation]) -> list[Operation]:
    """Without unknown writes whose value nobody saw: they need not have happened."""
    seen = {op.result for op in history if op.kind == "get" and op.end is not None} | {op.expected for op in history if op.kind == "match"}
    return [op for op in history if op.end is not None or op.value in seen]


def linearizable(history: Sequence[Operation], *, initial: str = NOTHING) -> bool:
    """Whether some order of the operations, each between its start and its end, explains all results."""
    effective = [op for op in history if op.end is not None or op.kind != "get"]
    return _check(_pruned(effective), initial) or _check(effective, initial)


def _check(history: Sequence[Operation], initial: str) -> bool:
    events: list[tuple[int, int, int]] = []
    for number, op in enumerate(history):
        events.append((op.start, 0, number))
        if op.end is not None:
            events.append((op.end, 1, number))
    events.sort()
    twins = _twins(history)
    pending = 0
    configurations = {(initial, 0)}
    for _, is_return, number in events:
        bit = 1 << number
        if not is_return:
            pending |= bit
            continue
        configurations = _linearize(configurations, pending, bit, history, twins)
        if not configurations:
            return False
        pending &= ~bit
        configurations = {(state, done & ~bit) for state, done in configurations}
    return True


def _twins(history: Sequence[Operation]) -> dict[int, int]:
    """For each operation of unknown outcome the one before it (as bits) that is just the same: they can change places.

    So the later need not be tried before the earlier, and many deletions that nobody knows about do not make two to their number of
    configurations.
    """
    last: dict[tuple[str, str, str], int] = {}
    twins: dict[int, int] = {}
    for number in sorted((n for n, op in enumerate(history) if op.end is None), key=lambda n: history[n].start):
        same = (history[number].kind, history[number].value, history[number].expected)
        if same in last:
            twins[1 << number] = last[same]
        last[same] = 1 << number
    return twins


def _linearize(
    start: set[tuple[str, int]], pending: int, wanted: int, history: Sequence[Operation], twins: dict[int, int]
) -> set[tuple[str, int]]:
    """All configurations reachable from `start` in which the wanted operation has taken effect."""
    found: set[tuple[str, int]] = set()
    visited: set[tuple[str, int]] = set()
    todo = list(start)
    while todo:
        state, done = _absorb(*todo.pop(), pending, history)
        if (state, done) in visited:
            continue
        visited.add((state, done))
        if done & wanted:
            found.add((state, done))
            continue
        for bit in _bits(pending & ~done):
            twin = twins.get(bit)
            if twin is not None and not done & twin:
                continue
            after = apply(state, history[bit.bit_length() - 1])
            if after is not None:
                todo.append((after, done | bit))
    return found


def _absorb(state: str, done: int, pending: int, history: Sequence[Operation]) -> tuple[str, int]:
    """Let every pending operation that only looks happen now if what it saw fits: later would be no better."""
    for bit in _bits(pending & ~done):
        operation = history[bit.bit_length() - 1]
        if (operation.kind == "get" or not operation.ok) and apply(state, operation) is not None:
            done |= bit
    return state, done


def _bits(mask: int) -> Iterator[int]:
    while mask:
        bit = mask & -mask
        yield bit
        mask ^= bit
