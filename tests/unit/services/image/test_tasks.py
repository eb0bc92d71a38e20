"""Tasks: lists for the administrator, pages, what is old goes."""

from objstore.services.image import records
from objstore.services.image.tables import TASKS
from objstore.services.image.tasks import DAY_US
from tests.support.image_rig import ADMIN, OCTETS, ImageRig, on_image_rig


async def imported(rig: ImageRig) -> str:
    id_ = await rig.made()
    await rig.ask("PUT", f"/v2/images/{id_}/stage", b"x", headers=OCTETS)
    await rig.ask("POST", f"/v2/images/{id_}/import", {"method": {"name": "glance-direct"}})
    await rig.until(id_, "active")
    await rig.settled()
    return id_


def test_the_administrator_sees_all_tasks_in_pages() -> None:
    async def test(rig: ImageRig) -> None:
        for _ in range(3):
            await imported(rig)
        assert (await rig.ask("GET", "/v2/tasks")).status == 403
        first = (await rig.ask("GET", "/v2/tasks?limit=2", who=ADMIN)).body
        second = (await rig.ask("GET", first["next"], who=ADMIN)).body
        assert [len(page["tasks"]) for page in (first, second)] == [2, 1]
        assert "next" not in second
        assert "input" not in first["tasks"][0]
        one = (await rig.ask("GET", f"/v2/tasks/{second['tasks'][0]['id']}", who=ADMIN)).body
        assert (one["status"], one["input"]["backend"]) == ("success", ["objects"])
        assert (await rig.ask("GET", "/v2/tasks?status=failure", who=ADMIN)).body["tasks"] == []
        assert (await rig.ask("GET", "/v2/tasks?sort_dir=asc&limit=1", who=ADMIN)).body["tasks"][0]["id"] == one["id"]
        assert (await rig.ask("GET", "/v2/tasks/none", who=ADMIN)).status == 404
        assert (await rig.ask("GET", "/v2/tasks?marker=none", who=ADMIN)).status == 400

    on_image_rig(test)


def test_old_tasks_are_forgotten() -> None:
    async def test(rig: ImageRig) -> None:
        old = await imported(rig)
        rig.clock.skew_us += DAY_US + 1_000_000
        await imported(rig)
        assert (await rig.ask("GET", f"/v2/images/{old}/tasks")).body["tasks"] == []

    on_image_rig(test, task_days=1.0)


def test_an_image_and_a_project_have_so_many_tasks_and_no_more() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        body = {"method": {"name": "glance-direct"}}

        async def asked(image: str) -> int:
            await rig.ask("PUT", f"/v2/images/{image}/stage", b"x", headers=OCTETS)
            reply = await rig.ask("POST", f"/v2/images/{image}/import", body)
            await rig.settled()
            if reply.status != 202:
                assert "tasks of imports" in str(reply.raw)
                assert (await rig.ask("GET", f"/v2/images/{image}")).body["status"] == "uploading"  # as it was
            return int(reply.status)

        assert await asked(id_) == 202
        await rig.service.write(lambda connection: records.change(connection, id_, status=("active",), status_="queued"))
        assert await asked(id_) == 413  # of the image
        others = [await rig.made() for _ in range(2)]
        assert [await asked(one) for one in others] == [202, 413]  # of the project
        await rig.service.sql.write(lambda connection: connection.execute(TASKS.update().values(expires_us=1)).rowcount)
        reply = await rig.ask("POST", f"/v2/images/{others[1]}/import", body)
        assert reply.status == 202  # what was told long ago is in nobody's way

    on_image_rig(test, quota_tasks=2, quota_image_tasks=1)
