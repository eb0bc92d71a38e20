"""Plans: quorums, handoffs, and whom to ask first."""

import itertools

import pytest

from objstore.core.names import new_copy_id, part_name
from objstore.core.placement import HANDOFFS_AT_MOST, Placement, best_first, smallest_quorum
from objstore.core.quorum import Quorum, Tally
from objstore.core.rows import RowKey, Space
from ring import builder
from ring.lookup import Ring
from ring.model import RingError
from tests.unit.ring.rings import a_device, a_spec, devices


def a_ring(count: int, replicas: int = 3) -> Ring:
    return builder.create(a_spec(replicas=replicas, part_power=5), devices(count))


def a_moving_ring() -> Ring:
    return builder.change(a_ring(4), [builder.Add(a_device(9)), builder.Remove(0)], now_s=1e9)


def test_a_key_lies_where_bucket_space_and_name_say() -> None:
    placement = Placement(a_ring(4))
    key = RowKey(b"bucket00", Space.OBJECTS, b"name")
    assert placement.partition(key, 0) == placement.ring.partition(b"bucket00\0", b"name", 0)
    versions = RowKey(b"bucket00", Space.OBJECTS, b"name", b"v" * 12)
    assert placement.partition(versions, 0) == placement.partition(key, 0), "versions lie with their head"
    slots = {placement.partition(RowKey(b"bucket00", Space.OBJECTS, b"n%d" % n), 2) for n in range(100)}
    assert len(slots) <= 2, "a spread of two"


@pytest.mark.parametrize("replicas", [1, 2, 3, 5])
def test_a_partition_at_rest_has_one_set(replicas: int) -> None:
    ring = a_ring(6, replicas)
    plan = Placement(ring).plan(3)
    assert plan.quorum.sets == (ring.primaries(3),)
    assert not plan.moving
    assert plan.reading == plan.primaries == ring.primaries(3)
    assert plan.epoch == ring.epoch


def test_a_moving_partition_has_the_previous_set_first() -> None:
    ring = a_moving_ring()
    partition = ring.moving()[0]
    plan = Placement(ring).plan(partition)
    assert plan.moving
    assert plan.reading == ring.previous(partition)
    assert plan.primaries == ring.primaries(partition)
    assert plan.quorum.sets == (plan.reading, plan.primaries)


def test_handoffs_are_no_members_and_not_too_many() -> None:
    ring = a_ring(20)
    plan = Placement(ring).plan(0)
    assert len(plan.handoffs) == HANDOFFS_AT_MOST
    assert not set(plan.handoffs) & set(plan.quorum.members)
    moving = a_moving_ring()
    for partition in moving.moving():
        plan = Placement(moving).plan(partition)
        assert not set(plan.handoffs) & set(plan.quorum.members), "previous primaries are members too"


def test_a_plan_is_made_once() -> None:
    placement = Placement(a_ring(4))
    assert placement.plan(1) is placement.plan(1)


def covers_both_sets(placement: Placement, cover: tuple[int, ...], partition: int) -> bool:
    tally = Tally(placement.plan(partition).quorum)
    for member in placement.plan(partition).quorum.members:
        if member in cover:
            tally.yes(member)
    return tally.reached


@pytest.mark.parametrize(
    "change", [[builder.Add(a_device(9))], [builder.Remove(0)], [builder.Remove(0), builder.Remove(1), builder.Remove(2)]]
)
def test_a_cover_is_a_quorum_of_every_partition_and_of_both_sets(change: list[builder.Change]) -> None:
    ring = builder.change(a_ring(7), change, now_s=1e9)
    placement = Placement(ring)
    assert ring.moving()
    for avoid in (frozenset[int](), frozenset({3})):
        cover = placement.cover(avoid)
        assert not set(cover) & avoid
        assert list(cover) == sorted(cover)
        assert all(covers_both_sets(placement, cover, partition) for partition in range(ring.partition_count))
        assert placement.cover(avoid) is cover


def test_a_cover_of_a_ring_at_rest_is_the_rings() -> None:
    ring = a_ring(6)
    assert Placement(ring).cover() == ring.cover(2)


def test_there_is_no_cover_without_a_quorum_of_the_new_set() -> None:
    ring = builder.change(a_ring(3), [builder.Add(a_device(9)), builder.Add(a_device(8)), builder.Remove(1), builder.Remove(2)], now_s=1e9)
    placement = Placement(ring)
    new = [device for device in ring.devices if device > 2]
    placement.cover(frozenset(new[:1]))
    with pytest.raises(RingError):
        placement.cover(frozenset(new))


def test_first_asked_are_a_quorum_and_no_more_in_order_of_preference() -> None:
    quorum = Quorum([(1, 2, 3)])
    assert smallest_quorum(quorum, [3, 1, 2]) == ((3, 1), (2,))


def test_in_a_change_devices_of_both_sets_are_asked_first() -> None:
    assert smallest_quorum(Quorum([(1, 2, 3), (1, 2, 4)]), [3, 4, 1, 2]) == ((1, 2), (3, 4))
    assert smallest_quorum(Quorum([(1, 2, 3), (4, 5, 6)]), [6, 3, 5, 2, 4, 1]) == ((6, 3, 5, 2), (4, 1))


@pytest.mark.parametrize("sets", [[(1,)], [(1, 2)], [(1, 2, 3)], [(1, 2, 3), (1, 4, 5)], [(1, 2, 3), (4, 5, 6)], [(1, 2, 3, 4, 5)]])
def test_those_asked_first_reach_the_quorum_and_all_are_listed_once(sets: list[tuple[int, ...]]) -> None:
    quorum = Quorum(sets)
    for preference in itertools.islice(itertools.permutations(quorum.members), 60):
        first, later = smallest_quorum(quorum, preference)
        assert sorted(first + later) == sorted(quorum.members)
        tally = Tally(quorum)
        for device in first[:-1]:
            tally.yes(device)
        assert not tally.reached
        tally.yes(first[-1])
        assert tally.reached


def test_best_first_keeps_the_order_of_equals() -> None:
    assert best_first([4, 2, 9, 1], lambda device: device % 2) == [4, 2, 9, 1]
    assert best_first([1, 2, 3], lambda device: -device) == [3, 2, 1]


def test_a_part_lies_where_its_anchor_says_in_every_ring_that_follows() -> None:
    ring = a_ring(6)
    for ring_now in (ring, a_moving_ring()):
        placement = Placement(ring_now)
        for number in range(50):
            source = RowKey(b"bucket 1", Space.OBJECTS, b"key %d" % number)
            version = RowKey(b"bucket 1", Space.VERSIONS, b"key %d" % number, bytes(12))
            for spread in (0, 3):
                anchor = placement.anchor(source, spread)
                part = RowKey(b"bucket 2", Space.PARTS, part_name(new_copy_id(1, bytes(8)), 1, bytes(8), anchor))
                assert placement.partition(part, 5) == placement.partition(source, spread) == placement.partition(version, spread)
                assert placement.anchor(part, 0) == placement.anchor(version, spread) == anchor
        plain = RowKey(b"bucket 2", Space.PARTS, part_name(new_copy_id(1, bytes(8)), 1, bytes(8)))
        assert ring_now.partition_at(placement.anchor(plain, 0)) == placement.partition(plain, 0)
