import asyncio

import pytest

from objstore.core.encryption import Wish
from objstore.core.rows import RowKey, Space
from objstore.errors import InvalidRequest, NoSuchKey, PreconditionFailed, QuorumLost
from objstore.objects.api import Attributes, Conditions, Expected
from objstore.objects.reclaim import PartReclaimer
from tests.support.bodies import sent
from tests.support.store_rig import ALICE, Rig, noise, with_rig

GRACE_S = 900.0


async def make(rig: Rig, key: str, data: bytes, how: str) -> None:
    attributes = Attributes(content_type="text/plain", metadata={"a": "1"}, tags={"t": "2"})
    if how == "put":
        await rig.put(key, data, attributes=attributes)
        return
    upload = await rig.store.create_upload(ALICE, "photos", key, attributes=attributes)
    half = max(len(data) // 2, 1000)
    parts = [await rig.part(key, upload.upload_id, n, piece) for n, piece in enumerate((data[:half], data[half:]), 1)]
    await rig.complete(key, upload.upload_id, parts)


async def reclaimed(rig: Rig) -> None:
    reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
    for _ in range(4):
        await asyncio.sleep(GRACE_S + 1)
        await reclaimer.step(await rig.id(), 0)


@pytest.mark.parametrize(("how", "size"), [("put", 0), ("put", 10), ("put", 9000), ("multipart", 9000)])
def test_an_object_takes_all_that_it_is_to_its_new_name(how: str, size: int) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        await make(rig, "old", data, how)
        before = await rig.store.head(ALICE, "photos", "old")
        await rig.put("new", b"replaced")
        info = await rig.store.rename(ALICE, "photos", "old", "new")
        after = await rig.store.head(ALICE, "photos", "new")
        assert (after.etag, after.checksums, after.metadata, after.tags) == (before.etag, before.checksums, before.metadata, before.tags)
        assert (after.modified_us, after.part_count, info.etag) == (before.modified_us, before.part_count, before.etag)
        assert await rig.get("new") == data
        with pytest.raises(NoSuchKey):
            await rig.get("old")
        await reclaimed(rig)
        assert await rig.get("new") == data
        await rig.store.delete(ALICE, "photos", "new")
        await reclaimed(rig)
        assert await rig.live_parts() == 0
        assert rig.registers.blobs == {}

    with_rig(test)


def test_parts_follow_through_many_names_and_appends() -> None:
    async def test(rig: Rig) -> None:
        whole = noise(9000)
        await make(rig, "n0", whole, "multipart")
        for turn in range(5):
            await rig.store.rename(ALICE, "photos", f"n{turn}", f"n{turn + 1}")
            data = noise(500)
            await rig.store.append(
                ALICE, "photos", f"n{turn + 1}", sent(data), offset=len(whole), attributes=Attributes(), expected=Expected()
            )  # fmt: skip
            whole += data
            await reclaimed(rig)
            assert await rig.get(f"n{turn + 1}") == whole
        await rig.store.rename(ALICE, "photos", "n5", "n0")  # back to where the first parts were written
        await rig.put("n1", b"other")
        await reclaimed(rig)
        assert await rig.get("n0") == whole
        assert (await rig.store.list_uploads(ALICE, "photos")).uploads == []

    with_rig(test)


def test_conditions_on_both_names() -> None:
    async def test(rig: Rig) -> None:
        old = await rig.put("old", b"old")
        with pytest.raises(NoSuchKey):
            await rig.store.rename(ALICE, "photos", "never", "new")
        with pytest.raises(InvalidRequest):
            await rig.store.rename(ALICE, "photos", "old", "old")
        with pytest.raises(PreconditionFailed):
            await rig.store.rename(ALICE, "photos", "old", "new", source_conditions=Conditions(if_match=("x",)))
        there = await rig.put("new", b"there")
        for conditions in (
            Conditions(if_none_match=("*",)), Conditions(if_match=("x",)), Conditions(if_modified_since_us=there.modified_us + 10**6),
            Conditions(if_unmodified_since_us=there.modified_us - 10**7),
        ):  # fmt: skip
            with pytest.raises(PreconditionFailed):
                await rig.store.rename(ALICE, "photos", "old", "new", conditions=conditions)
        assert await rig.get("new") == b"there"
        await rig.store.rename(
            ALICE, "photos", "old", "new", conditions=Conditions(if_match=(there.etag,)), source_conditions=Conditions(if_match=(old.etag,))
        )
        assert await rig.get("new") == b"old"

    with_rig(test)


@pytest.mark.parametrize("how", ["put", "multipart"])
def test_a_rename_that_was_cut_short_is_finished_by_its_token(how: str) -> None:
    async def test(rig: Rig) -> None:
        data = noise(9000)
        await make(rig, "old", data, how)

        async def fail(what: str, key: RowKey) -> None:
            if what == "conditional" and key.name == b"old" and key.space == Space.OBJECTS:
                raise QuorumLost("too few")

        rig.cluster.before = fail
        with pytest.raises(QuorumLost):
            await rig.store.rename(ALICE, "photos", "old", "new", token="t", conditions=Conditions(if_none_match=("*",)))
        rig.cluster.before = None
        assert await rig.get("old") == await rig.get("new") == data
        for _ in range(2):
            await rig.store.rename(ALICE, "photos", "old", "new", token="t", conditions=Conditions(if_none_match=("*",)))
            assert await rig.get("new") == data
            with pytest.raises(NoSuchKey):
                await rig.get("old")
        with pytest.raises(NoSuchKey):
            await rig.store.rename(ALICE, "photos", "old", "new", token="other")

    with_rig(test)


def test_what_is_written_to_the_old_name_meanwhile_stays() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("old", b"first")

        async def overwrite(what: str, key: RowKey) -> None:
            if what == "conditional" and key.name == b"old":
                rig.cluster.before = None
                await rig.peer().put("old", b"second")

        rig.cluster.before = overwrite
        await rig.store.rename(ALICE, "photos", "old", "new")
        assert (await rig.get("new"), await rig.get("old")) == (b"first", b"second")

    with_rig(test)


def test_in_a_versioned_bucket_old_versions_keep_their_name() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, "photos", "Enabled")
        one = await rig.put("old", b"one")
        two = await rig.put("old", b"two")
        info = await rig.store.rename(ALICE, "photos", "old", "new")
        assert info.version_id not in ("", two.version_id)
        assert await rig.get("new") == b"two"
        assert await rig.get("old", version_id=one.version_id) == b"one"
        with pytest.raises(NoSuchKey) as gone:
            await rig.get("old")
        assert gone.value.facts["marker"]

    with_rig(test)


