import asyncio
from typing import Any

import pytest

from objstore.core import checksums
from objstore.core.locks import LockConfig
from objstore.core.rows import RowKey, Space
from objstore.errors import BadDigest, InvalidWriteOffset, NoSuchKey, PreconditionFailed, TooManyParts
from objstore.objects import append as appending
from objstore.objects.api import Attributes, Conditions, Expected, ObjectInfo
from objstore.objects.reclaim import PartReclaimer
from tests.support.bodies import SlowBody, sent
from tests.support.store_rig import ALICE, Rig, noise, with_rig


async def append(rig: Rig, data: bytes, offset: int, **rest: Any) -> ObjectInfo:
    rest.setdefault("attributes", Attributes())
    rest.setdefault("expected", Expected())
    return await rig.store.append(ALICE, "photos", "k", sent(data, piece=1000), offset=offset, **rest)


@pytest.mark.parametrize("size", [0, 10, 4097, 300_000])
@pytest.mark.parametrize("made", ["append", "put", "multipart"])
def test_what_is_appended_stands_behind_what_was_there(made: str, size: int) -> None:
    async def test(rig: Rig) -> None:
        whole = noise(size)
        attributes = Attributes(content_type="text/plain", metadata={"a": "1"})
        if made == "append":
            await append(rig, whole, 0, attributes=attributes)
        elif made == "put":
            await rig.put("k", whole, attributes=attributes)
        else:
            upload = await rig.store.create_upload(ALICE, "photos", "k", attributes=attributes)
            await rig.complete("k", upload.upload_id, [await rig.part("k", upload.upload_id, 1, whole)])
        for more in (noise(100), noise(1), noise(9000), noise(50), b""):
            info = await append(rig, more, len(whole))
            whole += more
            assert info.size == len(whole)
            assert await rig.get("k") == whole
            assert (info.content_type, info.metadata) == ("text/plain", {"a": "1"})
            assert info.checksums == {"crc64nvme": checksums.digest_of("crc64nvme", whole)}
        assert (await rig.store.head(ALICE, "photos", "k")).etag == info.etag

    with_rig(test)


def test_any_other_offset_is_refused_and_leaves_nothing() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(InvalidWriteOffset):
            await append(rig, b"x", 1)
        await append(rig, b"12345", 0)
        for offset in (0, 4, 6):
            with pytest.raises(InvalidWriteOffset):
                await append(rig, b"x", offset)
        with pytest.raises(BadDigest):
            await append(rig, b"x", 5, expected=Expected(md5=bytes(16)))
        assert await rig.get("k") == b"12345"
        assert await rig.live_parts() == 0

    with_rig(test)


def test_of_many_appends_at_one_offset_one_wins() -> None:
    async def test(rig: Rig) -> None:
        await append(rig, b"begin", 0)
        outcomes = await asyncio.gather(*(append(rig.peer(), bytes([i]) * 7, 5) for i in range(8)), return_exceptions=True)
        assert sorted(type(outcome) is ObjectInfo for outcome in outcomes) == [False] * 7 + [True]
        assert all(isinstance(outcome, ObjectInfo | InvalidWriteOffset) for outcome in outcomes)
        assert len(await rig.get("k")) == 12
        first = await asyncio.gather(*(rig.peer().store.append(
            ALICE, "photos", "new", sent(b"x"), offset=0, attributes=Attributes(), expected=Expected()) for _ in range(5)
        ), return_exceptions=True)  # fmt: skip
        assert sum(isinstance(outcome, ObjectInfo) for outcome in first) == 1

    with_rig(test)


def test_an_object_that_is_replaced_meanwhile_keeps_its_new_bytes() -> None:
    async def test(rig: Rig) -> None:
        await append(rig, b"12345", 0)

        async def overwrite(what: str, key: RowKey) -> None:
            if what == "conditional":
                rig.cluster.before = None
                await rig.peer().put("k", b"54321")

        rig.cluster.before = overwrite
        with pytest.raises(InvalidWriteOffset):
            await append(rig, b"x", 5)
        assert await rig.get("k") == b"54321"
        assert await rig.live_parts() == 0

    with_rig(test)


