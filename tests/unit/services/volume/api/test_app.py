"""The application: tokens, projects in paths, methods."""

from tests.support.block_rig import BlockRig, on_block_rig
from tests.support.image_rig import ADMIN, ALICE, BOB, READER


def test_who_has_no_token_is_not_let_in_and_versions_are_for_everybody() -> None:
    async def test(rig: BlockRig) -> None:
        assert (await rig.api("GET", "/volumes", token="")).status == 401
        assert (await rig.api("GET", "/volumes", token="wrong")).status == 401
        for prefix, status in (("/volume", 300), ("/volume/v3", 200), ("/volume/v3/", 200)):
            rig.app, before = rig.block_app, rig.app  # type: ignore[assignment]
            reply = await rig.ask("GET", "", token="", prefix=prefix)
            rig.app = before
            assert reply.status == status
            (version,) = reply.body["versions"]
            assert (version["id"], version["min_version"], version["version"]) == ("v3.0", "3.0", "3.71")

    on_block_rig(test)


def test_the_project_in_a_path_is_the_callers_or_none() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        assert (await rig.api("GET", f"/volumes/{id_}", project="c" * 32)).status == 400
        rig.app, before = rig.block_app, rig.app  # type: ignore[assignment]
        reply = await rig.ask("GET", f"/volumes/{id_}", prefix="/volume/v3")
        rig.app = before
        assert reply.body["volume"]["id"] == id_
        assert reply.headers["openstack-api-version"] == "volume 3.0"

    on_block_rig(test)


def test_every_kind_of_thing_is_404_for_strangers_and_readers_change_nothing() -> None:
    async def test(rig: BlockRig) -> None:
        id_ = await rig.volume()
        snapshot = (await rig.got("POST", "/snapshots", {"snapshot": {"volume_id": id_}}, 202))["snapshot"]["id"]
        await rig.stored()
        transfer_of = await rig.volume()
        transfer = (await rig.got("POST", "/volume-transfers", {"transfer": {"volume_id": transfer_of}}, 202))["transfer"]["id"]
        other = await rig.volume()
        attachment = (await rig.got("POST", "/attachments", {"attachment": {"volume_uuid": other}}))["attachment"]["id"]
        change = {"volume": {"name": "x"}}
        for method, path, body, changes in (
            ("GET", f"/volumes/{id_}", None, False), ("PUT", f"/volumes/{id_}", change, True), ("DELETE", f"/volumes/{id_}", None, True),
            ("POST", f"/volumes/{id_}/action", {"os-extend": {"new_size": 2}}, True), ("GET", f"/volumes/{id_}/metadata", None, False),
            ("PUT", f"/volumes/{id_}/metadata", {"metadata": {}}, True), ("GET", f"/snapshots/{snapshot}", None, False),
            ("DELETE", f"/snapshots/{snapshot}", None, True), ("GET", f"/volume-transfers/{transfer}", None, False),
            ("DELETE", f"/volume-transfers/{transfer}", None, True), ("GET", f"/attachments/{attachment}", None, False),
            ("DELETE", f"/attachments/{attachment}", None, True),
        ):  # fmt: skip
            assert (await rig.api(method, path, body, who=BOB)).status == 404, path
            if changes:
                assert (await rig.api(method, path, body, who=READER)).status == 403, path
            else:
                assert (await rig.api(method, path, body, who=READER)).status == 200, path
                assert (await rig.api(method, path, body, who=ADMIN)).status == 200, path
        assert (await rig.api("POST", "/volumes", {"volume": {"size": 1}}, who=READER)).status == 403
        assert (await rig.got("GET", "/volumes", who=BOB))["volumes"] == []
        assert len((await rig.got("GET", "/volumes", who=READER))["volumes"]) == 3
        assert len((await rig.got("GET", "/volumes?all_tenants=1", who=ADMIN))["volumes"]) == 3
        assert (await rig.got("GET", "/volumes?all_tenants=1", who=BOB))["volumes"] == []
        assert (await rig.api("PATCH", f"/volumes/{id_}", who=ALICE)).status == 405
        assert (await rig.api("GET", "/nothing")).status == 404

    on_block_rig(test)
