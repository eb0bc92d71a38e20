"""The commit loop: what shares a flush, what is answered when, and what happens when a flush fails."""

import asyncio
import dataclasses
from typing import Any

import pytest

from objstore.errors import DeviceFull, DeviceOffline, InvalidArgument
from objstore.node.engine.commit import is_counted
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, delete, key, put, read, row


def volume(rig: SimRig) -> Any:
    return rig.host.storage.volume(DIRECTORY)[0]


def flushes(rig: SimRig) -> int:
    return rig.engine._device.packs.sequence


def test_what_waits_together_shares_one_flush() -> None:
    rig = SimRig()

    async def burst() -> None:
        await asyncio.gather(*(put(rig.engine, f"k{i}", 1, b"x" * 10) for i in range(20)))

    rig.run(burst)
    assert flushes(rig) == 1
    assert rig.engine.stats().rows == 20


def test_nothing_is_visible_before_its_flush() -> None:
    rig = SimRig()
    seen: list[int] = []

    async def watch() -> None:
        write = asyncio.ensure_future(put(rig.engine, "k", 1, b"x"))
        while not write.done():
            seen.append(len(rig.engine.query(key("k"), partition=0).row))
            await asyncio.sleep(0.00005)
        await write

    rig.run(watch)
    assert len(seen) > 1
    assert not any(seen)
    assert rig.engine.query(key("k"), partition=0).accepted == ballot(1)


def test_operations_of_one_batch_see_each_other_in_order() -> None:
    rig = SimRig()

    async def burst() -> list[Any]:
        engine = rig.engine
        return await asyncio.gather(
            put(engine, "k", 5, b"five"),
            put(engine, "k", 3, b"three"),
            engine.prepare(key("k"), partition=0, ballot=ballot(7)),
            put(engine, "k", 6, b"six"),
            put(engine, "k", 8, b"eight"),
        )

    answers = rig.run(burst)
    assert [answers[0], answers[1], answers[3], answers[4]] == ["yes", "superseded", "no", "yes"]
    assert answers[2][0] is True
    assert flushes(rig) == 1
    assert rig.run(lambda: read(rig.engine, "k", 8)) == b"eight"


def test_an_answer_that_changes_nothing_waits_for_the_state_it_speaks_of() -> None:
    rig = SimRig()
    order: list[str] = []

    async def burst() -> None:
        first = asyncio.ensure_future(put(rig.engine, "k", 5, b"five"))
        second = asyncio.ensure_future(put(rig.engine, "k", 5, b"five"))
        second.add_done_callback(lambda _: order.append("flushed" if flushes(rig) else "not flushed"))
        await asyncio.gather(first, second)

    rig.run(burst)
    assert order == ["flushed"]
    assert flushes(rig) == 1


def test_an_idempotent_accept_costs_no_flush() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "k", 5, b"five"))
    before = flushes(rig)
    assert rig.run(lambda: put(rig.engine, "k", 5, b"five")) == "yes"
    assert rig.run(lambda: put(rig.engine, "k", 4, b"four")) == "superseded"
    assert flushes(rig) == before


def test_a_batch_ends_at_its_limit_of_bytes() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, batch_bytes=5000))

    async def burst() -> None:
        await asyncio.gather(*(put(rig.engine, f"k{i}", 1, b"x" * 2000) for i in range(9)))

    rig.run(burst)
    assert flushes(rig) == 3


def test_a_failed_flush_takes_the_device_offline_and_nothing_is_acknowledged() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "before", 1, b"x"))
    volume(rig).datasync_failures = 1

    async def burst() -> list[Any]:
        first = [asyncio.ensure_future(put(rig.engine, f"k{i}", 1, b"x")) for i in range(3)]
        await asyncio.sleep(0.00001)
        later = asyncio.ensure_future(put(rig.engine, "later", 1, b"x"))
        return await asyncio.gather(*first, later, return_exceptions=True)

    assert all(isinstance(answer, DeviceOffline) for answer in rig.run(burst))
    for attempt in (
        lambda: put(rig.engine, "k", 1, b"x"),
        lambda: delete(rig.engine, "before", 2),
        lambda: rig.engine.prepare(key("k"), partition=0, ballot=ballot(9)),
        lambda: rig.engine.query_inline(key("before"), partition=0),
        lambda: rig.engine.stage(bytes(16), size=1),
        lambda: rig.engine.maintain("checkpoint"),
        lambda: rig.engine.audit(b"", budget_bytes=1),
        lambda: rig.engine.set_notes({"a": b"b"}),
    ):
        with pytest.raises(DeviceOffline):
            rig.run(attempt)
    with pytest.raises(DeviceOffline):
        rig.engine.query(key("before"), partition=0)
    rig.reopen()
    assert rig.engine.query(key("before"), partition=0).accepted == ballot(1)


