from dataclasses import replace
from typing import Any

import pytest

from ring.builder import Add, Change, Readdress, Remove, Replace, Weigh, abandon, change, create, finish
from ring.lookup import Ring
from ring.model import Device, RingError
from tests.unit.ring.rings import a_device, a_spec, devices, rows_of

NOW_S = 1_700_000_000


def stand_in(old: Device, number: int, **fields: Any) -> Device:
    """A freshly formatted disk in the place of another."""
    return replace(old, id=-1, incarnation=number.to_bytes(8, "big"), **fields)


def refused(ring: Ring, *changes: Change) -> str:
    with pytest.raises(RingError) as caught:
        change(ring, changes, now_s=NOW_S)
    return str(caught.value)


@pytest.fixture
def ring() -> Ring:
    return create(a_spec(), devices(6, zones=3))


@pytest.fixture
def moving(ring: Ring) -> Ring:
    """Six devices, and a seventh on its way in."""
    return change(ring, [Add(a_device(6, zone="z0"))], now_s=NOW_S)


# -- create -----------------------------------------------------------------------------------------------------


def test_a_new_ring_is_epoch_one_without_a_past(ring: Ring) -> None:
    assert ring.epoch == 1
    assert not ring.moving()
    assert list(ring.devices) == [0, 1, 2, 3, 4, 5]
    assert ring.next_id == 6
    assert ring.retired == frozenset()


def test_ids_given_are_kept_and_the_others_follow_them() -> None:
    ring = create(a_spec(), [a_device(0), a_device(1, id=7), a_device(2)])
    assert {device.incarnation[-1]: device.id for device in ring.devices.values()} == {0: 8, 1: 7, 2: 9}
    assert ring.next_id == 10


def test_a_ring_needs_as_many_devices_as_replicas() -> None:
    with pytest.raises(RingError, match="0 devices cannot hold 3 replicas"):
        create(a_spec(), [])
    with pytest.raises(RingError, match="lower replica_count"):
        create(a_spec(), devices(2))
    assert create(a_spec(replicas=1), devices(1)).primaries(0) == (0,)


# -- change -----------------------------------------------------------------------------------------------------


def test_a_change_keeps_what_was_current_as_previous(ring: Ring, moving: Ring) -> None:
    assert moving.epoch == 2
    assert 0 < len(moving.moving()) < ring.partition_count
    for partition in range(ring.partition_count):
        if partition in moving.moving():
            assert moving.previous(partition) == ring.primaries(partition) != moving.primaries(partition)
            assert moving.moved_at_s(partition) == NOW_S
        else:
            assert moving.previous(partition) is None
            assert moving.primaries(partition) == ring.primaries(partition)
            assert moving.moved_at_s(partition) == 0


def test_a_replica_that_stays_keeps_its_index(ring: Ring, moving: Ring) -> None:
    for partition in moving.moving():
        before, now = ring.primaries(partition), moving.primaries(partition)
        assert [was for was in before if was in now] == [is_ for was, is_ in zip(before, now, strict=True) if was == is_]


def test_a_removed_device_serves_until_the_handover_ends(ring: Ring) -> None:
    leaving = change(ring, [Remove(2)], now_s=NOW_S)
    assert leaving.retired == {2}
    assert 2 in leaving.devices
    assert 2 not in {device.id for device in leaving.members()}
    assert all(2 not in row for row in rows_of(leaving))
    assert list(leaving.partitions_of(2)) == list(ring.partitions_of(2))
    assert 2 not in finish(leaving).devices


def test_a_device_that_held_nothing_leaves_at_once(ring: Ring) -> None:
    drained = finish(change(ring, [Weigh(2, 0.0)], now_s=NOW_S))
    assert 2 in drained.devices
    assert list(drained.partitions_of(2)) == []
    gone = change(drained, [Remove(2)], now_s=NOW_S)
    assert 2 not in gone.devices
    assert not gone.moving()


def test_a_place_is_one_device(ring: Ring) -> None:
    taken = ring.devices[4]
    new = replace(a_device(9), address=taken.address, path=taken.path)
    assert "the place of devices 4 and" in refused(ring, Add(new))
    assert "the place of devices 3 and 4" in refused(ring, Readdress(3, taken.address, taken.path))
    assert change(ring, [Remove(4), Add(new)], now_s=NOW_S).retired == {4}
    change(ring, [Readdress(4, taken.address, taken.path)], now_s=NOW_S)


