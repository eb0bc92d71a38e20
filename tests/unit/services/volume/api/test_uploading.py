"""Volumes become images."""

import struct

from objstore.services.volume.api import records
from objstore.services.volume.api.tables import VOLUMES
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN


async def shrunk(rig: BlockRig, id_: str, image: str) -> bytes:
    """The volume with data of a MiB, so that it need not be hashed for long; its id in the store."""
    data = bytes(range(16))
    await rig.desk.bases.clone(image, data, 1 << 20)
    await rig.sql.write(lambda connection: records.change(connection, VOLUMES, id_, data=data.hex()))
    return data


def test_a_volume_becomes_an_image_with_what_it_kept_of_its_own() -> None:
    async def test(rig: BlockRig) -> None:
        source = await rig.image(b"disk", os_distro="debian", min_ram=64)
        id_ = await rig.volume(image_id=source)
        data = await shrunk(rig, id_, source)
        fields = {"image_name": "copy", "disk_format": "raw", "force": "false"}
        told = (await rig.act(id_, "os-volume_upload_image", fields))["os-volume_upload_image"]
        assert (told["status"], told["image_name"], told["volume_type"]["name"]) == ("uploading", "copy", "__DEFAULT__")
        image = await rig.until(told["image_id"], "active")
        assert (image["size"], image["os_distro"], image["min_ram"], image["visibility"]) == (1 << 20, "debian", 64, "private")
        await rig.becomes(id_, "available")
        assert (await rig.volumes.head(data)).pins == ()

    on_block_rig(test, convert="lazy")


def test_only_raw_images_are_made_and_public_ones_by_the_administrator() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        for fields, status in (
            ({"image_name": "x", "disk_format": "qcow2"}, 400), ({"image_name": "x", "container_format": "ova"}, 400), ({"disk_format": "raw"}, 400),
            ({"image_name": "x", "visibility": "odd"}, 400), ({"image_name": "x", "visibility": "public"}, 403), ({"image_name": "x", "force": "odd"}, 400),
        ):  # fmt: skip
            await rig.act(id_, "os-volume_upload_image", fields, status)
        await rig.act(id_, "os-attach", {"host_name": "h", "mountpoint": "/dev/vdb"})
        await rig.act(id_, "os-volume_upload_image", {"image_name": "x"}, 400)
        assert await rig.listed() == []

    on_block_rig(test)


def test_bytes_that_no_image_may_have_leave_neither_an_image_nor_a_busy_volume() -> None:
    async def test(rig: BlockRig) -> None:
        # A guest wrote the header of a qcow2 file with a backing file to its disk.
        header = struct.pack(">4sIQIIQ", b"QFI\xfb", 2, 512, 20, 16, 1 << 30) + bytes(480) + b"/etc/passwd"
        source = await rig.image(b"%d\n" % (1 << 20) + header, disk_format="vhdx")
        id_ = await rig.volume(image_id=source)
        await shrunk(rig, id_, source)
        told = (await rig.act(id_, "os-volume_upload_image", {"image_name": "x"}))["os-volume_upload_image"]
        await rig.becomes(id_, "available")
        await rig.stored()
        assert (await rig.ask("GET", f"/v2/images/{told['image_id']}")).status == 404
        (message,) = (await rig.got("GET", "/messages"))["messages"]
        assert message["resource_uuid"] == id_
        assert (await rig.got("GET", "/messages", who=ADMIN))["messages"] == []

    on_block_rig(test)
