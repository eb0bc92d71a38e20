"""Replicas become equal, misplaced copies go home, and nothing is dropped or declared too early."""

import asyncio

import pytest

from objstore.core.rows import Register, RowKey
from objstore.core.timestamp import ZERO
from objstore.daemons.rebalancer import again
from objstore.daemons.replicator import RepairCounts, Replicator, members
from objstore.errors import StaleEpoch
from objstore.wire import messages as m
from ring import builder
from tests.support.memory_fleet import MemoryFleet, ballot, device, held, key, ring_of


async def never(row_key: RowKey, partition: int) -> None:
    raise AssertionError(f"{row_key} needed a round of agreement")


def run(fleet: MemoryFleet, settle: object = never) -> RepairCounts:
    return asyncio.run(Replicator(fleet, settle=settle).run())  # type: ignore[arg-type]


def test_a_row_that_one_primary_missed_gets_there() -> None:
    fleet = MemoryFleet(ring_of(3))
    for number in (1, 2):
        fleet.put(number, 0, key("a"), held(5))
    counts = run(fleet)
    assert fleet.get(3, 0, key("a")) == held(5)
    assert (counts.rows_sent, counts.failed) == (1, 0)


def test_the_higher_ballot_wins_everywhere() -> None:
    fleet = MemoryFleet(ring_of(3))
    for number, version in ((1, 5), (2, 9), (3, 7)):
        fleet.put(number, 1, key("a"), held(version))
    run(fleet)
    assert {fleet.get(n, 1, key("a")).accepted for n in (1, 2, 3)} == {ballot(9)}


def test_equal_partitions_cost_nothing_but_their_digests() -> None:
    fleet = MemoryFleet(ring_of(3))
    for number in (1, 2, 3):
        fleet.put(number, 0, key("a"), held(5))
    run(fleet)
    assert {type(request) for _, request in fleet.log} == {m.Digests}


def test_a_row_below_a_promise_is_settled_by_agreement_instead_of_forced() -> None:
    fleet = MemoryFleet(ring_of(3))
    for number in (1, 2):
        fleet.put(number, 0, key("a"), held(5))
    fleet.put(3, 0, key("a"), Register(promised=ballot(8)))
    settled = []

    async def settle(row_key: RowKey, partition: int) -> None:
        settled.append((row_key, partition))

    run(fleet, settle)
    assert settled == [(key("a"), 0)]
    assert fleet.get(3, 0, key("a")).accepted == ZERO


def test_a_silent_device_is_named_and_the_others_are_mended() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))
    fleet.down.add(3)
    counts = run(fleet)
    assert counts.silent == {3}
    assert not counts.clean
    assert fleet.get(2, 0, key("a")) == held(5)


def test_a_misplaced_copy_goes_home_and_is_dropped_only_then() -> None:
    fleet = MemoryFleet(ring_of(4))
    stranger = next(d for d in fleet.ring.devices if d not in fleet.ring.primaries(0))
    fleet.put(stranger, 0, key("a"), held(5))
    counts = run(fleet)
    assert all(fleet.get(d, 0, key("a")) == held(5) for d in fleet.ring.primaries(0))
    assert not fleet.data[stranger][0]
    assert counts.dropped == 1


def test_a_misplaced_copy_stays_while_a_primary_is_silent() -> None:
    fleet = MemoryFleet(ring_of(4))
    stranger = next(d for d in fleet.ring.devices if d not in fleet.ring.primaries(0))
    fleet.put(stranger, 0, key("a"), held(5))
    fleet.down.add(fleet.ring.primaries(0)[2])
    counts = run(fleet)
    assert fleet.data[stranger][0]
    assert counts.misplaced == 1


def moving_ring_fleet() -> tuple[MemoryFleet, int, int]:
    """A fleet in the middle of a change; a moving partition and its new device."""
    fleet = MemoryFleet(ring_of(3, part_power=3))
    for partition in range(8):
        for number in (1, 2, 3):
            fleet.put(number, partition, key(f"k{partition}"), held(5))
    fleet.ring = builder.change(fleet.ring, [builder.Add(device(-1, b"newdevic"))], now_s=1e9)
    partition = fleet.ring.moving()[0]
    new = next(d for d in fleet.ring.primaries(partition) if d not in (fleet.ring.previous(partition) or ()))
    return fleet, partition, new


