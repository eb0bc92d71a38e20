"""Server groups."""

from typing import Any

import pytest

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN, BOB, READER

OLD = {"server_group": {"name": "g", "policies": ["affinity"]}}
NEW = {"server_group": {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 2}}}


def test_a_group_is_made_shown_and_removed() -> None:
    async def test(rig: CloudRig) -> None:
        reply = await rig.ask("POST", "/os-server-groups", OLD)
        group = reply.body["server_group"]
        assert set(group) == {"id", "name", "policies", "members", "metadata"}
        path = f"/os-server-groups/{group['id']}"
        assert (await rig.ask("GET", path, version="2.13")).body["server_group"]["project_id"] == "a" * 32
        assert (await rig.ask("GET", path, version="2.64")).body["server_group"]["policy"] == "affinity"
        await rig.add_server("s1", group_id=group["id"])
        await rig.add_server("s2", group_id=group["id"], deleted_us=1)
        assert (await rig.ask("GET", path)).body["server_group"]["members"] == ["s1"]
        for method in ("GET", "DELETE"):
            assert (await rig.ask(method, path, who=BOB)).status == 404
        assert (await rig.ask("DELETE", path, who=READER)).status == 403
        assert (await rig.ask("DELETE", path)).status == 204
        assert (await rig.ask("DELETE", path)).status == 404

    on_cloud_rig(test)


def test_later_versions_have_one_policy_with_rules() -> None:
    async def test(rig: CloudRig) -> None:
        made = (await rig.ask("POST", "/os-server-groups", NEW, version="2.64")).body["server_group"]
        assert made["rules"] == {"max_server_per_host": 2}
        assert "metadata" not in made

    on_cloud_rig(test)


@pytest.mark.parametrize(
    ("version", "body"),
    [
        ("2.1", NEW), ("2.64", OLD), ("2.1", {"server_group": {"name": "g", "policies": []}}),
        ("2.1", {"server_group": {"name": "g", "policies": ["soft-affinity"]}}), ("2.1", {"server_group": {"name": "", "policies": ["affinity"]}}),
        ("2.1", {"server_group": {"name": "g", "policies": ["affinity", "anti-affinity"]}}), ("2.1", {"server_group": {"name": "g"}}), ("2.1", {}),
        ("2.64", {"server_group": {"name": "g", "policy": "affinity", "rules": {"max_server_per_host": 2}}}),
        ("2.64", {"server_group": {"name": "g", "policy": "anti-affinity", "rules": {"max_server_per_host": 0}}}),
        ("2.64", {"server_group": {"name": "g", "policy": "anti-affinity", "rules": {"x": 1}}}),
    ],
)  # fmt: skip
def test_what_no_group_can_be_is_refused(version: str, body: Any) -> None:
    async def test(rig: CloudRig) -> None:
        assert (await rig.ask("POST", "/os-server-groups", body, version=version)).status == 400

    on_cloud_rig(test)


def test_lists_are_of_the_project_and_have_an_end() -> None:
    async def test(rig: CloudRig) -> None:
        for who in ("alice", "alice", BOB):
            assert (await rig.ask("POST", "/os-server-groups", OLD, who=who)).status == 200
        assert len((await rig.ask("GET", "/os-server-groups")).body["server_groups"]) == 2
        assert len((await rig.ask("GET", "/os-server-groups?limit=1&offset=1")).body["server_groups"]) == 1
        assert len((await rig.ask("GET", "/os-server-groups?all_projects")).body["server_groups"]) == 2
        assert len((await rig.ask("GET", "/os-server-groups?all_projects", who=ADMIN)).body["server_groups"]) == 3
        assert (await rig.ask("GET", "/os-server-groups?offset=-1")).status == 400
        reply = await rig.ask("POST", "/os-server-groups", OLD)
        assert reply.status == 403
        assert "too many server groups" in reply.body["forbidden"]["message"]

    on_cloud_rig(test, quota_server_groups=2)
