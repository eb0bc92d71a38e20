"""Volume types."""

from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, PROJECTS


async def made(rig: BlockRig, name: str, **fields: object) -> str:
    found = await rig.got("POST", "/types", {"volume_type": {"name": name, **fields}}, who=ADMIN)
    return str(found["volume_type"]["id"])


def test_types_are_the_administrators_and_volumes_keep_them() -> None:
    async def test(rig: BlockRig) -> None:
        assert (await rig.api("POST", "/types", {"volume_type": {"name": "fast"}})).status == 403
        fast = await made(rig, "fast", extra_specs={"multiattach": "<is> True", "secret": "x"})
        assert (await rig.api("POST", "/types", {"volume_type": {"name": "fast"}}, who=ADMIN)).status == 409
        assert (await rig.got("GET", f"/types/{fast}"))["volume_type"]["extra_specs"] == {"multiattach": "<is> True"}
        assert (await rig.got("GET", f"/types/{fast}", who=ADMIN))["volume_type"]["extra_specs"]["secret"] == "x"
        assert (await rig.api("GET", "/types/fast")).status == 404
        id_ = await rig.volume(volume_type="fast")
        shown = (await rig.got("GET", f"/volumes/{id_}"))["volume"]
        assert (shown["volume_type"], shown["volume_type_id"], shown["multiattach"]) == ("fast", fast, True)
        assert (await rig.api("DELETE", f"/types/{fast}", who=ADMIN)).status == 400
        await rig.got("PUT", f"/types/{fast}", {"volume_type": {"name": "faster", "description": "d"}}, who=ADMIN)
        assert (await rig.got("GET", "/types?sort=name:asc"))["volume_types"][1]["name"] == "faster"
        await rig.got("DELETE", f"/volumes/{id_}", None, 202)
        await rig.stored()
        await rig.got("DELETE", f"/types/{fast}", None, 202, who=ADMIN)
        assert (await rig.api("GET", f"/types/{fast}")).status == 404

    on_block_rig(test)


def test_a_type_that_is_not_public_is_for_those_who_have_access() -> None:
    async def test(rig: BlockRig) -> None:
        private = await made(rig, "private", **{"os-volume-type-access:is_public": False})
        assert (await rig.api("GET", f"/types/{private}")).status == 404
        assert (await rig.api("POST", "/volumes", {"volume": {"size": 1, "volume_type": "private"}})).status == 404
        where, give = f"/types/{private}/action", {"addProjectAccess": {"project": PROJECTS[ALICE]}}
        await rig.got("POST", where, give, 202, who=ADMIN)
        assert (await rig.api("POST", where, give, who=ADMIN)).status == 409
        access = (await rig.got("GET", f"/types/{private}/os-volume-type-access", who=ADMIN))["volume_type_access"]
        assert access == [{"volume_type_id": private, "project_id": PROJECTS[ALICE]}]
        assert (await rig.api("GET", f"/types/{private}")).status == 200
        assert (await rig.api("GET", f"/types/{private}", who=BOB)).status == 404
        await rig.volume(volume_type="private")
        assert len((await rig.got("GET", "/types", who=BOB))["volume_types"]) == 1
        assert len((await rig.got("GET", "/types?is_public=None", who=ADMIN))["volume_types"]) == 2
        assert len((await rig.got("GET", "/types?is_public=False", who=ADMIN))["volume_types"]) == 1
        take = {"removeProjectAccess": {"project": PROJECTS[ALICE]}}
        await rig.got("POST", where, take, 202, who=ADMIN)
        assert (await rig.api("POST", where, take, who=ADMIN)).status == 404
        public = await made(rig, "public")
        assert (await rig.api("POST", f"/types/{public}/action", give, who=ADMIN)).status == 409
        assert (await rig.api("GET", f"/types/{public}/os-volume-type-access", who=ADMIN)).status == 404

    on_block_rig(test)


def test_extra_specs_are_set_one_by_one() -> None:
    async def test(rig: BlockRig) -> None:
        where = f"/types/{await made(rig, 't')}/extra_specs"
        assert (await rig.got("POST", where, {"extra_specs": {"a": "1", "b:c": "2"}}, who=ADMIN))["extra_specs"] == {"a": "1", "b:c": "2"}
        assert await rig.got("PUT", f"{where}/a", {"a": "3"}, who=ADMIN) == {"a": "3"}
        assert await rig.got("GET", f"{where}/a", who=ADMIN) == {"a": "3"}
        await rig.got("DELETE", f"{where}/a", None, 202, who=ADMIN)
        assert (await rig.got("GET", where, who=ADMIN))["extra_specs"] == {"b:c": "2"}
        for method, path, body, status in (
            ("GET", f"{where}/a", None, 404), ("DELETE", f"{where}/a", None, 404), ("PUT", f"{where}/a", {"b": "1"}, 400), ("PUT", f"{where}/a", {}, 400),
            ("POST", where, {"extra_specs": []}, 400), ("POST", where, {"extra_specs": {"a/b": "1"}}, 400), ("POST", where, {"extra_specs": {"a": 1}}, 400),
            ("PUT", f"{where}/a", {"a": "1", "b": "2"}, 400),
        ):  # fmt: skip
            assert (await rig.api(method, path, body, who=ADMIN)).status == status, (method, path, body)

    on_block_rig(test)


def test_a_project_may_have_a_default_type_of_its_own() -> None:
    async def test(rig: BlockRig) -> None:
        mine, where = await made(rig, "mine"), f"/default-types/{PROJECTS[ALICE]}"
        assert (await rig.got("GET", "/types/default"))["volume_type"]["name"] == "__DEFAULT__"
        assert (await rig.api("GET", where, who=ADMIN)).status == 404
        assert (await rig.api("GET", where, who=ADMIN, version="3.61")).status == 404
        await rig.got("PUT", where, {"default_type": {"volume_type": "mine"}}, who=ADMIN)
        assert (await rig.got("GET", where, who=ADMIN))["default_type"]["volume_type_id"] == mine
        assert len((await rig.got("GET", "/default-types", who=ADMIN))["default_types"]) == 1
        assert (await rig.got("GET", "/types/default"))["volume_type"]["name"] == "mine"
        assert (await rig.got("GET", f"/volumes/{await rig.volume()}"))["volume"]["volume_type"] == "mine"
        assert (await rig.api("DELETE", f"/types/{mine}", who=ADMIN)).status == 400
        await rig.got("DELETE", where, None, 204, who=ADMIN)
        default = (await rig.got("GET", "/types/default"))["volume_type"]
        assert default["name"] == "__DEFAULT__"
        assert (await rig.api("DELETE", f"/types/{default['id']}", who=ADMIN)).status == 400

    on_block_rig(test)