def test_a_new_device_is_in_sync_after_it_holds_what_a_quorum_of_the_old_ones_held() -> None:
    fleet, partition, new = moving_ring_fleet()
    run(fleet)
    assert fleet.get(new, partition, key(f"k{partition}")) == held(5)
    assert (fleet.ring.epoch, new, partition) in fleet.in_sync


def test_a_new_device_forgets_what_it_once_kept_for_others_and_they_have_deleted_and_forgotten() -> None:
    fleet, partition, new = moving_ring_fleet()
    fleet.put(new, partition, key("stale"), held(3))
    fleet.put(new, partition, key("young"), held(9))
    for number in fleet.ring.previous(partition) or ():
        fleet.floors[number, partition] = ballot(7)
    counts = run(fleet)
    assert counts.dropped == 1
    for number in fleet.ring.primaries(partition):
        assert fleet.get(number, partition, key("stale")).accepted == ZERO
        assert fleet.get(number, partition, key("young")).accepted == ballot(9)  # above what was forgotten: it may have been acknowledged
    assert fleet.floors[new, partition] == ballot(7)
    assert (fleet.ring.epoch, new, partition) in fleet.in_sync


def test_a_row_that_one_of_the_old_ones_may_still_accept_is_not_forgotten() -> None:
    fleet, partition, new = moving_ring_fleet()
    fleet.put(new, partition, key("a"), held(3))
    for number in (fleet.ring.previous(partition) or ())[1:]:
        fleet.floors[number, partition] = ballot(7)
    settled: list[RowKey] = []

    async def settle(row_key: RowKey, _partition: int) -> None:
        settled.append(row_key)

    assert run(fleet, settle).dropped == 0
    assert fleet.get(new, partition, key("a")) == held(3)


def test_a_new_device_is_not_in_sync_while_most_old_ones_are_silent() -> None:
    fleet, partition, new = moving_ring_fleet()
    fleet.down |= set((fleet.ring.previous(partition) or ())[:2])
    run(fleet)
    assert (fleet.ring.epoch, new, partition) not in fleet.in_sync


def test_members_of_a_moving_partition_are_those_of_both_sets() -> None:
    fleet, partition, new = moving_ring_fleet()
    assert set(members(fleet.ring, partition)) == {*fleet.ring.primaries(partition), *(fleet.ring.previous(partition) or ())}
    assert new in members(fleet.ring, partition)


def test_a_ring_change_in_the_middle_stops_the_pass() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), held(5))

    def change_now(number: int, request: m.Request) -> None:
        if isinstance(request, m.PartitionRows):
            fleet.ring = builder.change(fleet.ring, [builder.Weigh(1, 2.0)], now_s=1e9)

    fleet.before = change_now
    with pytest.raises(StaleEpoch):
        run(fleet)


def test_verify_counts_what_is_out_of_place_and_changes_nothing() -> None:
    fleet = MemoryFleet(ring_of(4))
    stranger = next(d for d in fleet.ring.devices if d not in fleet.ring.primaries(0))
    fleet.put(fleet.ring.primaries(0)[0], 0, key("a"), held(5))
    fleet.put(stranger, 0, key("b"), held(5))
    counts = asyncio.run(Replicator(fleet, settle=never).verify())  # type: ignore[arg-type]
    assert (counts.under_replicated, counts.misplaced) == (1, 1)
    assert fleet.get(fleet.ring.primaries(0)[1], 0, key("a")).accepted == ZERO


def test_of_two_replicas_the_one_that_is_left_fills_the_others_place() -> None:
    fleet = MemoryFleet(ring_of(2))
    for partition in range(4):
        fleet.put(2, partition, key("a"), held(5))
    fleet.ring = builder.change(fleet.ring, [builder.Replace(1, again(fleet.ring.devices[1], b"newdevic"))], now_s=1e9)
    new = max(fleet.ring.devices)
    fleet.down.add(1)
    run(fleet)
    assert all(fleet.get(new, partition, key("a")) == held(5) for partition in range(4))
    assert {(fleet.ring.epoch, new, partition) for partition in range(4)} <= set(fleet.in_sync)
