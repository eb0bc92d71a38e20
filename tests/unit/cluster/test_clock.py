"""Ballots of proxies whose clocks are wrong or jump."""

import random

import pytest

from objstore.cluster.clock import BallotClock
from objstore.core.quorum import Quorum
from objstore.core.rows import Kind, Row
from objstore.core.timestamp import MAX_AHEAD_US, ZERO, ballot_at, wall_us_of
from objstore.errors import BallotTooFarAhead, NodeUnreachable, ObjstoreError, Unavailable
from objstore.wire import messages as m
from tests.sim.clock import EPOCH_US
from tests.sim.rng import SimRng
from tests.support.scripted_nodes import Rig, draft, key, run

THREE = Quorum([(1, 2, 3)])
HOUR_US = 3_600_000_000


class Hands:
    """A clock that a test moves."""

    def __init__(self, wall_us: int = EPOCH_US) -> None:
        self.wall = wall_us
        self.seconds = 50.0

    def wall_us(self) -> int:
        return self.wall

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def clock_of(hands: Hands) -> BallotClock:
    return BallotClock(hands, SimRng(random.Random(1)), 7)


def ahead_of(wall_us: int) -> BallotTooFarAhead:
    return BallotTooFarAhead(wall_us=wall_us)


def test_ballots_rise_and_lie_above_what_was_seen() -> None:
    clock = clock_of(Hands())
    first = clock.issue(ZERO)
    assert wall_us_of(first) == EPOCH_US
    seen = ballot_at(EPOCH_US + 1000 << 12, 3)
    assert first < seen < clock.issue(seen) < clock.issue(ZERO)


def test_a_wall_clock_that_jumps_is_not_noticed() -> None:
    hands = Hands()
    clock = clock_of(hands)
    hands.wall += 24 * HOUR_US
    hands.seconds += 2.5
    assert clock.now_us() == EPOCH_US + 2_500_000
    hands.wall -= 48 * HOUR_US
    assert clock.now_us() == EPOCH_US + 2_500_000


def test_enough_devices_that_find_ballots_too_far_ahead_set_the_clock_back() -> None:
    hands = Hands(EPOCH_US + HOUR_US)
    clock = clock_of(hands)
    before = clock.issue(ZERO)
    assert clock.heed(THREE, [(1, ahead_of(EPOCH_US)), (3, ahead_of(EPOCH_US + 5))])
    after = clock.issue(ZERO)
    assert wall_us_of(after) == EPOCH_US + 5
    assert after[8:] != before[8:], "another proxy id, since it counts anew"
    hands.seconds += 1.0
    assert clock.now_us() == EPOCH_US + 5 + 1_000_000
    assert clock.corrections == 1


@pytest.mark.parametrize(
    "failures",
    [
        [],
        [(1, ahead_of(EPOCH_US))],
        [(1, ahead_of(EPOCH_US)), (2, NodeUnreachable()), (3, NodeUnreachable())],
        [(1, ahead_of(EPOCH_US)), (9, ahead_of(EPOCH_US))],
        [(1, ahead_of(EPOCH_US)), (2, BallotTooFarAhead())],
        [(1, ahead_of(EPOCH_US)), (2, ahead_of(EPOCH_US + 2 * HOUR_US))],
    ],
)
def test_one_node_whose_own_clock_is_late_changes_nothing(failures: list[tuple[int, ObjstoreError]]) -> None:
    clock = clock_of(Hands(EPOCH_US + HOUR_US))
    assert not clock.heed(THREE, failures)
    assert wall_us_of(clock.issue(ZERO)) == EPOCH_US + HOUR_US


def test_a_single_device_is_believed_where_there_is_but_one() -> None:
    assert clock_of(Hands(EPOCH_US + HOUR_US)).heed(Quorum([(1,)]), [(1, ahead_of(EPOCH_US))])


def test_one_key_with_a_ballot_from_the_future_does_not_push_the_others_ahead() -> None:
    clock = clock_of(Hands())
    far = ballot_at(EPOCH_US + 24 * HOUR_US << 12, 3)
    above = clock.issue(far)
    assert above > far
    assert clock.issue(far) > above, "two proposals never share a ballot"
    assert wall_us_of(clock.issue(ZERO)) == EPOCH_US


# -- with nodes ---------------------------------------------------------------------------------------------------------------


def with_clocks(rig: Rig) -> None:
    """Make the nodes refuse what is a minute ahead of the time at which every simulation begins."""

    def refuse(message: m.Message) -> ObjstoreError | None:
        limit_us = EPOCH_US + int(rig.now_s * 1e6) + MAX_AHEAD_US
        if isinstance(message, m.Prepare | m.Accept) and wall_us_of(message.ballot) > limit_us:
            return ahead_of(limit_us - MAX_AHEAD_US)
        return None

    for node in rig.nodes:
        node.trouble = refuse


def fast_rig(rig: Rig) -> None:
    rig.cluster._clock._started_us += 24 * HOUR_US
    with_clocks(rig)


def test_a_proxy_a_day_ahead_writes_again_after_its_first_refusal() -> None:
    async def main(rig: Rig) -> None:
        fast_rig(rig)
        with pytest.raises(Unavailable):
            await rig.cluster.write(key(), draft(note="lost"))
        await rig.cluster.write(key(), draft(note="written"))
        held = await rig.cluster.read(key())
        assert held.row is not None
        assert held.row.etag == "written"

    run(main)


def test_a_conditional_write_of_a_proxy_a_day_ahead_needs_no_second_call() -> None:
    async def main(rig: Rig) -> None:
        fast_rig(rig)
        judged: list[Row | None] = []

        def judge(row: Row | None) -> Row:
            judged.append(row)
            return draft(kind=Kind.RECORD)

        await rig.cluster.conditional(key(), judge)
        assert judged == [None]

    run(main)


def test_a_proxy_far_behind_works() -> None:
    async def main(rig: Rig) -> None:
        with_clocks(rig)
        await rig.cluster.write(key(), draft(note="first"))
        rig.cluster._clock._started_us -= 24 * HOUR_US
        rig.cluster._clock._hybrid = rig.cluster._clock._another()
        await rig.cluster.write(key(), draft(note="second"))
        held = await rig.cluster.read(key())
        assert held.row is not None
        assert held.row.etag == "second"

    run(main)
