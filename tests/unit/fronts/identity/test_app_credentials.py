"""Application credentials: never wider than what made them."""

from typing import Any

import pytest

from tests.support.identity_rig import Reply, Rig, on_rig


async def login_with(rig: Rig, made: dict[str, Any], scope: Any = None) -> Reply:
    auth: dict[str, Any] = {
        "identity": {"methods": ["application_credential"], "application_credential": {"id": made["id"], "secret": made["secret"]}}
    }
    if scope is not None:
        auth["scope"] = scope
    return await rig.ask("POST", "/auth/tokens", {"auth": auth})


async def own(rig: Rig, **fields: Any) -> tuple[str, str, dict[str, Any]]:
    """A token of joe, his id, and an application credential of his."""
    reply = await rig.login("joe")
    user = reply.body["token"]["user"]["id"]
    made = await rig.made(reply.token, f"/users/{user}/application_credentials", "application_credential", **{"name": "app", **fields})
    return reply.token, user, made


def test_a_program_logs_in_with_it() -> None:
    async def test(rig: Rig) -> None:
        token, user, made = await own(rig, roles=[{"name": "reader"}], description="x")
        base = f"/users/{user}/application_credentials"
        reply = await login_with(rig, made)
        assert reply.status == 201
        found = reply.body["token"]
        assert [role["name"] for role in found["roles"]] == ["reader"]
        assert found["project"]["id"] == "acme"
        assert found["application_credential"] == {"id": made["id"], "name": "app", "restricted": True}
        by_name = {"name": "app", "secret": made["secret"], "user": {"name": "joe", "domain": {"id": "default"}}}
        auth = {"identity": {"methods": ["application_credential"], "application_credential": by_name}}
        assert (await rig.ask("POST", "/auth/tokens", {"auth": auth})).status == 201
        assert (await login_with(rig, made, {"project": {"id": "acme"}})).status == 401
        assert (await login_with(rig, made, "unscoped")).status == 401
        assert (await login_with(rig, {**made, "secret": "x"})).status == 401
        assert (await login_with(rig, {**made, "id": "x"})).status == 401
        shown = (await rig.ask("GET", f"{base}/{made['id']}", token=token)).body["application_credential"]
        assert "secret" not in shown
        assert (await rig.ask("POST", base, {"application_credential": {"name": "app"}}, token=token)).status == 409
        assert len((await rig.ask("GET", base, token=token)).body["application_credentials"]) == 1
        assert (await rig.ask("DELETE", f"{base}/{made['id']}", token=token)).status == 204
        assert (await rig.ask("GET", "/auth/projects", token=reply.token)).status == 401
        assert (await login_with(rig, made)).status == 401

    on_rig(test)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"roles": [{"name": "admin"}]}, 400),
        ({"roles": [{"id": "gone"}]}, 400),
        ({"roles": "reader"}, 400),
        ({"expires_at": "2001-01-01T00:00:00"}, 400),
        ({"expires_at": "soon"}, 400),
        ({"expires_at": "1970-01-01T00:00:00Z"}, 400),
        ({"expires_at": "9999-12-31T23:59:59-12:00"}, 400),
        ({"name": ""}, 400),
        ({"unrestricted": "yes"}, 400),
        ({"project_id": "admin"}, 403),
        ({"access_rules": [{"path": "/x", "method": "GET"}]}, 400),
        ({"access_rules": [{"path": "x", "method": "GET", "service": "s"}]}, 400),
        ({"access_rules": [{"path": "/x", "method": "FLY", "service": "s"}]}, 400),
        ({"access_rules": [{"id": "gone"}]}, 404),
    ],
)
def test_what_cannot_be_made(fields: dict[str, Any], status: int) -> None:
    async def test(rig: Rig) -> None:
        reply = await rig.login("joe")
        path = f"/users/{reply.body['token']['user']['id']}/application_credentials"
        made = await rig.ask("POST", path, {"application_credential": {"name": "app", **fields}}, token=reply.token)
        assert made.status == status, made.raw
        assert (await rig.ask("GET", path, token=reply.token)).body["application_credentials"] == []

    on_rig(test)


