"""The API as a whole: versions, extensions, who may what, and how refusals look."""

from tests.support.network_rig import NetworkApi, on_network_api


def test_versions_are_told_to_everybody_and_nothing_else_is() -> None:
    async def test(api: NetworkApi) -> None:
        versions = await api.ask("GET", "//", who="")
        assert versions.body["versions"][0] == {
            "id": "v2.0", "status": "CURRENT", "links": [{"rel": "self", "href": "http://network.test/network/v2.0/"}]
        }  # fmt: skip
        assert {each["name"] for each in (await api.ask("GET", "/", who="")).body["resources"]} >= {"network", "subnet", "port"}
        assert (await api.ask("GET", "/networks", who="")).status == 401
        assert await api.refused("GET", "/nothing") == (404, "HTTPNotFound")
        assert await api.refused("PATCH", "/networks") == (405, "HTTPMethodNotAllowed")
        assert await api.refused("GET", "/networks/nothing") == (404, "NetworkNotFound")

    on_network_api(test)


def test_every_resource_is_made_shown_changed_and_removed() -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain()
        assert (subnet["gateway_ip"], subnet["allocation_pools"]) == ("10.0.0.1", [{"start": "10.0.0.2", "end": "10.0.0.254"}])
        outside, _ = await api.outside()
        router = await api.made("routers", "router", external_gateway_info={"network_id": outside["id"]})
        plugged = await api.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
        assert plugged.status == 200, plugged.raw
        port = await api.made("ports", "port", network_id=network["id"])
        floating = await api.made("floatingips", "floatingip", floating_network_id=outside["id"], port_id=port["id"])
        assert (floating["status"], floating["router_id"]) == ("ACTIVE", router["id"])
        group = await api.made("security-groups", "security_group", name="web")
        rule = await api.made(
            "security-group-rules", "security_group_rule", security_group_id=group["id"], direction="ingress", protocol="tcp", port_range_min=1,
            port_range_max=2,
        )  # fmt: skip
        pool = await api.made("subnetpools", "subnetpool", name="p", prefixes=["10.8.0.0/16"])
        scope = await api.made("address-scopes", "address_scope", name="s", ip_version=4)
        policy = await api.made(
            "rbac-policies",
            "rbac_policy",
            object_type="network",
            object_id=network["id"],
            action="access_as_shared",
            target_tenant="d" * 32,
        )
        made = [
            ("networks", "network", network), ("subnets", "subnet", subnet), ("routers", "router", router), ("ports", "port", port),
            ("floatingips", "floatingip", floating), ("security-groups", "security_group", group), ("subnetpools", "subnetpool", pool),
            ("address-scopes", "address_scope", scope), ("security-group-rules", "security_group_rule", rule), ("rbac-policies", "rbac_policy", policy),
        ]  # fmt: skip
        for path, name, thing in made:
            one = f"/{path}/{thing['id']}"
            shown = await api.ask("GET", one)
            assert shown.body[name]["id"] == thing["id"]
            assert (await api.ask("GET", one, who="reader")).status == 200
            plural = {"rbac_policy": "rbac_policies"}.get(name, name + "s")
            assert thing["id"] in [each["id"] for each in (await api.ask("GET", f"/{path}")).body[plural]]
            change = (
                {"target_tenant": "c" * 32} if name == "rbac_policy" else {"name": "new"} if "name" in thing else {"description": "new"}
            )
            assert (await api.ask("PUT", one, {name: change}, who="reader")).status == 403
            changed = await api.ask("PUT", one, {name: change})
            assert changed.status == 200, changed.raw
            assert change.items() <= changed.body[name].items()
            if path != "networks":
                assert (await api.ask("GET", one, who="bob")).status == 404
                assert (await api.ask("DELETE", one, who="bob")).status == 404
        assert (await api.ask("PUT", f"/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})).status == 409
        for path, _, thing in (made[4], made[3]):
            assert (await api.ask("DELETE", f"/{path}/{thing['id']}")).status == 204
        assert (await api.ask("PUT", f"/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})).status == 200
        for path, _, thing in reversed(made):
            reply = await api.ask("DELETE", f"/{path}/{thing['id']}")
            assert reply.status in (204, 404), reply.raw
            assert (await api.ask("GET", f"/{path}/{thing['id']}")).status == 404

    on_network_api(test)
