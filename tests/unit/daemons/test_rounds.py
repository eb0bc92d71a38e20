"""Rounds: which buckets, where to go on, who has the lease.  What daemons make of them is in test_lifecycle.py and test_expirer.py."""

import asyncio

import pytest

from objstore.daemons.rounds import LEASE_TTL_S, Rounds, place_of
from objstore.errors import PreconditionFailed
from tests.support.memory_cluster import memory_world
from tests.support.store_rig import ALICE, Rig, with_rig


def rounds(rig: Rig, holder: str = "host") -> Rounds:
    return Rounds(rig.store, memory_world(rig.clock), "work", holder=holder, round_s=100.0)


async def seen(found: Rounds, *but: str) -> list[tuple[str, bytes]]:
    return [(record.name, start) async for record, start in found.buckets(lambda record: record.name not in but)]


def test_a_round_shows_all_wanted_buckets_once_and_the_next_one_comes_in_time() -> None:
    async def test(rig: Rig) -> None:
        for name in ("aaa", "bbb"):
            await rig.store.create_bucket(ALICE, name)
        found = rounds(rig)
        assert await seen(found, "bbb") == [("aaa", b""), ("photos", b"")]
        assert await seen(found) == []
        await asyncio.sleep(101)
        assert await seen(found) == [("aaa", b""), ("bbb", b""), ("photos", b"")]

    with_rig(test)


def test_a_round_that_began_while_the_clock_was_far_ahead_does_not_hold_up_the_next_one() -> None:
    async def test(rig: Rig) -> None:
        found = rounds(rig)
        rig.clock.skew_us = 365 * 86_400 * 1_000_000
        assert await seen(found) == [("photos", b"")]
        rig.clock.skew_us = 0
        assert await seen(found) == [("photos", b"")]
        assert await seen(found) == []

    with_rig(test)


def test_another_holder_goes_on_where_the_first_one_was() -> None:
    async def test(rig: Rig) -> None:
        for name in ("aaa", "bbb"):
            await rig.store.create_bucket(ALICE, name)
        first, second = rounds(rig), rounds(rig, "second")
        iterator = first.buckets(lambda _: True)
        await anext(iterator)
        record, _ = await anext(iterator)
        assert place_of(record) == "alice/bbb"
        await asyncio.sleep(6)
        await first.at(record, b"k7")
        assert await seen(second) == []
        await asyncio.sleep(LEASE_TTL_S + 1)
        assert await seen(second) == [("bbb", b"k7"), ("photos", b"")]
        await asyncio.sleep(6)
        with pytest.raises(PreconditionFailed):
            await first.at(record, b"k8")
        first.lost()
        await iterator.aclose()

    with_rig(test)
