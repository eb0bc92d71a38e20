"""When a cluster is writable and healthy, judged on rings and reports made for the purpose."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from objstore.cli.layout import NodeEntry, Place
from objstore.cli.operator import Facts, Operator, writable
from objstore.errors import InvalidRequest
from objstore.wire.messages import DeviceReport, NodeReport
from ring import builder, files
from ring.lookup import Ring
from ring.model import Device, RingSpec


def _device(number: int, zone: int) -> Device:
    return Device(
        id=number, node=f"node{number + 1}", address=f"tcp:127.0.0.1:{21100 + number}", region="r", zone=f"z{zone}", weight=1.0,
        incarnation=bytes([number + 1] * 8), path=f"/c/node{number + 1}/d1",
    )  # fmt: skip


def _ring(nodes: int) -> Ring:
    spec = RingSpec(policy="default", replica_count=3, part_power=4, hash_seed=1, min_part_hours=0.0, overload=0.1)
    return builder.create(spec, [_device(n, n % 3) for n in range(nodes)])


def _report(device: Device, *, state: str = "up", pending: int = 0, incarnation: bytes = b"") -> NodeReport:
    found = DeviceReport(
        device=device.id, incarnation=incarnation or device.incarnation, path=device.path, state=state, used_bytes=1, free_bytes=1, rows=0,
        quarantined=0, pending_partitions=pending,
    )  # fmt: skip
    return NodeReport(device.node, 1, 0, [found])


def _facts(ring: Ring, *, down: tuple[str, ...] = (), proxies: tuple[str, ...] = ("proxy1",), **special: NodeReport) -> Facts:
    reports = {d.node: special.get(d.node, None if d.node in down else _report(d)) for d in ring.devices.values()}
    return Facts(ring, reports, {}, frozenset(proxies))


def test_all_up_is_writable_and_one_down_of_three_still_is() -> None:
    ring = _ring(3)
    assert writable(_facts(ring))
    assert writable(_facts(ring, down=("node2",)))


def test_two_silent_primaries_of_three_are_too_many() -> None:
    ring = _ring(3)
    assert not writable(_facts(ring, down=("node1", "node2")))


def test_without_a_proxy_nothing_is_written() -> None:
    assert not writable(_facts(_ring(3), proxies=()))


@pytest.mark.parametrize("state", ["offline", "full"])
def test_a_device_out_of_service_does_not_count(state: str) -> None:
    ring = _ring(3)
    broken = _report(ring.devices[0], state=state)
    assert writable(_facts(ring, node1=broken))
    assert not writable(_facts(ring, node1=broken, down=("node2",)))


def test_a_wiped_device_answers_under_another_incarnation_and_does_not_count() -> None:
    ring = _ring(3)
    wiped = _report(ring.devices[0], incarnation=b"another!")
    assert not writable(_facts(ring, node1=wiped, down=("node2",)))


def test_a_device_has_no_vote_where_it_is_still_being_refilled() -> None:
    ring = _ring(3)
    facts = _facts(ring, down=("node2",))
    assert writable(facts)
    assert not writable(Facts(ring, facts.reports, {0: frozenset({5})}, facts.proxies_up))


def test_in_a_handover_old_and_new_primaries_must_both_have_a_majority() -> None:
    before = _ring(3)
    ring = builder.change(before, [builder.Add(Device(
        id=-1, node="node4", address="tcp:127.0.0.1:21103", region="r", zone="z0", weight=1.0, incarnation=b"4" * 8, path="/c/node4/d1",
    ))], now_s=1_000_000_000)  # fmt: skip
    assert ring.moving()
    new = max(ring.devices)
    pending = {new: frozenset(range(ring.partition_count))}
    facts = _facts(ring)
    assert writable(Facts(ring, facts.reports, pending, facts.proxies_up)), "a device being refilled accepts, it only has no say in reads"
    assert writable(Facts(ring, _facts(ring, down=("node4",)).reports, pending, facts.proxies_up))
    assert not writable(_facts(ring, down=("node1", "node2")))


def test_a_node_whose_process_is_gone_is_still_shown() -> None:
    nothing: Any = SimpleNamespace(processes={})  # the node left while the others were asked
    shown = Operator(nothing, nothing, nothing)._node_status(NodeEntry("node1", 0, 21100, 1), _facts(_ring(3)))
    assert (shown["name"], shown["up"], shown["pid"]) == ("node1", True, None)


def test_a_ring_is_changed_by_one_change_at_a_time(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for path in (place.secrets, place.ring_file.parent):
        path.mkdir()
    place.cluster_key_file.write_text("11" * 32)
    nothing: Any = SimpleNamespace()
    operator = Operator(nothing, place, nothing)
    files.save(place.ring_file, _ring(4))
    operator.check_at_rest()
    files.save(place.ring_file, builder.change(_ring(4), [builder.Weigh(0, 0.0)], now_s=1_000_000_000))
    with pytest.raises(InvalidRequest, match="changing: false"):
        operator.check_at_rest()
