"""Configuration of what gives guests their addresses: dnsmasq in a network's namespace (DHCP of both versions), radvd in a router's.

Each host answers its own guests alone, from what it was told of their ports: there are no leases to keep, so a guest is answered the same by any
host and after any restart.  dnsmasq listens at the metadata service's address, thus takes none of the subnet's (`shared-network`).
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass

from objstore.services.network.driver import names, values
from objstore.services.network.driver.guard import METADATA_IP4
from objstore.services.network.driver.values import Address, Network
from objstore.services.network.wanted import WantedPort, WantedSubnet

LEASE_S = 86_400
ROUTER_LIFETIME_S = 9000  # the longest that there is: guests keep their way out while nothing advertises it
_REMEMBERED = 8192
_SHORTEST_PREFIX6 = 64  # of ranges that dnsmasq serves; one that is shorter would keep it from serving any
_MAX_ROUTES = 26  # an option holds 255 bytes, a route up to 9


@dataclass(frozen=True)
class Subnet:
    """A subnet's values, checked."""

    id: str
    network: Network
    gateway: Address | None
    dhcp: bool
    dns: tuple[Address, ...]
    routes: tuple[tuple[Network, Address], ...]
    ra_mode: str
    address_mode: str


def checked_subnet(subnet: WantedSubnet) -> Subnet:
    """Raises ValueError."""
    network = values.cidr(subnet.cidr)
    return Subnet(
        subnet.id,
        network,
        values.address(subnet.gateway) if subnet.gateway else None,
        subnet.dhcp,
        tuple(found for found in map(values.address, subnet.dns) if found.version == network.version),
        tuple((values.cidr(destination), values.address(hop)) for destination, hop in subnet.routes),
        subnet.ra_mode,
        subnet.address_mode,
    )


@dataclass(frozen=True)
class Client:
    """A guest's card, as DHCP knows it."""

    mac: str
    name: str
    addresses: tuple[tuple[str, Address], ...]  # (subnet id, address)
    options: tuple[tuple[int, str], ...]


@functools.lru_cache(_REMEMBERED)  # as of rules: all ports are looked at again with each change of any
def client(port: WantedPort, *, with_options: bool = True) -> Client:
    """Raises ValueError; options that cannot be are left out, since a port with one of them must still get its address."""
    options = []
    for name, value in port.dhcp_options if with_options else ():
        try:
            options.append(values.dhcp_option(name, value))
        except ValueError:
            continue
    addresses = tuple((subnet, values.address(text)) for subnet, text in port.addresses)
    return Client(values.mac(port.mac), values.host_name(port.name), addresses, tuple(options))


def dnsmasq(subnets: Sequence[Subnet], clients: Sequence[Client], mtu: int) -> str:
    """A configuration file; "" where no subnet has DHCP."""
    served = {subnet.id: subnet for subnet in sorted(subnets, key=lambda s: str(s.network)) if subnet.dhcp and _has_dhcp(subnet)}
    if not served:
        return ""
    lines = [
        "port=0", f"interface={names.BRIDGE}", "except-interface=lo", "bind-interfaces", "no-resolv", "no-hosts", "no-poll", "no-ping",
        "leasefile-ro", "dhcp-authoritative", "quiet-dhcp", "quiet-dhcp6", "user=nobody", "group=nogroup", "log-facility=-",
        f"dhcp-lease-max={max(1000, 2 * len(clients))}",
    ]  # fmt: skip
    tags = {}
    for number, (key, subnet) in enumerate(served.items()):
        tags[key] = f"s{number}"
        lines += _subnet(tags[key], subnet, mtu)
    for number, guest in enumerate(sorted(clients, key=lambda c: c.mac)):
        lines += _client(f"c{number}", guest, served)
    return "\n".join(lines) + "\n"


def _has_dhcp(subnet: Subnet) -> bool:
    if subnet.network.version == 4:
        return True
    return subnet.address_mode.startswith("dhcpv6") and subnet.network.prefixlen >= _SHORTEST_PREFIX6


