from array import array
from collections import Counter
from typing import Any

import pytest

from ring.builder import Add, Remove, Weigh, change, create, finish
from ring.lookup import Ring
from ring.model import RingError
from tests.unit.ring.rings import a_device, a_spec, devices, rows_of, table_of

NOW_S = 1_700_000_000


def small(rows: list[list[int]], *, before: list[list[int]] | None = None, count: int = 4, **fields: Any) -> Ring:
    """Four partitions (part power 2) of two replicas each, on `count` devices."""
    return Ring(
        epoch=fields.pop("epoch", 5),
        spec=a_spec(replicas=2, part_power=2),
        devices=[a_device(i, id=i) for i in range(count)],
        current=table_of(rows),
        previous=table_of(before) if before else None,
        next_id=fields.pop("next_id", count),
        **fields,
    )


STILL = [[0, 1], [1, 2], [2, 3], [3, 0]]


def test_primaries_come_by_replica_index() -> None:
    ring = small(STILL)
    assert [ring.primaries(p) for p in range(4)] == [(0, 1), (1, 2), (2, 3), (3, 0)]
    assert ring.partition_count == 4


@pytest.mark.parametrize("partition", [-1, -4, 4, 1000])
def test_a_partition_outside_the_ring_is_refused(partition: int) -> None:
    with pytest.raises(RingError, match="it has 0 to 3"):
        small(STILL).primaries(partition)


def test_only_a_partition_that_differs_is_moving() -> None:
    ring = small(STILL, before=[[0, 1], [1, 3], [2, 3], [0, 3]])
    assert list(ring.moving()) == [1, 3]
    assert [ring.previous(p) for p in range(4)] == [None, (1, 3), None, (0, 3)]


def test_a_previous_table_that_is_the_same_is_no_handover() -> None:
    ring = small(STILL, before=STILL)
    assert not ring.moving()
    assert ring.previous_table() is None
    assert ring.previous(0) is None
    assert ring == small(STILL)


def test_partitions_of_a_device_are_those_it_serves_now_or_served_before() -> None:
    ring = small(STILL, before=[[0, 1], [1, 3], [2, 3], [3, 0]])
    assert [list(ring.partitions_of(d)) for d in range(4)] == [[0, 3], [0, 1], [1, 2], [1, 2, 3]]
    with pytest.raises(RingError, match="device 9 is not in the ring"):
        ring.partitions_of(9)


def test_copies_of_the_tables_do_not_reach_the_ring() -> None:
    ring = small(STILL, before=[[0, 1], [1, 3], [2, 3], [3, 0]])
    for table in (ring.table(), ring.previous_table(), ring.moved_table()):
        assert table is not None
        table[0] = 3
    assert ring.primaries(0) == (0, 1)
    assert ring.moved_at_s(0) == 0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rows": [[0, 0], [1, 2], [2, 3], [3, 0]]}, "two replicas of a partition are on one device"),
        ({"rows": [[0, 9], [1, 2], [2, 3], [3, 0]]}, "names device 9"),
        ({"rows": [[0, 1], [1, 2], [2, 3]]}, "4 x 2 entries"),
        ({"rows": STILL, "before": [[0, 9], [1, 2], [2, 3], [3, 0]]}, "names device 9"),
        ({"rows": STILL, "retired": [3]}, "names device 3"),
        ({"rows": STILL, "retired": [9]}, "retired device is not in the ring"),
        ({"rows": STILL, "next_id": 3}, "next device id 3"),
        ({"rows": STILL, "epoch": 0}, "epoch 0"),
        ({"rows": STILL, "epoch": 1 << 63}, "epoch"),
        ({"rows": STILL, "moved_s": array("I", [0])}, "there must be 4"),
    ],
)
def test_a_ring_that_cannot_be_is_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(RingError, match=message):
        small(**changed)


def test_rings_are_equal_by_content() -> None:
    assert small(STILL) == small(STILL)
    assert hash(small(STILL)) == hash(small(STILL))
    assert small(STILL) != small(STILL, epoch=6)
    assert small(STILL) != small([[1, 0], *STILL[1:]])
    assert small(STILL) != "a ring"
    assert "epoch 5" in repr(small(STILL))


# -- handoffs ---------------------------------------------------------------------------------------------------


def test_handoffs_name_every_other_device_once_and_always_in_the_same_order() -> None:
    ring = create(a_spec(), devices(20, zones=4, nodes=10))
    again = create(a_spec(), devices(20, zones=4, nodes=10))
    for partition in range(ring.partition_count):
        found = list(ring.handoffs(partition))
        assert sorted([*found, *ring.primaries(partition)]) == list(range(20))
        assert found == list(again.handoffs(partition))


def test_handoffs_begin_in_the_farthest_domains() -> None:
    places = [("x", "a"), ("x", "b"), ("y", "c"), ("y", "d"), ("z", "e")]
    members = [a_device(i * 4 + j, region=r, zone=z, node=f"{z}{j // 2}") for i, (r, z) in enumerate(places) for j in range(4)]
    ring = create(a_spec(replicas=2), members)
    for partition in range(ring.partition_count):
        domains = [set(), set(), set()]  # type: list[set[tuple[str, ...]]]
        nearest = 0
        for device_id in [*ring.primaries(partition), *ring.handoffs(partition)]:
            tiers = ring.devices[device_id].tiers
            level = next((i for i in range(3) if tiers[i] not in domains[i]), 3)
            assert level >= nearest, "a farther domain comes after a nearer one"
            nearest = level
            for seen, tier in zip(domains, tiers, strict=True):
                seen.add(tier)
        assert [len(seen) for seen in domains] == [3, 5, 10]


