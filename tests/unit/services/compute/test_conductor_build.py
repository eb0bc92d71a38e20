"""Builds and removals beyond what test_conductor.py cuts off."""

import asyncio

from objstore.services.compute.conductor_build import request_of
from objstore.services.compute.records import json_text
from tests.support.compute_rig import ComputeRig, on_compute_rig
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
