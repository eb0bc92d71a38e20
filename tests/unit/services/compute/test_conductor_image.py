"""Images whose making is disturbed."""

import pytest

from objstore.errors import NoSuchKey, Unavailable
from tests.support.compute_rig import ComputeRig, on_compute_rig
from tests.unit.services.compute.test_conductor import alone, built, jobs_of


def test_an_image_that_goes_while_it_is_made_leaves_no_snapshot() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        host = rig.hosts[(await rig.record(id_)).host]
        host.loses.add("snapshot_volume")
        image_id = (await rig.act(id_, "createImage", {"name": "i"}, version="2.45")).body["image_id"]
        await rig.clock.sleep(0.5)
        assert (await rig.ask("DELETE", f"/v2/images/{image_id}")).status == 204
        await rig.until_server(id_, "ACTIVE")
        assert not (await rig.volumes.head(bytes.fromhex((await rig.record(id_)).disks[0].volume))).pins

    on_compute_rig(test)


def test_a_server_that_is_deleted_while_its_image_is_made_goes_at_once() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        record = await rig.record(id_)
        rig.hosts[record.host].loses.add("snapshot_volume")
        image_id = (await rig.act(id_, "createImage", {"name": "i"}, version="2.45")).body["image_id"]
        await rig.clock.sleep(0.5)
        assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
        await rig.until_server(id_, "GONE")
        assert (await rig.show(image_id))["status"] == "killed"
        with pytest.raises(NoSuchKey):
            await rig.volumes.head(bytes.fromhex(record.disks[0].volume))

    on_compute_rig(test)


def test_a_stopped_server_needs_no_host_for_its_image() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        await rig.act(id_, "os-stop")
        await rig.until_server(id_, "SHUTOFF")
        rig.hosts[(await rig.record(id_)).host].down = True
        image_id = (await rig.act(id_, "createImage", {"name": "i"}, version="2.45")).body["image_id"]
        await rig.until_server(id_, "SHUTOFF")
        assert (await rig.show(image_id))["status"] == "active"

    on_compute_rig(test)


def test_an_image_waits_for_a_disk_that_is_held_and_not_served() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        record = await rig.record(id_)
        host, volume = rig.hosts[record.host], bytes.fromhex(record.disks[0].volume)
        host.refuses["snapshot_volume"] = (404, "the volume is not attached here")
        image_id = (await rig.act(id_, "createImage", {"name": "i"}, version="2.45")).body["image_id"]
        await rig.clock.sleep(3.0)
        assert (await rig.show(image_id))["status"] == "queued"
        assert not (await rig.volumes.head(volume)).pins
        del host.refuses["snapshot_volume"]
        await rig.until_server(id_, "ACTIVE")
        while (await rig.show(image_id))["status"] != "active":
            await rig.clock.sleep(1.0)

    on_compute_rig(test)


def test_an_image_that_is_given_up_does_not_keep_a_server_from_going() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await built(rig, await rig.bootable())
        rig.hosts[(await rig.record(id_)).host].loses.add("snapshot_volume")
        image_id = (await rig.act(id_, "createImage", {"name": "i"}, version="2.45")).body["image_id"]
        (imaging,) = await jobs_of(rig)
        with pytest.raises(Unavailable):
            await alone(rig).run(imaging)
        assert (await rig.ask("DELETE", f"/servers/{id_}")).status == 204
        _, removing = await jobs_of(rig)
        with pytest.raises(Unavailable):
            await alone(rig).run(removing)
        await alone(rig).give_up(imaging)
        await alone(rig).run(removing)
        assert await rig.leftovers(id_) == {}
        assert (await rig.show(image_id))["status"] == "killed"

    on_compute_rig(test, working=False)
