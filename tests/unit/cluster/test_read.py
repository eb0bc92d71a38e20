"""Reads of rows and streams of bodies that go on elsewhere."""

import asyncio
import contextlib

import pytest

from objstore.cluster import read as read_module
from objstore.core.rows import EMPTY, Kind, Register, Row, decode_row
from objstore.errors import DamagedBody, NoSuchVersion, QuorumLost, StaleEpoch, TooBusy
from objstore.wire import channel as channels
from objstore.wire import messages as m
from tests.support.scripted_nodes import SILENT, Rig, ballot, draft, key, run, stored

BODY = bytes(range(250)) * 40  # ten pieces of a scripted node
ROW = stored(5, BODY)


async def read(rig: Rig, row: bytes = ROW, **where: int) -> bytes:
    """The body, asked for at the primaries in order of replicas."""
    await rig.cluster.read(key())
    sources = tuple(node.number for node in rig.members(key()))
    return b"".join([bytes(piece) async for piece in rig.cluster.read_body(key(), decode_row(row), sources=sources, **where)])


def holding(rig: Rig) -> None:
    rig.put(key(), ROW, ballot(5), body=BODY)


def test_a_body_is_read_whole_and_in_ranges_from_one_replica() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        assert await read(rig) == BODY
        assert sum(len(node.seen(m.ReadBody)) for node in rig.nodes) == 1
        for offset, length in ((0, 1), (999, 2), (5000, -1), (10_000, -1), (10_000, 5), (9_999, 100), (3, 0)):
            assert await read(rig, offset=offset, length=length) == (BODY[offset:] if length < 0 else BODY[offset : offset + length])

    run(main)


@pytest.mark.parametrize("trouble", [DamagedBody("rot"), TooBusy("later")])
@pytest.mark.parametrize("at", [0, 4000, 9000])
def test_a_replica_that_fails_midway_is_replaced_by_another(trouble: Exception, at: int) -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        failing = rig.members(key())[0]
        failing.body_trouble = lambda offset: trouble if offset == at else None  # type: ignore[assignment, return-value]
        assert await read(rig) == BODY
        await rig.cluster.repair.drain()
        assert len(failing.seen(m.Merge)) == isinstance(trouble, DamagedBody)

    run(main)


def test_each_replica_may_be_damaged_in_another_place() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        for place, node in enumerate(rig.members(key())):
            bad = (2000 + 3000 * place) % 9000
            node.body_trouble = lambda offset, bad=bad: DamagedBody("rot") if offset == bad else None  # type: ignore[misc]
        assert await read(rig) == BODY

    run(main)


@pytest.mark.parametrize("how", ["does not begin", "stops midway", "frozen", "dies midway"])
def test_a_silent_replica_costs_two_seconds_and_no_more(how: str) -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        node = rig.members(key())[0]
        await rig.cluster.read(key())
        if how == "does not begin":
            node.body_trouble = lambda at: SILENT if at == -1 else None
        elif how == "stops midway":
            node.body_trouble = lambda at: SILENT if at == 6000 else None
        elif how == "frozen":
            node.host.freeze()
        else:
            node.body_trouble = lambda at: node.stop() if at == 3000 else None  # type: ignore[func-returns-value]
        began_s = rig.now_s
        data = b"".join([bytes(piece) async for piece in rig.cluster.read_body(key(), decode_row(ROW), sources=(node.number,))])
        assert data == BODY
        assert rig.now_s - began_s < 2.2

    run(main)


def test_each_turn_begins_with_another_replica() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        for turn, node in enumerate(rig.members(key())):
            assert await read(rig, turn=turn) == BODY
            assert len(node.seen(m.ReadBody)) == 1
        assert await read(rig, turn=3) == BODY
        assert [len(node.seen(m.ReadBody)) for node in rig.members(key())] == [2, 1, 1]

    run(main)


def test_a_source_known_to_be_ill_is_asked_last() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        await rig.cluster.read(key())
        node = rig.members(key())[0]
        node.host.freeze()
        await rig.cluster.read(key())
        await asyncio.sleep(1.5)
        began_s = rig.now_s
        pieces = [bytes(piece) async for piece in rig.cluster.read_body(key(), decode_row(ROW), sources=(node.number,))]
        assert b"".join(pieces) == BODY
        assert rig.now_s - began_s < 0.1

    run(main)


def test_an_overwritten_body_is_told_as_such_and_not_as_trouble() -> None:
    async def main(rig: Rig) -> None:
        rig.put(key(), stored(6, BODY), ballot(6), body=BODY)
        with pytest.raises(NoSuchVersion, match="overwritten"):
            await read(rig)

    run(main)


def test_a_body_overwritten_midway_goes_on_where_it_is_still_held() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        first, second, third = rig.members(key())

        def overwrite(at: int) -> TooBusy | None:
            if at != 5000:
                return None
            rig.put(key(), stored(6, b"new"), ballot(6), (first, second), b"new")
            return TooBusy("broken off")

        first.body_trouble = overwrite  # type: ignore[assignment]
        pieces = [bytes(piece) async for piece in rig.cluster.read_body(key(), decode_row(ROW), sources=(first.number,))]
        assert b"".join(pieces) == BODY
        assert len(third.seen(m.ReadBody)) == 1

    run(main)


def test_one_replica_that_lacks_the_version_does_not_speak_for_all() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        members = rig.members(key())
        members[2].registers.clear()
        for node in members[:2]:
            node.trouble = lambda message: TooBusy("later") if isinstance(message, m.ReadBody) else None
        with pytest.raises(QuorumLost, match="device"):
            await read(rig)

    run(main)


