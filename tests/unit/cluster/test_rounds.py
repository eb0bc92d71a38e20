"""Operations through nodes that are dead, frozen, slow, behind or ahead."""

import asyncio
import contextlib

import pytest

from objstore.cluster.client import SUSPECT_RANK
from objstore.cluster.cluster import ClusterSettings
from objstore.core.rows import EMPTY, Register, Row
from objstore.errors import (
    BallotTooFarAhead,
    ConditionalConflict,
    DamagedRow,
    DeviceFull,
    NewerEpoch,
    OutcomeUnknown,
    PreconditionFailed,
    QuorumLost,
    TooBusy,
    Unavailable,
)
from objstore.wire import messages as m
from tests.support.scripted_nodes import SILENT, Node, Rig, ballot, draft, key, run, stored

QUICK = 0.03  # no hedge, no retry was waited for


def test_a_write_is_two_rounds_and_a_read_one() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft(b"body"), payload=b"body")
        assert [len(node.seen(m.Query)) for node in rig.members(key())] == [1, 1, 0]
        await asyncio.sleep(0.1)  # the quorum is enough for the caller
        assert rig.accepts() == 3
        held = await rig.cluster.read(key(), inline=True)
        assert held.payload == b"body"
        assert held.row is not None
        assert held.row.owner == "me"
        assert set(held.sources) <= {0, 1, 2}
        assert rig.accepts() == 3

    run(main)


def test_a_dead_node_costs_no_wait_and_no_error() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft(), payload=None)
        for node in rig.nodes:
            node.stop()
            await asyncio.sleep(0.1)
            for _ in range(20):
                began_s = rig.now_s
                await rig.cluster.write(key(), draft())
                await rig.cluster.read(key())
                assert rig.now_s - began_s < QUICK
            node.restart()
            await asyncio.sleep(0.5)
            await rig.cluster.read(key())
            await asyncio.sleep(0.1)
            assert not rig.cluster.members.ill()  # reads alone see to it that it is dialed again

    run(main)


def test_a_frozen_node_costs_a_hedge_each_until_it_is_suspected_and_nothing_afterwards() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft(b"x"), payload=b"x")
        first = rig.members(key())[0]
        first.host.freeze()
        began_s = rig.now_s
        assert (await rig.cluster.read(key(), inline=True)).payload == b"x"  # the one asked later sends the payload too
        assert 0.05 <= rig.now_s - began_s < 0.1
        await asyncio.sleep(1.5)
        assert rig.cluster.members.client(first.number).rank == SUSPECT_RANK
        for _ in range(10):
            began_s = rig.now_s
            await rig.cluster.read(key(), inline=True)
            await rig.cluster.write(key(), draft(b"y"), payload=b"y")
            assert rig.now_s - began_s < QUICK
        first.host.thaw()
        await asyncio.sleep(6)
        assert rig.cluster.members.client(first.number).rank < SUSPECT_RANK  # its late answers, or the ping, were heard

    run(main)


def test_a_slow_node_is_asked_last_and_forgiven_in_time() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        slow = rig.members(key())[0]
        slow.trouble = lambda message: 1.0 if isinstance(message, m.Query) else None
        times = []
        for _ in range(300):
            began_s = rig.now_s
            await rig.cluster.read(key())
            times.append(rig.now_s - began_s)
        assert times[0] >= 0.05
        assert sum(taken >= 0.05 for taken in times) <= 6
        slow.trouble = None
        for _ in range(300):
            await rig.cluster.read(key())
        before = len(slow.seen(m.Query))
        await rig.cluster.read(key())
        assert len(slow.seen(m.Query)) == before + 1

    run(main)


def test_reads_and_writes_wait_for_nodes_that_restart() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft(b"1"), payload=b"1")
        for kill in (rig.nodes[:2], rig.nodes):
            for node in kill:
                node.stop()
            rig.proxy.loop.call_later(2.0, lambda nodes: [node.restart() for node in nodes], kill)
            began_s = rig.now_s
            done = await asyncio.gather(
                rig.cluster.read(key()), rig.cluster.write(key("other"), draft()), rig.cluster.conditional(key("third"), lambda _: draft())
            )
            assert done[0].row is not None
            assert 2.0 <= rig.now_s - began_s < 2.7

    run(main)


def test_a_proxy_may_start_before_its_nodes() -> None:
    async def main(rig: Rig) -> None:
        for node in rig.nodes:
            node.stop()
        rig.proxy.loop.call_later(1.0, lambda: [node.restart() for node in rig.nodes])
        assert (await rig.cluster.read(key())).row is None

    run(main)


def test_without_a_quorum_patience_ends_and_nothing_is_taken_for_absence() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        for node in rig.nodes[1:]:
            node.stop()
        for operation in (
            rig.cluster.read(key()),
            rig.cluster.read(key("never written")),
            rig.cluster.write(key(), draft()),
            rig.cluster.conditional(key(), lambda _: draft()),
            rig.cluster.settle(key(), rig.cluster.partition(key())),
        ):
            began_s = rig.now_s
            with pytest.raises(QuorumLost, match="device"):
                await operation
            assert 3.0 <= rig.now_s - began_s < 6.0

    run(main)


