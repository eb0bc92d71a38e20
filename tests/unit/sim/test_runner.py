"""What counts as catching a variant."""

from tests.sim.runner import hunt
from tests.sim.seed import Outcome


def ill(seed: int) -> Outcome:
    return Outcome(seed, violations=["the cluster is not whole"])


def lying(seed: int, *said: str) -> Outcome:
    return Outcome(seed, violations=["the cluster is not whole", *said], inconsistencies=list(said))


def test_the_first_seed_in_which_clients_were_told_what_cannot_be_catches_a_variant() -> None:
    rest = iter([Outcome(1), ill(2), lying(3, "key a is not linearizable:\n  1..2   put  x\n  3..4   get  saw nothing"), lying(4, "more")])
    ended = hunt("name", rest)
    assert (ended.seed, ended.runs, ended.only_ill) == (3, 3, 1)
    assert ended.said.startswith("key a is not linearizable")
    assert ended.line().endswith("key a is not linearizable: ... 3..4 get saw nothing")
    assert next(rest).seed == 4  # no seed more than needed was played


def test_a_cluster_that_is_only_ill_does_not_catch_a_variant() -> None:
    ended = hunt("name", iter([Outcome(1), ill(2), ill(3)]))
    assert ended.seed is None
    assert (ended.runs, ended.only_ill) == (3, 2)
    assert ended.line().endswith("not caught; 2 seeds failed in other ways")
