"""Calls on flavors."""

from typing import Any

import pytest

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS, READER


async def made(rig: CloudRig, **fields: Any) -> str:
    body = {"name": "m1", "ram": 512, "vcpus": 1, "disk": 1, **fields}
    reply = await rig.ask("POST", "/flavors", {"flavor": body}, who=ADMIN)
    assert reply.status == 200, reply.raw
    return str(reply.body["flavor"]["id"])


async def ids(rig: CloudRig, query: str = "", who: str = ALICE, path: str = "/flavors") -> list[str]:
    reply = await rig.ask("GET", path + query, who=who)
    assert reply.status == 200, reply.raw
    return [flavor["id"] for flavor in reply.body["flavors"]]


def test_a_flavor_is_made_shown_and_removed_by_administrators() -> None:
    async def test(rig: CloudRig) -> None:
        full = {
            "id": 7, "ram": "1024", "swap": 64, "OS-FLV-EXT-DATA:ephemeral": 5, "rxtx_factor": 2, "os-flavor-access:is_public": "True",
        }  # fmt: skip
        assert await made(rig, **full) == "7"
        shown = (await rig.ask("GET", "/flavors/7")).body["flavor"]
        assert (shown["ram"], shown["swap"], shown["OS-FLV-EXT-DATA:ephemeral"], shown["rxtx_factor"]) == (1024, 64, 5, 2.0)
        assert shown["links"][0]["href"].endswith("/compute/v2.1/flavors/7")
        other = await made(rig, name="m2")
        assert len(other) == 36
        assert (await rig.ask("POST", "/flavors", {"flavor": {"name": "m1", "ram": 1, "vcpus": 1, "disk": 0}}, who=ADMIN)).status == 409
        assert (
            await rig.ask("POST", "/flavors", {"flavor": {"name": "m9", "ram": 1, "vcpus": 1, "disk": 0, "id": "7"}}, who=ADMIN)
        ).status == 409
        assert (await rig.ask("POST", "/flavors", {"flavor": {"name": "m3", "ram": 1, "vcpus": 1, "disk": 0}})).status == 403
        assert (await rig.ask("DELETE", "/flavors/7")).status == 403
        assert (await rig.ask("DELETE", "/flavors/7", who=ADMIN)).status == 202
        reply = await rig.ask("GET", "/flavors/7")
        assert reply.status == 404
        assert reply.body["itemNotFound"]["message"] == "Flavor 7 could not be found."

    on_cloud_rig(test)


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""}, {"name": " a"}, {"name": "a" * 256}, {"name": None}, {"ram": 0}, {"ram": -1}, {"ram": "a"}, {"ram": 2**31}, {"vcpus": 0},
        {"disk": -1}, {"swap": -1}, {"rxtx_factor": 0}, {"rxtx_factor": "a"}, {"rxtx_factor": 1e39}, {"id": "a/b"}, {"id": ""}, {"id": " a"},
        {"id": "a" * 256}, {"id": []}, {"os-flavor-access:is_public": "maybe"}, {"strange": 1}, {"description": "later"},
    ],
)  # fmt: skip
def test_what_no_flavor_can_be_is_refused(change: dict[str, Any]) -> None:
    async def test(rig: CloudRig) -> None:
        body = {"name": "m1", "ram": 512, "vcpus": 1, "disk": 1, **change}
        assert (await rig.ask("POST", "/flavors", {"flavor": body}, who=ADMIN)).status == 400
        assert await ids(rig) == []

    on_cloud_rig(test)


def test_flavors_without_what_they_need_are_refused() -> None:
    async def test(rig: CloudRig) -> None:
        for name in ("name", "ram", "vcpus", "disk"):
            body = {"name": "m1", "ram": 512, "vcpus": 1, "disk": 1}
            del body[name]
            assert (await rig.ask("POST", "/flavors", {"flavor": body}, who=ADMIN)).status == 400

    on_cloud_rig(test)


def test_a_description_comes_with_its_version_and_may_change() -> None:
    async def test(rig: CloudRig) -> None:
        id_ = await made(rig)
        assert (await rig.ask("PUT", f"/flavors/{id_}", {"flavor": {"description": "new"}}, who=ADMIN)).status == 404
        assert (await rig.ask("PUT", f"/flavors/{id_}", {"flavor": {"description": "new"}}, who=ALICE, version="2.55")).status == 403
        reply = await rig.ask("PUT", f"/flavors/{id_}", {"flavor": {"description": "new"}}, who=ADMIN, version="2.55")
        assert reply.body["flavor"]["description"] == "new"
        listed = (await rig.ask("GET", "/flavors", version="2.55")).body["flavors"]
        assert listed[0]["description"] == "new"

    on_cloud_rig(test)


