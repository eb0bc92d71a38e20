"""Case number n of a seed: always the same mutations, whatever ran before it."""

from dataclasses import dataclass
from random import Random

from tests.fuzz.asked import Asked, render
from tests.fuzz.mutations import AFTER, BEFORE


@dataclass
class Case:
    """Bytes for one connection, and how they came about."""

    number: int
    story: str
    data: bytes


def make_case(seed: int, number: int, corpus: list[Asked]) -> Case:
    """The case.  Signatures are of the moment: a replay is signed anew."""
    rng = Random(f"{seed}/{number}")
    asked = rng.choice(corpus).copy()
    story = [f"{asked.method.decode()} {asked.path[:60]!r}"]
    for _ in range(rng.choice((0, 1, 1, 1, 2, 3))):
        mutate = rng.choice(BEFORE)
        mutate(rng, asked)
        story.append(mutate.__name__)
    out = render(asked)
    if rng.random() < 0.45:
        spoil = rng.choice(AFTER)
        story.append(f"then {spoil.__name__}")
        data = spoil(rng, out)
    else:
        data = out.head() + out.body
    if rng.random() < 0.05:
        other = render(rng.choice(corpus))
        data += other.head() + other.body
        story.append("then another request")
    return Case(number, ", ".join(story), data)
