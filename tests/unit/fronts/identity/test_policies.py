"""Texts of policies."""

from tests.support.identity_rig import Rig, on_rig


def test_a_policy_is_kept_changed_and_removed() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        made = await rig.made(root, "/policies", "policy", type="application/json", blob={"a": "b"}, color="red")
        assert (made["blob"], made["color"]) == ('{"a":"b"}', "red")
        path = f"/policies/{made['id']}"
        changed = await rig.ask("PATCH", path, {"policy": {"type": "text/plain"}}, token=root)
        assert changed.body["policy"]["type"] == "text/plain"
        assert (await rig.ask("GET", path, token=root)).body["policy"] == changed.body["policy"]
        assert [p["id"] for p in (await rig.ask("GET", "/policies?type=text/plain", token=root)).body["policies"]] == [made["id"]]
        assert (await rig.ask("GET", "/policies?type=other", token=root)).body["policies"] == []
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("GET", path, token=root)).status == 404

    on_rig(test)


def test_a_policy_needs_type_and_text() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        for bad in (
            {},
            {"type": "x"},
            {"blob": "x"},
            {"type": "x", "blob": 7},
            {"type": "", "blob": "x"},
            {"type": "x", "blob": "x" * 70_000},
        ):
            assert (await rig.ask("POST", "/policies", {"policy": bad}, token=root)).status == 400

    on_rig(test)
