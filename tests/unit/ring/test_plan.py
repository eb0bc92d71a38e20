import math

import pytest

from ring.model import Device, RingError
from ring.plan import Plan, fair_shares, make_plan
from tests.unit.ring.rings import a_device, devices


def plan(
    members: list[Device], *, replicas: int = 3, partitions: int = 256, overload: float = 0.0, have: dict[int, int] | None = None
) -> Plan:
    numbered = [a_device(i, node=d.node, zone=d.zone, region=d.region, weight=d.weight, id=i) for i, d in enumerate(members)]
    return make_plan(numbered, replicas, partitions, overload, have or {})


def by_id(found: Plan, values: list[float]) -> list[float]:
    return [value for _, value in sorted(zip(found.ids, values, strict=True))]


def test_fair_shares_follow_the_weights() -> None:
    assert fair_shares([1, 1, 2], 1) == pytest.approx([0.25, 0.25, 0.5])


def test_no_device_deserves_two_replicas_of_a_partition() -> None:
    shares = fair_shares([100, 1, 1, 1], 3)
    assert shares == pytest.approx([1, 2 / 3, 2 / 3, 2 / 3])
    assert fair_shares([5, 1, 1], 3) == [1, 1, 1]


def test_fewer_devices_than_replicas_are_refused_with_the_way_out() -> None:
    with pytest.raises(RingError, match=r"2 devices cannot hold 3 replicas.*add 1 devices.*lower replica_count \(2 or less\)"):
        plan(devices(2))


def test_a_drained_device_counts_for_nothing() -> None:
    with pytest.raises(RingError, match="2 devices cannot hold 3 replicas"):
        plan([*devices(2), a_device(5, weight=0.0)])
    assert len(plan([*devices(3), a_device(5, weight=0.0)]).ids) == 3


def test_without_overload_balance_beats_dispersion() -> None:
    found = plan([a_device(0, zone="a"), a_device(1, zone="b"), a_device(2, zone="b"), a_device(3, zone="b")], replicas=2)
    assert by_id(found, found.target) == pytest.approx([0.5] * 4)
    assert found.most[1] == [1, 2]  # zone b must hold both replicas of half of the partitions
    assert found.least[1] == [0, 1]


def test_overload_lets_dispersion_beat_balance() -> None:
    members = [a_device(0, zone="a"), a_device(1, zone="b"), a_device(2, zone="b"), a_device(3, zone="b")]
    found = plan(members, replicas=2, overload=1.0)
    assert by_id(found, found.target) == pytest.approx([1, 1 / 3, 1 / 3, 1 / 3])
    assert found.most[1] == [1, 1]


def test_overload_is_the_limit_of_what_a_device_takes_beyond_its_share() -> None:
    members = [a_device(0, zone="a"), a_device(1, zone="b"), a_device(2, zone="b"), a_device(3, zone="b")]
    found = plan(members, replicas=2, overload=0.2)
    assert by_id(found, found.target)[0] == pytest.approx(0.6)
    assert sum(found.target) == pytest.approx(2)


def test_replicas_spread_over_regions_before_zones_before_nodes() -> None:
    members = [a_device(i, region=f"r{i % 2}", zone=f"z{i % 4}", node=f"n{i % 8}") for i in range(16)]
    found = plan(members, replicas=4)
    assert (set(found.most[0]), set(found.least[0])) == ({2}, {2})
    assert (set(found.most[1]), set(found.least[1])) == ({1}, {1})
    assert (set(found.most[2]), set(found.least[2])) == ({1}, {0})


@pytest.mark.parametrize("partitions", [1, 2, 64, 1000])
@pytest.mark.parametrize("overload", [0.0, 0.3, 100.0])
def test_quotas_are_whole_add_up_and_stay_next_to_their_targets(partitions: int, overload: float) -> None:
    found = plan(devices(17, zones=3, nodes=6, weights=(1, 2, 3.5, 0.3)), partitions=partitions, overload=overload)
    assert sum(found.quota) == 3 * partitions
    for target, quota in zip(found.target, found.quota, strict=True):
        assert math.floor(target * partitions - 1e-6) <= quota <= math.ceil(target * partitions + 1e-6)
        assert quota <= partitions
    assert sum(found.fair) == pytest.approx(3)


def test_a_zone_that_deserves_exactly_one_replica_gets_exactly_one() -> None:
    found = plan(devices(21, zones=3, weights=(1.0,)), partitions=256)
    assert found.most[1] == found.least[1] == [1, 1, 1]


def test_rounding_keeps_what_is_there() -> None:
    # 256 partitions of one replica over three devices: one device gets the odd one, and it is the one that has it
    for odd in range(3):
        have = {i: 86 if i == odd else 85 for i in range(3)}
        assert by_id(plan(devices(3), replicas=1, have=have), list(plan(devices(3), replicas=1, have=have).quota)) == list(have.values())
