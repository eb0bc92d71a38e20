"""Domains."""

from objstore.identity.tenancy import AccessRule, AppCredential, Credential, Endpoint, EndpointLink, Grant, Trust
from tests.support.identity_rig import Rig, on_rig


def test_a_domain_lives_and_goes_with_all_that_is_in_it() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        domain = await rig.made(root, "/domains", "domain", name="Other", color="red")
        assert (domain["enabled"], domain["color"]) == (True, "red")
        path = f"/domains/{domain['id']}"
        user = await rig.made(root, "/users", "user", name="u", domain_id=domain["id"], password="pw")
        await rig.made(root, "/projects", "project", name="p", domain_id=domain["id"])
        await rig.made(root, "/groups", "group", name="g", domain_id=domain["id"])
        token = (await rig.login("u", "pw", domain=domain["id"])).token
        joe = await rig.login("joe", project="acme")
        trust = {
            "trustor_user_id": joe.body["token"]["user"]["id"],
            "trustee_user_id": user["id"],
            "project_id": "acme",
            "impersonation": False,
        }
        await rig.made(joe.token, "/OS-TRUST/trusts", "trust", **trust, roles=[{"name": "reader"}])
        assert (await rig.ask("POST", "/domains", {"domain": {"name": "Other"}}, token=root)).status == 409
        assert (await rig.ask("DELETE", path, token=root)).status == 403
        changed = await rig.ask("PATCH", path, {"domain": {"enabled": False, "description": "off"}}, token=root)
        assert changed.body["domain"]["description"] == "off"
        assert (await rig.ask("GET", "/auth/projects", token=token)).status == 401
        assert (await rig.login("u", "pw", domain=domain["id"])).status == 401
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("GET", path, token=root)).status == 404
        assert (await rig.ask("GET", f"/users/{user['id']}", token=root)).status == 404
        assert rig.registry.all(Trust) == []
        assert [p["id"] for p in (await rig.ask("GET", "/projects", token=root)).body["projects"]] == ["acme", "admin"]
        assert (await rig.ask("DELETE", path, token=root)).status == 404

    on_rig(test)


def test_a_domain_leaves_no_secret_and_no_role_behind() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        path = f"/domains/{(await rig.made(root, '/domains', 'domain', name='Other'))['id']}"
        domain_id = path.rpartition("/")[2]
        user = (await rig.made(root, "/users", "user", name="u", domain_id=domain_id, password="pw"))["id"]
        project = (await rig.made(root, "/projects", "project", name="p", domain_id=domain_id))["id"]
        joe = rig.registry.user_named("joe", "default")
        member, endpoint = rig.registry.role_named("member"), rig.registry.all(Endpoint)[0]
        assert joe is not None
        assert member is not None
        before = {kind: rig.registry.all(kind) for kind in (Credential, AppCredential, AccessRule, Grant, EndpointLink)}
        for target in (f"projects/acme/users/{user}", f"projects/{project}/users/{user}", f"projects/{project}/users/{joe.id}"):
            assert (await rig.ask("PUT", f"/{target}/roles/{member.id}", token=root)).status == 204
        for owner, where in ((user, "acme"), (user, project), (joe.id, project)):
            made = await rig.ask("POST", f"/users/{owner}/credentials/OS-EC2", {"tenant_id": where}, token=root)
            assert made.status == 201
        own = (await rig.login("u", "pw", domain=domain_id, project="acme")).token
        rule = {"service": "s", "method": "GET", "path": "/"}
        await rig.made(own, f"/users/{user}/application_credentials", "application_credential", name="a", access_rules=[rule])
        assert (await rig.ask("PUT", f"/OS-EP-FILTER/projects/{project}/endpoints/{endpoint.id}", token=root)).status == 204
        assert (await rig.ask("PATCH", path, {"domain": {"enabled": False}}, token=root)).status == 200
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert {kind: rig.registry.all(kind) for kind in before} == before

    on_rig(test)


def test_domain_default_may_be_changed_but_stays() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        assert (await rig.ask("PATCH", "/domains/default", {"domain": {"description": "ours"}}, token=root)).status == 200
        assert (await rig.ask("PATCH", "/domains/default", {"domain": {"name": "Mine"}}, token=root)).status == 403
        found = (await rig.ask("GET", "/domains?name=Default", token=root)).body["domains"]
        assert [domain["description"] for domain in found] == ["ours"]

    on_rig(test)


def test_who_may_look_and_change() -> None:
    async def test(rig: Rig) -> None:
        joe = (await rig.login("joe")).token
        assert (await rig.ask("GET", "/domains", token=joe)).status == 403
        assert (await rig.ask("GET", "/domains/default", token=joe)).status == 200
        assert (await rig.ask("GET", "/domains/nothing", token=joe)).status == 403
        assert (await rig.ask("POST", "/domains", {"domain": {"name": "x"}}, token=joe)).status == 403
        assert (await rig.ask("PATCH", "/domains/default", {"domain": {"enabled": False}}, token=joe)).status == 403
        root = await rig.admin()
        for bad in ({}, {"domain": []}, {"domain": {}}, {"domain": {"name": ""}}, {"domain": {"name": "x", "enabled": "yes"}}):
            assert (await rig.ask("POST", "/domains", bad, token=root)).status == 400

    on_rig(test)
