import pytest

from ring.builder import Add, Remove, Weigh, change, create, finish
from ring.lookup import Ring
from ring.report import balance, dispersion
from tests.unit.ring.rings import a_device, a_spec, devices, table_of

NOW_S = 1_700_000_000


def test_balance_is_the_distance_from_the_fair_share() -> None:
    spec = a_spec(replicas=1, part_power=2)
    ring = Ring(epoch=1, spec=spec, devices=[a_device(0, id=0), a_device(1, id=1)], current=table_of([[0], [0], [0], [1]]), next_id=2)
    found = balance(ring)
    assert [(d.replicas, d.fair, d.percent) for d in found.devices] == [(3, 2.0, 50.0), (1, 2.0, -50.0)]
    assert found.worst_percent == 50.0


def test_a_weight_that_deserves_more_than_one_replica_counts_as_one() -> None:
    ring = create(a_spec(), [a_device(0, weight=50.0), a_device(1), a_device(2), a_device(3)])
    assert balance(ring).devices[0].fair == pytest.approx(256)
    assert balance(ring).worst_percent < 1


def test_what_comes_and_goes_in_a_handover_is_counted() -> None:
    ring = create(a_spec(), devices(5))
    swap = change(ring, [Add(a_device(5)), Remove(0)], now_s=NOW_S)
    found = {device.device_id: device for device in balance(swap).devices}
    assert found[0].retired
    assert (found[0].replicas, found[0].fair, found[0].percent) == (0, 0.0, 0.0)
    assert found[0].outgoing == len(ring.partitions_of(0))
    assert found[5].incoming == found[5].replicas
    assert sum(d.incoming for d in found.values()) == sum(d.outgoing for d in found.values())


def test_a_drained_device_deserves_nothing() -> None:
    ring = finish(change(create(a_spec(), devices(5)), [Weigh(0, 0.0)], now_s=NOW_S))
    assert (balance(ring).devices[0].fair, balance(ring).devices[0].replicas) == (0.0, 0)


def test_dispersion_counts_partitions_that_could_be_spread_better() -> None:
    spec = a_spec(replicas=2, part_power=2)
    members = [a_device(0, id=0, zone="a"), a_device(1, id=1, zone="a"), a_device(2, id=2, zone="b")]
    ring = Ring(epoch=1, spec=spec, devices=members, current=table_of([[0, 1], [0, 2], [1, 2], [2, 0]]), next_id=3)
    region, zone, node = dispersion(ring)
    assert (region.level, region.domains, region.possible, region.partitions_below) == ("region", 1, 1, 0)
    assert (zone.level, zone.domains, zone.possible, zone.partitions_below, zone.percent_below) == ("zone", 2, 2, 1, 25.0)
    assert (node.level, node.partitions_below) == ("node", 0)
