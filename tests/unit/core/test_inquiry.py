"""Machines that look at noncurrent versions; tests/props/test_versions_model.py runs them under random schedules."""

import msgspec
import pytest

from objstore.core.agreement import ConditionalWrite, FamilyWrite, PlainWrite
from objstore.core.inquiry import Unread, Versions
from objstore.core.machine import Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.reads import LookAtVersion, Offer, VersionRead, VersionSettlement
from objstore.core.rows import EMPTY, NEW_VERSION, Kind, Register, Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot, ballot_at, hybrid_of
from objstore.core.versions import SUSPENDED, new_version, without_version
from objstore.errors import NoSuchVersion, PreconditionFailed

THREE = Quorum([(1, 2, 3)])
MINE = b"my operation id."
DRAFT = Row(Kind.OBJECT, b"", ZERO, ZERO, 0, etag="mine", version=NEW_VERSION)


def issue(above: Ballot) -> Ballot:
    """Proxy 9's clock stands at 100."""
    return ballot_at(max(100, hybrid_of(above) + 1), 9)


def at(number: int) -> Ballot:
    return ballot_at(number, 1)


def row(number: int, *, kind: Kind = Kind.OBJECT, version: int | None = None, base: int | None = None, **more: object) -> Row:
    """A row with origin `number`; its version is that of `version`, else its own."""
    id_ = at(number if version is None else version).hex()
    return Row(kind, b"their operation.", at(number), at(number if base is None else base), 0, version=id_, **more)


def held(value: Row, accepted: int | None = None, *, promised: int = 0) -> Register:
    return Register(at(promised) if promised else ZERO, value.origin if accepted is None else at(accepted), encode_row(value))


def bury(write: FamilyWrite, number: int, *devices: int) -> None:
    """The tombstone of a version is stored anew, at the rank of the promise under which it was read."""
    round_ = write.round
    assert (round_.step, round_.version, round_.to) == (Step.ACCEPT, at(number).hex(), (1, 2, 3))
    stored = decode_row(round_.row)
    assert (stored.kind, stored.origin) == (Kind.TOMBSTONE, round_.ballot)
    assert stored.base < stored.origin  # it still tells when the removal was proposed
    for device in devices:
        write.answered(device, "yes")


# -- what a judge sees ---------------------------------------------------------------------------------------------


def test_what_was_not_read_is_asked_for() -> None:
    versions = Versions(row(5), {"": None, at(3).hex(): row(3), at(2).hex(): row(9, kind=Kind.TOMBSTONE, version=2)}, None)
    assert versions.get(at(5).hex()) == row(5)
    assert versions.get("") is None
    assert versions.get(at(3).hex()) == row(3)
    assert versions.get(at(2).hex()) is None
    with pytest.raises(Unread):
        versions.get(at(1).hex())
    with pytest.raises(Unread):
        versions.newest()
    assert Versions(None, {}, (None,)).newest() is None


# -- plain writes --------------------------------------------------------------------------------------------------


def proposed() -> PlainWrite:
    write = PlainWrite(THREE, DRAFT, MINE, issue)
    assert not write.registered(1, EMPTY)
    assert write.registered(2, EMPTY)
    return write


def prepared(write: PlainWrite) -> PlainWrite:
    write.answered(1, "no", at(300))
    write.answered(2, "no", at(300))
    assert write.round.step is Step.PREPARE
    return write


def test_the_version_id_is_the_first_ballot_and_stays() -> None:
    write = prepared(proposed())
    assert write.mine.version == write.first.hex()
    for device in (1, 2):
        write.registered(device, EMPTY)
    assert (write.round.step, write.round.version) == (Step.QUERY, write.first.hex())
    for device in (1, 2):
        write.registered(device, EMPTY)
    assert write.round.own
    assert write.round.version is None
    assert write.round.ballot > write.first
    assert write.mine.version == write.first.hex()


