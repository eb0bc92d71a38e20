"""Calls on backups."""

import pytest

from objstore.services.volume.api import records
from objstore.services.volume.api.tables import BACKUPS
from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, BOB

NOBODY = "00000000-0000-4000-8000-000000000000"


async def backed_up(rig: BlockRig, volume: str, **fields: object) -> str:
    made = (await rig.got("POST", "/backups", {"backup": {"volume_id": volume, **fields}}, 202))["backup"]
    await rig.stored()
    return str(made["id"])


async def shown(rig: BlockRig, id_: str) -> dict[str, object]:
    found: dict[str, object] = (await rig.got("GET", f"/backups/{id_}"))["backup"]
    return found


def test_a_backup_outlives_its_volume_and_becomes_a_new_one() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"disk" * 1000, os_distro="debian")
        body = {"volume": {"size": 2, "imageRef": image, "metadata": {"a": "b"}}}
        id_ = (await rig.got("POST", "/volumes", body, 202))["volume"]["id"]
        await rig.becomes(id_, "available")
        backup = await backed_up(rig, id_, name="n", description="d", container="box", metadata={"m": "1"})
        found = await shown(rig, backup)
        expected = {
            "status": "available", "size": 2, "container": "box", "is_incremental": False, "has_dependent_backups": False, "volume_id": id_,
            "metadata": {"m": "1"}, "object_count": 2, "fail_reason": None, "snapshot_id": None,
        }  # fmt: skip
        assert {name: found[name] for name in expected} == expected
        assert (await rig.volumes.head(bytes.fromhex(id_.replace("-", "")))).pins == ()
        await rig.got("DELETE", f"/volumes/{id_}", None, 202)
        await rig.stored()
        told = (await rig.got("POST", f"/backups/{backup}/restore", {"restore": {"name": "new"}}, 202))["restore"]
        again = await rig.becomes(told["volume_id"], "available")
        assert (again.name, again.size_gb, again.bootable, again.image_metadata["os_distro"]) == ("new", 2, True, "debian")
        assert await rig.bytes_of(again.data, 4096) == b"disk" * 1000 + bytes(96)
        assert (await rig.got("GET", f"/volumes/{again.id}"))["volume"]["metadata"] == {"a": "b"}
        third = (await rig.got("POST", "/volumes", {"volume": {"backup_id": backup}}, 202))["volume"]["id"]
        assert await rig.bytes_of((await rig.becomes(third, "available")).data, 4) == b"disk"
        assert (await shown(rig, backup))["status"] == "available"

    on_block_rig(test)


def test_backups_that_go_on_hold_those_they_go_on_from() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        await rig.got("POST", "/backups", {"backup": {"volume_id": id_, "incremental": True}}, 400)
        full = await backed_up(rig, id_)
        more = await backed_up(rig, id_, incremental=True)
        assert (await shown(rig, more))["is_incremental"]
        assert (await shown(rig, full))["has_dependent_backups"]
        assert (await rig.api("DELETE", f"/backups/{full}")).status == 400
        for backup in (more, full):
            await rig.got("DELETE", f"/backups/{backup}", None, 202)
            await rig.stored()
        assert (await rig.got("GET", "/backups"))["backups"] == []
        assert (await rig.got("GET", "/limits"))["limits"]["absolute"]["totalBackupsUsed"] == 0

    on_block_rig(test)


