"""Connecting routers to subnets."""

from objstore.services.network.records import change, one
from objstore.services.network.tables import PORTS
from tests.support.network_rig import NetworkApi, on_network_api


def test_a_router_is_connected_by_subnet_and_by_port() -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain()
        router = await api.made("routers", "router", name="r")
        add, take = (f"/routers/{router['id']}/{verb}_router_interface" for verb in ("add", "remove"))
        added = (await api.ask("PUT", add, {"subnet_id": subnet["id"]})).body
        assert (added["subnet_id"], added["network_id"], added["id"]) == (subnet["id"], network["id"], router["id"])
        port = (await api.ask("GET", f"/ports/{added['port_id']}")).body["port"]
        assert (port["device_owner"], port["fixed_ips"][0]["ip_address"], port["status"]) == (
            "network:router_interface",
            "10.0.0.1",
            "ACTIVE",
        )
        assert (await api.refused("PUT", add, {"subnet_id": subnet["id"]}))[0] == 400
        assert await api.refused("DELETE", f"/ports/{port['id']}") == (409, "ServicePortInUse")
        assert await api.refused("DELETE", f"/routers/{router['id']}") == (409, "RouterInUse")
        assert await api.refused("PUT", f"/subnets/{subnet['id']}", {"subnet": {"gateway_ip": "10.0.0.254"}}) == (
            409,
            "GatewayIpInUse",
        )
        other, more = await api.plain("alice", "10.1.0.0/24")
        plug = await api.made("ports", "port", network_id=other["id"])
        assert (await api.ask("PUT", add, {"port_id": plug["id"]})).body["subnet_ids"] == [more["id"]]
        assert await api.refused("PUT", add, {"port_id": plug["id"]}) == (409, "PortInUse")
        used = await api.made("ports", "port", network_id=other["id"])
        await api.write(lambda tx: change(tx, PORTS, one(tx, PORTS, used["id"]), {"server": "of compute"}))
        assert await api.refused("PUT", add, {"port_id": used["id"]}) == (409, "PortInUse")  # though no device is named any more
        _, clashing = await api.plain("alice", "10.1.0.128/25")
        assert (await api.refused("PUT", add, {"subnet_id": clashing["id"]}))[0] == 400
        for body, status in (
            ({}, 400), ({"subnet_id": 5}, 400), ({"subnet_id": router["id"]}, 404), ({"port_id": router["id"]}, 404), ({"subnet_id": more["id"], "x": 1}, 400),
            ({"subnet_id": clashing["id"], "port_id": plug["id"]}, 400),
        ):  # fmt: skip
            assert (await api.refused("PUT", add, body))[0] == status
        assert await api.refused("PUT", take, {"port_id": plug["id"], "subnet_id": subnet["id"]}) == (409, "SubnetMismatchForPort")
        assert await api.refused("PUT", take, {"subnet_id": clashing["id"]}) == (404, "RouterInterfaceNotFoundForSubnet")
        assert (await api.ask("PUT", take, {"port_id": plug["id"]})).status == 200
        assert (await api.ask("PUT", take, {"subnet_id": subnet["id"]})).status == 200
        assert await api.refused("PUT", take, {"port_id": plug["id"]}) == (404, "RouterInterfaceNotFound")
        assert [each["id"] for each in (await api.ask("GET", "/ports")).body["ports"]] == [used["id"]]

    on_network_api(test)


def test_ipv6_subnets_of_a_network_share_a_port() -> None:
    async def test(api: NetworkApi) -> None:
        network, first = await api.plain("alice", "2001:db8:1::/64")
        second = await api.made("subnets", "subnet", network_id=network["id"], ip_version=6, cidr="2001:db8:2::/64")
        router = await api.made("routers", "router", name="r")
        add, take = (f"/routers/{router['id']}/{verb}_router_interface" for verb in ("add", "remove"))
        ports = {(await api.ask("PUT", add, {"subnet_id": each["id"]})).body["port_id"] for each in (first, second)}
        assert len(ports) == 1
        assert (await api.ask("PUT", take, {"subnet_id": first["id"]})).status == 200
        left = (await api.ask("GET", f"/ports/{ports.pop()}")).body["port"]["fixed_ips"]
        assert [each["subnet_id"] for each in left] == [second["id"]]

    on_network_api(test)


def test_a_subnet_of_others_is_not_connected() -> None:
    async def test(api: NetworkApi) -> None:
        _, hidden = await api.plain("bob")
        _, shared = await api.plain("admin", "10.3.0.0/24", shared=True)
        router = await api.made("routers", "router", name="r")
        add = f"/routers/{router['id']}/add_router_interface"
        assert await api.refused("PUT", add, {"subnet_id": hidden["id"]}) == (404, "SubnetNotFound")
        assert (await api.refused("PUT", add, {"subnet_id": shared["id"]}))[0] == 400

    on_network_api(test)


def test_a_router_never_becomes_the_way_out_of_guests_on_anothers_network() -> None:
    async def test(api: NetworkApi) -> None:
        network, plain = await api.plain("admin", "10.3.0.0/24", shared=True)
        modes = {"ipv6_ra_mode": "slaac", "ipv6_address_mode": "slaac"}
        told = await api.made("subnets", "subnet", "admin", network_id=network["id"], ip_version=6, cidr="2001:db8:1::/64", **modes)
        router = await api.made("routers", "router", name="r")
        add = f"/routers/{router['id']}/add_router_interface"
        both = await api.made("ports", "port", network_id=network["id"])
        assert {each["subnet_id"] for each in both["fixed_ips"]} == {plain["id"], told["id"]}
        assert await api.refused("PUT", add, {"port_id": both["id"]}) == (403, "PolicyNotAuthorized")
        one = await api.made("ports", "port", network_id=network["id"], fixed_ips=[{"subnet_id": plain["id"]}])
        assert (await api.ask("PUT", add, {"port_id": one["id"]})).status == 200
        change = {"port": {"fixed_ips": [{"subnet_id": plain["id"]}, {"subnet_id": told["id"]}]}}
        assert await api.refused("PUT", f"/ports/{one['id']}", change) == (403, "PolicyNotAuthorized")
        assert (await api.ask("PUT", f"/ports/{one['id']}", {"port": {"name": "mine"}})).status == 200
        theirs = await api.made("routers", "router", "admin", name="r")
        assert (await api.ask("PUT", f"/routers/{theirs['id']}/add_router_interface", {"subnet_id": told["id"]}, who="admin")).status == 200

    on_network_api(test)
