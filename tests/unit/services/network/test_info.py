"""What the service tells of hosts, zones and addresses."""

from objstore.services.network.info import agent_id
from tests.support.network_rig import NetworkApi, on_network_api


def test_hosts_are_told_as_agents() -> None:
    async def test(api: NetworkApi) -> None:
        assert (await api.ask("GET", "/agents")).body == {"agents": []}
        await api.desk.host_seen("h1", tunnel_address="10.9.0.1", driver="netns")
        await api.desk.host_seen("h2", driver="user", up=False)
        agents = (await api.ask("GET", "/agents", who="admin")).body["agents"]
        assert [(agent["host"], agent["alive"]) for agent in agents] == [("h1", True), ("h2", False)]
        assert [agent["host"] for agent in (await api.ask("GET", "/agents?host=h2&fields=host", who="admin")).body["agents"]] == ["h2"]
        shown = await api.ask("GET", f"/agents/{agent_id('h1')}", who="admin")
        assert shown.body["agent"]["configurations"]["tunneling_ip"] == "10.9.0.1"
        assert await api.refused("GET", "/agents/x", who="admin") == (404, "AgentNotFound")

    on_network_api(test)


def test_zones_providers_and_free_addresses_are_told() -> None:
    async def test(api: NetworkApi) -> None:
        zones = (await api.ask("GET", "/availability_zones")).body["availability_zones"]
        assert {(zone["name"], zone["resource"]) for zone in zones} == {("nova", "network"), ("nova", "router")}
        assert (await api.ask("GET", "/service-providers")).body["service_providers"][0]["service_type"] == "L3_ROUTER_NAT"
        network, _ = await api.plain()
        await api.made("ports", "port", network_id=network["id"])
        one = f"/network-ip-availabilities/{network['id']}"
        assert (await api.refused("GET", one))[0] == 403
        found = (await api.ask("GET", one, who="admin")).body["network_ip_availability"]
        assert (found["total_ips"], found["used_ips"]) == (253, 1)
        many = (await api.ask("GET", "/network-ip-availabilities?ip_version=6", who="admin")).body["network_ip_availabilities"]
        assert [each["total_ips"] for each in many] == [0]
        assert await api.refused("GET", "/network-ip-availabilities/x", who="admin") == (404, "NetworkNotFound")

    on_network_api(test)
