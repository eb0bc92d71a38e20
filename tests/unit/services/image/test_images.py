"""Images: made, listed, shown, changed, removed."""

import pytest

from tests.support.image_rig import ADMIN, ALICE, BOB, PATCH, READER, ImageRig, on_image_rig


def test_a_new_image_is_queued_and_shown_as_it_was_asked_for() -> None:
    async def test(rig: ImageRig) -> None:
        given = {"name": "n", "min_disk": 3, "tags": ["b", "a", "b"], "protected": True, "os_distro": "debian"}
        reply = await rig.ask("POST", "/v2/images", given)
        assert reply.status == 201
        image = reply.body
        assert reply.headers["location"].endswith(f"/image/v2/images/{image['id']}")
        assert reply.headers["openstack-image-import-methods"] == "glance-direct,glance-download"
        assert image == await rig.show(image["id"])
        expected = {
            "name": "n", "status": "queued", "visibility": "shared", "owner": "a" * 32, "min_disk": 3, "min_ram": 0, "protected": True,
            "os_hidden": False, "size": None, "checksum": None, "tags": ["a", "b"], "os_distro": "debian", "disk_format": None,
            "self": f"/v2/images/{image['id']}", "schema": "/v2/schemas/image",
        }  # fmt: skip
        assert {name: image[name] for name in expected} == expected

    on_image_rig(test)


@pytest.mark.parametrize(
    ("document", "status"),
    [
        ({"status": "active"}, 403), ({"size": 5}, 403), ({"checksum": "x"}, 403), ({"os_glance_x": "x"}, 403), ({"locations": []}, 403),
        ({"visibility": "public"}, 403), ({"owner": "b" * 32}, 403), ({"id": "not-a-uuid"}, 400), ({"min_disk": -1}, 400), ({"min_ram": True}, 400),
        ({"disk_format": "docx"}, 400), ({"name": "x" * 256}, 400), ({"tags": [1]}, 400), ({"custom": 5}, 400), ({"a/b": "c"}, 400),
        ({"visibility": "secret"}, 400), ({"disk_format": "ami", "container_format": "bare"}, 400), ([], 400), (b"{", 400), (b"\xff", 400),
    ],
)  # fmt: skip
def test_what_a_client_may_not_say_of_a_new_image_is_refused(document: object, status: int) -> None:
    async def test(rig: ImageRig) -> None:
        assert (await rig.ask("POST", "/v2/images", document)).status == status
        assert await rig.listed() == []

    on_image_rig(test)


def test_an_id_is_never_used_twice_not_even_after_deletion() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = "0f0f0f0f-1111-4222-8333-444444444444"
        await rig.made(id=id_)
        assert (await rig.ask("POST", "/v2/images", {"id": id_})).status == 409
        assert (await rig.ask("DELETE", f"/v2/images/{id_}")).status == 204
        assert (await rig.ask("GET", f"/v2/images/{id_}")).status == 404
        assert (await rig.ask("DELETE", f"/v2/images/{id_}")).status == 404
        assert (await rig.ask("POST", "/v2/images", {"id": id_}, who=BOB)).status == 409

    on_image_rig(test)


def test_readers_look_and_strangers_see_nothing() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(visibility="private")
        assert (await rig.show(id_, READER))["id"] == id_
        for method, path, body in (("DELETE", "", None), ("PUT", "/tags/x", None), ("POST", "/actions/deactivate", None)):
            assert (await rig.ask(method, f"/v2/images/{id_}{path}", body, who=READER)).status == 403
            assert (await rig.ask(method, f"/v2/images/{id_}{path}", body, who=BOB)).status == 404
        assert (await rig.ask("POST", "/v2/images", {"name": "r"}, who=READER)).status == 403
        assert (await rig.ask("GET", f"/v2/images/{id_}", who=BOB)).status == 404
        assert (await rig.ask("GET", f"/v2/images/{id_}", who=ADMIN)).status == 200
        assert (await rig.ask("GET", f"/v2/images/{id_}", token="wrong")).status == 401
        assert (await rig.ask("GET", f"/v2/images/{id_}", token="")).status == 401

    on_image_rig(test)


def test_what_everybody_sees_only_its_owner_changes() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(ADMIN, visibility="public")
        assert (await rig.show(id_, BOB))["visibility"] == "public"
        assert (await rig.patch(id_, {"op": "replace", "path": "/name", "value": "mine"}, who=BOB)).status == 403
        assert (await rig.ask("DELETE", f"/v2/images/{id_}", who=BOB)).status == 403
        theirs = await rig.made(BOB)
        assert (await rig.patch(theirs, {"op": "replace", "path": "/visibility", "value": "public"}, who=BOB)).status == 403
        assert (await rig.patch(theirs, {"op": "replace", "path": "/visibility", "value": "public"}, who=ADMIN)).status == 200

    on_image_rig(test)


