"""Is the history of one key with versions linearizable, although the outcome of many operations is unknown?

The state of a key is its head and its noncurrent versions.  The search is that of judge.py: just in time, and of two configurations
that differ in nothing else the one wins that used up fewer of the operations whose outcome is unknown; but depth first, since the states
of many versions are too many to go through them all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

NOTHING = ""
MARKER = "(marker)"
UNSEEN = "?"  # begins slots, and values of copies, of which nobody knows what they are
Age = tuple[int, str]


@dataclass(frozen=True)
class Act:
    """One operation on one key.  `end` None: nobody knows whether, or when, it took effect.

    `slot` names a version: "" where versions have no ids, "null", else the id; "?..." one that nobody has seen.  `value`: what a write puts
    there; `expected`: values of which the head must be one, None for no such condition; `absent`: there must be no object.
    """

    kind: str  # put, delete, remove, get, getv, list
    start: int
    end: int | None = None
    slot: str = ""
    value: str = NOTHING
    age: Age | None = None  # orders versions; None: not known
    expected: frozenset[str] | None = None
    absent: bool = False
    ok: bool = True  # False: refused by its condition
    versioned: bool = False  # what is overwritten stays as a version, unless it has the same slot
    result: object = NOTHING


Entry = tuple[str, str, Age | None]  # slot, value, age
State = tuple[Entry | None, frozenset[Entry]]
_Configuration = tuple[int, State, int, int]  # returns behind us, state, known operations that took effect early, unknown ones used
STEPS = 30_000  # a second or so; what is not decided by then is counted, and no failure
EMPTY: State = (None, frozenset())


def seen_in(state: State) -> tuple[tuple[str, str] | None, tuple[tuple[str, str], ...]]:
    """What a listing of versions shows of a key in this state."""
    head, others = state
    return (_shown(head) if head is not None else None), tuple(sorted(map(_shown, others)))


def _shown(entry: Entry) -> tuple[str, str]:
    slot, value, _ = entry
    return (UNSEEN if slot.startswith(UNSEEN) else slot), value


def outcomes(state: State, act: Act) -> Iterator[State]:
    """The states that the operation can leave behind in this one; none if it cannot have happened so."""
    head, others = state
    live = head[1] if head is not None and head[1] != MARKER else NOTHING
    if act.kind == "get":
        if live == act.result:
            yield state
    elif act.kind == "getv":
        found = next((entry[1] for entry in (head, *others) if entry is not None and entry[0] == act.slot), NOTHING)
        if (NOTHING if found == MARKER else found) == act.result:
            yield state
    elif act.kind == "list":
        if seen_in(state) == act.result:
            yield state
    elif act.kind == "remove":
        yield from _removed(state, act.slot)
    else:
        holds = (not act.absent or live == NOTHING) and (act.expected is None or live in act.expected)
        if act.expected is not None and live.startswith(UNSEEN):
            holds = act.ok
        if act.end is None and act.versioned and (head is None or head[0] != act.slot):
            # Who gave up may leave a version behind that was never the latest, whatever his condition.
            yield head, frozenset(entry for entry in others if entry[0] != act.slot) | {(act.slot, act.value, act.age)}
        if holds != act.ok:
            return
        yield _written(state, act) if holds else state


def _written(state: State, act: Act) -> State:
    head, others = state
    new = (act.slot, act.value, act.age)
    if not act.versioned:
        return (None if act.kind == "delete" else new), others
    kept = others if head is None else others | {head}
    return new, frozenset(entry for entry in kept if entry[0] != act.slot)


def _removed(state: State, slot: str) -> Iterator[State]:
    head, others = state
    rest = frozenset(entry for entry in others if entry[0] != slot)
    if head is None or head[0] != slot:
        yield head, rest
        return
    known = [entry for entry in rest if entry[2] is not None]
    newest = max(known, key=lambda entry: entry[2] or (0, ""), default=None)
    for successor in sorted((entry for entry in rest if entry[2] is None or entry == newest), key=str):
        yield successor, rest - {successor}
    if not rest:
        yield None, rest


def is_explained(history: Sequence[Act], begin: State = EMPTY, *, steps: int = STEPS) -> bool | None:
    """Whether some order of the operations, each between its start and its end, explains all results; None: not found out in so many steps."""
    acts = list(history)
    search = _Search(acts)
    # Depth first: what is known to have happened before what may have, the operation that is about to return before all others.
    stack: list[_Configuration] = [(0, begin, 0, 0)]
    while stack:
        configuration = stack.pop()
        if not search.is_new(configuration):
            continue
        if configuration[0] == len(search.returns):
            return True
        steps -= 1
        if not steps:
            return None
        stack.extend(search.following(configuration))
    return False


class _Search:
    """The returns of operations in their order, and what could have taken effect before each."""

    def __init__(self, acts: list[Act]) -> None:
        self._acts = acts
        self.returns = sorted((act.end, number) for number, act in enumerate(acts) if act.end is not None)
        self._visited: dict[tuple[int, State, int], list[int]] = {}

    def is_new(self, configuration: _Configuration) -> bool:
        """Whether nothing better was looked at: of two that differ in nothing else the one is better that used up fewer unknown operations."""
        at, state, done, used = configuration
        sets = self._visited.setdefault((at, state, done), [])
        if any(other & ~used == 0 for other in sets):
            return False
        sets[:] = [other for other in sets if used & ~other]
        sets.append(used)
        return True

    def following(self, configuration: _Configuration) -> Iterator[_Configuration]:
        """What can come next, the most likely last."""
        at, state, done, used = configuration
        end, number = self.returns[at]
        if done >> number & 1:
            yield at + 1, state, done & ~(1 << number), used
            return
        for other, act in enumerate(self._acts):
            if act.end is None and act.start < end and not used >> other & 1:
                yield from ((at, after, done, used | 1 << other) for after in outcomes(state, act) if after != state)
        for other_end, other in reversed(self.returns[at + 1 :]):
            act = self._acts[other]
            if act.start < end < other_end and not done >> other & 1:
                yield from ((at, after, done | 1 << other, used) for after in outcomes(state, act))
        yield from ((at + 1, after, done, used) for after in outcomes(state, self._acts[number]))


def explain(history: Sequence[Act], begin: State = EMPTY) -> str:
    """The shortest beginning of a history that is already wrong, in order of start."""
    ends = sorted(act.end for act in history if act.end is not None)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if is_explained(_until(history, ends[middle]), begin, steps=STEPS // 4) is not False:
            low = middle + 1
        else:
            high = middle
    wrong = sorted(_until(history, ends[high]), key=lambda act: act.start)
    return "\n".join(f"  {_line(act)}" for act in wrong[-40:])


def _until(history: Sequence[Act], end: int) -> list[Act]:
    cut = []
    for act in history:
        if act.start > end:
            continue
        if act.end is None or act.end <= end:
            cut.append(act)
        elif act.kind in ("put", "delete", "remove"):
            cut.append(Act(act.kind, act.start, None, act.slot, act.value, act.age, act.expected, act.absent, versioned=act.versioned))
    return cut


def _line(act: Act) -> str:
    end = "unknown" if act.end is None else str(act.end)
    said = f"saw {act.result or 'nothing'}" if act.kind in ("get", "getv", "list") else act.value
    condition = f" if {sorted(act.expected)}" if act.expected is not None else " if absent" if act.absent else ""
    return f"{act.start:>6}..{end:<8} {act.kind:6} {act.slot} {said}{condition}{'' if act.ok else ' refused'}"
