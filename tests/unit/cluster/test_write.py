"""Outcomes of writes, and extra copies for primaries that missed them."""

import asyncio

import pytest

from objstore.cluster import repair
from objstore.core.rows import EMPTY, Kind, Register, Row
from objstore.core.timestamp import ZERO, HybridClock
from objstore.errors import ConditionalConflict, DeviceFull, NoSuchKey, PreconditionFailed, TooBusy
from objstore.wire import messages as m
from tests.support.scripted_nodes import SILENT, Node, Rig, ballot, draft, key, run, stored


def copies(rig: Rig) -> list[int]:
    """Devices that were given extra copies, each as often as it was."""
    return [node.number for node in rig.nodes for accept in node.seen(m.Accept) if accept.handoff]


def on_accept(trouble: object, *, primaries_only: bool = True) -> object:
    return lambda message: trouble if isinstance(message, m.Accept) and not (message.handoff and primaries_only) else None


def test_a_write_tells_what_it_wrote_and_what_was_there_before() -> None:
    async def main(rig: Rig) -> None:
        first = await rig.cluster.write(key(), draft(b"1"), payload=b"1")
        assert first.previous is None
        assert first.row.origin == first.row.base != ZERO
        assert len(first.row.operation) == 16
        second = await rig.cluster.write(key(), draft(kind=Kind.TOMBSTONE))
        assert second.previous == first.row
        third = await rig.cluster.conditional(key(), lambda row: draft(note="third") if row == second.row else None)
        assert third.previous == second.row
        assert third.row.base == second.row.base
        assert (await rig.cluster.read(key())).row == third.row

    run(main)


def test_what_a_judge_says_reaches_the_caller() -> None:
    async def main(rig: Rig) -> None:
        def refuse(row: Row | None) -> Row | None:
            raise PreconditionFailed("no")

        with pytest.raises(NoSuchKey):
            await rig.cluster.conditional(key(), lambda _: None)
        with pytest.raises(PreconditionFailed):
            await rig.cluster.conditional(key(), refuse)
        written = await rig.cluster.write(key(), draft())
        accepts = rig.accepts()
        alone = await rig.cluster.conditional(key(), lambda _: None)
        assert alone.row == written.row
        with pytest.raises(PreconditionFailed):
            await rig.cluster.conditional(key(), refuse)
        assert rig.accepts() <= accepts + 1  # a majority agreed already

    run(main)


def test_an_attempt_that_a_rival_may_have_carried_on_is_a_conflict() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft())
        rival = stored(1 << 60)

        def overtake(message: m.Message) -> None:
            if isinstance(message, m.Accept):
                for node in rig.nodes:
                    high = max(node.registers[key()].highest, message.ballot)
                    above = type(high)(high[:8] + b"\xff\xff\xff\xff")
                    node.registers[key()] = Register(above, above, rival)

        for node in rig.nodes:
            node.trouble = overtake
        with pytest.raises(ConditionalConflict):
            await rig.cluster.conditional(key(), lambda _: draft())

    run(main)


def test_no_extra_copy_when_all_primaries_take_the_row() -> None:
    async def main(rig: Rig) -> None:
        for number in range(20):
            await rig.cluster.write(key(str(number)), draft(b"x"), payload=b"x")
            await rig.cluster.conditional(key(str(number)), lambda _: draft(b"y"), payload=b"y")
        await asyncio.sleep(1)
        assert copies(rig) == []
        assert rig.cluster.repair.handoffs == 0

    run(main, nodes=6)


def test_a_primary_that_fails_in_the_query_and_takes_the_row_gets_no_substitute() -> None:
    async def main(rig: Rig) -> None:
        rig.members(key())[0].trouble = lambda message: TooBusy("later") if isinstance(message, m.Query) else None
        await rig.cluster.write(key(), draft(b"x"), payload=b"x")
        await asyncio.sleep(1)
        assert copies(rig) == []

    run(main, nodes=6)


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("late", [False, True])
def test_one_extra_copy_for_the_primary_that_missed_the_row(late: bool, conditional: bool) -> None:
    async def main(rig: Rig) -> None:
        missing = rig.members(key())[2]

        def fail(message: m.Message) -> DeviceFull | float | None:
            if not isinstance(message, m.Accept):
                return None
            return SILENT if late else DeviceFull("full")

        missing.trouble = fail
        if late:
            for node in rig.members(key())[:2]:
                node.trouble = lambda message: 0.0
        if conditional:
            await rig.cluster.conditional(key(), lambda _: draft(b"x"), payload=b"x")
        else:
            await rig.cluster.write(key(), draft(b"x"), payload=b"x")
        await asyncio.sleep(1)
        assert len(copies(rig)) == (0 if late else 1)
        await asyncio.sleep(12)
        assert len(copies(rig)) == 1
        assert rig.cluster.repair.handoffs == 1
        holder = rig.nodes[copies(rig)[0]]
        assert holder not in rig.members(key())
        assert holder.bodies[key()] == b"x"

    run(main, nodes=6)


