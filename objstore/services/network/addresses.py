"""Addresses of ports inside a transaction: which ones a port gets, and who has them.

An address is taken by writing its row of `net_addresses`, whose key is (network, address): two ports never have the same one.
"""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from sqlalchemy import delete, insert, select

from objstore.services.network import ipam
from objstore.services.network.checks import IpNetwork, address, fields, uuid, wrong
from objstore.services.network.ipam import AUTOMATIC
from objstore.services.network.problems import NetworkRefused, bad, invalid
from objstore.services.network.records import Row, Tx, count, get, rows
from objstore.services.network.tables import ADDRESSES, SUBNETS

PROBES = 8  # at random, before the addresses that are taken are looked through
ROUTER_OWNERS = ("network:router_interface",)
ROUTED = "network:routed"


class Fixed(NamedTuple):
    """An address of a port."""

    subnet: str
    address: str


class Asked(NamedTuple):
    """An address as it was asked for: "" for any."""

    subnet: str
    address: str


def check_fixed_ips(most: int) -> Any:
    """A check of the attribute `fixed_ips`."""

    def check(name: str, value: Any) -> list[Asked]:
        if value is None:
            return []
        if not isinstance(value, list):
            raise wrong(name, "a list of addresses is needed")
        if len(value) > most:
            raise invalid(f"Exceeded maximum amount of fixed ips per port, which is {most}")
        found: list[Asked] = []
        for item in value:
            given = fields(item, name, ("subnet_id", "ip_address"))
            if not given:
                raise wrong(name, "IP allocation requires subnet_id or ip_address")
            asked = Asked(
                uuid("subnet_id", given["subnet_id"]) if "subnet_id" in given else "",
                address("ip_address", given["ip_address"]) if given.get("ip_address") is not None else "",
            )
            if asked.address and any(asked.address == other.address for other in found):
                raise wrong(name, f"Duplicate IP address '{asked.address}'")
            found.append(asked)
        return found

    return check


def subnets_of(tx: Tx, network: str) -> list[Row]:
    """The subnets of a network, the oldest first."""
    return rows(tx, SUBNETS, SUBNETS.c.network_id == network)


def fixed_of(tx: Tx, ports: Sequence[str]) -> dict[str, list[Fixed]]:
    """The addresses of ports, in order."""
    found: dict[str, list[Fixed]] = {port: [] for port in ports}
    for start in range(0, len(ports), 500):
        query = select(ADDRESSES).where(ADDRESSES.c.port.in_(ports[start : start + 500])).order_by(ADDRESSES.c.position)
        for row in tx.connection.execute(query):
            found[row.port].append(Fixed(row.subnet, row.address))
    return found


def automatic(tx: Tx, network: str, mac: str, owner: str) -> list[Fixed]:
    """What a port gets that asks for nothing: one of IPv4, one of IPv6, and those that guests give themselves.  Raises 409."""
    subnets = [subnet for subnet in subnets_of(tx, network) if fits(subnet, owner)]
    found: list[Fixed] = []
    for version in (4, 6):
        given = [subnet for subnet in subnets if subnet["ip_version"] == version and not is_automatic(subnet)]
        for subnet in given:
            chosen = free_address(tx, subnet, [fixed.address for fixed in found])
            if chosen is not None:
                found.append(Fixed(subnet["id"], chosen))
                break
        else:
            if given:
                raise exhausted(network)
    found += [Fixed(subnet["id"], ipam.eui64(subnet["cidr"], mac)) for subnet in subnets if is_automatic(subnet)]
    if any(taken(tx, network, fixed.address) for fixed in found):
        raise exhausted(network)
    return found


def fits(subnet: Row, owner: str) -> bool:
    """Whether a subnet that is for some owners only is for this one."""
    return not subnet["service_types"] or any(owner.startswith(wanted) for wanted in subnet["service_types"] if wanted)


def is_automatic(subnet: Row) -> bool:
    """Whether hosts make their addresses of it themselves."""
    return subnet["ipv6_address_mode"] in AUTOMATIC


def exhausted(network: str) -> NetworkRefused:
    """409: no address is left."""
    return NetworkRefused(409, "IpAddressGenerationFailure", f"No more IP addresses available on network {network}.")


