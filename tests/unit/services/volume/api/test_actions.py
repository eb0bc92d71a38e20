"""Actions on volumes."""

import pytest

from tests.support.block_rig import GIB, BlockRig, on_block_rig
from tests.support.image_rig import ADMIN

SERVER = "11111111-1111-4111-8111-111111111111"


def test_a_volume_grows_and_never_shrinks() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.act(id_, "os-extend", {"new_size": "3"})
        await rig.becomes(id_, "available")
        await rig.stored()
        assert (await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).size_bytes == 3 * GIB
        for size, status in ((3, 400), (2, 400), (0, 400), ("x", 400), (None, 400), (11, 413)):
            await rig.act(id_, "os-extend", {"new_size": size}, status)
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["size"] == 3

    on_block_rig(test, quota_gigabytes=10)


def test_flags_types_and_image_metadata_change() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.act(id_, "os-set_bootable", {"bootable": True}, 200)
        await rig.act(id_, "os-update_readonly_flag", {"readonly": "true"})
        await rig.got("POST", "/types", {"volume_type": {"name": "t"}}, who=ADMIN)
        await rig.act(id_, "os-retype", {"new_type": "t", "migration_policy": "never"})
        await rig.act(id_, "os-retype", {"new_type": "t"}, 400)
        await rig.act(id_, "os-retype", {"new_type": "none"}, 404)
        assert (await rig.act(id_, "os-set_image_metadata", {"metadata": {"a": "b", "c": "d"}}, 200))["metadata"] == {"a": "b", "c": "d"}
        await rig.act(id_, "os-unset_image_metadata", {"key": "a"}, 200)
        await rig.act(id_, "os-unset_image_metadata", {"key": "a"}, 404)
        assert (await rig.act(id_, "os-show_image_metadata", None, 200))["metadata"] == {"c": "d"}
        shown = (await rig.got("GET", f"/volumes/{id_}"))["volume"]
        assert (shown["bootable"], shown["metadata"], shown["volume_type"], shown["volume_image_metadata"]) == (
            "true", {"readonly": "True"}, "t", {"c": "d"},
        )  # fmt: skip

    on_block_rig(test)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400), ({"os-nothing": {}}, 400), ({"os-extend": 5}, 400), ({"os-extend": {}}, 400), ({"os-set_bootable": {}}, 400),
        ({"os-set_bootable": {"bootable": "maybe"}}, 400), ({"os-update_readonly_flag": None}, 400), ({"os-reset_status": {"status": "error"}}, 403),
        ({"os-force_delete": {}}, 403), ({"os-migrate_volume": {"host": "x"}}, 501), ({"os-initialize_connection": {"connector": {}}}, 501),
        ({"os-extend": {"new_size": 2}, "os-retype": {}}, 400), ({"os-extend_volume_completion": {}}, 403), ({"revert": {}}, 404), ({"os-reimage": {}}, 400),
        ({"os-set_image_metadata": {}}, 400), ({"os-retype": {}}, 400), ({"os-retype": {"new_type": "__DEFAULT__"}}, 400),
        ({"os-volume_upload_image": {}}, 400),
    ],
)  # fmt: skip
def test_what_is_no_action_is_refused(body: object, status: int) -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        assert (await rig.api("POST", f"/volumes/{id_}/action", body)).status == status
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "available"

    on_block_rig(test)


def test_the_administrator_sets_states_and_cannot_give_a_volume_to_two_servers_so() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        project = (await rig.desk.find("", id_, is_admin=True)).project
        attachment = await rig.desk.reserve(project, id_, SERVER)
        await rig.desk.attached(attachment, "h", "/dev/vdb")
        await rig.act(id_, "os-reset_status", {"status": "available", "attach_status": "detached"}, who=ADMIN)
        await rig.got("POST", "/attachments", {"attachment": {"volume_uuid": id_}}, 400)
        await rig.act(id_, "os-attach", {"instance_uuid": SERVER, "mountpoint": "/dev/vdc"}, 409)
        assert (await rig.api("DELETE", f"/volumes/{id_}")).status == 400
        await rig.act(id_, "os-force_delete", {}, 400, who=ADMIN)
        for fields in ({"status": "odd"}, {}, {"attach_status": "odd"}, {"status": 5}):
            await rig.act(id_, "os-reset_status", fields, 400, who=ADMIN)

    on_block_rig(test)


def test_a_volume_is_reverted_to_its_newest_snapshot() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"before")
        id_ = await rig.volume(image_id=image)
        snapshots = []
        for _ in range(2):
            snapshots.append((await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202))["snapshot"]["id"])
            await rig.stored()
        other = await rig.image(b"after!")
        await rig.act(id_, "os-reimage", {"image_id": other})
        found = await rig.becomes(id_, "available")
        assert await rig.bytes_of(found.data, 6) == b"after!"
        assert found.data != id_.replace("-", "")
        await rig.act(id_, "revert", {"snapshot_id": snapshots[0]}, 400)
        await rig.act(id_, "revert", {"snapshot_id": snapshots[1]})
        found = await rig.becomes(id_, "available")
        assert await rig.bytes_of(found.data, 6) == b"before"
        for snapshot in snapshots:
            await rig.got("DELETE", f"/snapshots/{snapshot}", None, 202)
        await rig.stored()
        await rig.got("DELETE", f"/volumes/{id_}", None, 202)
        assert len(await rig.stored()) == 2  # the images' bases: all other data went

    on_block_rig(test)


def test_a_volume_that_is_in_use_is_not_made_anew() -> None:
    async def test(rig: BlockRig) -> None:
        id_, image = await rig.volume(), await rig.image(b"x")
        large = await rig.image(b"x", min_disk=2)
        await rig.act(id_, "os-reimage", {"image_id": large}, 400)
        await rig.act(id_, "os-reserve", {})
        await rig.act(id_, "os-reimage", {"image_id": image}, 409)

    on_block_rig(test)


def test_what_a_volume_keeps_of_its_image_has_a_limit() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.act(id_, "os-set_image_metadata", {"metadata": {str(number): "" for number in range(127)}}, 200)
        await rig.act(id_, "os-set_image_metadata", {"metadata": {"one": "", "more": ""}}, 413)
        await rig.act(id_, "os-set_image_metadata", {"metadata": {"one": ""}}, 200)

    on_block_rig(test)
