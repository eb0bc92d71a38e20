"""What all machines share."""

from objstore.core.machine import Round, Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.reads import ReadDecision
from objstore.core.rows import EMPTY, Register
from objstore.core.timestamp import ZERO, Ballot, ballot_at

THREE = Quorum([(1, 2, 3)])


def read() -> ReadDecision:
    return ReadDecision(THREE, lambda above: Ballot(max(above, ballot_at(100, 9))))


def test_a_round_names_what_it_asks() -> None:
    assert "QUERY" in repr(Round(Step.QUERY, (1, 2)))
    assert Round(Step.QUERY, (1, 2), version="ab").version == "ab"


def test_silence_of_a_majority_is_a_loss_and_no_answer() -> None:
    machine = read()
    assert not machine.registered(1, EMPTY)
    assert machine.expire()
    assert machine.verdict is Verdict.LOST


def test_a_failure_of_a_minority_is_waited_out() -> None:
    machine = read()
    assert not machine.failed(1)
    assert not machine.registered(2, EMPTY)
    assert machine.registered(3, EMPTY)
    assert (machine.verdict, machine.accepted, machine.row) == (Verdict.DONE, ZERO, b"")


def test_who_answered_what_is_remembered() -> None:
    machine = read()
    machine.registered(1, Register(ZERO, ballot_at(5, 1), b"row"))
    machine.registered(2, Register(ZERO, ballot_at(5, 1), b"row"))
    assert machine.holders(ballot_at(5, 1)) == (1, 2)
    assert machine.holders(ballot_at(4, 1)) == ()