def test_a_write_that_was_overwritten_is_stored_as_a_version_before_it_is_done() -> None:
    write = prepared(proposed())
    above = held(row(301))
    for device in (1, 2):
        write.registered(device, above)
    assert write.round.version == write.first.hex()
    assert write.round.to == (1, 2)  # who promised
    for device in (1, 2):
        write.registered(device, EMPTY)
    assert (write.round.step, write.round.own, write.round.version) == (Step.ACCEPT, True, write.first.hex())
    assert decode_row(write.round.row).version == write.first.hex()
    for device in (2, 3):
        write.answered(device, "yes")
    assert (write.round.step, write.round.own, write.round.version) == (Step.ACCEPT, False, None)
    for device in (2, 3):
        write.answered(device, "yes")
    assert write.verdict is Verdict.DONE
    assert write.row == above.row


def test_a_write_that_was_removed_again_has_taken_effect() -> None:
    write = prepared(proposed())
    for device in (1, 2):
        write.registered(device, held(row(301, base=3)))
    dead = held(row(102, kind=Kind.TOMBSTONE, version=100), 102)
    dead = Register(ZERO, at(102), encode_row(msgspec.structs.replace(decode_row(dead.row), version=write.first.hex())))
    for device in (1, 2):
        write.registered(device, dead)
    assert (write.round.step, write.round.version) == (Step.ACCEPT, write.first.hex())  # no lower head may bring it back
    while write.verdict is Verdict.PENDING:
        assert write.round.step is Step.ACCEPT
        assert not write.round.own
        write.answered(write.round.to[0], "yes")
        write.answered(write.round.to[1], "yes")
    assert write.verdict is Verdict.DONE


# -- conditional writes --------------------------------------------------------------------------------------------


def test_a_version_that_a_minority_holds_is_chosen_before_something_is_judged_by_it() -> None:
    write = ConditionalWrite(THREE, lambda _: DRAFT, MINE, issue)
    write.registered(1, held(row(5)))
    assert write.registered(2, EMPTY)
    assert (write.round.step, write.round.own) == (Step.ACCEPT, False)
    for device in (1, 2):
        write.answered(device, "yes")
    assert write.round.step is Step.PREPARE
    chosen = Register(ZERO, write.accepted, b"")
    assert chosen.row == b""


def null_over(*heads: Register) -> ConditionalWrite:
    """A conditional write in a suspended bucket, on a head that a majority holds."""
    draft = new_version(Row(Kind.OBJECT, b"", ZERO, ZERO, 0, etag="mine"), SUSPENDED)
    write = ConditionalWrite(THREE, lambda _: draft, MINE, issue)
    for device, register in enumerate(heads, 1):
        write.registered(device, register)
    return write


def test_a_null_version_that_overwrites_another_in_place_takes_its_base() -> None:
    null = msgspec.structs.replace(row(9, base=7), version="")
    write = null_over(held(null), held(null))
    assert (write.round.step, write.round.version) == (Step.ACCEPT, None)
    assert decode_row(write.round.row).base == at(7)


@pytest.mark.parametrize(
    ("stored", "base"), [(None, 3), (row(8, kind=Kind.TOMBSTONE, base=0), 8), (row(8, base=6), 6), (row(8, base=2), 3)]
)
def test_a_null_version_above_another_head_tells_of_the_null_version_that_it_hides(stored: Row | None, base: int) -> None:
    """Or the writer of that one, who does not know yet that he has succeeded, would write it again."""
    head = held(row(4, base=3))
    write = null_over(head, head)
    assert (write.round.step, write.round.version) == (Step.QUERY, "")
    register = EMPTY if stored is None else held(msgspec.structs.replace(stored, version="", base=ZERO if base == 8 else stored.base))
    for device in (1, 2):
        write.registered(device, register)
    if stored is not None and stored.kind == Kind.TOMBSTONE:
        assert (write.round.step, write.round.version) == (Step.ACCEPT, "")
        for device in (1, 2):
            write.answered(device, "yes")
    assert (write.round.step, write.round.version) == (Step.ACCEPT, None)
    assert decode_row(write.round.row).base == at(base)


