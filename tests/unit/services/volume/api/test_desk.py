"""What compute asks of volumes."""

import asyncio

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.volume.api import records
from objstore.services.volume.api.tables import VOLUMES
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ALICE, BOB, PROJECTS

MINE, THEIRS = PROJECTS[ALICE], PROJECTS[BOB]
SERVER, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


async def refused(status: int, awaitable: object) -> str:
    with pytest.raises(CallRefused) as caught:
        await awaitable  # type: ignore[misc]
    assert caught.value.status == status
    return caught.value.message


def test_a_volume_is_made_reserved_attached_detached_and_deleted() -> None:
    async def test(rig: BlockRig) -> None:
        desk, id_ = rig.desk, await rig.volume(name="v")
        found = await desk.find(MINE, id_)
        assert (found.name, found.size_gb, found.data, found.bootable) == ("v", 1, id_.replace("-", ""), False)
        attachment = await desk.reserve(MINE, id_, SERVER)
        assert await desk.reserve(MINE, id_, SERVER) == attachment
        assert (await desk.find(MINE, id_)).status == "reserved"
        await refused(400, desk.reserve(MINE, id_, OTHER))
        await refused(409, desk.delete(MINE, id_))
        await desk.attached(attachment, "host-1", "/dev/vdb")
        assert (await desk.find(MINE, id_)).status == "in-use"
        await desk.begin_detach(attachment)
        assert (await desk.find(MINE, id_)).status == "detaching"
        await desk.roll_detach(attachment)
        assert (await desk.find(MINE, id_)).status == "in-use"
        await desk.end(attachment)
        await desk.end(attachment)
        assert (await desk.find(MINE, id_)).status == "available"
        await desk.delete(THEIRS, id_)
        assert (await desk.find(MINE, id_)).status == "available"
        await desk.delete(MINE, id_)
        assert await rig.stored() == []
        await desk.delete(MINE, id_)
        await refused(404, desk.find(MINE, id_))

    on_block_rig(test)


def test_what_belongs_to_others_is_not_there() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await refused(404, rig.desk.find(THEIRS, id_))
        await refused(404, rig.desk.reserve(THEIRS, id_, SERVER))
        await refused(404, rig.desk.create(THEIRS, BOB, size_gb=1, source_volume_id=id_))
        assert (await rig.desk.find(THEIRS, id_, is_admin=True)).id == id_

    on_block_rig(test)


def test_only_one_of_two_servers_gets_a_volume() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        ends = await asyncio.gather(*(rig.desk.reserve(MINE, id_, server) for server in (SERVER, OTHER)), return_exceptions=True)
        assert sorted(isinstance(end, CallRefused) for end in ends) == [False, True]

    on_block_rig(test)


def test_a_volume_from_an_image_has_its_bytes_and_properties() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"x" * 700, name="i", os_distro="debian")
        found = await rig.desk.find(MINE, await rig.volume(image_id=image))
        assert found.bootable
        assert found.image_metadata["os_distro"] == "debian"
        assert found.image_metadata["image_id"] == image
        assert await rig.bytes_of(found.data, 1024) == b"x" * 700 + bytes(324)

    on_block_rig(test)


def test_a_snapshot_becomes_a_volume_after_its_volume_changed_hands() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        attachment = await rig.desk.reserve(MINE, id_, SERVER)
        await refused(400, rig.desk.create_snapshot(MINE, ALICE, id_))
        await rig.desk.attached(attachment, "host-1", "/dev/vdb")
        snapshot = await rig.desk.create_snapshot(MINE, ALICE, id_, name="s")
        while (await rig.desk.find_snapshot(MINE, snapshot)).status != "available":
            await asyncio.sleep(0.05)
        await refused(404, rig.desk.find_snapshot(THEIRS, snapshot))
        clone = await rig.volume(size_gb=2, snapshot_id=snapshot)
        assert (await rig.volumes.head(bytes.fromhex(clone.replace("-", "")))).size_bytes == 2 << 30

    on_block_rig(test)


def test_quotas_are_counted_with_what_uses_them_up() -> None:
    async def test(rig: BlockRig) -> None:
        await rig.volume()
        ends = await asyncio.gather(*(rig.desk.create(MINE, ALICE, size_gb=1) for _ in range(3)), return_exceptions=True)
        assert sum(isinstance(end, CallRefused) and end.status == 413 for end in ends) == 2
        assert "gigabytes quota" in await refused(413, rig.desk.create(THEIRS, BOB, size_gb=6))

    on_block_rig(test, quota_volumes=2, quota_gigabytes=5)


def test_a_volume_that_is_made_anew_from_an_image_is_reserved_afterwards() -> None:
    async def test(rig: BlockRig) -> None:
        id_, image = await rig.volume(), await rig.image(b"disk")
        await rig.act(id_, "os-reimage", {"image_id": image})
        await refused(400, rig.desk.reserve(MINE, id_, SERVER))  # it would be given data that goes in a moment
        await rig.got("POST", "/attachments", {"attachment": {"volume_uuid": id_}}, 400)
        await rig.becomes(id_, "available")
        await rig.desk.reserve(MINE, id_, SERVER)
        await rig.act(id_, "os-reimage", {"image_id": image, "reimage_reserved": True}, 409)

    on_block_rig(test)


def test_volumes_in_error_go_with_their_server() -> None:
    async def test(rig: BlockRig) -> None:
        for status in ("error_extending", "error_restoring", "error_deleting"):
            id_ = await rig.volume()
            await rig.sql.write(lambda connection, id_=id_, status=status: records.change(connection, VOLUMES, id_, status_=status))  # type: ignore[misc]
            await rig.desk.delete(MINE, id_)
            assert await rig.stored() == []

    on_block_rig(test)
