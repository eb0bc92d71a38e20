"""A tombstone goes only when every primary has confirmed it."""

import asyncio

from objstore.core.rows import EMPTY, Kind, Register, RowKey
from objstore.core.timestamp import ZERO
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
