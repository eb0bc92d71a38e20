"""Damage is healed from a quorum of the others, with their highest promise."""

import asyncio
from typing import Any

from msgspec.structs import replace

from objstore.core.rows import Kind, Register, RowKey, Space, decode_row, encode_row
from objstore.core.timestamp import ZERO
from objstore.daemons.auditor import AuditCounts, Auditor
from objstore.errors import QuorumLost
from objstore.wire import messages as m
from tests.support.memory_fleet import MemoryFleet, ballot, held, key, ring_of


async def settle(row_key: RowKey, partition: int) -> None:
    return None


def fleet_with_damage() -> MemoryFleet:
    fleet = MemoryFleet(ring_of(3))
    for number in (2, 3):
        fleet.put(number, 0, key("a"), held(5))
    fleet.put(3, 0, key("a"), Register(ballot(8), held(5).accepted, held(5).row))
    steps = {1: [m.AuditAnswer(None, 1, 10, [m.PartitionRow(key("a"), held(5), 0)], 1)]}
    fleet._audit = lambda number, request: steps.get(number, [m.AuditAnswer(None, 1, 10, [])])[0]  # type: ignore[attr-defined]
    return fleet


def run(fleet: MemoryFleet) -> AuditCounts:
    return asyncio.run(Auditor(fleet, settle=settle).run())  # type: ignore[arg-type]


def test_a_damaged_row_gets_the_others_row_and_their_highest_promise() -> None:
    fleet = fleet_with_damage()
    counts = run(fleet)
    assert (counts.damaged, counts.healed, counts.quarantined, counts.clean) == (1, 1, 1, True)
    assert fleet.get(1, 0, key("a")) == Register(ballot(8), held(5).accepted, held(5).row)
    merge = next(request for _, request in fleet.log if isinstance(request, m.Merge))
    assert set(merge.sources) == {2, 3}


def test_a_lone_survivor_is_not_enough_to_heal_from() -> None:
    fleet = fleet_with_damage()
    fleet.down.add(2)
    counts = run(fleet)
    assert (counts.damaged, counts.healed, counts.failed, counts.clean) == (1, 0, 1, False)
    assert counts.silent == {2}


def test_an_audit_goes_on_from_its_cursor_to_the_end() -> None:
    fleet = MemoryFleet(ring_of(3))
    asked: list[bytes] = []

    def audit(number: int, request: m.Audit) -> m.AuditAnswer:
        if number != 2:
            return m.AuditAnswer(None, 0, 0, [])
        asked.append(request.cursor)
        return m.AuditAnswer(b"further" if not request.cursor else None, 3, 30, [])

    fleet._audit = audit  # type: ignore[attr-defined]
    counts = run(fleet)
    assert asked == [b"", b"further"]
    assert (counts.rows, counts.bytes) == (6, 60)


def test_of_two_replicas_the_other_one_heals_although_nothing_can_be_settled() -> None:
    async def lost(row_key: RowKey, partition: int) -> None:
        raise QuorumLost("too few replicas answered")

    fleet = MemoryFleet(ring_of(2))
    fleet.put(2, 0, key("a"), Register(ballot(8), held(5).accepted, held(5).row))
    steps = {1: m.AuditAnswer(None, 1, 10, [m.PartitionRow(key("a"), held(5), 0)], 1)}
    fleet._audit = lambda number, request: steps.get(number, m.AuditAnswer(None, 1, 10, []))  # type: ignore[attr-defined]
    counts = asyncio.run(Auditor(fleet, settle=lost).run())  # type: ignore[arg-type]
    assert (counts.damaged, counts.healed) == (1, 1)
    assert fleet.get(1, 0, key("a")) == Register(ballot(8), held(5).accepted, held(5).row)
    three = fleet_with_damage()
    counts = asyncio.run(Auditor(three, settle=lost).run())  # type: ignore[arg-type]
    assert (counts.damaged, counts.healed) == (1, 0)


def test_a_damaged_version_gets_the_row_of_the_highest_rank_whatever_the_ballots() -> None:
    """One of the others has missed the removal, and demoted the version at a higher ballot than that of the removal."""
    where = RowKey(key("a").bucket, Space.VERSIONS, b"a", ballot(5))
    version = replace(decode_row(held(5).row), version=ballot(5).hex())
    removed = Register(ZERO, ballot(8), encode_row(replace(version, origin=ballot(8), kind=Kind.TOMBSTONE)))
    fleet = MemoryFleet(ring_of(3))
    fleet.put(2, 0, where, Register(ZERO, ballot(9), encode_row(version)))
    fleet.put(3, 0, where, removed)
    steps = {1: m.AuditAnswer(None, 1, 10, [m.PartitionRow(where, Register(), 0)], 1)}
    fleet._audit = lambda number, request: steps.get(number, m.AuditAnswer(None, 1, 10, []))  # type: ignore[attr-defined]
    assert run(fleet).healed == 1
    assert fleet.get(1, 0, where) == removed
    merge = next(request for _, request in fleet.log if isinstance(request, m.Merge))
    assert merge.sources == (3,)


def test_an_audit_counts_what_it_sent() -> None:
    fleet = fleet_with_damage()
    mended = fleet._merge
    fleet._merge = lambda number, request: replace(mended(number, request), bytes_pulled=7)  # type: ignore[method-assign]
    counts = run(fleet)
    assert (counts.rows_sent, counts.bytes_sent) == (1, 7)


def test_an_audit_whose_time_is_over_ends_with_what_it_has_done() -> None:
    fleet = fleet_with_damage()
    asked = fleet.ask

    async def ask(request: type[m.Request], kind: type[Any], number: int, **fields: Any) -> Any:
        if request is m.Audit and number == 2:
            await asyncio.sleep(3600)
        return await asked(request, kind, number, **fields)

    fleet.ask = ask  # type: ignore[method-assign]
    counts = asyncio.run(Auditor(fleet, settle=settle).run(timeout_s=0.05))  # type: ignore[arg-type]
    assert (counts.late, counts.clean, counts.healed) == (True, False, 1)
