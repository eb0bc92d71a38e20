"""Volumes of servers."""

from typing import Any

from objstore.errors import Unavailable
from tests.support.compute_rig import BOB, ComputeRig, on_compute_rig
from tests.unit.services.compute.test_conductor import built, finish

UNKNOWN = "0f0f0f0f-1111-4222-8333-444444444444"


def document(volume: str, **more: object) -> object:
    return {"volumeAttachment": {"volumeId": volume, **more}}


def test_a_volume_is_attached_to_a_running_server_and_taken_from_it() -> None:
    async def test(rig: ComputeRig) -> None:
        volume = await rig.volume()
        id_ = await rig.made_server()
        path = f"/servers/{id_}/os-volume_attachments"
        reply = await rig.ask("POST", path, document(volume, device="/dev/vdc"))
        assert reply.body == {"volumeAttachment": {"id": volume, "volumeId": volume, "serverId": id_, "device": "/dev/vdc"}}
        assert (await rig.becomes(volume, "in-use")).attachments == (id_,)
        host = rig.hosts[(await rig.record(id_)).host]
        assert [(disk.device, disk.serial) for disk in host.guests[id_].spec.disks][1:] == [("vdc", volume)]
        assert (await rig.ask("POST", path, document(volume))).status == 400
        shown = (await rig.ask("GET", f"{path}/{volume}", version="2.89")).body["volumeAttachment"]
        assert (shown["delete_on_termination"], shown["tag"], "id" in shown, len(shown["bdm_uuid"])) == (False, None, False, 36)
        assert len((await rig.ask("GET", path)).body["volumeAttachments"]) == 1
        assert (await rig.shown(id_))["os-extended-volumes:volumes_attached"] == [{"id": volume, "delete_on_termination": False}]
        assert (await rig.ask("PUT", f"{path}/{volume}", document(volume, delete_on_termination=True), version="2.85")).status == 202
        assert (await rig.ask("PUT", f"{path}/{volume}", document(volume))).status == 400
        assert (await rig.ask("DELETE", f"{path}/{volume}")).status == 202
        await rig.becomes(volume, "available")
        assert len(host.guests[id_].spec.disks) == 1
        assert (await rig.ask("GET", f"{path}/{volume}")).status == 404
        assert (await rig.ask("DELETE", f"{path}/{volume}")).status == 404

    on_compute_rig(test)


def test_what_cannot_be_attached_is_refused_and_stays_free() -> None:
    async def test(rig: ComputeRig) -> None:
        volume, theirs = await rig.volume(), await rig.volume(BOB)
        id_, other = await rig.made_server(), await rig.made_server()
        path = f"/servers/{id_}/os-volume_attachments"
        for body, status in (
            (document(UNKNOWN), 404), (document(theirs), 404), (document("x"), 400), ({}, 400), (document(volume, device="/etc/passwd"), 400),
            (document(volume, tag="t"), 400), (document(volume, device="/dev/vda"), 409),
        ):  # fmt: skip
            assert (await rig.ask("POST", path, body)).status == status, body
        assert (await rig.desk.find("a" * 32, volume)).status == "available"
        assert (await rig.ask("POST", f"/servers/{other}/os-volume_attachments", document(volume))).status == 200
        assert (await rig.ask("POST", path, document(volume))).status == 400
        await rig.becomes(volume, "in-use")
        assert (await rig.ask("DELETE", f"{path}/{volume}")).status == 404

    on_compute_rig(test)


def test_a_host_that_refuses_leaves_the_volume_free_and_one_that_keeps_it_leaves_it_attached() -> None:
    async def test(rig: ComputeRig) -> None:
        volume = await rig.volume()
        id_ = await rig.made_server()
        path = f"/servers/{id_}/os-volume_attachments"
        host = rig.hosts[(await rig.record(id_)).host]
        host.refuses["attach_disk"] = (409, "no slot is free")
        assert (await rig.ask("POST", path, document(volume))).status == 200
        await rig.becomes(volume, "available")
        assert (await rig.ask("GET", path)).body == {"volumeAttachments": []}
        host.refuses.clear()
        host.loses.add("attach_disk")
        assert (await rig.ask("POST", path, document(volume))).status == 200
        await rig.becomes(volume, "in-use")
        host.refuses["detach_disk"] = (409, "the guest holds it")
        assert (await rig.ask("DELETE", f"{path}/{volume}")).status == 202
        await rig.becomes(volume, "in-use")
        host.refuses.clear()
        assert (await rig.ask("DELETE", f"{path}/{volume}")).status == 202
        await rig.becomes(volume, "available")

    on_compute_rig(test)


