"""The ring in use, and catching up in both directions."""

import asyncio

import pytest

from objstore.cluster import membership as module
from objstore.core.placement import smallest_quorum
from objstore.errors import NewerEpoch, NodeUnreachable, StaleEpoch
from objstore.wire import messages as m
from ring import builder
from ring.model import RingSpec
from tests.support.scripted_nodes import SILENT, Rig, draft, key, run

STALE, AHEAD = StaleEpoch("behind"), NewerEpoch("ahead")


def test_only_a_newer_ring_of_this_cluster_is_adopted() -> None:
    async def main(rig: Rig) -> None:
        members, told = rig.cluster.members, []
        rig.cluster.on_ring(told.append)
        new = rig.next_ring()
        foreign = builder.create(RingSpec("default", 3, 2, 8, 0.0, 0.1), [rig.device(node) for node in rig.nodes])
        assert not members.adopt(rig.ring)
        assert not members.adopt(foreign)
        assert rig.cluster.adopt(new)
        assert not members.adopt(rig.ring)
        assert told == [new]
        assert rig.cluster.ring is new

    run(main)


def test_nodes_that_are_in_no_ring_any_more_are_let_go() -> None:
    async def main(rig: Rig) -> None:
        members = rig.cluster.members
        for number in range(20):
            await rig.cluster.write(key(str(number)), draft())
        client, channel = members.client(3), await members.channel_of(3)
        moving = builder.change(rig.ring, [builder.Remove(3)], now_s=1e6)
        rig.cluster.adopt(moving)
        assert members.client(3) is client  # it still serves what it had
        rig.cluster.adopt(builder.finish(moving))
        assert channel.closed
        with pytest.raises(KeyError):
            members.client(3)
        for partition in range(4):
            assert 3 not in members.split(members.plan(partition), members.plan(partition).quorum.members)[0]

    run(main, nodes=4)


def test_whom_to_ask_first_is_the_smallest_quorum_in_order_of_preference_and_kept() -> None:
    async def main(rig: Rig) -> None:
        members = rig.cluster.members
        for partition in range(4):
            plan = members.plan(partition)
            for order in (plan.quorum.members, plan.quorum.members[::-1]):
                assert members.split(plan, order) == smallest_quorum(plan.quorum, order)
                assert members.split(plan, order) is members.split(plan, order)

    run(main)


def test_so_many_choices_are_kept_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SPLITS_KEPT", 2)

    async def main(rig: Rig) -> None:
        members = rig.cluster.members
        for partition in (0, 1, 2, 0):
            plan = members.plan(partition)
            assert members.split(plan, plan.quorum.members) == smallest_quorum(plan.quorum, plan.quorum.members)
            assert len(members._splits) <= 2

    run(main)


def test_a_newer_ring_is_fetched_and_an_older_one_ignored() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.members.catch_up(0, STALE)
        assert rig.cluster.ring is rig.ring
        rig.set_ring(rig.next_ring(), [1])
        await rig.cluster.members.catch_up(1, STALE)
        assert rig.cluster.ring == rig.nodes[1].ring
        await rig.cluster.members.catch_up(2, AHEAD)
        assert rig.nodes[2].ring == rig.nodes[1].ring

    run(main)


def test_all_who_wait_for_one_node_share_one_request() -> None:
    async def main(rig: Rig) -> None:
        told: list[int] = []
        for number in range(10):
            assert rig.cluster.members.when_caught_up(0, STALE, lambda number=number: told.append(number))  # type: ignore[misc]
            assert rig.cluster.members.when_caught_up(0, AHEAD, lambda: told.append(-1))
        assert told == []
        await asyncio.sleep(0.1)
        assert sorted(told) == [-1] * 10 + list(range(10))
        assert len(rig.nodes[0].seen(m.GetRing)) == len(rig.nodes[0].seen(m.PutRing)) == 1

    run(main)


@pytest.mark.parametrize("how", ["dead", "frozen", "silent", "cut off while it answers"])
def test_a_node_that_does_not_tell_its_ring_costs_no_more_than_the_limit(how: str) -> None:
    async def main(rig: Rig) -> None:
        node = rig.nodes[0]
        if how == "dead":
            node.stop()
        elif how == "frozen":
            node.host.freeze()
        elif how == "silent":
            node.trouble = lambda _: SILENT
        else:
            node.trouble = lambda _: rig.proxy.loop.call_soon(node.stop) and None
        began_s = rig.now_s
        for failure in (STALE, AHEAD):
            await rig.cluster.members.catch_up(0, failure)
        assert rig.now_s - began_s <= 2 * module.RING_TIMEOUT_S + 0.1
        assert rig.cluster.ring is rig.ring

    run(main)


def test_rubbish_in_place_of_a_ring_changes_nothing() -> None:
    async def main(rig: Rig) -> None:
        rig.nodes[0]._getring = lambda call, _: call.answer(m.RingAnswer(99, has_payload=True), b"rubbish")  # type: ignore[method-assign]
        await rig.cluster.members.catch_up(0, STALE)
        assert rig.cluster.ring is rig.ring

    run(main)


def test_unknown_devices_and_too_many_requests_are_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CATCH_UPS_AT_ONCE", 1)

    async def main(rig: Rig) -> None:
        members = rig.cluster.members
        assert not members.when_caught_up(77, STALE, lambda: None)
        assert members.when_caught_up(0, STALE, lambda: None)
        assert not members.when_caught_up(1, STALE, lambda: None)
        await members.catch_up(77, STALE)
        with pytest.raises(NodeUnreachable):
            await members.channel_of(77)

    run(main)


def test_ill_devices_are_those_that_are_down_or_owe_answers() -> None:
    async def main(rig: Rig) -> None:
        members = rig.cluster.members
        assert members.ill() == frozenset()
        await asyncio.gather(*(members.channel_of(number) for number in range(4)))
        rig.nodes[1].stop()
        rig.nodes[2].host.freeze()
        (await members.channel_of(2)).call_soon(m.GetRing(), b"", timeout_s=9, done=lambda *_: None)
        for _ in range(40):
            members.client(3).took(0.05)  # slow is not ill
        await asyncio.sleep(1.5)
        assert members.ill() == {1, 2}
        rig.nodes[1].restart()
        await asyncio.sleep(0.5)
        members.ill()
        await asyncio.sleep(0.5)
        assert members.ill() == {2}

    run(main, nodes=4)


def test_a_channel_asked_for_by_a_task_that_is_cancelled_leaves_nothing() -> None:
    async def main(rig: Rig) -> None:
        rig.nodes[0].stop()
        task = asyncio.get_running_loop().create_task(rig.cluster.members.channel_of(0))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(1)
        assert task.cancelled()

    run(main)