def test_first_handoffs_are_spread_over_the_devices() -> None:
    ring = create(a_spec(part_power=12), devices(30, zones=3))
    firsts = Counter(next(ring.handoffs(partition)) for partition in range(ring.partition_count))
    assert len(firsts) == 30
    assert max(firsts.values()) < 2 * ring.partition_count / 30


def test_drained_and_retired_devices_are_the_last_handoffs() -> None:
    ring = finish(change(create(a_spec(), devices(8, zones=4)), [Weigh(2, 0.0)], now_s=NOW_S))
    ring = change(ring, [Remove(5)], now_s=NOW_S)
    for partition in range(ring.partition_count):
        assert set(list(ring.handoffs(partition))[-2:]) == {2, 5}


def test_a_ring_without_other_devices_has_no_handoffs() -> None:
    assert list(create(a_spec(), devices(3)).handoffs(0)) == []


# -- cover ------------------------------------------------------------------------------------------------------


def covered(ring: Ring, chosen: tuple[int, ...], copies: int) -> bool:
    return all(
        len(set(ring.previous(p) or ring.primaries(p)).intersection(chosen)) >= copies for p in range(ring.partition_count)
    )  # fmt: skip


@pytest.mark.parametrize(("count", "copies", "most"), [(3, 1, 1), (3, 2, 2), (3, 3, 3), (6, 2, 5), (12, 2, 11), (30, 2, 28)])
def test_a_cover_holds_enough_copies_on_few_devices(count: int, copies: int, most: int) -> None:
    ring = create(a_spec(part_power=9), devices(count))
    chosen = ring.cover(copies)
    assert list(chosen) == sorted(set(chosen))
    assert covered(ring, chosen, copies)
    assert len(chosen) <= most
    assert ring.cover(copies) is chosen


def test_no_device_of_a_cover_can_be_left_out() -> None:
    ring = create(a_spec(part_power=9), devices(12, zones=3))
    chosen = ring.cover(1)
    for device_id in chosen:
        assert not covered(ring, tuple(set(chosen) - {device_id}), 1)


def test_what_later_choices_made_superfluous_is_dropped_from_a_cover() -> None:
    # device 0 is in most partitions, so it is taken first; 1, 2 and 3 are needed for others and cover all of its own
    rows = [[0, 1], [0, 2], [0, 3], [0, 1], [1, 4], [2, 5], [3, 6], [0, 2]]
    ring = Ring(
        epoch=1,
        spec=a_spec(replicas=2, part_power=3),
        devices=[a_device(i, id=i) for i in range(7)],
        current=table_of(rows),
        next_id=7,
    )
    assert ring.cover(1) == (1, 2, 3)


def test_zones_make_a_cover_smaller() -> None:
    ring = create(a_spec(part_power=10), devices(12, zones=3))
    assert len(ring.cover(2)) == 8
    assert len(ring.cover(1)) == 4


def test_a_cover_avoids_devices_that_are_down() -> None:
    ring = create(a_spec(part_power=9), devices(6))
    chosen = ring.cover(2, frozenset({4}))
    assert 4 not in chosen
    assert covered(ring, chosen, 2)
    assert ring.cover(2, frozenset({4, 99})) is chosen  # a device that is not in the ring is avoided already


def test_a_cover_that_cannot_be_is_refused() -> None:
    ring = create(a_spec(), devices(3))
    assert ring.cover(1, frozenset({0, 1})) == (2,)
    with pytest.raises(RingError, match=r"no set of devices holds 2 copies of every partition.*have only 1 left"):
        ring.cover(2, frozenset({0, 1}))
    with pytest.raises(RingError):
        ring.cover(4)


def test_a_cover_of_no_copies_is_empty() -> None:
    assert create(a_spec(), devices(3)).cover(0) == ()


def test_a_cover_reads_the_old_set_while_partitions_move() -> None:
    ring = create(a_spec(), devices(3))
    moved = change(ring, [Add(a_device(10 + i)) for i in range(3)], now_s=NOW_S)
    assert moved.cover(2) == ring.cover(2)
    assert set(moved.cover(3)) == {0, 1, 2}
    assert covered(moved, moved.cover(2), 2)
    assert rows_of(moved) != rows_of(ring)


def test_covers_kept_are_bounded() -> None:
    ring = create(a_spec(part_power=2, replicas=1), devices(100))
    idle = sorted(set(range(100)) - set(ring.table()))
    for first in idle:
        ring.cover(1, frozenset({first}))
    assert len(ring._covers) <= 64


@pytest.mark.parametrize("spread", [0, 5])
def test_the_hash_of_a_name_leads_to_its_partition(spread: int) -> None:
    ring = create(a_spec(part_power=7), devices(4))
    for number in range(100):
        name = b"%d" % number
        assert ring.partition_at(ring.hash_of(b"bucket 1", name, spread)) == ring.partition(b"bucket 1", name, spread)
