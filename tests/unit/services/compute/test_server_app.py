"""The servers' part as a whole."""

import pytest

from objstore.errors import Unavailable
from objstore.services.compute.server_app import HostVolumes, ServerPart
from tests.support.compute_rig import ComputeRig, on_compute_rig


def test_every_route_is_served_once_and_jobs_go_on_after_a_start() -> None:
    async def test(rig: ComputeRig) -> None:
        assert len(rig.part.routes()) > 35
        id_ = await rig.made_server(wait="")
        assert await rig.jobs_left() == 1
        part = ServerPart(rig.context())
        await part.start()
        try:
            await rig.until_server(id_, "ACTIVE")
        finally:
            await part.aclose()

    on_compute_rig(test, working=False)


def test_volumes_reach_their_hosts() -> None:
    async def test(rig: ComputeRig) -> None:
        volume = await rig.volume()
        id_ = await rig.made_server()
        await rig.ask("POST", f"/servers/{id_}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}})
        view = await rig.becomes(volume, "in-use")
        snapshot = await rig.desk.create_snapshot("a" * 32, "u", volume)
        for _ in range(100):
            if (await rig.desk.find_snapshot("a" * 32, snapshot)).status == "available":
                break
            await rig.clock.sleep(0.1)
        host = rig.hosts[(await rig.record(id_)).host]
        assert type(host.calls[-1]).__name__ == "SnapshotVolume"
        hosts = HostVolumes(rig.context())
        await hosts.resize(host.name, view.data, 2 << 30)
        assert type(host.calls[-1]).__name__ == "ResizeVolume"
        await hosts.extended(id_, volume)
        for call in (hosts.resize("", view.data, 1), hosts.snapshot("", view.data, view.data)):
            with pytest.raises(Unavailable):
                await call

    on_compute_rig(test)
