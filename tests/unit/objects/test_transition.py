"""Transitions move bytes between rings and change nothing that clients see."""

import asyncio
import dataclasses
from typing import Any

import pytest

from objstore.core.encryption import AES256, Wish
from objstore.core.names import policy_of, split_part_name
from objstore.core.rows import Row, RowKey
from objstore.core.versions import ENABLED
from objstore.errors import DamagedBody, PreconditionFailed, QuorumLost
from objstore.objects import transition
from objstore.objects.actions import Action
from objstore.objects.api import Attributes, ObjectInfo
from objstore.objects.expire import Expirer
from objstore.objects.reclaim import PartReclaimer
from objstore.objects.transition import Mover
from tests.support.bodies import content
from tests.support.store_rig import ALICE, SETTINGS, Rig, noise, with_rig

IA = "STANDARD_IA"
TWO = dataclasses.replace(SETTINGS, storage_classes={IA: "cold", "GLACIER_IR": "dark"})
LARGE = noise(20_000)
GRACE_S = 900.0


async def move(rig: Rig, key: str, storage_class: str, *, version_id: str = "") -> bool:
    """A rule's act on what is there now."""
    bucket = await rig.store.open_bucket(ALICE, rig.bucket, Action.READ_BUCKET)
    seen = await rig.store.find_version(bucket, key, version_id)
    return await Expirer(rig.store).transition(bucket, key.encode(), seen, storage_class, current=not version_id)


def blobs(rig: Rig) -> tuple[int, int, int]:
    return len(rig.registers.blobs), len(rig.rings["cold"].registers.blobs), len(rig.rings["dark"].registers.blobs)


def same(info: ObjectInfo) -> tuple[Any, ...]:
    """What must stay."""
    return (
        info.etag,
        info.size,
        info.modified_us,
        info.version_id,
        info.metadata,
        info.tags,
        info.part_count,
        info.checksums,
        info.checksum_type,
    )


async def reclaim(rig: Rig) -> None:
    reclaimer = PartReclaimer(rig.whole, rig.clock, grace_s=GRACE_S)
    for _ in range(4):
        await reclaimer.run()
        await asyncio.sleep(GRACE_S + 1)


def test_an_object_goes_from_ring_to_ring_and_back() -> None:
    async def test(rig: Rig) -> None:
        attributes = Attributes(content_type="text/plain", metadata={"a": "b"}, tags={"t": "1"})
        before = same(await rig.put("k", LARGE, attributes=attributes))
        for storage_class, where in ((IA, (0, 1, 0)), ("GLACIER_IR", (0, 0, 1)), ("ONEZONE_IA", (1, 0, 0)), (IA, (0, 1, 0))):
            await asyncio.sleep(100)
            assert await move(rig, "k", storage_class)
            info = await rig.store.head(ALICE, rig.bucket, "k")
            assert info.storage_class == storage_class
            assert same(info) == before
            assert await rig.get("k") == LARGE
            await reclaim(rig)
            assert blobs(rig) == where
            assert await rig.get("k") == LARGE

    with_rig(test, settings=TWO)


def test_a_class_without_a_policy_of_its_own_moves_nothing() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", LARGE)
        await rig.put("small", b"few bytes")
        assert await move(rig, "k", "ONEZONE_IA")
        assert await move(rig, "small", IA)
        assert rig.cluster.counts["stage"] == 1
        assert blobs(rig) == (1, 0, 0)
        assert (await rig.store.head(ALICE, rig.bucket, "small")).storage_class == IA

    with_rig(test, settings=TWO)


def test_sealed_bodies_move_without_their_key() -> None:
    async def test(rig: Rig) -> None:
        before = same(await rig.put("k", LARGE, attributes=Attributes(encryption=Wish(algorithm=AES256))))
        assert await move(rig, "k", IA)
        assert blobs(rig) == (0, 1, 0)
        assert await rig.get("k") == LARGE
        assert await move(rig, "k", "GLACIER_IR")
        assert await rig.get("k") == LARGE
        assert same(await rig.store.head(ALICE, rig.bucket, "k")) == before

    with_rig(test, settings=TWO)


def test_parts_are_moved_some_at_a_time_and_the_class_changes_with_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transition, "MOVE_FOR_S", 5.0)

    async def test(rig: Rig) -> None:
        parts = [noise(9000), noise(8000), noise(7000), noise(100)]
        upload_id, sent = await rig.upload("m", parts)
        before = same(await rig.complete("m", upload_id, sent))
        seen: list[tuple[str, int]] = []

        async def slow(what: str, key: RowKey) -> None:
            if what == "stage":
                await asyncio.sleep(4)
            row = await rig.row("m")
            assert row is not None
            state = (row.storage_class, sum(policy_of(part.name) == "cold" for part in row.parts))
            if not seen or seen[-1] != state:
                seen.append(state)
                assert await content(await rig.store.get(ALICE, rig.bucket, "m")) == b"".join(parts)

        rig.rings["cold"].before = slow
        assert await move(rig, "m", IA)
        rig.rings["cold"].before = None
        assert seen == [("", 0), ("", 2)]
        info = await rig.store.head(ALICE, rig.bucket, "m")
        assert (same(info), info.storage_class) == (before, IA)
        await reclaim(rig)
        assert blobs(rig) == (0, 3, 0)
        assert await rig.get("m") == b"".join(parts)
        assert await rig.get("m", part_number=3) == parts[2]

    with_rig(test, settings=TWO)