def test_lists_are_filtered_sorted_and_paged() -> None:
    async def test(rig: CloudRig) -> None:
        for number, ram, disk in ((1, 512, 9), (2, 1024, 5), (3, 2048, 1)):
            await made(rig, id=str(number), name=f"m{number}", ram=ram, disk=disk)
        assert await ids(rig) == await ids(rig, path="/flavors/detail") == ["1", "2", "3"]
        assert await ids(rig, "?minRam=1024") == ["2", "3"]
        assert await ids(rig, "?minDisk=5&minRam=513") == ["2"]
        assert await ids(rig, "?sort_key=name&sort_dir=desc") == ["3", "2", "1"]
        assert await ids(rig, "?sort_key=root_gb") == ["3", "2", "1"]
        reply = await rig.ask("GET", "/flavors?limit=1&marker=1")
        assert [flavor["id"] for flavor in reply.body["flavors"]] == ["2"]
        assert reply.body["flavors_links"][0]["href"] == "http://compute.test/compute/v2.1/flavors?limit=1&marker=2"
        for query in ("?minRam=a", "?limit=-1", "?limit=a", "?marker=9", "?sort_key=owner", "?sort_dir=up"):
            assert (await rig.ask("GET", "/flavors" + query)).status == 400, query

    on_cloud_rig(test)


def test_flavors_that_are_not_public_are_seen_by_those_who_may_use_them() -> None:
    async def test(rig: CloudRig) -> None:
        await made(rig, id="1", **{"os-flavor-access:is_public": False})
        assert await ids(rig) == []
        assert await ids(rig, "?is_public=None", who=ADMIN) == ["1"]
        assert await ids(rig, "?is_public=None") == []
        assert await ids(rig, "?is_public=False", who=ADMIN) == ["1"]
        assert await ids(rig, who=ADMIN) == []
        assert (await rig.ask("GET", "/flavors?is_public=perhaps", who=ADMIN)).status == 400
        add = {"addTenantAccess": {"tenant": PROJECTS[ALICE]}}
        assert (await rig.ask("POST", "/flavors/1/action", add)).status == 403
        reply = await rig.ask("POST", "/flavors/1/action", add, who=ADMIN)
        assert reply.body == {"flavor_access": [{"flavor_id": "1", "tenant_id": PROJECTS[ALICE]}]}
        assert await ids(rig) == await ids(rig, who=READER) == ["1"]
        assert await ids(rig, who=BOB) == []
        await rig.ask("POST", "/flavors/1/os-extra_specs", {"extra_specs": {"hw:x": "y"}}, who=ADMIN)
        for path in ("/flavors/1", "/flavors/1/os-extra_specs", "/flavors/1/os-extra_specs/hw:x"):
            assert [(await rig.ask("GET", path, who=who)).status for who in (ALICE, READER, ADMIN, BOB)] == [200, 200, 200, 404]
        assert (await rig.ask("POST", "/flavors/1/action", add, who=ADMIN)).status == 409
        assert (await rig.ask("POST", "/flavors/1/action", {"addTenantAccess": {"tenant": "nobody"}}, who=ADMIN)).status == 400
        assert (await rig.ask("GET", "/flavors/1/os-flavor-access", who=ADMIN)).body == reply.body
        remove = {"removeTenantAccess": {"tenant": PROJECTS[ALICE]}}
        assert (await rig.ask("POST", "/flavors/1/action", remove, who=ADMIN)).body == {"flavor_access": []}
        assert (await rig.ask("POST", "/flavors/1/action", remove, who=ADMIN)).status == 404
        await made(rig, id="2", name="m2")
        assert (await rig.ask("GET", "/flavors/2/os-flavor-access", who=ADMIN)).status == 404
        assert (await rig.ask("POST", "/flavors/2/action", add, who=ADMIN)).status == 409

    on_cloud_rig(test)


def test_extra_specs_are_added_changed_and_removed() -> None:
    async def test(rig: CloudRig) -> None:
        id_ = await made(rig)
        path = f"/flavors/{id_}/os-extra_specs"
        assert (await rig.ask("POST", path, {"extra_specs": {"a": "1"}})).status == 403
        assert (await rig.ask("POST", path, {"extra_specs": {"a": "1", "b": 2}}, who=ADMIN)).body == {"extra_specs": {"a": "1", "b": "2"}}
        assert (await rig.ask("PUT", path + "/a", {"a": "3"}, who=ADMIN)).body == {"a": "3"}
        assert (await rig.ask("PUT", path + "/a", {"b": "3"}, who=ADMIN)).status == 400
        assert (await rig.ask("PUT", path + "/a", {"a": "1", "b": "3"}, who=ADMIN)).status == 400
        assert (await rig.ask("GET", path)).body == {"extra_specs": {"a": "3", "b": "2"}}
        assert (await rig.ask("GET", path + "/a")).body == {"a": "3"}
        assert (await rig.ask("DELETE", path + "/a", who=ADMIN)).status == 200
        assert (await rig.ask("GET", path + "/a")).status == 404
        assert (await rig.ask("DELETE", path + "/a", who=ADMIN)).status == 404
        for bad in ({}, [], {"x/y": "1"}, {"": "1"}, {"a": None}, {"a": "1" * 256}, {"a": {}}):
            assert (await rig.ask("POST", path, {"extra_specs": bad}, who=ADMIN)).status == 400, bad

    on_cloud_rig(test)