def test_a_volume_gets_back_what_it_was_and_keeps_its_snapshots() -> None:
    async def test(rig: BlockRig) -> None:
        one, other = await rig.image(b"before"), await rig.image(b"after!")
        id_ = await rig.volume(image_id=one)
        snapshot = (await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202))["snapshot"]["id"]
        await rig.stored()
        backup = await backed_up(rig, id_, snapshot_id=snapshot)
        await rig.act(id_, "os-reimage", {"image_id": other})
        await rig.stored()
        await rig.got("POST", f"/backups/{backup}/restore", {"restore": {"volume_id": id_}}, 202)
        found = await rig.becomes(id_, "available")
        assert await rig.bytes_of(found.data, 6) == b"before"
        await rig.got("DELETE", f"/volumes/{id_}?cascade=true", None, 202)
        assert len(await rig.stored()) == 2

    on_block_rig(test)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400), ({"volume_id": NOBODY}, 404), ({"volume_id": "x"}, 400), ({"volume_id": NOBODY, "container": "a/b"}, 400),
        ({"volume_id": NOBODY, "incremental": "maybe"}, 400), ({"volume_id": NOBODY, "name": 5}, 400), ({"volume_id": NOBODY, "availability_zone": "mars"}, 400),
    ],
)  # fmt: skip
def test_what_is_no_backup_is_refused(fields: dict[str, object], status: int) -> None:
    async def test(rig: BlockRig) -> None:
        assert (await rig.api("POST", "/backups", {"backup": fields})).status == status

    on_block_rig(test)


def test_volumes_in_use_need_force_and_restores_need_room() -> None:
    async def test(rig: BlockRig) -> None:
        id_, small = await rig.volume(size_gb=2), await rig.volume()
        backup = await backed_up(rig, id_)
        where = f"/backups/{backup}/restore"
        await rig.got("POST", where, {"restore": {"volume_id": small}}, 400)
        await rig.got("POST", where, {"restore": {"volume_id": NOBODY}}, 404)
        await rig.got("POST", where, {}, 400)
        assert (await rig.api("POST", where, {"restore": {}}, who=BOB)).status == 404
        await rig.act(id_, "os-attach", {"host_name": "h", "mountpoint": "/dev/vdb"})
        await rig.got("POST", where, {"restore": {"volume_id": id_}}, 400)
        await rig.got("POST", "/backups", {"backup": {"volume_id": id_}}, 400)
        await backed_up(rig, id_, force=True)
        assert (await rig.got("GET", f"/volumes/{id_}"))["volume"]["status"] == "in-use"
        await rig.got("POST", "/backups", {"backup": {"volume_id": small}}, 413)

    on_block_rig(test, quota_backups=2)


def test_a_backup_whose_removal_failed_is_removed_again_by_its_owner() -> None:
    async def test(rig: BlockRig) -> None:
        backup = await backed_up(rig, await rig.volume())
        await rig.sql.write(lambda connection: records.change(connection, BACKUPS, backup, status_="error_deleting"))
        await rig.got("DELETE", f"/backups/{backup}", None, 202)
        await rig.stored()
        assert (await rig.api("GET", f"/backups/{backup}")).status == 404

    on_block_rig(test)


def test_names_change_and_states_are_the_administrators() -> None:
    async def test(rig: BlockRig) -> None:
        backup = await backed_up(rig, await rig.volume())
        where = f"/backups/{backup}"
        assert (await rig.got("PUT", where, {"backup": {"name": "n", "metadata": {"a": "b"}}}))["backup"]["name"] == "n"
        assert (await rig.api("PUT", where, {"backup": {}})).status == 400
        assert (await rig.api("PUT", where, {"backup": {"name": "n"}}, version="3.8")).status == 404
        assert [one["id"] for one in (await rig.got("GET", "/backups/detail?name=n"))["backups"]] == [backup]
        assert (await rig.api("POST", f"{where}/action", {"os-reset_status": {"status": "error"}})).status == 403
        assert (await rig.api("POST", f"{where}/action", {"os-reset_status": {"status": "odd"}}, who=ADMIN)).status == 400
        await rig.got("POST", f"{where}/action", {"os-reset_status": {"status": "error"}}, 202, who=ADMIN)
        await rig.got("POST", f"{where}/restore", {"restore": {}}, 400)
        await rig.got("POST", f"{where}/action", {"os-force_delete": {}}, 202, who=ADMIN)
        await rig.stored()
        assert (await rig.api("GET", where)).status == 404

    on_block_rig(test)
