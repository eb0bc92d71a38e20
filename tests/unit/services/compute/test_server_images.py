"""Images of servers."""

import msgspec

from tests.support.compute_rig import ADMIN, ALICE, ComputeRig, on_compute_rig
from tests.support.image_rig import PROJECTS


def test_a_running_server_becomes_an_image_of_its_disk() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        for wrong in ({}, {"name": ""}, {"name": "x", "metadata": {"a": 1}}, {"name": "x", "metadata": {str(n): "" for n in range(6)}}):
            assert (await rig.act(id_, "createImage", wrong)).status in (400, 403)
        reply = await rig.act(id_, "createImage", {"name": "snap", "metadata": {"a": "b"}})
        assert (reply.status, reply.raw) == (202, b"")
        image_id = reply.headers["location"].rsplit("/", 1)[1]
        await rig.until_server(id_, "ACTIVE")
        image = await rig.show(image_id)
        assert (image["status"], image["size"], image["min_disk"], image["a"]) == ("active", 4096, 0, "b")
        assert (image["image_type"], image["instance_uuid"], image["visibility"]) == ("snapshot", id_, "private")
        assert not (await rig.volumes.head(bytes.fromhex((await rig.record(id_)).disks[0].volume))).pins
        assert (await rig.act(id_, "createImage", {"name": "n"}, version="2.45")).body["image_id"]
        assert (await rig.act(id_, "createImage", {"name": "m"})).status == 409
        await rig.until_server(id_, "ACTIVE")

    on_compute_rig(test)


def test_a_server_that_boots_from_a_volume_becomes_an_image_that_names_snapshots() -> None:
    async def test(rig: ComputeRig) -> None:
        volume = await rig.volume(image_id=await rig.bootable())
        root = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": 0}
        id_ = await rig.made_server(block_device_mapping_v2=[root])
        image_id = (await rig.act(id_, "createImage", {"name": "snap"}, version="2.45")).body["image_id"]
        image = await rig.show(image_id, ALICE)
        (mapping,) = msgspec.json.decode(image["block_device_mapping"])
        assert (image["status"], image["size"], image["bdm_v2"]) == ("active", 0, "True")
        assert (mapping["source_type"], mapping["boot_index"], mapping["volume_size"]) == ("snapshot", 0, 1)
        for _ in range(100):
            if (await rig.desk.find_snapshot("a" * 32, mapping["snapshot_id"])).status == "available":
                break
            await rig.clock.sleep(0.1)
        again = await rig.made_server(imageRef=image_id)
        assert len((await rig.shown(again))["os-extended-volumes:volumes_attached"]) == 1

    on_compute_rig(test)


def test_an_image_that_is_deleted_meanwhile_leaves_the_server_in_peace() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        host = rig.hosts[(await rig.record(id_)).host]
        host.refuses["snapshot_volume"] = (409, "no")
        image_id = (await rig.act(id_, "createImage", {"name": "snap"}, version="2.45")).body["image_id"]
        await rig.until_server(id_, "ACTIVE")
        assert (await rig.show(image_id))["status"] == "killed"

    on_compute_rig(test)


def test_an_image_that_cannot_have_all_its_snapshots_has_none() -> None:
    async def test(rig: ComputeRig) -> None:
        volume, data = await rig.volume(image_id=await rig.bootable()), await rig.volume()
        root = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": 0}
        id_ = await rig.made_server(block_device_mapping_v2=[root, {**root, "uuid": data, "boot_index": -1}])
        await rig.becomes(data, "in-use")
        await rig.got("PUT", f"/os-quota-sets/{PROJECTS[ALICE]}", {"quota_set": {"snapshots": 1}}, who=ADMIN)
        assert (await rig.act(id_, "createImage", {"name": "snap"})).status in (403, 413)
        await rig.got("PUT", f"/os-quota-sets/{PROJECTS[ALICE]}", {"quota_set": {"snapshots": 9}}, who=ADMIN)
        metadata = {str(number): "" for number in range(6)}
        assert (await rig.act(id_, "createImage", {"name": "snap", "metadata": metadata})).status == 403
        assert (await rig.got("GET", "/snapshots"))["snapshots"] == []
        assert (await rig.act(id_, "createImage", {"name": "snap"})).status == 202
        assert len((await rig.got("GET", "/snapshots"))["snapshots"]) == 2

    on_compute_rig(test)


def test_images_of_servers_count_for_the_quota_of_images() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        uploads = rig.service.uploads
        uploads._settings = msgspec.structs.replace(uploads._settings, quota_images=1)
        assert (await rig.act(id_, "createImage", {"name": "one too many"})).status == 413
        backup = {"name": "b", "backup_type": "daily", "rotation": 1}
        assert (await rig.act(id_, "createBackup", backup)).status == 413
        assert (await rig.record(id_)).task_state == ""

    on_compute_rig(test)
