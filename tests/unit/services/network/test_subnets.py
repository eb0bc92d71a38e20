"""Subnets through the API."""

from typing import Any

from tests.support.network_rig import NetworkApi, on_network_api


def test_what_cannot_be_a_subnet_is_refused_with_its_name() -> None:
    async def test(api: NetworkApi) -> None:
        network, _ = await api.plain()  # with 10.0.0.0/24
        wrong: list[tuple[dict[str, Any], int, str]] = [
            ({"cidr": "10.0.0.128/25"}, 400, "InvalidInput"),
            ({"cidr": "10.1.0.0/24", "ip_version": 6}, 400, "InvalidInput"),
            ({"cidr": "x"}, 400, "HTTPBadRequest"),
            ({"cidr": "0.0.0.0/0"}, 400, "InvalidInput"),
            ({"cidr": "10.1.0.0/31"}, 400, "InvalidInput"),
            ({"cidr": "10.1.0.0/24", "gateway_ip": "10.1.0.255"}, 400, "InvalidInput"),
            ({"cidr": "10.1.0.0/24", "gateway_ip": "2001:db8::1"}, 400, "InvalidInput"),
            ({"cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.9", "end": "10.1.0.2"}]}, 400, "InvalidAllocationPool"),
            ({"cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.9", "end": "10.2.0.2"}]}, 400, "OutOfBoundsAllocationPool"),
            ({"cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.1", "end": "10.1.0.2"}]}, 409, "GatewayConflictWithAllocationPools"),
            (
                {"cidr": "10.1.0.0/24", "allocation_pools": [{"start": "10.1.0.2", "end": "10.1.0.9"}, {"start": "10.1.0.9", "end": "10.1.0.10"}]},
                409, "OverlappingAllocationPools",
            ),
            ({"cidr": "10.1.0.0/24", "dns_nameservers": ["2001:db8::1"]}, 400, "InvalidInput"),
            ({"cidr": "10.1.0.0/24", "dns_nameservers": ["9.9.9.9", "9.9.9.9"]}, 400, "HTTPBadRequest"),
            ({"cidr": "10.1.0.0/24", "host_routes": [{"destination": "10.2.0.0/16", "nexthop": "2001:db8::1"}]}, 400, "HTTPBadRequest"),
            ({"cidr": "10.1.0.0/24", "ipv6_ra_mode": "slaac"}, 400, "InvalidInput"),
            ({"cidr": "10.1.0.0/24", "service_types": ["x"]}, 400, "InvalidSubnetServiceType"),
            ({"cidr": "2001:db8::/64", "ip_version": 6, "ipv6_ra_mode": "slaac", "ipv6_address_mode": "dhcpv6-stateful"}, 400, "InvalidInput"),
            ({"cidr": "2001:db8::/65", "ip_version": 6, "ipv6_address_mode": "slaac"}, 400, "InvalidInput"),
            ({"cidr": "2001:db8::/64", "ip_version": 6, "ipv6_address_mode": "slaac", "enable_dhcp": False}, 400, "InvalidInput"),
            ({}, 400, "BadRequest"), ({"cidr": "10.1.0.0/24", "prefixlen": 24}, 400, "BadRequest"),
        ]  # fmt: skip
        for fields, status, kind in wrong:
            body = {"subnet": {"network_id": network["id"], "ip_version": 4, **fields}}
            assert (fields, *await api.refused("POST", "/subnets", body)) == (fields, status, kind)
        unseen = {"subnet": {"network_id": network["id"], "ip_version": 4, "cidr": "10.1.0.0/24"}}
        assert await api.refused("POST", "/subnets", unseen, who="bob") == (404, "NetworkNotFound")
        assert len((await api.ask("GET", "/subnets")).body["subnets"]) == 1

    on_network_api(test)


def test_a_subnet_changes_within_its_bounds() -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain()
        one = f"/subnets/{subnet['id']}"
        changed = await api.ask(
            "PUT", one,
            {"subnet": {"name": "s", "gateway_ip": None, "dns_nameservers": ["9.9.9.9"], "allocation_pools": [{"start": "10.0.0.5", "end": "10.0.0.6"}],
                        "host_routes": [{"destination": "10.2.0.0/16", "nexthop": "10.0.0.5"}], "enable_dhcp": False}},
        )  # fmt: skip
        assert changed.status == 200, changed.raw
        shown = changed.body["subnet"]
        assert (shown["gateway_ip"], shown["enable_dhcp"], shown["dns_nameservers"]) == (None, False, ["9.9.9.9"])
        assert shown["allocation_pools"] == [{"start": "10.0.0.5", "end": "10.0.0.6"}]
        for wrong in (
            {"gateway_ip": "10.0.0.5"},
            {"allocation_pools": [{"start": "10.1.0.5", "end": "10.1.0.6"}]},
            {"cidr": "10.0.0.0/25"},
        ):
            assert (await api.refused("PUT", one, {"subnet": wrong}))[0] in (400, 409)
        ports = [await api.made("ports", "port", network_id=network["id"]) for _ in range(2)]
        assert {port["fixed_ips"][0]["ip_address"] for port in ports} == {"10.0.0.5", "10.0.0.6"}
        assert await api.refused("POST", "/ports", {"port": {"network_id": network["id"]}}) == (409, "IpAddressGenerationFailure")
        assert await api.refused("DELETE", one) == (409, "SubnetInUse")

    on_network_api(test)


def test_guests_that_are_there_have_addresses_of_a_new_automatic_subnet() -> None:
    async def test(api: NetworkApi) -> None:
        network, _ = await api.plain()
        port = await api.made("ports", "port", network_id=network["id"])
        six = await api.made(
            "subnets",
            "subnet",
            network_id=network["id"],
            ip_version=6,
            cidr="2001:db8::/64",
            ipv6_ra_mode="slaac",
            ipv6_address_mode="slaac",
        )
        fixed = (await api.ask("GET", f"/ports/{port['id']}")).body["port"]["fixed_ips"]
        assert [each["subnet_id"] for each in fixed][1] == six["id"]
        assert (await api.ask("DELETE", f"/subnets/{six['id']}")).status == 204
        assert len((await api.ask("GET", f"/ports/{port['id']}")).body["port"]["fixed_ips"]) == 1

    on_network_api(test)
