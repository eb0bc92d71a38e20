"""What is asked of new servers is compared with what there is."""

from typing import Any

from objstore.services.compute.records import json_text
from tests.support.compute_rig import ADMIN, BOB, ComputeRig, on_compute_rig

UNKNOWN = "0f0f0f0f-1111-4222-8333-444444444444"


def test_what_cannot_be_made_is_refused_and_nothing_is_kept() -> None:
    async def test(rig: ComputeRig) -> None:
        image = await rig.bootable()
        big = await rig.active(b"x" * 100, min_disk=50, disk_format="raw")
        wide = await rig.active(b"x" * 100, min_ram=100_000)
        queued = await rig.made()
        theirs = await rig.active(b"y" * 512, "bob")
        base: dict[str, Any] = {"name": "s", "flavorRef": "1", "imageRef": image, "networks": [{"uuid": rig.network}]}
        for fields, status, words in (
            ({"flavorRef": "none"}, 400, "Flavor none could not be found"), ({"imageRef": UNKNOWN}, 400, "could not be found"),
            ({"imageRef": queued}, 400, "is not active"), ({"imageRef": theirs}, 400, "could not be found"), ({"imageRef": big}, 400, "disk is too small"),
            ({"imageRef": wide}, 400, "memory is too small"), ({"key_name": "none"}, 400, "Invalid key_name"),
            ({"availability_zone": "mars"}, 400, "availability zone is not available"), ({"networks": [{"uuid": UNKNOWN}]}, 400, ""),
            ({"networks": [{"port": UNKNOWN}]}, 400, ""), ({"security_groups": [{"name": "none"}]}, 400, ""), ({"min_count": 11}, 403, "Quota"),
            ({"metadata": {str(n): "" for n in range(6)}}, 403, "metadata"),
            ({"block_device_mapping_v2": [{"source_type": "snapshot", "uuid": UNKNOWN, "boot_index": 0}], "imageRef": ""}, 400, "failed to get snapshot"),
            ({"block_device_mapping_v2": [{"source_type": "image", "destination_type": "local", "uuid": image, "boot_index": 0},
                                          {"source_type": "blank", "destination_type": "local", "volume_size": 1}]}, 400, "Ephemeral"),
        ):  # fmt: skip
            reply = await rig.ask("POST", "/servers", {"server": {**base, **fields}})
            assert (reply.status, words in reply.raw.decode()) == (status, True), (fields, reply.raw)
        hinted = await rig.ask("POST", "/servers", {"server": base, "os:scheduler_hints": {"group": UNKNOWN}})
        assert hinted.status == 400
        assert (await rig.ask("POST", "/servers", {"server": {**base, "availability_zone": "nova:none"}}, who=ADMIN)).status == 400
        assert (await rig.ask("GET", "/servers")).body == {"servers": []}
        assert await rig.jobs_left() == 0

    on_compute_rig(test)


def test_several_servers_share_a_reservation_and_as_many_as_the_quota_allows_are_made() -> None:
    async def test(rig: ComputeRig) -> None:
        rig.catalog.instances = 3
        reply = await rig.ask("POST", "/servers", {"server": {
            "name": "s", "flavorRef": "5", "imageRef": await rig.bootable(), "min_count": 2, "max_count": 5, "return_reservation_id": True,
            "networks": [{"uuid": rig.network}]}})  # fmt: skip
        found = await rig.ask("GET", f"/servers/detail?reservation_id={reply.body['reservation_id']}")
        assert sorted(server["name"] for server in found.body["servers"]) == ["s-1", "s-2", "s-3"]
        for server in found.body["servers"]:
            await rig.until_server(server["id"], "ACTIVE")

    on_compute_rig(test)


def test_a_rich_flavor_gives_three_disks() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="3", user_data="aGk=", config_drive="True", adminPass="pass")
        spec = rig.hosts[(await rig.record(id_)).host].guests[id_].spec
        assert [disk.device for disk in spec.disks] == ["vda", "vdb", "vdc"]
        heads = [await rig.volumes.head(bytes.fromhex(disk.volume)) for disk in spec.disks]
        assert [head.size_bytes >> 20 for head in heads] == [1024, 1024, 512]
        assert (spec.user_data, spec.config_drive, spec.metadata["admin_pass"]) == ("aGk=", True, "pass")
        assert (await rig.shown(id_))["config_drive"] == "True"
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        assert await rig.own_volumes() == []

    on_compute_rig(test)


def test_without_a_named_network_there_must_be_one() -> None:
    async def test(rig: ComputeRig) -> None:
        image = await rig.bootable()
        base = {"name": "s", "flavorRef": "5", "imageRef": image}
        id_ = str((await rig.ask("POST", "/servers", {"server": base})).body["server"]["id"])
        await rig.until_server(id_, "ACTIVE")
        assert len((await rig.shown(id_))["addresses"]) == 1
        from tests.support.network_rig import NetworkRig

        more = NetworkRig.__new__(NetworkRig)
        more.service = rig.network_service
        await more.network(cidr="10.1.0.0/24")
        assert (await rig.ask("POST", "/servers", {"server": base})).status == 409
        shared = await rig.active(b"z" * 512, visibility="public", who="admin")
        reply = await rig.ask("POST", "/servers", {"server": {**base, "imageRef": shared, "networks": "auto"}}, who=BOB, version="2.37")
        assert reply.status == 400

    on_compute_rig(test)


def test_what_an_image_names_is_checked_as_what_a_client_names() -> None:
    async def test(rig: ComputeRig) -> None:
        theirs = await rig.active(b"y" * 512, BOB, disk_format="raw")
        own = await rig.bootable()
        volume = await rig.volume(image_id=own)
        volume_root = {"source_type": "volume", "destination_type": "volume", "volume_id": volume, "boot_index": 0}
        local = {"destination_type": "local", "boot_index": 0, "volume_size": 2**20}
        for mapping, many in (
            ([{"source_type": "image", "destination_type": "local", "image_id": theirs, "boot_index": 0}], 1),
            ([{"source_type": "image", "destination_type": "volume", "image_id": theirs, "boot_index": 0, "volume_size": 1}], 1),
            ([{"source_type": "snapshot", "snapshot_id": UNKNOWN, **local}], 1), ([{"source_type": "volume", "volume_id": volume, **local}], 1),
            ([volume_root, {**volume_root, "boot_index": -1}], 1), ([volume_root], 2),
        ):  # fmt: skip
            image = await rig.active(b"x", disk_format="raw", block_device_mapping=json_text(mapping))
            document = {"name": "s", "flavorRef": "1", "imageRef": image, "networks": [{"uuid": rig.network}], "max_count": many}
            reply = await rig.ask("POST", "/servers", {"server": document})
            assert (reply.status, b"Mapping" in reply.raw or b"Cannot attach" in reply.raw) == (400, True), (mapping, reply.raw)
        assert await rig.jobs_left() == 0

    on_compute_rig(test)
