"""Services, endpoints, regions."""

from tests.support.identity_rig import Rig, on_rig


def test_a_service_and_its_endpoint_show_in_the_catalog() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        service = await rig.made(root, "/services", "service", type="image", name="glance")
        endpoint = await rig.made(
            root, "/endpoints", "endpoint", interface="public", service_id=service["id"], url="http://i/$(project_id)s", region="west"
        )
        assert (endpoint["region"], endpoint["region_id"]) == ("west", "west")
        urls = {s["type"]: s["endpoints"] for s in (await rig.login()).body["token"]["catalog"]}
        assert urls["image"][0]["url"] == "http://i/admin"
        path = f"/endpoints/{endpoint['id']}"
        assert (await rig.ask("PATCH", path, {"endpoint": {"enabled": False}}, token=root)).body["endpoint"]["enabled"] is False
        assert not {s["type"]: s["endpoints"] for s in (await rig.login()).body["token"]["catalog"]}["image"]
        assert (await rig.ask("PATCH", f"/services/{service['id']}", {"service": {"enabled": False}}, token=root)).status == 200
        assert "image" not in {s["type"] for s in (await rig.login()).body["token"]["catalog"]}
        assert [s["name"] for s in (await rig.ask("GET", "/services?type=image", token=root)).body["services"]] == ["glance"]
        assert len((await rig.ask("GET", f"/endpoints?service_id={service['id']}", token=root)).body["endpoints"]) == 1
        assert (await rig.ask("GET", path, token=root)).status == 200
        assert (await rig.ask("DELETE", f"/services/{service['id']}", token=root)).status == 204
        assert (await rig.ask("GET", path, token=root)).status == 404
        assert (await rig.ask("GET", f"/services/{service['id']}", token=root)).status == 404

    on_rig(test)


def test_what_is_no_endpoint_is_refused() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        service = (await rig.ask("GET", "/services", token=root)).body["services"][0]["id"]
        good = {"interface": "public", "service_id": service, "url": "http://x"}
        for bad in (
            {"interface": "secret"},
            {"service_id": "gone"},
            {"url": ""},
            {"url": "a b"},
            {"region_id": "gone"},
            {"enabled": "yes"},
        ):
            assert (await rig.ask("POST", "/endpoints", {"endpoint": {**good, **bad}}, token=root)).status == 400, bad
        for name in good:
            missing = {key: value for key, value in good.items() if key != name}
            assert (await rig.ask("POST", "/endpoints", {"endpoint": missing}, token=root)).status == 400
        joe = (await rig.login("joe")).token
        for method, path in (
            ("GET", "/services"),
            ("GET", "/endpoints"),
            ("POST", "/services"),
            ("POST", "/endpoints"),
            ("POST", "/regions"),
        ):
            assert (await rig.ask(method, path, {"service": {}, "endpoint": good, "region": {}}, token=joe)).status == 403, path

    on_rig(test)


def test_regions_form_a_tree() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe")).token
        one = await rig.made(root, "/regions", "region", id="one", description="x")
        assert (one["id"], one["parent_region_id"]) == ("one", None)
        two = await rig.made(root, "/regions", "region", parent_region_id="one")
        assert (await rig.ask("PUT", "/regions/three", {"region": {}}, token=root)).status == 201
        assert (await rig.ask("PUT", "/regions/three", {"region": {}}, token=root)).status == 409
        assert (await rig.ask("PUT", "/regions/four", {"region": {"id": "five"}}, token=root)).status == 400
        assert (await rig.ask("PATCH", "/regions/one", {"region": {"parent_region_id": two["id"]}}, token=root)).status == 400
        assert (await rig.ask("POST", "/regions", {"region": {"parent_region_id": "gone"}}, token=root)).status == 404
        assert [r["id"] for r in (await rig.ask("GET", "/regions?parent_region_id=one", token=joe)).body["regions"]] == [two["id"]]
        assert (await rig.ask("DELETE", "/regions/one", token=root)).status == 403
        assert (await rig.ask("DELETE", f"/regions/{two['id']}", token=root)).status == 204
        assert (await rig.ask("DELETE", "/regions/one", token=root)).status == 204
        assert (await rig.ask("GET", "/regions/one", token=joe)).status == 404
        assert (await rig.ask("DELETE", "/regions/here", token=root)).status == 403

    on_rig(test)