def servers_address(subnet: Subnet, mac: str) -> str:
    """What dnsmasq needs on the bridge, with its prefix length, to serve a range of version 6; "" where it needs nothing.

    The address that the bridge would make itself of its hardware address: nobody else's, and the same on all hosts.
    """
    if subnet.network.version == 4 or not subnet.dhcp or not _has_dhcp(subnet):
        return ""
    made = subnet.network.network_address + (int(values.link_local(mac)) & int(subnet.network.hostmask) & (2**64 - 1))
    return f"{made}/{subnet.network.prefixlen}"


def _subnet(tag: str, subnet: Subnet, mtu: int) -> list[str]:
    first = subnet.network.network_address
    if subnet.network.version == 6:
        lines = [f"dhcp-range=set:{tag},{first},static,{subnet.network.prefixlen},{LEASE_S}"]
        if subnet.dns:
            lines.append(f"dhcp-option=tag:{tag},option6:dns-server,{','.join(f'[{server}]' for server in subnet.dns)}")
        return lines
    lines = [
        f"shared-network={names.BRIDGE},{first}",
        f"dhcp-range=set:{tag},{first},static,{subnet.network.netmask},{LEASE_S}",
        f"dhcp-option=tag:{tag},26,{mtu}",
    ]
    # A client that reads routes does not look at the router's option, so the way out is among them.
    routes = [f"{METADATA_IP4}/32,0.0.0.0", *(f"{to},{hop}" for to, hop in subnet.routes if to.version == hop.version == 4)][:_MAX_ROUTES]
    if subnet.gateway is not None:
        lines.append(f"dhcp-option=tag:{tag},3,{subnet.gateway}")
        routes.append(f"0.0.0.0/0,{subnet.gateway}")
    else:
        lines.append(f"dhcp-option=tag:{tag},3")  # none, in place of dnsmasq itself
    lines += [f"dhcp-option=tag:{tag},{option},{','.join(routes)}" for option in (121, 249)]  # 249: the same, to Windows
    lines.append(f"dhcp-option=tag:{tag},6" + "".join(f",{server}" for server in subnet.dns))
    return lines


def _client(tag: str, guest: Client, served: dict[str, Subnet]) -> list[str]:
    lines = [
        ",".join([f"dhcp-host={guest.mac}", f"set:{tag}", f"[{address}]" if address.version == 6 else str(address), *([guest.name] if guest.name else [])])
        for subnet, address in guest.addresses
        if subnet in served
    ]  # fmt: skip
    return [*lines, *(f"dhcp-option=tag:{tag},{code},{value}" for code, value in guest.options)] if lines else []


def radvd(interfaces: Sequence[tuple[str, Sequence[Subnet]]], mtus: dict[str, int]) -> str:
    """What a router tells guests of version 6: for each of its devices the subnets on it; "" where there is nothing to tell."""
    blocks = []
    for device, subnets in sorted(interfaces):
        told = [subnet for subnet in subnets if subnet.network.version == 6 and subnet.ra_mode]
        if told:
            blocks += _advertised(device, told, mtus[device])
    return "\n".join(blocks) + "\n" if blocks else ""


def _advertised(device: str, subnets: Sequence[Subnet], mtu: int) -> list[str]:
    modes = {subnet.ra_mode for subnet in subnets}
    lines = [
        f"interface {device} {{",
        " AdvSendAdvert on;",
        " MinRtrAdvInterval 30;",
        " MaxRtrAdvInterval 100;",
        f" AdvDefaultLifetime {ROUTER_LIFETIME_S};",
        f" AdvLinkMTU {max(mtu, 1280)};",
        f" AdvManagedFlag {'on' if 'dhcpv6-stateful' in modes else 'off'};",
        f" AdvOtherConfigFlag {'on' if modes & {'dhcpv6-stateful', 'dhcpv6-stateless'} else 'off'};",
    ]
    for subnet in sorted(subnets, key=lambda s: str(s.network)):
        lines += [
            f" prefix {subnet.network} {{",
            "  AdvOnLink on;",
            f"  AdvAutonomous {'off' if subnet.ra_mode == 'dhcpv6-stateful' else 'on'};",
            " };",
        ]
    servers = [str(server) for subnet in subnets if subnet.ra_mode == "slaac" for server in subnet.dns]
    if servers:
        lines.append(f" RDNSS {' '.join(servers)} {{ }};")
    return [*lines, "};"]
