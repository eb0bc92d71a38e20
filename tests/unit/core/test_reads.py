"""Reads and settlements, case by case; tests/props/test_agreement_model.py runs them under random schedules."""

from collections.abc import Callable

import pytest

from objstore.core.machine import Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.reads import ReadDecision, Settlement
from objstore.core.rows import EMPTY, Kind, Register, Row, encode_row
from objstore.core.timestamp import ZERO, Ballot, ballot_at, hybrid_of

THREE = Quorum([(1, 2, 3)])


def issue(above: Ballot) -> Ballot:
    """Proxy 9's clock stands at 100."""
    return ballot_at(max(100, hybrid_of(above) + 1), 9)


def ballot(number: int) -> Ballot:
    return ballot_at(number, 1)


def row(*, base: Ballot = ZERO) -> bytes:
    return encode_row(Row(Kind.OBJECT, b"their operation.", ZERO, base, 0, etag="theirs"))


def held(number: int, data: bytes | None = None, *, promised: int = 0) -> Register:
    return Register(ballot(promised) if promised else ZERO, ballot(number), row(base=ballot(number)) if data is None else data)


# -- reads ----------------------------------------------------------------------------------------------------


def reading(quorum: Quorum = THREE) -> ReadDecision:
    return ReadDecision(quorum, issue)


def test_a_read_is_done_when_a_majority_agrees_whatever_the_third_says() -> None:
    read = reading()
    assert not read.registered(1, held(40))
    assert read.registered(3, held(40, promised=90))
    assert (read.verdict, read.accepted, read.row) == (Verdict.DONE, ballot(40), held(40).row)
    assert read.holders(read.accepted) == (1, 3)


def test_nothing_is_an_answer_only_of_a_majority() -> None:
    read = reading()
    assert not read.registered(1, EMPTY)
    assert not read.failed(2)
    assert read.failed(3)
    assert read.verdict is Verdict.LOST


def test_a_difference_is_written_back_at_its_own_ballot_to_those_who_lack_it() -> None:
    read = reading()
    read.registered(1, held(30))
    assert read.registered(2, held(40))
    assert (read.round.step, read.round.ballot, read.round.to, read.round.sources) == (Step.ACCEPT, ballot(40), (1, 3), (2,))
    assert read.answered(3, "yes")
    assert (read.verdict, read.row) == (Verdict.DONE, held(40).row)


@pytest.mark.parametrize("verdict", ["no", "superseded"])
def test_what_stands_in_the_way_of_a_write_back_leads_to_an_identity_round(verdict: str) -> None:
    read = reading()
    read.registered(1, held(30))
    read.registered(2, held(40))
    read.answered(1, verdict, ballot(200), ballot(200))
    assert read.answered(3, verdict, ballot(200), ballot(200))
    assert read.round.step is Step.PREPARE
    assert read.round.ballot > ballot(200)
    read.registered(1, held(150))
    assert read.registered(2, held(40))
    assert (read.round.step, read.round.row) == (Step.ACCEPT, held(150).row)
    read.answered(1, "yes")
    assert read.answered(3, "yes")
    assert (read.verdict, read.row) == (Verdict.DONE, held(150).row)


def test_a_device_without_a_vote_cannot_say_that_there_is_nothing() -> None:
    read = reading()
    read.registered(1, EMPTY, voting=False)
    read.registered(2, held(40))
    assert read.registered(3, held(40))
    assert read.row == held(40).row


def test_in_a_change_a_row_that_the_new_set_lacks_is_given_to_it_before_it_is_shown() -> None:
    read = reading(Quorum([(1, 2, 3), (1, 4, 5)]))
    read.registered(1, held(40))
    read.registered(2, held(40))
    assert read.registered(4, EMPTY, voting=False)
    assert (read.round.step, read.round.to) == (Step.ACCEPT, (3, 4, 5))
    assert read.answered(5, "yes", voting=False)
    assert read.verdict is Verdict.DONE


