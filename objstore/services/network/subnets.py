"""Subnets: ranges of addresses of networks, and what guests are told with an address."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from sqlalchemy import delete, insert, select

from objstore.services.network import checks, ipam
from objstore.services.network.addresses import fixed_of, is_automatic, subnets_of, taken
from objstore.services.network.checks import IpNetwork, fields, wrong
from objstore.services.network.ipam import SLAAC, STATEFUL, STATELESS, Pool
from objstore.services.network.kinds import REQUIRED, UNSET, Attribute, Kind, description, name, project_attribute
from objstore.services.network.operations import Operations, View, plain_views, shared_filter, shared_ones
from objstore.services.network.ports import ROUTER_INTERFACE, network_for
from objstore.services.network.problems import NetworkRefused, denied, invalid
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import Row, Tx, add, bump, change, get, remove, rows
from objstore.services.network.rights import is_own, seen_subnets
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.subnet_pools import allocate
from objstore.services.network.tables import ADDRESSES, NETWORKS, PORTS, SUBNETS

MODES = (SLAAC, STATELESS, STATEFUL)
DHCP = "network:dhcp"


def _pools(most: int) -> checks.Check:
    def check(name: str, value: Any) -> list[Pool]:
        if not isinstance(value, list) or len(value) > most:
            raise wrong(name, f"pools are a list of at most {most}")
        found: list[Pool] = []
        for item in value:
            given = fields(item, name, ("start", "end"))
            if set(given) != {"start", "end"}:
                raise wrong(name, "a pool has start and end")
            found.append((checks.address("start", given["start"]), checks.address("end", given["end"])))
        return found

    return check


def routes_check(most: int) -> checks.Check:
    """A check of [{"destination", "nexthop"}]."""

    def check(name: str, value: Any) -> list[dict[str, str]]:
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > most:
            raise wrong(name, f"routes are a list of at most {most}")
        found: list[dict[str, str]] = []
        for item in value:
            given = fields(item, name, ("destination", "nexthop"))
            if set(given) != {"destination", "nexthop"}:
                raise wrong(name, "a route has destination and nexthop")
            route = {
                "destination": checks.cidr("destination", given["destination"]),
                "nexthop": checks.address("nexthop", given["nexthop"]),
            }
            if ip_network(route["destination"]).version != ip_address(route["nexthop"]).version:
                raise wrong(name, "destination and nexthop of a route are of one IP version")
            if route in found:
                raise wrong(name, "Duplicate items in the list of routes")
            found.append(route)
        return found

    return check


def kind(settings: NetworkSettings) -> Kind:
    """The resource."""
    return Kind(
        "subnet", "subnets", "subnets", SUBNETS, "Subnet", "Subnet",
        (
            project_attribute(), name(), description(),
            Attribute("network_id", checks.uuid, REQUIRED, put=False),
            Attribute("ip_version", checks.ip_version, put=False),
            Attribute("cidr", checks.or_none(checks.cidr), put=False),
            Attribute("gateway_ip", checks.or_none(checks.address)),
            Attribute("enable_dhcp", checks.boolean, default=True),
            Attribute("allocation_pools", _pools(settings.max_pools)),
            Attribute("dns_nameservers", checks.listed(checks.address, settings.max_dns_servers), ()),
            Attribute("host_routes", routes_check(settings.max_routes), ()),
            Attribute("ipv6_ra_mode", checks.or_none(checks.one_of(*MODES)), None, put=False),
            Attribute("ipv6_address_mode", checks.or_none(checks.one_of(*MODES)), None, put=False),
            Attribute("subnetpool_id", checks.or_none(checks.text), None, put=False),
            Attribute("prefixlen", checks.number(0, 128), put=False),
            Attribute("use_default_subnetpool", checks.boolean, default=False, put=False),
            Attribute("service_types", checks.listed(checks.text, 10), ()),
        ),
        read_only=("id", "created_at", "updated_at", "revision_number"),
        quota="subnet",
    )  # fmt: skip


def create(tx: Tx, values: Row) -> Row:
    """A subnet.  Raises 400, 403, 404, 409."""
    network = network_for(tx, values["network_id"])
    if not is_own(tx.who, network):
        raise denied("(rule:create_subnet) is disallowed by policy: the network is not this project's")
    check_quota(tx, kind(tx.settings), values["project"])
    values = dict(values)
    cidr = _range(tx, values)
    version = cidr.version
    if values["ip_version"] is not UNSET and values["ip_version"] != version:
        raise invalid(f"Invalid CIDR {cidr} for IP version {values['ip_version']}")
    values |= {"cidr": str(cidr), "ip_version": version}
    _check_modes(values, cidr)
    _check_overlap(tx, network["id"], cidr)
    gateway = values["gateway_ip"]
    gateway = values["gateway_ip"] = ipam.default_gateway(cidr) if gateway is UNSET else gateway
    if values["allocation_pools"] is UNSET:
        values["allocation_pools"] = ipam.default_pools(cidr, gateway)
    _check_gateway(cidr, gateway)
    _check_pools(cidr, values["allocation_pools"], gateway)
    _check_servers(cidr, values)
    for unkept in ("prefixlen", "use_default_subnetpool"):
        values.pop(unkept)
    row = add(tx, SUBNETS, {**values, **{name: list(values[name]) for name in ("dns_nameservers", "host_routes", "service_types")}})
    bump(tx, NETWORKS, network["id"])
    if is_automatic(row):
        _give_automatic(tx, network, row)
    return row


def _range(tx: Tx, values: Row) -> IpNetwork:
    """The range of a new subnet: as it was given, or out of a pool of subnets."""
    given = None if values["cidr"] is UNSET else values["cidr"]
    pool = allocate(tx, values, given)
    if pool is not None:
        return _usable(pool)
    if given is None:
        raise NetworkRefused(400, "BadRequest", "Bad subnets request: a subnetpool must be specified in the absence of a cidr.")
    if values["prefixlen"] is not UNSET:
        raise NetworkRefused(400, "BadRequest", "Bad subnets request: cidr and prefixlen must not be supplied together.")
    if values["ip_version"] is UNSET:
        raise NetworkRefused(400, "BadRequest", "Bad subnets request: ip_version must be specified in the absence of a subnetpool.")
    return _usable(ip_network(given))


def _usable(cidr: IpNetwork) -> IpNetwork:
    if cidr.is_multicast or cidr.is_loopback or cidr.is_unspecified or cidr.prefixlen == 0:
        raise invalid(f"'{cidr}' is not a range that guests can have")
    return cidr


def _check_modes(values: Row, cidr: IpNetwork) -> None:
    advertised, addresses = values["ipv6_ra_mode"], values["ipv6_address_mode"]
    if advertised is None and addresses is None:
        if cidr.version == 4 and values["enable_dhcp"] and cidr.prefixlen > 30:
            raise invalid(f"Subnet has a prefix length that is incompatible with DHCP service enabled: {cidr}")
        return
    if cidr.version == 4:
        raise invalid("ipv6_ra_mode and ipv6_address_mode are not valid when ip_version is 4")
    if not values["enable_dhcp"]:
        raise invalid("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
    if advertised is not None and addresses is not None and advertised != addresses:
        raise invalid(
            f"ipv6_ra_mode set to '{advertised}' with ipv6_address_mode set to '{addresses}' is not valid. "
            "If both attributes are set, they must be the same value"
        )
    if (advertised in ipam.AUTOMATIC or addresses in ipam.AUTOMATIC) and cidr.prefixlen != ipam.EUI64_PREFIX:
        raise invalid(f"Invalid CIDR {cidr} for IPv6 address mode: prefix length is not 64")


def _check_overlap(tx: Tx, network: str, cidr: IpNetwork) -> None:
    for other in subnets_of(tx, network):
        if other["ip_version"] == cidr.version and ip_network(other["cidr"]).overlaps(cidr):
            raise invalid(f"Requested subnet with cidr: {cidr} for network: {network} overlaps with another subnet")


def _check_gateway(cidr: IpNetwork, gateway: str | None) -> None:
    if gateway is None:
        return
    if ip_address(gateway).version != cidr.version:
        raise invalid(f"gateway_ip '{gateway}' is not an address of IPv{cidr.version}")
    if ip_address(gateway) in cidr and not ipam.is_host(cidr, gateway) and cidr.version == 4:
        raise invalid("Gateway is not valid on subnet")
    if ip_address(gateway).is_multicast or ip_address(gateway).is_unspecified:
        raise invalid("Gateway is not valid on subnet")


def _check_pools(cidr: IpNetwork, pools: Sequence[Pool], gateway: str | None) -> None:
    for first, last in pools:
        if (
            ip_address(first).version != cidr.version
            or ip_address(last).version != cidr.version
            or ipam.span((first, last))[0] > ipam.span((first, last))[1]
        ):
            raise NetworkRefused(400, "InvalidAllocationPool", f"The allocation pool {first}-{last} is not valid.")
        if not (ipam.is_host(cidr, first) and ipam.is_host(cidr, last)):
            raise NetworkRefused(
                400, "OutOfBoundsAllocationPool", f"The allocation pool {first}-{last} spans beyond the subnet cidr {cidr}."
            )
    both = ipam.overlapping(list(pools))
    if both is not None:
        raise NetworkRefused(
            409, "OverlappingAllocationPools",
            f"Found overlapping allocation pools: {both[0][0]}-{both[0][1]}, {both[1][0]}-{both[1][1]} for subnet {cidr}.",
        )  # fmt: skip
    if gateway is not None and ip_address(gateway) in cidr:
        for first, last in pools:
            if ipam.in_pools([(first, last)], gateway):
                raise NetworkRefused(
                    409, "GatewayConflictWithAllocationPools", f"Gateway ip {gateway} conflicts with allocation pool {first}-{last}."
                )


def _check_servers(cidr: IpNetwork, values: Row) -> None:
    for address in values.get("dns_nameservers", ()):
        if ip_address(address).version != cidr.version:
            raise invalid(f"dns_nameserver '{address}' does not match the ip_version '{cidr.version}'")
    for route in values.get("host_routes", ()):
        if ip_address(route["nexthop"]).version != cidr.version:
            raise invalid(f"host_routes: '{route['nexthop']}' does not match the ip_version '{cidr.version}'")
    for service_type in values.get("service_types", ()):
        if not service_type.startswith(("network:", "compute:")):
            raise NetworkRefused(
                400, "InvalidSubnetServiceType", f"Subnet service type {service_type} does not correspond to a valid device owner."
            )


def _give_automatic(tx: Tx, network: Row, subnet: Row) -> None:
    """Guests that are on the network already give themselves addresses of a new subnet."""
    ports = rows(tx, PORTS, PORTS.c.network_id == network["id"], PORTS.c.device_owner.not_like("network:%"))
    fixed = fixed_of(tx, [port["id"] for port in ports])
    for port in ports:
        address = ipam.eui64(subnet["cidr"], port["mac_address"])
        if not taken(tx, network["id"], address):
            tx.connection.execute(
                insert(ADDRESSES).values(
                    network=network["id"], address=address, subnet=subnet["id"], port=port["id"], position=len(fixed[port["id"]])
                )
            )
            bump(tx, PORTS, port["id"])


def update(tx: Tx, row: Row, values: Row) -> None:
    """Change a subnet.  Raises 400, 409."""
    values = dict(values)
    cidr = ip_network(row["cidr"])
    if "gateway_ip" in values and values["gateway_ip"] != row["gateway_ip"]:
        _check_gateway(cidr, values["gateway_ip"])
        _check_gateway_free(tx, row)
    gateway = values.get("gateway_ip", row["gateway_ip"])
    pools = [tuple(pool) for pool in values.get("allocation_pools") or row["allocation_pools"]]
    if "gateway_ip" in values or "allocation_pools" in values:
        _check_pools(cidr, [(first, last) for first, last in pools], gateway)
    if values.get("enable_dhcp", True) is False and (row["ipv6_ra_mode"] or row["ipv6_address_mode"]):
        raise invalid("ipv6_ra_mode or ipv6_address_mode cannot be set when enable_dhcp is set to False")
    _check_servers(cidr, values)
    if "allocation_pools" in values:
        values["allocation_pools"] = [list(pool) for pool in values["allocation_pools"]]
    change(tx, SUBNETS, row, values)


def _check_gateway_free(tx: Tx, row: Row) -> None:
    """The old gateway must not be a router's."""
    if row["gateway_ip"] is None:
        return
    query = select(ADDRESSES.c.port).where(ADDRESSES.c.subnet == row["id"], ADDRESSES.c.address == row["gateway_ip"])
    port = get(tx, PORTS, tx.connection.execute(query).scalar_one_or_none())
    if port is not None and port["device_owner"] == ROUTER_INTERFACE:
        raise NetworkRefused(
            409, "GatewayIpInUse", f"Current gateway ip {row['gateway_ip']} already in use by port {port['id']}. Unable to update."
        )


