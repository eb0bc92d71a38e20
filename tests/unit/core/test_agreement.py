"""The proposer's machines, case by case; tests/props/test_agreement_model.py runs them under random schedules."""

from collections.abc import Iterable

import msgspec
import pytest

from objstore.core.agreement import ConditionalWrite, PlainWrite, Survey
from objstore.core.machine import ATTEMPTS, Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.rows import EMPTY, Kind, Register, Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot, ballot_at, hybrid_of
from objstore.errors import PreconditionFailed

THREE = Quorum([(1, 2, 3)])
MINE = b"my operation id."
DRAFT = Row(Kind.OBJECT, b"", ZERO, ZERO, 0, etag="mine")


def issue(above: Ballot) -> Ballot:
    """Proxy 9's clock stands at 100."""
    return ballot_at(max(100, hybrid_of(above) + 1), 9)


def ballot(number: int) -> Ballot:
    return ballot_at(number, 1)


def row(etag: str = "theirs", *, origin: Ballot = ZERO, base: Ballot = ZERO, operation: bytes = b"their operation.") -> bytes:
    return encode_row(Row(Kind.OBJECT, operation, origin, base, 0, etag=etag))


def held(number: int, data: bytes | None = None, *, promised: int = 0) -> Register:
    return Register(ballot(promised) if promised else ZERO, ballot(number), row(base=ballot(number)) if data is None else data)


def plain(quorum: Quorum = THREE) -> PlainWrite:
    return PlainWrite(quorum, DRAFT, MINE, issue)


def proposed(quorum: Quorum = THREE, devices: Iterable[int] = (1, 2)) -> PlainWrite:
    """A plain write whose query found nothing."""
    write = plain(quorum)
    for device in devices:
        write.registered(device, EMPTY)
    assert write.round.step is Step.ACCEPT
    return write


def refused(write: PlainWrite) -> PlainWrite:
    """A plain write in its prepare, after two replicas promised something higher."""
    assert not write.answered(1, "no", ballot(300))
    assert write.answered(2, "no", ballot(300))
    assert write.round.step is Step.PREPARE
    return write


# -- plain writes ---------------------------------------------------------------------------------------------


def test_plain_write_queries_then_proposes_above_everything_it_saw() -> None:
    write = plain()
    assert write.round.step is Step.QUERY
    assert write.round.to == (1, 2, 3)
    assert not write.registered(3, held(150, promised=170))
    assert write.registered(1, held(160))
    assert write.round.step is Step.ACCEPT
    assert write.round.ballot > ballot(170)
    mine = decode_row(write.round.row)
    assert (mine.operation, mine.origin, mine.base, mine.etag) == (MINE, write.round.ballot, write.round.ballot, "mine")
    assert write.previous == held(160).row


def test_plain_write_is_done_at_a_majority_of_yes() -> None:
    write = proposed()
    assert not write.answered(2, "yes")
    assert write.answered(3, "yes")
    assert write.verdict is Verdict.DONE
    assert write.row == encode_row(write.mine)
    assert write.accepted == write.first == write.mine.origin


def test_superseded_by_a_later_plain_write_counts_and_by_an_earlier_base_does_not() -> None:
    write = proposed()
    write.answered(1, "superseded", ballot(500), ballot(500))
    assert write.answered(2, "yes")
    assert write.verdict is Verdict.DONE
    write = proposed()
    write.answered(1, "superseded", ballot(500), ballot(50))
    write.answered(3, "superseded", ballot(500), ballot(50))
    assert write.round.step is Step.PREPARE
    assert write.round.ballot > ballot(500)


def test_plain_write_that_a_promise_kept_out_is_proposed_afresh_when_it_never_took_effect() -> None:
    write = refused(proposed())
    first = write.first
    write.registered(1, held(50))
    assert write.registered(3, held(60))
    assert write.round.step is Step.ACCEPT
    assert write.round.own
    assert write.mine.origin == write.mine.base == write.round.ballot > first
    assert write.first == first, "what counts is the first proposal"


def test_plain_write_that_was_overwritten_makes_the_newer_row_chosen_and_succeeds() -> None:
    write = refused(proposed())
    newer = row(base=ballot(200))
    write.registered(1, held(50))
    assert write.registered(3, Register(ZERO, ballot(200), newer))
    assert (write.round.step, write.round.row, write.round.own, write.round.sources) == (Step.ACCEPT, newer, False, (3,))
    write.answered(1, "yes")
    assert write.answered(2, "yes")
    assert write.verdict is Verdict.DONE
    assert write.mine.etag == "mine", "the answer tells of the client's row"
    assert write.row == newer


def test_plain_write_that_another_proposer_carried_on_is_found_and_keeps_its_version() -> None:
    write = proposed()
    mine = write.round.row
    refused(write)
    assert not write.registered(1, EMPTY)
    assert write.registered(3, Register(ZERO, ballot(250), mine))
    assert write.round.own
    assert write.round.row == mine
    write.answered(1, "yes")
    assert write.answered(2, "yes")
    assert write.mine == decode_row(mine)


