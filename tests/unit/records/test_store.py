import asyncio

import msgspec
import pytest

from objstore.errors import InvalidArgument, OutcomeUnknown, PreconditionFailed
from objstore.records.store import VALUE_LIMIT_BYTES, Leases, Records
from tests.support.memory_cluster import LoopClock, MemoryCluster, run


class User(msgspec.Struct, frozen=True, array_like=True):
    record_version: int
    name: str
    email: str = ""


def test_a_record_is_made_changed_and_removed_by_version() -> None:
    async def test() -> None:
        users = Records(MemoryCluster(), "user", User)
        assert await users.get("a") is None
        first = await users.put_if("a", User(1, "Ann"), None)
        with pytest.raises(PreconditionFailed):
            await users.put_if("a", User(1, "Bob"), None)
        second = await users.put_if("a", User(1, "Ann", "a@b"), first)
        for expected in (first, None):
            with pytest.raises(PreconditionFailed):
                await users.put_if("a", User(1, "Bob"), expected)
        with pytest.raises(PreconditionFailed):
            await users.delete_if("a", first)
        entry = await users.get("a")
        assert entry is not None
        assert (entry.name, entry.value, entry.version) == ("a", User(1, "Ann", "a@b"), second)
        await users.delete_if("a", second)
        assert await users.get("a") is None
        with pytest.raises(PreconditionFailed):
            await users.delete_if("a", second)
        assert await users.put_if("a", User(1, "New"), None) > second

    run(test())


def test_a_change_starts_from_what_is_there_and_counts_whoever_else_changes() -> None:
    async def test() -> None:
        users = Records(MemoryCluster(), "user", User)

        def added(user: User) -> User:
            return User(user.record_version + 1, user.name)

        with pytest.raises(PreconditionFailed):
            await users.change("a", added)
        assert (await users.change("a", added, User(0, "x"))).record_version == 1
        await asyncio.gather(*(users.change("a", added) for _ in range(10)))
        entry = await users.get("a")
        assert entry is not None
        assert entry.value.record_version == 11
        assert await users.change("a", lambda user: user) == entry.value
        after = await users.get("a")
        assert after is not None
        assert after.version == entry.version  # nothing changed, nothing written

        def refuse(_: User) -> User:
            raise InvalidArgument("no")

        with pytest.raises(InvalidArgument):
            await users.change("a", refuse)

    run(test())


def test_of_many_that_change_a_record_each_change_counts() -> None:
    async def test() -> None:
        users = Records(MemoryCluster(), "user", User)
        await users.put("a", User(0, "x"))

        async def add() -> None:
            while True:
                entry = await users.get("a")
                assert entry is not None
                try:
                    await users.put_if("a", User(entry.value.record_version + 1, "x"), entry.version)
                except PreconditionFailed:
                    continue
                return

        await asyncio.gather(*(add() for _ in range(20)))
        entry = await users.get("a")
        assert entry is not None
        assert entry.value.record_version == 20

    run(test())


def test_kinds_are_listed_apart_and_in_order() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        cluster.page_limit = 2
        users, others = Records(cluster, "user", User), Records(cluster, "users", User)
        for name in ("b", "a/2", "a/1", "ä"):
            await users.put(name, User(1, name))
        await others.put("a/0", User(1, "no"))
        assert [e.name for e in await users.list()] == ["a/1", "a/2", "b", "ä"]
        assert [e.value.name for e in await users.list("a/")] == ["a/1", "a/2"]

    run(test())


def test_names_and_sizes_have_limits() -> None:
    async def test() -> None:
        users = Records(MemoryCluster(), "user", User)
        for name in ("", "x" * 1020):
            with pytest.raises(InvalidArgument):
                await users.get(name)
        with pytest.raises(InvalidArgument):
            await users.put("a", User(1, "x" * VALUE_LIMIT_BYTES))

    run(test())


def test_a_lease_has_one_holder_and_its_token_grows_with_each_change() -> None:
    async def test() -> None:
        clock = LoopClock()
        leases = Leases(MemoryCluster(clock=clock), clock, "daemon")
        first = await leases.acquire("scrub", "a", 10)
        assert first is not None
        assert await leases.acquire("scrub", "b", 10) is None
        await asyncio.sleep(8)
        renewed = await leases.acquire("scrub", "a", 10)
        assert renewed is not None
        assert (renewed.token, renewed.expires_us) == (first.token, first.expires_us + 8_000_000)
        await asyncio.sleep(9)
        assert await leases.acquire("scrub", "b", 10) is None
        await asyncio.sleep(2)
        second = await leases.acquire("scrub", "b", 10)
        assert second is not None
        assert second.token == first.token + 1
        await leases.release("scrub", first)  # late: nothing happens
        assert await leases.acquire("scrub", "a", 10) is None
        await leases.release("scrub", second)
        third = await leases.acquire("scrub", "a", 10)
        assert third is not None
        assert third.token == second.token + 1

    run(test())


def test_a_lease_of_a_host_whose_clock_was_far_ahead_does_not_keep_others_out_until_then() -> None:
    async def test() -> None:
        clock = LoopClock()
        leases = Leases(MemoryCluster(clock=clock), clock, "daemon")
        clock.skew_us = 365 * 86_400 * 1_000_000
        wrong = await leases.acquire("scrub", "a", 10)
        clock.skew_us = 0
        right = await leases.acquire("scrub", "b", 10)
        assert wrong is not None
        assert right is not None
        assert right.token == wrong.token + 1
        assert await leases.acquire("scrub", "a", 10) is None

    run(test())


def test_of_many_that_want_a_lease_one_gets_it() -> None:
    async def test() -> None:
        clock = LoopClock()
        leases = Leases(MemoryCluster(clock=clock), clock, "daemon")
        won = await asyncio.gather(*(leases.acquire("scrub", f"h{i}", 10) for i in range(10)))
        assert sum(lease is not None for lease in won) == 1

    run(test())


def test_a_holder_whose_own_lease_ran_out_gets_a_new_token() -> None:
    async def test() -> None:
        clock = LoopClock()
        leases = Leases(MemoryCluster(clock=clock), clock, "daemon")
        first = await leases.acquire("scrub", "a", 10)
        await asyncio.sleep(11)
        again = await leases.acquire("scrub", "a", 10)
        assert first is not None
        assert again is not None
        assert again.token == first.token + 1

    run(test())


def test_a_lost_answer_is_told_to_whoever_writes() -> None:
    async def test() -> None:
        cluster = MemoryCluster()
        users = Records(cluster, "user", User)

        async def lose(what: str, key: object) -> None:
            raise OutcomeUnknown("lost")

        cluster.after = lose
        with pytest.raises(OutcomeUnknown):
            await users.put_if("a", User(1, "x"), None)

    run(test())
