"""Groups and members."""

from tests.support.identity_rig import Rig, on_rig


def test_a_group_and_its_members() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        group = await rig.made(root, "/groups", "group", name="team", description="x")
        user = await rig.made(root, "/users", "user", name="jane", password="pw")
        path, member = f"/groups/{group['id']}", f"/groups/{group['id']}/users/{user['id']}"
        assert (await rig.ask("HEAD", member, token=root)).status == 404
        assert (await rig.ask("PUT", member, token=root)).status == 204
        assert (await rig.ask("PUT", member, token=root)).status == 204
        assert (await rig.ask("HEAD", member, token=root)).status == 204
        assert [u["name"] for u in (await rig.ask("GET", f"{path}/users", token=root)).body["users"]] == ["jane"]
        assert [g["name"] for g in (await rig.ask("GET", f"/users/{user['id']}/groups", token=root)).body["groups"]] == ["team"]
        role = rig.registry.role_named("reader")
        assert role is not None
        assert (await rig.ask("PUT", f"/projects/acme{path}/roles/{role.id}", token=root)).status == 204
        assert (await rig.login("jane", "pw", project="acme")).status == 201
        assert (await rig.ask("DELETE", member, token=root)).status == 204
        assert (await rig.ask("DELETE", member, token=root)).status == 404
        assert (await rig.login("jane", "pw", project="acme")).status == 401
        assert (await rig.ask("PATCH", path, {"group": {"name": "crew"}}, token=root)).body["group"]["name"] == "crew"
        assert [g["name"] for g in (await rig.ask("GET", "/groups?name=crew", token=root)).body["groups"]] == ["crew"]
        await rig.ask("PUT", member, token=root)
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("GET", path, token=root)).status == 404
        assert (await rig.ask("GET", f"/users/{user['id']}/groups", token=root)).body["groups"] == []

    on_rig(test)


def test_others_see_and_change_nothing() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe")).token
        group = await rig.made(root, "/groups", "group", name="team")
        me = rig.registry.user_named("joe", "default")
        assert me is not None
        for method, path in (
            ("GET", ""), ("GET", "/users"), ("PATCH", ""), ("DELETE", ""), ("PUT", f"/users/{me.id}"), ("DELETE", f"/users/{me.id}"),
        ):  # fmt: skip
            assert (await rig.ask(method, f"/groups/{group['id']}{path}", {"group": {}}, token=joe)).status == 403, (method, path)
        assert (await rig.ask("GET", "/groups", token=joe)).status == 403

    on_rig(test)


def test_a_domains_manager_cannot_join_the_administrators() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        group = await rig.made(root, "/groups", "group", name="admins")
        boss = await rig.made(root, "/users", "user", name="boss", password="pw")
        admin, manager = rig.registry.role_named("admin"), rig.registry.role_named("manager")
        assert admin is not None
        assert manager is not None
        await rig.ask("PUT", f"/system/groups/{group['id']}/roles/{admin.id}", token=root)
        await rig.ask("PUT", f"/domains/default/users/{boss['id']}/roles/{manager.id}", token=root)
        token = (await rig.login("boss", "pw", scope={"domain": {"id": "default"}})).token
        assert (await rig.ask("PUT", f"/groups/{group['id']}/users/{boss['id']}", token=token)).status == 403
        assert (await rig.ask("GET", f"/groups/{group['id']}", token=token)).status == 200
        assert (await rig.ask("PATCH", f"/groups/{group['id']}", {"group": {"name": "none"}}, token=token)).status == 403
        assert (await rig.ask("DELETE", f"/groups/{group['id']}", token=token)).status == 403

    on_rig(test)
