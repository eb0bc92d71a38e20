"""Networks through the API."""

from tests.support.network_rig import NetworkApi, on_network_api


def test_networks_of_projects_hide_how_they_are_carried() -> None:
    async def test(api: NetworkApi) -> None:
        network = await api.made("networks", "network", name="n")
        assert not any(name.startswith("provider:") for name in network)
        assert (network["mtu"], network["shared"], network["status"], network["subnets"]) == (1450, False, "ACTIVE", [])
        seen = (await api.ask("GET", f"/networks/{network['id']}", who="admin")).body["network"]
        assert seen["provider:network_type"] == "vxlan"
        taken = {"network": {"name": "m", "provider:network_type": "vxlan", "provider:segmentation_id": seen["provider:segmentation_id"]}}
        assert await api.refused("POST", "/networks", taken, who="admin") == (409, "TunnelIdInUse")
        flat = {"provider:network_type": "flat", "provider:physical_network": "public", "router:external": True}
        made = await api.made("networks", "network", "admin", **flat)
        assert (made["mtu"], made["provider:segmentation_id"], made["router:external"]) == (1500, None, True)
        assert await api.refused("POST", "/networks", {"network": flat}, who="admin") == (409, "FlatNetworkInUse")
        for wrong in (
            {"provider:segmentation_id": 5}, {"provider:network_type": "vlan"}, {"mtu": 1451}, {"mtu": 67}, {"provider:network_type": "flat"},
            {"provider:network_type": "vxlan", "provider:physical_network": "x"},
        ):  # fmt: skip
            assert (await api.refused("POST", "/networks", {"network": wrong}, who="admin"))[0] == 400
        for denied in ({"shared": True}, {"router:external": True}, {"provider:network_type": "vxlan"}, {"is_default": True}):
            assert await api.refused("POST", "/networks", {"network": denied}) == (403, "PolicyNotAuthorized")
        assert await api.refused("POST", "/networks", {"network": {"availability_zone_hints": ["x"]}}) == (404, "AvailabilityZoneNotFound")

    on_network_api(test)


def test_a_shared_network_is_everybodys_until_nobody_else_is_on_it() -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain("admin", shared=True)
        one = f"/networks/{network['id']}"
        assert (await api.ask("GET", one)).body["network"]["shared"] is True
        assert (await api.ask("GET", "/networks?shared=True")).body["networks"][0]["subnets"] == [subnet["id"]]
        assert await api.refused("PUT", one, {"network": {"name": "x"}}) == (403, "PolicyNotAuthorized")
        assert await api.refused("DELETE", one) == (403, "PolicyNotAuthorized")
        port = await api.made("ports", "port", network_id=network["id"])
        assert await api.refused("PUT", one, {"network": {"shared": False}}, who="admin") == (409, "InvalidSharedSetting")
        assert await api.refused("DELETE", one, who="admin") == (409, "NetworkInUse")
        assert (await api.ask("DELETE", f"/ports/{port['id']}")).status == 204
        assert (await api.ask("PUT", one, {"network": {"shared": False}}, who="admin")).body["network"]["shared"] is False
        assert await api.refused("GET", one) == (404, "NetworkNotFound")

    on_network_api(test)


def test_an_external_network_is_seen_without_its_subnets() -> None:
    async def test(api: NetworkApi) -> None:
        outside, subnet = await api.outside(is_default=True)
        shown = (await api.ask("GET", f"/networks/{outside['id']}")).body["network"]
        assert (shown["router:external"], shown["subnets"]) == (True, [])
        assert await api.refused("GET", f"/subnets/{subnet['id']}") == (404, "SubnetNotFound")
        second = {"network": {"router:external": True, "is_default": True}}
        assert (await api.refused("POST", "/networks", second, who="admin"))[0] == 409
        await api.made("routers", "router", external_gateway_info={"network_id": outside["id"]})
        closed = {"network": {"router:external": False}}
        assert await api.refused("PUT", f"/networks/{outside['id']}", closed, who="admin") == (409, "ExternalNetworkInUse")

    on_network_api(test)


def test_a_network_goes_with_its_subnets_and_its_number_is_free_again() -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain("admin")
        number = (await api.ask("GET", f"/networks/{network['id']}", who="admin")).body["network"]["provider:segmentation_id"]
        assert (await api.ask("DELETE", f"/networks/{network['id']}", who="admin")).status == 204
        assert await api.refused("GET", f"/subnets/{subnet['id']}", who="admin") == (404, "SubnetNotFound")
        again = await api.made("networks", "network", "admin", **{"provider:network_type": "vxlan", "provider:segmentation_id": number})
        assert again["provider:segmentation_id"] == number

    on_network_api(test)