def test_a_carried_row_is_not_confirmed_by_superseded() -> None:
    write = refused(proposed())
    write.registered(1, Register(ZERO, ballot(200), row(base=ballot(200))))
    write.registered(2, EMPTY)
    write.answered(1, "superseded", ballot(900), ballot(900))
    write.answered(2, "superseded", ballot(900), ballot(900))
    assert write.round.step is Step.PREPARE


def test_too_few_answers_to_the_query_mean_that_nothing_was_written() -> None:
    write = plain()
    write.failed(1)
    write.registered(2, EMPTY)
    assert write.failed(3)
    assert write.verdict is Verdict.LOST
    assert write.first == ZERO


def test_silence_after_the_proposal_leaves_the_outcome_unknown() -> None:
    write = proposed()
    write.answered(1, "yes")
    for _ in range(ATTEMPTS):
        assert write.expire()
        assert write.verdict is Verdict.PENDING
    assert write.expire()
    assert write.verdict is Verdict.UNKNOWN


def test_a_change_of_the_ring_before_the_proposal_starts_over_and_after_it_prepares() -> None:
    write = plain()
    write.registered(1, EMPTY)
    assert write.restart(Quorum([(4, 5, 6)]))
    assert (write.round.step, write.round.to) == (Step.QUERY, (4, 5, 6))
    write = proposed()
    first = write.first
    write.restart(Quorum([(1, 2, 3), (4, 5, 6)]))
    assert write.round.step is Step.PREPARE
    assert write.round.to == (1, 2, 3, 4, 5, 6)
    assert write.first == first


def test_a_write_that_may_have_been_deleted_and_forgotten_is_not_proposed_again() -> None:
    write = refused(proposed())
    write.registered(1, EMPTY, floor=ballot(200))
    assert write.registered(3, EMPTY)
    assert write.verdict is Verdict.UNKNOWN
    write = refused(proposed())
    write.registered(1, EMPTY, floor=ballot(50))
    assert write.registered(3, EMPTY)
    assert write.round.own, "what was forgotten is older than our proposal"


def test_a_proposal_lies_above_what_devices_have_forgotten() -> None:
    write = plain()
    write.registered(1, EMPTY, floor=ballot(800))
    write.registered(2, EMPTY)
    assert write.first > ballot(800)


@pytest.mark.parametrize(("members", "needed"), [((1,), 1), ((1, 2), 2)])
def test_one_and_two_devices_work(members: tuple[int, ...], needed: int) -> None:
    write = proposed(Quorum([members]), members)
    for device in members[: needed - 1]:
        assert not write.answered(device, "yes")
    assert write.answered(members[needed - 1], "yes")
    assert write.verdict is Verdict.DONE


def test_in_a_change_a_write_needs_both_sets() -> None:
    write = proposed(Quorum([(1, 2, 3), (4, 5, 6)]), (1, 2, 4, 5))
    for device in (1, 2, 3, 4):
        assert not write.answered(device, "yes")
    assert write.answered(6, "yes", voting=False), "a new device's accept is durable though it has no vote yet"
    assert write.verdict is Verdict.DONE


# -- conditional writes ---------------------------------------------------------------------------------------


def create_only(current: Row | None) -> Row:
    if current is not None and current.kind != Kind.TOMBSTONE:
        raise PreconditionFailed
    return DRAFT


def conditional(judge: object = create_only, quorum: Quorum = THREE) -> ConditionalWrite:
    return ConditionalWrite(quorum, judge, MINE, issue)  # type: ignore[arg-type]


def test_conditional_write_prepares_judges_and_accepts() -> None:
    write = conditional()
    assert write.round.step is Step.PREPARE
    write.registered(1, EMPTY)
    assert write.registered(2, EMPTY)
    assert write.round.step is Step.ACCEPT
    mine = decode_row(write.round.row)
    assert (mine.operation, mine.origin, mine.base) == (MINE, write.round.ballot, ZERO)
    write.answered(1, "yes")
    assert write.answered(3, "yes")
    assert write.verdict is Verdict.DONE
    assert write.mine == mine


def test_conditional_row_takes_the_base_of_the_row_that_it_was_judged_against() -> None:
    write = conditional(lambda current: DRAFT)
    write.registered(1, Register(ZERO, ballot(40), row(base=ballot(30))))
    write.registered(2, EMPTY)
    assert decode_row(write.round.row).base == ballot(30)


def test_refusal_of_an_agreed_state_is_final_at_once() -> None:
    write = conditional()
    write.registered(1, held(40))
    assert write.registered(2, held(40))
    assert write.verdict is Verdict.REFUSED
    assert isinstance(write.refusal, PreconditionFailed)


def test_refusal_of_a_state_that_one_replica_holds_is_made_sure_of_first() -> None:
    write = conditional()
    write.registered(1, held(40))
    assert write.registered(2, EMPTY)
    assert (write.round.step, write.round.row, write.round.sources) == (Step.ACCEPT, held(40).row, (1,))
    write.answered(1, "yes")
    assert write.answered(2, "yes")
    assert write.verdict is Verdict.REFUSED


