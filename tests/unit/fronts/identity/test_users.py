"""Users and their passwords."""

import pytest

from tests.support.identity_rig import PASSWORD, Rig, on_rig


def test_a_user_lives() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        user = await rig.made(root, "/users", "user", name="jane", password="one", email="j@x", default_project_id="acme", description="d")
        path = f"/users/{user['id']}"
        assert "password" not in user
        assert (user["email"], user["domain_id"], user["default_project_id"], user["description"]) == ("j@x", "default", "acme", "d")
        assert (await rig.ask("GET", "/users/jane", token=root)).status == 404
        assert [u["id"] for u in (await rig.ask("GET", "/users?name=jane", token=root)).body["users"]] == [user["id"]]
        assert (await rig.ask("POST", "/users", {"user": {"name": "jane"}}, token=root)).status == 409
        mine = (await rig.login("jane", "one")).token
        assert (await rig.ask("GET", path, token=mine)).status == 200
        assert (await rig.ask("GET", "/users", token=mine)).status == 403
        assert (await rig.ask("PATCH", path, {"user": {"name": "x"}}, token=mine)).status in (200, 403)
        renamed = await rig.ask("PATCH", path, {"user": {"name": "June", "email": "k@x"}}, token=root)
        assert (renamed.body["user"]["name"], renamed.body["user"]["email"]) == ("June", "k@x")
        assert (await rig.login("jane", "one")).status == 401
        assert (await rig.login("June", "one")).status == 201
        assert (await rig.ask("PATCH", path, {"user": {"enabled": False}}, token=root)).status == 200
        assert (await rig.ask("GET", path, token=mine)).status == 401
        assert (await rig.login("June", "one")).status == 401
        assert (await rig.ask("PATCH", path, {"user": {"enabled": True}}, token=root)).status == 200
        assert (await rig.ask("GET", path, token=mine)).status == 401  # switching it on does not bring old tokens back
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("DELETE", path, token=root)).status == 404
        assert (await rig.login("June", "one")).status == 401

    on_rig(test)


def test_what_the_service_does_not_know_of_a_user_stays_bounded_over_all_changes() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        path = f"/users/{(await rig.made(root, '/users', 'user', name='jane', first='x' * 9000))['id']}"
        assert (await rig.ask("PATCH", path, {"user": {"second": "x" * 9000}}, token=root)).status == 400
        assert (await rig.ask("PATCH", path, {"user": {"first": "y" * 9000}}, token=root)).status == 200
        assert (await rig.ask("PATCH", path, {"user": {"enabled": False}}, token=root)).body["user"]["first"] == "y" * 9000

    on_rig(test)


def test_a_user_without_a_password_cannot_log_in() -> None:
    async def test(rig: Rig) -> None:
        await rig.made(await rig.admin(), "/users", "user", name="jane")
        for password in ("", "None", "x"):
            assert (await rig.login("jane", password)).status == 401

    on_rig(test)


def test_whoever_knows_the_password_changes_it_and_its_tokens_end() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        user = await rig.made(root, "/users", "user", name="jane", password="one")
        path = f"/users/{user['id']}/password"
        old = (await rig.login("jane", "one")).token
        for body, status in (
            ({"user": {"password": "two"}}, 400),
            ({"user": {"original_password": "one"}}, 400),
            ({"user": {"original_password": "no", "password": "two"}}, 401),
            ({"user": {"original_password": "one", "password": ""}}, 400),
            ({"user": {"original_password": "one", "password": "x" * 5000}}, 400),
            ({"user": {"original_password": "one", "password": "one"}}, 400),
            ({"user": {"original_password": "one", "password": "two"}}, 204),
            ({"user": {"original_password": "two", "password": "one"}}, 400),
            ({"user": {"original_password": "two", "password": "three"}}, 204),
            ({"user": {"original_password": "three", "password": "one"}}, 204),
        ):
            assert (await rig.ask("POST", path, body)).status == status, body
        assert (await rig.ask("GET", "/auth/projects", token=old)).status == 401
        assert (await rig.login("jane", "three")).status == 401
        assert (await rig.login("jane", "one")).status == 201
        assert (await rig.ask("POST", "/users/nobody/password", {"user": {"original_password": "a", "password": "b"}})).status == 401

    on_rig(test, password_history=2)


