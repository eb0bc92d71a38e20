"""A tombstone goes only when every primary has confirmed it."""

import asyncio
import dataclasses

import pytest

from objstore.core.rows import EMPTY, Kind, Register, Row, RowKey, encode_row
from objstore.core.timestamp import ZERO
from objstore.core.versions import version_key
from objstore.daemons.compactor import Compactor, confirmed
from objstore.wire import messages as m
from tests.support.memory_fleet import MemoryFleet, ballot, held, key, ring_of

TOMBSTONE = held(5, Kind.TOMBSTONE)


def compactor(fleet: MemoryFleet, settled: list[RowKey] | None = None) -> Compactor:
    async def settle(settled_key: RowKey, _partition: int) -> None:
        assert settled is not None, "nothing needs to be settled here"
        settled.append(settled_key)

    return Compactor(fleet, reclaim_age_s=60.0, settle=settle)  # type: ignore[arg-type]


def reclaim(fleet: MemoryFleet, settled: list[RowKey] | None = None) -> int:
    return asyncio.run(compactor(fleet, settled).reclaim())


def test_a_confirmed_old_tombstone_is_dropped_on_all_and_its_ballot_becomes_the_floor() -> None:
    fleet = MemoryFleet(ring_of(3))
    for number in (1, 2, 3):
        fleet.put(number, 0, key("a"), TOMBSTONE)
    assert reclaim(fleet) == 1
    assert all(fleet.get(n, 0, key("a")) == Register(promised=ballot(5)) for n in (1, 2, 3))


def test_a_tombstone_stays_while_one_primary_holds_an_older_row() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), TOMBSTONE)
    fleet.put(2, 0, key("a"), TOMBSTONE)
    fleet.put(3, 0, key("a"), held(3))
    assert reclaim(fleet) == 0
    assert fleet.get(1, 0, key("a")) == TOMBSTONE


def test_a_tombstone_stays_while_one_primary_is_silent_or_knows_nothing() -> None:
    for silent in (True, False):
        fleet = MemoryFleet(ring_of(3))
        fleet.put(1, 0, key("a"), TOMBSTONE)
        fleet.put(2, 0, key("a"), TOMBSTONE)
        if silent:
            fleet.put(3, 0, key("a"), TOMBSTONE)
            fleet.down.add(3)
        assert reclaim(fleet) == 0
        assert fleet.get(1, 0, key("a")) == TOMBSTONE


def test_a_tombstone_under_a_higher_promise_is_settled_and_stays_everywhere() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(1, 0, key("a"), TOMBSTONE)
    fleet.put(2, 0, key("a"), TOMBSTONE)
    fleet.put(3, 0, key("a"), Register(ballot(9), TOMBSTONE.accepted, TOMBSTONE.row))
    settled: list[RowKey] = []
    assert reclaim(fleet, settled) == 0
    assert set(settled) == {key("a")}
    assert fleet.get(1, 0, key("a")) == TOMBSTONE


def test_a_reclaim_that_was_cut_short_is_finished_later() -> None:
    fleet = MemoryFleet(ring_of(3))
    fleet.put(3, 0, key("a"), TOMBSTONE)
    for number in (1, 2):
        fleet.floors[number, 0] = ballot(5)
    assert reclaim(fleet) == 1
    assert fleet.get(3, 0, key("a")).accepted == ZERO


def test_live_rows_and_young_tombstones_stay() -> None:
    fleet = MemoryFleet(ring_of(3))
    young = held(fleet.world.clock.wall_us(), Kind.TOMBSTONE)
    for number in (1, 2, 3):
        fleet.put(number, 0, key("live"), held(5))
        fleet.put(number, 0, key("young"), young)
    assert reclaim(fleet) == 0


def test_confirmation_is_the_same_tombstone_or_nothing_above_the_floor() -> None:
    assert confirmed(TOMBSTONE, TOMBSTONE)
    assert confirmed(Register(promised=ballot(5)), TOMBSTONE)
    assert not confirmed(EMPTY, TOMBSTONE)
    assert not confirmed(held(4), TOMBSTONE)
    assert not confirmed(held(6), TOMBSTONE)


def version_tombstone(origin: int, accepted: int) -> Register:
    row = Row(Kind.TOMBSTONE, b"o" * 16, ballot(origin), ZERO, origin, version=ballot(3).hex())
    return Register(ZERO, ballot(accepted), encode_row(row))


VERSION = version_key(key("a"), ballot(3).hex())
AGE = 60_000_000


def test_the_tombstone_of_a_version_is_settled_at_a_later_ballot_before_it_goes() -> None:
    fleet = MemoryFleet(ring_of(3))
    settled: list[RowKey] = []
    for accepted, gone in ((5, 0), (5 + AGE, 1)):
        for number in (1, 2, 3):
            fleet.put(number, 0, VERSION, version_tombstone(5, accepted))
        assert reclaim(fleet, settled) == gone
    assert set(settled) == {VERSION}


