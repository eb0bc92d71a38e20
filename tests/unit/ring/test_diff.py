import pytest

from ring.builder import Add, Remove, change, create, finish
from ring.diff import diff
from ring.model import RingError
from tests.unit.ring.rings import a_device, a_spec, devices

NOW_S = 1_700_000_000


def test_a_ring_does_not_differ_from_itself() -> None:
    ring = create(a_spec(), devices(5))
    found = diff(ring, ring)
    assert (found.moved, found.replicas_moved, found.moved_share, found.added, found.removed) == ((), 0, 0.0, (), ())
    assert found.replicas == 3 * 256


def test_what_a_new_device_gains_the_others_lose() -> None:
    ring = create(a_spec(), devices(5))
    grown = change(ring, [Add(a_device(5))], now_s=NOW_S)
    found = diff(ring, grown)
    assert found.moved == grown.moving()
    assert found.added == (5,)
    by_id = {device.device_id: device for device in found.devices}
    assert by_id[5].gained == found.replicas_moved == sum(device.lost for device in found.devices)
    assert by_id[5].share_before == 0.0
    assert sum(device.share_after for device in found.devices) == pytest.approx(1)
    assert found.moved_share == pytest.approx(by_id[5].share_after)


def test_a_device_on_its_way_out_counts_as_removed() -> None:
    ring = create(a_spec(), devices(5))
    smaller = change(ring, [Remove(1)], now_s=NOW_S)
    assert diff(ring, smaller).removed == (1,)
    assert diff(smaller, finish(smaller)).removed == ()
    assert diff(finish(smaller), ring).added == (1,)


@pytest.mark.parametrize("other", [{"policy": "other"}, {"replicas": 2}, {"part_power": 9}])
def test_rings_that_are_not_epochs_of_one_ring_are_refused(other: dict[str, object]) -> None:
    with pytest.raises(RingError, match="the rings differ in"):
        diff(create(a_spec(), devices(5)), create(a_spec(**other), devices(5)))  # type: ignore[arg-type]
