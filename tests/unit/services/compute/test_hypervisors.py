"""Hypervisors."""

import asyncio
import json

from objstore.services.compute.desks import PlaceRequest
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN


async def fill(rig: CloudRig) -> None:
    for host in ("h1", "h2"):
        await rig.report(host, cpu_model="X")
    await rig.sql.write(lambda connection: rig.service.places.choose(connection, PlaceRequest("s1", "p", 2, 1024, host="h1")))
    await rig.add_server("s1", host="h1")


def test_hypervisors_tell_what_they_have_and_what_is_taken() -> None:
    async def test(rig: CloudRig) -> None:
        await fill(rig)
        assert (await rig.ask("GET", "/os-hypervisors")).status == 403
        listed = (await rig.ask("GET", "/os-hypervisors", who=ADMIN)).body["hypervisors"]
        assert listed[0] == {"id": 1, "hypervisor_hostname": "h1", "state": "up", "status": "enabled"}
        first = (await rig.ask("GET", "/os-hypervisors/detail", who=ADMIN)).body["hypervisors"][0]
        assert (first["vcpus"], first["vcpus_used"], first["memory_mb_used"], first["free_ram_mb"], first["running_vms"]) == (
            4,
            2,
            1024,
            7168,
            1,
        )
        assert json.loads(first["cpu_info"])["model"] == "X"
        assert first["host_ip"] == "127.0.0.1"
        assert (await rig.ask("GET", "/os-hypervisors/1", who=ADMIN, version="2.28")).body["hypervisor"]["cpu_info"]["model"] == "X"
        sums = (await rig.ask("GET", "/os-hypervisors/statistics", who=ADMIN)).body["hypervisor_statistics"]
        assert (sums["count"], sums["vcpus"], sums["vcpus_used"]) == (2, 8, 2)
        assert "up 0 days" in (await rig.ask("GET", "/os-hypervisors/1/uptime", who=ADMIN)).body["hypervisor"]["uptime"]
        await asyncio.sleep(31)
        assert (await rig.ask("GET", "/os-hypervisors/1/uptime", who=ADMIN)).status == 400
        assert (await rig.ask("GET", "/os-hypervisors/1", who=ADMIN)).body["hypervisor"]["state"] == "down"
        assert (await rig.ask("GET", "/os-hypervisors/9", who=ADMIN)).status == 404

    on_cloud_rig(test)


def test_names_are_searched_for_in_two_ways() -> None:
    async def test(rig: CloudRig) -> None:
        await fill(rig)
        found = (await rig.ask("GET", "/os-hypervisors/h/search", who=ADMIN)).body["hypervisors"]
        assert [one["hypervisor_hostname"] for one in found] == ["h1", "h2"]
        found = (await rig.ask("GET", "/os-hypervisors/h1/servers", who=ADMIN)).body["hypervisors"]
        assert found[0]["servers"] == [{"uuid": "s1", "name": "name of s1"}]
        assert (await rig.ask("GET", "/os-hypervisors/x/search", who=ADMIN)).status == 404
        assert (await rig.ask("GET", "/os-hypervisors/h/search", who=ADMIN, version="2.53")).status == 404
        query = "?hypervisor_hostname_pattern=h1&with_servers=true"
        newer = (await rig.ask("GET", "/os-hypervisors/detail" + query, who=ADMIN, version="2.53")).body["hypervisors"]
        assert len(newer) == 1
        assert newer[0]["servers"][0]["uuid"] == "s1"
        assert (await rig.ask("GET", "/os-hypervisors?hypervisor_hostname_pattern=x", who=ADMIN, version="2.53")).status == 404

    on_cloud_rig(test)


def test_later_versions_know_uuids_pages_and_no_room() -> None:
    async def test(rig: CloudRig) -> None:
        await fill(rig)
        page = (await rig.ask("GET", "/os-hypervisors?limit=1", who=ADMIN, version="2.53")).body
        id_ = page["hypervisors"][0]["id"]
        assert page["hypervisors_links"][0]["href"].endswith(f"/os-hypervisors?limit=1&marker={id_}")
        rest = (await rig.ask("GET", f"/os-hypervisors?limit=1&marker={id_}", who=ADMIN, version="2.53")).body["hypervisors"]
        assert [one["hypervisor_hostname"] for one in rest] == ["h2"]
        assert (await rig.ask("GET", "/os-hypervisors?marker=x", who=ADMIN, version="2.53")).status == 400
        assert (await rig.ask("GET", "/os-hypervisors/1", who=ADMIN, version="2.53")).status == 400
        slim = (await rig.ask("GET", f"/os-hypervisors/{id_}", who=ADMIN, version="2.88")).body["hypervisor"]
        assert "vcpus" not in slim
        assert slim["uptime"].startswith("up")
        assert slim["servers"] == [{"uuid": "s1", "name": "name of s1"}]
        for path in ("statistics", f"{id_}/uptime"):
            assert (await rig.ask("GET", f"/os-hypervisors/{path}", who=ADMIN, version="2.88")).status == 404

    on_cloud_rig(test)