def test_a_stopped_server_gets_its_volumes_when_it_starts_and_some_go_with_it() -> None:
    async def test(rig: ComputeRig) -> None:
        kept, dropped = await rig.volume(), await rig.volume()
        id_ = await rig.made_server()
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        path = f"/servers/{id_}/os-volume_attachments"
        await rig.ask("POST", path, document(kept))
        await rig.ask("POST", path, document(dropped, delete_on_termination=True, tag="data"), version="2.79")
        for volume in (kept, dropped):
            await rig.becomes(volume, "in-use")
        await rig.act(id_, "os-start")
        await rig.until_server(id_, "ACTIVE")
        spec = rig.hosts[(await rig.record(id_)).host].guests[id_].spec
        assert [disk.device for disk in spec.disks] == ["vda", "vdb", "vdc"]
        assert spec.metadata["devices"] == [{"type": "disk", "bus": "virtio", "serial": dropped, "tags": ["data"]}]
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        await rig.becomes(kept, "available")
        assert len(await rig.own_volumes()) <= 2
        assert await rig.leftovers(id_) == {}

    on_compute_rig(test)


def test_a_server_boots_from_a_volume_that_is_not_taken_from_it() -> None:
    async def test(rig: ComputeRig) -> None:
        image = await rig.bootable()
        volume = await rig.volume(image_id=image)
        root = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": 0}
        blank = await rig.volume()
        reply = await rig.ask(
            "POST", "/servers", {"server": {"name": "s", "flavorRef": "1", "block_device_mapping_v2": [{**root, "uuid": blank}]}}
        )
        assert (reply.status, "not bootable" in reply.raw.decode()) == (400, True)
        id_ = await rig.made_server(
            block_device_mapping_v2=[root, {"source_type": "blank", "destination_type": "volume", "volume_size": 1}]
        )
        view = await rig.shown(id_)
        assert view["image"] == ""
        assert len(view["os-extended-volumes:volumes_attached"]) == 2
        assert (await rig.ask("DELETE", f"/servers/{id_}/os-volume_attachments/{volume}")).status == 403
        assert (await rig.act(id_, "rebuild", {"imageRef": image})).status == 400
        again = {"server": {"name": "s", "flavorRef": "1", "block_device_mapping_v2": [root]}}
        assert (await rig.ask("POST", "/servers", again)).status == 400
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        await rig.becomes(volume, "available")
        fresh = {
            "source_type": "image",
            "destination_type": "volume",
            "uuid": image,
            "boot_index": 0,
            "volume_size": 1,
            "delete_on_termination": True,
        }
        id_ = await rig.made_server(block_device_mapping_v2=[fresh])
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")

    on_compute_rig(test)


def test_a_server_that_is_asked_to_go_while_a_volume_is_reserved_does_not_get_it() -> None:
    async def test(rig: ComputeRig) -> None:
        volume = await rig.volume()
        id_ = await rig.made_server()
        reserve, rig.part.context.jobs_wait = rig.desk.reserve, lambda: None

        async def slow(*given: object, **named: object) -> str:
            attachment = await reserve(*given, **named)  # type: ignore[arg-type]
            assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
            return attachment

        rig.desk.reserve = slow  # type: ignore[method-assign]
        assert (await rig.ask("POST", f"/servers/{id_}/os-volume_attachments", document(volume))).status == 404
        assert (await rig.desk.find("a" * 32, volume)).status == "available"
        rig.desk.reserve = reserve  # type: ignore[method-assign]

    on_compute_rig(test)


def test_a_detach_that_nobody_wrote_down_leaves_the_volume_in_use() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        volume = await rig.volume()
        path = f"/servers/{id_}/os-volume_attachments"
        assert (await rig.ask("POST", path, document(volume))).status == 200
        await finish(rig)
        await rig.becomes(volume, "in-use")
        write = rig.part.context.write

        async def broken(work: Any) -> Any:
            raise Unavailable("not now")

        rig.part.context.write = broken  # type: ignore[method-assign]
        assert (await rig.ask("DELETE", f"{path}/{volume}")).status == 503
        rig.part.context.write = write  # type: ignore[method-assign]
        assert (await rig.desk.find("a" * 32, volume)).status == "in-use"
        assert (await rig.ask("DELETE", f"{path}/{volume}")).status == 202
        await finish(rig)
        await rig.becomes(volume, "available")

    on_compute_rig(test, working=False)
