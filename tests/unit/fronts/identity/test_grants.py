"""Who has which role where."""

import pytest

from objstore.fronts.identity import grants
from tests.support.identity_rig import Rig, on_rig


async def cast_of(rig: Rig) -> tuple[str, str, str, dict[str, str]]:
    """A token of the administrator, a user, a group with that user in it, roles."""
    root = await rig.admin()
    user = await rig.made(root, "/users", "user", name="jane", password="pw")
    group = await rig.made(root, "/groups", "group", name="team")
    await rig.ask("PUT", f"/groups/{group['id']}/users/{user['id']}", token=root)
    roles = {role["name"]: role["id"] for role in (await rig.ask("GET", "/roles", token=root)).body["roles"]}
    return root, user["id"], group["id"], roles


@pytest.mark.parametrize("target", ["/projects/acme", "/domains/default", "/system"])
@pytest.mark.parametrize("kind", ["users", "groups"])
def test_giving_looking_and_taking(target: str, kind: str) -> None:
    async def test(rig: Rig) -> None:
        root, user, group, roles = await cast_of(rig)
        base = f"{target}/{kind}/{user if kind == 'users' else group}/roles"
        one = f"{base}/{roles['member']}"
        assert (await rig.ask("HEAD", one, token=root)).status == 404
        assert (await rig.ask("DELETE", one, token=root)).status == 404
        assert (await rig.ask("PUT", one, token=root)).status == 204
        assert (await rig.ask("PUT", one, token=root)).status == 204
        assert (await rig.ask("HEAD", one, token=root)).status == 204
        assert (await rig.ask("GET", one, token=root)).status == 204
        assert [role["name"] for role in (await rig.ask("GET", base, token=root)).body["roles"]] == ["member"]
        assert (await rig.ask("PUT", f"{base}/gone", token=root)).status == 404
        assert (await rig.ask("PUT", f"{target}/{kind}/gone/roles/{roles['member']}", token=root)).status == 404
        joe = (await rig.login("joe")).token
        for method in ("PUT", "HEAD", "DELETE"):
            assert (await rig.ask(method, one, token=joe)).status == 403
        assert (await rig.ask("DELETE", one, token=root)).status == 204
        assert (await rig.ask("GET", base, token=root)).body["roles"] == []

    on_rig(test)


def test_a_role_beside_those_of_the_identities_file_takes_none_of_them_away() -> None:
    async def test(rig: Rig) -> None:
        root, _, _, roles = await cast_of(rig)
        joe = rig.registry.user_named("joe", "default")
        assert joe is not None
        base = f"/projects/acme/users/{joe.id}/roles"

        async def held() -> set[str]:
            return {role["name"] for role in (await rig.ask("GET", base, token=root)).body["roles"]}

        assert await held() == {"manager"}
        assert (await rig.ask("PUT", f"{base}/{roles['service']}", token=root)).status == 204
        assert await held() == {"manager", "service"}
        assert (await rig.ask("DELETE", f"{base}/{roles['manager']}", token=root)).status == 204
        assert await held() == {"service"}
        assert (await rig.ask("DELETE", f"{base}/{roles['service']}", token=root)).status == 204
        assert await held() == set()
        assert (await rig.login("joe", project="acme")).status == 401

    on_rig(test)


def test_inherited_roles_hold_below_and_not_there() -> None:
    async def test(rig: Rig) -> None:
        root, user, _, roles = await cast_of(rig)
        base = f"/OS-INHERIT/domains/default/users/{user}/roles"
        one = f"{base}/{roles['reader']}/inherited_to_projects"
        assert (await rig.ask("PUT", one, token=root)).status == 204
        assert (await rig.ask("HEAD", one, token=root)).status == 204
        assert [r["name"] for r in (await rig.ask("GET", f"{base}/inherited_to_projects", token=root)).body["roles"]] == ["reader"]
        assert (await rig.ask("GET", f"/domains/default/users/{user}/roles", token=root)).body["roles"] == []
        assert (await rig.login("jane", "pw", project="acme")).status == 201
        assert (await rig.login("jane", "pw", scope={"domain": {"id": "default"}})).status == 401
        listed = (await rig.ask("GET", f"/role_assignments?user.id={user}", token=root)).body["role_assignments"]
        assert listed[0]["scope"] == {"domain": {"id": "default"}, "OS-INHERIT:inherited_to": "projects"}
        assert listed[0]["links"]["assignment"].endswith(one)
        effective = (await rig.ask("GET", f"/role_assignments?user.id={user}&effective", token=root)).body["role_assignments"]
        assert sorted(entry["scope"]["project"]["id"] for entry in effective) == ["acme", "admin"]
        assert (await rig.ask("DELETE", one, token=root)).status == 204
        assert (await rig.login("jane", "pw", project="acme")).status == 401

    on_rig(test)