def delete_subnet(tx: Tx, row: Row) -> None:
    """Remove a subnet that no port has an address of, but for those that guests gave themselves.  Raises 409."""
    automatic = is_automatic(row)
    owner = PORTS.c.id.in_(select(ADDRESSES.c.port).where(ADDRESSES.c.subnet == row["id"]))
    for port in rows(tx, PORTS, owner):
        if port["device_owner"] == DHCP or (automatic and port["device_owner"] != ROUTER_INTERFACE):
            continue
        raise NetworkRefused(
            409, "SubnetInUse",
            f"Unable to complete operation on subnet {row['id']}: One or more ports have an IP allocation from this subnet.",
        )  # fmt: skip
    tx.connection.execute(delete(ADDRESSES).where(ADDRESSES.c.subnet == row["id"]))
    remove(tx, SUBNETS, row["id"])
    bump(tx, NETWORKS, row["network_id"])


def views_of(own_kind: Kind) -> Any:
    """How subnets are shown."""

    def views(tx: Tx, found: Sequence[Row]) -> list[View]:
        shared = shared_ones(tx, [row["network_id"] for row in found])
        shown = plain_views(tx, own_kind, found)
        for row, view in zip(found, shown, strict=True):
            view["allocation_pools"] = [{"start": first, "end": last} for first, last in row["allocation_pools"]]
            view["shared"] = row["network_id"] in shared
        return shown

    return views


def operations(settings: NetworkSettings) -> Operations:
    """The resource and its calls."""
    own_kind = kind(settings)
    return Operations(
        own_kind, create, update, delete_subnet, views_of(own_kind), seen_subnets, {"shared": shared_filter(SUBNETS.c.network_id)}
    )
