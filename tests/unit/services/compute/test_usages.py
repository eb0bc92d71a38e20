"""What projects used."""

from objstore.services.calls.comparing import time_text
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS

HOUR_US = 3_600_000_000


def test_hours_count_within_the_time_that_is_asked_for() -> None:
    async def test(rig: CloudRig) -> None:
        now = rig.clock.wall_us()
        await rig.add_server("s1", launched_us=now - 10 * HOUR_US, vcpus=2)
        await rig.add_server("s2", launched_us=now - 10 * HOUR_US, terminated_us=now - 9 * HOUR_US, deleted_us=now - 9 * HOUR_US)
        await rig.add_server("s3", launched_us=None)
        path = f"/os-simple-tenant-usage/{PROJECTS[ALICE]}"
        span = f"?start={time_text(now - 4 * HOUR_US)}&end={time_text(now + 24 * HOUR_US)}"
        usage = (await rig.ask("GET", path + span)).body["tenant_usage"]
        assert [server["instance_id"] for server in usage["server_usages"]] == ["s1"]
        assert 3.9 < usage["total_hours"] < 4.1
        assert 7.8 < usage["total_vcpus_usage"] < 8.2
        whole = (await rig.ask("GET", path)).body["tenant_usage"]
        assert [server["state"] for server in whole["server_usages"]] == ["active", "terminated"]
        assert 10.9 < whole["total_hours"] < 11.1
        assert len(whole) == 8

    on_cloud_rig(test)


def test_others_are_told_to_administrators() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server("s1")
        assert (await rig.ask("GET", "/os-simple-tenant-usage")).status == 403
        assert (await rig.ask("GET", f"/os-simple-tenant-usage/{PROJECTS[ALICE]}", who=BOB)).status == 403
        (usage,) = (await rig.ask("GET", "/os-simple-tenant-usage?detailed=1", who=ADMIN)).body["tenant_usages"]
        assert len(usage["server_usages"]) == 1
        (usage,) = (await rig.ask("GET", "/os-simple-tenant-usage", who=ADMIN)).body["tenant_usages"]
        assert "server_usages" not in usage
        assert (await rig.ask("GET", f"/os-simple-tenant-usage/{PROJECTS[BOB]}", who=BOB)).body == {"tenant_usage": {}}
        for query in ("?start=x", "?end=x", "?start=2030-01-01T00:00:00&end=2029-01-01T00:00:00"):
            assert (await rig.ask("GET", "/os-simple-tenant-usage" + query, who=ADMIN)).status == 400, query

    on_cloud_rig(test)


def test_later_versions_have_pages() -> None:
    async def test(rig: CloudRig) -> None:
        for id_ in ("s1", "s2"):
            await rig.add_server(id_)
        reply = await rig.ask("GET", "/os-simple-tenant-usage?detailed=1&limit=1", who=ADMIN, version="2.40")
        assert len(reply.body["tenant_usages"][0]["server_usages"]) == 1
        assert reply.body["tenant_usages_links"][0]["href"].endswith("detailed=1&limit=1&marker=s1")
        assert (await rig.ask("GET", "/os-simple-tenant-usage?marker=x", who=ADMIN, version="2.40")).status == 400

    on_cloud_rig(test)


def test_a_time_that_no_calendar_has_is_refused() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server("s1")
        path = f"/os-simple-tenant-usage/{PROJECTS[ALICE]}"
        assert (await rig.ask("GET", f"{path}?start=0001-01-01T00:00:00%2B23:00")).status == 400
        assert (await rig.ask("GET", f"{path}?end=9999-12-31T23:59:59-23:00")).status == 400

    on_cloud_rig(test)
