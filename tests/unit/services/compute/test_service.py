"""How the service starts and ends."""

from tests.support.cloud_rig import CloudRig, on_cloud_rig


def test_starting_twice_changes_nothing() -> None:
    async def test(rig: CloudRig) -> None:
        await rig.report()
        await rig.service.start()
        assert [host.name for host in await rig.service.hosts.all()] == ["h1"]

    on_cloud_rig(test)