def lost_accept(write: ConditionalWrite) -> ConditionalWrite:
    """Its first proposal met promises of a rival."""
    write.registered(1, EMPTY)
    write.registered(2, EMPTY)
    write.answered(1, "no", ballot(300))
    write.answered(2, "no", ballot(300))
    assert write.round.step is Step.PREPARE
    assert write.round.ballot > ballot(300)
    return write


def test_on_a_retry_the_own_row_on_top_means_done() -> None:
    write = lost_accept(conditional())
    mine = encode_row(msgspec.structs.replace(DRAFT, operation=MINE, origin=write.first, base=ZERO))
    write.registered(1, Register(ZERO, ballot(400), mine))
    assert write.registered(2, Register(ZERO, ballot(400), mine))
    assert write.verdict is Verdict.DONE
    assert write.mine == decode_row(mine)


def test_on_a_retry_a_row_proposed_above_the_own_one_is_a_conflict() -> None:
    write = lost_accept(conditional())
    write.registered(1, Register(ZERO, ballot(350), row(origin=ballot(350))))
    assert write.registered(2, EMPTY)
    assert write.verdict is Verdict.CONFLICT


def test_on_a_retry_a_row_proposed_below_is_judged_again() -> None:
    write = lost_accept(conditional(lambda current: DRAFT))
    write.registered(1, Register(ZERO, ballot(350), row(origin=ballot(20))))
    assert write.registered(2, EMPTY)
    assert write.round.own
    assert decode_row(write.round.row).origin == write.round.ballot


def test_on_a_retry_a_refusal_goes_above_the_own_proposal_even_if_a_majority_agrees() -> None:
    write = lost_accept(conditional())
    settled = Register(ZERO, ballot(40), row(origin=ballot(40)))
    write.registered(2, settled)
    assert write.registered(3, settled)
    assert (write.round.step, write.round.row) == (Step.ACCEPT, settled.row)
    write.answered(2, "yes")
    assert write.answered(3, "yes")
    assert write.verdict is Verdict.REFUSED


def test_on_a_retry_a_trace_that_may_be_forgotten_is_a_conflict() -> None:
    write = lost_accept(conditional())
    write.registered(1, EMPTY, floor=ballot(200))
    assert write.registered(2, EMPTY)
    assert write.verdict is Verdict.CONFLICT


def test_before_the_first_proposal_nothing_can_conflict() -> None:
    write = conditional(lambda current: DRAFT)
    write.registered(1, Register(ballot(700), ZERO), granted=False)
    write.registered(2, Register(ballot(700), ZERO), granted=False)
    assert write.round.ballot > ballot(700)
    write.registered(1, Register(ZERO, ballot(650), row(origin=ballot(650))))
    write.registered(2, EMPTY)
    assert write.round.own


def test_a_judge_that_wants_no_change_gets_the_current_row() -> None:
    write = conditional(lambda current: None)
    write.registered(1, held(40))
    assert write.registered(2, held(40))
    assert write.verdict is Verdict.DONE
    assert write.left_alone
    assert write.mine == decode_row(held(40).row)


def test_superseded_is_no_success_for_a_conditional_write() -> None:
    write = conditional()
    write.registered(1, EMPTY)
    write.registered(2, EMPTY)
    write.answered(1, "superseded", ballot(900), ballot(900))
    assert write.answered(2, "superseded", ballot(900), ballot(900))
    assert write.round.step is Step.PREPARE


def test_silence_before_and_after_the_proposal() -> None:
    write = conditional()
    for _ in range(ATTEMPTS + 1):
        assert write.expire()
    assert write.verdict is Verdict.LOST
    write = lost_accept(conditional())
    while write.verdict is Verdict.PENDING:
        write.expire()
    assert write.verdict is Verdict.UNKNOWN


def test_in_a_change_what_a_device_without_a_vote_holds_alone_is_not_judged() -> None:
    write = conditional(quorum=Quorum([(1, 2, 3), (1, 4, 5)]))
    write.registered(4, held(90), voting=False)
    write.registered(1, EMPTY)
    assert write.registered(3, EMPTY)
    assert write.round.own, "judged against nothing"


# -- surveys --------------------------------------------------------------------------------------------------


def test_a_write_with_a_survey_begins_with_its_proposal_above_all_that_was_seen() -> None:
    survey = Survey(THREE)
    assert not survey.registered(1, held(40, promised=700))
    assert survey.registered(3, held(50))
    write = PlainWrite(THREE, DRAFT, MINE, issue, survey=survey)
    assert write.round.step is Step.ACCEPT
    assert write.first > ballot(700)
    assert write.previous == held(50).row


def test_a_survey_starts_over_when_the_ring_changes_and_may_be_lost() -> None:
    survey = Survey(THREE)
    survey.registered(1, held(40))
    assert survey.restart(Quorum([(4, 5)]))
    survey.registered(4, EMPTY)
    assert survey.failed(5)
    assert survey.verdict is Verdict.LOST
