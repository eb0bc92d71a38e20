"""Schemas name what views show."""

from objstore.services.image.schemas import IMAGE, MEMBER, SCHEMAS, TASK
from tests.support.image_rig import BOB, OCTETS, PROJECTS, ImageRig, on_image_rig


def test_every_schema_is_served_under_its_name() -> None:
    async def test(rig: ImageRig) -> None:
        for name in SCHEMAS:
            assert (await rig.ask("GET", f"/v2/schemas/{name}")).body["name"] == name
        assert (await rig.ask("GET", "/v2/schemas/none")).status == 404

    on_image_rig(test)


def test_what_is_shown_is_in_the_schema() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        member = (await rig.ask("POST", f"/v2/images/{id_}/members", {"member": PROJECTS[BOB]})).body
        assert set(member) <= set(MEMBER["properties"])
        await rig.ask("PUT", f"/v2/images/{id_}/stage", b"x", headers=OCTETS)
        await rig.ask("POST", f"/v2/images/{id_}/import", {"method": {"name": "glance-direct"}})
        await rig.settled()
        (task,) = (await rig.ask("GET", f"/v2/images/{id_}/tasks")).body["tasks"]
        assert set(task) <= set(TASK["properties"])
        assert set(await rig.show(id_)) <= set(IMAGE["properties"])

    on_image_rig(test)
