"""Roles and implied roles."""

from tests.support.identity_rig import Rig, on_rig


def test_a_role_lives_and_is_taken_from_everybody_when_it_goes() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        role = await rig.made(root, "/roles", "role", name="op", description="x")
        path = f"/roles/{role['id']}"
        assert role["domain_id"] is None
        joe = rig.registry.user_named("joe", "default")
        assert joe is not None
        grant = f"/projects/admin/users/{joe.id}{path}"
        assert (await rig.ask("PUT", grant, token=root)).status == 204
        assert (await rig.login("joe", project="admin")).body["token"]["roles"] == [{"id": role["id"], "name": "op"}]
        assert (await rig.ask("POST", "/roles", {"role": {"name": "op"}}, token=root)).status == 409
        assert (await rig.ask("GET", "/roles/op", token=root)).status == 404
        assert [r["name"] for r in (await rig.ask("GET", "/roles?name=op", token=root)).body["roles"]] == ["op"]
        assert (await rig.ask("PATCH", path, {"role": {"name": "oper"}}, token=root)).body["role"]["name"] == "oper"
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("GET", path, token=root)).status == 404
        assert (await rig.login("joe", project="admin")).status == 401
        assert rig.registry.grant(f"u:{joe.id}", "p:admin") is None

    on_rig(test)


def test_implied_roles() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        one, two = [await rig.made(root, "/roles", "role", name=name) for name in ("one", "two")]
        path = f"/roles/{one['id']}/implies/{two['id']}"
        assert (await rig.ask("HEAD", path, token=root)).status == 404
        reply = await rig.ask("PUT", path, token=root)
        assert reply.status == 201
        assert reply.body["role_inference"]["prior_role"]["name"] == "one"
        assert (await rig.ask("GET", path, token=root)).status == 200
        assert (await rig.ask("HEAD", path, token=root)).status == 204
        assert [r["name"] for r in (await rig.ask("GET", f"/roles/{one['id']}/implies", token=root)).body["role_inference"]["implies"]] == [
            "two"
        ]
        assert (await rig.ask("PUT", f"/roles/{two['id']}/implies/{one['id']}", token=root)).status == 403
        admin = rig.registry.role_named("admin")
        assert admin is not None
        assert (await rig.ask("PUT", f"/roles/{one['id']}/implies/{admin.id}", token=root)).status == 403
        rules = (await rig.ask("GET", "/role_inferences", token=root)).body["role_inferences"]
        assert {rule["prior_role"]["name"] for rule in rules} == {"admin", "manager", "member", "one"}
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("DELETE", path, token=root)).status == 404

    on_rig(test)


def test_roles_of_one_domain_are_listed_apart() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        await rig.made(root, "/roles", "role", name="local", domain_id="default")
        assert "local" not in [r["name"] for r in (await rig.ask("GET", "/roles", token=root)).body["roles"]]
        assert [r["name"] for r in (await rig.ask("GET", "/roles?domain_id=default", token=root)).body["roles"]] == ["local"]
        assert (await rig.ask("POST", "/roles", {"role": {"name": "x", "domain_id": "gone"}}, token=root)).status == 404

    on_rig(test)


def test_only_administrators_make_roles() -> None:
    async def test(rig: Rig) -> None:
        joe = (await rig.login("joe")).token
        assert (await rig.ask("POST", "/roles", {"role": {"name": "x"}}, token=joe)).status == 403
        assert (await rig.ask("GET", "/roles", token=joe)).status == 403
        reader = rig.registry.role_named("reader")
        assert reader is not None
        assert (await rig.ask("DELETE", f"/roles/{reader.id}", token=await rig.admin())).status == 403

    on_rig(test)
