import asyncio

import pytest

from objstore.core.rows import SYSTEM_BUCKET, RowKey, Space
from objstore.errors import OutcomeUnknown, QuorumLost
from objstore.objects.access import Action
from objstore.objects.parts import sweep_bucket
from objstore.objects.reclaim import PartReclaimer
from tests.support.bodies import content
from tests.support.store_rig import ALICE, Rig, noise, with_rig

GRACE_S = 900.0
DATA = [noise(5000), noise(2000)]


async def look(reclaimer: PartReclaimer, rig: Rig, limit: int = 1000) -> int:
    """One whole pass; how many rows went."""
    bucket = await rig.id()
    start: bytes | None = b""
    dropped = 0
    while start is not None:
        step = await reclaimer.step(bucket, 0, start=start, limit=limit)
        start, dropped = step.next_start, dropped + step.dropped
    return dropped


@pytest.mark.parametrize("limit", [1, 1000])
@pytest.mark.parametrize("how", ["overwritten", "deleted"])
def test_parts_of_a_replaced_object_go_after_the_grace(how: str, limit: int) -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        upload_id, parts = await rig.upload("k", DATA)
        await rig.complete("k", upload_id, parts)
        await asyncio.sleep(10_000)
        assert await look(reclaimer, rig, limit) == 0
        if how == "overwritten":
            await rig.put("k")
        else:
            await rig.store.delete(ALICE, "photos", "k")
        assert await look(reclaimer, rig, limit) == 0
        await asyncio.sleep(GRACE_S / 2)
        assert await look(reclaimer, rig, limit) == 0
        await asyncio.sleep(GRACE_S)
        dropped = await look(reclaimer, rig, limit) + await look(reclaimer, rig, limit)
        await asyncio.sleep(GRACE_S)
        dropped += await look(reclaimer, rig, limit)
        assert dropped == 2
        assert await rig.live_parts() == 0
        assert rig.registers.blobs == {}

    with_rig(test)


def test_parts_of_objects_and_of_uploads_in_progress_stay_for_ever() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        upload_id, parts = await rig.upload("k", DATA)
        await rig.complete("k", upload_id, parts)
        pending, pending_parts = await rig.upload("k", DATA)
        for _ in range(5):
            await asyncio.sleep(2 * GRACE_S)
            assert await look(reclaimer, rig) == 0
        assert await rig.get("k") == b"".join(DATA)
        await rig.complete("k", pending, pending_parts)
        assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_a_reader_at_a_replaced_object_comes_to_its_end() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        upload_id, parts = await rig.upload("k", DATA)
        await rig.complete("k", upload_id, parts)
        reading = await rig.store.get(ALICE, "photos", "k")
        got = [bytes(await anext(reading.chunks))]
        await rig.put("k")
        for _ in range(8):
            await look(reclaimer, rig)
            await asyncio.sleep(100)
        async for chunk in reading.chunks:
            got.append(bytes(chunk))
        assert b"".join(got) == b"".join(DATA)

    with_rig(test)


def test_what_seemed_garbage_and_is_named_later_stays() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        upload_id, parts = await rig.upload("k", DATA)
        peer = rig.peer()
        paused = asyncio.Event()

        async def pause(what: str, key: RowKey) -> None:
            if what == "write" and key.space == Space.OBJECTS:
                paused.set()
                await asyncio.sleep(30)

        peer.cluster.before = pause
        completing = asyncio.ensure_future(peer.complete("k", upload_id, parts))
        await paused.wait()
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)  # a completion has begun: the parts stay
        assert await rig.live_parts() == 2
        assert await look(reclaimer, rig) == 0
        await completing
        await asyncio.sleep(2 * GRACE_S)
        assert await look(reclaimer, rig) == 0
        assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_the_grace_begins_anew_when_the_head_changes() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        upload_id, parts = await rig.upload("k", DATA)
        peer = rig.peer()

        async def pause(what: str, key: RowKey) -> None:
            if what == "write" and key.space == Space.OBJECTS:
                await asyncio.sleep(30)

        peer.cluster.before = pause
        completing = asyncio.ensure_future(peer.complete("k", upload_id, parts))
        await asyncio.sleep(1)
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        assert await look(reclaimer, rig) == 0  # named by nothing, for now
        await completing
        await asyncio.sleep(GRACE_S - 50)
        reading = await rig.store.get(ALICE, "photos", "k")
        await rig.put("k")
        await asyncio.sleep(60)
        assert await look(reclaimer, rig) == 0  # a grace after the first look, but the reader has only begun
        assert len(await content(reading)) == 7000
        await asyncio.sleep(GRACE_S)
        assert await look(reclaimer, rig) == 2

    with_rig(test)


def test_parts_of_an_upload_aborted_in_mid_completion_go_in_the_end() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        upload_id, parts = await rig.upload("k", DATA)

        async def fail(what: str, key: RowKey) -> None:
            if what == "write" and key.space == Space.OBJECTS:
                raise QuorumLost("too few")

        rig.cluster.before = fail
        with pytest.raises(QuorumLost):
            await rig.complete("k", upload_id, parts)
        rig.cluster.before = None
        await rig.store.abort_upload(ALICE, "photos", "k", upload_id)
        assert await look(reclaimer, rig) == 0
        await asyncio.sleep(GRACE_S + 1)
        assert await look(reclaimer, rig) == 2

    with_rig(test)


