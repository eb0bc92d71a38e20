"""Compaction: room comes back, nothing that lives is lost, and the packs that stay still hold all a rebuild needs."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from objstore.core.rows import EMPTY, Kind, Space
from objstore.core.timestamp import ZERO
from objstore.wire.messages import PartitionRow
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, delete, key, names, put, read, row

SETTINGS = dataclasses.replace(SMALL, pack_size_bytes=4000, checkpoint_rows=1 << 20)


@pytest.fixture
def rig() -> SimRig:
    return SimRig(settings=SETTINGS)


def packs(rig: SimRig) -> list[int]:
    return sorted(rig.engine._device.packs.sizes)


def fill(rig: SimRig, *wanted: str, number: int = 1, size: int = 1000) -> None:
    async def body() -> None:
        for name in wanted:
            await put(rig.engine, name, number, name.encode()[:1] * size)

    rig.run(body)


def checkpoint(rig: SimRig) -> None:
    rig.run(lambda: rig.engine.maintain("checkpoint"))


def compact(rig: SimRig) -> dict[str, int]:
    total = {"packs": 0, "records": 0, "bytes": 0}
    more = True
    while more:
        counts, more = rig.run(lambda: rig.engine.maintain("compact"))
        total = {name: total[name] + counts[name] for name in total}
    return total


def rebuild(rig: SimRig) -> None:
    """Open with an empty index."""
    rig.run(rig.engine.close)
    rig.host.storage.volume(DIRECTORY)[0].kv_stores.clear()
    rig.open()


def held(rig: SimRig, *wanted: str) -> list[Any]:
    return [rig.engine.query(key(name), partition=0) for name in wanted]


def test_a_pack_that_is_mostly_dead_goes_and_what_lives_in_it_moves(rig: SimRig) -> None:
    fill(rig, "a", "b", "c", "d")
    fill(rig, "b", "c", "d", number=2)
    checkpoint(rig)
    before = rig.engine.stats().pack_bytes
    counts = compact(rig)
    assert (counts["packs"], counts["records"]) == (1, 1)
    assert 1 not in packs(rig)
    assert rig.engine.stats().pack_bytes < before
    for name, number in (("a", 1), ("b", 2), ("c", 2), ("d", 2)):
        assert rig.run(lambda name=name, number=number: read(rig.engine, name, number)) == name.encode() * 1000
    rig.crash()
    assert rig.run(lambda: read(rig.engine, "a", 1)) == b"a" * 1000
    rebuild(rig)
    assert rig.run(lambda: read(rig.engine, "a", 1)) == b"a" * 1000
    assert names(rig.engine) == [b"a", b"b", b"c", b"d"]


def test_packs_that_opening_would_need_are_left_alone(rig: SimRig) -> None:
    fill(rig, "a", "b", "c", "d")
    fill(rig, "a", "b", "c", "d", number=2)
    assert compact(rig)["packs"] == 0
    checkpoint(rig)
    assert compact(rig)["packs"] == 1


def test_a_pack_that_mostly_lives_is_left_alone(rig: SimRig) -> None:
    fill(rig, *"abcdefgh")
    fill(rig, "a", number=2)
    checkpoint(rig)
    assert compact(rig)["packs"] == 0


@pytest.mark.parametrize("seed", range(12))
def test_a_power_cut_at_any_moment_of_compaction_loses_nothing(seed: int) -> None:
    rig = SimRig(seed, SETTINGS)
    fill(rig, "a", "b", "c", "d", "e", "f")
    fill(rig, "c", "d", "f", number=2)
    rig.run(lambda: delete(rig.engine, "e", 3))
    checkpoint(rig)
    before = held(rig, *"abcdef")

    async def cut() -> None:
        call = asyncio.ensure_future(rig.host.call(lambda: rig.engine.maintain("compact")))
        await asyncio.sleep(seed * 0.0002)
        rig.host.kill(power=True)
        await asyncio.gather(call, return_exceptions=True)

    rig.simulation.run(cut(), limit_s=rig.simulation.scheduler.now_s + 60)
    rig.host.boot()
    rig.open()
    for _ in range(2):
        assert held(rig, *"abcdef") == before
        for name, number in (("a", 1), ("b", 1), ("c", 2), ("d", 2), ("f", 2)):
            assert rig.run(lambda name=name, number=number: read(rig.engine, name, number)) == name.encode() * 1000
        compact(rig)
    rebuild(rig)
    assert held(rig, *"abcdef") == before


def test_a_read_goes_on_when_its_payload_moves(rig: SimRig) -> None:
    fill(rig, "a", "b", "c", "d")
    fill(rig, "b", "c", "d", number=2)
    checkpoint(rig)

    async def body() -> list[bytes]:
        compaction = asyncio.ensure_future(rig.engine.maintain("compact"))
        got = []
        while not compaction.done():
            got.append((await rig.engine.query_inline(key("a"), partition=0))[1])
        await compaction
        return [x or b"" for x in got]

    got = rig.run(body)
    assert len(got) > 3
    assert set(got) == {b"a" * 1000}


def test_a_write_during_compaction_is_not_overwritten_by_the_move(rig: SimRig) -> None:
    fill(rig, "a", "b", "c", "d")
    fill(rig, "b", "c", "d", number=2)
    checkpoint(rig)

    async def body() -> None:
        compaction = asyncio.ensure_future(rig.engine.maintain("compact"))
        for number in range(3, 30):
            await put(rig.engine, "a", number, b"%d" % number)
        await compaction

    rig.run(body)
    assert rig.engine.query(key("a"), partition=0).accepted == ballot(29)
    rebuild(rig)
    assert rig.run(lambda: read(rig.engine, "a", 29)) == b"29"


def test_promises_floors_and_notes_outlive_their_packs(rig: SimRig) -> None:
    fill(rig, "keep")
    fill(rig, "x", "y", "z")
    rig.run(lambda: rig.engine.prepare(key("keep"), partition=0, ballot=ballot(50)))
    rig.run(lambda: rig.engine.prepare(key("alone"), partition=0, ballot=ballot(60)))
    rig.run(lambda: rig.engine.merge(key("f"), partition=7, register=EMPTY, floor=ballot(9)))
    rig.run(lambda: rig.engine.set_notes({"epoch": b"4", "old": b"x"}))
    rig.run(lambda: rig.engine.set_notes({"old": None}))
    fill(rig, "x", "y", "z", "w", number=2)
    fill(rig, "x", "y", "z", "w", number=3)
    for _ in range(4):
        checkpoint(rig)
        compact(rig)
    assert min(packs(rig)) > 1
    rebuild(rig)
    assert rig.engine.query(key("keep"), partition=0).promised == ballot(50)
    assert rig.engine.query(key("alone"), partition=0).promised == ballot(60)
    assert (rig.engine.floor(7), rig.engine.note("epoch"), rig.engine.note("old")) == (ballot(9), b"4", None)


def test_a_promise_outlives_its_pack_when_its_row_lies_in_another(rig: SimRig) -> None:
    fill(rig, "keep", "stay1", "stay2", "stay3")
    fill(rig, "x")
    rig.run(lambda: rig.engine.prepare(key("keep"), partition=0, ballot=ballot(50)))
    fill(rig, "x", "y", "z", "w", number=2)
    fill(rig, "x", "y", "z", "w", number=3)
    checkpoint(rig)
    compact(rig)
    assert packs(rig)[:2] == [1, 3]
    rebuild(rig)
    assert rig.engine.query(key("keep"), partition=0).promised == ballot(50)


def drop(rig: SimRig, name: str, number: int) -> None:
    held = rig.engine.query(key(name), partition=0)
    assert held.accepted == ballot(number)
    assert rig.run(lambda: rig.engine.drop([PartitionRow(key(name), held)], partition=0)) == 1


def test_a_dropped_register_does_not_come_back_from_an_older_pack(rig: SimRig) -> None:
    fill(rig, "gone", "stay1", "stay2", "stay3")  # pack 1, mostly alive
    fill(rig, "x", "y", "z", "w")
    drop(rig, "gone", 1)  # in a pack that goes
    fill(rig, "x", "y", "z", "w", number=2)
    fill(rig, "x", "y", "z", "w", number=3)
    checkpoint(rig)
    compact(rig)
    assert packs(rig)[0] == 1
    assert 2 not in packs(rig)
    rebuild(rig)
    assert rig.engine.query(key("gone"), partition=0) == EMPTY


def test_a_key_dropped_and_born_again_does_not_fall_back_to_its_earlier_life(rig: SimRig) -> None:
    fill(rig, "k", "stay1", "stay2", "stay3")  # the first life, in pack 1, which stays
    drop(rig, "k", 1)
    fill(rig, "x", "y", "z")
    rig.run(lambda: rig.engine.prepare(key("k"), partition=0, ballot=ballot(2)))  # the second life is only a promise
    fill(rig, "x", "y", "z", "w", number=2)
    fill(rig, "x", "y", "z", "w", number=3)
    checkpoint(rig)
    compact(rig)
    assert 2 not in packs(rig)  # the drop was in there
    rebuild(rig)
    assert rig.engine.query(key("k"), partition=0).accepted == ZERO
    held = rig.engine.query(key("k"), partition=0)
    assert rig.run(lambda: rig.engine.drop([PartitionRow(key("k"), held)], partition=0)) == 1
    fill(rig, "x", "y", "z", "w", number=4)
    fill(rig, "x", "y", "z", "w", number=5)
    checkpoint(rig)
    compact(rig)
    assert packs(rig)[0] == 1
    rebuild(rig)
    assert rig.engine.query(key("k"), partition=0) == EMPTY


def test_compaction_comes_to_rest(rig: SimRig) -> None:
    """Records that must be carried are not carried round and round."""
    fill(rig, "stay1", "stay2", "stay3", *(f"gone{i}" for i in range(20)), size=150)
    for i in range(20):
        drop(rig, f"gone{i}", 1)
    fill(rig, "x", "y", "z", "w", number=2)
    fill(rig, "x", "y", "z", "w", number=3)
    for _ in range(3):
        checkpoint(rig)
        compact(rig)
    settled = packs(rig)
    for _ in range(5):
        checkpoint(rig)
        assert compact(rig)["packs"] == 0
    assert packs(rig) == settled


def test_a_pack_with_a_payload_that_cannot_be_read_stays_until_it_is_healed(rig: SimRig) -> None:
    fill(rig, "a", "b", "c", "d")
    fill(rig, "b", "c", "d", number=2)
    checkpoint(rig)
    inode = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000001.pack"]
    at = bytes(inode.data).index(b"aaaa")
    inode.data[at] ^= 1
    assert compact(rig)["packs"] == 0
    assert packs(rig)[0] == 1
    register = rig.engine.query(key("a"), partition=0)
    assert rig.run(lambda: rig.engine.merge(key("a"), partition=0, register=register, payload=b"a" * 1000, floor=ZERO))
    assert compact(rig)["packs"] + compact(rig)["packs"] == 1
    assert rig.run(lambda: read(rig.engine, "a", 1)) == b"a" * 1000


def compact_while(rig: SimRig, change: Callable[[], Awaitable[Any]]) -> None:
    """Compact; a change is decided after the payloads were read, and just before their move is."""
    committer = rig.engine._device.committer
    submit = committer.submit
    changing: list[asyncio.Future[Any]] = []

    def submit_after_the_change(operation: Any, *args: Any) -> Any:
        if operation.__name__ != "_write" or changing:
            return submit(operation, *args)
        changing.append(asyncio.ensure_future(change()))
        changing.append(asyncio.ensure_future(moved_after(changing[0], operation, *args)))
        return changing[1]

    async def moved_after(first: asyncio.Future[Any], operation: Any, *args: Any) -> Any:
        await asyncio.sleep(0)  # the change is in the queue now
        moved = await submit(operation, *args)
        await first
        return moved

    committer.submit = submit_after_the_change  # type: ignore[method-assign]  # to be sure of the order
    try:
        counts, _ = rig.run(lambda: rig.engine.maintain("compact"))
    finally:
        committer.submit = submit  # type: ignore[method-assign]
    assert changing
    assert counts["packs"] == 1


def version_of(name: str, number: int) -> Any:
    return key(name, ballot(number), space=Space.VERSIONS)


def fill_with_a_version(rig: SimRig) -> None:
    """The first pack holds version 1 of "k", and what else it held is dead."""
    rig.run(lambda: put(rig.engine, "k", 1, b"k" * 1000, version=ballot(1).hex()))
    fill(rig, "b", "c", "d")
    fill(rig, "b", "c", "d", number=2)


def test_a_head_that_is_demoted_while_its_pack_goes_keeps_its_payload(rig: SimRig) -> None:
    fill_with_a_version(rig)
    checkpoint(rig)
    compact_while(rig, lambda: put(rig.engine, "k", 4, b"new", version=ballot(4).hex()))
    for _ in range(2):
        assert rig.run(lambda: read(rig.engine, version_of("k", 1), 1)) == b"k" * 1000
        assert rig.run(lambda: read(rig.engine, "k", 4)) == b"new"
        rebuild(rig)


def test_a_version_that_is_promoted_while_its_pack_goes_keeps_its_payload(rig: SimRig) -> None:
    fill_with_a_version(rig)
    rig.run(lambda: put(rig.engine, "k", 3, b"over it", version=ballot(3).hex()))
    checkpoint(rig)
    removed = row(ballot(5), kind=Kind.TOMBSTONE, version=ballot(3).hex())
    again = row(ballot(5), b"k" * 1000, version=ballot(1).hex(), effects=(removed,))
    compact_while(rig, lambda: rig.engine.accept(key("k"), partition=0, ballot=ballot(5), row=again))
    for _ in range(2):
        assert rig.run(lambda: read(rig.engine, "k", 5)) == b"k" * 1000
        assert rig.run(lambda: read(rig.engine, version_of("k", 1), 1)) == b"k" * 1000
        rebuild(rig)


@pytest.mark.parametrize("delay_ms", [0.0, 0.2, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0])
def test_a_compaction_whose_caller_goes_comes_to_its_end(delay_ms: float) -> None:
    """A pack that is forgotten and not deleted would bring registers back whose removal went with another pack."""
    for seed in range(3):
        rig = SimRig(seed, SETTINGS)
        fill(rig, "a", "b", "c", "d")
        fill(rig, "b", "c", "d", number=2)
        checkpoint(rig)

        async def broken_off(rig: SimRig = rig) -> None:
            compaction = asyncio.ensure_future(rig.engine.maintain("compact"))
            await asyncio.sleep(delay_ms / 1000)
            compaction.cancel()
            await asyncio.gather(compaction, return_exceptions=True)
            await asyncio.sleep(1)

        rig.run(broken_off)
        compact(rig)
        assert rig.engine._device.packs.list() == packs(rig)
        assert 1 not in packs(rig)


def test_a_pack_that_cannot_be_deleted_is_not_forgotten(rig: SimRig) -> None:
    fill(rig, "a", "b", "c", "d")
    fill(rig, "b", "c", "d", number=2)
    checkpoint(rig)
    device = rig.engine._device
    delete_pack = device.packs.delete

    def refuse(pack: int) -> None:
        raise OSError(5, "Input/output error")

    device.packs.delete = refuse  # type: ignore[method-assign]
    with pytest.raises(OSError, match="Input/output"):
        compact(rig)
    device.packs.delete = delete_pack  # type: ignore[method-assign]
    assert packs(rig) == device.packs.list()
    assert compact(rig)["packs"] + compact(rig)["packs"] == 1
    assert packs(rig) == device.packs.list()
