"""Ports through the API."""

from tests.support.network_rig import NetworkApi, on_network_api


def test_a_port_is_shown_with_what_belongs_to_it() -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain()
        port = await api.made(
            "ports", "port", network_id=network["id"], dns_name="VM", fixed_ips=[{"ip_address": "10.0.0.9"}],
            allowed_address_pairs=[{"ip_address": "10.9.0.0/16"}], extra_dhcp_opts=[{"opt_name": "bootfile-name", "opt_value": "x"}],
        )  # fmt: skip
        assert port["dns_assignment"] == [{"hostname": "vm", "ip_address": "10.0.0.9", "fqdn": "vm.openstacklocal."}]
        assert port["allowed_address_pairs"] == [{"mac_address": port["mac_address"], "ip_address": "10.9.0.0/16"}]
        assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.0.0.9"}]
        assert (port["status"], port["binding:vnic_type"], len(port["security_groups"])) == ("DOWN", "normal", 1)
        assert "binding:host_id" not in port
        one = f"/ports/{port['id']}"
        assert (await api.refused("PUT", one, {"port": {"binding:host_id": "h"}}))[0] == 403
        bound = (await api.ask("PUT", one, {"port": {"binding:host_id": "h", "binding:profile": {"a": 1}}}, who="admin")).body["port"]
        assert (bound["binding:host_id"], bound["binding:vif_type"], bound["binding:profile"]) == ("h", "tap", {"a": 1})
        changed = await api.ask("PUT", one, {"port": {"extra_dhcp_opts": [{"opt_name": "bootfile-name", "opt_value": None}]}})
        assert changed.body["port"]["extra_dhcp_opts"] == []
        assert await api.refused("PUT", one, {"port": {"mac_address": "fa:16:3e:00:00:01"}}, who="admin") == (409, "PortBound")

    on_network_api(test)


def test_ports_are_found_by_address_subnet_and_group() -> None:
    async def test(api: NetworkApi) -> None:
        network, subnet = await api.plain()
        port = await api.made("ports", "port", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.9"}])
        other = await api.made("ports", "port", network_id=network["id"], fixed_ips=[{"ip_address": "10.0.0.10"}], security_groups=[])
        for query, found in (
            ("fixed_ips=ip_address=10.0.0.9", [port]), (f"fixed_ips=subnet_id={subnet['id']}&fixed_ips=ip_address=10.0.0.10", [other]),
            ("fixed_ips=ip_address_substr=0.0.1", [other]), (f"security_groups={port['security_groups'][0]}", [port]), ("binding:host_id=x", []),
            ("device_owner=", [port, other]), (f"mac_address={port['mac_address']}", [port]),
        ):  # fmt: skip
            listed = (await api.ask("GET", f"/ports?{query}")).body["ports"]
            assert [each["id"] for each in listed] == [each["id"] for each in found], query
        assert (await api.refused("GET", "/ports?fixed_ips=x"))[0] == 400
        assert len((await api.ask("GET", "/ports?binding:vif_type=unbound", who="admin")).body["ports"]) == 2

    on_network_api(test)
