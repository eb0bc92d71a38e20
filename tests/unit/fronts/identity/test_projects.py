"""Projects: names, a tree, tags."""

import asyncio

import pytest

from tests.support.identity_rig import Rig, on_rig


def test_a_project_lives() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        project = await rig.made(root, "/projects", "project", name="Team", description="x", tags=["a", "b", "a"], zone=1)
        path = f"/projects/{project['id']}"
        assert (project["parent_id"], project["domain_id"], project["is_domain"], project["enabled"]) == ("default", "default", False, True)
        assert (project["tags"], project["zone"]) == (["a", "b"], 1)
        assert len(project["id"]) == 32
        assert (await rig.ask("GET", "/projects/Team", token=root)).status == 404
        assert [p["id"] for p in (await rig.ask("GET", "/projects?name=Team", token=root)).body["projects"]] == [project["id"]]
        assert (await rig.ask("POST", "/projects", {"project": {"name": "Team"}}, token=root)).status == 409
        changed = await rig.ask("PATCH", path, {"project": {"name": "New", "zone": 2}}, token=root)
        assert (changed.body["project"]["name"], changed.body["project"]["zone"]) == ("New", 2)
        assert (await rig.ask("PATCH", path, {"project": {"name": "acme"}}, token=root)).status == 409
        assert (await rig.ask("PATCH", path, {"project": {"domain_id": "x"}}, token=root)).status == 403
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("DELETE", path, token=root)).status == 404
        await rig.made(root, "/projects", "project", name="New")

    on_rig(test)


def test_accounts_of_the_file_stay_under_their_names() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        assert (await rig.ask("GET", "/projects/acme", token=root)).body["project"]["name"] == "acme"
        assert (await rig.ask("PATCH", "/projects/acme", {"project": {"description": "x"}}, token=root)).status == 200
        assert (await rig.ask("PATCH", "/projects/acme", {"project": {"name": "x"}}, token=root)).status == 403
        assert (await rig.ask("DELETE", "/projects/acme", token=root)).status == 403

    on_rig(test)


def test_a_tree_of_projects() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        top = await rig.made(root, "/projects", "project", name="top")
        mid = await rig.made(root, "/projects", "project", name="mid", parent_id=top["id"])
        low = await rig.made(root, "/projects", "project", name="low", parent_id=mid["id"])
        assert (await rig.ask("POST", "/projects", {"project": {"name": "x", "parent_id": low["id"]}}, token=root)).status == 403
        assert (await rig.ask("POST", "/projects", {"project": {"name": "x", "parent_id": "gone"}}, token=root)).status == 404
        view = (await rig.ask("GET", f"/projects/{mid['id']}?parents_as_list&subtree_as_list", token=root)).body["project"]
        assert [entry["project"]["name"] for entry in view["parents"]] == ["top"]
        assert [entry["project"]["name"] for entry in view["subtree"]] == ["low"]
        view = (await rig.ask("GET", f"/projects/{low['id']}?parents_as_ids", token=root)).body["project"]
        assert view["parents"] == {mid["id"]: {top["id"]: None}}
        view = (await rig.ask("GET", f"/projects/{top['id']}?subtree_as_ids", token=root)).body["project"]
        assert view["subtree"] == {mid["id"]: {low["id"]: None}}
        assert (await rig.ask("DELETE", f"/projects/{mid['id']}", token=root)).status == 403
        assert (await rig.ask("PATCH", f"/projects/{mid['id']}", {"project": {"enabled": False}}, token=root)).status == 403
        assert (await rig.ask("PATCH", f"/projects/{low['id']}", {"project": {"enabled": False}}, token=root)).status == 200
        assert (await rig.ask("PATCH", f"/projects/{mid['id']}", {"project": {"enabled": False}}, token=root)).status == 200
        assert (await rig.ask("POST", "/projects", {"project": {"name": "x", "parent_id": mid["id"]}}, token=root)).status == 400
        assert (await rig.ask("PATCH", f"/projects/{low['id']}", {"project": {"enabled": True}}, token=root)).status == 403
        assert (await rig.ask("PATCH", f"/projects/{low['id']}", {"project": {"parent_id": top["id"]}}, token=root)).status == 403
        found = (await rig.ask("GET", f"/projects?parent_id={top['id']}", token=root)).body["projects"]
        assert [project["name"] for project in found] == ["mid"]

    on_rig(test, max_project_depth=3)


