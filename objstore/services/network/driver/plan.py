"""From what is wanted of a host to what has to be there: namespaces with their devices, addresses, routes, rules and configuration.

Pure, and total: a value that cannot be right takes its port, network or router out of the plan and is told in `failures`, the rest stands.
"""

import contextlib
import hashlib
import ipaddress
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

from objstore.services.network.driver import addressing, names, nat, values
from objstore.services.network.driver.guard import MAX_SECURED, METADATA_IP4, METADATA_IP6, Guarded, Uplink, guarded, rules
from objstore.services.network.driver.names import BRIDGE, TUNNEL, UPLINK, Names
from objstore.services.network.wanted import WantedHost, WantedInterface, WantedNetwork, WantedPort, WantedRouter

# Where the ways between the host and its external networks get their two addresses from: link-local ones that guests never see.
_WAYS = int(ipaddress.IPv4Address("169.254.192.0"))
_WAY_COUNT = 8192

# A namespace's settings: before there are devices, so that they start out with them.
_CLOSED = (
    ("net/ipv4/conf/all/rp_filter", "0"), ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/accept_redirects", "0"), ("net/ipv4/conf/all/send_redirects", "0"), ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv4/conf/all/promote_secondaries", "1"),
    ("net/ipv6/conf/default/accept_ra", "0"), ("net/ipv6/conf/default/accept_dad", "0"), ("net/ipv6/conf/default/accept_redirects", "0"),
)  # fmt: skip
_NETWORK = (*_CLOSED, ("net/ipv6/conf/default/disable_ipv6", "1"))
_ROUTER = (
    *_CLOSED, ("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/default/disable_ipv6", "0"), ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/conf/all/arp_ignore", "1"), ("net/ipv4/conf/all/arp_announce", "2"),
)  # fmt: skip


EVERYONE = "00:00:00:00:00:00"  # frames for all, and for who has not been heard of


@dataclass(frozen=True)
class Site:
    """What a driver knows of its own host."""

    host: str
    names: Names
    tunnel: tuple[values.Address, int] | None = None  # this host's end of tunnels
    outbound: bool = False  # guests go out through this host, under its address


@dataclass(frozen=True)
class Link:
    """A device."""

    name: str
    kind: str  # as `ip` calls it: "bridge", "tun", "veth", "vxlan"
    made: str = ""  # the line of a batch that makes it; "" where it is the other end of one that is made elsewhere
    by_host: bool = False  # that line is for the host's namespace
    other_end: str = ""  # the namespace where that line makes another device
    mac: str = ""  # "" for any
    mtu: int = 0
    master: str = ""
    up: bool = True
    addresses: frozenset[str] = frozenset()  # with their prefix lengths
    told: tuple[tuple[str, object], ...] = ()  # further facts that `ip -d` must show, or it is made anew


@dataclass(frozen=True)
class Route:
    """A way."""

    to: str  # with prefix length
    via: str = ""
    device: str = ""
    source: str = ""


@dataclass(frozen=True)
class Space:
    """A namespace, or the host's part of it all."""

    id: str  # of the network or router, for failures
    name: str
    links: tuple[Link, ...] = ()
    routes: frozenset[Route] = frozenset()
    neighbours: frozenset[tuple[str, str, str]] = frozenset()  # (device, address, hardware address)
    forwards: frozenset[tuple[str, str, int]] = frozenset()  # (hardware address or EVERYONE, end of a tunnel, port): where frames go to
    before: tuple[tuple[str, str], ...] = ()  # settings
    after: tuple[tuple[str, str], ...] = ()  # of devices
    rules: str = ""  # without their stamp
    table: tuple[str, str] = ("inet", "groups")  # that holds the stamp of the rules
    dnsmasq: str = ""
    dnsmasq_plain: str = ""  # without guests' own options, in case dnsmasq does not take one of them
    radvd: str = ""
    metadata: bool = False
    announced: tuple[tuple[str, str, str], ...] = ()  # (device, hardware address, address)


@dataclass(frozen=True)
class Local:
    """A guest's card on this host."""

    port: str
    server: str
    space: str
    tap: str
    mtu: int
    up: bool
    works: bool  # up, and of this host in the records too


@dataclass
class Plan:
    """All of a host."""

    spaces: dict[str, Space] = field(default_factory=dict)  # networks first
    host: Space = field(default_factory=lambda: Space("", ""))
    ports: dict[str, Local] = field(default_factory=dict)
    guests: dict[tuple[str, str], str] = field(default_factory=dict)  # (namespace, address) -> port
    failures: dict[str, str] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)  # namespaces that are wanted and cannot be planned: they stay as they are


