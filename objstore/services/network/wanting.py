"""What must be true of the network on a host, computed from the records.  Nothing is changed here, and nothing asked of anybody else."""

from collections.abc import Iterable, Mapping, Sequence
from ipaddress import ip_network

from sqlalchemy import select

from objstore.services.network import records
from objstore.services.network.addresses import Fixed, fixed_of
from objstore.services.network.groups import port_groups
from objstore.services.network.ports import MIGRATING_TO, ROUTER_INTERFACE
from objstore.services.network.records import Row, Tx, by_id, rows
from objstore.services.network.rules import number_of
from objstore.services.network.tables import FLOATINGS, HOSTS, NETWORKS, PORT_GROUPS, PORTS, ROUTERS, RULES, SUBNETS
from objstore.services.network.wanted import (
    WantedFloating,
    WantedHost,
    WantedInterface,
    WantedNetwork,
    WantedPort,
    WantedRouter,
    WantedRule,
    WantedSubnet,
)

SERVICES = "network:%"
_VERSIONS = {"IPv4": 4, "IPv6": 6}
_NAMES = {1: "icmp", 6: "tcp", 17: "udp", 58: "icmpv6"}


def wanted_host(tx: Tx, host: str) -> WantedHost:
    """All of it."""
    routers = rows(tx, ROUTERS, ROUTERS.c.host == host) if host else []
    inner = rows(tx, PORTS, PORTS.c.device_owner == ROUTER_INTERFACE, PORTS.c.device_id.in_([router["id"] for router in routers]))
    gateways = by_id(tx, PORTS, [router["gateway_port"] for router in routers if router["gateway_port"]])
    here = [*rows(tx, PORTS, PORTS.c.host == host, PORTS.c.device_owner.not_like(SERVICES)), *_coming(tx, host)] if host else []
    ids = list(dict.fromkeys(port["network_id"] for port in (*here, *inner, *gateways.values())))
    networks = by_id(tx, NETWORKS, ids)
    subnets: dict[str, list[Row]] = {id_: [] for id_ in ids}
    for subnet in rows(tx, SUBNETS, SUBNETS.c.network_id.in_(ids)):
        subnets[subnet["network_id"]].append(subnet)
    guests = rows(tx, PORTS, PORTS.c.network_id.in_(ids), PORTS.c.host != "", PORTS.c.device_owner.not_like(SERVICES))
    fixed = fixed_of(tx, [port["id"] for port in (*guests, *inner, *gateways.values())])
    rules = _rules(tx, [port["id"] for port in here if port["port_security_enabled"]])
    return WantedHost(
        records.counter(tx.connection, records.REVISION),
        tuple(_network(tx, networks[id_], subnets[id_]) for id_ in sorted(networks)),
        tuple(_port(port, networks[port["network_id"]], fixed[port["id"]], rules.get(port["id"], ())) for port in _ordered(guests)),
        tuple(_router(tx, router, inner, gateways, fixed) for router in _ordered(routers)),
        tuple(
            (row["host"], row["tunnel_address"])
            for row in sorted(rows(tx, HOSTS, HOSTS.c.host != host, HOSTS.c.tunnel_address != ""), key=lambda row: str(row["host"]))
        ),
    )


def _coming(tx: Tx, host: str) -> list[Row]:
    """Ports whose guests are about to move to a host."""
    moving = rows(tx, PORTS, PORTS.c.host != "", PORTS.c.host != host, PORTS.c.profile.contains(f'"{MIGRATING_TO}"', autoescape=True))
    return [port for port in moving if port["profile"].get(MIGRATING_TO) == host]


def _ordered(found: Iterable[Row]) -> list[Row]:
    return sorted(found, key=lambda row: str(row["id"]))


def _network(tx: Tx, row: Row, found: Sequence[Row]) -> WantedNetwork:
    subnets = tuple(
        WantedSubnet(
            subnet["id"], subnet["cidr"], subnet["ip_version"], subnet["gateway_ip"] or "", subnet["enable_dhcp"],
            tuple(subnet["dns_nameservers"] or tx.settings.dns_servers), tuple((route["destination"], route["nexthop"]) for route in subnet["host_routes"]), subnet["ipv6_ra_mode"] or "",
            subnet["ipv6_address_mode"] or "",
        )
        for subnet in _ordered(found)
    )  # fmt: skip
    return WantedNetwork(row["id"], row["number"], row["mtu"], row["external"], subnets)


def host_name(row: Row, fixed: Sequence[Fixed]) -> str:
    """What a port is called by DHCP: the name it was given, or one made of its first address."""
    if row["dns_name"]:
        return str(row["dns_name"]).partition(".")[0]
    return "host-" + fixed[0].address.replace(".", "-").replace(":", "-") if fixed else ""


