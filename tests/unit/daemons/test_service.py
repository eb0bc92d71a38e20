"""The control table answers from facts."""

import asyncio
import time
from typing import Any

import pytest
from msgspec.structs import replace

from objstore.core.rows import RowKey
from objstore.daemons import control
from objstore.daemons.service import Daemons, DaemonSettings
from objstore.errors import InvalidRequest, StaleEpoch
from objstore.wire import messages as m
from ring import builder
from ring.lookup import Ring
from tests.support.memory_fleet import MemoryFleet, device, held, key, ring_of


async def settle(row_key: RowKey, partition: int) -> None:
    return None


def daemons(fleet: MemoryFleet, saved: list[Ring] | None = None) -> Daemons:
    fleet._maintain = lambda number, request: m.Maintained({})  # type: ignore[attr-defined]
    keep = saved if saved is not None else []
    return Daemons(fleet.world, fleet, settle=settle, save_ring=keep.append, settings=DaemonSettings())  # type: ignore[arg-type]


def test_repair_ends_when_everything_is_in_its_place() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))
    result = asyncio.run(daemons(fleet).repair(timeout_s=5.0))
    assert (result.finished, result.rows_sent) == (True, 2)


def test_repair_that_cannot_reach_a_device_says_so_when_its_time_is_over() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.down.add(2)
    result = asyncio.run(daemons(fleet).repair(timeout_s=0.0))
    assert not result.finished
    assert "[2]" in result.detail


def test_an_audit_ends_when_its_time_is_over_with_the_counts_so_far() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet._audit = lambda number, request: m.AuditAnswer(b"on", 3, 30, [])  # type: ignore[attr-defined] # never at its end
    result = asyncio.run(daemons(fleet).handlers()[control.Audit](control.Audit(timeout_s=0.05)))  # type: ignore[arg-type]
    assert isinstance(result, control.WorkResult)
    assert not result.finished
    assert "out of time" in result.detail


def test_repair_tells_what_was_taken_out_of_service_meanwhile() -> None:
    fleet = MemoryFleet(ring_of(3))
    seen = m.DeviceReport(2, device(2).incarnation, "d1", "up", 0, 0, 0, 4, 0)
    counts = iter((4, 6))

    async def reports(*_: object, **__: object) -> dict[str, m.NodeReport | None]:
        now = next(counts, 6) if not fleet.log else 6
        return {device(2).address: m.NodeReport("node2", 1, 0, [replace(seen, quarantined=now)])}

    fleet.reports = reports  # type: ignore[method-assign]
    assert asyncio.run(daemons(fleet).repair(timeout_s=5.0)).quarantined == 2


def test_status_counts_rows_and_partitions_out_of_place() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))
    status = asyncio.run(daemons(fleet).status())
    assert (status.epoch, status.under_replicated, status.misplaced, status.changing) == (1, 1, 0, False)


def test_what_cannot_be_counted_is_not_known_rather_than_nothing() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))

    def changed(_number: int, _request: m.Digests) -> m.DigestsAnswer:
        raise StaleEpoch("the epoch is over", epoch=9)

    fleet._digests = changed  # type: ignore[method-assign]
    acting = daemons(fleet)
    status = asyncio.run(acting.status())
    assert (status.under_replicated, status.misplaced, status.queued_repairs) == (None, None, None)
    assert "not known" in status.detail
    assert acting.behind_s() > 0.0


class Hanging(MemoryFleet):
    """Devices of `hang` take questions and answer none."""

    hang: frozenset[int] = frozenset({2})

    async def ask(self, request: type[m.Request], kind: type[Any], number: int, *, epoch: int, **fields: Any) -> Any:
        if number in self.hang:
            await asyncio.sleep(3600)
        return await super().ask(request, kind, number, epoch=epoch, **fields)