def test_an_upload_whose_completion_got_as_far_as_the_object_is_ended() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        upload_id, parts = await rig.upload("k", DATA)

        async def fail(what: str, key: RowKey) -> None:
            if what == "write" and key.space == Space.OBJECTS:
                raise OutcomeUnknown("the answers were lost")

        rig.cluster.after = fail
        with pytest.raises(OutcomeUnknown):
            await rig.complete("k", upload_id, parts)
        rig.cluster.after = None
        assert await look(reclaimer, rig) == 0
        await asyncio.sleep(GRACE_S + 1)
        assert await look(reclaimer, rig) == 1
        assert (await rig.store.list_uploads(ALICE, "photos")).uploads == []
        assert await rig.get("k") == b"".join(DATA)

    with_rig(test)


def test_what_came_late_into_a_deleted_bucket_is_swept_after_an_hour() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        bucket = await rig.store.open_bucket(ALICE, "photos", Action.WRITE_OBJECT)
        await rig.put("k")
        late = rig.registers.rows[(bucket.id, Space.OBJECTS, b"k", b"")]
        await rig.store.delete(ALICE, "photos", "k")
        await rig.store.delete_bucket(ALICE, "photos")
        rig.registers.rows[(bucket.id, Space.OBJECTS, b"late", b"")] = late
        assert await reclaimer.sweep_buckets() == 0
        await asyncio.sleep(3601)
        assert await reclaimer.sweep_buckets() == 1
        assert rig.registers.live_names(bucket.id, Space.OBJECTS) == []
        assert rig.registers.live_names(SYSTEM_BUCKET, Space.OBJECTS) == []
        await rig.store.create_bucket(ALICE, "photos")

    with_rig(test)


@pytest.mark.parametrize("limit", [1, 3, 10_000])
def test_steps_of_any_size_come_by_every_bucket(limit: int) -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        for name in ("first", "empty", "second"):
            await rig.store.create_bucket(ALICE, name)
            rig.bucket = name
            if name != "empty":
                upload_id, parts = await rig.upload("k", [b"x" * 1500, b"y" * 1500, b"z"])
                await rig.complete("k", upload_id, parts)
                await rig.store.delete(ALICE, name, "k")
        await asyncio.sleep(GRACE_S)
        assert sum([await reclaimer.run(limit=limit) for _ in range(20)]) == 0
        await asyncio.sleep(GRACE_S)
        assert sum([await reclaimer.run(limit=limit) for _ in range(20)]) == 6

    with_rig(test)


def test_parts_stay_while_any_version_names_them() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        await rig.store.set_versioning(ALICE, "photos", "Enabled")
        upload_id, parts = await rig.upload("k", DATA)
        version = (await rig.complete("k", upload_id, parts)).version_id
        await rig.put("k/longer")
        for change in (rig.put("k"), rig.store.delete(ALICE, "photos", "k")):
            await change
            for _ in range(3):
                await asyncio.sleep(GRACE_S + 1)
                assert await look(reclaimer, rig) == 0
            assert await rig.get("k", version_id=version) == b"".join(DATA)
        await rig.store.delete(ALICE, "photos", "k", version_id=version)
        for _ in range(2):
            assert await look(reclaimer, rig) == 0
            await asyncio.sleep(GRACE_S + 1)
        assert await look(reclaimer, rig) == 2
        assert rig.registers.blobs == {}

    with_rig(test)


def test_an_upload_whose_object_is_a_noncurrent_version_is_ended() -> None:
    async def test(rig: Rig) -> None:
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=GRACE_S)
        await rig.store.set_versioning(ALICE, "photos", "Enabled")
        upload_id, parts = await rig.upload("k", DATA)

        async def fail(what: str, key: RowKey) -> None:
            if what == "conditional" and key.space == Space.OBJECTS:
                rig.cluster.after = None
                rig.cluster.before = broken

        async def broken(what: str, key: RowKey) -> None:
            if what == "conditional" and key.space == Space.UPLOADS:
                raise QuorumLost("too few")

        rig.cluster.after = fail
        version = (await rig.complete("k", upload_id, parts)).version_id
        rig.cluster.before = None
        await rig.put("k")
        assert rig.registers.live_names(await rig.id(), Space.UPLOADS) != []
        await asyncio.sleep(GRACE_S + 1)
        assert await look(reclaimer, rig) == 1
        assert rig.registers.live_names(await rig.id(), Space.UPLOADS) == []
        assert await rig.get("k", version_id=version) == b"".join(DATA)

    with_rig(test)


def test_versions_left_behind_in_a_deleted_bucket_are_swept() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, "photos", "Enabled")
        bucket = await rig.id()
        for _ in range(2):
            await rig.put("k", noise(9000))
        await rig.store.delete(ALICE, "photos", "k")
        assert await sweep_bucket(rig.cluster, bucket, 0) == 1
        assert rig.registers.versions(bucket, b"k") == []
        assert rig.registers.blobs == {}

    with_rig(test)
