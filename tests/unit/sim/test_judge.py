"""The fast judge against its dumb twin, on histories of a true register and on the same histories with a lie in them."""

import heapq
import random
import time
from dataclasses import replace

from tests.sim.judge import is_linearizable
from tests.support.linearizability import Operation, linearizable


def true_history(seed: int, count: int, clients: int, unknown: float) -> list[Operation]:
    """What clients of one correct register see; some never learn what became of their writes."""
    rng = random.Random(seed)
    state, begun, order = "", 0, 0
    heap = [(rng.random(), client, True) for client in range(clients)]
    heapq.heapify(heap)
    running: dict[int, tuple[str, int, str, str]] = {}
    history: list[Operation] = []
    while heap:
        now, client, begins = heapq.heappop(heap)
        order += 1
        if begins:
            if begun < count:
                begun += 1
                kind = rng.choices(["put", "delete", "get", "create", "match"], [3, 1.5, 6, 1.2, 2])[0]
                running[client] = (kind, order, f"v{begun}", state)
                heapq.heappush(heap, (now + rng.random() * 0.2, client, False))
            continue
        kind, start, value, expected = running.pop(client)
        lost = kind != "get" and rng.random() < unknown
        ok = state == "" if kind == "create" else state == expected if kind == "match" else True
        result = state if kind == "get" else ""
        if kind != "get" and ok and not (lost and rng.random() < 0.5):
            state = "" if kind == "delete" else value
        history.append(
            Operation(
                kind,
                start,
                None if lost else order,
                value=value if kind in ("put", "create", "match") else "",
                expected=expected if kind == "match" else "",
                result=result,
                ok=ok or lost,
            )
        )
        heapq.heappush(heap, (now + rng.random(), client, True))
    return history


def test_true_histories_are_linearizable_however_many_outcomes_are_unknown() -> None:
    began = time.process_time()
    for seed in range(30):
        assert is_linearizable(true_history(seed, 150, 8, seed / 60))
    assert time.process_time() - began < 5


def test_lies_are_judged_as_the_plain_search_judges_them() -> None:
    bad = 0
    for seed in range(600):
        rng = random.Random(seed)
        history = true_history(seed, rng.randint(4, 20), rng.randint(2, 5), rng.choice((0, 0.1, 0.3)))
        for _ in range(rng.randint(1, 2)):
            number = rng.randrange(len(history))
            op = history[number]
            if op.kind == "get":
                history[number] = replace(op, result=rng.choice(["", *(o.value for o in history if o.value)]))
            elif op.kind in ("create", "match") and op.end is not None:
                history[number] = replace(op, ok=not op.ok)
            elif op.kind == "put":
                history[number] = replace(op, kind="delete", value="")
        verdict = is_linearizable(history)
        assert verdict == linearizable(history), seed
        bad += not verdict
    assert 150 < bad < 550
