"""Unified limits."""

from typing import Any

from tests.support.identity_rig import Rig, on_rig


async def _registered(rig: Rig, root: str, **more: Any) -> tuple[str, Any]:
    service = (await rig.made(root, "/services", "service", type="compute"))["id"]
    body = {"service_id": service, "resource_name": "cores", "default_limit": 10, **more}
    reply = await rig.ask("POST", "/registered_limits", {"registered_limits": [body]}, token=root)
    assert reply.status == 201, reply.raw
    return service, reply.body["registered_limits"][0]


def test_a_project_has_the_registered_limit_or_one_of_its_own() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe", project="acme")).token
        service, registered = await _registered(rig, root)
        own = {"service_id": service, "resource_name": "cores", "resource_limit": 5, "project_id": "acme"}
        made = await rig.ask("POST", "/limits", {"limits": [own]}, token=root)
        limit = made.body["limits"][0]
        assert (made.status, limit["resource_limit"], limit["domain_id"], limit["region_id"]) == (201, 5, None, None)
        assert (await rig.ask("POST", "/limits", {"limits": [own]}, token=root)).status == 409
        path = f"/limits/{limit['id']}"
        assert (await rig.ask("GET", path, token=joe)).body["limit"] == limit
        assert (await rig.ask("GET", "/limits", token=joe)).body["limits"] == [limit]
        assert (await rig.ask("GET", "/limits?project_id=admin", token=root)).body["limits"] == []
        assert (await rig.ask("GET", "/registered_limits", token=joe)).body["registered_limits"] == [registered]
        changed = await rig.ask("PATCH", path, {"limit": {"resource_limit": 7}}, token=root)
        assert changed.body["limit"]["resource_limit"] == 7
        of_all = f"/registered_limits/{registered['id']}"
        assert (await rig.ask("DELETE", of_all, token=root)).status == 403
        assert (await rig.ask("PATCH", of_all, {"registered_limit": {"resource_name": "ram"}}, token=root)).status == 403
        changed = await rig.ask("PATCH", of_all, {"registered_limit": {"default_limit": 20}}, token=root)
        assert changed.body["registered_limit"]["default_limit"] == 20
        assert (await rig.ask("DELETE", path, token=root)).status == 204
        assert (await rig.ask("GET", path, token=root)).status == 404
        changed = await rig.ask("PATCH", of_all, {"registered_limit": {"resource_name": "ram"}}, token=root)
        assert changed.body["registered_limit"]["resource_name"] == "ram"
        assert (await rig.ask("DELETE", of_all, token=root)).status == 204
        assert (await rig.ask("GET", of_all, token=root)).status == 404

    on_rig(test)


def test_limits_of_others_are_not_seen() -> None:
    async def test(rig: Rig) -> None:
        root, joe = await rig.admin(), (await rig.login("joe", project="acme")).token
        service, _ = await _registered(rig, root)
        other = {"service_id": service, "resource_name": "cores", "resource_limit": 5, "domain_id": "default"}
        limit = (await rig.ask("POST", "/limits", {"limits": [other]}, token=root)).body["limits"][0]
        assert (await rig.ask("GET", "/limits", token=joe)).body["limits"] == []
        assert (await rig.ask("GET", f"/limits/{limit['id']}", token=joe)).status == 403
        assert (await rig.ask("GET", "/limits/none", token=joe)).status == 403

    on_rig(test)


def test_what_a_limit_must_be() -> None:
    async def test(rig: Rig) -> None:
        root = await rig.admin()
        service, _ = await _registered(rig, root)
        good = {"service_id": service, "resource_name": "cores", "resource_limit": 5, "project_id": "acme"}
        for change, status in (
            ({"resource_name": "ram"}, 403), ({"project_id": "none"}, 400), ({"domain_id": "default"}, 400), ({"resource_limit": -2}, 400),
            ({"resource_limit": True}, 400), ({"service_id": "none"}, 400), ({"region_id": "none"}, 400), ({"color": "red"}, 400),
        ):  # fmt: skip
            assert (await rig.ask("POST", "/limits", {"limits": [{**good, **change}]}, token=root)).status == status, change
        for bad in (None, [], [7], [good] * 101):
            assert (await rig.ask("POST", "/limits", {"limits": bad}, token=root)).status == 400
        assert (await rig.ask("POST", "/limits", {"limits": [good, good]}, token=root)).status == 409
        assert (await rig.ask("GET", "/limits", token=root)).body["limits"] == []
        assert (await rig.ask("GET", "/limits/model", token=root)).body["model"]["name"] == "flat"

    on_rig(test)
