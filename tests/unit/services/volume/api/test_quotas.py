"""Calls on quotas and limits."""

import pytest

from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS

MINE = f"/os-quota-sets/{PROJECTS[ALICE]}"


def test_a_projects_limits_are_shown_set_and_dropped() -> None:
    async def test(rig: BlockRig) -> None:
        await rig.volume(size_gb=2)
        assert (await rig.got("GET", MINE))["quota_set"]["volumes"] == 100
        usage = (await rig.got("GET", f"{MINE}?usage=True"))["quota_set"]
        assert (usage["volumes"], usage["gigabytes"]["in_use"]) == ({"limit": 100, "in_use": 1, "reserved": 0}, 2)
        assert (await rig.api("GET", MINE, who=BOB)).status == 403
        assert (await rig.api("PUT", MINE, {"quota_set": {"volumes": 1}})).status == 403
        changed = await rig.got("PUT", MINE, {"quota_set": {"volumes": "1", "gigabytes": -1, "tenant_id": "x"}}, who=ADMIN)
        assert (changed["quota_set"]["volumes"], changed["quota_set"]["gigabytes"]) == (1, -1)
        assert (await rig.api("POST", "/volumes", {"volume": {"size": 1}})).status == 413
        absolute = (await rig.got("GET", "/limits"))["limits"]["absolute"]
        assert (absolute["maxTotalVolumes"], absolute["totalVolumesUsed"]) == (1, 1)
        await rig.got("DELETE", MINE, who=ADMIN)
        assert (await rig.got("GET", f"{MINE}/defaults"))["quota_set"]["volumes"] == 100
        assert (await rig.got("GET", MINE))["quota_set"]["volumes"] == 100

    on_block_rig(test)


@pytest.mark.parametrize(
    "given", [{}, {"colour": 5}, {"volumes": "x"}, {"volumes": -2}, {"volumes": 2**31}, {"volumes": None}, {"volumes": 1.5}, []]
)
def test_limits_that_are_none_are_refused(given: object) -> None:
    async def test(rig: BlockRig) -> None:
        for where, name in ((MINE, "quota_set"), ("/os-quota-class-sets/default", "quota_class_set")):
            assert (await rig.api("PUT", where, {name: given}, who=ADMIN)).status == 400

    on_block_rig(test)


def test_the_default_class_is_everybodys() -> None:
    async def test(rig: BlockRig) -> None:
        where = "/os-quota-class-sets/default"
        assert (await rig.api("GET", where)).status == 403
        assert (await rig.got("PUT", where, {"quota_class_set": {"snapshots": 3}}, who=ADMIN))["quota_class_set"]["snapshots"] == 3
        assert (await rig.got("GET", MINE))["quota_set"]["snapshots"] == 3
        assert (await rig.got("GET", where, who=ADMIN))["quota_class_set"]["id"] == "default"

    on_block_rig(test)
