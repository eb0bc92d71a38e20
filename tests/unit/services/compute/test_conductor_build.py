"""Builds and removals beyond what test_conductor.py cuts off."""

import asyncio

from objstore.services.compute.conductor_build import request_of
from objstore.services.compute.records import json_text
from tests.support.compute_rig import ALICE, BOB, ComputeRig, on_compute_rig
from tests.support.image_rig import PROJECTS
from tests.unit.services.compute.test_records import DISK, FLAVOR, SERVER


def test_a_host_is_asked_for_by_flavor_hints_and_disks() -> None:
    from dataclasses import replace

    server = replace(
        SERVER, hints=json_text({"different_host": ["x"]}), zone="z", disks=[DISK, replace(DISK, destination="volume", size_gb=7)]
    )
    request = request_of(server, skip=("h1",))
    assert (request.vcpus, request.memory_mb, request.disk_gb, request.zone, request.skip) == (1, 64, 1, "z", ("h1",))
    assert (request.hints, request.extra_specs) == ({"different_host": ["x"]}, FLAVOR.extra_specs)


def test_a_build_that_is_refused_ends_in_error_and_keeps_no_claim() -> None:
    async def test(rig: ComputeRig) -> None:
        for host in rig.hosts.values():
            host.refuses["spawn"] = (400, "no such machine")
        volume = await rig.volume()
        data = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": -1}
        image = await rig.bootable()
        root = {"source_type": "image", "destination_type": "local", "uuid": image, "boot_index": 0}
        id_ = await rig.made_server(wait="ERROR", imageRef=image, flavorRef="5", block_device_mapping_v2=[root, data])
        view = await rig.shown(id_)
        assert view["fault"]["message"] == "The guest cannot be started on its host: no such machine"
        assert "compute_allocations" not in await rig.leftovers(id_)
        assert (await rig.record(id_)).host == ""
        assert (await rig.act(id_, "os-start")).status == 409
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        await rig.becomes(volume, "available")
        assert await rig.leftovers(id_) == {}

    on_compute_rig(test)


def test_a_volume_that_somebody_took_meanwhile_ends_the_build() -> None:
    async def test(rig: ComputeRig) -> None:
        volume = await rig.volume(image_id=await rig.bootable())
        root = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": 0}
        document = {"server": {"name": "s", "flavorRef": "1", "block_device_mapping_v2": [root]}}
        replies = await asyncio.gather(*(rig.ask("POST", "/servers", document) for _ in range(2)))
        ids = [reply.body["server"]["id"] for reply in replies]
        for _ in range(100):
            await rig.clock.sleep(0.1)
            found = {(await rig.shown(id_))["status"]: id_ for id_ in ids}
            if set(found) == {"ACTIVE", "ERROR"}:
                break
        await rig.ask("DELETE", f"/servers/{found['ERROR']}")
        await rig.until_server(found["ERROR"], "GONE")
        assert (await rig.desk.find("a" * 32, volume)).attachments == (found["ACTIVE"],)

    on_compute_rig(test)


def test_a_volume_that_a_server_never_had_does_not_go_with_it() -> None:
    async def test(rig: ComputeRig) -> None:
        for theirs in (True, False):
            for host in rig.hosts.values():
                await rig.dies(host.name)
            volume = await rig.volume()
            image = await rig.bootable()
            root = {"source_type": "image", "destination_type": "local", "uuid": image, "boot_index": 0}
            data = {"source_type": "volume", "destination_type": "volume", "uuid": volume, "boot_index": -1, "delete_on_termination": True}
            id_ = await rig.made_server(wait="ERROR", imageRef=image, block_device_mapping_v2=[root, data])
            if theirs:
                moved = await rig.got("POST", "/volume-transfers", {"transfer": {"volume_id": volume}}, 202)
                key = {"accept": {"auth_key": moved["transfer"]["auth_key"]}}
                await rig.got("POST", f"/volume-transfers/{moved['transfer']['id']}/accept", key, 202, who=BOB)
            await rig.ask("DELETE", f"/servers/{id_}")
            await rig.until_server(id_, "GONE")
            assert (await rig.desk.find(PROJECTS[BOB if theirs else ALICE], volume)).status == "available"

    on_compute_rig(test)


def test_what_was_reserved_and_not_written_down_is_free_when_the_server_goes() -> None:
    async def test(rig: ComputeRig) -> None:
        id_, other = await rig.made_server(), await rig.made_server()
        volume, kept = await rig.volume(), await rig.volume()
        await rig.desk.reserve(PROJECTS[ALICE], volume, id_)
        await rig.desk.reserve(PROJECTS[ALICE], kept, other)
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        await rig.becomes(volume, "available")
        assert (await rig.desk.find(PROJECTS[ALICE], kept)).attachments == (other,)

    on_compute_rig(test)
