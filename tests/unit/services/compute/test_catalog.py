"""What servers ask for when they are made."""

import pytest
from sqlalchemy import Connection

from objstore.services.calls.problems import CallRefused
from objstore.services.compute.desks import Key
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS
from tests.unit.services.compute.test_ssh_keys import KNOWN

MINE = PROJECTS[ALICE]


def test_flavors_keys_groups_and_limits_are_found() -> None:
    async def test(rig: CloudRig) -> None:
        catalog = rig.service.catalog
        flavor = {"id": "1", "name": "m1", "ram": 512, "vcpus": 1, "disk": 3, "swap": 64}
        await rig.ask("POST", "/flavors", {"flavor": flavor}, who=ADMIN)
        await rig.ask("POST", "/os-keypairs", {"keypair": {"name": "k", "public_key": KNOWN}})
        made = await rig.ask("POST", "/os-server-groups", {"server_group": {"name": "g", "policies": ["affinity"]}})
        group = made.body["server_group"]["id"]

        def work(connection: Connection) -> None:
            found = catalog.flavor(connection, MINE, "1", is_admin=False)
            assert found is not None
            assert (found.memory_mb, found.root_gb, found.swap_mb) == (512, 3, 64)
            assert catalog.flavor(connection, MINE, "2", is_admin=True) is None
            assert catalog.key(connection, rig.user_id(ALICE), "k") == Key("k", "ssh", KNOWN)
            assert catalog.key(connection, rig.user_id(BOB), "k") is None
            catalog.check_group(connection, MINE, group, adding=2)
            with pytest.raises(CallRefused, match="too many servers"):
                catalog.check_group(connection, MINE, group, adding=3)
            with pytest.raises(CallRefused, match="could not be found"):
                catalog.check_group(connection, PROJECTS[BOB], group, adding=1)
            catalog.check_quota(connection, MINE, instances=10, cores=1, memory_mb=1)
            with pytest.raises(CallRefused, match="Quota exceeded for instances"):
                catalog.check_quota(connection, MINE, instances=11, cores=1, memory_mb=1, user_id="u")
            assert catalog.metadata_limit(connection, MINE) == 128

        await rig.sql.read(work)

    on_cloud_rig(test, quota_server_group_members=2)
