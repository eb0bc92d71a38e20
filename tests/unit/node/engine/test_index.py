"""Checkpoints: the index is always the exact state at one record boundary."""

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest

from objstore.core.rows import RowKey
from objstore.errors import DamagedFile, DeviceFull
from objstore.node.engine.index import Frozen, load
from objstore.node.engine.state import Position, State
from objstore.runtime.kv import Change
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, delete, key, names, put, put_blob, read


@pytest.fixture
def rig() -> SimRig:
    return SimRig(settings=dataclasses.replace(SMALL, checkpoint_rows=1 << 20))


def volume(rig: SimRig) -> Any:
    return rig.host.storage.volume(DIRECTORY)[0]


def totals(state: State) -> list[Any]:
    return [state.partitions, state.buckets, state.floors, state.notes, state.live, state.purge, state.position, state.totals.registers]


def busy(rig: SimRig) -> None:
    for i in range(10):
        rig.run(lambda i=i: put(rig.engine, f"k{i}", 1, b"x" * i, partition=i % 3))
    rig.run(lambda: put_blob(rig.engine, "blob", 1, b"b" * 16, b"data"))
    rig.run(lambda: delete(rig.engine, "blob", 2))
    rig.run(lambda: delete(rig.engine, "k3", 2, partition=0))
    rig.run(lambda: rig.engine.reclaim(key("k3"), partition=0, ballot=ballot(2)))
    rig.run(lambda: rig.engine.set_notes({"epoch": b"1"}))


def test_what_a_checkpoint_wrote_is_what_loading_finds(rig: SimRig) -> None:
    busy(rig)
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    state = rig.engine._state
    loaded = load(state.kv)
    assert totals(loaded) == totals(state)
    assert loaded.position.pack == 1
    assert not len(state.active)


def test_a_checkpoint_without_news_writes_nothing(rig: SimRig, monkeypatch: pytest.MonkeyPatch) -> None:
    busy(rig)
    assert rig.run(lambda: rig.engine.maintain("checkpoint"))[0]["rows"] > 0
    changes: list[Sequence[Change]] = []
    monkeypatch.setattr(type(rig.engine._state.kv), "apply", lambda _, some: changes.append(some))
    assert rig.run(lambda: rig.engine.maintain("checkpoint"))[0]["rows"] == 0
    assert not changes


def test_writes_during_a_checkpoint_belong_to_the_next_one(rig: SimRig) -> None:
    busy(rig)

    async def body() -> None:
        running = asyncio.ensure_future(rig.engine.maintain("checkpoint"))
        number = 10
        while not running.done():
            await put(rig.engine, "k1", number, b"later", partition=1)
            number += 1
        await running

    rig.run(body)
    assert len(rig.engine._state.active) == 1
    rig.crash()
    assert rig.engine.query(key("k1"), partition=1).accepted >= ballot(10)
    assert rig.engine.stats().rows == 10


def test_a_checkpoint_without_room_changes_nothing_and_is_made_good_later(rig: SimRig) -> None:
    busy(rig)
    disk = volume(rig)
    room = disk.capacity_bytes
    disk.capacity_bytes = disk.used_bytes
    with pytest.raises(DeviceFull):
        rig.run(lambda: rig.engine.maintain("checkpoint"))
    disk.capacity_bytes = room
    before = rig.engine.digests(range(3))
    assert len(names(rig.engine)) == 9
    rig.run(lambda: put(rig.engine, "k1", 5, b"new", partition=1))
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert rig.engine.digests([0, 2]) == [before[0], before[2]]
    assert totals(load(rig.engine._state.kv)) == totals(rig.engine._state)
    rig.crash()
    assert rig.run(lambda: read(rig.engine, "k1", 5)) == b"new"


def test_when_checkpoints_fail_for_long_writes_are_refused_before_memory_runs_out() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, checkpoint_rows=4, memtable_limit=2))
    rig.run(lambda: put(rig.engine, "k", 1, b"x"))
    rig.engine._state.kv.apply = _full  # type: ignore[method-assign]  # this one store has no room
    for i in range(8):
        rig.run(lambda i=i: put(rig.engine, f"k{i}", 1, b"x"))
    with pytest.raises(DeviceFull):
        rig.run(lambda: put(rig.engine, "one more", 1, b"x"))
    assert rig.run(lambda: delete(rig.engine, "k1", 2)) == "yes"


def _full(_: object) -> None:
    raise DeviceFull("full")


def test_checkpoints_begin_by_themselves() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, checkpoint_rows=20))
    for i in range(70):
        rig.run(lambda i=i: put(rig.engine, f"k{i}", 1, b"x"))
    rig.run(lambda: asyncio.sleep(1))
    assert rig.engine._state.position.pack > 0
    assert len(rig.engine._state.active) < 40


def test_an_index_that_lost_its_position_or_a_total_is_damaged(rig: SimRig) -> None:
    busy(rig)
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    state = rig.engine._state
    meta = volume(rig).kv_stores["index-1"].tables["meta"]
    for name in list(meta):
        if name == b"totals":
            continue
        value = meta.pop(name)
        with pytest.raises(DamagedFile):
            load(state.kv)
        meta[name] = value[:-1] + b"?"
        with pytest.raises(DamagedFile):
            load(state.kv)
        meta[name] = value
    load(state.kv)


def test_a_damaged_index_is_built_again_when_the_device_is_opened(rig: SimRig) -> None:
    busy(rig)
    rig.run(rig.engine.close)
    before = totals(rig.engine._state)
    meta = volume(rig).kv_stores["index-1"].tables["meta"]
    meta[b"position"] = b"nonsense"
    rig.open()
    assert rig.engine._device.generation == 2
    after = totals(rig.engine._state)
    assert after[:4] == before[:4]
    assert len(names(rig.engine)) == 9


def test_freezing_takes_the_totals_as_they_are_at_that_moment(rig: SimRig) -> None:
    busy(rig)
    state = rig.engine._state
    frozen = Frozen(state, Position(1, 2, 3))
    rig.run(lambda: put(rig.engine, RowKey(b"bucket-1", 0, b"later"), 1, b"x", partition=9))
    written = [change[1] for slice_ in frozen.changes() for change in slice_]
    assert not any(b"later" in k for k in written)
    assert b"p" + (9).to_bytes(4, "big") not in written
    frozen.failed(state)
    assert len(state.active) == 12