def test_ids_are_never_used_again(ring: Ring) -> None:
    gone = finish(change(ring, [Remove(5)], now_s=NOW_S))
    assert gone.next_id == 6
    grown = change(gone, [Add(a_device(99))], now_s=NOW_S)
    assert sorted(grown.devices) == [0, 1, 2, 3, 4, 6]
    assert grown.next_id == 7
    smaller = finish(change(finish(grown), [Remove(6)], now_s=NOW_S))
    for end in (finish, abandon):
        assert end(change(smaller, [Remove(4)], now_s=NOW_S)).next_id == 7


def test_a_new_device_that_has_an_id_already_is_refused(ring: Ring) -> None:
    assert "cannot come with the id 3" in refused(ring, Add(a_device(9, id=3)))


def test_a_device_that_is_there_already_is_refused(ring: Ring) -> None:
    assert "is device 4 already" in refused(ring, Add(replace(a_device(9), incarnation=ring.devices[4].incarnation)))


def test_a_device_that_is_not_there_cannot_be_changed(ring: Ring) -> None:
    assert "no device ever had that id; the devices are 0, 1, 2, 3, 4, 5" in refused(ring, Remove(9))
    assert "device 9 is not in the ring" in refused(ring, Weigh(9, 1.0))
    assert "device 9 is not in the ring" in refused(ring, Replace(9, a_device(9)))
    assert "it was removed before" in refused(ring, Remove(1), Remove(1))


def test_a_change_that_leaves_too_few_devices_is_refused() -> None:
    ring = create(a_spec(), devices(3))
    assert "2 devices cannot hold 3 replicas" in refused(ring, Remove(0))
    assert "2 devices cannot hold 3 replicas" in refused(ring, Weigh(0, 0.0))
    assert change(ring, [Remove(0), Add(a_device(9))], now_s=NOW_S).retired == {0}


def test_a_change_of_weight_that_moves_nothing_is_an_epoch_without_a_handover() -> None:
    ring = create(a_spec(), devices(3))
    heavier = change(ring, [Weigh(0, 5.0)], now_s=NOW_S)
    assert heavier.epoch == 2
    assert not heavier.moving()
    assert heavier.devices[0].weight == 5.0


def test_a_bad_weight_is_refused(ring: Ring) -> None:
    assert "weight -1" in refused(ring, Weigh(0, -1.0))


def test_a_device_can_be_reached_elsewhere_without_a_move(ring: Ring, moving: Ring) -> None:
    for before in (ring, moving):
        after = change(before, [Readdress(1, "tcp:10.0.0.9:1", "/new")], now_s=NOW_S)
        assert (after.devices[1].address, after.devices[1].path) == ("tcp:10.0.0.9:1", "/new")
        assert rows_of(after) == rows_of(before)
        assert after.moving() == before.moving()
        assert after.epoch == before.epoch + 1
    assert change(ring, [Readdress(1, "tcp:h:1")], now_s=NOW_S).devices[1].path == ring.devices[1].path


def test_time_must_be_sane(ring: Ring) -> None:
    for now_s in (-1, 1 << 32, float("nan")):
        with pytest.raises(RingError, match="set the clock"):
            change(ring, [], now_s=now_s)


def test_partitions_rest_after_a_move() -> None:
    ring = create(a_spec(hours=2), devices(6, zones=3))
    first = change(ring, [Add(a_device(6, zone="z0"))], now_s=NOW_S)
    rested = set(first.moving())
    second = change(finish(first), [Add(a_device(7, zone="z1"))], now_s=NOW_S + 3600)
    assert second.moving()
    assert rested.isdisjoint(second.moving())
    later = change(finish(second), [], now_s=NOW_S + 2.5 * 3600)  # what moved second still rests
    assert later.moving()
    assert set(second.moving()).isdisjoint(later.moving())


def test_a_removed_device_does_not_wait_for_the_rest() -> None:
    ring = create(a_spec(hours=100), devices(6, zones=3))
    grown = finish(change(ring, [Add(a_device(6, zone="z0"))], now_s=NOW_S))
    assert all(6 not in row for row in rows_of(change(grown, [Remove(6)], now_s=NOW_S + 1)))
    assert all(6 not in row for row in rows_of(change(grown, [Weigh(6, 0.0)], now_s=NOW_S + 1)))


