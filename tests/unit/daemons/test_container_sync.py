"""Container sync between clusters in one process: the real daemon, the real front, virtual time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from objstore.core.container import ContainerChange
from objstore.core.container_sync import SyncState
from objstore.core.encryption import Wish
from objstore.fronts.swift.request import Bytes
from objstore.objects.api import Attributes, DeleteTarget, Expected, ListQuery
from objstore.objects.context import object_key
from objstore.objects.notes import change_prefix, notes
from tests.sim.loop import run
from tests.support.store_rig import ALICE, noise
from tests.support.sync_peers import Network, Site

KEY = "key-of-the-container"


async def linked(site: Site, target: str, *, key: str = KEY, bucket: str = "photos") -> None:
    await site.store.set_container(ALICE.at("alice"), bucket, ContainerChange(sync_to=target, sync_key=key))


def with_sites(test: Callable[[Network, Site, Site], Awaitable[None]], **rest: Any) -> None:
    """Two clusters with a container each; both keep the other's in step."""

    async def main() -> None:
        network = Network()
        one, two = Site(network, "one", **rest), Site(network, "two", **rest)
        for site, other in ((one, "two"), (two, "one")):
            await site.store.start()
            await site.store.create_bucket(ALICE, "photos")
            await linked(site, f"//us/{other}/AUTH_alice/photos")
        await test(network, one, two)
        for site in (one, two):
            await site.store.aclose()

    run(main(), limit_s=1e7)


async def settle(*sites: Site, rounds: int = 6) -> int:
    """Let daemons look until they have nothing to do; how much they sent."""
    sent = 0
    for _ in range(rounds):
        await asyncio.sleep(6)
        sent += sum([await site.daemon.run() for site in sites])
    return sent


async def keys(site: Site) -> list[str]:
    return [info.key for info in (await site.store.list(ALICE, "photos", ListQuery())).objects]


async def state(site: Site) -> SyncState:
    found = await site.store.sync_state(ALICE, "photos")
    assert found is not None
    return found


async def left(site: Site) -> int:
    return len((await notes(site.cluster, change_prefix(await site.id()), b"", 100))[0])


def test_objects_go_both_ways_with_all_that_is_said_of_them_and_the_loop_ends() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        attributes = Attributes("text/x", {"cache-control": "no-store"}, {"colour": "blue"})
        large = noise(200_000)
        await one.put("from/one ü%", b"1", attributes=attributes)
        await one.put("large", large)
        await two.put("from two", b"2")
        assert await settle(one, two) == 3
        assert await keys(one) == await keys(two) == ["from two", "from/one ü%", "large"]
        assert await two.get("large") == large
        there = await two.store.head(ALICE, "photos", "from/one ü%")
        here = await one.store.head(ALICE, "photos", "from/one ü%")
        assert (there.content_type, there.headers, there.metadata) == (here.content_type, here.headers, here.metadata)
        assert there.modified_us == here.modified_us // 10 * 10
        await asyncio.sleep(200)
        assert await settle(one, two) == 0
        assert (await left(one), await left(two)) == (0, 0)
        asked = len(network.asked)
        await asyncio.sleep(300)
        await settle(one, two)
        assert len(network.asked) == asked
        assert (await state(one)).puts == 2
        assert not (await state(one)).walking

    with_sites(test)


def test_the_newer_write_wins_whichever_way_it_came() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        await one.put("k", b"older")
        await asyncio.sleep(1)
        await two.put("k", b"newer")
        await settle(one, two)
        assert await one.get("k") == await two.get("k") == b"newer"
        network.cut = {one.base, two.base}
        await two.put("k", b"first")
        await asyncio.sleep(1)
        await one.store.delete(ALICE, "photos", "k")
        await settle(one, two)
        network.cut = set()
        await asyncio.sleep(700)
        await settle(one, two)
        assert await keys(one) == await keys(two) == []
        await two.put("k", b"again")
        await settle(one, two)
        assert await one.get("k") == b"again"

    with_sites(test)


def test_removals_are_sent_and_one_that_comes_late_removes_nothing_newer() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        for key in ("a", "b"):
            await one.put(key)
        await settle(one, two)
        network.cut = {two.base}
        for key in ("a", "b"):
            await one.store.delete(ALICE, "photos", key)
        await asyncio.sleep(5)
        await two.put("b", b"newer")
        await settle(one)
        assert (await state(one)).error == "the peer cannot be reached"
        network.cut = set()
        await asyncio.sleep(700)
        await settle(one, two)
        assert await keys(one) == await keys(two) == ["b"]
        assert await one.get("b") == b"newer"
        assert (await state(one)).deletes == 1
        assert (await state(one)).error == ""

    with_sites(test)


def test_what_was_there_before_the_peer_was_named_is_compared_once_and_again_after_a_while() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        await linked(one, "", key="")
        await asyncio.sleep(1)
        for number in range(450):
            await one.put(f"{number:04d}")
        await linked(one, "//us/two/AUTH_alice/photos")
        await settle(one, two)
        assert len(await keys(two)) == 450
        await two.store.delete(ALICE, "photos", "0001")  # heard of by its own note
        await settle(one, two)
        assert len(await keys(one)) == 449
        await asyncio.sleep(200)
        await settle(one, two)
        walks = (await state(one)).walked_us
        asked = len(network.asked)
        await asyncio.sleep(700_000)
        await settle(one)
        assert (await state(one)).walked_us > walks
        assert {method for method, _, _ in network.asked[asked:]} == {"HEAD"}

    with_sites(test)


