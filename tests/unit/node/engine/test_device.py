"""Renewal of the index in service, and how a device ends."""

import asyncio
from typing import Any

import pytest

from objstore.errors import DamagedFile, DeviceOffline
from tests.support.engine_rig import DIRECTORY, SimRig, ballot, delete, key, names, put, put_blob, read


@pytest.fixture
def rig() -> SimRig:
    rig = SimRig()
    for i in range(80):
        rig.run(lambda i=i: put(rig.engine, f"k{i:02}", 1, b"x" * 300, partition=i % 3))
    rig.run(lambda: put_blob(rig.engine, "blob", 1, b"b" * 16, b"y" * 3000))
    rig.run(lambda: delete(rig.engine, "k00", 2))
    return rig


def test_an_index_is_renewed_in_service_from_the_packs(rig: SimRig) -> None:
    before = names(rig.engine), rig.engine.digests(range(3)), rig.engine.stats().rows
    seen: list[str] = []

    async def body() -> None:
        renewal = asyncio.ensure_future(rig.engine._device.renew_index(DamagedFile("test")))
        while not renewal.done():
            try:
                await put(rig.engine, "k01", 5, b"during", partition=1)
                seen.append("written")
            except DeviceOffline:
                seen.append("offline")
            await asyncio.sleep(0.001)
        await renewal

    rig.run(body)
    assert "offline" in seen
    assert (names(rig.engine), rig.engine.stats().rows) == (before[0], before[2])
    assert rig.engine.digests([0, 2]) == [before[1][0], before[1][2]]
    assert rig.engine._device.generation == 2
    rig.run(lambda: put(rig.engine, "k02", 7, b"after", partition=2))
    rig.crash()
    assert rig.run(lambda: read(rig.engine, "k02", 7)) == b"after"
    assert names(rig.engine) == before[0]


def test_reads_under_way_during_a_renewal_are_right_or_offline(rig: SimRig) -> None:
    async def reader() -> set[str]:
        outcomes = set()
        for _ in range(60):
            try:
                register, payload = await rig.engine.query_inline(key("k05"), partition=2)
                assert register.accepted == ballot(1)
                assert payload == b"x" * 300
                outcomes.add("read")
            except DeviceOffline:
                outcomes.add("offline")
                await asyncio.sleep(0.0005)
        return outcomes

    async def body() -> set[str]:
        reading = asyncio.ensure_future(reader())
        await rig.engine._device.renew_index(DamagedFile("test"))
        return await reading

    assert "read" in rig.run(body)


def test_a_second_renewal_soon_after_means_that_the_index_is_not_at_fault(rig: SimRig) -> None:
    rig.run(lambda: rig.engine._device.renew_index(DamagedFile("one")))
    with pytest.raises(DeviceOffline):
        rig.run(lambda: rig.engine._device.renew_index(DamagedFile("two")))
    with pytest.raises(DeviceOffline):
        rig.run(lambda: put(rig.engine, "k", 9, b"x"))
    rig.reopen()
    assert len(names(rig.engine)) == 80


def test_a_renewal_from_damaged_packs_leaves_the_device_offline(rig: SimRig) -> None:
    data: Any = rig.host.storage.volume(DIRECTORY)[0].directories["packs"]["0000000000000001.pack"].data
    data[100] ^= 1
    with pytest.raises(DeviceOffline):
        rig.run(lambda: rig.engine._device.renew_index(DamagedFile("test")))
    with pytest.raises(DeviceOffline):
        rig.engine.query(key("k05"), partition=2)


def test_an_index_that_cannot_be_written_for_damage_is_renewed(rig: SimRig) -> None:
    apply = rig.engine._state.kv.apply

    def fail(_: object) -> None:
        raise DamagedFile("MDB_CORRUPTED")

    rig.run(lambda: put(rig.engine, "new", 1, b"x"))
    rig.engine._state.kv.apply = fail  # type: ignore[method-assign]  # this one store is broken
    with pytest.raises(DeviceOffline):
        rig.run(lambda: rig.engine.maintain("checkpoint"))
    rig.run(lambda: asyncio.sleep(1))
    assert apply is not None
    assert rig.engine._device.generation == 2
    assert len(names(rig.engine)) == 81
    rig.run(lambda: rig.engine.maintain("checkpoint"))


def test_a_closed_device_refuses_everything(rig: SimRig) -> None:
    rig.run(rig.engine.close)
    with pytest.raises(DeviceOffline):
        rig.run(lambda: put(rig.engine, "k", 9, b"x"))
    with pytest.raises(DeviceOffline):
        rig.engine.query(key("k05"), partition=2)
    rig.open()
    assert rig.engine._device.recovered.records == 0  # closing made a checkpoint: there was nothing to replay


def test_closing_waits_for_what_was_asked_for(rig: SimRig) -> None:
    async def body() -> list[str]:
        writes = [asyncio.ensure_future(put(rig.engine, f"late{i}", 1, b"x")) for i in range(5)]
        await asyncio.sleep(0)
        await rig.engine.close()
        return await asyncio.gather(*writes)

    assert rig.run(body) == ["yes"] * 5
    rig.open()
    assert len(names(rig.engine)) == 85


def test_a_renewal_whose_caller_goes_comes_to_its_end(rig: SimRig) -> None:
    """An audit finds the damage, and its caller does not wait for as long as a large index takes."""
    before = names(rig.engine), rig.engine.stats().rows

    async def broken_off() -> None:
        renewal = asyncio.ensure_future(rig.engine._device.renew_index(DamagedFile("test")))
        await asyncio.sleep(0.001)
        renewal.cancel()
        await asyncio.gather(renewal, return_exceptions=True)
        assert rig.engine.trouble
        await asyncio.sleep(10)

    rig.run(broken_off)
    assert rig.engine.trouble == ""
    assert (names(rig.engine), rig.engine.stats().rows) == before