def _port(row: Row, network: Row, fixed: Sequence[Fixed], rules: Sequence[WantedRule]) -> WantedPort:
    secured = row["port_security_enabled"]
    return WantedPort(
        row["id"], row["network_id"], row["mac_address"], row["host"], row["server"], tuple((each.subnet, each.address) for each in fixed),
        host_name(row, fixed), row["admin_state_up"] and network["admin_state_up"], secured,
        tuple((pair.get("mac_address", ""), str(ip_network(pair["ip_address"]))) for pair in row["allowed_address_pairs"]) if secured else (),
        tuple(rules), tuple((option["opt_name"], option["opt_value"]) for option in row["extra_dhcp_opts"]),
    )  # fmt: skip


def _rules(tx: Tx, ports: Sequence[str]) -> dict[str, tuple[WantedRule, ...]]:
    """What is let through, by port, with remote groups replaced by their members' addresses."""
    groups = port_groups(tx, ports)
    named = {group for each in groups.values() for group in each}
    by_group: dict[str, list[Row]] = {group: [] for group in named}
    for rule in rows(tx, RULES, RULES.c.security_group_id.in_(named)):
        by_group[rule["security_group_id"]].append(rule)
    remote = {rule["remote_group_id"] for found in by_group.values() for rule in found if rule["remote_group_id"]}
    members = {group: _members(tx, group) for group in remote}
    ready = {group: [_rule(rule, members) for rule in found] for group, found in by_group.items()}
    return {port: tuple(dict.fromkeys(rule for group in each for rule in ready[group])) for port, each in groups.items()}


def _members(tx: Tx, group: str) -> list[str]:
    """CIDRs of all that a group's ports may send from."""
    ports = list(tx.connection.execute(select(PORT_GROUPS.c.port).where(PORT_GROUPS.c.security_group == group)).scalars())
    found = [each.address for fixed in fixed_of(tx, ports).values() for each in fixed]
    found += [pair["ip_address"] for port in by_id(tx, PORTS, ports).values() for pair in port["allowed_address_pairs"]]
    return sorted({str(ip_network(address)) for address in found})


def wire_protocol(protocol: str | None) -> str:
    """A protocol as hosts are told it.  0, which IPv4 has no use for, is all of them, as it is to iptables."""
    number = number_of(protocol)
    return "" if not number else _NAMES.get(number, str(number))


def _rule(row: Row, members: Mapping[str, Sequence[str]]) -> WantedRule:
    version = _VERSIONS[row["ethertype"]]
    remotes: tuple[str, ...] = (row["remote_ip_prefix"],) if row["remote_ip_prefix"] else ()
    if row["remote_group_id"]:
        remotes = tuple(cidr for cidr in members[row["remote_group_id"]] if ip_network(cidr).version == version)
    return WantedRule(
        row["direction"], version, wire_protocol(row["protocol"]), row["port_range_min"], row["port_range_max"], remotes,
        nobody=bool(row["remote_group_id"]) and not remotes,
    )  # fmt: skip


def _router(tx: Tx, row: Row, inner: Sequence[Row], gateways: Mapping[str, Row], fixed: Mapping[str, Sequence[Fixed]]) -> WantedRouter:
    interfaces = tuple(
        WantedInterface(port["network_id"], each.subnet, each.address, port["mac_address"])
        for port in _ordered(inner) if port["device_id"] == row["id"] and port["admin_state_up"]
        for each in fixed[port["id"]]
    )  # fmt: skip
    outer = gateways.get(row["gateway_port"] or "")
    gateway = None
    if outer is not None:
        addresses = sorted(fixed[outer["id"]], key=lambda each: ip_network(each.address).version)
        if addresses:
            gateway = WantedInterface(outer["network_id"], addresses[0].subnet, addresses[0].address, outer["mac_address"])
    standing = rows(tx, FLOATINGS, FLOATINGS.c.router_id == row["id"], FLOATINGS.c.port_id.is_not(None))
    ports = by_id(tx, PORTS, [each["port_id"] for each in standing])
    floating = tuple(
        WantedFloating(each["floating_ip_address"], each["fixed_ip_address"], ports[each["port_id"]]["network_id"])
        for each in _ordered(standing)
    )
    routes = tuple((route["destination"], route["nexthop"]) for route in row["routes"])
    return WantedRouter(row["id"], row["number"], interfaces, gateway, row["enable_snat"], floating, routes, row["admin_state_up"])