def test_the_list_of_assignments_and_its_filters() -> None:
    async def test(rig: Rig) -> None:
        root, user, group, roles = await cast_of(rig)
        await rig.ask("PUT", f"/projects/acme/groups/{group}/roles/{roles['member']}", token=root)
        await rig.ask("PUT", f"/system/users/{user}/roles/{roles['reader']}", token=root)

        async def ask(query: str) -> list[tuple[str, ...]]:
            found = (await rig.ask("GET", f"/role_assignments?{query}", token=root)).body["role_assignments"]
            names = {id_: name for name, id_ in roles.items()}
            return sorted(
                (
                    "u" if "user" in e else "g",
                    names[e["role"]["id"]],
                    next(iter(e["scope"])),
                    *(["m"] if "membership" in e["links"] else []),
                )
                for e in found
            )

        assert await ask(f"user.id={user}") == [("u", "reader", "system")]
        assert await ask(f"group.id={group}") == [("g", "member", "project")]
        assert await ask(f"user.id={user}&effective") == [
            ("u", "member", "project", "m"),
            ("u", "reader", "project", "m"),
            ("u", "reader", "system"),
        ]
        assert await ask(f"user.id={user}&effective=0") == [("u", "reader", "system")]
        assert await ask(f"scope.project.id=acme&role.id={roles['member']}") == [("g", "member", "project")]
        assert await ask("scope.system=all&role.id=" + roles["reader"]) == [("u", "reader", "system")]
        assert await ask("user.id=nobody") == []
        assert len(await ask("")) == 6
        named = (await rig.ask("GET", f"/role_assignments?group.id={group}&include_names", token=root)).body["role_assignments"][0]
        assert named["group"]["name"] == "team"
        assert named["scope"]["project"] == {"id": "acme", "name": "acme", "domain": {"id": "default", "name": "Default"}}
        assert named["role"] == {"id": roles["member"], "name": "member"}
        child = await rig.made(root, "/projects", "project", name="child", parent_id="acme")
        await rig.ask("PUT", f"/projects/{child['id']}/users/{user}/roles/{roles['member']}", token=root)
        assert len(await ask("scope.project.id=acme&include_subtree")) == 3
        for bad in (
            f"user.id={user}&group.id={group}",
            f"effective&group.id={group}",
            "scope.project.id=a&scope.domain.id=b",
            "include_subtree",
        ):
            assert (await rig.ask("GET", f"/role_assignments?{bad}", token=root)).status == 400

    on_rig(test)


def test_others_see_their_own_or_their_projects_assignments() -> None:
    async def test(rig: Rig) -> None:
        _, user, _, _ = await cast_of(rig)
        reply = await rig.login("joe")
        joe = reply.token
        assert (await rig.ask("GET", "/role_assignments", token=joe)).status == 403
        assert (await rig.ask("GET", f"/role_assignments?user.id={user}", token=joe)).status == 403
        assert len((await rig.ask("GET", "/role_assignments?scope.project.id=acme", token=joe)).body["role_assignments"]) == 1
        assert (await rig.ask("GET", "/role_assignments?scope.project.id=admin", token=joe)).status == 403
        own = reply.body["token"]["user"]["id"]
        assert len((await rig.ask("GET", f"/role_assignments?user.id={own}", token=joe)).body["role_assignments"]) == 1

    on_rig(test)


def test_a_projects_manager_sees_no_assignments_of_the_projects_below() -> None:
    async def test(rig: Rig) -> None:
        root, user, _, roles = await cast_of(rig)
        child = await rig.made(root, "/projects", "project", name="child", parent_id="acme")
        await rig.ask("PUT", f"/projects/{child['id']}/users/{user}/roles/{roles['member']}", token=root)
        query = "/role_assignments?scope.project.id=acme&include_subtree"
        seen = (await rig.ask("GET", query, token=(await rig.login("joe")).token)).body["role_assignments"]
        assert [entry["scope"]["project"]["id"] for entry in seen] == ["acme"]
        assert len((await rig.ask("GET", query, token=root)).body["role_assignments"]) == 2

    on_rig(test)


def test_what_is_asked_for_bounds_effective_assignments_not_what_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "MAX_ENTRIES", 4)

    async def test(rig: Rig) -> None:
        root, user, group, roles = await cast_of(rig)
        for number in range(4):
            await rig.made(root, "/projects", "project", name=f"p{number}")
        await rig.ask("PUT", f"/OS-INHERIT/domains/default/groups/{group}/roles/{roles['member']}/inherited_to_projects", token=root)
        assert (await rig.ask("GET", "/role_assignments?effective", token=root)).status == 400
        assert (await rig.ask("GET", f"/role_assignments?effective&user.id={user}", token=root)).status == 400
        for query in ("scope.project.id=acme&user.id=" + user, "scope.system=all&role.id=" + roles["admin"]):
            found = await rig.ask("GET", f"/role_assignments?effective&{query}", token=root)
            assert found.status == 200
            assert found.body["role_assignments"] != []

    on_rig(test)


def test_a_role_of_one_domain_stays_in_it() -> None:
    async def test(rig: Rig) -> None:
        root, user, _, _ = await cast_of(rig)
        other = await rig.made(root, "/domains", "domain", name="other")
        role = await rig.made(root, "/roles", "role", name="local", domain_id=other["id"])
        assert (await rig.ask("PUT", f"/projects/acme/users/{user}/roles/{role['id']}", token=root)).status == 403

    on_rig(test)