def test_a_wrong_key_moves_nothing_and_is_told() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        await linked(one, "//us/two/AUTH_alice/photos", key="another-key")
        await one.put("k")
        await settle(one)
        assert await keys(two) == []
        assert (await state(one)).error == "the peer answered 401"
        assert (await state(one)).failures >= 1
        tries = len(network.asked)
        await settle(one, rounds=3)
        assert len(network.asked) - tries <= 3  # it backs off
        await linked(one, "//us/two/AUTH_alice/photos")
        await asyncio.sleep(400)
        await settle(one)
        assert await keys(two) == ["k"]

    with_sites(test)


def test_every_kind_of_write_is_heard_of() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        store = one.store
        upload, parts = await one.upload("parts", [noise(5000), noise(10)])
        await one.complete("parts", upload, parts)
        await one.put("said", b"1")
        await one.put("gone", b"1")
        await one.put("named", b"1")
        await settle(one, two)
        assert await keys(two) == ["gone", "named", "parts", "said"]
        await asyncio.sleep(1)
        await store.set_attributes(ALICE, "photos", "said", Attributes(metadata={"a": "b"}))
        await store.rename(ALICE, "photos", "named", "renamed")
        await store.delete_many(ALICE, "photos", [DeleteTarget("gone")])
        await settle(one, two)
        assert (await two.store.head(ALICE, "photos", "said")).metadata == {"a": "b"}
        assert await keys(two) == ["parts", "renamed", "said"]
        assert await two.get("parts") == await one.get("parts")

    with_sites(test)


def test_versions_take_part_with_what_is_current() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        for site in (one, two):
            await site.store.set_versioning(ALICE, "photos", "Enabled")
        await one.put("k", b"1")
        await settle(one, two)
        await one.put("k", b"2")
        await settle(one, two)
        assert await two.get("k") == b"2"
        marker = await one.store.delete(ALICE, "photos", "k")
        await settle(one, two)
        assert await keys(two) == []
        await one.store.delete(ALICE, "photos", "k", version_id=marker.marker_version_id)
        assert await one.get("k") == b"2"
        assert len((await two.store.list_versions(ALICE, "photos", ListQuery())).objects) == 3

    with_sites(test)


def test_a_note_is_looked_at_again_once_its_write_must_have_ended() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        bucket = await one.store.directory.find(ALICE, "photos")
        await one.store.announce(bucket, object_key(bucket, b"slow"))  # and the proxy is slow
        await settle(one, two)
        await linked(one, "", key="")
        await one.put("slow", b"late")  # the write without a note of its own
        await linked(one, "//us/two/AUTH_alice/photos")
        await settle(one, two, rounds=30)
        assert await two.get("slow") == b"late"

    with_sites(test)


def test_a_peer_that_is_named_no_more_is_forgotten_with_its_notes() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        await one.put("k")
        await linked(one, "", key="")
        assert await left(one) == 1
        await asyncio.sleep(400)
        await settle(one)
        assert await left(one) == 0
        assert await one.store.sync_state(ALICE, "photos") is None
        assert await keys(two) == []

    with_sites(test)


def test_another_host_with_the_lease_does_the_work() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        await one.daemon.run()
        rival = Site(network, "one")
        rival.daemon._leases, rival.daemon._states = one.daemon._leases, one.daemon._states
        assert not await rival.daemon._renew(at_once=True)
        await asyncio.sleep(40)
        assert await rival.daemon._renew(at_once=True)
        assert not await one.daemon._renew(at_once=True)
        await rival.store.aclose()

    with_sites(test)


def test_what_a_peer_has_no_room_for_does_not_hold_up_the_rest_and_is_tried_again() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        await two.store.set_container(ALICE.at("alice"), "photos", ContainerChange(metadata={"quota-bytes": "100"}))
        await asyncio.sleep(2)
        await one.put("large", noise(1000))
        await one.put("small", b"1")
        await settle(one)
        assert await keys(two) == ["small"]
        assert (await state(one)).error == "the peer answered 413 for large"
        await two.store.set_container(ALICE.at("alice"), "photos", ContainerChange(metadata={"quota-bytes": ""}))
        await asyncio.sleep(400)
        await settle(one)
        assert await keys(two) == ["large", "small"]
        assert (await state(one)).error == ""

    with_sites(test)


def test_what_only_its_owner_can_open_is_skipped_and_counted() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        sealed = Attributes(encryption=Wish(customer_key=bytes(range(32))))
        await one.put("sealed", b"1", attributes=sealed)
        await one.put("by the store", noise(9000), attributes=Attributes(encryption=Wish("AES256")))
        await settle(one)
        assert await keys(two) == ["by the store"]
        assert await two.get("by the store") == await one.get("by the store")
        assert (await state(one)).skipped >= 1

    with_sites(test)


def test_a_link_goes_as_a_link_and_a_peers_container_that_is_not_there_is_waited_for() -> None:
    async def test(network: Network, one: Site, two: Site) -> None:
        await one.store.create_bucket(ALICE, "links")
        await linked(one, "//us/two/AUTH_alice/links", bucket="links")
        link = Attributes(headers={"x-symlink-target": "photos/o"})
        await one.store.put(ALICE, "links", "l", Bytes(b""), attributes=link, expected=Expected())
        await settle(one)
        await two.store.create_bucket(ALICE, "links")
        await two.store.set_container(ALICE.at("alice"), "links", ContainerChange(sync_key=KEY))
        await asyncio.sleep(400)
        await settle(one)
        assert (await two.store.head(ALICE, "links", "l")).headers == {"x-symlink-target": "photos/o"}

    with_sites(test)