@pytest.mark.parametrize("size", [10, 300_000])
def test_an_append_that_comes_slowly_keeps_what_was_there(size: int) -> None:
    async def test(rig: Rig) -> None:
        whole, more = noise(size), noise(50_000)
        await rig.put("k", whole)
        await asyncio.sleep(2000)
        slow = SlowBody(more, 4000.0)
        appended = asyncio.ensure_future(
            rig.store.append(ALICE, "photos", "k", slow, offset=size, attributes=Attributes(), expected=Expected())
        )
        reclaimer = PartReclaimer(rig.cluster, rig.clock)
        while not appended.done():
            await asyncio.sleep(150)
            assert (await reclaimer.step(await rig.id(), 0)).dropped == 0
        assert (await appended).size == size + len(more)
        assert await rig.get("k") == whole + more

    with_rig(test)


@pytest.mark.parametrize("what", ["replaced", "deleted"])
def test_an_object_in_one_piece_that_is_not_there_any_more_when_all_bytes_came_is_not_appended_to(what: str) -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"12345")
        slow = SlowBody(noise(50_000), 100.0)
        appended = asyncio.ensure_future(
            rig.store.append(ALICE, "photos", "k", slow, offset=5, attributes=Attributes(), expected=Expected())
        )
        await asyncio.sleep(50)
        if what == "replaced":
            await rig.put("k", b"54321")
        else:
            await rig.store.delete(ALICE, "photos", "k")
        with pytest.raises(InvalidWriteOffset):
            await appended
        assert await rig.live_parts() == 0

    with_rig(test)


def test_conditions_are_judged_with_the_append() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(NoSuchKey):
            await append(rig, b"x", 0, conditions=Conditions(if_match=("*",)))
        info = await append(rig, b"x", 0, conditions=Conditions(if_none_match=("*",)))
        with pytest.raises(PreconditionFailed):
            await append(rig, b"x", 1, conditions=Conditions(if_none_match=("*",)))
        with pytest.raises(PreconditionFailed):
            await append(rig, b"x", 1, conditions=Conditions(if_match=("other",)))
        await append(rig, b"y", 1, conditions=Conditions(if_match=(info.etag,)))
        assert await rig.get("k") == b"xy"

    with_rig(test)


def test_small_appends_gather_and_replaced_pieces_are_reclaimed() -> None:
    async def test(rig: Rig) -> None:
        whole = b""
        for _ in range(100):
            data = noise(20)
            await append(rig, data, len(whole))
            whole += data
        row = await rig.row("k")
        assert row is not None
        assert len(row.parts) < 12
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=900)
        for _ in range(3):
            await asyncio.sleep(901)
            await reclaimer.step(await rig.id(), 0)
        assert await rig.live_parts() == len(row.parts)
        assert await rig.get("k") == whole

    with_rig(test)


def test_in_a_versioned_bucket_each_append_is_a_version_of_its_own() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, "photos", "Enabled")
        await rig.store.set_lock_config(ALICE, "photos", LockConfig(mode="GOVERNANCE", days=1))
        one = await append(rig, b"one", 0)
        two = await append(rig, b"two" * 3000, 3)
        three = await append(rig, b"three", 9003)
        assert two.lock_mode == three.lock_mode == "GOVERNANCE"
        for info, body in ((one, b"one"), (two, b"one" + b"two" * 3000), (three, b"one" + b"two" * 3000 + b"three")):
            assert await rig.get("k", version_id=info.version_id) == body
        await rig.store.delete(ALICE, "photos", "k", version_id=three.version_id, bypass=True)
        assert await rig.get("k") == b"one" + b"two" * 3000

    with_rig(test)


def test_there_is_a_limit_to_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.core.append.MAX_PIECES", 2)

    async def test(rig: Rig) -> None:
        await rig.put("k", noise(5000))
        await append(rig, noise(5000), 5000)
        with pytest.raises(TooManyParts):
            await append(rig, noise(10), 10_000)
        assert len(await rig.get("k")) == 10_000
        assert len(rig.registers.live_names(await rig.id(), Space.PARTS)) == 2

    assert appending.COMPLETE_WITHIN_S < 900
    with_rig(test)