def test_frozen_nodes_without_a_quorum_fail_within_the_deadline() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        for node in rig.nodes[1:]:
            node.host.freeze()
        for operation in (rig.cluster.read(key()), rig.cluster.write(key(), draft())):
            began_s = rig.now_s
            with pytest.raises(QuorumLost):
                await operation
            assert rig.now_s - began_s <= 2.05

    run(main, settings=ClusterSettings(operation_timeout_s=2.0))


def test_nodes_lost_between_query_and_accept_leave_the_outcome_unknown() -> None:
    async def main(rig: Rig) -> None:
        def die_on_accept(message: m.Message) -> Unavailable | None:
            return Unavailable("no") if isinstance(message, m.Accept | m.Prepare) else None

        for node in rig.nodes[1:]:
            node.trouble = die_on_accept
        with pytest.raises(OutcomeUnknown, match="device 1: no; device 2: no"):
            await rig.cluster.write(key(), draft())

    run(main)


def test_accepts_are_repeated_to_nodes_that_come_back_at_the_same_ballot() -> None:
    async def main(rig: Rig) -> None:
        accepts: list[m.Message] = []

        def busy(message: m.Message) -> TooBusy | None:
            if isinstance(message, m.Accept):
                accepts.append(message)
                return TooBusy("later") if rig.now_s < 1.5 else None
            return None

        for node in rig.nodes[1:]:
            node.trouble = busy
        written = await rig.cluster.write(key(), draft())
        assert len(accepts) > 4
        assert len({accept.ballot for accept in accepts if isinstance(accept, m.Accept)}) == 1
        assert all(node.row(key()) == written.row for node in rig.nodes)

    run(main)


@pytest.mark.parametrize("failure", [DeviceFull("full"), BallotTooFarAhead("clock")])
def test_what_time_does_not_cure_is_not_waited_for(failure: Exception) -> None:
    async def main(rig: Rig) -> None:
        for node in rig.nodes[1:]:
            node.trouble = lambda message: failure if isinstance(message, m.Query | m.Prepare) else None  # type: ignore[return-value]
        began_s = rig.now_s
        with pytest.raises(QuorumLost):
            await rig.cluster.read(key())
        assert rig.now_s - began_s < QUICK

    run(main)


# -- ring changes -------------------------------------------------------------------------------------------------------------


async def every_operation(rig: Rig) -> None:
    await rig.cluster.write(key("plain"), draft(b"body"), payload=b"body")
    await rig.cluster.conditional(key("conditional"), lambda _: draft(b"body"), payload=b"body")
    assert (await rig.cluster.read(key("held"), inline=True)).payload == b"held"
    await rig.cluster.settle(key("held"), rig.cluster.partition(key("held")))
    page = await rig.cluster.scan(b"bucket01", 0)
    assert [row.name for row in page.rows] == [b"conditional", b"held", b"plain"]


@pytest.mark.parametrize("step", [m.Query, m.Prepare, m.Accept, m.Scan])
def test_a_newer_ring_is_taken_over_in_the_middle_of_any_operation(step: type[m.Message]) -> None:
    async def main(rig: Rig) -> None:
        rig.put(key("held"), stored(1, b"held"), ballot(1), body=b"held")

        def change(message: m.Message) -> None:
            if isinstance(message, step) and rig.nodes[0].ring is rig.ring:
                rig.set_ring(rig.next_ring())

        for node in rig.nodes:
            node.trouble = change
        await every_operation(rig)
        assert rig.cluster.ring.epoch == rig.ring.epoch + 1

    run(main)


def test_a_node_that_is_behind_is_given_the_ring() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key("held"), stored(1, b"held"), ballot(1), body=b"held")
        new = rig.next_ring()
        for behind in (0, 1, 2):
            rig.set_ring(new)
            rig.nodes[behind].ring = rig.ring
            rig.cluster.adopt(new)
            await every_operation(rig)
            await asyncio.sleep(0.1)
            assert rig.nodes[behind].ring == new

    run(main)


def test_the_one_who_knows_the_newer_ring_may_die_before_telling() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        ahead = rig.members(key())[0]
        ahead.ring = rig.next_ring()

        def die(message: m.Message) -> None:
            if isinstance(message, m.GetRing):
                rig.proxy.loop.call_soon(ahead.stop)

        ahead.trouble = die
        began_s = rig.now_s
        await rig.cluster.read(key())
        await rig.cluster.write(key(), draft())
        assert rig.now_s - began_s < 0.5  # the two others are enough
        assert rig.cluster.ring is rig.ring

    run(main)


