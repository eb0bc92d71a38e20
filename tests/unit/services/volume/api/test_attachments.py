"""The attachments API."""

from objstore.services.volume.api.records import MAX_ATTACHMENTS
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, PROJECTS

SERVER, OTHER = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"


def test_an_attachment_is_reserved_connected_completed_and_removed() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        body = {"attachment": {"volume_uuid": id_, "instance_uuid": SERVER, "mode": "ro"}}
        made = (await rig.got("POST", "/attachments", body))["attachment"]
        assert (made["status"], made["instance"], made["attach_mode"], made["connection_info"]) == ("reserved", SERVER, "ro", {})
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "reserved"
        await rig.got("POST", "/attachments", body, 400)
        where = f"/attachments/{made['id']}"
        await rig.got("POST", f"{where}/action", {"os-complete": {}}, 400)
        await rig.got("PUT", where, {"attachment": {}}, 400)
        changed = (await rig.got("PUT", where, {"attachment": {"connector": {"host": "h", "mountpoint": "/dev/vdb"}}}))["attachment"]
        assert (changed["status"], changed["connection_info"]["volume_id"]) == ("attaching", id_)
        await rig.got("POST", f"{where}/action", {"os-complete": {}}, 204)
        assert (await rig.got("GET", where))["attachment"]["status"] == "attached"
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["attachments"][0]["host_name"] == "h"
        assert [a["id"] for a in (await rig.got("GET", f"/attachments/detail?volume_id={id_}"))["attachments"]] == [made["id"]]
        assert (await rig.got("DELETE", where))["attachments"] == []
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "available"
        assert (await rig.api("GET", where)).status == 404

    on_block_rig(test)


def test_several_servers_share_a_volume_whose_type_says_so() -> None:
    async def test(rig: BlockRig) -> None:
        fields = {"name": "shared", "extra_specs": {"multiattach": "<is> True"}}
        await rig.got("POST", "/types", {"volume_type": fields}, who=ADMIN)
        id_ = await rig.volume(volume_type="shared")
        for server in (SERVER, OTHER):
            body = {"attachment": {"volume_uuid": id_, "instance_uuid": server, "connector": {"host": "h"}}}
            made = (await rig.got("POST", "/attachments", body))["attachment"]
            await rig.got("POST", f"/attachments/{made['id']}/action", {"os-complete": {}}, 204)
        for number in range(MAX_ATTACHMENTS - 2):
            await rig.desk.reserve(PROJECTS[ALICE], id_, f"server {number}")
        assert "no more" in str(await rig.got("POST", "/attachments", {"attachment": {"volume_uuid": id_}}, 400))
        for number in range(MAX_ATTACHMENTS - 2):
            await rig.desk.end_all(f"server {number}")
        left = (await rig.got("DELETE", f"/attachments/{made['id']}"))["attachments"]
        assert [one["instance"] for one in left] == [SERVER]
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "in-use"

    on_block_rig(test)


def test_what_is_no_attachment_is_refused() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        for fields, status in (
            ({}, 400), ({"volume_uuid": SERVER}, 404), ({"volume_uuid": "x"}, 400), ({"volume_uuid": id_, "mode": "x"}, 400),
            ({"volume_uuid": id_, "connector": []}, 400), ({"volume_uuid": id_, "connector": {"a": "b" * 20_000}}, 400), ({"volume_uuid": id_, "instance_uuid": 5}, 400),
        ):  # fmt: skip
            await rig.got("POST", "/attachments", {"attachment": fields}, status)
        assert (await rig.api("GET", f"/attachments/{SERVER}")).status == 404

    on_block_rig(test)
