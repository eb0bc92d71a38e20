"""Definitions of metadata."""

import pytest

from tests.support.image_rig import ADMIN, ALICE, ImageRig, on_image_rig

ROOT = "/v2/metadefs/namespaces"


async def space(rig: ImageRig, name: str = "space", **fields: object) -> None:
    reply = await rig.ask("POST", ROOT, {"namespace": name, **fields}, who=ADMIN)
    assert reply.status == 201, reply.raw


def test_a_namespace_brings_what_it_holds_and_is_changed_and_removed() -> None:
    async def test(rig: ImageRig) -> None:
        await space(
            rig, visibility="public", protected=True, description="d", properties={"cpu": {"title": "CPU", "type": "string"}}, tags=[{"name": "t"}],
            objects=[{"name": "o", "required": []}], resource_type_associations=[{"name": "OS::Nova::Flavor", "prefix": "hw_"}],
        )  # fmt: skip
        whole = (await rig.ask("GET", f"{ROOT}/space")).body
        assert (whole["visibility"], whole["protected"], whole["description"]) == ("public", True, "d")
        assert whole["properties"] == {"cpu": {"title": "CPU", "type": "string"}}
        assert [whole["objects"][0]["name"], whole["tags"][0]["name"], whole["resource_type_associations"][0]["prefix"]] == [
            "o",
            "t",
            "hw_",
        ]
        assert (await rig.ask("DELETE", f"{ROOT}/space", who=ADMIN)).status == 403
        changed = await rig.ask("PUT", f"{ROOT}/space", {"namespace": "other", "protected": False}, who=ADMIN)
        assert (changed.status, changed.body["visibility"], changed.body["protected"]) == (200, "public", False)
        assert (await rig.ask("GET", f"{ROOT}/other/tags/t")).body["name"] == "t"
        assert (await rig.ask("DELETE", f"{ROOT}/other", who=ADMIN)).status == 204
        assert (await rig.ask("GET", f"{ROOT}/other")).status == 404

    on_image_rig(test)


def test_private_namespaces_are_their_projects_and_only_the_administrator_writes() -> None:
    async def test(rig: ImageRig) -> None:
        await space(rig, "hidden")
        await space(rig, "mine", owner="a" * 32)
        await space(rig, "open", visibility="public", resource_type_associations=[{"name": "OS::Glance::Image"}])
        listed = (await rig.ask("GET", ROOT)).body["namespaces"]
        assert [each["namespace"] for each in listed] == ["mine", "open"]
        first = (await rig.ask("GET", f"{ROOT}?limit=1")).body
        assert [each["namespace"] for each in (await rig.ask("GET", first["next"])).body["namespaces"]] == ["open"]
        assert len((await rig.ask("GET", f"{ROOT}?resource_types=OS::Glance::Image,x")).body["namespaces"]) == 1
        assert (await rig.ask("GET", f"{ROOT}/hidden/objects")).status == 404
        for method, path in (("POST", ROOT), ("PUT", f"{ROOT}/open"), ("DELETE", f"{ROOT}/open"), ("POST", f"{ROOT}/open/tags/x")):
            assert (await rig.ask(method, path, {"namespace": "x"}, who=ALICE)).status == 403
        assert "OS::Glance::Image" in [
            each["name"] for each in (await rig.ask("GET", "/v2/metadefs/resource_types")).body["resource_types"]
        ]

    on_image_rig(test)


@pytest.mark.parametrize("kind", ["objects", "properties", "tags"])
def test_definitions_come_go_and_change_their_names(kind: str) -> None:
    async def test(rig: ImageRig) -> None:
        await space(rig)
        path = f"{ROOT}/space/{kind}"
        made = await (
            rig.ask("POST", f"{path}/a", who=ADMIN) if kind == "tags" else rig.ask("POST", path, {"name": "a", "title": "A"}, who=ADMIN)
        )
        assert (made.status, made.body["name"]) == (201, "a")
        again = await (rig.ask("POST", f"{path}/a", who=ADMIN) if kind == "tags" else rig.ask("POST", path, {"name": "a"}, who=ADMIN))
        assert again.status == 409
        assert (await rig.ask("PUT", f"{path}/a", {"name": "b"}, who=ADMIN)).body["name"] == "b"
        assert (await rig.ask("GET", f"{path}/a", who=ADMIN)).status == 404
        assert (await rig.ask("GET", f"{path}/b", who=ADMIN)).body["name"] == "b"
        assert len((await rig.ask("GET", path, who=ADMIN)).body[kind]) == 1
        assert [(await rig.ask("DELETE", f"{path}/b", who=ADMIN)).status for _ in range(2)] == [204, 404]
        assert (await rig.ask("DELETE", path, who=ADMIN)).status == 204
        assert len((await rig.ask("GET", path, who=ADMIN)).body[kind]) == 0

    on_image_rig(test)


def test_a_list_of_tags_takes_the_place_of_the_tags_or_joins_them() -> None:
    async def test(rig: ImageRig) -> None:
        await space(rig)
        path = f"{ROOT}/space/tags"
        for names, headers, found in (("ab", {}, "ab"), ("c", {"x-openstack-append": "True"}, "abc"), ("d", {}, "d")):
            reply = await rig.ask("POST", path, {"tags": [{"name": name} for name in names]}, who=ADMIN, headers=headers)
            assert (reply.status, "".join(tag["name"] for tag in reply.body["tags"])) == (201, found)

    on_image_rig(test)


@pytest.mark.parametrize(
    "document",
    [{}, {"namespace": "a/b"}, {"namespace": "x" * 81}, {"namespace": "x", "visibility": "odd"}, {"namespace": "x", "protected": 1}, {"namespace": 5},
     {"namespace": "x", "tags": [5]}, {"namespace": "x", "objects": {"a": 1}}, {"namespace": "x", "description": 5}, {"namespace": "x", "tags": [{"name": ""}]}],
)  # fmt: skip
def test_documents_that_make_no_sense_are_refused(document: object) -> None:
    async def test(rig: ImageRig) -> None:
        assert (await rig.ask("POST", ROOT, document, who=ADMIN)).status == 400

    on_image_rig(test)


def test_lists_are_of_so_many_resource_types_and_no_more() -> None:
    async def test(rig: ImageRig) -> None:
        assert (await rig.ask("GET", "/v2/metadefs/namespaces?resource_types=" + ",".join(["a"] * 100))).status == 200
        assert (await rig.ask("GET", "/v2/metadefs/namespaces?resource_types=" + ",".join(["a"] * 101))).status == 400

    on_image_rig(test)
