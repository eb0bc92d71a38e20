"""The rules inside a network's namespace: who may send as whom (anti-spoofing), and what security groups let through.

Two tables, since this must also work where the kernel tracks no connections in the bridge family.  `bridge guard` sees frames with the devices they
come from and go to: it drops what is forged, and marks each packet with the number of the rules it has to obey on its way out of a guest (upper half) and into
one (lower half).  `inet groups` sees the same packets through br_netfilter with their connections, and judges by these numbers.  Ports whose security groups
come to the same share their rules.

Packets of a connection's first direction are judged by the rules each time, answers pass: so a rule that is taken away also ends what it had let through.
What is not known is dropped: a device that no rule names reaches nothing.
"""

import functools
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from objstore.services.network.driver import names, values
from objstore.services.network.driver.values import Network
from objstore.services.network.wanted import WantedPort, WantedRule

METADATA_IP4, METADATA_IP6 = "169.254.169.254", "fe80::a9fe:a9fe"
METADATA_PORT = 80
MAX_SECURED = (
    0xFFFD  # ports of one network on one host, each of which could have rules of its own: half of a mark, less what else stands in there
)
OPEN = 0xFFFF0000  # the mark of what comes from a guest without port security
PASSED, BY_DEVICE = (
    0xFFFE,
    0xFFFF,
)  # lower halves of what a gateway sends on: it belongs to a connection that was let through; its device decides
_REMEMBERED = 4096
_FROM, _TO = "0xffff0000", "0x0000ffff"
_NEIGHBOURS = "130, 131, 132, 133, 134, 135, 136, 143"  # ICMPv6 without which there is no IPv6: listeners, routers, neighbours


@dataclass(frozen=True)
class Guarded:
    """A guest's device on this host and what it may do; values are checked."""

    tap: str
    mac: str
    secured: bool
    own: tuple[values.Address, ...]
    sources: tuple[tuple[str, Network], ...]  # (hardware address, range) that it may send from
    ingress: tuple[str, ...]  # conditions, each of which lets a packet through
    egress: tuple[str, ...]


@dataclass(frozen=True)
class Uplink:
    """How an external network leads to its host."""

    outbound: bool  # guests may begin connections to where the host leads


@functools.lru_cache(_REMEMBERED)  # ports and rules are looked at again with each change of any of them
def guarded(port: WantedPort) -> Guarded:
    """A port's values, checked and in normal form.  Raises ValueError."""
    mac = values.mac(port.mac)
    own = tuple(values.address(text) for _, text in port.addresses)
    sources = [(mac, values.cidr(str(address))) for address in own]
    sources += [(values.mac(pair_mac) if pair_mac else mac, values.cidr(text)) for pair_mac, text in port.pairs]
    return Guarded(
        tap=names.tap(port.id),
        mac=mac,
        secured=port.secured,
        own=own,
        sources=tuple(sources),
        ingress=_conditions(port.rules, "ingress"),
        egress=_conditions(port.rules, "egress"),
    )


def _conditions(rules: Iterable[WantedRule], direction: str) -> tuple[str, ...]:
    made = (_condition(rule) for rule in rules if rule.direction == direction and not rule.nobody)
    return tuple(sorted({condition for condition in made if condition}))


@functools.lru_cache(_REMEMBERED)
def _condition(rule: WantedRule) -> str:
    """What a packet has to be like; "" where none can be."""
    if rule.version not in (4, 6):
        raise ValueError(f"a security group's rule of version {rule.version!r}")
    words = [f"meta nfproto ipv{rule.version}"]
    if rule.remotes:
        ranges = values.collapsed((values.cidr(text) for text in rule.remotes), rule.version)
        if not ranges:
            return ""
        if ranges[0].prefixlen:
            family = "ip" if rule.version == 4 else "ip6"
            words.append(f"{family} {'saddr' if rule.direction == 'ingress' else 'daddr'} {_any(ranges)}")
    if rule.protocol:
        words.append(_protocol(rule, values.protocol(rule.protocol, rule.version)))
    return " ".join(words)


def _protocol(rule: WantedRule, number: int) -> str:
    low, high = rule.port_min, rule.port_max
    words = f"meta l4proto {number}"
    if low is None:
        return words
    if (number, rule.version) in ((1, 4), (58, 6)):
        icmp = "icmp" if number == 1 else "icmpv6"
        _within(low, 255)
        if high is None:
            return f"{words} {icmp} type {low}"
        return f"{words} {icmp} type {low} {icmp} code {_within(high, 255)}"
    if number not in values.WITH_PORTS:
        return words
    high = low if high is None else high
    if _within(low, 65_535) > _within(high, 65_535):
        raise ValueError(f"ports from {low} to {high} are none")
    return f"{words} th dport {low}-{high}" if low != high else f"{words} th dport {low}"


