import asyncio

import pytest

from objstore.core.rows import RowKey
from objstore.errors import ConditionalConflict, NoSuchKey, NoSuchVersion
from tests.support.store_rig import ALICE, Rig, noise, with_rig


@pytest.mark.parametrize("size", [0, 100, 9000])
def test_tags_change_and_nothing_else_does(size: int) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        before = await rig.put("k", data)
        await asyncio.sleep(5)
        after = await rig.store.set_tags(ALICE, "photos", "k", {"a": "1"})
        assert after.tags == {"a": "1"}
        assert (after.etag, after.modified_us, after.checksums) == (before.etag, before.modified_us, before.checksums)
        assert await rig.get("k") == data
        assert (await rig.store.set_tags(ALICE, "photos", "k", {}, version_id="null")).tags == {}
        assert await rig.get("k") == data

    with_rig(test)


def test_tags_of_a_multipart_object_leave_its_parts_alone() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", [b"x" * 5000, b"y"])
        await rig.complete("k", upload_id, parts)
        assert (await rig.store.set_tags(ALICE, "photos", "k", {"a": "1"})).part_count == 2
        assert await rig.get("k") == b"x" * 5000 + b"y"

    with_rig(test)


def test_what_is_not_there_cannot_be_tagged() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(NoSuchKey):
            await rig.store.set_tags(ALICE, "photos", "k", {})
        await rig.put("k")
        with pytest.raises(NoSuchVersion):
            await rig.store.set_tags(ALICE, "photos", "k", {}, version_id="0" * 24)

    with_rig(test)


def test_tags_never_bring_back_bytes_that_were_overwritten() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"old")

        async def overwrite(what: str, key: RowKey) -> None:
            if what == "conditional":
                rig.cluster.before = None
                await rig.peer().put("k", b"new")

        rig.cluster.before = overwrite
        assert (await rig.store.set_tags(ALICE, "photos", "k", {"a": "1"})).tags == {"a": "1"}
        assert await rig.get("k") == b"new"

    with_rig(test)


def test_tagging_gives_up_when_the_object_never_rests() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")

        async def overwrite(what: str, key: RowKey) -> None:
            if what == "conditional":
                await rig.peer().put("k")

        rig.cluster.before = overwrite
        with pytest.raises(ConditionalConflict):
            await rig.store.set_tags(ALICE, "photos", "k", {})

    with_rig(test)
