"""Changing identities: names are taken once, concurrent changes all count."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from msgspec.structs import replace

from objstore.errors import ConditionalConflict
from objstore.identity.changes import Changes
from objstore.identity.directory import RELOAD_S, Directory
from objstore.identity.entities import (
    GROUP,
    USER,
    AccessKey,
    Holder,
    HolderKey,
    IdentityRefused,
    ManagedPolicy,
    PolicyVersion,
    WebProvider,
    in_use,
)
from objstore.identity.model import User
from objstore.identity.tokens import TokenSealer
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world, run

JOE = Holder(1, USER, "a", "joe", "AIDA1", 0)
KEY = HolderKey(USER, "a", "joe")


def two_proxies() -> tuple[Changes, Changes]:
    cluster = MemoryCluster()
    sealer = TokenSealer(bytes(32), SystemRng())
    users = [User("a", "root", "AKROOT", "s")]
    return tuple(
        Changes(Directory(users, found, memory_world(LoopClock()), sealer))
        for found in (cluster, MemoryCluster(cluster.registers, proxy_id=2))
    )  # type: ignore[return-value] # two


async def refused(attempt: Any) -> str:
    with pytest.raises(IdentityRefused) as caught:
        await attempt
    return caught.value.code


def test_of_two_that_take_a_name_one_has_it() -> None:
    async def test() -> None:
        one, two = two_proxies()
        outcomes = await asyncio.gather(one.create_holder(JOE), two.create_holder(replace(JOE, id="AIDA2")), return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["IdentityRefused", "NoneType"]
        assert await refused(one.create_holder(replace(JOE, name="ROOT"))) == "EntityAlreadyExists"

    run(test())


def test_all_concurrent_changes_count() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(JOE)

        def tagged(name: str) -> Any:
            return lambda user: replace(user, tags={**user.tags, name: ""})

        await asyncio.gather(*(changes.change_holder(KEY, tagged(f"{n}-{m}")) for n, changes in enumerate((one, two)) for m in range(8)))
        await two.directory.catch_up()
        assert len(two.directory.holders[KEY.record].tags) == 16

    run(test())


def test_what_is_not_there_cannot_be_changed_or_deleted() -> None:
    async def test() -> None:
        one, _ = two_proxies()
        assert await refused(one.change_holder(KEY, lambda user: user)) == "NoSuchEntity"
        assert await refused(one.delete_holder(KEY, lambda _: None)) == "NoSuchEntity"
        assert await refused(one.rename_holder(KEY, lambda user: user)) == "NoSuchEntity"
        assert await refused(one.delete_holder(HolderKey(USER, "a", "root"), lambda _: None)) == "UnmodifiableEntity"

    run(test())


def test_what_went_without_a_clear_answer_is_told_to_all_at_once() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(JOE)
        await two.directory.catch_up()
        records = one.directory.shelves["holder"].records
        delete_if = records.delete_if

        async def unclear(name: str, expected: bytes) -> None:
            await delete_if(name, expected)
            raise ConditionalConflict("whether it took effect cannot be known")

        records.delete_if = unclear  # type: ignore[method-assign] # as when the answers are lost
        await one.delete_holder(KEY, lambda _: None)
        await two.directory.catch_up()
        assert one.directory.user("a", "joe") is two.directory.user("a", "joe") is None

    run(test())


def test_a_check_keeps_what_is_in_use() -> None:
    async def test() -> None:
        one, _ = two_proxies()
        await one.create_holder(replace(JOE, kind=GROUP))

        def busy(_: Holder) -> None:
            raise in_use("busy")

        key = HolderKey(GROUP, "a", "joe")
        assert await refused(one.delete_holder(key, busy)) == "DeleteConflict"
        assert key.record in one.directory.holders
        await one.delete_holder(key, lambda _: None)
        assert key.record not in one.directory.holders

    run(test())


def test_a_new_name_is_taken_before_the_old_one_goes() -> None:
    async def test() -> None:
        one, _ = two_proxies()
        await one.create_holder(JOE)
        await one.create_holder(replace(JOE, name="ann", id="AIDA9"))
        assert await refused(one.rename_holder(KEY, lambda user: replace(user, name="Ann"))) == "EntityAlreadyExists"
        await one.rename_holder(KEY, lambda user: replace(user, name="Joe"))
        await one.rename_holder(KEY, lambda user: replace(user, name="jim"))
        assert sorted(one.directory.holders) == ["user/a/ann", "user/a/jim"]
        assert one.directory.holders["user/a/jim"].id == "AIDA1"

    run(test())


JIM = HolderKey(USER, "a", "jim")
KEYED = replace(JOE, keys=(AccessKey("AKJOE", "s", 0),))


def renamed(user: Holder) -> Holder:
    return replace(user, name="jim")


def between(changes: Changes, then: Callable[[], Coroutine[Any, Any, None]]) -> list[str]:
    """Have something happen just before each of the attempts to take the old record away; how often it did."""
    records, happened = changes.directory.shelves["holder"].records, list[str]()
    delete_if = records.delete_if

    async def slow(name: str, expected: bytes) -> None:
        if name == KEY.record:
            happened.append(name)
            await then()
        await delete_if(name, expected)

    records.delete_if = slow  # type: ignore[method-assign] # a pause, not another deed
    return happened


def test_a_key_that_is_deleted_while_its_user_is_renamed_stays_deleted() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(KEYED)
        await two.directory.catch_up()
        left = [1]

        async def unkeyed() -> None:
            if left:
                left.pop()
                await two.change_holder(KEY, lambda user: replace(user, keys=()))

        attempts = between(one, unkeyed)
        await one.rename_holder(KEY, renamed)
        assert len(attempts) == 2
        for changes in (one, two):
            await changes.directory.catch_up()
            assert sorted(changes.directory.holders) == [JIM.record]
            assert changes.directory.holders[JIM.record].keys == ()
            assert changes.directory.lookup("AKJOE") is None

    run(test())


def test_a_user_who_is_deleted_while_being_renamed_is_gone() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(KEYED)
        await two.directory.catch_up()
        between(one, lambda: two.delete_holder(KEY, lambda _: None))
        assert await refused(one.rename_holder(KEY, renamed)) == "NoSuchEntity"
        assert await one.directory.shelves["holder"].records.list() == []

    run(test())


def test_of_two_that_give_the_same_name_none_loses_the_user() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(KEYED)
        await two.directory.catch_up()
        await asyncio.gather(one.rename_holder(KEY, renamed), two.rename_holder(KEY, renamed), return_exceptions=True)
        assert [entry.name for entry in await one.directory.shelves["holder"].records.list()] == [JIM.record]
        await one.directory.catch_up()
        assert one.directory.holders[JIM.record].keys == KEYED.keys

    run(test())


def test_whom_nobody_can_stop_changing_cannot_be_renamed() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(KEYED)
        await two.directory.catch_up()
        numbers = iter(range(100))

        async def tagged() -> None:
            await two.change_holder(KEY, lambda user: replace(user, tags={"n": str(next(numbers))}))

        between(one, tagged)
        with pytest.raises(ConditionalConflict):
            await one.rename_holder(KEY, renamed)

    run(test())


def test_of_two_records_that_a_death_left_of_a_user_the_newer_counts() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(KEYED)
        await one.directory.shelves["holder"].records.put_if(JIM.record, replace(KEYED, name="jim"), None)
        await two.directory.catch_up()
        assert sorted(two.directory.holders) == [JIM.record]
        assert await refused(two.change_holder(KEY, lambda user: replace(user, tags={"a": ""}))) == "NoSuchEntity"
        assert await refused(two.rename_holder(KEY, renamed)) == "NoSuchEntity"
        assert await refused(two.delete_holder(KEY, lambda _: None)) == "NoSuchEntity"
        await two.change_holder(JIM, lambda user: replace(user, keys=()))
        assert two.directory.lookup("AKJOE") is None
        await two.create_holder(replace(JOE, id="AIDA2"))  # the name is free
        assert sorted(two.directory.holders) == [JIM.record, KEY.record]
        assert await refused(two.create_holder(replace(JOE, name="jim", id="AIDA3"))) == "EntityAlreadyExists"

    run(test())


def test_a_key_taken_away_under_the_old_name_after_a_death_does_not_come_back() -> None:
    async def test() -> None:
        one, two = two_proxies()
        await one.create_holder(KEYED)
        await one.directory.shelves["holder"].records.put_if(JIM.record, replace(KEYED, name="jim"), None)
        await one.change_holder(KEY, lambda user: replace(user, keys=()))  # this proxy has not seen the other record yet
        for changes in (one, two):
            changes.directory._loaded_at = -RELOAD_S
            await changes.directory.catch_up()
            assert sorted(changes.directory.holders) == [KEY.record]
            assert changes.directory.lookup("AKJOE") is None
        await one.rename_holder(KEY, renamed)
        assert sorted(one.directory.holders) == [JIM.record]

    run(test())


def test_policies_and_providers_come_and_go() -> None:
    async def test() -> None:
        one, _ = two_proxies()
        policy = ManagedPolicy(1, "a", "p", "ANPA1", 0, 0, versions=(PolicyVersion("v1", "{}", 0),))
        await one.create_policy(policy)
        assert await refused(one.create_policy(policy)) == "EntityAlreadyExists"
        await one.change_policy(policy, lambda found: replace(found, description="d"))
        assert one.directory.policies["ANPA1"].description == "d"
        await one.delete_policy(policy, lambda _: None)
        assert "ANPA1" not in one.directory.policies
        assert await refused(one.change_policy(policy, lambda found: found)) == "NoSuchEntity"
        provider = WebProvider(1, "a", "host", 0)
        await one.create_provider(provider)
        await one.change_provider(provider, lambda found: replace(found, clients=("c",)))
        assert one.directory.providers[provider.arn].clients == ("c",)
        await one.delete_provider(provider)
        assert await refused(one.delete_provider(provider)) == "NoSuchEntity"

    run(test())
