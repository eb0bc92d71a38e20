"""QEMU's own network for each card: no privileges, no network between guests.

A guest gets its address from QEMU's DHCP, and reaches nothing; what its security groups let in from anywhere is a port of this host's loopback.
Its metadata comes by a config drive.  With `outbound`, a guest whose groups let everything out goes out as this process does, which includes
this host's own loopback (QEMU has it at the gateway's address): for a machine of one's own only.
"""

import hashlib
import ipaddress
import logging
from collections.abc import Callable, Iterable

from objstore.errors import Unavailable
from objstore.services.network.driver import values
from objstore.services.network.driver.api import CannotDrive, Carried, Forward, NotTold, Tap, UserMode
from objstore.services.network.wanted import WantedHost, WantedPort, WantedRule, WantedSubnet

log = logging.getLogger(__name__)

# What a rule without ports stands for: it cannot be all 65,535.
USUAL_PORTS = (22, 80, 443, 3389, 5432, 8080)
RULE_PORTS = 16  # of a range of ports, the first ones
CARD_PORTS = 32
_FIRST, _COUNT = 20_000, 12_000  # of the host's ports: below those that connections go out from (net.ipv4.ip_local_port_range)
_LONGEST_PREFIX = 29  # a range must hold the guest, the gateway and QEMU's name server

FreePort = Callable[[str, int], int]  # protocol, preferred -> a port that nobody has


class UserDriver:
    """Of one host."""

    name = "user"

    def __init__(self, host: str, free_port: FreePort, *, outbound: bool = False) -> None:
        self._host = host
        self._free_port = free_port
        self._outbound = outbound
        self._wanted: WantedHost | None = None
        self._plugged: dict[str, UserMode] = {}

    async def carry_out(self, wanted: WantedHost) -> Carried:
        """See NetworkDriver.  There is nothing to make: a card's rules take effect when it is plugged in."""
        self._wanted = wanted
        up, failures = [], {}
        for port in wanted.ports:
            if port.host == self._host and port.up:
                try:
                    _netdev(port, wanted, ())
                except ValueError as failure:
                    failures[port.id] = str(failure)
                else:
                    up.append(port.id)
        failures.update({router.id: "routers need the driver netns" for router in wanted.routers})
        return Carried(wanted.revision, tuple(sorted(up)), failures)

    async def plug(self, port: str, server: str) -> UserMode:
        """See NetworkDriver.  The same ports of the host as long as the card is plugged in, and mostly after."""
        if port in self._plugged:
            return self._plugged[port]
        known = next((p for p in self._wanted.ports if p.id == port), None) if self._wanted else None
        if known is None or self._wanted is None:
            raise NotTold(f"the network service has not told this host of port {port}")
        try:
            forwards = self._forwards(known)
            netdev = _netdev(known, self._wanted, forwards, outbound=self._outbound and _lets_out(known.rules, secured=known.secured))
        except ValueError as failure:
            raise Unavailable(f"port {port} cannot be plugged in: {failure}") from failure
        plugged = UserMode(port, netdev, forwards)
        self._plugged[port] = plugged
        for forward in forwards:
            log.info("port %s: 127.0.0.1:%d leads to %s port %d", port, forward.host_port, forward.protocol, forward.guest_port)
        return plugged

    def _forwards(self, port: WantedPort) -> tuple[Forward, ...]:
        if not port.up:
            return ()
        made = []
        for protocol, number in openings(port)[:CARD_PORTS]:
            digest = hashlib.sha256(f"{port.id} {protocol} {number}".encode()).digest()
            preferred = _FIRST + int.from_bytes(digest[:4], "big") % _COUNT
            made.append(Forward(protocol, self._free_port(protocol, preferred), number))
        return tuple(made)

    async def open_tap(self, tap: Tap) -> int:
        """Raises CannotDrive: there are none."""
        raise CannotDrive(f"the driver user has no taps: {tap.name}")

    def hold(self, port: str) -> None:
        """See NetworkDriver.  The card lives in its QEMU, and nothing here could take it away."""

    async def unplug(self, port: str) -> None:
        """See NetworkDriver."""
        self._plugged.pop(port, None)

    async def aclose(self) -> None:
        """Nothing is running."""

    async def clean_up(self) -> None:
        """Nothing was made."""
        self._plugged.clear()


