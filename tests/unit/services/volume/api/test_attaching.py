"""The older actions by which clients attach volumes."""

from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, PROJECTS

SERVER = "11111111-1111-4111-8111-111111111111"


def test_a_volume_is_reserved_attached_and_detached() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.act(id_, "os-reserve")
        await rig.act(id_, "os-reserve", {}, 400)
        await rig.act(id_, "os-unreserve")
        await rig.act(id_, "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdc", "mode": "rw"})
        shown = (await rig.got("GET", f"/volumes/{id_}"))["volume"]
        (attachment,) = shown["attachments"]
        assert (shown["status"], attachment["server_id"], attachment["device"], attachment["volume_id"]) == (
            "in-use",
            SERVER,
            "/dev/vdc",
            id_,
        )
        await rig.act(id_, "os-begin_detaching")
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "detaching"
        await rig.act(id_, "os-roll_detaching")
        await rig.act(id_, "os-detach", {"attachment_id": SERVER}, 404)
        await rig.act(id_, "os-detach", {"attachment_id": attachment["attachment_id"]})
        await rig.act(id_, "os-detach", {})  # it is so already
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["attachments"] == []
        await rig.act(id_, "os-terminate_connection", {"connector": {}})
        await rig.act(id_, "os-terminate_connection", {}, 400)

    on_block_rig(test)


def test_an_attachment_names_one_target_and_a_mode_that_the_volume_has() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        for fields in (
            {}, {"mountpoint": "/dev/vdc"}, {"instance_uuid": SERVER}, {"instance_uuid": "x", "mountpoint": "/dev/vdc"},
            {"instance_uuid": SERVER, "host_name": "h", "mountpoint": "/dev/vdc"}, {"instance_uuid": SERVER, "mountpoint": "/dev/vdc", "mode": "x"},
        ):  # fmt: skip
            await rig.act(id_, "os-attach", fields, 400)
        await rig.act(id_, "os-update_readonly_flag", {"readonly": True})
        await rig.act(id_, "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdc"}, 400)
        await rig.act(id_, "os-attach", {"host_name": "h", "mountpoint": "/dev/vdc", "mode": "ro"})
        await rig.act(id_, "os-force_detach", {}, 403)
        await rig.act(id_, "os-reset_status", {"status": "error"}, who=ADMIN)
        await rig.act(id_, "os-force_detach", {}, who=ADMIN)
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "available"

    on_block_rig(test)


def test_no_client_takes_a_volume_away_from_under_a_guest() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        attachment = await rig.desk.reserve(PROJECTS[ALICE], id_, SERVER)
        await rig.desk.attached(attachment, "h", "/dev/vdb")
        for who in (ALICE, ADMIN):
            for action, fields in (
                ("os-detach", {"attachment_id": attachment}), ("os-begin_detaching", {}), ("os-terminate_connection", {"connector": {}}),
                ("os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdd"}),
            ):  # fmt: skip
                await rig.act(id_, action, fields, 409, who=who)
            assert (await rig.api("DELETE", f"/attachments/{attachment}", who=who)).status == 409
        await rig.act(id_, "os-force_detach", {"attachment_id": attachment}, 409, who=ADMIN)
        assert (await rig.desk.find(PROJECTS[ALICE], id_)).status == "in-use"

    on_block_rig(test)