def test_a_body_is_read_across_a_change_of_the_ring_in_either_direction() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        rig.set_ring(rig.next_ring())
        assert b"".join([bytes(p) async for p in rig.cluster.read_body(key(), decode_row(ROW), sources=(0, 1, 2))]) == BODY
        assert rig.cluster.ring.epoch == 2
        rig.cluster.adopt(rig.next_ring(2))
        assert b"".join([bytes(p) async for p in rig.cluster.read_body(key(), decode_row(ROW), sources=(0, 1, 2))]) == BODY
        for node in rig.nodes:
            node.trouble = lambda message: StaleEpoch("you are behind") if isinstance(message, m.ReadBody) else None
        with pytest.raises(QuorumLost):
            await read(rig)

    run(main)


def test_more_or_less_than_was_asked_for_is_not_taken() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        first, second, _ = rig.members(key())
        first.bodies[key()] = BODY[:3000]
        second._readbody = lambda call, message: (  # type: ignore[method-assign]
            call.answer(m.BodyBegin(len(BODY), len(BODY))),
            call.run(too_much),
        )

        async def too_much(call: object) -> None:
            await call.sender.write(b"x" * 20_000)  # type: ignore[attr-defined]
            call.end_body()  # type: ignore[attr-defined]

        assert await read(rig) == BODY

    run(main)


def test_a_reader_that_stops_leaves_no_stream_behind() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        for node in rig.nodes:
            node.body_trouble = lambda at: 0.5 if at == 3000 else None
        stream = rig.cluster.read_body(key(), decode_row(ROW))
        async for _ in stream:
            break
        await stream.aclose()  # type: ignore[attr-defined]
        for after_s in (0.0, 0.0005, 0.1, 1.0):
            task = asyncio.get_running_loop().create_task(read(rig))
            await asyncio.sleep(after_s)
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        channels = [await rig.cluster.members.channel_of(number) for number in range(3)]
        assert [len(channel._streams) for channel in channels] == [0, 0, 0]

    run(main)


def test_readers_who_take_nothing_make_room_for_others_and_go_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(channels, "MAX_STREAMS", 8)
    monkeypatch.setattr(channels, "CROWDED_STREAMS", 4)
    body = bytes(range(250)) * 20_000  # more than is sent without a word of who receives it

    async def main(rig: Rig) -> None:
        row = stored(5, body)
        rig.put(key(), row, ballot(5), body=body)
        node = rig.members(key())[0]
        for other in rig.nodes:
            if other is not node:
                other.trouble = lambda message: TooBusy("others") if isinstance(message, m.ReadBody) else None
        stalled = [rig.cluster.read_body(key(), decode_row(row), sources=(node.number,)) for _ in range(8)]
        began = [bytes(await anext(stream)) for stream in stalled]
        channel = await rig.cluster.members.channel_of(node.number)
        assert len(channel._streams) == 8
        await asyncio.sleep(read_module.HOLD_S + 0.1)
        assert len(channel._streams) < 4, "there is room again"
        held = [sum(map(len, stream.ag_frame.f_locals["pieces"]._receiver._pieces)) for stream in stalled]  # type: ignore[attr-defined]
        assert sum(not bytes_ for bytes_ in held) >= 5, "and what had come is not kept"
        assert await read(rig, row) == body
        for first, stream in zip(began, stalled, strict=True):
            assert first + b"".join([bytes(piece) async for piece in stream]) == body
        # Where there is room a slow reader keeps what he has.
        slow = rig.cluster.read_body(key(), decode_row(row), sources=(node.number,))
        data = bytes(await anext(slow))
        asked = len(node.seen(m.ReadBody))
        await asyncio.sleep(60)
        assert data + b"".join([bytes(piece) async for piece in slow]) == body
        assert len(node.seen(m.ReadBody)) == asked

    run(main)


def test_the_payload_that_comes_along_is_that_of_the_row() -> None:
    async def main(rig: Rig) -> None:
        first, second, third = rig.members(key())
        rig.put(key(), stored(5, b"old"), ballot(5), (first, third), b"old")
        rig.put(key(), stored(6, b"new"), ballot(6), (second,), b"new")
        held = await rig.cluster.read(key(), inline=True)
        assert held.row is not None
        assert held.row.origin == ballot(6)
        assert held.payload is None
        assert held.sources == (second.number,)

    run(main)


def test_tombstones_are_given_as_they_are_and_nothing_as_none() -> None:
    async def main(rig: Rig) -> None:
        await rig.cluster.write(key(), draft(kind=Kind.TOMBSTONE))
        held = await rig.cluster.read(key(), inline=True)
        assert isinstance(held.row, Row)
        assert held.row.kind == Kind.TOMBSTONE
        nothing = await rig.cluster.read(key("nothing"))
        assert nothing.row is None

    run(main)


def test_settling_reaches_also_a_replica_whose_promise_kept_the_row_out() -> None:
    async def main(rig: Rig) -> None:
        holding(rig)
        behind = rig.members(key())[2]
        behind.registers[key()] = Register(promised=ballot(9), accepted=EMPTY.accepted, row=b"")
        await rig.cluster.settle(key(), rig.cluster.partition(key()))
        await asyncio.sleep(0.1)
        assert behind.row(key()) == decode_row(ROW)

    run(main)
