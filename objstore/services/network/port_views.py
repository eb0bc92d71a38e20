"""Ports and networks as compute and guests see them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from objstore.services.network.addresses import fixed_of, subnets_of
from objstore.services.network.groups import port_groups
from objstore.services.network.kinds import Kind
from objstore.services.network.records import Row, Tx, by_id, rows
from objstore.services.network.tables import FLOATINGS, HOSTS, NETWORKS, PORTS, SUBNETS

PORT_QUOTA = Kind("port", "ports", "ports", PORTS, "Port", "Port", (), quota="port")
MAX_LABEL = 63
USER_DRIVER = "user"


@dataclass(frozen=True)
class PortView:
    """A port as compute sees it."""

    id: str
    network_id: str
    network_name: str  # what addresses are listed under
    mac: str
    addresses: tuple[tuple[str, str, int], ...]  # (subnet id, address, 4 or 6)
    floating: tuple[tuple[str, str], ...]  # (inside address, outside address)
    secured: bool
    vif_type: str  # "tap", "user", "unbound"
    status: str  # "ACTIVE", "BUILD", "DOWN"
    project_id: str
    device_id: str  # what clients say that the port is of
    device_owner: str
    host: str
    mtu: int
    security_groups: tuple[str, ...]
    made: bool  # by compute: it goes with its server
    server_id: str  # that compute gave the port to


@dataclass(frozen=True)
class NetworkView:
    """A network as compute sees it."""

    id: str
    name: str
    project_id: str
    external: bool
    subnets: int


def network_view(tx: Tx, row: Row) -> NetworkView:
    """One network."""
    return NetworkView(row["id"], row["name"], row["project"], row["external"], len(subnets_of(tx, row["id"])))


def vif_types(tx: Tx, ports: Sequence[Row]) -> dict[str, str]:
    """How the hosts of ports plug them in, by host."""
    hosts = {port["host"] for port in ports} - {""}
    drivers = {row["host"]: row["driver"] for row in rows(tx, HOSTS, HOSTS.c.host.in_(hosts))} if hosts else {}
    return {"": "unbound", **{host: USER_DRIVER if drivers.get(host) == USER_DRIVER else "tap" for host in hosts}}


def port_views_of(tx: Tx, ports: Sequence[Row]) -> list[PortView]:
    """Ports in the order given."""
    ids = [port["id"] for port in ports]
    fixed, groups = fixed_of(tx, ids), port_groups(tx, ids)
    networks = by_id(tx, NETWORKS, [port["network_id"] for port in ports])
    types = vif_types(tx, ports)
    outside: dict[str, list[tuple[str, str]]] = {id_: [] for id_ in ids}
    for start in range(0, len(ids), 500):
        for row in rows(tx, FLOATINGS, FLOATINGS.c.port_id.in_(ids[start : start + 500])):
            outside[row["port_id"]].append((row["fixed_ip_address"], row["floating_ip_address"]))
    return [
        PortView(
            port["id"], port["network_id"], networks[port["network_id"]]["name"], port["mac_address"],
            tuple((each.subnet, each.address, ip_address(each.address).version) for each in fixed[port["id"]]), tuple(outside[port["id"]]),
            port["port_security_enabled"], types[port["host"]], port["status"], port["project"], port["device_id"], port["device_owner"],
            port["host"], networks[port["network_id"]]["mtu"], tuple(groups[port["id"]]), port["made"], port["server"],
        )
        for port in ports
    ]  # fmt: skip


def host_label(name: str) -> str:
    """A name for the DNS of a server's name; "" where nothing is left of it."""
    return re.sub(r"-+", "-", re.sub(r"[^a-z0-9-]", "-", name.lower()))[:MAX_LABEL].strip("-")


def network_data(tx: Tx, ports: Sequence[Row]) -> dict[str, object]:
    """network_data.json: links, networks and name servers, as cloud-init reads them."""
    links: list[object] = []
    networks: list[object] = []
    services: dict[str, object] = {}
    fixed = fixed_of(tx, [port["id"] for port in ports])
    known = by_id(tx, NETWORKS, [port["network_id"] for port in ports])
    subnets = by_id(tx, SUBNETS, [each.subnet for found in fixed.values() for each in found])
    for number, port in enumerate(ports):
        link = f"tap{port['id'][:11]}"
        links.append(
            {
                "id": link, "vif_id": port["id"], "type": "tap", "mtu": known[port["network_id"]]["mtu"],
                "ethernet_mac_address": port["mac_address"],
            }
        )  # fmt: skip
        for at, each in enumerate(fixed[port["id"]]):
            subnet = subnets[each.subnet]
            servers = list(subnet["dns_nameservers"] or tx.settings.dns_servers)
            networks.append(_network(f"network{number if not at else f'{number}-{at}'}", link, port, subnet, each.address, servers))
            services |= {address: {"type": "dns", "address": address} for address in servers}
    return {"links": links, "networks": networks, "services": list(services.values())}


def _network(id_: str, link: str, port: Row, subnet: Row, address: str, servers: Sequence[str]) -> dict[str, object]:
    version = subnet["ip_version"]
    mode = subnet["ipv6_address_mode"]
    kind = f"ipv{version}" if not subnet["enable_dhcp"] else "ipv4_dhcp" if version == 4 else f"ipv6_{mode or 'dhcp'}"
    view: dict[str, object] = {"id": id_, "link": link, "type": kind, "network_id": port["network_id"]}
    if not subnet["enable_dhcp"]:
        net = ip_network(subnet["cidr"])
        default = [("0.0.0.0/0" if version == 4 else "::/0", subnet["gateway_ip"])] if subnet["gateway_ip"] else []
        routes = [(route["destination"], route["nexthop"]) for route in subnet["host_routes"]]
        view |= {
            "ip_address": address, "netmask": str(net.netmask),
            "routes": [
                {"network": str(ip_network(to).network_address), "netmask": str(ip_network(to).netmask), "gateway": hop} for to, hop in [*default, *routes]
            ],
            "services": [{"type": "dns", "address": server} for server in servers],
        }  # fmt: skip
    return view
