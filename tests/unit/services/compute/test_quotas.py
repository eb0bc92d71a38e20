"""Quotas as they are kept."""

import pytest
from sqlalchemy import Connection

from objstore.services.calls.problems import CallRefused
from objstore.services.compute import quotas
from objstore.services.compute.desks import Flavor
from objstore.services.compute.records import json_text
from tests.support.cloud_rig import CloudRig, on_cloud_rig
from tests.support.image_rig import ALICE, PROJECTS

ALICES = PROJECTS[ALICE]


def test_the_nearest_limit_counts() -> None:
    async def test(rig: CloudRig) -> None:
        settings = rig.service.settings

        def work(connection: Connection) -> list[int]:
            found = [quotas.limit_of(connection, settings, "p", "cores")]
            quotas.put(connection, quotas.EVERYBODY, "", "cores", 30)
            found.append(quotas.limit_of(connection, settings, "p", "cores"))
            quotas.change(connection, settings, "p", {"cores": 40})
            found.append(quotas.limit_of(connection, settings, "p", "cores"))
            quotas.change(connection, settings, "p", {"cores": 5}, user_id="u")
            found += [quotas.limit_of(connection, settings, "p", "cores", "u"), quotas.limit_of(connection, settings, "p", "cores", "v")]
            quotas.forget(connection, "p")
            return [*found, quotas.limit_of(connection, settings, "p", "cores", "u")]

        assert await rig.sql.write(work) == [20, 30, 40, 5, 40, 30]

    on_cloud_rig(test)


def test_what_servers_have_counts_until_they_are_gone() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.add_server("s1", vcpus=2)
        await rig.add_server("s2", memory_mb=1024)
        await rig.add_server("s3", deleted_us=9)
        await rig.add_server("s4", project="other")
        used = await rig.sql.read(lambda connection: quotas.used_of(connection, ALICES))
        assert used == {"instances": 2, "cores": 3, "ram": 1536, "server_groups": 0}
        assert (await rig.sql.read(lambda connection: quotas.used_of(connection, ALICES, "nobody")))["cores"] == 0
        settings = rig.service.settings
        with pytest.raises(CallRefused, match="Quota exceeded for cores: Requested 18, but already used 3 of 20 cores"):
            await rig.sql.read(lambda connection: quotas.check(connection, settings, ALICES, {"cores": 18, "ram": 1}))
        await rig.sql.read(lambda connection: quotas.check(connection, settings, ALICES, {"cores": 17, "instances": 8}))
        with pytest.raises(CallRefused, match="must be greater than or equal to already used"):
            await rig.sql.write(lambda connection: quotas.change(connection, settings, ALICES, {"cores": 2}))
        await rig.sql.write(lambda connection: quotas.change(connection, settings, ALICES, {"cores": 2}, force=True))
        await rig.sql.write(lambda connection: quotas.change(connection, settings, ALICES, {"cores": -1}))
        await rig.sql.read(lambda connection: quotas.check(connection, settings, ALICES, {"cores": 1000}))

    on_cloud_rig(test)


def test_a_server_that_is_resized_counts_as_the_larger_of_both_sizes() -> None:
    async def test(rig: CloudRig) -> None:
        larger = json_text(Flavor("2", "small", 4, 256, 1))
        await rig.add_server("s1", vcpus=2, memory_mb=512, other_flavor=larger)
        await rig.add_server("s2", vcpus=2, memory_mb=512)
        await rig.add_server("s3", vcpus=2, deleted_us=9, other_flavor=larger)
        used = await rig.sql.read(lambda connection: quotas.used_of(connection, ALICES))
        assert (used["instances"], used["cores"], used["ram"]) == (2, 6, 1024)

    on_cloud_rig(test)
