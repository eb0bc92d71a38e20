"""Damaged registers get back what the others hold; what goes on is bounded and ends."""

import asyncio

import pytest

from objstore.cluster import repair as module
from objstore.cluster.repair import Copy
from objstore.core.rows import EMPTY, Kind, Register
from objstore.core.versions import version_key
from objstore.errors import DamagedRow, QuorumLost, TooBusy
from objstore.wire import messages as m
from tests.support.scripted_nodes import SILENT, Node, Rig, ballot, draft, key, run, stored


def damage(node: Node) -> None:
    """Its registers answer DamagedRow until they are healed by a merge."""

    def refuse(message: m.Message) -> DamagedRow | None:
        damaged = isinstance(message, m.Query | m.Prepare | m.Accept) and not any(merge.key == message.key for merge in node.seen(m.Merge))
        return DamagedRow("rot") if damaged else None

    node.trouble = refuse


async def settled() -> None:
    pass


def test_a_damaged_register_gets_the_highest_row_and_promise_of_the_others() -> None:
    async def main(rig: Rig) -> None:
        first, second, third = rig.members(key())
        rig.put(key(), stored(5), ballot(5))
        second.registers[key()] = Register(ballot(8), ballot(5), stored(5))
        damage(first)
        rig.cluster.repair.heal(first.number, key(), rig.cluster.partition(key()), settled)
        await rig.cluster.repair.drain()
        (merge,) = first.seen(m.Merge)
        assert merge.register == Register(ballot(8), ballot(5), stored(5))
        assert set(merge.sources) == {second.number, third.number}
        assert rig.cluster.repair.healed == 1
        assert (await rig.cluster.read(key())).accepted == ballot(5)

    run(main)


def test_a_damaged_version_gets_the_row_of_the_highest_rank_whatever_the_ballots() -> None:
    async def main(rig: Rig) -> None:
        where = version_key(key(), ballot(5).hex())
        first, second, third = rig.members(where)
        version = stored(5, version=ballot(5).hex())
        tombstone = stored(8, kind=Kind.TOMBSTONE, version=ballot(5).hex())
        second.registers[where] = Register(ballot(1), ballot(9), version)
        third.registers[where] = Register(ballot(1), ballot(8), tombstone)
        damage(first)
        rig.cluster.repair.heal(first.number, where, rig.cluster.partition(where), settled)
        await rig.cluster.repair.drain()
        (merge,) = first.seen(m.Merge)
        assert (merge.register.row, merge.sources) == (tombstone, (third.number,))

    run(main)


def test_the_same_register_is_healed_once_at_a_time() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        await asyncio.sleep(0.1)
        bad = rig.members(key())[0]
        damage(bad)
        await asyncio.gather(*(rig.cluster.read(key()) for _ in range(20)))
        await rig.cluster.repair.drain()
        assert len(bad.seen(m.Merge)) == 1
        await rig.cluster.read(key())
        await rig.cluster.repair.drain()
        assert len(bad.seen(m.Merge)) == 1

    run(main)


def test_healing_is_bounded_and_the_rest_is_left_to_the_auditor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REPAIRS_AT_ONCE", 3)

    async def main(rig: Rig) -> None:
        for number in range(8):
            rig.cluster.repair.heal(0, key(str(number)), 0, settled)
        assert rig.cluster.repair.dropped == 5
        await rig.cluster.repair.drain()
        rig.cluster.repair.heal(0, key("7"), 0, settled)  # what was dropped may be asked for again
        await rig.cluster.repair.drain()
        assert rig.cluster.repair.healed == 4

    run(main)


@pytest.mark.parametrize("how", ["fails", "has no vote", "settling fails", "the damaged one refuses", "not in the ring"])
def test_without_a_quorum_of_others_nothing_is_merged(how: str) -> None:
    async def main(rig: Rig) -> None:
        bad, other, _ = rig.members(key())
        rig.put(key(), stored(5), ballot(5))
        device = bad.number
        settle = settled
        if how == "fails":
            other.trouble = lambda _: TooBusy("no")
        elif how == "has no vote":
            other.silent = set(range(4))
        elif how == "the damaged one refuses":
            bad.trouble = lambda _: TooBusy("no")
        elif how == "not in the ring":
            device = 77
        else:

            async def settle() -> None:
                raise QuorumLost("no")

        rig.cluster.repair.heal(device, key(), rig.cluster.partition(key()), settle)
        await rig.cluster.repair.drain()
        assert rig.cluster.repair.healed == 0
        assert rig.cluster.repair.dropped == 1
        assert not [merge for node in rig.nodes for merge in node.seen(m.Merge) if node is not bad]
        assert rig.cluster.repair._tasks.failures == 0

    run(main)


def test_closing_ends_healing_and_copies() -> None:
    async def main(rig: Rig) -> None:
        for node in rig.nodes:
            node.trouble = lambda _: SILENT
        repair = rig.cluster.repair
        repair.heal(0, key(), 0, settled)
        copy = Copy(key(), 0, ballot(1), stored(1), None, ())
        repair.hand_off(copy, iter((0, 1, 2)))
        await asyncio.sleep(0.1)
        await rig.cluster.aclose()
        repair.heal(0, key("other"), 0, settled)
        repair.hand_off(copy, iter((0, 1, 2)))
        await repair.drain()
        assert repair.handoffs == repair.healed == 0
        assert all(node.registers.get(key(), EMPTY) == EMPTY for node in rig.nodes)
        assert sum(len(node.seen(m.Accept)) for node in rig.nodes) == 1

    run(main)


def test_of_two_replicas_the_other_one_heals_although_nothing_can_be_settled() -> None:
    async def main(rig: Rig) -> None:
        async def lost() -> None:
            raise QuorumLost("too few replicas answered")

        bad, other = rig.members(key())
        rig.put(key(), stored(5), ballot(5))
        other.registers[key()] = Register(ballot(8), ballot(5), stored(5))
        damage(bad)
        rig.cluster.repair.heal(bad.number, key(), rig.cluster.partition(key()), lost)
        await rig.cluster.repair.drain()
        assert [merge.register for merge in bad.seen(m.Merge)] == [Register(ballot(8), ballot(5), stored(5))]
        assert rig.cluster.repair.healed == 1

    run(main, replicas=2)