def test_who_is_in_a_project_is_told_of_those_above_and_below_where_he_is_in_them() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        jane = await rig.made(root, "/users", "user", name="jane", password="pw")
        reader = rig.registry.role_named("reader")
        assert reader is not None
        ids = {}
        for name, parent in (("top", None), ("mid", "top"), ("one", "mid"), ("two", "mid")):
            ids[name] = (await rig.made(root, "/projects", "project", name=name, parent_id=ids.get(parent)))["id"]
        query = f"/projects/{ids['mid']}?parents_as_list&subtree_as_list"

        async def told() -> list[str]:
            token = (await rig.login("jane", "pw", project=ids["mid"])).token
            view = (await rig.ask("GET", query, token=token)).body["project"]
            return [entry["project"]["name"] for entry in (*view["parents"], *view["subtree"])]

        for name, seen in (("mid", []), ("two", ["two"]), ("top", ["top", "two"])):
            await rig.ask("PUT", f"/projects/{ids[name]}/users/{jane['id']}/roles/{reader.id}", token=root)
            assert await told() == seen
        view = (await rig.ask("GET", query, token=root)).body["project"]
        assert {entry["project"]["name"] for entry in (*view["parents"], *view["subtree"])} == {"top", "one", "two"}

    on_rig(test)


def test_tags() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        project = await rig.made(root, "/projects", "project", name="t")
        base = f"/projects/{project['id']}/tags"
        assert (await rig.ask("PUT", base, {"tags": ["x", "y"]}, token=root)).body["tags"] == ["x", "y"]
        assert (await rig.ask("PUT", f"{base}/z", token=root)).status == 201
        assert (await rig.ask("GET", f"{base}/z", token=root)).status == 204
        assert (await rig.ask("HEAD", f"{base}/nothing", token=root)).status == 404
        for query, fits in (
            ("tags=x,y", True), ("tags=x,q", False), ("tags-any=x,q", True), ("tags-any=q", False), ("not-tags=x,y", False), ("not-tags=x,q", True),
            ("not-tags-any=x", False), ("not-tags-any=q", True),
        ):  # fmt: skip
            found = (await rig.ask("GET", f"/projects?{query}", token=root)).body["projects"]
            assert (project["id"] in [p["id"] for p in found]) == fits, query
        assert (await rig.ask("DELETE", f"{base}/z", token=root)).status == 204
        assert (await rig.ask("DELETE", f"{base}/z", token=root)).status == 404
        assert (await rig.ask("DELETE", base, token=root)).status == 204
        assert (await rig.ask("GET", base, token=root)).body["tags"] == []
        for bad in ({}, {"tags": "x"}, {"tags": [1]}, {"tags": ["a,b"]}, {"tags": ["x"] * 81}, {"tags": [""]}):
            assert (await rig.ask("PUT", base, bad, token=root)).status == 400

    on_rig(test)


def test_tags_that_are_put_at_once_are_all_there() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        base = f"/projects/{(await rig.made(root, '/projects', 'project', name='t'))['id']}/tags"
        replies = await asyncio.gather(*(rig.ask("PUT", f"{base}/{name}", token=root) for name in "abcdef"))
        assert {reply.status for reply in replies} == {201}
        assert sorted((await rig.ask("GET", base, token=root)).body["tags"]) == list("abcdef")

    on_rig(test)


def test_a_tag_is_whatever_text_and_its_address_a_header_all_the_same() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        base = f"/projects/{(await rig.made(root, '/projects', 'project', name='t'))['id']}/tags"
        for name in ("a%0D%0AX-Other%3A%20b", "%C3%A9%20%3F"):
            reply = await rig.ask("PUT", f"{base}/{name}", token=root)
            assert (reply.status, reply.headers["location"].rpartition("/")[2]) == (201, name)
            assert (await rig.ask("GET", f"{base}/{name}", token=root)).status == 204

    on_rig(test)