def test_removing_the_head_reads_the_newest_of_those_that_promised_and_makes_sure_of_it() -> None:
    def judge(current: Row | None, versions: Versions) -> Row | None:
        assert current is not None
        return without_version(current, versions, current.version)

    write = FamilyWrite(THREE, judge, MINE, issue)
    for device in (1, 3):
        write.registered(device, held(row(9)))
    assert (write.round.step, write.round.to) == (Step.NEWEST, (1, 3))
    assert not write.listed(1, [row(4), row(2)], more=False)
    assert write.listed(3, [row(2)], more=False)
    assert (write.round.step, write.round.version, write.round.to) == (Step.QUERY, at(4).hex(), (1, 3))
    write.registered(1, held(row(4)))
    assert write.registered(3, EMPTY)
    assert (write.round.step, write.round.version, write.round.to, write.round.sources) == (Step.ACCEPT, at(4).hex(), (2, 3), (1,))
    assert write.answered(2, "yes")
    assert (write.round.step, write.round.own, write.round.version) == (Step.ACCEPT, True, None)
    assert write.round.sources == (1,)
    back = decode_row(write.round.row)
    assert (back.version, back.base) == (at(4).hex(), at(4))  # not the base of the head that is gone
    (effect,) = (decode_row(encoded) for encoded in back.effects)
    assert (effect.kind, effect.version, effect.origin) == (Kind.TOMBSTONE, at(9).hex(), write.round.ballot)


def test_a_candidate_that_was_removed_elsewhere_is_passed_over() -> None:
    write = FamilyWrite(THREE, lambda current, versions: without_version(current, versions, current.version), MINE, issue)
    for device in (1, 2):
        write.registered(device, held(row(9)))
    write.listed(1, [row(4)], more=False)
    write.listed(2, [row(3)], more=False)
    write.registered(1, held(row(4)))
    write.registered(2, held(row(6, kind=Kind.TOMBSTONE, version=4)))
    bury(write, 4, 1, 3)
    assert (write.round.step, write.round.version) == (Step.QUERY, at(3).hex())
    for device in (1, 2):
        write.registered(device, held(row(3)))
    assert decode_row(write.round.row).version == at(3).hex()


def test_more_is_asked_for_when_all_that_were_shown_are_gone() -> None:
    write = FamilyWrite(THREE, lambda current, versions: without_version(current, versions, current.version), MINE, issue)
    for device in (1, 2):
        write.registered(device, held(row(9)))
    write.listed(1, [row(8), row(7)], more=True)
    write.listed(2, [], more=False)
    for number in (8, 7):
        assert (write.round.step, write.round.version) == (Step.QUERY, at(number).hex())
        for device in (1, 2):
            write.registered(device, held(row(20, kind=Kind.TOMBSTONE, version=number)))
        bury(write, number, 1, 2)
    assert (write.round.step, write.round.version) == (Step.NEWEST, at(7).hex())
    write.listed(1, [], more=False)
    write.listed(2, [], more=False)
    assert decode_row(write.round.row).kind == Kind.TOMBSTONE


def test_a_refusal_after_a_proposal_that_may_be_kept_as_a_version_is_a_conflict() -> None:
    refuse = False

    def judge(_: Row | None) -> Row | None:
        if refuse:
            raise PreconditionFailed
        return DRAFT

    write = ConditionalWrite(THREE, judge, MINE, issue)
    for device in (1, 2):
        write.registered(device, EMPTY)
    assert write.round.own
    for device in (1, 2):
        write.answered(device, "no", at(300))
    refuse = True
    for device in (2, 3):
        write.registered(device, held(row(90), 290))
    assert write.verdict is Verdict.CONFLICT


def test_a_judge_may_refuse_for_what_a_version_is() -> None:
    def judge(_: Row | None, versions: Versions) -> Row | None:
        if versions.get(at(4).hex()) is None:
            raise NoSuchVersion
        return None

    write = FamilyWrite(THREE, judge, MINE, issue)
    for device in (1, 2):
        write.registered(device, held(row(9)))
    for device in (1, 2):
        write.registered(device, EMPTY)
    assert write.verdict is Verdict.REFUSED
    assert isinstance(write.refusal, NoSuchVersion)


