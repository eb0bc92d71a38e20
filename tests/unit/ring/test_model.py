from dataclasses import replace
from typing import Any

import pytest

from ring.model import MAX_DEVICES, Device, RingError, RingSpec, check_devices
from tests.unit.ring.rings import a_device, a_spec


def test_error_says_what_why_and_what_to_do_next() -> None:
    error = RingError("the ring is upside down", "somebody turned it", "turn it back")
    assert str(error) == "the ring is upside down: somebody turned it; turn it back"
    assert (error.what, error.why, error.hint) == ("the ring is upside down", "somebody turned it", "turn it back")
    assert isinstance(error, ValueError)
    assert str(RingError("only what")) == "only what"


@pytest.mark.parametrize("address", ["tcp:127.0.0.1:21100", "tcp:node1.example:1", "tcp:[::1]:65535", "unix:/run/node"])
def test_device_takes_addresses_of_both_kinds(address: str) -> None:
    assert replace(a_device(0), address=address).address == address


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", -2), ("id", 1 << 31), ("id", True), ("id", 1.0),
        ("node", ""), ("node", "a/b"), ("node", "a\nb"), ("node", "x" * 256), ("node", 7), ("zone", ""), ("region", "\x00"),
        ("address", ""), ("address", "tcp:host"), ("address", "tcp::1"), ("address", "tcp:h:0"), ("address", "tcp:h:65536"),
        ("address", "tcp:h:x"), ("address", "tcp:h:٣"), ("address", "tcp:h:" + "9" * 4000), ("address", "unix:relative"),
        ("address", "http://h:1"), ("address", None),
        ("weight", -1.0), ("weight", float("nan")), ("weight", float("inf")), ("weight", 1e13), ("weight", 1e-7), ("weight", "1"), ("weight", True),
        ("incarnation", b""), ("incarnation", bytes(9)), ("incarnation", "00000000"),
        ("path", "a\nb"), ("path", "x" * 4097), ("path", None),
    ],
)  # fmt: skip
def test_device_refuses_what_it_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(RingError):
        replace(a_device(0), **{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("policy", ""), ("replica_count", 0), ("replica_count", 33), ("replica_count", 3.0), ("part_power", -1), ("part_power", 21),
        ("hash_seed", -1), ("hash_seed", 1 << 64), ("min_part_hours", -1.0), ("min_part_hours", float("inf")), ("overload", -0.1),
        ("overload", float("nan")), ("overload", 1001),
    ],
)  # fmt: skip
def test_spec_refuses_what_it_cannot_be(field: str, value: Any) -> None:
    with pytest.raises(RingError):
        replace(a_spec(), **{field: value})


def test_spec_knows_its_partition_count() -> None:
    assert RingSpec("p", 1, 0, 0, 0, 0).partition_count == 1
    assert a_spec(part_power=10).partition_count == 1024


def test_zones_of_one_name_in_two_regions_are_two_domains() -> None:
    here, there = a_device(0, region="here"), a_device(1, region="there")
    assert here.tiers[0] != there.tiers[0]
    assert here.tiers[1] != there.tiers[1]
    assert here.tiers[2] == ("here", "a", "n0")


def test_devices_are_put_in_order_of_their_ids() -> None:
    assert [d.id for d in check_devices([a_device(1, id=7), a_device(0, id=3)])] == [3, 7]


def refused(devices: list[Device]) -> str:
    with pytest.raises(RingError) as caught:
        check_devices(devices)
    return str(caught.value)


def test_two_devices_with_one_id_are_refused() -> None:
    assert "id 1 is there twice" in refused([a_device(0, id=1), a_device(1, id=1)])


def test_a_device_without_an_id_is_refused() -> None:
    assert "not assigned" in refused([a_device(0)])


def test_two_devices_with_one_incarnation_are_refused() -> None:
    assert "same incarnation" in refused([a_device(0, id=1), replace(a_device(1, id=2), incarnation=a_device(0).incarnation)])


def test_a_node_stands_in_one_zone() -> None:
    assert "in zone r/a and in zone r/b" in refused([a_device(0, id=1, node="n"), a_device(1, id=2, node="n", zone="b")])


def test_too_many_devices_are_refused() -> None:
    assert "too many" in refused([a_device(0, id=1)] * (MAX_DEVICES + 1))