@pytest.mark.parametrize(
    ("floors", "goes"), [((AGE, AGE, AGE), True), ((AGE, AGE, 4), False), ((AGE, 6, AGE), False), ((0, 0, AGE), False)]
)
def test_a_tombstone_of_a_version_that_one_primary_made_anew_goes_below_floors_as_high_as_it_would_leave(
    floors: tuple[int, int, int], goes: bool
) -> None:
    """As one that is refilled makes it of a head whose effect was a removal, forgotten everywhere else."""
    fleet = MemoryFleet(ring_of(3))
    fleet.put(2, 0, VERSION, version_tombstone(5, 5))
    for number, floor in enumerate(floors, 1):
        fleet.floors[number, 0] = ballot(5 + floor)
    settled: list[RowKey] = []
    assert reclaim(fleet, settled) == goes
    assert bool(settled) is not goes
    assert (fleet.get(2, 0, VERSION).accepted == ZERO) is goes


def test_no_tombstone_of_a_version_goes_while_a_primary_holds_that_version() -> None:
    for where in (VERSION, key("a")):
        fleet = MemoryFleet(ring_of(3))
        fleet.put(2, 0, VERSION, version_tombstone(5, 5))
        live = Row(Kind.OBJECT, b"o" * 16, ballot(3), ballot(3), 3, version=ballot(3).hex())
        fleet.put(1, 0, where, Register(ZERO, ballot(3), encode_row(live)))
        for number in (1, 2, 3):
            fleet.floors[number, 0] = ballot(5 + AGE)
        assert reclaim(fleet) == 0


def test_upkeep_asks_every_device_until_nothing_more_waits() -> None:
    fleet = MemoryFleet(ring_of(3))
    left = {"compact": 4}

    def maintain(number: int, request: m.Maintain) -> m.Maintained:
        more = request.what == "compact" and left["compact"] > 0
        left["compact"] -= more
        return m.Maintained({request.what: 1}, more)

    fleet._maintain = maintain  # type: ignore[attr-defined]
    counts = asyncio.run(compactor(fleet).upkeep())
    assert counts == {"checkpoint": 3, "purge": 3, "compact": 7, "sweep_staged": 3}


class At:
    """A wall clock that stands where it was set."""

    def __init__(self, us: int) -> None:
        self.us = us

    def wall_us(self) -> int:
        return self.us


def asked(fleet: MemoryFleet) -> set[int]:
    """The partitions whose rows were asked for since the last time."""
    found = {request.partition for _, request in fleet.log if isinstance(request, m.PartitionRows)}
    fleet.log.clear()
    return found


def test_a_partition_is_looked_at_again_when_one_of_its_tombstones_can_be_old_enough() -> None:
    fleet = MemoryFleet(ring_of(3))
    clock = At(1_000_000_000)
    fleet.world = dataclasses.replace(fleet.world, clock=clock)  # type: ignore[arg-type]
    everywhere = set(range(fleet.ring.partition_count))
    for number in (1, 2, 3):
        fleet.put(number, 0, key("young"), held(1_000_000_000 - 20_000_000, Kind.TOMBSTONE))
        fleet.put(number, 1, key("alive"), held(5))
        fleet.put(number, 2, key("disputed"), held(6, Kind.TOMBSTONE) if number < 3 else held(3))
    worker = compactor(fleet)

    def after(seconds: int) -> tuple[int, set[int]]:
        clock.us = 1_000_000_000 + seconds * 1_000_000
        return asyncio.run(worker.reclaim_due()), asked(fleet)

    assert after(0) == (0, everywhere)
    assert after(1) == (0, set())
    assert after(5) == (0, {2})  # what could not go is asked about again, and not at once
    assert after(39) == (0, {2})
    assert after(40) == (1, {0})
    assert after(44) == (0, {2})
    assert after(60) == (0, everywhere - {0})
    fleet.put(3, 2, key("disputed"), held(6, Kind.TOMBSTONE))
    assert after(65) == (1, {2})
    assert after(99) == (0, set())
    assert after(100) == (0, {0})
    assert asyncio.run(worker.reclaim()) == 0
    assert asked(fleet) == everywhere


def test_all_partitions_are_looked_at_in_a_new_epoch_and_one_whose_device_was_silent_soon() -> None:
    fleet = MemoryFleet(ring_of(3))
    clock = At(1_000_000_000)
    fleet.world = dataclasses.replace(fleet.world, clock=clock)  # type: ignore[arg-type]
    worker = compactor(fleet)
    fleet.down.add(2)
    asyncio.run(worker.reclaim_due())
    everywhere = asked(fleet)
    clock.us += 5_000_000
    fleet.down.clear()
    asyncio.run(worker.reclaim_due())
    assert asked(fleet) == everywhere
    clock.us += 5_000_000
    asyncio.run(worker.reclaim_due())
    assert asked(fleet) == set()
    worker._due_in_epoch -= 1
    asyncio.run(worker.reclaim_due())
    assert asked(fleet) == everywhere
