from collections import Counter

import pytest

from ring.assign import adjust, draw
from ring.builder import Add, Change, Remove, Weigh, change, create, finish
from ring.diff import diff
from ring.plan import make_plan
from ring.report import balance, dispersion
from tests.unit.ring.rings import a_device, a_spec, devices, off_quota, out_of_bounds, rows_of, table_of

NOW_S = 1_700_000_000


def test_a_new_ring_meets_its_plan_exactly() -> None:
    for overload in (0.0, 0.1, 10.0):
        ring = create(a_spec(overload=overload, part_power=9), devices(23, zones=4, nodes=9, weights=(1, 2, 4, 0.5)))
        assert off_quota(ring) == 0
        assert out_of_bounds(ring) == 0


def test_a_large_ring_of_mixed_weights_is_balanced_within_one_percent() -> None:
    ring = create(a_spec(part_power=16), devices(100, zones=5, nodes=20, weights=(4, 8, 8, 16)))
    assert balance(ring).worst_percent < 1
    assert [level.partitions_below for level in dispersion(ring)] == [0, 0, 0]


def test_adding_a_device_to_a_large_ring_moves_its_fair_share_and_no_more() -> None:
    ring = create(a_spec(part_power=14), devices(100, zones=5, nodes=20, weights=(4, 8, 8, 16)))
    grown = change(ring, [Add(a_device(500, zone="z2", node="n2", weight=8))], now_s=NOW_S)
    moved = diff(ring, grown)
    (gained,) = [device.gained for device in moved.devices if device.device_id == 100]
    fair = next(device.fair for device in balance(grown).devices if device.device_id == 100)
    assert gained == pytest.approx(fair, abs=2)
    assert moved.replicas_moved <= 1.2 * fair
    assert balance(grown).worst_percent < 1
    assert [level.partitions_below for level in dispersion(grown)] == [0, 0, 0]


def test_removing_a_device_moves_only_what_it_held() -> None:
    ring = create(a_spec(part_power=10), devices(12, zones=4))
    held = len(ring.partitions_of(5))
    smaller = change(ring, [Remove(5)], now_s=NOW_S)
    assert diff(ring, smaller).replicas_moved <= held * 1.1
    assert all(5 not in row for row in rows_of(smaller))
    assert off_quota(smaller) == out_of_bounds(smaller) == 0


def test_a_third_zone_takes_one_replica_of_every_partition() -> None:
    ring = create(a_spec(part_power=9), devices(8, zones=2))
    grown = change(ring, [Add(a_device(50 + i, zone="z9")) for i in range(4)], now_s=NOW_S)
    assert dispersion(grown)[1].partitions_below == 0
    assert out_of_bounds(grown) == 0
    assert diff(ring, grown).replicas_moved <= 1.05 * ring.partition_count


def test_replicas_share_a_zone_only_where_there_are_too_few() -> None:
    ring = create(a_spec(replicas=4, overload=1.0), devices(9, zones=3))
    for row in rows_of(ring):
        assert sorted(Counter(ring.devices[device_id].zone for device_id in row).values()) == [1, 1, 2]


def test_no_device_is_always_the_first_replica() -> None:
    ring = create(a_spec(part_power=12), devices(5))
    firsts = Counter(row[0] for row in rows_of(ring))
    assert max(firsts.values()) < 1.3 * ring.partition_count / 5
    assert min(firsts.values()) > 0.7 * ring.partition_count / 5


def test_replicas_of_a_device_have_their_twins_on_many_others() -> None:
    """So that many devices help when one is refilled."""
    ring = create(a_spec(part_power=12), devices(30, zones=3))
    twins = {other for row in rows_of(ring) if 0 in row for other in row} - {0}
    assert len(twins) == 20  # all of the other two zones


def test_a_heavier_device_draws_replicas_and_a_lighter_one_gives_them() -> None:
    ring = create(a_spec(part_power=10), devices(10))
    heavier = change(ring, [Weigh(3, 2.0)], now_s=NOW_S)
    moved = {device.device_id: device for device in diff(ring, heavier).devices}
    assert (moved[3].gained > 200, moved[3].lost) == (True, 0)
    assert all(device.gained <= 1 for device_id, device in moved.items() if device_id != 3)
    lighter = change(finish(heavier), [Weigh(3, 1.0)], now_s=NOW_S)
    assert diff(heavier, lighter).replicas_moved == pytest.approx(moved[3].gained, abs=5)


def test_locked_partitions_keep_their_replicas_unless_a_device_is_gone() -> None:
    members = [a_device(i, id=i) for i in range(6)]
    table = draw(make_plan(members, 3, 64, 0.1, {}), 3, 64, seed=1)
    # device 5 is gone, device 6 is new; every even partition is locked
    after = [*members[:5], a_device(6, id=6)]
    locked = bytes(partition % 2 == 0 for partition in range(64))
    plan = make_plan(after, 3, 64, 0.1, dict(Counter(table)))
    moved = adjust(plan, table, 3, locked=locked, seed=2)
    for slot, (was, now) in enumerate(zip(table, moved, strict=True)):
        if was == 5:
            assert now != 5
        elif locked[slot // 3]:
            assert now == was


def test_a_chain_of_moves_is_found_where_no_direct_one_is_allowed() -> None:
    # device 0 holds one too many and 3 one too few, but 3 is in every partition of 0: 0 gives to 1 or 2, and that to 3
    weights = {0: 4.0, 1: 3.0, 2: 3.0, 3: 6.0}
    plan = make_plan([a_device(i, id=i, weight=weight) for i, weight in weights.items()], 2, 8, 0.0, {})
    assert plan.quota == [4, 3, 3, 6]
    table = table_of([[0, 3]] * 5 + [[1, 2]] * 3)
    moved = adjust(plan, table, 2, locked=bytes(8), seed=1)
    assert [Counter(moved)[device_id] for device_id in plan.ids] == plan.quota
    assert sum(was != now for was, now in zip(table, moved, strict=True)) == 2
    for partition in range(8):
        assert len(set(moved[2 * partition : 2 * partition + 2])) == 2


@pytest.mark.parametrize(
    ("shape", "replicas", "item"),
    [((11, 1, 4), 3, Add(a_device(50, node="n0", zone="z0", weight=3.0))), ((9, 3, 5), 5, Remove(0)), ((13, 1, 5), 5, Weigh(1, 5.0))],
)
def test_what_no_single_move_brings_into_bounds_a_trade_does(shape: tuple[int, int, int], replicas: int, item: Change) -> None:
    """Found by trying many small clusters: each of these leaves partitions out of bounds without trades."""
    count, zones, nodes = shape
    ring = create(a_spec(replicas=replicas, part_power=6, overload=0.0), devices(count, zones=zones, nodes=nodes, weights=(1, 2)))
    changed = change(ring, [item], now_s=NOW_S)
    assert off_quota(changed) == 0
    assert out_of_bounds(changed) == 0


def test_in_a_small_ring_too_each_device_is_sometimes_the_first_replica() -> None:
    assert {row[0] for row in rows_of(create(a_spec(part_power=5), devices(3)))} == {0, 1, 2}


def test_the_same_change_gives_the_same_ring() -> None:
    for _ in range(2):
        ring = create(a_spec(), devices(9, zones=3, weights=(1, 2)))
        again = create(a_spec(), devices(9, zones=3, weights=(1, 2)))
        steps: list[Change] = [Add(a_device(70)), Remove(2), Weigh(3, 4.0)]
        assert change(ring, steps, now_s=NOW_S) == change(again, steps, now_s=NOW_S)
