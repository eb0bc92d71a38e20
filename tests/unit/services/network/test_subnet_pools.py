"""Pools of subnets, and address scopes."""

from typing import Any

from objstore.services.network.subnet_pools import MAX_SCOPES
from tests.support.network_rig import NetworkApi, on_network_api


async def subnet(api: NetworkApi, **fields: Any) -> Any:
    network = await api.made("networks", "network", name="n")
    return await api.ask("POST", "/subnets", {"subnet": {"network_id": network["id"], **fields}})


def test_subnets_are_cut_out_of_a_pool_until_nothing_is_left() -> None:
    async def test(api: NetworkApi) -> None:
        pool = await api.made(
            "subnetpools", "subnetpool", name="p", prefixes=["10.8.1.0/24", "10.8.0.0/24"], default_prefixlen=24, min_prefixlen=24
        )
        assert (pool["prefixes"], pool["ip_version"], pool["max_prefixlen"]) == (["10.8.0.0/23"], 4, 32)
        cut = [(await subnet(api, subnetpool_id=pool["id"])).body["subnet"]["cidr"] for _ in range(2)]
        assert cut == ["10.8.0.0/24", "10.8.1.0/24"]
        full = await subnet(api, subnetpool_id=pool["id"])
        assert (full.status, full.body["NeutronError"]["type"]) == (409, "SubnetAllocationError")
        short = await subnet(api, subnetpool_id=pool["id"], prefixlen=23)
        assert short.body["NeutronError"]["type"] == "MinPrefixSubnetAllocationError"
        other = await subnet(api, subnetpool_id=pool["id"], cidr="10.9.0.0/24")
        assert other.status == 409
        assert await api.refused("DELETE", f"/subnetpools/{pool['id']}") == (400, "SubnetPoolDeleteError")
        grown = await api.ask("PUT", f"/subnetpools/{pool['id']}", {"subnetpool": {"prefixes": ["10.8.0.0/22"]}})
        assert grown.body["subnetpool"]["prefixes"] == ["10.8.0.0/22"]
        lost = {"subnetpool": {"prefixes": ["10.8.0.0/24"]}}
        assert await api.refused("PUT", f"/subnetpools/{pool['id']}", lost) == (400, "IllegalSubnetPoolPrefixUpdate")

    on_network_api(test)


def test_pools_have_quotas_bounds_and_defaults() -> None:
    async def test(api: NetworkApi) -> None:
        pool = await api.made("subnetpools", "subnetpool", name="p", prefixes=["10.8.0.0/16"], default_prefixlen=24, default_quota=300)
        assert (await subnet(api, subnetpool_id=pool["id"])).status == 201
        assert (await subnet(api, subnetpool_id=pool["id"])).body["NeutronError"]["type"] == "SubnetPoolQuotaExceeded"
        wrong: list[tuple[dict[str, Any], str]] = [
            ({"prefixes": []}, "EmptySubnetPoolPrefixList"), ({"prefixes": ["10.0.0.0/8", "2001:db8::/32"]}, "PrefixVersionMismatch"),
            ({"prefixes": ["10.0.0.0/8"], "min_prefixlen": 30, "max_prefixlen": 20}, "IllegalSubnetPoolPrefixBounds"),
            ({"prefixes": ["10.0.0.0/8"], "default_prefixlen": 7}, "IllegalSubnetPoolPrefixBounds"),
            ({"prefixes": ["10.0.0.0/8"], "max_prefixlen": 64}, "IllegalSubnetPoolPrefixBounds"),
        ]  # fmt: skip
        for fields, kind in wrong:
            assert await api.refused("POST", "/subnetpools", {"subnetpool": {"name": "w", **fields}}) == (400, kind)
        default = {"name": "d", "prefixes": ["10.9.0.0/16"], "is_default": True, "shared": True, "default_prefixlen": 24}
        assert (await api.refused("POST", "/subnetpools", {"subnetpool": default}))[0] == 403
        made = await api.made("subnetpools", "subnetpool", "admin", **default)
        assert (await subnet(api, use_default_subnetpool=True, ip_version=4)).body["subnet"]["subnetpool_id"] == made["id"]
        assert (await api.refused("POST", "/subnetpools", {"subnetpool": default}, who="admin"))[0] == 400

    on_network_api(test)


def test_pools_of_one_scope_do_not_overlap() -> None:
    async def test(api: NetworkApi) -> None:
        scope = await api.made("address-scopes", "address_scope", name="s", ip_version=4)
        fields = {"name": "p", "address_scope_id": scope["id"]}
        pool = await api.made("subnetpools", "subnetpool", prefixes=["10.8.0.0/16"], **fields)
        overlapping = {"subnetpool": {"prefixes": ["10.8.1.0/24"], **fields}}
        assert await api.refused("POST", "/subnetpools", overlapping) == (409, "AddressScopePrefixConflict")
        assert (await api.refused("POST", "/subnetpools", {"subnetpool": {"prefixes": ["2001:db8::/32"], **fields}}))[0] == 400
        assert await api.refused("POST", "/subnetpools", overlapping, who="bob") == (404, "AddressScopeNotFound")
        cut = await subnet(api, subnetpool_id=pool["id"], prefixlen=24)
        network = (await api.ask("GET", f"/networks/{cut.body['subnet']['network_id']}")).body["network"]
        assert (network["ipv4_address_scope"], network["ipv6_address_scope"]) == (scope["id"], None)
        assert await api.refused("DELETE", f"/address-scopes/{scope['id']}") == (409, "AddressScopeInUse")
        shared = await api.ask("PUT", f"/address-scopes/{scope['id']}", {"address_scope": {"shared": True}}, who="admin")
        assert shared.body["address_scope"]["shared"] is True
        assert (await api.refused("PUT", f"/address-scopes/{scope['id']}", {"address_scope": {"shared": False}}, who="admin"))[0] == 400

    on_network_api(test)


def test_a_pool_gives_no_range_that_guests_cannot_have() -> None:
    async def test(api: NetworkApi) -> None:
        network = await api.made("networks", "network", name="n")
        for prefix in ("127.0.0.0/8", "224.0.0.0/8"):
            pool = await api.made("subnetpools", "subnetpool", name="p", prefixes=[prefix], default_prefixlen=24)
            body = {"subnet": {"network_id": network["id"], "subnetpool_id": pool["id"], "ip_version": 4}}
            assert (await api.refused("POST", "/subnets", body))[0] == 400

    on_network_api(test)


def test_a_project_has_so_many_address_scopes_and_no_more() -> None:
    async def test(api: NetworkApi) -> None:
        many = [{"name": "s", "ip_version": 4}] * MAX_SCOPES
        assert (await api.ask("POST", "/address-scopes", {"address_scopes": many})).status == 201
        assert await api.refused("POST", "/address-scopes", {"address_scope": many[0]}) == (409, "OverQuota")
        assert (await api.ask("POST", "/address-scopes", {"address_scope": many[0]}, who="bob")).status == 201

    on_network_api(test)