def openings(port: WantedPort) -> list[tuple[str, int]]:
    """(protocol, port) that a card's rules let anybody in to, in order.  Raises ValueError."""
    if not port.secured:
        return [("tcp", number) for number in USUAL_PORTS]
    found: dict[tuple[str, int], None] = {}
    for rule in port.rules:
        if rule.direction == "ingress" and rule.version == 4 and _anybody(rule):
            found.update(dict.fromkeys(_openings(rule)))
    return sorted(found)


def _openings(rule: WantedRule) -> Iterable[tuple[str, int]]:
    number = values.protocol(rule.protocol, 4) if rule.protocol else values.PROTOCOLS["tcp"]
    names = {values.PROTOCOLS["tcp"]: "tcp", values.PROTOCOLS["udp"]: "udp"}
    if number not in names:
        return []
    if rule.port_min is None:
        return [(names[number], usual) for usual in USUAL_PORTS] if number == values.PROTOCOLS["tcp"] else []
    last = rule.port_min if rule.port_max is None else rule.port_max
    if not 1 <= rule.port_min <= last <= 65_535:
        raise ValueError(f"ports from {rule.port_min} to {last} are none")
    if last - rule.port_min >= 1000:  # as good as all of them
        return [(names[number], usual) for usual in USUAL_PORTS if rule.port_min <= usual <= last]
    return [(names[number], opened) for opened in range(rule.port_min, min(last, rule.port_min + RULE_PORTS - 1) + 1)]


def _anybody(rule: WantedRule) -> bool:
    return not rule.nobody and (not rule.remotes or any(values.cidr(text).prefixlen == 0 for text in rule.remotes))


def _lets_out(rules: Iterable[WantedRule], *, secured: bool) -> bool:
    """QEMU can let out everything or nothing."""
    return not secured or any(r.direction == "egress" and r.version == 4 and not r.protocol and _anybody(r) for r in rules)


def _netdev(port: WantedPort, wanted: WantedHost, forwards: Iterable[Forward], *, outbound: bool = False) -> str:
    """What stands behind `-netdev`.  Raises ValueError."""
    words = ["user", "ipv6=off", f"restrict={'off' if outbound else 'on'}"]
    held = _held(port, wanted)
    target = ""
    if held is not None:
        guest, subnet = held
        words += _range(guest, subnet)
        target = str(guest)
    if name := values.host_name(port.name):
        words.append(f"hostname={name}")
    words += [f"hostfwd={f.protocol}:127.0.0.1:{f.host_port}-{target}:{f.guest_port}" for f in forwards]
    return ",".join(words)


def _held(port: WantedPort, wanted: WantedHost) -> tuple[ipaddress.IPv4Address, WantedSubnet] | None:
    """A card's address of version 4, and the subnet that it is of."""
    subnets = {subnet.id: subnet for network in wanted.networks if network.id == port.network for subnet in network.subnets}
    for subnet_id, text in port.addresses:
        address = values.address(text)
        if isinstance(address, ipaddress.IPv4Address) and subnet_id in subnets:
            return address, subnets[subnet_id]
    return None


def _range(guest: ipaddress.IPv4Address, subnet: WantedSubnet) -> list[str]:
    """QEMU's network as the subnet has it: its gateway, and the guest's address as the first that is given out."""
    network = values.cidr(subnet.cidr)
    if not isinstance(network, ipaddress.IPv4Network) or guest not in network or network.prefixlen > _LONGEST_PREFIX:
        raise ValueError(f"{guest} in {subnet.cidr} cannot be had from QEMU's own network")
    taken = {guest}
    gateway = values.address(subnet.gateway) if subnet.gateway else None
    if not isinstance(gateway, ipaddress.IPv4Address) or gateway not in network or gateway == guest:
        gateway = next(a for a in (network.network_address + 1, network.network_address + 2) if a not in taken)
    taken.add(gateway)
    last = network.broadcast_address
    server = next(a for a in (last - 1, last - 2, last - 3) if a not in taken)
    return [f"net={network}", f"host={gateway}", f"dns={server}", f"dhcpstart={guest}"]