def test_a_device_that_hangs_is_silent_for_status_which_ends_in_time() -> None:
    fleet = Hanging(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))
    fleet.put(3, 0, key("a"), held(5))
    began = time.monotonic()
    status = asyncio.run(daemons(fleet).handlers()[control.Status](control.Status(timeout_s=0.6)))  # type: ignore[arg-type]
    assert time.monotonic() - began < 0.5
    assert isinstance(status, control.StatusResult)
    assert (status.under_replicated, status.detail) == (1, "devices silent: [2]")


def test_status_that_cannot_be_had_in_time_says_so() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))
    acting = daemons(fleet)

    async def slow(*_: object) -> m.PartitionRowsAnswer:
        await asyncio.sleep(3600)
        raise AssertionError

    acting.replicator._list = slow  # type: ignore[assignment,method-assign]
    status = asyncio.run(acting.status(timeout_s=0.1))
    assert (status.epoch, status.under_replicated, status.queued_repairs) == (1, None, None)
    assert "not known" in status.detail


def test_how_long_rows_are_out_of_place_is_counted_from_when_they_were_first_seen() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))
    acting = daemons(fleet)

    async def story() -> None:
        assert acting.behind_s() == 0.0
        await acting.status()
        await acting.status()
        await asyncio.sleep(0.01)
        assert acting.behind_s() > 0.0
        assert (await acting.repair(timeout_s=5.0)).finished
        await acting.status()
        assert acting.behind_s() == 0.0

    asyncio.run(story())


def test_adding_draining_and_removing_publish_rings() -> None:
    fleet = MemoryFleet(ring_of(4))
    saved: list[Ring] = []
    acting = daemons(fleet, saved)

    async def settled() -> None:
        while fleet.ring.moving():
            await acting.replicator.run()
            await acting.rebalancer.step()

    async def story() -> None:
        new = control.NewDevice("node9", "tcp:127.0.0.1:30009", "z9", "d1", b"newdevic".hex())
        result = await acting.handlers()[control.AddDevices](control.AddDevices([new]))
        assert isinstance(result, control.RingResult)
        assert result.epoch == 2
        await settled()
        await acting.handlers()[control.DrainNode](control.DrainNode("node1"))
        await settled()
        assert not fleet.ring.partitions_of(1)
        await acting.handlers()[control.RemoveNode](control.RemoveNode("node1"))
        await settled()
        assert 1 not in fleet.ring.devices

    asyncio.run(story())
    assert [ring.epoch for ring in saved] == list(range(2, 2 + len(saved)))


def test_a_wiped_device_is_replaced_and_refilled_by_repair() -> None:
    fleet = MemoryFleet(ring_of(3))
    for partition in range(4):
        for number in (1, 3):
            fleet.put(number, partition, key(f"k{partition}"), held(5))
    fleet.down.add(2)  # the old id is gone for ever
    fleet.node_reports[device(2).address] = m.NodeReport("node2", 1, 0, [m.DeviceReport(-1, b"wiped!!!", "d1", "new", 0, 0, 0, 0, 0)])
    assert asyncio.run(daemons(fleet).repair(timeout_s=5.0)).finished
    new = next(d.id for d in fleet.ring.devices.values() if d.incarnation == b"wiped!!!")
    assert all(fleet.get(new, p, key(f"k{p}")) == held(5) for p in range(4))


def test_an_unknown_node_is_refused_with_the_names_there_are() -> None:
    fleet = MemoryFleet(ring_of(3))
    with pytest.raises(InvalidRequest, match="node1, node2, node3"):
        asyncio.run(daemons(fleet).handlers()[control.DrainNode](control.DrainNode("nodeX")))  # type: ignore[arg-type]


def test_the_replicator_is_woken_when_a_handover_ends() -> None:
    """What the devices that gave partitions away still hold is misplaced from then on."""
    fleet = MemoryFleet(ring_of(3))
    acting = daemons(fleet)

    async def story() -> str:
        await acting.rebalancer.publish([builder.Add(device(-1, b"newdevic"))])
        await acting.replicator.run()
        assert not acting.workers["replicator"]._wake.is_set()
        return await acting._rebalance()

    assert "ended" in asyncio.run(story())
    assert not fleet.ring.moving()
    assert acting.workers["replicator"]._wake.is_set()
