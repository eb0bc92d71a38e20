"""Texts from records, checked before they come into a command or a rule.

Whatever leaves this module holds nothing but the characters of an address, a number or a name, in one normal form: what renders rules and
configuration takes values from here alone.  All raise ValueError with a text that names the value.
"""

import ipaddress
import re
from collections.abc import Iterable

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

MAX_NUMBER = 2**24 - 1  # of networks and routers: the width of a VXLAN id
TUNNEL_PORT = 4789  # IANA's for VXLAN
MIN_MTU, MAX_MTU = 576, 65_535
_MAC = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}")
_TAG = re.compile(r"[a-z0-9]{1,6}")
_HOST_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
_PORT_ID = re.compile(r"[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}")
_OPTION_VALUE = re.compile(r"[A-Za-z0-9 ._:/@,+=~%\[\]-]{1,255}")
_SHOWN_CHARS = 80

# Protocols that security groups know by name (RFC 5237's registry); numbers are taken as they are.
PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "icmp": 1, "icmpv6": 58, "igmp": 2, "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44,
    "ipv6-icmp": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6, "udp": 17,
    "udplite": 136, "vrrp": 112,
}  # fmt: skip
WITH_PORTS = frozenset({6, 17, 33, 132, 136})

# DHCP options by the names that dnsmasq and OpenStack's documentation give them (RFC 2132 and later).
DHCP_OPTIONS = {
    "bootfile-name": 67, "broadcast": 28, "classless-static-route": 121, "client-arch": 93, "dns-server": 6, "domain-name": 15,
    "domain-search": 119, "log-server": 7, "lpr-server": 9, "mtu": 26, "netbios-nodetype": 46, "netbios-ns": 44, "nis-domain": 40,
    "nis-server": 41, "nntp-server": 71, "ntp-server": 42, "pop3-server": 70, "posix-timezone": 100, "root-path": 17, "router": 3,
    "sip-server": 120, "smtp-server": 69, "tftp-server": 66, "tftp-server-address": 150, "time-offset": 2, "time-server": 4, "tzdb-timezone": 101,
    "vendor-encap": 43,
}  # fmt: skip


def _refused(what: str, value: object) -> ValueError:
    return ValueError(f"{str(value)[:_SHOWN_CHARS]!r} is not {what}")


def mac(text: str) -> str:
    """A hardware address of one device, lower case with colons."""
    low = text.lower()
    if not _MAC.fullmatch(low) or int(low[:2], 16) & 1 or low == "00:00:00:00:00:00":
        raise _refused("a hardware address of one device", text)
    return low


def address(text: str) -> Address:
    """An address of version 4 or 6; no zone."""
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        raise _refused("an address", text) from None
    if found.version == 6 and found.scope_id is not None:
        raise _refused("an address without a zone", text)
    return found


def cidr(text: str) -> Network:
    """A range; bits beyond its prefix are cut off."""
    try:
        found = ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise _refused("a range of addresses", text) from None
    if found.version == 6 and found.network_address.scope_id is not None:
        raise _refused("a range without a zone", text)
    return found


def collapsed(ranges: Iterable[Network], version: int) -> list[Network]:
    """The fewest ranges of one version that hold the same addresses, in order: overlapping ones are an error in rules."""
    if version == 4:
        return list(ipaddress.collapse_addresses(r for r in ranges if isinstance(r, ipaddress.IPv4Network)))
    return list(ipaddress.collapse_addresses(r for r in ranges if isinstance(r, ipaddress.IPv6Network)))


def link_local(hardware: str) -> ipaddress.IPv6Address:
    """The link-local address that a device makes of its hardware address (RFC 4291, appendix A)."""
    octets = bytes.fromhex(mac(hardware).replace(":", ""))
    return ipaddress.IPv6Address(b"\xfe\x80" + bytes(6) + bytes([octets[0] ^ 2]) + octets[1:3] + b"\xff\xfe" + octets[3:])


def number(value: int) -> int:
    """The number of a network or router."""
    if not 1 <= value <= MAX_NUMBER:
        raise _refused(f"a number from 1 to {MAX_NUMBER}", value)
    return value


def mtu(value: int) -> int:
    """The longest packet of a network."""
    if not MIN_MTU <= value <= MAX_MTU:
        raise _refused(f"an MTU from {MIN_MTU} to {MAX_MTU}", value)
    return value


def tag(text: str) -> str:
    """What tells one cluster's host from others on the same machine: up to six of a-z and 0-9."""
    if not _TAG.fullmatch(text):
        raise _refused("a tag of one to six of a-z and 0-9", text)
    return text


def host_name(text: str) -> str:
    """A label of DNS; "" for what is none, since a port's name can be anything."""
    return text if _HOST_NAME.fullmatch(text) else ""


def port_id(text: str) -> str:
    """A port's UUID as 32 hexadecimal digits."""
    if not _PORT_ID.fullmatch(text):
        raise _refused("a UUID", text)
    return text.replace("-", "")


def protocol(text: str, version: int) -> int:
    """A protocol's number."""
    low = text.lower()
    if version == 6 and low in ("icmp", "1"):
        return PROTOCOLS["icmpv6"]
    if low in PROTOCOLS:
        return PROTOCOLS[low]
    if low.isascii() and low.isdigit() and len(low) <= 3 and int(low) <= 255:
        return int(low)
    raise _refused("a protocol's name or number", text)


def dhcp_option(name: str, value: str) -> tuple[int, str]:
    """A DHCP option's number, and its value with nothing in it that would end a line or start a comment."""
    low = name.lower().removeprefix("option:")
    code = DHCP_OPTIONS.get(low, int(low) if low.isascii() and low.isdigit() and len(low) <= 3 else 0)
    if not 1 <= code <= 254:
        raise _refused("a known DHCP option or its number", name)
    if not _OPTION_VALUE.fullmatch(value):
        raise _refused("a value for a DHCP option", value)
    return code, value.strip()


def tunnel_end(text: str) -> tuple[Address, int]:
    """ "ADDRESS", "ADDRESS:PORT" or "[ADDRESS]:PORT": where a host takes packets of tunnels."""
    host, port = text, str(TUNNEL_PORT)
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        port = port.removeprefix(":") if port else str(TUNNEL_PORT)
        if not bracket:
            raise _refused("an end of tunnels", text)
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65_535):
        raise _refused("an end of tunnels", text)
    return address(host), int(port)