def test_rules_for_passwords() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        assert (await rig.ask("POST", "/users", {"user": {"name": "x", "password": "short"}}, token=root)).status == 400
        user = await rig.made(root, "/users", "user", name="jane", password="long enough")
        assert user["password_expires_at"] is not None
        path = f"/users/{user['id']}/password"
        body = {"user": {"original_password": "long enough", "password": "longer than that"}}
        assert (await rig.ask("POST", path, body)).status == 204  # an administrator had set it: no need to wait
        body = {"user": {"original_password": "longer than that", "password": "longer still"}}
        assert (await rig.ask("POST", path, body)).status == 400
        rig.clock.skew_us += 2 * 86_400_000_000
        reply = await rig.login("jane", "longer than that")
        assert (reply.status, "expired" in reply.message) == (401, True)
        assert (await rig.ask("POST", path, body)).status == 204
        assert (await rig.login("jane", "longer still")).status == 201

    on_rig(test, password_min_chars=8, password_days=1.0, password_min_age_s=3600.0)


def test_a_user_of_the_file_gets_a_new_password_and_keeps_its_name() -> None:
    async def test(rig: Rig) -> None:
        admin = rig.registry.user_named("admin", "default")
        assert admin is not None
        path = f"/users/{admin.id}"
        assert (await rig.ask("POST", f"{path}/password", {"user": {"original_password": PASSWORD, "password": "new one"}})).status == 204
        assert (await rig.login()).status == 401
        root = (await rig.login(password="new one")).token
        assert (await rig.ask("PATCH", path, {"user": {"name": "root"}}, token=root)).status == 403
        assert (await rig.ask("DELETE", path, token=root)).status == 403

    on_rig(test)


def test_a_domains_manager_has_no_hand_on_an_administrator() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        boss = await rig.made(root, "/users", "user", name="boss", password="pw")
        role = rig.registry.role_named("manager")
        admin = rig.registry.user_named("admin", "default")
        assert role is not None
        assert admin is not None
        await rig.ask("PUT", f"/domains/default/users/{boss['id']}/roles/{role.id}", token=root)
        token = (await rig.login("boss", "pw", scope={"domain": {"id": "default"}})).token
        for body in ({"user": {"password": "mine"}}, {"user": {"enabled": False}}):
            assert (await rig.ask("PATCH", f"/users/{admin.id}", body, token=token)).status == 403
        assert (await rig.ask("DELETE", f"/users/{admin.id}", token=token)).status == 403
        other = await rig.made(token, "/users", "user", name="other")
        assert (await rig.ask("PATCH", f"/users/{other['id']}", {"user": {"password": "pw"}}, token=token)).status == 200

    on_rig(test)


@pytest.mark.parametrize(("role", "target"), [("ResellerAdmin", "/projects/acme"), ("service", "/projects/acme"), ("reader", "/system")])
def test_a_domains_manager_has_no_hand_on_whom_roles_beyond_the_domain_were_given(role: str, target: str) -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        roles = {found["name"]: found["id"] for found in (await rig.ask("GET", "/roles", token=root)).body["roles"]}
        boss = await rig.made(root, "/users", "user", name="boss", password="pw")
        robot = await rig.made(root, "/users", "user", name="robot", password="pw")
        group = await rig.made(root, "/groups", "group", name="robots")
        await rig.ask("PUT", f"/domains/default/users/{boss['id']}/roles/{roles['manager']}", token=root)
        token = (await rig.login("boss", "pw", scope={"domain": {"id": "default"}})).token
        password, join = f"/users/{robot['id']}", f"/groups/{group['id']}/users/{boss['id']}"
        assert (await rig.ask("PATCH", password, {"user": {"password": "mine"}}, token=token)).status == 200
        for actor in (f"users/{robot['id']}", f"groups/{group['id']}"):
            assert (await rig.ask("PUT", f"{target}/{actor}/roles/{roles[role]}", token=root)).status == 204
        assert (await rig.ask("PATCH", password, {"user": {"password": "mine"}}, token=token)).status == 403
        assert (await rig.ask("PUT", join, token=token)).status == 403
        assert (await rig.ask("PUT", join, token=root)).status == 204

    on_rig(test)


def test_projects_and_groups_of_a_user() -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.login("joe")
        base = f"/users/{reply.body['token']['user']['id']}"
        assert [p["id"] for p in (await rig.ask("GET", f"{base}/projects", token=reply.token)).body["projects"]] == ["acme"]
        assert (await rig.ask("GET", f"{base}/groups", token=reply.token)).body["groups"] == []
        admin = rig.registry.user_named("admin", "default")
        assert admin is not None
        assert (await rig.ask("GET", f"/users/{admin.id}/projects", token=reply.token)).status == 403
        assert (await rig.ask("GET", f"/users/{admin.id}", token=reply.token)).status == 403

    on_rig(test)