def test_two_primaries_of_five_that_miss_a_row_get_two_different_substitutes() -> None:
    async def main(rig: Rig) -> None:
        rig.members(key())[0].trouble = on_accept(DeviceFull("full"))  # type: ignore[assignment]
        rig.members(key())[1].trouble = on_accept(SILENT)  # type: ignore[assignment]
        await rig.cluster.write(key(), draft(b"x"), payload=b"x")
        await asyncio.sleep(15)
        assert len(set(copies(rig))) == len(copies(rig)) == 2

    run(main, nodes=9, replicas=5)


def test_a_handoff_that_fails_is_followed_by_the_next() -> None:
    async def main(rig: Rig) -> None:
        plan = rig.cluster.members.plan(rig.cluster.partition(key()))
        rig.nodes[plan.primaries[1]].trouble = on_accept(DeviceFull("full"))  # type: ignore[assignment]
        for device in plan.handoffs[:2]:
            rig.nodes[device].trouble = on_accept(DeviceFull("full"), primaries_only=False)  # type: ignore[assignment]
        await rig.cluster.write(key(), draft(b"x"), payload=b"x")
        await asyncio.sleep(1)
        assert copies(rig) == sorted(plan.handoffs[:3])
        assert rig.cluster.repair.handoffs == 1
        assert key() in rig.nodes[plan.handoffs[2]].registers

    run(main, nodes=6)


def test_without_handoffs_or_room_copies_are_left_to_the_replicator(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main(rig: Rig) -> None:
        rig.members(key())[0].trouble = on_accept(DeviceFull("full"))  # type: ignore[assignment]
        await rig.cluster.write(key(), draft(b"x"), payload=b"x")
        await asyncio.sleep(0.5)
        assert rig.cluster.repair.dropped == 1
        assert copies(rig) == []

    run(main)
    monkeypatch.setattr(repair, "HANDOFF_BYTES", 10)
    run(main, nodes=6)


def test_a_row_of_somebody_else_is_never_handed_off_with_our_bytes() -> None:
    async def main(rig: Rig) -> None:
        theirs = stored(1 << 62, b"theirs")  # its ballot lies above ours: a plain write that came after
        members = rig.members(key())
        high = HybridClock(7).issue(rig.proxy.clock.wall_us() + 5_000_000)

        def overtake(message: m.Message) -> DeviceFull | None:
            if isinstance(message, m.Accept) and not message.handoff and message.row != theirs and not members[0].bodies.get(key()):
                for node in members[:2]:
                    node.registers[key()] = Register(high, ZERO, b"")
                rig.put(key(), theirs, high, members[:1], b"theirs")
            return None

        for node in members:
            node.trouble = overtake
        members[2].trouble = lambda message: DeviceFull("full") if isinstance(message, m.Accept) else None
        await rig.cluster.write(key(), draft(b"ours"), payload=b"ours")
        await asyncio.sleep(1)
        for number in copies(rig):
            node: Node = rig.nodes[number]
            row = node.row(key())
            assert row is not None
            assert node.bodies[key()] == (b"theirs" if row.origin == ballot(1 << 62) else b"ours")

    run(main, nodes=6)


def test_a_single_replica_needs_one_answer_and_gets_no_copies() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft(b"x"), payload=b"x")
        held = await rig.cluster.read(key(), inline=True)
        assert held.payload == b"x"
        assert [len(node.seen(m.Accept)) for node in rig.nodes].count(1) == 1
        assert sum(node.registers.get(key(), EMPTY) != EMPTY for node in rig.nodes) == 1

    run(main, nodes=3, replicas=1)
