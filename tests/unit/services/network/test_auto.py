"""Networks that are made for projects without any."""

from tests.support.network_rig import ALICE, BOB, NetworkApi, on_network_api


def test_a_project_gets_a_network_with_a_way_out_once() -> None:
    async def test(api: NetworkApi) -> None:
        one = f"/auto-allocated-topology/{ALICE}"
        assert await api.refused("GET", one) == (409, "AutoAllocationFailure")
        outside, _ = await api.outside(is_default=True)
        for prefix, length in (("10.8.0.0/16", 24), ("2001:db8::/48", 64)):
            fields = {"prefixes": [prefix], "default_prefixlen": length, "is_default": True, "shared": True}
            await api.made("subnetpools", "subnetpool", "admin", name="p", **fields)
        assert (await api.ask("GET", f"{one}?fields=dry-run")).body["auto_allocated_topology"]["id"] == "dry-run=pass"
        made = [(await api.ask("GET", one)).body["auto_allocated_topology"]["id"] for _ in range(2)]
        assert made[0] == made[1]
        assert len((await api.ask("GET", f"/networks/{made[0]}")).body["network"]["subnets"]) == 2
        routers = (await api.ask("GET", "/routers")).body["routers"]
        assert [router["external_gateway_info"]["network_id"] for router in routers] == [outside["id"]]
        assert (await api.refused("GET", f"/auto-allocated-topology/{BOB}"))[0] == 403
        assert (await api.refused("DELETE", one, who="reader"))[0] == 403
        assert (await api.ask("DELETE", one)).status == 204
        assert (await api.ask("GET", "/routers")).body["routers"] == []
        assert await api.refused("DELETE", one) == (404, "AutoAllocatedTopologyNotFound")

    on_network_api(test)
