"""What must be true of the network on one host: all that an agent's driver is told, as a whole, again after each change.

The network service computes it from its records; the driver makes it so, whatever was there before.  Addresses are texts.
"""

import msgspec


class WantedRule(msgspec.Struct, frozen=True):
    """Traffic that a security group lets through.  Everything else is dropped; answers to what was let through pass."""

    direction: str  # "ingress" or "egress", seen from the guest
    version: int  # 4 or 6
    protocol: str = ""  # "tcp", "udp", "icmp", "icmpv6", a number, or "" for all
    port_min: int | None = None  # icmp: the type
    port_max: int | None = None  # icmp: the code
    remotes: tuple[str, ...] = ()  # CIDRs of the other side; () for all.  Remote groups are resolved to their members' addresses.
    nobody: bool = False  # a remote group without members: lets nothing through


class WantedSubnet(msgspec.Struct, frozen=True):
    """A range of addresses of a network."""

    id: str
    cidr: str
    version: int
    gateway: str = ""  # "" for none
    dhcp: bool = True
    dns: tuple[str, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()  # (destination CIDR, next hop)
    ra_mode: str = ""  # version 6: what routers tell guests: "slaac", "dhcpv6-stateful", "dhcpv6-stateless"; "" for nothing
    address_mode: str = ""  # version 6: how guests come by addresses: the same words; "" for by no help of this network


class WantedNetwork(msgspec.Struct, frozen=True):
    """A layer 2 segment, isolated from all others."""

    id: str
    number: int  # unique, 1 to 2**24 - 1: the VXLAN id, and what interface names are made of
    mtu: int
    external: bool = False  # the outside world: what floating addresses are of
    subnets: tuple[WantedSubnet, ...] = ()


class WantedPort(msgspec.Struct, frozen=True):
    """A guest's interface, on this host or (for forwarding and security groups) on another."""

    id: str
    network: str
    mac: str
    host: str
    server: str  # the guest's id
    addresses: tuple[tuple[str, str], ...] = ()  # (subnet id, address)
    name: str = ""  # host name for DHCP
    up: bool = True  # admin_state_up
    secured: bool = True  # port security: anti-spoofing and security groups
    pairs: tuple[tuple[str, str], ...] = ()  # further (mac or "", CIDR) that it may send from
    rules: tuple[WantedRule, ...] = ()
    dhcp_options: tuple[tuple[str, str], ...] = ()


class WantedInterface(msgspec.Struct, frozen=True):
    """A router's address on a subnet."""

    network: str
    subnet: str
    address: str
    mac: str


class WantedFloating(msgspec.Struct, frozen=True):
    """An outside address that stands for a guest's inside one."""

    address: str
    fixed: str
    network: str  # of the inside address


class WantedRouter(msgspec.Struct, frozen=True):
    """Routes between networks, and to the outside.  It lives on one host: what is wanted of the others does not name it."""

    id: str
    number: int  # unique, as of networks
    interfaces: tuple[WantedInterface, ...] = ()
    gateway: WantedInterface | None = None  # on an external network
    snat: bool = True
    floating: tuple[WantedFloating, ...] = ()
    routes: tuple[tuple[str, str], ...] = ()
    up: bool = True


class WantedHost(msgspec.Struct, frozen=True):
    """All of it."""

    revision: int  # grows with each change of anything in here
    networks: tuple[WantedNetwork, ...] = ()
    ports: tuple[WantedPort, ...] = ()
    routers: tuple[WantedRouter, ...] = ()
    peers: tuple[tuple[str, str], ...] = ()  # (host, address of its end of the tunnels), without this host
