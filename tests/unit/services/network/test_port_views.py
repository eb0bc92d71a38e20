"""Ports as compute and guests see them."""

import asyncio

from objstore.services.network.port_views import host_label
from tests.support.network_rig import ALICE, NetworkRig, on_network_rig


def test_host_names_are_made_of_servers_names() -> None:
    assert host_label("My Server #1") == "my-server-1"
    assert host_label("***") == ""
    assert len(host_label("a" * 300)) == 63


def test_guests_read_links_networks_and_name_servers() -> None:
    async def test(rig: NetworkRig) -> None:
        network, _ = await rig.network(dns_nameservers=["9.9.9.9"], host_routes=[{"destination": "10.9.0.0/16", "nexthop": "10.0.0.3"}])
        plain, _ = await rig.network(cidr="10.5.0.0/24", enable_dhcp=False)
        port = await rig.desk.create_port(ALICE, network, server_id="s")
        await asyncio.sleep(0.001)
        other = await rig.desk.create_port(ALICE, plain, server_id="s")
        data = await rig.desk.network_data("s")
        links, networks = data["links"], data["networks"]
        assert [link["ethernet_mac_address"] for link in links] == [port.mac, other.mac]  # type: ignore[attr-defined]
        assert [each["type"] for each in networks] == ["ipv4_dhcp", "ipv4"]  # type: ignore[attr-defined]
        assert networks[1]["routes"] == [{"network": "0.0.0.0", "netmask": "0.0.0.0", "gateway": "10.5.0.1"}]  # type: ignore[index]
        assert data["services"] == [{"type": "dns", "address": "9.9.9.9"}]

    on_network_rig(test)