def _within(value: int, limit: int) -> int:
    if not 0 <= value <= limit:
        raise ValueError(f"{value} is not a number from 0 to {limit}")
    return value


def _listed(ranges: Iterable[object]) -> str:
    return ", ".join(str(r) for r in ranges)


def rules(ports: Sequence[Guarded], routers: Sequence[str], *, mac: str, tunnel: bool, uplink: Uplink | None = None) -> str:
    """All rules of a network's namespace, for `nft -f`: applied as one, connections that are open stay.

    `routers` are the devices that lead to routers, `mac` is the bridge's own hardware address.
    """
    cards = sorted(ports, key=lambda port: port.tap)
    assert len(cards) <= MAX_SECURED
    groups = _Groups(cards)
    outside = [*sorted(routers), *([names.TUNNEL] if tunnel else [])]
    return _text([*_bridge_table(cards, groups, outside, mac=mac, routes=uplink is not None), *_inet_table(cards, groups, uplink)])


class _Groups:
    """Sets of conditions, and their numbers."""

    def __init__(self, cards: Iterable[Guarded]) -> None:
        secured = [card for card in cards if card.secured]
        self.out = {conditions: n for n, conditions in enumerate(sorted({card.egress for card in secured}), 1)}
        self.into = {conditions: n for n, conditions in enumerate(sorted({card.ingress for card in secured}), 1)}


def stamp(text: str) -> str:
    """The name of a chain that tells rules from all others."""
    return "is_" + hashlib.sha256(text.encode()).hexdigest()[:24]


def stamped(text: str, family: str, table: str) -> str:
    """The rules with that chain, which is empty, in one of their tables: so it can be seen whether they are in force."""
    return f"{text}table {family} {table} {{\n chain {stamp(text)} {{\n }}\n}}\n"


def _text(lines: Iterable[str]) -> str:
    return "\n".join(lines) + "\n"


def replacing(family: str, table: str) -> list[str]:
    """Begin a table anew, whether or not there is one."""
    return [f"table {family} {table} {{", "}", f"delete table {family} {table}", f"table {family} {table} {{"]


def _bridge_table(cards: list[Guarded], groups: _Groups, outside: list[str], *, mac: str, routes: bool) -> list[str]:
    sources = [f'"{card.tap}" : jump from_{n}' for n, card in enumerate(cards)] + [f'"{name}" : jump from_outside' for name in outside]
    targets = [f'"{card.tap}" : jump to_{groups.into[card.ingress]}' for card in cards if card.secured]
    lines = replacing("bridge", "guard")
    lines += [
        " chain from_outside {",  # the metadata service of another host's guests is on that host
        f"  ip daddr {METADATA_IP4} drop",
        f"  ip6 daddr {METADATA_IP6} drop",
        "  meta mark set 0",
        " }",
        " chain honest {",
        "  ether type != { ip, arp, ip6 } drop",
        "  meta l4proto udp udp sport { 67, 547 } drop",
        "  icmpv6 type { 134, 137 } drop",  # router advertisements, redirects
        "  icmp type 5 drop",  # redirect
        " }",
        " chain beginning {",  # what is sent before there is an address
        "  icmpv6 type { 131, 132, 133, 135, 143 } accept",
        "  drop",
        " }",
    ]
    for number in groups.into.values():
        lines += [
            f" chain to_{number} {{",
            "  ether type != { ip, arp, ip6 } drop",
            f"  meta mark set meta mark and {_FROM} or {number:#x}",
            " }",
        ]
    for n, card in enumerate(cards):
        may = _secured(groups.out[card.egress], card) if card.secured else _unsecured(card)
        lines += [f" chain from_{n} {{", *(f"  {line}" for line in may), " }"]
    known = ", ".join(f'"{name}"' for name in [*(card.tap for card in cards), *outside])
    lines += [" chain prerouting {", "  type filter hook prerouting priority -250; policy accept;"]
    if known:
        lines += [f"  iifname != {{ {known} }} drop", f"  iifname vmap {{ {', '.join(sources)} }}"]
    else:
        lines.append("  drop")
    # Whatever router a guest believes in, its packets for the metadata service end here: no route in the guest is needed.
    lines += [f"  ip daddr {METADATA_IP4} meta pkttype set host ether daddr set {mac}", " }"]
    lines += [" chain forward {", "  type filter hook forward priority -250; policy accept;"]
    lines += [f"  oifname vmap {{ {', '.join(targets)} }}"] if targets else []
    lines += [" }"]
    lines += _output(cards, groups, routes=routes)
    lines += [
        " chain postrouting {",
        "  type filter hook postrouting priority 0; policy accept;",
        # The bridges of a network have the same address on all hosts, and each serves its own host's guests alone.
        f'  oifname "{names.TUNNEL}" ether saddr {mac} drop',
        f'  oifname "{names.TUNNEL}" meta l4proto udp udp dport {{ 67, 547 }} drop',
        " }",
        "}",
    ]
    return lines


