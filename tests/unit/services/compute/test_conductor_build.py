"""Builds and removals beyond what test_conductor.py cuts off."""

import asyncio

import pytest
from sqlalchemy import Connection

from objstore.errors import Unavailable
from objstore.services.compute import records as servers
from objstore.services.compute.conductor_build import request_of
from objstore.services.compute.desks import PlaceRequest
from objstore.services.compute.records import json_text
from objstore.services.compute.tables import SERVERS
from objstore.services.image import records
from tests.support.compute_rig import ADMIN, ALICE, BOB, ComputeRig, Cut, on_compute_rig
from tests.support.image_rig import PROJECTS
from tests.unit.services.compute.test_conductor import alone, built, finish, jobs_of
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


def test_an_image_that_was_taken_from_the_project_meanwhile_is_not_cloned() -> None:
    async def test(rig: ComputeRig) -> None:
        images = [await rig.bootable() for _ in range(3)]
        for image, change, why in zip(
            images,
            ({"owner": PROJECTS[BOB]}, {"status_": "deactivated"}, {"owner": PROJECTS[BOB]}),
            ("not be found", "not active", ""),
            strict=True,
        ):
            id_ = await rig.made_server(wait="", imageRef=image, flavorRef="5", who=ALICE if why else ADMIN)
            await rig.sql.write(
                lambda connection, image=image, change=change: records.change(connection, image, status=("active",), **change)
            )
            await finish(rig)
            record = await rig.record(id_)
            assert record.vm_state == ("error" if why else "active")
            assert not why or why in record.fault.message
            if why:
                assert await rig.own_volumes() == []
                assert await rig.ports_at(id_) == {""}

    on_compute_rig(test, working=False)


def test_a_rebuild_from_an_image_that_was_taken_away_meanwhile_keeps_the_disk() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        other = await rig.bootable()
        before = (await rig.record(id_)).disks[0].volume
        assert (await rig.act(id_, "rebuild", {"imageRef": other})).status == 202
        await rig.sql.write(lambda connection: records.change(connection, other, status=("active",), owner=PROJECTS[BOB]))
        await finish(rig)
        record = await rig.record(id_)
        assert (record.vm_state, record.disks[0].volume) == ("error", before)
        assert len(await rig.own_volumes()) == 1

    on_compute_rig(test, working=False)


def test_a_rebuild_that_is_cut_off_leaves_no_disk_of_a_server_that_is_removed() -> None:
    async def test(rig: ComputeRig) -> None:
        image, at = await rig.bootable(), 0
        whole = False
        while not whole:
            at += 1
            id_ = await built(rig, image)
            assert (await rig.act(id_, "rebuild", {"imageRef": image})).status == 202
            rig.fuse.steps, rig.fuse.at = 0, at
            try:
                await finish(rig, fused=True)
            except Cut:
                pass
            else:
                whole = True
            rig.fuse.at = -1
            assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
            await finish(rig, attempts=1)
            assert await rig.own_volumes() == [], f"cut after step {at}"

    on_compute_rig(test, working=False)


def test_a_host_that_is_chosen_when_the_server_is_on_its_way_out_is_not_claimed() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(wait="", flavorRef="5")
        (job,) = await jobs_of(rig)
        conductor = alone(rig)
        choose = conductor._context.places.choose

        def late(connection: Connection, request: PlaceRequest) -> str:
            connection.execute(SERVERS.update().where(SERVERS.c.id == id_).values(task_state="deleting", task="req-2"))
            return choose(connection, request)

        conductor._context.places.choose = late  # type: ignore[method-assign]
        await conductor.run(job)
        assert await rig.claims(id_) == {}

    on_compute_rig(test, working=False)


def test_a_removal_that_stops_half_way_claims_no_host_and_ends_moves() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        await rig.act(id_, "migrate", who=ADMIN)
        await finish(rig)
        assert len(await rig.claims(id_)) == 2
        await rig.ask("DELETE", f"/servers/{id_}")
        rig.fuse.steps, rig.fuse.at = 0, 0
        (job,) = await jobs_of(rig)
        conductor = alone(rig)

        class Networks:
            async def release_all(self, server_id: str) -> None:
                raise Unavailable("not now")

        conductor._context.networks = Networks()  # type: ignore[assignment] # it is asked for nothing else
        with pytest.raises(Unavailable):
            await conductor.run(job)
        assert await rig.claims(id_) == {}
        await finish(rig)
        assert await rig.leftovers(id_) == {}
        assert (await rig.sql.read(lambda connection: servers.last_move(connection, id_)))[0] == "cancelled"

    on_compute_rig(test, working=False)