def test_a_patch_takes_effect_whole_or_not_at_all() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(a="1", tags=["t"])
        reply = await rig.patch(
            id_, {"op": "replace", "path": "/name", "value": "new"}, {"op": "add", "path": "/b", "value": "2"}, {"op": "remove", "path": "/a"},
            {"op": "replace", "path": "/tags", "value": ["u", "v"]},
        )  # fmt: skip
        assert reply.status == 200
        assert [reply.body.get(name) for name in ("name", "a", "b", "tags")] == ["new", None, "2", ["u", "v"]]
        assert reply.body == await rig.show(id_)
        failing = {"op": "remove", "path": "/nothing"}
        assert (await rig.patch(id_, {"op": "replace", "path": "/name", "value": "lost"}, failing)).status == 409
        assert (await rig.show(id_))["name"] == "new"
        older = await rig.ask(
            "PATCH", f"/v2/images/{id_}", [{"replace": "/name", "value": "old style"}],
            headers={"content-type": "application/openstack-images-v2.0-json-patch"},
        )  # fmt: skip
        assert older.body["name"] == "old style"
        plain = await rig.ask("PATCH", f"/v2/images/{id_}", [], headers={"content-type": "application/json"})
        assert (plain.status, "accept-patch" in plain.headers) == (415, True)

    on_image_rig(test)


def test_a_protected_image_stays_until_the_protection_is_taken_away() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(protected=True)
        refused = await rig.ask("DELETE", f"/v2/images/{id_}")
        assert (refused.status, refused.body["code"]) == (403, "403 Forbidden")
        await rig.patch(id_, {"op": "replace", "path": "/protected", "value": False})
        assert (await rig.ask("DELETE", f"/v2/images/{id_}")).status == 204

    on_image_rig(test)


def test_tags_come_and_go_within_their_limit() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made()
        assert [(await rig.ask("PUT", f"/v2/images/{id_}/tags/{tag}")).status for tag in ("a", "b%20c", "a", "d")] == [204, 204, 204, 413]
        assert (await rig.show(id_))["tags"] == ["a", "b c"]
        assert [(await rig.ask("DELETE", f"/v2/images/{id_}/tags/{tag}")).status for tag in ("a", "a")] == [204, 404]
        assert (await rig.ask("PUT", f"/v2/images/{id_}/tags/{'x' * 256}")).status == 400

    on_image_rig(test, quota_tags=2)


def test_a_deactivated_image_is_the_administrators_to_read() -> None:
    async def test(rig: ImageRig) -> None:
        queued = await rig.made()
        assert (await rig.ask("POST", f"/v2/images/{queued}/actions/deactivate")).status == 403
        id_ = await rig.active()
        for _ in range(2):
            assert (await rig.ask("POST", f"/v2/images/{id_}/actions/deactivate")).status == 204
        assert (await rig.show(id_))["status"] == "deactivated"
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).status == 403
        assert (await rig.ask("GET", f"/v2/images/{id_}/file", who=ADMIN)).status == 200
        assert (await rig.ask("POST", f"/v2/images/{id_}/actions/reactivate")).status == 204
        assert (await rig.ask("GET", f"/v2/images/{id_}/file")).raw == b"bytes of an image"

    on_image_rig(test)


def test_projects_have_a_quota_of_images_and_images_one_of_properties() -> None:
    async def test(rig: ImageRig) -> None:
        for _ in range(2):
            await rig.made()
        assert (await rig.ask("POST", "/v2/images", {})).status == 413
        other = await rig.made(BOB)
        patch = [{"op": "add", "path": f"/p{number}", "value": "v"} for number in range(4)]
        assert (await rig.patch(other, *patch[:3], who=BOB)).status == 200
        assert (await rig.patch(other, patch[3], who=BOB)).status == 413
        assert (await rig.ask("PATCH", f"/v2/images/{other}", {}, who=BOB, headers=PATCH)).status == 400

    on_image_rig(test, quota_images=2, quota_properties=3)


def test_bytes_go_with_the_last_image_that_has_them() -> None:
    async def test(rig: ImageRig) -> None:
        one, two = await rig.active(), await rig.active(who=BOB)
        assert len(await rig.settled()) == 1
        await rig.ask("DELETE", f"/v2/images/{one}")
        assert len(await rig.settled()) == 1
        assert (await rig.ask("GET", f"/v2/images/{two}/file", who=BOB)).raw == b"bytes of an image"
        await rig.ask("DELETE", f"/v2/images/{two}", who=BOB)
        assert await rig.settled() == []

    on_image_rig(test)


def test_the_administrator_may_give_images_to_others() -> None:
    async def test(rig: ImageRig) -> None:
        id_ = await rig.made(ADMIN, owner="b" * 32)
        assert (await rig.show(id_, BOB))["owner"] == "b" * 32
        assert (await rig.patch(id_, {"op": "replace", "path": "/owner", "value": "a" * 32}, who=BOB)).status == 403
        assert (await rig.patch(id_, {"op": "replace", "path": "/owner", "value": "a" * 32}, who=ADMIN)).status == 200
        assert (await rig.show(id_, ALICE))["owner"] == "a" * 32

    on_image_rig(test)


def test_the_properties_of_an_image_are_of_bounded_length_together() -> None:
    async def test(rig: ImageRig) -> None:
        most = {f"p{number}": "x" * 65_000 for number in range(4)}
        id_ = await rig.made(**most)
        more = {"op": "add", "path": "/one-more", "value": "x" * 65_000}
        assert (await rig.patch(id_, more)).status == 413
        assert "one-more" not in await rig.show(id_)
        document = {"name": "i", **most, "one-more": "x" * 65_000}
        assert (await rig.ask("POST", "/v2/images", document)).status == 413

    on_image_rig(test)