def test_in_a_change_what_a_device_without_a_vote_holds_alone_does_not_count() -> None:
    sets = Quorum([(1, 2, 3), (1, 4, 5)])
    read = reading(sets)
    read.registered(4, held(90), voting=False)
    read.registered(1, EMPTY)
    assert read.registered(3, EMPTY)
    assert (read.verdict, read.row) == (Verdict.DONE, b"")


def test_in_a_change_devices_of_both_sets_that_agree_are_enough() -> None:
    read = reading(Quorum([(1, 2, 3), (1, 2, 4)]))
    read.registered(1, held(40))
    assert read.registered(2, held(40))
    assert read.verdict is Verdict.DONE


def test_a_read_starts_over_when_the_ring_changes() -> None:
    read = reading()
    read.registered(1, held(30))
    assert read.restart(Quorum([(4,)]))
    assert read.registered(4, held(40))
    assert (read.verdict, read.row) == (Verdict.DONE, held(40).row)


def test_a_read_that_cannot_be_settled_is_lost() -> None:
    read = reading()
    read.registered(1, held(30))
    read.registered(2, held(40))
    while read.verdict is Verdict.PENDING:
        read.expire()
    assert read.verdict is Verdict.LOST


# -- settlements ----------------------------------------------------------------------------------------------


def test_a_settlement_accepts_anew_although_a_majority_agrees() -> None:
    settlement = Settlement(THREE, issue)
    assert settlement.round.step is Step.PREPARE
    settlement.registered(1, held(40))
    assert not settlement.registered(2, held(40))
    assert settlement.only_waits
    assert settlement.registered(3, held(40))
    assert (settlement.round.step, settlement.round.row) == (Step.ACCEPT, held(40).row)
    settlement.answered(1, "yes")
    assert settlement.answered(3, "yes")
    assert settlement.verdict is Verdict.DONE


def test_a_settlement_goes_above_a_replica_that_promised_more() -> None:
    settlement = Settlement(THREE, issue)
    settlement.registered(3, Register(ballot(900), ZERO), granted=False)
    settlement.registered(1, held(40))
    assert settlement.registered(2, held(40))
    assert settlement.round.step is Step.PREPARE
    assert settlement.round.ballot > ballot(900)


def test_a_settlement_of_nothing_is_done() -> None:
    settlement = Settlement(THREE, issue)
    settlement.registered(1, EMPTY)
    assert not settlement.registered(2, EMPTY)
    assert settlement.registered(3, EMPTY)
    assert settlement.verdict is Verdict.DONE


def test_a_settlement_takes_over_what_only_the_last_one_to_answer_has() -> None:
    settlement = Settlement(THREE, issue)
    settlement.registered(1, EMPTY)
    settlement.registered(2, EMPTY)
    assert settlement.registered(3, held(40))
    assert (settlement.round.step, settlement.round.row) == (Step.ACCEPT, held(40).row)


@pytest.mark.parametrize("silent", [lambda machine: machine.failed(3), lambda machine: machine.expire()])
def test_a_settlement_goes_on_without_one_that_does_not_answer(silent: Callable[[Settlement], bool]) -> None:
    settlement = Settlement(THREE, issue)
    settlement.registered(1, held(40))
    settlement.registered(2, held(40))
    assert silent(settlement)
    assert settlement.round.step is Step.ACCEPT
    assert not settlement.only_waits


def test_a_settlement_without_a_quorum_is_lost_or_tried_again() -> None:
    settlement = Settlement(THREE, issue)
    first = settlement.round.ballot
    settlement.registered(1, held(40))
    assert not settlement.only_waits
    settlement.failed(2)
    assert settlement.failed(3)
    assert settlement.round.ballot > first


def test_a_settlement_prepares_again_when_the_ring_changes() -> None:
    settlement = Settlement(THREE, issue)
    settlement.registered(1, held(40))
    assert settlement.restart(Quorum([(4,)]))
    assert (settlement.round.step, settlement.round.to) == (Step.PREPARE, (4,))
