import asyncio
import dataclasses
from typing import Any

import pytest

from objstore.core.rows import EMPTY
from objstore.errors import DamagedFile
from objstore.node.engine.fsck import fsck
from objstore.node.engine.rebuild import RebuildReport, rebuild_index
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, delete, key, names, put, put_blob, read

SETTINGS = dataclasses.replace(SMALL, pack_size_bytes=5000)


@pytest.fixture
def rig() -> SimRig:
    rig = SimRig(settings=SETTINGS)
    for i in range(60):
        rig.run(lambda i=i: put(rig.engine, f"k{i:02}", 1, b"x" * 100, partition=i % 4))
    rig.run(lambda: put_blob(rig.engine, "blob", 1, b"b" * 16, b"y" * 3000, partition=1))
    rig.run(lambda: delete(rig.engine, "k01", 2, partition=1))
    rig.run(lambda: rig.engine.reclaim(key("k01"), partition=1, ballot=ballot(2)))
    rig.run(lambda: rig.engine.prepare(key("k02"), partition=2, ballot=ballot(9)))
    rig.run(lambda: rig.engine.set_notes({"epoch": b"3"}))
    return rig


def rebuild(rig: SimRig) -> RebuildReport:
    rig.run(rig.engine.close)
    report = rig.run(lambda: rebuild_index(rig.host.world(), DIRECTORY, SETTINGS))
    rig.open()
    return report


def snapshot(rig: SimRig) -> list[Any]:
    engine = rig.engine
    registers = {}
    for partition in range(4):
        items, cursor = engine.partition_rows(partition, cursor=b"", limit=1000, rows=True)
        assert cursor is None
        registers.update({item.key.name: item.register for item in items})
    return [
        registers, engine.digests(range(5)), engine.bucket_counters(b"bucket-1"), engine.note("epoch"),
        [engine.floor(p) for p in range(4)], engine.stats().rows, engine.stats().live_bytes, names(engine),
    ]  # fmt: skip


def test_everything_comes_back_from_the_packs(rig: SimRig) -> None:
    before = snapshot(rig)
    report = rebuild(rig)
    assert snapshot(rig) == before
    assert (report.lost_records, report.damaged_payloads, report.incarnation) == (0, 0, rig.incarnation)
    assert report.registers == 60
    assert rig.engine.query(key("k02"), partition=2).promised == ballot(9)
    assert rig.run(lambda: read(rig.engine, "blob", 1)) == b"y" * 3000
    assert fsck_is_clean(rig)


def fsck_is_clean(rig: SimRig) -> bool:
    rig.run(rig.engine.close)
    report = fsck(rig.host.world(), DIRECTORY)
    assert report["findings"] == []
    return bool(report["clean"])


def test_a_lost_record_means_a_new_incarnation_and_the_rest_is_kept(rig: SimRig) -> None:
    packs = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]
    data = packs["0000000000000002.pack"].data
    data[bytes(data).index(b"operation")] ^= 1
    report = rebuild(rig)
    assert report.lost_records == 1
    assert report.incarnation != rig.incarnation
    assert rig.engine.incarnation == report.incarnation
    assert len(names(rig.engine)) == 59
    assert rig.run(lambda: put(rig.engine, "after", 5, b"x")) == "yes"


def test_a_power_cut_in_the_middle_of_a_lossy_rebuild_never_leaves_the_old_incarnation_with_the_loss(rig: SimRig) -> None:
    rig.run(rig.engine.close)
    inode = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000001.pack"]
    at = bytes(inode.data).index(b"operation")
    for content in (inode.data, inode.durable):
        content[at] ^= 1
    for step in range(1, 300):

        async def cut(step: int = step) -> None:
            call = asyncio.ensure_future(rig.host.call(lambda: rebuild_index(rig.host.world(), DIRECTORY, SETTINGS)))
            await asyncio.sleep(step * 0.0003)
            rig.host.kill(power=True)
            await asyncio.gather(call, return_exceptions=True)

        rig.simulation.run(cut(), limit_s=rig.simulation.scheduler.now_s + 60)
        rig.host.boot()
        try:
            rig.open()
        except DamagedFile:
            continue
        assert rig.engine.incarnation != rig.incarnation
        return
    pytest.fail("no rebuild came to its end")


def test_a_damaged_payload_costs_only_that_payload(rig: SimRig) -> None:
    packs = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]
    data = packs["0000000000000002.pack"].data
    data[bytes(data).index(b"xxxx")] ^= 1
    report = rebuild(rig)
    assert (report.lost_records, report.damaged_payloads) == (0, 1)
    assert rig.engine.incarnation == rig.incarnation
    assert len(names(rig.engine)) == 60


def test_a_pack_without_a_header_is_read_all_the_same(rig: SimRig) -> None:
    packs = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]
    packs["0000000000000001.pack"].data[0] ^= 1
    report = rebuild(rig)
    assert report.lost_records == 0
    assert len(names(rig.engine)) == 60


def test_a_power_cut_during_a_rebuild_is_made_good_by_opening(rig: SimRig) -> None:
    before = snapshot(rig)
    rig.run(rig.engine.close)
    for delay_ms in (0.1, 1, 3, 10):

        async def cut(delay_ms: float = delay_ms) -> None:
            call = asyncio.ensure_future(rig.host.call(lambda: rebuild_index(rig.host.world(), DIRECTORY, SETTINGS)))
            await asyncio.sleep(delay_ms / 1000)
            rig.host.kill(power=True)
            await asyncio.gather(call, return_exceptions=True)

        rig.simulation.run(cut(), limit_s=rig.simulation.scheduler.now_s + 60)
        rig.host.boot()
    rig.open()
    assert snapshot(rig) == before


def test_an_empty_device_can_be_rebuilt() -> None:
    rig = SimRig()
    assert rebuild(rig).registers == 0
    assert rig.engine.query(key("k"), partition=0) == EMPTY
