"""Judges what clients saw: linearizable per key, never wrong bytes, and the same from every replica in the end."""

from collections.abc import Sequence

from tests.sim.judge import is_linearizable
from tests.sim.workload import History
from tests.support.linearizability import NOTHING, Operation


def check_history(history: History) -> list[str]:
    """What clients were told that cannot be true, in words; empty when all is well."""
    found = list(history.lies)
    for key in sorted(history.operations):
        operations = history.operations[key]
        if not is_linearizable(operations):
            found.append(f"key {key} is not linearizable:\n" + explain(operations))
    return found


def check_counter(history: History, key: str) -> list[str]:
    """The last value read of the counter lies between the increments acknowledged since it was last nothing and all of them."""
    operations = history.operations.get(key, [])
    done = sum(1 for op in operations if op.kind in ("create", "match") and op.end is not None and op.ok)
    unknown = sum(1 for op in operations if op.kind in ("create", "match") and op.end is None)
    reads = [op for op in operations if op.kind == "get"]
    if not reads:
        return []
    last = max(reads, key=lambda op: op.start).result
    value = int(last.split("-")[1]) if last != NOTHING else 0
    if done <= value <= done + unknown:
        return []
    return [f"the counter ended at {value} after {done} acknowledged and {unknown} unknown increments"]


def explain(operations: Sequence[Operation]) -> str:
    """The shortest beginning of a history that is already wrong, its last operations in order of their start."""
    ends = sorted(op.end for op in operations if op.end is not None)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if is_linearizable(until(operations, ends[middle])):
            low = middle + 1
        else:
            high = middle
    wrong = sorted(until(operations, ends[high]), key=lambda op: op.start)
    return "\n".join(f"  {_line(op)}" for op in wrong[-14:])


def until(operations: Sequence[Operation], end: int) -> list[Operation]:
    """The history as it was known at one moment: later starts are gone, later ends are open."""
    cut = []
    for op in operations:
        if op.start > end:
            continue
        if op.end is None or op.end <= end:
            cut.append(op)
        elif op.kind != "get":
            cut.append(Operation(op.kind, op.start, None, value=op.value, expected=op.expected))
    return cut


def _line(op: Operation) -> str:
    end = "unknown" if op.end is None else str(op.end)
    said = {"get": f"saw {op.result or 'nothing'}", "delete": ""}.get(op.kind, op.value)
    condition = f" if {op.expected}" if op.kind == "match" else ""
    refused = "" if op.ok else " refused"
    return f"{op.start:>6}..{end:<8} {op.kind:6} {said}{condition}{refused}"