def test_a_large_object_is_renamed_without_moving_its_bytes() -> None:
    async def test(rig: Rig) -> None:
        for wish in (Wish(), Wish("AES256")):
            data = noise(9000)
            before = await rig.put("from", data, attributes=Attributes(encryption=wish))
            staged = rig.cluster.counts["stage"]
            for source, key in (("from", "one"), ("one", "two"), ("two", "from")):
                info = await rig.store.rename(ALICE, "photos", source, key)
                assert (info.etag, info.checksums, info.part_count) == (before.etag, before.checksums, 0)
            assert (await rig.get("from"), rig.cluster.counts["stage"]) == (data, staged)
            assert len(rig.registers.blobs) == 1
            await rig.store.delete(ALICE, "photos", "from")
            reclaimer = PartReclaimer(rig.cluster, rig.clock)
            for _ in range(3):
                await asyncio.sleep(1000)
                await reclaimer.run()
            assert rig.registers.blobs == {}

    with_rig(test)


def test_a_refused_rename_gives_its_share_of_the_body_back() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("from", noise(9000))

        async def rival(what: str, key: RowKey) -> None:
            if what == "conditional" and key.name == b"to":
                rig.cluster.before = None
                await rig.put("to", b"y")

        rig.cluster.before = rival
        with pytest.raises(PreconditionFailed):
            await rig.store.rename(ALICE, "photos", "from", "to", conditions=Conditions(if_none_match=("*",)))
        assert await rig.live_parts() == 0
        assert len(await rig.get("from")) == 9000

    with_rig(test)
