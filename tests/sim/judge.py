"""Is a history of one key linearizable, decided fast although many outcomes are unknown?

The same question and the same just-in-time search as tests/support/linearizability.py, which is the dumb twin that this is
tested against.  Under heavy faults dozens of writes stay open for ever and the plain search drowns in their subsets.  Three
facts keep it small.  An open write that was left unused can only help later, so of two configurations that differ in nothing
else the one that used fewer wins.  Open writes of equal effect are interchangeable.  And values that nobody ever saw are all
one value: "something else".
"""

from collections.abc import Iterator, Sequence

from tests.support.linearizability import NOTHING, Operation

_UNSEEN = "\0unseen"

_State = tuple[str, int]  # the register's value, the known operations that took effect and have not returned
_Configurations = dict[_State, list[int]]  # -> sets of open writes used up, none of them a subset of another


def is_linearizable(history: Sequence[Operation]) -> bool:
    """Whether some order of the operations, each between its start and its end, explains all results."""
    operations = [op for op in history if op.end is not None or op.kind != "get"]
    return _Search(operations).run()


class _Search:
    def __init__(self, operations: list[Operation]) -> None:
        seen = {op.result for op in operations if op.kind == "get"} | {op.expected for op in operations if op.kind == "match"}
        self._operations = operations
        self._values = [op.value if op.value in seen else _UNSEEN for op in operations]
        self._classes: dict[tuple[str, str, str], int] = {}  # effect -> mask of open writes that have it
        for number, op in enumerate(operations):
            if op.end is None:
                effect = (op.kind, NOTHING if op.kind == "delete" else self._values[number], op.expected)
                self._classes[effect] = self._classes.get(effect, 0) | 1 << number

    def run(self) -> bool:
        events = []
        for number, op in enumerate(self._operations):
            events.append((op.start, 0, number))
            if op.end is not None:
                events.append((op.end, 1, number))
        known = started = 0
        configurations: _Configurations = {(NOTHING, 0): [0]}
        for _, is_return, number in sorted(events):
            bit = 1 << number
            if not is_return:
                started |= bit
                known |= 0 if self._operations[number].end is None else bit
                continue
            configurations = self._reach(configurations, known, started, bit)
            if not configurations:
                return False
            known &= ~bit
            configurations = _without(configurations, bit)
        return True

    def _reach(self, begin: _Configurations, known: int, started: int, wanted: int) -> _Configurations:
        """Configurations in which the wanted operation took effect, those that use fewest open writes first."""
        reached: _Configurations = {}
        visited: _Configurations = {}
        layers: list[list[tuple[str, int, int]]] = [[(state, done, used) for (state, done), sets in begin.items() for used in sets]]
        for layer in layers:
            while layer:
                state, done, used = layer.pop()
                if not _admit(visited, (state, done), used):
                    continue
                if done & wanted:
                    _admit(reached, (state, done), used)
                    continue
                left = known & ~done
                while left:
                    bit = left & -left
                    left ^= bit
                    after = self._effect(bit.bit_length() - 1, state)
                    if after is not None:
                        layer.append((after, done | bit, used))
                for bit, after in self._open_writes(state, started & ~used):
                    if layer is layers[-1]:
                        layers.append([])
                    layers[-1].append((after, done, used | bit))
        return reached

    def _open_writes(self, state: str, available: int) -> Iterator[tuple[int, str]]:
        for (kind, value, expected), members in self._classes.items():
            usable = members & available
            if not usable or value == state:
                continue
            if (kind == "create" and state != NOTHING) or (kind == "match" and state != expected):
                continue
            yield usable & -usable, value

    def _effect(self, number: int, state: str) -> str | None:
        """The value after a known operation, None when it cannot have happened in this state."""
        op = self._operations[number]
        if op.kind == "get":
            return state if state == op.result else None
        if op.kind == "put":
            return self._values[number]
        if op.kind == "delete":
            return NOTHING
        holds = state == (NOTHING if op.kind == "create" else op.expected)
        if op.ok:
            return self._values[number] if holds else None
        return None if holds else state


def _admit(table: _Configurations, key: _State, used: int) -> bool:
    """Add a set of used open writes unless a subset of it is there; supersets of it leave."""
    sets = table.get(key)
    if sets is None:
        table[key] = [used]
        return True
    if any(other & ~used == 0 for other in sets):
        return False
    sets[:] = [other for other in sets if used & ~other]
    sets.append(used)
    return True


def _without(configurations: _Configurations, bit: int) -> _Configurations:
    slim: _Configurations = {}
    for (state, done), sets in configurations.items():
        for used in sets:
            _admit(slim, (state, done & ~bit), used)
    return slim