@dataclass
class _Network:
    wanted: WantedNetwork
    space: str
    subnets: dict[str, addressing.Subnet]
    mtu: int
    mac: str
    ends: list[Link] = field(default_factory=list)  # of routers
    outside: set[str] = field(default_factory=set)  # addresses that the host finds behind an external network
    own: set[values.Address] = field(default_factory=set)  # of those the ones of routers themselves
    at: dict[str, str] = field(default_factory=dict)  # address -> hardware address of the router that has it


def plan(wanted: WantedHost, site: Site, plugged: Collection[str] = ()) -> Plan:
    """What has to be there; `plugged` are ports whose guests are on this host already, or are about to come."""
    made = Plan()
    networks: dict[str, _Network] = {}
    for network in sorted(wanted.networks, key=lambda n: n.number):
        try:
            networks[network.id] = _network(network, site)
        except ValueError as failure:
            made.failures[network.id] = str(failure)
            made.kept |= _kept(site.names.network, network.number)
    routers = {}
    for router in sorted(wanted.routers, key=lambda r: r.number):
        try:
            routers[site.names.router(router.number)] = _router(router, networks, site, made)
        except ValueError as failure:
            made.failures[router.id] = str(failure)
            made.kept |= _kept(site.names.router, router.number)
    cards: dict[str, list[WantedPort]] = {}
    for port in wanted.ports:
        if port.host == site.host or port.id in plugged:
            cards.setdefault(port.network, []).append(port)
    peers = _peers(wanted, made) if site.tunnel else {}
    outside: list[tuple[Link, frozenset[Route]]] = []
    for network_id, known in networks.items():
        space, way = _space(known, cards.get(network_id, []), _tunnel(known, wanted, peers, site), site, made)
        made.spaces[space.name] = space
        outside += [way] if way else []
    made.spaces.update(routers)
    made.host = _host(outside, networks.values(), site)
    for network_id in cards.keys() - networks.keys():
        made.failures.update({port.id: f"its network {network_id} is not there" for port in cards[network_id]})
    return made


def _kept(name: Callable[[int], str], number: int) -> set[str]:
    try:
        return {name(number)}
    except ValueError:
        return set()


def _network(network: WantedNetwork, site: Site) -> _Network:
    number = values.number(network.number)
    subnets = {subnet.id: addressing.checked_subnet(subnet) for subnet in network.subnets}
    # The same on all hosts, so that a guest that moves finds it where it was.
    mac = "0a:a9:fe:" + ":".join(f"{octet:02x}" for octet in number.to_bytes(3, "big"))
    return _Network(network, site.names.network(number), subnets, values.mtu(network.mtu), mac)


def _peers(wanted: WantedHost, made: Plan) -> dict[str, tuple[str, int]]:
    ends = {}
    for host, text in wanted.peers:
        try:
            address, port = values.tunnel_end(text)
        except ValueError as failure:
            made.failures[host] = str(failure)
        else:
            ends[host] = (str(address), port)
    return ends


def _tunnel(
    network: _Network, wanted: WantedHost, peers: dict[str, tuple[str, int]], site: Site
) -> tuple[Link, frozenset[tuple[str, str, int]]] | None:
    """The end of a network's tunnel, and where it sends what.

    It learns from what it receives who is where, which leaves out the port: where hosts do not all have the same one (several on one machine), it is
    told where guests are instead, and sends to all what is for others.
    """
    if site.tunnel is None:
        return None
    address, port = site.tunnel
    learns = all(end[1] == port for end in peers.values())
    forwards = {(EVERYONE, *end) for end in peers.values()}
    if not learns:
        for guest in wanted.ports:
            if guest.network == network.wanted.id and guest.host in peers:
                with contextlib.suppress(ValueError):
                    forwards.add((values.mac(guest.mac), *peers[guest.host]))
    line = (
        f"link add name {TUNNEL} mtu {network.mtu} netns {network.space} type vxlan id {network.wanted.number} "
        f"local {address} dstport {port} {'' if learns else 'no'}learning"
    )
    local = ("local" if address.version == 4 else "local6", str(address))
    told = (("id", network.wanted.number), ("port", port), local, ("learning", learns))
    return Link(TUNNEL, "vxlan", line, by_host=True, mtu=network.mtu, master=BRIDGE, told=told), frozenset(forwards)


