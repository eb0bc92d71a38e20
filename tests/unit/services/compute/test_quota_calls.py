"""Calls on quotas and limits."""

from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS

MINE = f"/os-quota-sets/{PROJECTS[ALICE]}"


def test_quotas_are_shown_to_their_project_and_set_by_administrators() -> None:
    async def test(rig: CloudRig) -> None:
        shown = (await rig.ask("GET", MINE)).body["quota_set"]
        assert (shown["id"], shown["cores"], shown["floating_ips"]) == (PROJECTS[ALICE], 20, -1)
        assert (await rig.ask("GET", MINE, who=BOB)).status == 403
        assert (await rig.ask("PUT", MINE, {"quota_set": {"cores": 5}})).status == 403
        assert (await rig.ask("PUT", MINE, {"quota_set": {"cores": "5"}}, who=ADMIN)).body["quota_set"]["cores"] == 5
        assert (await rig.ask("GET", MINE)).body["quota_set"]["cores"] == 5
        assert (await rig.ask("GET", MINE + "/defaults")).body["quota_set"]["cores"] == 20
        assert (await rig.ask("DELETE", MINE)).status == 403
        assert (await rig.ask("DELETE", MINE, who=ADMIN)).status == 202
        assert (await rig.ask("GET", MINE)).body["quota_set"]["cores"] == 20
        assert (await rig.ask("PUT", "/os-quota-sets/nobody", {"quota_set": {"cores": 5}}, who=ADMIN)).status == 400

    on_cloud_rig(test)


def test_limits_of_users_lie_within_their_project() -> None:
    async def test(rig: CloudRig) -> None:
        assert (await rig.ask("PUT", MINE + "?user_id=u", {"quota_set": {"ram": 100}}, who=ADMIN)).body["quota_set"]["ram"] == 100
        assert (await rig.ask("GET", MINE + "?user_id=u")).body["quota_set"]["ram"] == 100
        assert (await rig.ask("GET", MINE)).body["quota_set"]["ram"] == 51_200
        for limit in (51_201, -1):
            assert (await rig.ask("PUT", MINE + "?user_id=u", {"quota_set": {"ram": limit}}, who=ADMIN)).status == 400

    on_cloud_rig(test)


def test_what_later_versions_do_not_know_is_not_shown_nor_taken() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server("s1")
        for version, gone in (("2.36", "floating_ips"), ("2.57", "injected_files")):
            assert gone not in (await rig.ask("GET", MINE, version=version)).body["quota_set"]
            assert (await rig.ask("PUT", MINE, {"quota_set": {gone: 5}}, who=ADMIN, version=version)).status == 400
        detail = (await rig.ask("GET", MINE + "/detail")).body["quota_set"]
        assert detail["instances"] == {"limit": 10, "in_use": 1, "reserved": 0}
        for limit in (-2, "a", 2**31, None):
            assert (await rig.ask("PUT", MINE, {"quota_set": {"cores": limit}}, who=ADMIN)).status == 400

    on_cloud_rig(test)


def test_the_class_default_is_everybodys() -> None:
    async def test(rig: CloudRig) -> None:
        path = "/os-quota-class-sets/default"
        assert (await rig.ask("GET", path)).status == 403
        old = (await rig.ask("GET", path, who=ADMIN)).body["quota_class_set"]
        assert "floating_ips" in old
        assert "server_groups" not in old
        assert "server_groups" in (await rig.ask("GET", path, who=ADMIN, version="2.50")).body["quota_class_set"]
        assert (await rig.ask("PUT", path, {"quota_class_set": {"cores": 7}}, who=ADMIN)).body["quota_class_set"]["cores"] == 7
        assert (await rig.ask("GET", MINE)).body["quota_set"]["cores"] == 7
        assert (await rig.ask("PUT", "/os-quota-class-sets/gold", {"quota_class_set": {"cores": 7}}, who=ADMIN)).status == 400

    on_cloud_rig(test)


def test_limits_tell_what_is_used() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server("s1", vcpus=3)
        absolute = (await rig.ask("GET", "/limits")).body["limits"]["absolute"]
        assert (absolute["maxTotalCores"], absolute["totalCoresUsed"], absolute["maxImageMeta"]) == (20, 3, 128)
        assert "maxSecurityGroups" in absolute
        newer = (await rig.ask("GET", "/limits", version="2.57")).body["limits"]["absolute"]
        assert not {"maxSecurityGroups", "maxImageMeta", "maxPersonality"} & set(newer)
        assert (await rig.ask("GET", f"/limits?tenant_id={PROJECTS[ALICE]}", who=BOB)).status == 403
        other = await rig.ask("GET", f"/limits?tenant_id={PROJECTS[ALICE]}", who=ADMIN)
        assert other.body["limits"]["absolute"]["totalInstancesUsed"] == 1

    on_cloud_rig(test)
