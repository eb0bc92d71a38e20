"""What seeds have found, each as the smallest case that shows it."""

from objstore.core.machine import Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.reads import ReadDecision, Settlement
from objstore.core.rows import Kind, Register, Row, encode_row
from objstore.core.timestamp import ZERO, Ballot, HybridClock, ballot_at


def test_a_replica_whose_promise_keeps_the_agreed_row_out_gets_it_by_a_settlement() -> None:
    low, high = ballot_at(10 << 12, 1), ballot_at(20 << 12, 2)
    row = encode_row(Row(Kind.OBJECT, b"o" * 16, low, low, 0))
    holders, behind = Register(low, low, row), Register(high, ZERO, b"")
    clock = HybridClock(3)

    def issue(above: Ballot) -> Ballot:
        return clock.issue(0, above)

    reading = ReadDecision(Quorum([(0, 1, 2)]), issue)
    assert not reading.registered(0, holders)
    assert reading.registered(1, holders)
    assert reading.verdict is Verdict.DONE  # and nothing was sent to device 2: a read is content

    settling = Settlement(Quorum([(0, 1, 2)]), issue)
    assert settling.round.step is Step.PREPARE
    settling.round.ballot = ballot_at(15 << 12, 3)
    assert not settling.registered(2, behind, granted=False)
    assert not settling.registered(0, holders)
    assert settling.registered(1, holders)
    assert settling.round.step is Step.PREPARE
    assert settling.round.ballot > high
    assert not settling.registered(2, behind)
    assert not settling.registered(0, holders)
    assert settling.registered(1, holders)
    assert settling.round.step is Step.ACCEPT
    assert settling.round.to == (0, 1, 2)
    assert settling.round.row == row
    assert not settling.answered(0, "yes")
    assert settling.answered(2, "yes")
    assert settling.verdict is Verdict.DONE
    assert settling.row == row


def test_settling_nothing_proposes_nothing() -> None:
    clock = HybridClock(3)
    settling = Settlement(Quorum([(0, 1, 2)]), lambda above: clock.issue(0, above))
    settling.registered(0, Register())
    settling.registered(1, Register())
    assert settling.registered(2, Register())
    assert settling.verdict is Verdict.DONE
    assert settling.row == b""
