"""Quotas: defaults, classes, projects, types."""

import pytest

from objstore.services.calls.problems import CallRefused
from objstore.services.volume.api import limits
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ALICE, PROJECTS

MINE = PROJECTS[ALICE]


def test_a_project_has_its_own_limits_then_those_of_the_class_then_the_settings() -> None:
    async def test(rig: BlockRig) -> None:
        settings = rig.block.settings

        async def of(project: str) -> dict[str, int]:
            return await rig.sql.read(lambda connection: limits.limits_of(connection, settings, project))

        assert (await of(MINE))["volumes"] == 7
        await rig.sql.write(
            lambda connection: limits.set_limits(connection, limits.CLASS_KIND, limits.CLASS, {"volumes": 8, "snapshots": 9})
        )
        await rig.sql.write(lambda connection: limits.set_limits(connection, limits.PROJECT_KIND, MINE, {"volumes": 1}))
        assert ((await of(MINE))["volumes"], (await of(MINE))["snapshots"]) == (1, 9)
        assert (await of("another"))["volumes"] == 8
        await rig.sql.write(lambda connection: limits.drop_limits(connection, MINE))
        assert (await of(MINE))["volumes"] == 8
        assert (await of(MINE))["gigabytes___DEFAULT__"] == -1

    on_block_rig(test, quota_volumes=7)


def test_types_have_limits_of_their_own_and_volumes_a_size() -> None:
    async def test(rig: BlockRig) -> None:
        await rig.sql.write(lambda connection: limits.set_limits(connection, limits.PROJECT_KIND, MINE, {"volumes___DEFAULT__": 1}))
        await rig.volume()
        used = await rig.sql.read(lambda connection: limits.used_by(connection, MINE))
        assert (used["volumes"], used["gigabytes"], used["volumes___DEFAULT__"], used["gigabytes___DEFAULT__"]) == (1, 1, 1, 1)
        with pytest.raises(CallRefused, match="volumes___DEFAULT__"):
            await rig.volume()
        with pytest.raises(CallRefused, match="larger than maximum"):
            await rig.volume(size_gb=4)

    on_block_rig(test, quota_per_volume_gigabytes=3)
