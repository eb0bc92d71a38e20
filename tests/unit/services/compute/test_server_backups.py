"""Backups of servers, of which the oldest go."""

from tests.support.compute_rig import BOB, ComputeRig, on_compute_rig


def test_the_oldest_backup_goes_and_images_stay() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        for wrong in ({}, {"name": "b", "backup_type": "daily"}, {"name": "b", "backup_type": "daily", "rotation": -1},
                      {"name": "b", "backup_type": "", "rotation": 1}, {"name": "b", "backup_type": "d", "rotation": 1, "x": 1}):  # fmt: skip
            assert (await rig.act(id_, "createBackup", wrong)).status == 400, wrong
        made = []
        await rig.act(id_, "createImage", {"name": "image"})
        await rig.until_server(id_, "ACTIVE")
        for number in range(3):
            await rig.clock.sleep(1)
            document = {"name": f"b{number}", "backup_type": "daily", "rotation": 2}
            made.append((await rig.act(id_, "createBackup", document, version="2.45")).body["image_id"])
            await rig.until_server(id_, "ACTIVE")
        assert (await rig.listed("?sort=name:asc")) == ["b1", "b2", "i", "image"]
        image = await rig.show(made[2])
        assert (image["image_type"], image["backup_type"]) == ("backup", "daily")
        assert (await rig.ask("GET", f"/v2/images/{made[0]}")).status == 404
        assert (await rig.act(id_, "createBackup", {"name": "b", "backup_type": "daily", "rotation": 0})).status == 202
        assert (await rig.listed("?sort=name:asc")) == ["i", "image"]

    on_compute_rig(test)


def test_images_of_other_projects_are_no_backups_of_a_server() -> None:
    async def test(rig: ComputeRig) -> None:
        id_ = await rig.made_server(flavorRef="5")
        told = {"instance_uuid": id_, "image_type": "backup", "backup_type": "daily"}
        theirs = await rig.active(b"y", BOB, name="theirs", **told)
        await rig.clock.sleep(1)
        kept = (await rig.act(id_, "createBackup", {"name": "b", "backup_type": "daily", "rotation": 1}, version="2.45")).body["image_id"]
        await rig.until_server(id_, "ACTIVE")
        await rig.clock.sleep(1)
        newer = await rig.active(b"y", BOB, name="newer", **told)
        await rig.act(id_, "createBackup", {"name": "c", "backup_type": "daily", "rotation": 2})
        await rig.until_server(id_, "ACTIVE")
        assert (await rig.show(kept))["status"] == "active"
        assert (await rig.act(id_, "createBackup", {"name": "b", "backup_type": "daily", "rotation": 0})).status == 202
        assert [(await rig.show(image, BOB))["status"] for image in (theirs, newer)] == ["active", "active"]

    on_compute_rig(test)