def _router(router: WantedRouter, networks: dict[str, _Network], site: Site, made: Plan) -> Space:
    links: dict[str, Link] = {}
    ends: list[tuple[_Network, Link]] = []
    advertised: dict[str, list[addressing.Subnet]] = {}
    routes = _extra_routes(router, made)
    for interface in router.interfaces:
        network, subnet = _place(interface, networks)
        name = names.router_end(network.wanted.number, interface.mac)
        _attach(links, ends, name, interface, (network, subnet), router)
        advertised.setdefault(name, []).append(subnet)
    gateway, announced = None, []
    floating = {values.address(f.address): values.address(f.fixed) for f in router.floating}
    if router.gateway is not None:
        network, subnet = _place(router.gateway, networks)
        name = names.gateway_end(network.wanted.number, router.gateway.mac)
        own = values.address(router.gateway.address)
        host_routes = frozenset(f"{address}/{address.max_prefixlen}" for address in floating)
        _attach(links, ends, name, router.gateway, (network, subnet), router, more=host_routes)
        gateway = nat.Gateway(name, own, router.snat)
        if subnet.gateway is not None and subnet.gateway != own:
            routes.add(Route("0.0.0.0/0" if subnet.network.version == 4 else "::/0", via=str(subnet.gateway), device=name))
        mac = values.mac(router.gateway.mac)
        network.own.add(own)
        network.at.update({str(address): mac for address in (own, *floating)} if router.up else {})
        announced = [(name, mac, str(address)) for address in sorted(floating, key=str) if address.version == 4]
    for network, end in ends:
        network.ends.append(end)
    mtus = {name: link.mtu for name, link in links.items()}
    return Space(
        router.id, site.names.router(router.number), tuple(links.values()), frozenset(routes if router.up else ()), before=_ROUTER,
        rules=nat.router_rules(gateway, floating if gateway else {}), table=("ip", "nat"),
        radvd=addressing.radvd(list(advertised.items()), mtus) if router.up else "", announced=tuple(announced),
    )  # fmt: skip


def _extra_routes(router: WantedRouter, made: Plan) -> set[Route]:
    found = set()
    for to, hop in router.routes:
        try:
            found.add(Route(str(values.cidr(to)), via=str(values.address(hop))))
        except ValueError as failure:
            made.failures[router.id] = str(failure)
    return found


def _place(interface: WantedInterface, networks: dict[str, _Network]) -> tuple[_Network, addressing.Subnet]:
    network = networks.get(interface.network)
    if network is None or interface.subnet not in network.subnets:
        raise ValueError(f"its network {interface.network} or subnet {interface.subnet} is not there")
    return network, network.subnets[interface.subnet]


def _attach(
    links: dict[str, Link], ends: list[tuple[_Network, Link]], name: str, interface: WantedInterface,
    place: tuple[_Network, addressing.Subnet], router: WantedRouter, *, more: frozenset[str] = frozenset(),
) -> None:  # fmt: skip
    """A router's two ends on a network; several subnets at one hardware address share them."""
    network, subnet = place
    mac = values.mac(interface.mac)
    other = names.bridge_end(router.number, mac)
    held = more | {f"{values.address(interface.address)}/{subnet.network.prefixlen}"}
    if name in links:
        held |= links[name].addresses
    else:
        ends.append((network, Link(other, "veth", mtu=network.mtu, master=BRIDGE, up=router.up)))
    line = f"link add name {name} mtu {network.mtu} address {mac} type veth peer name {other} mtu {network.mtu} netns {network.space}"
    links[name] = Link(name, "veth", line, other_end=network.space, mac=mac, mtu=network.mtu, up=router.up, addresses=frozenset(held))


def _space(
    network: _Network, cards: Iterable[WantedPort], tunnel: tuple[Link, frozenset[tuple[str, str, int]]] | None, site: Site, made: Plan
) -> tuple[Space, tuple[Link, frozenset[Route]] | None]:
    ports, guests = _cards(network, cards, site.host, made)
    mtu = network.mtu
    bridge = (
        f"link add name {BRIDGE} mtu {mtu} address {network.mac} type bridge stp_state 0 mcast_snooping 0 "
        "nf_call_iptables 1 nf_call_ip6tables 1 nf_call_arptables 0"
    )
    held = {f"{METADATA_IP4}/32", f"{METADATA_IP6}/64"}
    held |= {address for s in network.subnets.values() if (address := addressing.servers_address(s, network.mac))}
    routes = {Route(str(s.network), device=BRIDGE, source=METADATA_IP4) for s in network.subnets.values() if s.network.version == 4}
    way = _way(network, site) if network.wanted.external else None
    if way is not None:
        held |= way.gateways
        routes = {route for route in routes if route.to not in way.connected} | {Route("0.0.0.0/0", via=way.host, device=UPLINK)}
    links = [Link(BRIDGE, "bridge", bridge, mac=network.mac, mtu=mtu, addresses=frozenset(held))]
    links += [
        Link(card.tap, "tun", f"tuntap add dev {card.tap} mode tap vnet_hdr", mtu=mtu, master=BRIDGE, up=made.ports[p].up)
        for p, card in ports
    ]
    links += network.ends
    links += [tunnel[0]] if tunnel else []
    if way is not None:
        links.append(Link(UPLINK, "veth", mtu=mtu, addresses=frozenset({f"{way.here}/31"})))
    neighbours = {(BRIDGE, address, card.mac) for _, card in ports for address in (*map(str, card.own), str(values.link_local(card.mac)))}
    neighbours |= {(BRIDGE, address, mac) for address, mac in network.at.items()} if way else set()
    text = rules(
        [card for _, card in ports], [end.name for end in network.ends], mac=network.mac, tunnel=tunnel is not None,
        uplink=Uplink(site.outbound) if way else None,
    )  # fmt: skip
    if way is not None:
        text += nat.uplink_rules(
            host=values.address(way.host), here=values.address(way.here), gateway=way.gateway, routers=network.own
        )  # fmt: skip
    served = list(network.subnets.values())
    space = Space(
        network.wanted.id, network.space, tuple(links), frozenset(routes), frozenset(neighbours),
        tunnel[1] if tunnel else frozenset(),
        before=(*_NETWORK, ("net/ipv4/ip_forward", "1" if way else "0")),
        after=((f"net/ipv6/conf/{BRIDGE}/disable_ipv6", "0"),),
        rules=text, metadata=True,
        dnsmasq=addressing.dnsmasq(served, [addressing.client(port) for port in guests], mtu),
        dnsmasq_plain=addressing.dnsmasq(served, [addressing.client(port, with_options=False) for port in guests], mtu),
    )  # fmt: skip
    return space, _outside(network, way, guests, site) if way else None


