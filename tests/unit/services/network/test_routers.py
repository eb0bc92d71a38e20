"""Routers through the API."""

from tests.support.network_rig import NetworkApi, on_network_api


def test_gateways_come_and_go_with_a_port_outside() -> None:
    async def test(api: NetworkApi) -> None:
        outside, subnet = await api.outside()
        inside, _ = await api.plain()
        router = await api.made("routers", "router", name="r", external_gateway_info={"network_id": outside["id"]})
        info = router["external_gateway_info"]
        assert (info["network_id"], info["enable_snat"], info["external_fixed_ips"][0]["subnet_id"]) == (outside["id"], True, subnet["id"])
        one = f"/routers/{router['id']}"
        ports = (await api.ask("GET", f"/ports?device_id={router['id']}", who="admin")).body["ports"]
        assert [(port["device_owner"], port["tenant_id"]) for port in ports] == [("network:router_gateway", "")]
        assert await api.refused("DELETE", f"/ports/{ports[0]['id']}", who="admin") == (409, "ServicePortInUse")
        for gateway, status in (
            ({"network_id": inside["id"]}, 400), ({"network_id": router["id"]}, 404), ({"network_id": outside["id"], "enable_snat": False}, 403),
            ({"network_id": outside["id"], "external_fixed_ips": [{"ip_address": "203.0.113.9"}]}, 403), ({"x": 1}, 400), (5, 400),
        ):  # fmt: skip
            assert (await api.refused("PUT", one, {"router": {"external_gateway_info": gateway}}))[0] == status
        body = {
            "router": {
                "external_gateway_info": {
                    "network_id": outside["id"],
                    "enable_snat": False,
                    "external_fixed_ips": [{"ip_address": "203.0.113.9"}],
                }
            }
        }
        changed = (await api.ask("PUT", one, body, who="admin")).body["router"]["external_gateway_info"]
        assert (changed["enable_snat"], changed["external_fixed_ips"][0]["ip_address"]) == (False, "203.0.113.9")
        cleared = await api.ask("PUT", one, {"router": {"external_gateway_info": {}}})
        assert cleared.body["router"]["external_gateway_info"] is None
        assert (await api.ask("GET", f"/ports?device_id={router['id']}", who="admin")).body["ports"] == []
        assert (await api.ask("DELETE", one)).status == 204

    on_network_api(test)


def test_routes_lead_to_what_is_beside_the_router() -> None:
    async def test(api: NetworkApi) -> None:
        _, subnet = await api.plain()
        router = await api.made("routers", "router", name="r")
        one = f"/routers/{router['id']}"
        await api.ask("PUT", f"{one}/add_router_interface", {"subnet_id": subnet["id"]})
        route = {"destination": "10.9.0.0/16", "nexthop": "10.0.0.9"}
        assert (await api.ask("PUT", one, {"router": {"routes": [route]}})).body["router"]["routes"] == [route]
        for wrong in ({"destination": "10.9.0.0/16", "nexthop": "10.1.0.9"}, {"destination": "10.9.0.0/16", "nexthop": "10.0.0.1"}):
            assert await api.refused("PUT", one, {"router": {"routes": [wrong]}}) == (400, "InvalidRoutes")
        gone = await api.refused("PUT", f"{one}/remove_router_interface", {"subnet_id": subnet["id"]})
        assert gone == (409, "RouterInterfaceInUseByRoute")
        more = {"router": {"routes": [{"destination": "10.8.0.0/16", "nexthop": "10.0.0.9"}, route]}}
        assert len((await api.ask("PUT", f"{one}/add_extraroutes", more)).body["router"]["routes"]) == 2
        assert (await api.ask("PUT", f"{one}/remove_extraroutes", more)).body["router"]["routes"] == []

    on_network_api(test)
