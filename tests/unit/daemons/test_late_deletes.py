"""What is to be removed later goes as it was when that was asked, however often the daemon dies."""

import asyncio

import pytest

from objstore.daemons.late_deletes import LateDeletes
from objstore.errors import AccessDenied, QuorumLost
from objstore.objects.api import ListQuery
from objstore.objects.doomed import doomed_rows
from tests.support.memory_cluster import memory_world
from tests.support.store_rig import ALICE, BOB, Rig, with_rig


def daemon(rig: Rig) -> LateDeletes:
    return LateDeletes(rig.store, memory_world(rig.clock), holder="host")


async def names(rig: Rig) -> list[str]:
    return [info.key for info in (await rig.store.list(ALICE, rig.bucket, ListQuery())).objects]


def test_objects_go_as_they_were_and_what_was_written_since_stays() -> None:
    async def test(rig: Rig) -> None:
        for key in ("a", "b", "c", "other"):
            await rig.put(key)
        await asyncio.sleep(1)
        await rig.store.delete_later(ALICE, rig.bucket, ["a", "b", "c", "never"])
        assert await names(rig) == ["a", "b", "c", "other"]
        await asyncio.sleep(1)
        await rig.put("b", b"newer")
        found = daemon(rig)
        assert await found.run() == 3
        assert await names(rig) == ["b", "other"]
        assert (await doomed_rows(rig.cluster, b"", 10))[0] == []
        assert await found.run() == 0

    with_rig(test)


def test_who_may_not_delete_each_of_them_has_nothing_removed() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("a")
        with pytest.raises(AccessDenied):
            await rig.store.delete_later(BOB.at("alice"), rig.bucket, ["a"])
        assert (await doomed_rows(rig.cluster, b"", 10))[0] == []

    with_rig(test)


def test_a_daemon_that_dies_on_the_way_begins_the_record_again() -> None:
    async def test(rig: Rig) -> None:
        keys = [f"{number:03d}" for number in range(250)]
        for key in keys:
            await rig.put(key)
        await asyncio.sleep(1)
        await rig.store.delete_later(ALICE, rig.bucket, keys)
        dying = asyncio.create_task(daemon(rig).run())
        while len(await names(rig)) > 150:
            await asyncio.sleep(0)
        dying.cancel()
        with pytest.raises(asyncio.CancelledError):
            await dying
        assert await names(rig)
        assert await daemon(rig).run() == 0  # its lease still holds
        await asyncio.sleep(31)
        assert await daemon(rig).run() > 0
        assert await names(rig) == []
        assert (await doomed_rows(rig.cluster, b"", 10))[0] == []

    with_rig(test)


def test_what_cannot_be_reached_is_tried_again_and_a_bucket_that_is_gone_is_done_with() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("a")
        await asyncio.sleep(1)
        await rig.store.delete_later(ALICE, rig.bucket, ["a"])
        found = daemon(rig)
        whole = rig.store.cluster.conditional

        async def lost(key: object, *arguments: object, **rest: object) -> object:
            if getattr(key, "name", b"") == b"a":
                raise QuorumLost("two replicas are away")
            return await whole(key, *arguments, **rest)  # type: ignore[arg-type] # handed on

        rig.cluster.conditional = lost  # type: ignore[assignment] # for a while
        assert await found.run() == 0
        rig.cluster.conditional = whole  # type: ignore[method-assign] # as it was
        assert await found.run() == 0  # not at once
        await asyncio.sleep(31)
        assert await found.run() == 1
        await rig.store.delete_later(ALICE, rig.bucket, ["a"])
        await rig.store.delete_bucket(ALICE, rig.bucket)
        await rig.store.create_bucket(ALICE, rig.bucket)
        await rig.put("a")
        assert await found.run() == 0
        assert await names(rig) == ["a"]
        assert (await doomed_rows(rig.cluster, b"", 10))[0] == []

    with_rig(test)
