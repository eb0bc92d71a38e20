"""One publisher: saved first, given to all, handovers ended when everybody is in sync, wiped devices replaced."""

import asyncio
from dataclasses import replace

import pytest

from objstore.core.rows import RowKey
from objstore.daemons.rebalancer import Rebalancer
from objstore.daemons.replicator import Replicator
from objstore.errors import InvalidRequest, Unavailable
from objstore.wire import messages as m
from ring import builder
from ring.lookup import Ring
from ring.model import RingError
from tests.support.memory_fleet import MemoryFleet, device, ring_of


async def settle(row_key: RowKey, partition: int) -> None:
    return None


def rebalancer(fleet: MemoryFleet, saved: list[Ring]) -> Rebalancer:
    return Rebalancer(fleet, Replicator(fleet, settle=settle), save=saved.append)  # type: ignore[arg-type]


def test_a_ring_is_saved_before_it_is_given_to_every_node() -> None:
    fleet = MemoryFleet(ring_of(3))
    saved: list[Ring] = []
    ring = asyncio.run(rebalancer(fleet, saved).publish([builder.Add(device(-1, b"newdevic"))]))
    assert saved == [ring]
    assert fleet.ring is ring
    assert sorted(fleet.pushed) == [(address, 2) for address in fleet.addresses()]


def test_an_impossible_change_is_refused_with_the_rings_reason() -> None:
    fleet = MemoryFleet(ring_of(3))
    saved: list[Ring] = []
    with pytest.raises(InvalidRequest, match="replica"):
        asyncio.run(rebalancer(fleet, saved).publish([builder.Remove(1)]))
    assert not saved


def test_a_ring_that_cannot_be_saved_is_given_to_nobody() -> None:
    fleet = MemoryFleet(ring_of(3))

    def damaged(_ring: Ring) -> None:
        raise RingError("ring.bin: bad checksum")

    acting = Rebalancer(fleet, Replicator(fleet, settle=settle), save=damaged)  # type: ignore[arg-type]
    with pytest.raises(Unavailable, match="bad checksum"):
        asyncio.run(acting.publish([builder.Add(device(-1, b"newdevic"))]))
    assert (fleet.ring.epoch, fleet.pushed) == (1, [])


def test_a_handover_ends_only_when_every_new_device_is_in_sync() -> None:
    fleet = MemoryFleet(ring_of(3))
    saved: list[Ring] = []
    acting = rebalancer(fleet, saved)

    async def story() -> None:
        await acting.publish([builder.Add(device(-1, b"newdevic"))])
        assert await acting.step() == ""
        await Replicator(fleet, settle=settle).run()  # type: ignore[arg-type]
        fleet.down.add(1)
        assert await acting.step() == ""
        fleet.down.clear()
        assert "ended" in await acting.step()

    asyncio.run(story())
    assert not fleet.ring.moving()
    assert fleet.ring.epoch == 3


def test_a_wiped_device_gets_a_new_id_and_is_refilled() -> None:
    fleet = MemoryFleet(ring_of(3))
    saved: list[Ring] = []
    fleet.node_reports[device(2).address] = m.NodeReport("node2", 1, 0, [m.DeviceReport(-1, b"wiped!!!", "d1", "new", 0, 0, 0, 0, 0)])
    assert asyncio.run(rebalancer(fleet, saved).step()) == "replaced [2]"
    assert all(2 not in fleet.ring.primaries(p) for p in range(4))
    new = next(d for d in fleet.ring.devices.values() if d.incarnation == b"wiped!!!")
    assert new.node == "node2"
    assert all(new.id in fleet.ring.primaries(p) for p in range(4))
    assert len(fleet.ring.moving()) == 4


def test_an_unknown_device_at_an_unknown_place_is_left_alone() -> None:
    fleet = MemoryFleet(ring_of(3))
    saved: list[Ring] = []
    fleet.node_reports[device(2).address] = m.NodeReport("node2", 1, 0, [m.DeviceReport(-1, b"another!", "d9", "new", 0, 0, 0, 0, 0)])
    assert asyncio.run(rebalancer(fleet, saved).step()) == ""


