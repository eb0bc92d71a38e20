"""Calls on snapshots."""

import pytest

from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN

NOBODY = "00000000-0000-4000-8000-000000000000"


def test_a_snapshot_is_made_shown_changed_listed_and_removed() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume(size_gb=3)
        body = {"snapshot": {"volume_id": id_, "name": "s", "description": "d", "metadata": {"a": "b"}}}
        made = (await rig.got("POST", "/snapshots", body, 202))["snapshot"]
        assert (made["status"], made["size"], made["metadata"], made["volume_id"]) == ("creating", 3, {"a": "b"}, id_)
        await rig.stored()
        shown = (await rig.got("GET", f"/snapshots/{made['id']}"))["snapshot"]
        assert (shown["status"], shown["os-extended-snapshot-attributes:progress"]) == ("available", "100%")
        assert (await rig.got("PUT", f"/snapshots/{made['id']}", {"snapshot": {"name": "t"}}))["snapshot"]["name"] == "t"
        assert [s["id"] for s in (await rig.got("GET", f"/snapshots/detail?volume_id={id_}&name=t"))["snapshots"]] == [made["id"]]
        assert (await rig.got("GET", "/snapshots?metadata=%7B'a':'c'%7D"))["snapshots"] == []
        await rig.got("DELETE", f"/snapshots/{made['id']}", None, 202)
        await rig.stored()
        assert (await rig.api("GET", f"/snapshots/{made['id']}")).status == 404

    on_block_rig(test)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400), ({"volume_id": None}, 404), ({"volume_id": NOBODY}, 404), ({"volume_id": "x"}, 400), ({"volume_id": NOBODY, "name": 5}, 400),
        ({"volume_id": NOBODY, "force": "maybe"}, 400), ({"volume_id": NOBODY, "metadata": []}, 400), ({"volume_id": NOBODY, "force": False}, 400),
    ],
)  # fmt: skip
def test_what_a_client_may_not_say_of_a_new_snapshot_is_refused(fields: dict[str, object], status: int) -> None:
    async def test(rig: BlockRig) -> None:
        assert (await rig.api("POST", "/snapshots", {"snapshot": fields})).status == status

    on_block_rig(test)


def test_a_volume_in_use_needs_force_in_old_versions() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.act(id_, "os-attach", {"instance_uuid": NOBODY, "mountpoint": "/dev/vdc"})
        body = {"snapshot": {"volume_id": id_}}
        assert (await rig.api("POST", "/snapshots", body, version="3.0")).status == 400
        body["snapshot"]["force"] = True  # type: ignore[assignment]
        assert (await rig.api("POST", "/snapshots", body, version="3.0")).status == 202
        assert (await rig.api("POST", "/snapshots", {"snapshot": {"volume_id": id_}})).status == 202

    on_block_rig(test)


def test_states_are_the_administrators_to_set() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        snapshot = (await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202))["snapshot"]["id"]
        await rig.stored()
        where = f"/snapshots/{snapshot}/action"
        assert (await rig.api("POST", where, {"os-reset_status": {"status": "error"}})).status == 403
        await rig.got("POST", where, {"os-reset_status": {"status": "creating"}}, 202, who=ADMIN)
        assert (await rig.api("DELETE", f"/snapshots/{snapshot}")).status == 400
        await rig.got("POST", where, {"os-update_snapshot_status": {"status": "deleting"}}, 400)
        await rig.got("POST", where, {"os-update_snapshot_status": {"status": "error", "progress": "80%"}}, 202)
        assert (await rig.got("GET", f"/snapshots/{snapshot}"))["snapshot"]["os-extended-snapshot-attributes:progress"] == "80%"
        for body, status in (
            ({"os-reset_status": {"status": "odd"}}, 400), ({"os-reset_status": {}}, 400), ({"nothing": {}}, 400), ({}, 400), ({"os-unmanage": {}}, 501),
            ({"os-update_snapshot_status": {"status": "error", "progress": "101%"}}, 400),
        ):  # fmt: skip
            assert (await rig.api("POST", where, body, who=ADMIN)).status == status
        await rig.got("POST", where, {"os-force_delete": {}}, 202, who=ADMIN)
        await rig.stored()
        assert (await rig.got("GET", "/snapshots"))["snapshots"] == []

    on_block_rig(test)
