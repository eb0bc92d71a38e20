"""Uploads that die, are overtaken, or lose the image they write."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.image.records import COMING, body_of, new_body
from objstore.services.image.uploads import ORPHAN_AGE_US
from tests.support.image_rig import OCTETS, ImageRig, on_image_rig, slow


def test_an_upload_whose_process_died_ends_and_leaves_nothing() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        held = await rig.service.uploads._begin(id_, 5, ("queued",), "saving")
        assert (await rig.show(id_))["status"] == "saving"
        assert (await rig.upload(id_, b"other")).status == 409
        rig.clock.skew_us += 61_000_000
        assert await rig.service.uploads.sweep() == 1
        assert (await rig.show(id_))["status"] == "queued"
        await rig.settled()
        assert await rig.sql.read(lambda connection: body_of(connection, held.operation)) is None
        assert (await rig.upload(id_, b"other")).status == 204

    on_image_rig(test)


def test_an_image_that_is_deleted_during_its_upload_stays_deleted() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()

        async def meanwhile() -> None:
            assert (await rig.ask("DELETE", f"/v2/images/{id_}")).status == 204

        reply = None
        try:
            await rig.service.uploads.receive(id_, slow([b"a", b"b"], meanwhile), size=None, before=("queued",), during="saving")
        except Exception as failure:  # noqa: BLE001 the status is looked at
            reply = failure
        assert getattr(reply, "status", None) == 410
        assert (await rig.ask("GET", f"/v2/images/{id_}")).status == 404
        assert await rig.settled() == []

    on_image_rig(test)


def test_of_two_uploads_at_once_one_is_refused() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        replies = await asyncio.gather(*(rig.ask("PUT", f"/v2/images/{id_}/file", bytes([n]) * 3000, headers=OCTETS) for n in range(4)))
        assert sorted(reply.status for reply in replies) == [204, 409, 409, 409]
        assert len(await rig.settled()) == 1

    on_image_rig(test)


def test_an_upload_that_lives_keeps_its_lease() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()

        async def wait() -> None:
            await asyncio.sleep(1.0)
            await rig.service.uploads.sweep()

        await rig.service.uploads.receive(id_, slow([b"a"] * 4, wait), size=None, before=("queued",), during="saving")
        assert (await rig.show(id_))["status"] == "active"

    on_image_rig(test, lease_s=1.5)


def test_objects_that_no_record_names_go_when_they_are_old() -> None:
    async def test(rig: ImageRig) -> None:
        await rig.active()
        bodies = rig.service.bodies
        await rig.sql.write(lambda connection: new_body(connection, "young", "p", size=1, until_us=2**62, now_us=0))
        from objstore.services.image.formats import Inspection

        for id_ in ("orphan", "young"):
            await bodies.write(id_, slow([b"x"], asyncio.sleep), Inspection("raw", "bare", enforce=True), size=1, limit=lambda: 9)
        assert await rig.service.uploads.sweep_orphans() == 0
        rig.clock.skew_us += ORPHAN_AGE_US + 1_000_000
        assert await rig.service.uploads.sweep_orphans() == 1
        assert "orphan" not in await rig.objects()
        assert "young" in await rig.objects()
        row = await rig.sql.read(lambda connection: body_of(connection, "young"))
        assert row.status == COMING

    on_image_rig(test)


def test_uploads_of_unknown_length_share_the_quota_while_they_run() -> None:
    async def test(rig: ImageRig) -> None:
        first, second = await rig.made(), await rig.made()

        async def coming() -> AsyncIterator[bytes]:
            for _ in range(10):
                yield b"x" * 100
                await asyncio.sleep(0.1)

        running = asyncio.get_running_loop().create_task(
            rig.service.uploads.receive(first, coming(), size=None, before=("queued",), during="saving")
        )
        await asyncio.sleep(0.65)
        assert (await rig.upload(second, b"y" * 600)).status == 413  # some 600 of 1000 bytes are taken by what is still coming
        assert (await rig.upload(second, b"y" * 150)).status == 204
        with pytest.raises(CallRefused) as refused:
            await running
        assert refused.value.status == 413
        assert (await rig.show(first))["status"] == "queued"

    on_image_rig(test, lease_s=0.2, quota_bytes=1000)