def test_a_restricted_one_makes_no_secrets_and_a_limited_one_neither() -> None:
    async def test(rig: Rig) -> None:
        rules = [{"path": "/v3/**", "method": method, "service": "identity"} for method in ("POST", "DELETE", "GET")]
        for fields in ({}, {"name": "limited", "unrestricted": True, "access_rules": rules}):
            _, user, made = await own(rig, **fields)
            token = (await login_with(rig, made)).token
            for method, path, body in (
                ("POST", "/application_credentials", {"application_credential": {"name": "child"}}),
                ("DELETE", f"/application_credentials/{made['id']}", None),
                ("POST", "/credentials/OS-EC2", {"tenant_id": "acme"}),
            ):
                assert (await rig.ask(method, f"/users/{user}{path}", body, token=token)).status == 403, path
            blob = {"credential": {"type": "cert", "blob": "x"}}
            assert (await rig.ask("POST", "/credentials", blob, token=token)).status == 403
            auth = {"identity": {"methods": ["token"], "token": {"id": token}}, "scope": {"project": {"id": "acme"}}}
            assert (await rig.ask("POST", "/auth/tokens", {"auth": auth})).status == 403

    on_rig(test)


def test_children_of_an_unrestricted_one_keep_within_it() -> None:
    async def test(rig: Rig) -> None:
        _, user, made = await own(rig, unrestricted=True, roles=[{"name": "reader"}], expires_at="2099-01-01T00:00:00Z")
        token = (await login_with(rig, made)).token
        base = f"/users/{user}/application_credentials"
        wider = {"application_credential": {"name": "w", "roles": [{"name": "member"}]}}
        assert (await rig.ask("POST", base, wider, token=token)).status == 400
        child = await rig.made(token, base, "application_credential", name="c", expires_at="2100-01-01T00:00:00Z")
        assert child["expires_at"] == made["expires_at"]
        assert [role["name"] for role in child["roles"]] == ["reader"]
        assert (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": "admin"}, token=token)).status == 403
        key = (await rig.ask("POST", f"/users/{user}/credentials/OS-EC2", {"tenant_id": "acme"}, token=token)).body["credential"]
        credential = rig.registry.key(key["access"])
        assert credential is not None
        access = rig.registry.key_access(credential)
        assert access is not None
        assert access.names == {"reader"}
        full = (await rig.login("joe")).token
        assert (await rig.ask("DELETE", f"{base}/{made['id']}", token=full)).status == 204
        assert rig.registry.key(key["access"]) is None

    on_rig(test)


def test_access_rules_hold() -> None:
    async def test(rig: Rig) -> None:
        rules = [
            {"path": "/v3/auth/projects", "method": "GET", "service": "identity"},
            {"path": "/v2.1/**", "method": "GET", "service": "compute"},
        ]
        token, user, made = await own(rig, access_rules=rules)
        assert [rule["path"] for rule in made["access_rules"]] == ["/v3/auth/projects", "/v2.1/**"]
        narrow = (await login_with(rig, made)).token
        assert (await rig.ask("GET", "/auth/projects", token=narrow)).status == 200
        assert (await rig.ask("GET", "/auth/domains", token=narrow)).status == 401
        listed = (await rig.ask("GET", f"/users/{user}/access_rules", token=token)).body["access_rules"]
        assert len(listed) == 2
        path = f"/users/{user}/access_rules/{listed[0]['id']}"
        assert (await rig.ask("GET", path, token=token)).status == 200
        assert (await rig.ask("DELETE", path, token=token)).status == 403
        again = await rig.made(token, f"/users/{user}/application_credentials", "application_credential", name="b", access_rules=[rules[0]])
        assert again["access_rules"][0]["id"] == made["access_rules"][0]["id"]
        for one in (made, again):
            await rig.ask("DELETE", f"/users/{user}/application_credentials/{one['id']}", token=token)
        assert (await rig.ask("DELETE", path, token=token)).status == 204
        assert (await rig.ask("GET", path, token=token)).status == 404
        _, _, nothing = await own(rig, name="none", access_rules=[])
        assert (await rig.ask("GET", "/auth/projects", token=(await login_with(rig, nothing)).token)).status == 401

    on_rig(test)


def test_it_is_made_by_its_user_for_the_project_of_the_token_alone() -> None:
    async def test(rig: Rig) -> None:
        token, user, made = await own(rig)
        base = f"/users/{user}/application_credentials"
        root = await rig.admin()
        assert (await rig.ask("POST", base, {"application_credential": {"name": "x"}}, token=root)).status == 403
        assert (await rig.ask("GET", f"{base}/{made['id']}", token=root)).status == 200
        unscoped = (await rig.login("joe", scope="unscoped")).token
        assert (await rig.ask("POST", base, {"application_credential": {"name": "x"}}, token=unscoped)).status == 403
        admin = rig.registry.user_named("admin", "default")
        assert admin is not None
        assert (await rig.ask("GET", f"/users/{admin.id}/application_credentials", token=token)).status == 403

    on_rig(test)