# -- reads of versions ---------------------------------------------------------------------------------------------


def test_a_version_on_which_no_quorum_agrees_is_unsettled() -> None:
    read = VersionRead(THREE)
    read.registered(1, held(row(5), 90))
    assert read.registered(2, held(row(7, kind=Kind.TOMBSTONE, version=5), 7))
    assert read.verdict is Verdict.UNSETTLED


def test_an_unsettled_version_is_looked_at_under_a_promise_of_the_head() -> None:
    look = LookAtVersion(THREE, at(5).hex(), MINE, issue)
    for device in (1, 2):
        look.registered(device, held(row(9)))
    look.registered(1, held(row(5), 90))
    look.registered(2, held(row(7, kind=Kind.TOMBSTONE, version=5), 7))
    bury(look, 5, 2, 3)
    # The head too: one that promotes the version may have been accepted somewhere below our promise.
    assert (look.round.step, look.round.version, decode_row(look.round.row)) == (Step.ACCEPT, None, row(9))
    for device in (1, 3):
        look.answered(device, "yes")
    assert look.verdict is Verdict.DONE
    assert look.found is None


def test_a_removed_version_is_unsettled_even_where_a_quorum_says_so() -> None:
    read = VersionRead(THREE)
    for device in (1, 2):
        read.registered(device, held(row(7, kind=Kind.TOMBSTONE, version=5), 7))
    assert read.verdict is Verdict.UNSETTLED


def test_what_was_written_above_the_own_promise_is_not_judged_by() -> None:
    look = LookAtVersion(THREE, "", MINE, issue)
    for device in (1, 2):
        look.registered(device, held(row(9)))
    first = look.round
    assert first.step is Step.QUERY
    later = msgspec.structs.replace(row(200), version="")
    look.registered(1, held(later))
    assert look.registered(2, EMPTY)
    assert look.round.step is Step.PREPARE
    assert look.round.ballot > later.origin


def test_a_version_that_a_quorum_holds_is_read_at_once_whatever_the_ballots() -> None:
    read = VersionRead(THREE)
    read.registered(1, held(row(5), 90))
    assert read.registered(2, held(row(5), 5))
    assert read.verdict is Verdict.DONE
    assert read.holders(ZERO) == (1, 2)


def test_settling_stores_a_version_everywhere() -> None:
    settle = VersionSettlement(THREE, issue)
    for device in (1, 2, 3):
        settle.registered(device, held(row(5)))
    assert (settle.round.step, settle.round.to) == (Step.ACCEPT, (1, 2, 3))


def test_settling_a_version_takes_the_highest_rank_of_all_and_goes_above_every_promise() -> None:
    settle = VersionSettlement(THREE, issue)
    settle.registered(1, held(row(5), 90))
    assert not settle.registered(2, held(row(5), 90))
    assert settle.registered(3, held(row(7, version=5), promised=400))
    assert decode_row(settle.round.row).origin == at(7)
    assert settle.round.sources == (3,)
    assert settle.round.ballot > at(400)


def test_settling_a_version_goes_on_without_one_that_is_silent() -> None:
    settle = VersionSettlement(THREE, issue)
    settle.registered(1, EMPTY)
    settle.registered(2, held(row(5)))
    assert settle.only_waits
    assert settle.expire()
    assert settle.round.step is Step.ACCEPT


def test_a_row_that_is_offered_is_settled_on_where_it_ranks_highest() -> None:
    higher = Offer(held(row(8, version=5)), (7,))
    settle = VersionSettlement(THREE, issue, higher)
    for device in (1, 2, 3):
        settle.registered(device, held(row(5)))
    assert settle.round.row == higher.register.row
    assert settle.round.sources == (7,)
    settle = VersionSettlement(THREE, issue, Offer(held(row(5)), (7,)))
    for device in (1, 2, 3):
        settle.registered(device, held(row(8, version=5)))
    assert decode_row(settle.round.row).origin == at(8)
    assert settle.round.sources == (1, 2, 3)