def _output(cards: list[Guarded], groups: _Groups, *, routes: bool) -> list[str]:
    """What a guest, a router or another host sends to a secured guest by way of the bridge itself, and no rules were found for (see `_routed`).

    An address of its allowed pairs may be several guests', so only here, where the device is known, can it be told whose rules are to be obeyed.  They
    are judged by without connections, which the kernel may not know of here: what belongs to one that was let through says so by its mark.
    """
    secured = ", ".join(f'"{card.tap}"' for card in cards if card.secured)
    if not secured:
        return []
    chains, lines = [], [f"  meta mark and {_FROM} != 0 meta mark and {_TO} == 0 oifname {{ {secured} }} drop"]
    if routes:
        where = f"  meta mark and {_TO} == {BY_DEVICE:#x} oifname"
        if paired := [card for card in cards if card.secured and len(card.sources) > len(card.own)]:
            for conditions in sorted({card.ingress for card in paired}):
                chains += [f" chain pairs_{groups.into[conditions]} {{", *(f"  {_of_frame(c)} accept" for c in conditions), " }"]
            judged = ", ".join(f'"{card.tap}" : jump pairs_{groups.into[card.ingress]}' for card in paired)
            lines.append(f"{where} vmap {{ {judged} }}")
        lines.append(f"{where} {{ {secured} }} drop")
    return [*chains, " chain output {", "  type filter hook output priority -250; policy accept;", *lines, " }"]


def _of_frame(condition: str) -> str:
    """A condition as the bridge's tables have it."""
    return condition.replace("meta nfproto ipv4", "ether type ip", 1).replace("meta nfproto ipv6", "ether type ip6", 1)


def _secured(group: int, card: Guarded) -> list[str]:
    """What a secured guest may send: as itself and its allowed pairs, nothing that a DHCP server or router says."""
    by_mac: dict[str, list[Network]] = {card.mac: []}
    for mac, network in card.sources:
        by_mac.setdefault(mac, []).append(network)
    lines = [f"meta mark set {group << 16:#010x}", "jump honest"]
    six = {mac: values.collapsed([*ranges, values.cidr(str(values.link_local(mac)))], 6) for mac, ranges in by_mac.items()}
    for mac, ranges in sorted(six.items()):  # a neighbour's advertisement has to be about an address of its own
        lines += [f"ether saddr {mac} ip6 saddr {_any(ranges)} icmpv6 type 136 {_target(r)} return" for r in ranges]
    lines += ["icmpv6 type 136 drop", *_metadata(card)]
    for mac, ranges in sorted(by_mac.items()):
        own = f"ether saddr {mac}"
        lines += [
            f"{own} arp saddr ether {mac} arp saddr ip 0.0.0.0 return",  # who asks whether an address is taken
            f"{own} ip saddr 0.0.0.0 udp sport 68 udp dport 67 return",
            f"{own} ip6 saddr :: jump beginning",
            f"{own} ip6 saddr {_any(six[mac])} return",
        ]
        if four := values.collapsed(ranges, 4):
            lines += [f"{own} arp saddr ether {mac} arp saddr ip {_any(four)} return", f"{own} ip saddr {_any(four)} return"]
    return [*lines, "drop"]


def _any(ranges: list[Network]) -> str:
    """One range as it is: a set of one costs the kernel a set."""
    return str(ranges[0]) if len(ranges) == 1 else f"{{ {_listed(ranges)} }}"


def _target(network: Network) -> str:
    """A condition on the address that a neighbour's advertisement is about, 64 bits into it; whole bytes, which is what can be compared."""
    bits = network.prefixlen // 8 * 8
    if bits == 0:
        return ""
    return f"@th,64,{bits} {int(network.network_address) >> (128 - bits):#x}"


def _unsecured(port: Guarded) -> list[str]:
    """Anything, but for the metadata service."""
    return [f"meta mark set {OPEN:#010x}", *_metadata(port)]


def _metadata(port: Guarded) -> list[str]:
    """What may be sent to the metadata service, which knows guests by their addresses: another's may be an allowed pair, but is not the guest's own."""
    lines = []
    own = values.collapsed((values.cidr(str(address)) for address in port.own), 4)
    if own:
        lines.append(f"ip daddr {METADATA_IP4} ether saddr {port.mac} ip saddr {_any(own)} return")
    lines.append(f"ip daddr {METADATA_IP4} drop")
    lines.append(f"ip6 daddr {METADATA_IP6} ether saddr {port.mac} ip6 saddr {values.link_local(port.mac)} return")
    lines.append(f"ip6 daddr {METADATA_IP6} drop")
    return lines


