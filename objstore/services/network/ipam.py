"""Arithmetic of addresses: default pools, gateways, what overlaps, automatic addresses.  Pure.

A pool is (first, last), both texts, both inside.  An address is chosen by a number drawn elsewhere.
"""

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, collapse_addresses, ip_address, ip_network
from itertools import pairwise

from objstore.services.network.checks import IpNetwork

IpAddress = IPv4Address | IPv6Address
Pool = tuple[str, str]
SLAAC, STATELESS, STATEFUL = "slaac", "dhcpv6-stateless", "dhcpv6-stateful"
AUTOMATIC = (SLAAC, STATELESS)
EUI64_PREFIX = 64


def default_gateway(network: IpNetwork) -> str:
    """The first address behind the network's own."""
    return str(network.network_address + (0 if network.num_addresses == 1 else 1))


def bounds(network: IpNetwork) -> tuple[int, int]:
    """First and last address that a host may have."""
    first, last = int(network.network_address), int(network.broadcast_address)
    if network.num_addresses <= 2:
        return first, last  # point to point: RFC 3021, RFC 6164
    return (first + 1, last - 1) if network.version == 4 else (first + 1, last)


def default_pools(network: IpNetwork, gateway: str | None) -> list[Pool]:
    """All that hosts may have, but for the gateway."""
    first, last = bounds(network)
    ranges = [(first, last)]
    if gateway is not None and ip_address(gateway).version == network.version:
        at = int(ip_address(gateway))
        ranges = [(low, high) for low, high in ((first, min(at - 1, last)), (max(at + 1, first), last)) if low <= high]
    make = type(network.network_address)
    return [(str(make(low)), str(make(high))) for low, high in ranges]


def span(pool: Pool) -> tuple[int, int]:
    """A pool as numbers."""
    return int(ip_address(pool[0])), int(ip_address(pool[1]))


def size(pools: Iterable[Pool]) -> int:
    """How many addresses pools have."""
    return sum(last - first + 1 for first, last in map(span, pools))


def nth(pools: Iterable[Pool], at: int) -> str:
    """The address with this number among all of the pools, from 0."""
    for pool in pools:
        first, last = span(pool)
        if at <= last - first:
            return str(type(ip_address(pool[0]))(first + at))
        at -= last - first + 1
    raise IndexError("beyond the pools")


def first_free(pools: Iterable[Pool], used: Iterable[str]) -> str | None:
    """The lowest address of the pools that nobody has; None where all are taken."""
    taken = {int(ip_address(address)) for address in used}
    for pool in pools:
        first, last = span(pool)
        for at in range(first, last + 1):  # ends behind as many steps as addresses are taken
            if at not in taken:
                return str(type(ip_address(pool[0]))(at))
    return None


def in_pools(pools: Iterable[Pool], address: str) -> bool:
    """Whether pools hold an address."""
    at = int(ip_address(address))
    return any(first <= at <= last for first, last in map(span, pools))


def overlapping(pools: Sequence[Pool]) -> tuple[Pool, Pool] | None:
    """Two pools that share addresses."""
    ordered = sorted(pools, key=span)
    for one, other in pairwise(ordered):
        if span(other)[0] <= span(one)[1]:
            return one, other
    return None


def is_host(network: IpNetwork, address: str) -> bool:
    """Whether a host of the network may have an address."""
    found = ip_address(address)
    first, last = bounds(network)
    return found.version == network.version and first <= int(found) <= last


def eui64(cidr: str, mac: str) -> str:
    """The address that a host gives itself on a /64.  RFC 4291, appendix A."""
    octets = [int(part, 16) for part in mac.split(":")]
    octets[0] ^= 2
    low = int.from_bytes(bytes([*octets[:3], 0xFF, 0xFE, *octets[3:]]), "big")
    network = ip_network(cidr)
    return str(IPv6Address(int(network.network_address) + low))


def carve(prefixes: Iterable[str], used: Iterable[str], length: int) -> str | None:
    """The first range of a length in prefixes that touches none of those used; None where there is none."""
    for prefix in sorted((ip_network(text) for text in prefixes), key=lambda net: (int(net.network_address), net.prefixlen)):
        if prefix.prefixlen > length:
            continue
        width = 1 << (prefix.max_prefixlen - length)
        taken = sorted(
            (int(net.network_address), int(net.broadcast_address)) for text in used if (net := ip_network(text)).version == prefix.version
        )
        at, end = int(prefix.network_address), int(prefix.broadcast_address)
        for first, last in taken:
            if last < at:
                continue
            if first >= at + width:
                break
            at = (last // width + 1) * width
        if at + width - 1 <= end:
            return f"{type(prefix.network_address)(at)}/{length}"
    return None


def compacted(prefixes: Iterable[str]) -> list[str]:
    """The fewest prefixes that hold the same addresses, in order."""
    nets = [ip_network(text) for text in prefixes]
    four = [str(net) for net in collapse_addresses(net for net in nets if net.version == 4)]
    return four + [str(net) for net in collapse_addresses(net for net in nets if net.version == 6)]
