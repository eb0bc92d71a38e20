"""Attachments that their API did not finish."""

from typing import Any

import pytest
from sqlalchemy import Connection

from objstore.services.compute import records
from objstore.services.compute.records import RESERVING, WANTED, Disk, Nic
from tests.support.compute_rig import ComputeRig, on_compute_rig
from tests.support.image_rig import ALICE, BOB, PROJECTS


@pytest.mark.parametrize("owner", [ALICE, BOB])  # bob's an administrator can have named
def test_a_reservation_that_nobody_wrote_down_is_taken_back(owner: str) -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        volume = await rig.volume(owner)
        disk = Disk(
            "d9", id_, 9, RESERVING, "", volume, "", "volume", "volume", volume, 0, "", "vdz", "virtio", -1, delete_on_termination=False
        )
        context = rig.part.context

        def begun(connection: object) -> None:
            records.add_disk(connection, disk)  # type: ignore[arg-type]
            context.enqueue(connection, "unreserve", id_, {"disk": "d9"}, delay_s=60.0)  # type: ignore[arg-type]

        await context.write(begun)
        await rig.desk.reserve("a" * 32, volume, id_, is_admin=owner == BOB)
        assert (await rig.ask("GET", f"/servers/{id_}/os-volume_attachments")).body == {"volumeAttachments": []}
        assert (await rig.desk.find(PROJECTS[owner], volume)).status == "reserved"
        await rig.clock.sleep(62)
        assert (await rig.desk.find(PROJECTS[owner], volume)).status == "available"
        assert [found.id for found in (await rig.record(id_)).disks if found.id == "d9"] == []

    on_compute_rig(test)


def test_a_reservation_that_is_being_taken_back_is_not_begun_any_more() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        volume = await rig.volume()
        context = rig.part.context
        reserve = rig.desk.reserve

        async def slow(*args: Any, **named: Any) -> str:
            attachment = await reserve(*args, **named)
            if named:  # the API's call: the job that takes it back comes before the API goes on
                (disk,) = [disk for disk in (await rig.record(id_)).disks if disk.is_volume]
                await context.write(lambda connection: context.enqueue(connection, "unreserve", id_, {"disk": disk.id}))
                await rig.clock.sleep(0.05)
            else:
                await rig.clock.sleep(0.1)
            return attachment

        rig.desk.reserve = slow  # type: ignore[method-assign]
        reply = await rig.ask("POST", f"/servers/{id_}/os-volume_attachments", {"volumeAttachment": {"volumeId": volume}})
        assert reply.status == 404
        await rig.clock.sleep(1.0)
        assert (await rig.desk.find("a" * 32, volume)).status == "available"
        assert [disk.state for disk in (await rig.record(id_)).disks] == ["ready"]

    on_compute_rig(test)


def test_a_volume_that_is_gone_leaves_no_row() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        gone = "0f0f0f0f-1111-4222-8333-444444444444"
        disk = Disk(
            "d9", id_, 9, RESERVING, "", gone, "", "volume", "volume", gone, 0, "", "vdz", "virtio", -1, delete_on_termination=False
        )
        context = rig.part.context

        def begun(connection: object) -> None:
            records.add_disk(connection, disk)  # type: ignore[arg-type]
            context.enqueue(connection, "unreserve", id_, {"disk": "d9"})  # type: ignore[arg-type]

        await context.write(begun)
        for _ in range(100):
            if not await rig.jobs_left():
                break
            await rig.clock.sleep(0.1)
        assert len((await rig.record(id_)).disks) == 1

    on_compute_rig(test)


def test_a_reservation_that_was_made_when_the_server_was_gone_is_taken_back() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server()
        volume = await rig.volume()
        context = rig.part.context
        await rig.ask("DELETE", f"/servers/{id_}")
        await rig.until_server(id_, "GONE")
        await rig.desk.reserve("a" * 32, volume, id_)
        await context.write(lambda connection: context.enqueue(connection, "unreserve", id_, {"disk": "d9"}))
        await rig.becomes(volume, "available")

    on_compute_rig(test)


def test_a_port_that_another_server_has_stays_there_when_a_card_is_refused() -> None:
    async def test(rig: ComputeRig) -> None:
        first, second = await rig.made_server(), await rig.made_server()
        port = (await rig.record(first)).nics[0].port
        nic = Nic("n9", second, 9, WANTED, port, rig.network, "", "", made=False, tag="", created_us=0)
        context = rig.part.context

        def begun(connection: Connection) -> None:
            records.add_nic(connection, nic)
            context.enqueue(connection, "attach-nic", second, {"nic": "n9"})

        await context.write(begun)
        for _ in range(100):
            if not await rig.jobs_left():
                break
            await rig.clock.sleep(0.1)
        assert len((await rig.record(second)).nics) == 1
        assert [found.id for found in (await rig.network_desk.ports_of([first]))[first]] == [port]

    on_compute_rig(test)
