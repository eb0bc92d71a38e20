"""Members: sharing an image with a project, and what it says."""

from tests.support.image_rig import ADMIN, BOB, PROJECTS, READER, ImageRig, on_image_rig

B = PROJECTS[BOB]


def test_a_shared_image_is_listed_once_it_is_accepted() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.active(name="gift")
        members = f"/v2/images/{id_}/members"
        reply = await rig.ask("POST", members, {"member": B})
        assert (reply.status, reply.body["status"], reply.body["member_id"], reply.body["image_id"]) == (200, "pending", B, id_)
        assert (await rig.ask("POST", members, {"member": B})).status == 409
        assert await rig.listed(who=BOB) == []
        assert await rig.listed("?member_status=pending&visibility=shared", BOB) == ["gift"]
        assert (await rig.show(id_, BOB))["name"] == "gift"
        assert (await rig.ask("PUT", f"{members}/{B}", {"status": "accepted"}, who=BOB)).body["status"] == "accepted"
        assert await rig.listed(who=BOB) == ["gift"]
        assert (await rig.ask("GET", f"/v2/images/{id_}/file", who=BOB)).raw == b"bytes of an image"
        assert [m["member_id"] for m in (await rig.ask("GET", members, who=READER)).body["members"]] == [B]
        assert (await rig.ask("DELETE", f"{members}/{B}")).status == 204
        assert await rig.listed(who=BOB) == []
        assert (await rig.ask("GET", f"/v2/images/{id_}", who=BOB)).status == 404

    on_image_rig(test)


def test_nobody_answers_for_a_member_and_members_share_nothing() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        members = f"/v2/images/{id_}/members"
        assert (await rig.ask("GET", f"{members}/{B}", who=BOB)).status == 404
        await rig.ask("POST", members, {"member": B})
        assert (await rig.ask("PUT", f"{members}/{B}", {"status": "accepted"})).status == 403
        assert (await rig.ask("PUT", f"{members}/{B}", {"status": "perhaps"}, who=BOB)).status == 400
        assert (await rig.ask("POST", members, {"member": "c" * 32}, who=BOB)).status == 403
        assert (await rig.ask("DELETE", f"{members}/{B}", who=BOB)).status == 403
        assert (await rig.ask("POST", members, {"member": "c" * 32}, who=READER)).status == 403
        assert (await rig.ask("POST", members, {"member": ""})).status == 400
        assert (await rig.ask("POST", members, {"member": "c" * 32})).status == 413
        assert (await rig.ask("GET", f"{members}/{B}", who=BOB)).body["member_id"] == B
        assert (await rig.ask("GET", f"{members}/{'c' * 32}")).status == 404
        assert (await rig.ask("DELETE", f"{members}/{'c' * 32}")).status == 404
        assert (await rig.ask("PUT", f"{members}/{B}", {"status": "rejected"}, who=ADMIN)).status == 200

    on_image_rig(test, quota_members=1)


def test_only_shared_images_have_members() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(visibility="private")
        assert (await rig.ask("POST", f"/v2/images/{id_}/members", {"member": B})).status == 403
        assert (await rig.ask("GET", f"/v2/images/{id_}/members")).status == 403

    on_image_rig(test)