def test_a_batch_that_finds_no_room_is_cut_off_and_the_device_goes_on() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "before", 1, b"x" * 100))
    disk = volume(rig)
    room = disk.capacity_bytes
    disk.capacity_bytes = disk.used_bytes + 300
    size = rig.engine._device.packs.sizes[1]
    for attempt in range(2):
        with pytest.raises(DeviceFull):
            rig.run(lambda attempt=attempt: put(rig.engine, f"k{attempt}", 1, b"x" * 5000))
    assert len(disk.directories["packs"]["0000000000000001.pack"].data) == size
    disk.capacity_bytes = room
    assert rig.run(lambda: put(rig.engine, "after", 2, b"y" * 5000)) == "yes"
    rig.crash()
    assert rig.run(lambda: read(rig.engine, "after", 2)) == b"y" * 5000
    assert rig.engine.query(key("k0"), partition=0).row == b""


def test_a_new_pack_that_finds_no_room_is_taken_back() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, pack_size_bytes=200))
    rig.run(lambda: put(rig.engine, "before", 1, b"x" * 300))
    disk = volume(rig)
    room = disk.capacity_bytes
    disk.capacity_bytes = disk.used_bytes + 100
    with pytest.raises(DeviceFull):
        rig.run(lambda: put(rig.engine, "k", 1, b"x" * 5000))
    assert list(disk.directories["packs"]) == ["0000000000000001.pack"]
    disk.capacity_bytes = room
    rig.run(lambda: put(rig.engine, "after", 2, b"y"))
    rig.crash()
    assert rig.run(lambda: read(rig.engine, "after", 2)) == b"y"


def test_below_the_reserve_payloads_are_refused_and_deletes_go_on() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, reserve_bytes=100_000))
    rig.run(lambda: put(rig.engine, "k", 1, b"x" * 1000))
    disk = volume(rig)
    room = disk.capacity_bytes
    disk.capacity_bytes = disk.used_bytes + 100_500
    rig.run(lambda: rig.engine.set_notes({"a": b"b"}))  # each flush looks how much room is left
    for _ in range(2):
        with pytest.raises(DeviceFull):
            rig.run(lambda: put(rig.engine, "l", 1, b"x" * 1000))
    with pytest.raises(DeviceFull):
        rig.run(lambda: rig.engine.stage(bytes(16), size=1000))
    assert rig.run(lambda: delete(rig.engine, "k", 2)) == "yes"
    assert rig.run(lambda: rig.engine.prepare(key("m"), partition=0, ballot=ballot(3)))[0]
    assert rig.run(lambda: rig.engine.reclaim(key("k"), partition=0, ballot=ballot(2)))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    disk.capacity_bytes = room
    with pytest.raises(DeviceFull):  # this one makes it look again
        rig.run(lambda: put(rig.engine, "l", 4, b"x" * 1000))
    assert rig.run(lambda: put(rig.engine, "l", 4, b"x" * 1000)) == "yes"


def test_one_bad_operation_does_not_fail_those_beside_it() -> None:
    rig = SimRig()

    async def burst() -> list[Any]:
        broken = rig.engine.accept(key("b"), partition=0, ballot=ballot(1), row=b"not a row")
        return await asyncio.gather(put(rig.engine, "a", 1, b"x"), broken, put(rig.engine, "c", 1, b"x"), return_exceptions=True)

    first, second, third = rig.run(burst)
    assert (first, third) == ("yes", "yes")
    assert isinstance(second, InvalidArgument)


def test_a_caller_that_gave_up_does_not_undo_its_write() -> None:
    rig = SimRig()

    async def give_up() -> None:
        write = asyncio.ensure_future(put(rig.engine, "k", 1, b"x"))
        await asyncio.sleep(0)
        write.cancel()
        await asyncio.sleep(1)

    rig.run(give_up)
    assert rig.engine.query(key("k"), partition=0).accepted == ballot(1)


def test_only_heads_of_objects_are_counted() -> None:
    assert is_counted(key("k"))
    assert not is_counted(key("k", ballot(1)))
    assert not is_counted(key("k", space=1))


def test_rows_of_parts_and_versions_do_not_count_as_objects() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, key("k", space=2), 1, b"part"))
    rig.run(lambda: put(rig.engine, key("k", ballot(1)), 2, b"version"))
    rig.run(lambda: put(rig.engine, "k", 3, b"head"))
    assert rig.engine.bucket_counters(b"bucket-1") == (1, 4)
    rig.run(lambda: rig.engine.accept(key("k"), partition=0, ballot=ballot(4), row=row(ballot(4), kind=2)))
    assert rig.engine.bucket_counters(b"bucket-1") == (0, 0)