def test_a_node_that_refuses_our_ring_does_not_keep_anybody_busy() -> None:
    async def main(rig: Rig) -> None:
        rig.cluster.adopt(rig.next_ring())
        for node in rig.nodes:
            node.trouble = lambda message: TooBusy("no") if isinstance(message, m.PutRing) else None
        with pytest.raises(QuorumLost):
            await rig.cluster.read(key())
        assert sum(len(node.calls) for node in rig.nodes) < 120

    run(main)


def test_a_ring_that_keeps_changing_ends_the_operation() -> None:
    async def main(rig: Rig) -> None:
        epochs = iter(range(1, 1000))

        def change(message: m.Message) -> None:
            if isinstance(message, m.Query):
                rig.set_ring(rig.next_ring(next(epochs)))

        for node in rig.nodes:
            node.trouble = change
        with pytest.raises(QuorumLost, match="the ring changed"):
            await rig.cluster.read(key())

    run(main)


def test_requests_for_one_ring_are_shared_by_all_who_need_it() -> None:
    async def main(rig: Rig) -> None:
        rig.set_ring(rig.next_ring())
        await asyncio.gather(*(rig.cluster.read(key(str(number))) for number in range(50)))
        assert all(len(node.seen(m.GetRing)) <= 1 for node in rig.nodes)

    run(main)


# -- votes --------------------------------------------------------------------------------------------------------------------


def test_a_device_without_a_vote_makes_the_next_one_asked_at_once() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        rig.members(key())[0].silent.add(rig.cluster.partition(key()))
        began_s = rig.now_s
        assert (await rig.cluster.read(key())).row is not None
        assert rig.now_s - began_s < QUICK

    run(main)


def test_a_damaged_row_is_read_elsewhere_and_remembered() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        bad = rig.members(key())[0]
        bad.trouble = lambda message: DamagedRow("rot") if isinstance(message, m.Query) and not bad.seen(m.Merge) else None
        held = await rig.cluster.read(key())
        assert held.row is not None
        await rig.cluster.repair.drain()
        assert len(bad.seen(m.Merge)) == 1
        assert rig.cluster.repair.healed == 1

    run(main)


def test_a_read_writes_back_what_a_minority_holds_before_it_answers() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), stored(1), ballot(1))
        rig.put(key(), stored(2, b"new"), ballot(2), rig.members(key())[:1], b"new")
        held = await rig.cluster.read(key())
        assert held.accepted == ballot(2)
        assert sum(node.registers[key()].accepted == ballot(2) for node in rig.nodes) >= 2

    run(main)


def test_rivals_on_one_key_all_come_to_an_end() -> None:
    async def main(rig: Rig) -> None:
        conflicts = 0

        def count(row: Row | None) -> Row:
            return draft(note=str(int(row.etag) + 1 if row is not None else 1))

        async def client() -> None:
            nonlocal conflicts
            while True:
                try:
                    await rig.cluster.conditional(key(), count)
                except ConditionalConflict:
                    conflicts += 1
                else:
                    return

        await asyncio.gather(*(client() for _ in range(8)))
        held = await rig.cluster.read(key())
        assert held.row is not None
        assert 8 <= int(held.row.etag) <= 8 + conflicts
        assert rig.now_s < 5

    run(main)


def test_an_exception_in_a_judge_reaches_its_caller_and_the_connection_lives() -> None:
    async def main(rig: Rig) -> None:
        def judge(_: object) -> None:
            raise ZeroDivisionError

        def refuse(_: object) -> None:
            raise PreconditionFailed("no")

        await rig.cluster.read(key())
        for _ in range(2):
            with pytest.raises(ZeroDivisionError):
                await rig.cluster.conditional(key(), judge)
            with pytest.raises(PreconditionFailed):
                await rig.cluster.conditional(key(), refuse)
        assert rig.simulation.fabric.counters.connections == 3

    run(main)


@pytest.mark.parametrize("after_s", [0.0, 0.0001, 0.0004, 0.0008, 0.0012, 0.02, 0.06, 0.3, 1.0])
def test_an_operation_cancelled_anywhere_leaves_nothing(after_s: float) -> None:
    async def main(rig: Rig) -> None:
        rig.nodes[0].trouble = lambda message: SILENT if isinstance(message, m.Query) else None
        rig.nodes[1].trouble = lambda _: NewerEpoch("behind")
        for operation in (
            rig.cluster.read(key()),
            rig.cluster.write(key(), draft()),
            rig.cluster.conditional(key(), lambda _: draft()),
        ):
            task = asyncio.get_running_loop().create_task(operation)  # type: ignore[arg-type]
            await asyncio.sleep(after_s)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    run(main)


def test_silence_of_one_device_is_not_an_empty_register() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), stored(1), ballot(1), rig.members(key())[:2])
        holder: Node = rig.members(key())[0]
        holder.trouble = lambda message: SILENT if isinstance(message, m.Query) else None
        held = await rig.cluster.read(key())
        assert held.accepted == ballot(1)
        assert rig.members(key())[2].registers.get(key(), EMPTY) == Register(accepted=ballot(1), row=stored(1))

    run(main)