@pytest.mark.parametrize(("method", "body"), [("PATCH", {"project": {"description": "x"}}), ("DELETE", None)])
def test_members_see_their_project_and_change_nothing(method: str, body: object) -> None:
    async def test(rig: Rig) -> None:
        joe = (await rig.login("joe")).token
        assert (await rig.ask("GET", "/projects/acme", token=joe)).status == 200
        assert (await rig.ask("GET", "/projects/admin", token=joe)).status == 403
        assert (await rig.ask("GET", "/projects/nothing", token=joe)).status == 403
        assert (await rig.ask("GET", "/projects", token=joe)).status == 403
        assert (await rig.ask("POST", "/projects", {"project": {"name": "x"}}, token=joe)).status == 403
        assert (await rig.ask(method, "/projects/acme", body, token=joe)).status == 403

    on_rig(test)


def test_a_domains_manager_keeps_to_its_domain() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        domain = await rig.made(root, "/domains", "domain", name="D")
        boss = await rig.made(root, "/users", "user", name="boss", domain_id=domain["id"], password="pw")
        role = rig.registry.role_named("manager")
        assert role is not None
        put = await rig.ask("PUT", f"/domains/{domain['id']}/users/{boss['id']}/roles/{role.id}", token=root)
        assert put.status == 204
        token = (await rig.login("boss", "pw", domain=domain["id"], scope={"domain": {"id": domain["id"]}})).token
        project = await rig.made(token, "/projects", "project", name="own")
        assert project["domain_id"] == domain["id"]
        assert [p["name"] for p in (await rig.ask("GET", "/projects", token=token)).body["projects"]] == ["own"]
        assert (await rig.ask("POST", "/projects", {"project": {"name": "x", "domain_id": "default"}}, token=token)).status == 403
        assert (await rig.ask("PATCH", "/projects/acme", {"project": {"description": "x"}}, token=token)).status == 403
        assert (await rig.ask("DELETE", f"/projects/{project['id']}", token=token)).status == 204

    on_rig(test)


def test_a_project_that_acts_as_a_domain_is_one() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe")).token
        made = await rig.made(root, "/projects", "project", name="Other", is_domain=True, description="d")
        assert (made["is_domain"], made["domain_id"], made["parent_id"]) == (True, None, None)
        path = f"/projects/{made['id']}"
        assert (await rig.ask("GET", path, token=root)).body["project"] == made
        assert (await rig.ask("GET", f"/domains/{made['id']}", token=root)).body["domain"]["name"] == "Other"
        acting = (await rig.ask("GET", "/projects?is_domain=True", token=root)).body["projects"]
        assert {project["id"] for project in acting} == {"default", made["id"]}
        assert made["id"] not in {project["id"] for project in (await rig.ask("GET", "/projects", token=root)).body["projects"]}
        below = await rig.made(root, "/projects", "project", name="p", domain_id=made["id"])
        assert below["parent_id"] == made["id"]
        assert (await rig.ask("DELETE", path, token=root)).status == 403
        for method, body in (("GET", None), ("PATCH", {"project": {"enabled": False}}), ("DELETE", None)):
            assert (await rig.ask(method, path, body, token=joe)).status == 403
        changed = await rig.ask("PATCH", path, {"project": {"enabled": False}}, token=root)
        assert changed.body["project"]["enabled"] is False
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        for gone in (path, f"/domains/{made['id']}", f"/projects/{below['id']}"):
            assert (await rig.ask("GET", gone, token=root)).status == 404
        for bad, status in (
            ({"domain_id": "default"}, 400),
            ({"parent_id": "acme"}, 400),
            ({"tags": ["a"]}, 501),
            ({"name": "Default"}, 409),
        ):
            assert (await rig.ask("POST", "/projects", {"project": {"name": "x", "is_domain": True, **bad}}, token=root)).status == status

    on_rig(test)
