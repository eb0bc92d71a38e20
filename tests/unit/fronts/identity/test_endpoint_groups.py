"""Which endpoints a project sees."""

from tests.support.identity_rig import Rig, on_rig

EP = "/OS-EP-FILTER"


async def _services(rig: Rig, root: str) -> tuple[str, str, str]:
    """A service, and two endpoints of it."""
    service = (await rig.made(root, "/services", "service", type="image", name="glance"))["id"]
    made = [
        (await rig.made(root, "/endpoints", "endpoint", service_id=service, interface=interface, url=f"http://{interface}"))["id"]
        for interface in ("public", "internal")
    ]
    return service, made[0], made[1]


async def _seen(rig: Rig, user: str, project: str) -> set[str]:
    token = (await rig.login(user, project=project)).body["token"]
    return {endpoint["id"] for service in token["catalog"] for endpoint in service["endpoints"]}


def test_a_project_sees_the_endpoints_it_was_given_and_all_when_it_was_given_none() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        service, public, internal = await _services(rig, root)
        everything = await _seen(rig, "joe", "acme")
        assert {public, internal} < everything
        one = f"{EP}/projects/acme/endpoints/{public}"
        assert (await rig.ask("GET", one, token=root)).status == 404
        assert (await rig.ask("PUT", one, token=root)).status == 204
        assert (await rig.ask("PUT", one, token=root)).status == 409
        assert (await rig.ask("HEAD", one, token=root)).status == 204
        assert await _seen(rig, "joe", "acme") == {public}
        assert await _seen(rig, "admin", "admin") == everything
        group = await rig.made(
            root, f"{EP}/endpoint_groups", "endpoint_group", name="g", filters={"service_id": service, "interface": "internal"}
        )
        of_group = f"{EP}/endpoint_groups/{group['id']}"
        assert (await rig.ask("PUT", f"{of_group}/projects/acme", token=root)).status == 204
        assert await _seen(rig, "joe", "acme") == {public, internal}
        for path, name, ids in (
            (f"{EP}/projects/acme/endpoints", "endpoints", {public, internal}),
            (f"{EP}/projects/acme/endpoint_groups", "endpoint_groups", {group["id"]}),
            (f"{EP}/endpoints/{public}/projects", "projects", {"acme"}),
            (f"{of_group}/projects", "projects", {"acme"}),
            (f"{of_group}/endpoints", "endpoints", {internal}),
        ):
            assert {found["id"] for found in (await rig.ask("GET", path, token=root)).body[name]} == ids, path
        assert (await rig.ask("GET", f"{of_group}/projects/acme", token=root)).body["project"]["id"] == "acme"
        assert (await rig.ask("DELETE", of_group, token=root)).status == 204
        assert (await rig.ask("GET", f"{EP}/projects/acme/endpoint_groups", token=root)).body["endpoint_groups"] == []
        assert (await rig.ask("DELETE", one, token=root)).status == 204
        assert (await rig.ask("DELETE", one, token=root)).status == 404
        assert await _seen(rig, "joe", "acme") == everything

    on_rig(test)


def test_an_endpoint_that_is_gone_leaves_no_project_without_any() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        service, public, internal = await _services(rig, root)
        for path, id_ in ((f"/endpoints/{public}", public), (f"/services/{service}", internal)):
            assert (await rig.ask("PUT", f"{EP}/projects/acme/endpoints/{id_}", token=root)).status == 204
            assert await _seen(rig, "joe", "acme") == {id_}
            assert (await rig.ask("DELETE", path, token=root)).status == 204
            assert await _seen(rig, "joe", "acme") == await _seen(rig, "admin", "admin") != set()

    on_rig(test)


def test_a_group_is_changed_and_says_what_it_may_filter_by() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        path = f"{EP}/endpoint_groups"
        for bad in (
            {"name": "g"},
            {"name": "g", "filters": {}},
            {"name": "g", "filters": {"url": "x"}},
            {"name": "g", "filters": {"interface": 1}},
        ):
            assert (await rig.ask("POST", path, {"endpoint_group": bad}, token=root)).status == 400
        group = await rig.made(root, path, "endpoint_group", name="g", description="d", filters={"interface": "admin"})
        changed = await rig.ask(
            "PATCH", f"{path}/{group['id']}", {"endpoint_group": {"name": "h", "filters": {"enabled": True}}}, token=root
        )
        assert (changed.body["endpoint_group"]["name"], changed.body["endpoint_group"]["filters"]) == ("h", {"enabled": True})
        assert (await rig.ask("HEAD", f"{path}/{group['id']}", token=root)).status == 200
        assert [found["name"] for found in (await rig.ask("GET", path, token=root)).body["endpoint_groups"]] == ["h"]

    on_rig(test)