def test_a_rebalance_of_a_balanced_ring_moves_nothing(ring: Ring) -> None:
    assert not change(ring, [], now_s=NOW_S).moving()


# -- replace ----------------------------------------------------------------------------------------------------


def test_every_slot_of_a_replaced_device_goes_to_its_stand_in(ring: Ring) -> None:
    swapped = change(ring, [Replace(1, stand_in(ring.devices[1], 77))], now_s=NOW_S)
    assert rows_of(swapped) == [tuple(6 if device_id == 1 else device_id for device_id in row) for row in rows_of(ring)]
    assert list(swapped.moving()) == list(ring.partitions_of(1))
    assert swapped.retired == {1}
    assert list(finish(swapped).devices) == [0, 2, 3, 4, 5, 6]


def test_a_replacement_stands_in_the_same_place_with_the_same_weight(ring: Ring) -> None:
    assert "in another place or of another weight" in refused(ring, Replace(1, stand_in(ring.devices[1], 77, node="elsewhere")))
    assert "weight 1" in refused(ring, Replace(1, stand_in(ring.devices[1], 77, weight=2.0)))
    assert "is device 1 already" in refused(ring, Replace(1, stand_in(ring.devices[1], 1)))


def test_during_a_handover_only_a_device_may_be_replaced(moving: Ring) -> None:
    for item in (Add(a_device(9)), Remove(0), Weigh(0, 2.0)):
        assert "epoch 2 is still being carried out" in refused(moving, item)
        assert "still being carried out" in refused(moving, Replace(0, stand_in(moving.devices[0], 77)), item)
    assert "still being carried out" in refused(moving)


def test_a_new_device_lost_during_the_handover_is_replaced_without_touching_the_past(ring: Ring, moving: Ring) -> None:
    swapped = change(moving, [Replace(6, stand_in(moving.devices[6], 77))], now_s=NOW_S + 1)
    assert swapped.epoch == 3
    assert swapped.moving() == moving.moving()
    assert 6 not in swapped.devices  # it had served nothing yet
    for partition in swapped.moving():
        assert swapped.previous(partition) == ring.primaries(partition)
        assert swapped.primaries(partition) == tuple(7 if d == 6 else d for d in moving.primaries(partition))


def test_an_old_device_lost_during_the_handover_makes_its_other_partitions_move_too(ring: Ring, moving: Ring) -> None:
    swapped = change(moving, [Replace(0, stand_in(moving.devices[0], 77))], now_s=NOW_S + 1)
    assert set(swapped.moving()) == {*moving.moving(), *[p for p in range(ring.partition_count) if 0 in moving.primaries(p)]}
    for partition in swapped.moving():
        assert swapped.previous(partition) == ring.primaries(partition)
    assert swapped.retired == {0}
    assert 0 not in finish(swapped).devices
    again = change(swapped, [Replace(7, stand_in(swapped.devices[7], 78))], now_s=NOW_S + 2)
    assert again.retired == {0}
    assert 7 not in again.devices


# -- finish and abandon -----------------------------------------------------------------------------------------


def test_finish_drops_the_past_and_keeps_the_rest(moving: Ring) -> None:
    done = finish(moving)
    assert done.epoch == 3
    assert not done.moving()
    assert rows_of(done) == rows_of(moving)
    assert done.moved_table() == moving.moved_table()
    assert done.next_id == moving.next_id


def test_abandon_goes_back_to_the_past(ring: Ring, moving: Ring) -> None:
    back = abandon(moving)
    assert back.epoch == 3
    assert not back.moving()
    assert rows_of(back) == rows_of(ring)
    assert 6 in back.devices
    assert back.moved_table() == ring.moved_table()


def test_abandon_takes_a_removed_device_back(ring: Ring) -> None:
    back = abandon(change(ring, [Remove(2)], now_s=NOW_S))
    assert back.retired == frozenset()
    assert back.devices[2] == ring.devices[2]
    assert rows_of(back) == rows_of(ring)


def test_without_a_handover_there_is_nothing_to_end(ring: Ring) -> None:
    for end in (finish, abandon):
        with pytest.raises(RingError, match="has no handover under way"):
            end(ring)