@pytest.mark.parametrize("slow_one", [0, 1, 2])
def test_a_part_that_takes_very_long_costs_none_of_the_others(slow_one: int) -> None:
    async def test(rig: Rig) -> None:
        parts = [noise(9000), noise(8000), noise(7000)]
        upload_id, sent = await rig.upload("m", parts)
        before = same(await rig.complete("m", upload_id, sent))
        reclaimer = PartReclaimer(rig.whole, rig.clock, grace_s=GRACE_S)
        staged = 0

        async def slow(what: str, key: RowKey) -> None:
            nonlocal staged
            if what == "stage" and split_part_name(key.name)[1] == slow_one + 1:
                staged += 1
                for _ in range(30):  # all the while the rows of other parts wait, and somebody looks for garbage
                    await asyncio.sleep(100)
                    await reclaimer.run()

        await asyncio.sleep(2 * GRACE_S)
        rig.rings["cold"].before = slow
        assert await move(rig, "m", IA)
        rig.rings["cold"].before = None
        assert staged == (1 if slow_one == 0 else 2)
        info = await rig.store.head(ALICE, rig.bucket, "m")
        assert (same(info), info.storage_class) == (before, IA)
        assert await rig.get("m") == b"".join(parts)
        await reclaim(rig)
        assert blobs(rig) == (0, 3, 0)

    with_rig(test, settings=TWO)


def test_copies_that_could_not_be_named_in_time_are_not_named() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", LARGE)

        async def slow(what: str, key: RowKey) -> None:
            if what == "conditional":
                await asyncio.sleep(2000)

        rig.cluster.before = slow
        assert not await move(rig, "k", IA)
        rig.cluster.before = None
        assert await rig.get("k") == LARGE
        assert (await rig.store.head(ALICE, rig.bucket, "k")).storage_class == ""
        assert await move(rig, "k", IA)
        assert await rig.get("k") == LARGE

    with_rig(test, settings=TWO)


def test_old_versions_move_too() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, ENABLED)
        old = await rig.put("k", LARGE)
        new = await rig.put("k", noise(15_000))
        assert await move(rig, "k", IA, version_id=old.version_id)
        assert blobs(rig) == (1, 1, 0)
        info = await rig.store.head(ALICE, rig.bucket, "k", version_id=old.version_id)
        assert (same(info), info.storage_class) == ((*same(old)[:3], old.version_id, *same(old)[4:]), IA)
        assert await rig.get("k", version_id=old.version_id) == LARGE
        assert (await rig.store.head(ALICE, rig.bucket, "k")).version_id == new.version_id
        await reclaim(rig)
        assert blobs(rig) == (1, 1, 0)

    with_rig(test, settings=TWO)


def test_an_object_that_is_written_meanwhile_stays_as_it_is() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", LARGE)
        written = False

        async def rewrite(what: str, key: RowKey) -> None:
            nonlocal written
            if what == "stage" and not written:
                written = True
                await rig.put("k", b"newer")

        rig.rings["cold"].before = rewrite
        assert not await move(rig, "k", IA)
        assert await rig.get("k") == b"newer"
        await reclaim(rig)
        assert blobs(rig) == (0, 0, 0)

    with_rig(test, settings=TWO)


def test_a_ring_that_is_away_leaves_the_object_where_it_is() -> None:
    async def test(rig: Rig) -> None:
        async def away(what: str, key: RowKey) -> None:
            raise QuorumLost("too few replicas answered")

        await rig.put("k", LARGE)
        rig.rings["cold"].before = away
        assert not await move(rig, "k", IA)
        assert await rig.get("k") == LARGE
        assert blobs(rig) == (1, 0, 0)

    with_rig(test, settings=TWO)


def test_damage_is_not_carried_along() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", LARGE)
        (blob,) = rig.registers.blobs
        rig.registers.blobs[blob] = noise(len(LARGE))  # as a node would never serve it
        bucket = await rig.store.open_bucket(ALICE, rig.bucket, Action.READ_BUCKET)
        seen = await rig.store.find_version(bucket, "k", "")
        with pytest.raises(DamagedBody):
            await Mover(rig.store).move(bucket, "k", "", seen, IA)
        assert not await move(rig, "k", IA)
        assert blobs(rig) == (1, 0, 0)
        assert rig.rings["cold"].registers.staged == {}

    with_rig(test, settings=TWO)


def test_another_version_than_the_one_that_was_judged_is_refused() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"one")
        bucket = await rig.store.open_bucket(ALICE, rig.bucket, Action.READ_BUCKET)
        seen: Row = await rig.store.find_version(bucket, "k", "")
        await rig.put("k", b"two")
        with pytest.raises(PreconditionFailed):
            await Mover(rig.store).move(bucket, "k", "", seen, IA)

    with_rig(test, settings=TWO)
