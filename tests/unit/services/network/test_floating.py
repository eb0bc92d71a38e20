"""Floating addresses through the API."""

from typing import Any

from tests.support.network_rig import NetworkApi, on_network_api


async def connected(api: NetworkApi) -> tuple[Any, Any, Any, Any]:
    """(external network, network, subnet, router between them)."""
    outside, _ = await api.outside()
    network, subnet = await api.plain()
    router = await api.made("routers", "router", name="r", external_gateway_info={"network_id": outside["id"]})
    await api.ask("PUT", f"/routers/{router['id']}/add_router_interface", {"subnet_id": subnet["id"]})
    return outside, network, subnet, router


def test_an_address_stands_for_one_inside_and_for_another_later() -> None:
    async def test(api: NetworkApi) -> None:
        outside, network, subnet, router = await connected(api)
        ports = [await api.made("ports", "port", network_id=network["id"]) for _ in range(2)]
        floating = await api.made("floatingips", "floatingip", floating_network_id=outside["id"])
        assert (floating["status"], floating["port_id"], floating["fixed_ip_address"], floating["router_id"]) == ("DOWN", None, None, None)
        one = f"/floatingips/{floating['id']}"
        for port in ports:
            stands = (await api.ask("PUT", one, {"floatingip": {"port_id": port["id"]}})).body["floatingip"]
            assert (stands["fixed_ip_address"], stands["router_id"]) == (port["fixed_ips"][0]["ip_address"], router["id"])
            assert stands["port_details"]["mac_address"] == port["mac_address"]
        again = {"floatingip": {"floating_network_id": outside["id"], "port_id": ports[1]["id"]}}
        assert await api.refused("POST", "/floatingips", again) == (409, "FloatingIPPortAlreadyAssociated")
        assert [each["id"] for each in (await api.ask("GET", "/floatingips?status=ACTIVE")).body["floatingips"]] == [floating["id"]]
        assert (await api.ask("GET", "/floatingips?status=DOWN")).body["floatingips"] == []
        clear = {"router": {"external_gateway_info": None}}
        assert await api.refused("PUT", f"/routers/{router['id']}", clear) == (409, "RouterExternalGatewayInUseByFloatingIp")
        leave = await api.refused("PUT", f"/routers/{router['id']}/remove_router_interface", {"subnet_id": subnet["id"]})
        assert leave == (409, "RouterInterfaceInUseByFloatingIP")
        assert (await api.ask("DELETE", f"/ports/{ports[1]['id']}")).status == 204
        assert (await api.ask("GET", one)).body["floatingip"]["port_id"] is None
        assert (await api.ask("DELETE", one)).status == 204
        left = (await api.ask("GET", f"/ports?network_id={outside['id']}", who="admin")).body["ports"]
        assert [port["device_owner"] for port in left] == ["network:router_gateway"]

    on_network_api(test)


def test_what_cannot_stand_for_anything_is_refused() -> None:
    async def test(api: NetworkApi) -> None:
        outside, network, _, _ = await connected(api)
        apart, _ = await api.plain("alice", "10.2.0.0/24")
        two = await api.made("ports", "port", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.8"}, {"ip_address": "10.0.0.9"}])
        lonely = await api.made("ports", "port", network_id=apart["id"])
        bare = await api.made("ports", "port", network_id=network["id"], fixed_ips=[])
        wrong: list[tuple[dict[str, Any], int, str]] = [
            ({"floating_network_id": network["id"]}, 400, "BadRequest"),
            ({"port_id": lonely["id"]}, 404, "ExternalGatewayForFloatingIPNotFound"),
            ({"port_id": two["id"]}, 400, "BadRequest"), ({"port_id": bare["id"]}, 400, "BadRequest"),
            ({"port_id": two["id"], "fixed_ip_address": "10.0.0.7"}, 400, "BadRequest"), ({"fixed_ip_address": "10.0.0.8"}, 400, "BadRequest"),
            ({"floating_ip_address": "203.0.113.77"}, 403, "PolicyNotAuthorized"), ({"port_id": network["id"]}, 404, "PortNotFound"),
        ]  # fmt: skip
        for fields, status, kind in wrong:
            body = {"floatingip": {"floating_network_id": outside["id"], **fields}}
            assert (fields, *await api.refused("POST", "/floatingips", body)) == (fields, status, kind)
        fine = await api.made(
            "floatingips", "floatingip", floating_network_id=outside["id"], port_id=two["id"], fixed_ip_address="10.0.0.9"
        )
        assert fine["fixed_ip_address"] == "10.0.0.9"
        others = {"floatingip": {"floating_network_id": outside["id"], "port_id": two["id"]}}
        assert await api.refused("POST", "/floatingips", others, who="bob") == (404, "PortNotFound")
        used = {"floatingip": {"floating_network_id": outside["id"], "floating_ip_address": fine["floating_ip_address"]}}
        assert (await api.refused("POST", "/floatingips", used, who="admin"))[0] == 409
        everything = (await api.ask("GET", f"/ports?network_id={outside['id']}", who="admin")).body["ports"]
        assert len(everything) == 2  # what was refused left nothing

    on_network_api(test)