def _routed(cards: list[Guarded], groups: _Groups) -> tuple[list[str], list[str]]:
    """Chains and rules for what a guest, a router or another host sends to a guest by way of a gateway of this namespace.

    Such a packet passes no bridge's forward hook, so its mark does not say whom it goes to: its address does, or, where that is no guest's own, the
    device that it leaves by.
    """
    through = f"meta mark set meta mark and {_FROM} or"
    chains = [
        " chain by_device {",
        f"  ct direction reply ct state established,related {through} {PASSED:#x} return",
        f"  ct state related {through} {PASSED:#x} return",
        f"  {through} {BY_DEVICE:#x}",
        " }",
    ]
    chosen = []
    for n in groups.into.values():
        chains += [f" chain into_{n} {{", f"  meta mark set meta mark and {_FROM} or {n:#x}", " }"]
    for family, version in (("ip", 4), ("ip6", 6)):
        if found := [f"{a} : jump into_{groups.into[c.ingress]}" for c in cards if c.secured for a in c.own if a.version == version]:
            where = f'iifname "{names.BRIDGE}" oifname "{names.BRIDGE}" meta mark and {_TO} == 0'
            chosen.append(f"  {where} {family} daddr vmap {{ {', '.join(found)} }}")
    return chains, [*chosen, f'  oifname "{names.BRIDGE}" meta mark and {_TO} == 0 jump by_device']


def _inet_table(cards: list[Guarded], groups: _Groups, uplink: Uplink | None) -> list[str]:
    lines = replacing("inet", "groups")
    lines += [
        " chain no_services {",  # again, since these see packets whose fragments were put together
        "  meta l4proto udp udp sport { 67, 547 } drop",
        "  icmpv6 type { 134, 137 } drop",
        f"  icmpv6 type {{ {_NEIGHBOURS} }} accept",
        " }",
    ]
    for conditions, n in groups.out.items():
        lines += [f" chain out_{n} {{", "  jump no_services", *(f"  {c} return" for c in conditions), "  drop", " }"]
    for conditions, n in groups.into.items():
        lines += [f" chain in_{n} {{", *(f"  {c} accept" for c in conditions), "  drop", " }"]
    chains, chosen = _routed(cards, groups) if uplink is not None else ([], [])
    lines += [*chains, " chain forward {", "  type filter hook forward priority 0; policy accept;"]
    if uplink is not None and not uplink.outbound:
        lines += [f'  oifname "{names.UPLINK}" ct direction reply accept', f'  oifname "{names.UPLINK}" drop']
    if uplink is not None and (direct := [(groups.into[c.ingress], a) for c in cards if c.secured for a in c.own if a.version == 4]):
        # What is routed from the host to a guest's device comes by no bridge's forward hook, so has no mark.
        lines.append(f'  iifname "{names.UPLINK}" ct direction reply accept')
        lines.append(f'  iifname "{names.UPLINK}" ip daddr vmap {{ {", ".join(f"{a} : jump in_{n}" for n, a in direct)} }}')
    lines += [
        *chosen,
        f"  meta mark {{ {', '.join(f'{end | way:#x}' for end in (0, OPEN) for way in (0, PASSED, BY_DEVICE))} }} accept",
        "  ct state invalid drop",
        "  ct direction reply ct state established,related accept",
        "  ct state related accept",
    ]
    if groups.out:
        lines.append(f"  meta mark and {_FROM} vmap {{ {', '.join(f'{n << 16:#010x} : jump out_{n}' for n in groups.out.values())} }}")
        lines.append(f"  icmpv6 type {{ {_NEIGHBOURS} }} accept")
        lines.append(f"  meta mark and {_TO} vmap {{ {', '.join(f'{n:#x} : jump in_{n}' for n in groups.into.values())} }}")
    lines += [
        " }",
        " chain input {",
        "  type filter hook input priority 0; policy drop;",
        '  iifname "lo" accept',
        "  ct state established,related accept",
        f'  iifname "{names.BRIDGE}" meta l4proto udp udp dport {{ 67, 547 }} accept',
        f"  meta mark and {_FROM} != 0 ip daddr {METADATA_IP4} tcp dport {METADATA_PORT} accept",
        f"  meta mark and {_FROM} != 0 ip6 daddr {METADATA_IP6} tcp dport {METADATA_PORT} accept",
        "  icmp type echo-request accept",
        f"  icmpv6 type {{ 128, {_NEIGHBOURS} }} accept",
        " }",
        "}",
    ]
    return lines