def free_address(tx: Tx, subnet: Row, but: Sequence[str] = ()) -> str | None:
    """An address of the subnet's pools that nobody has, chosen at random so that none is used again soon; None for none."""
    pools = [(first, last) for first, last in subnet["allocation_pools"]]
    total = ipam.size(pools)
    if not total:
        return None
    for _ in range(PROBES):
        chosen = ipam.nth(pools, int.from_bytes(tx.rng.token(17), "big") % total)
        if chosen not in but and not taken(tx, subnet["network_id"], chosen):
            return chosen
    used = tx.connection.execute(select(ADDRESSES.c.address).where(ADDRESSES.c.subnet == subnet["id"])).scalars()
    return ipam.first_free(pools, [*used, *but])


def taken(tx: Tx, network: str, address: str) -> bool:
    """Whether a port has an address."""
    return count(tx, ADDRESSES, ADDRESSES.c.network == network, ADDRESSES.c.address == address) > 0


def chosen(tx: Tx, network: str, asked: Sequence[Asked], *, mac: str, owner: str, keep: Sequence[Fixed] = ()) -> list[Fixed]:
    """The addresses that were asked for; those in `keep` are the port's already.  Raises 400, 404, 409."""
    found: list[Fixed] = []
    kept = {fixed.address for fixed in keep}
    subnets = {subnet["id"]: subnet for subnet in subnets_of(tx, network)}
    explicit = [want.address for want in asked if want.address]
    for want in asked:
        subnet = _subnet_for(tx, network, subnets, want)
        if want.address:
            _check_address(tx, network, subnet, want.address, mac=mac, owner=owner, kept=kept)
            found.append(Fixed(subnet["id"], want.address))
            continue
        if is_automatic(subnet) and owner not in ROUTER_OWNERS:
            address = ipam.eui64(subnet["cidr"], mac)
        else:
            known = next(
                (fixed.address for fixed in keep if fixed.subnet == subnet["id"] and fixed not in found and fixed.address not in explicit),
                None,
            )
            address = known or free_address(tx, subnet, [*(fixed.address for fixed in found), *explicit]) or ""
        if not address:
            raise exhausted(network)
        found.append(Fixed(subnet["id"], address))
    return found


def _subnet_for(tx: Tx, network: str, subnets: dict[str, Row], want: Asked) -> Row:
    if want.subnet:
        if want.subnet in subnets:
            return subnets[want.subnet]
        if get(tx, SUBNETS, want.subnet) is None:
            raise NetworkRefused(404, "SubnetNotFound", f"Subnet {want.subnet} could not be found.")
        raise invalid(f"Failed to create port on network {network}, because fixed_ips included invalid subnet {want.subnet}")
    for subnet in subnets.values():
        if ip_address(want.address) in ip_network(subnet["cidr"]):
            return subnet
    raise NetworkRefused(
        400, "InvalidIpForNetwork", f"IP address {want.address} is not a valid IP for any of the subnets on the specified network."
    )


def _check_address(tx: Tx, network: str, subnet: Row, address: str, *, mac: str, owner: str, kept: set[str]) -> None:
    cidr: IpNetwork = ip_network(subnet["cidr"])
    if not ipam.is_host(cidr, address) and not (owner.startswith("network:router") and ip_address(address) in cidr):
        raise NetworkRefused(400, "InvalidIpForSubnet", f"IP address {address} is not a valid IP for the specified subnet.")
    if is_automatic(subnet) and owner not in ROUTER_OWNERS and address != ipam.eui64(subnet["cidr"], mac):
        raise NetworkRefused(
            400, "AllocationOnAutoAddressSubnet",
            f"IPv6 address {address} can not be directly assigned to a port on subnet {subnet['id']} as the subnet is configured for automatic addresses",
        )  # fmt: skip
    if address not in kept and taken(tx, network, address):
        raise NetworkRefused(409, "IpAddressAlreadyAllocated", f"IP address {address} already allocated in subnet {subnet['id']}")


def set_fixed(tx: Tx, network: str, port: str, fixed: Sequence[Fixed]) -> None:
    """Replace the addresses of a port."""
    if len({each.address for each in fixed}) != len(fixed):
        raise bad("A port has an address once only")
    tx.connection.execute(delete(ADDRESSES).where(ADDRESSES.c.port == port))
    if fixed:
        tx.connection.execute(
            insert(ADDRESSES),
            [
                {"network": network, "address": each.address, "subnet": each.subnet, "port": port, "position": at}
                for at, each in enumerate(fixed)
            ],
        )
    tx.told = True
