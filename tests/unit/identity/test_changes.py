"""Changing identities: names are taken once, concurrent changes all count."""

import asyncio
from typing import Any

import pytest
from msgspec.structs import replace

from objstore.identity.changes import Changes
from objstore.identity.directory import Directory
from objstore.identity.entities import GROUP, USER, Holder, HolderKey, IdentityRefused, ManagedPolicy, PolicyVersion, WebProvider, in_use
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