def _cards(network: _Network, cards: Iterable[WantedPort], host: str, made: Plan) -> tuple[list[tuple[str, Guarded]], list[WantedPort]]:
    """The guests' devices of a network; ports with impossible values are left out."""
    found: list[tuple[str, Guarded]] = []
    kept: list[WantedPort] = []
    taken: set[str] = set()
    for port in sorted(cards, key=lambda p: p.id):
        try:
            card = guarded(port)
            addressing.client(port)
        except ValueError as failure:
            made.failures[port.id] = str(failure)
            continue
        if card.tap in taken or len(found) >= MAX_SECURED:
            made.failures[port.id] = "this host has no room for another port of this network"
            continue
        taken.add(card.tap)
        found.append((port.id, card))
        kept.append(port)
        made.ports[port.id] = Local(port.id, port.server, network.space, card.tap, network.mtu, port.up, port.up and port.host == host)
        for address in (*map(str, card.own), str(values.link_local(card.mac))):
            made.guests[network.space, address] = port.id
    return found, kept


@dataclass(frozen=True)
class _Way:
    host: str
    here: str
    gateways: frozenset[str]  # with prefix lengths
    connected: frozenset[str]
    gateway: values.Address | None  # of version 4


def _way(network: _Network, site: Site) -> _Way:
    """How an external network leads to the host: a pair of addresses, and the gateways of its subnets."""
    digest = hashlib.sha256(f"{site.names.tag}\n{network.wanted.number}".encode()).digest()
    first = ipaddress.IPv4Address(_WAYS + 2 * (int.from_bytes(digest[:4], "big") % _WAY_COUNT))
    with_gateway = [s for s in network.subnets.values() if s.gateway is not None]
    four = sorted((s.gateway for s in with_gateway if s.gateway is not None and s.network.version == 4), key=str)
    return _Way(
        str(first), str(first + 1),
        frozenset(f"{s.gateway}/{s.network.prefixlen}" for s in with_gateway),
        frozenset(str(s.network) for s in with_gateway if s.network.version == 4),
        four[0] if four else None,
    )  # fmt: skip


def _outside(network: _Network, way: _Way, guests: Iterable[WantedPort], site: Site) -> tuple[Link, frozenset[Route]]:
    """The host's end, and the addresses that it finds behind it."""
    name = site.names.outside(network.wanted.number)
    line = f"link add name {name} mtu {network.mtu} type veth peer name {UPLINK} mtu {network.mtu} netns {network.space}"
    behind = {*network.at, *(str(values.address(text)) for port in guests for _, text in port.addresses)}
    routes = frozenset(Route(f"{address}/32", via=way.here, device=name) for address in behind if values.address(address).version == 4)
    return Link(name, "veth", line, other_end=network.space, mtu=network.mtu, addresses=frozenset({f"{way.host}/31"})), routes


def _host(outside: list[tuple[Link, frozenset[Route]]], networks: Iterable[_Network], site: Site) -> Space:
    links = tuple(link for link, _ in outside)
    routes = frozenset(route for _, found in outside for route in found)
    text = ""
    if links and site.outbound:
        ranges = [s.network for n in networks if n.wanted.external for s in n.subnets.values() if s.network.version == 4]
        ways = [values.cidr(address) for link in links for address in link.addresses]
        text = nat.host_rules(site.names.table, [link.name for link in links], values.collapsed([*ranges, *ways], 4))
    return Space(
        "", "", links, routes, rules=text, table=("inet", site.names.table), before=(("net/ipv4/ip_forward", "1"),) if text else ()
    )
