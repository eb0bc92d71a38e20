"""Backups of servers, of which the oldest go."""

from tests.support.compute_rig import ComputeRig, on_compute_rig


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