def test_a_ring_published_while_the_end_is_judged_is_not_ended_with_it() -> None:
    fleet = MemoryFleet(ring_of(3))
    acting = rebalancer(fleet, [])

    async def story() -> None:
        await acting.publish([builder.Add(device(-1, b"newdevic"))])
        await Replicator(fleet, settle=settle).run()  # type: ignore[arg-type]
        judging = asyncio.ensure_future(acting.step())
        await asyncio.sleep(0)
        wiped = device(2)
        again = builder.Replace(2, replace(wiped, id=-1, incarnation=b"wiped!!!"))
        await acting.publish([again])
        await judging

    # The replacement waits for the judgement or comes before it: either way its new device is asked before the handover that it is in ends.
    asyncio.run(story())
    assert fleet.ring.moving()


def test_a_device_wiped_twice_during_one_handover_is_replaced_twice() -> None:
    fleet = MemoryFleet(ring_of(3))
    acting = rebalancer(fleet, [])
    for incarnation in (b"wiped #1", b"wiped #2"):
        fleet.node_reports[device(2).address] = m.NodeReport("node2", 1, 0, [m.DeviceReport(-1, incarnation, "d1", "new", 0, 0, 0, 0, 0)])
        assert asyncio.run(acting.step()).startswith("replaced")
    assert [d.incarnation for d in fleet.ring.members() if d.node == "node2"] == [b"wiped #2"]


def report(number: int, *devices: tuple[bytes, str]) -> m.NodeReport:
    reported = [m.DeviceReport(-1, incarnation, path, "up", 0, 0, 0, 0, 0) for incarnation, path in devices]
    return m.NodeReport(f"node{number}", 1, 0, reported)


def test_a_device_that_is_mounted_elsewhere_is_noted_and_nothing_moves() -> None:
    fleet = MemoryFleet(ring_of(3))
    acting = rebalancer(fleet, [])
    fleet.node_reports[device(2).address] = report(2, (device(2).incarnation, "/new/node2/d1"))
    assert asyncio.run(acting.step()) == "noted other paths of [2]"
    assert fleet.ring.devices[2].path == "/new/node2/d1"
    assert not fleet.ring.moving()
    assert asyncio.run(acting.step()) == ""
    assert fleet.ring.epoch == 2


def test_a_device_that_was_wiped_after_its_directory_was_moved_is_replaced() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.node_reports[device(1).address] = report(1, (device(1).incarnation, "/new/node1/d1"))
    fleet.node_reports[device(2).address] = report(2, (b"wiped!!!", "/new/node2/d1"))
    assert asyncio.run(rebalancer(fleet, []).step()) == "replaced [2], noted other paths of [1]"
    assert {d.path for d in fleet.ring.members() if d.node in ("node1", "node2")} == {"/new/node1/d1", "/new/node2/d1"}
    assert [d.incarnation for d in fleet.ring.members() if d.node == "node2"] == [b"wiped!!!"]


def test_disks_that_changed_places_are_noted_and_none_is_replaced() -> None:
    first = replace(device(2), id=9, incarnation=b"another!", path="d2")
    fleet = MemoryFleet(builder.create(ring_of(3).spec, [device(1), device(2), device(3), first]))
    fleet.node_reports[device(2).address] = report(2, (device(2).incarnation, "d2"), (b"another!", "d1"))
    assert asyncio.run(rebalancer(fleet, []).step()) == "noted other paths of [2, 9]"


def test_two_unknown_devices_of_one_name_are_taken_for_none(caplog: pytest.LogCaptureFixture) -> None:
    fleet = MemoryFleet(ring_of(3))
    acting = rebalancer(fleet, [])
    fleet.node_reports[device(2).address] = report(2, (b"unknown1", "/a/d1"), (b"unknown2", "/b/d1"))
    for _ in range(3):
        assert asyncio.run(acting.step()) == ""
    assert [record.getMessage().split(" that ")[0] for record in caplog.records] == [
        "node2 reports a device at /a/d1",
        "node2 reports a device at /b/d1",
    ], "once each"
