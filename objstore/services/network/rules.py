"""Rules of security groups, and security groups as the API shows them."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from objstore.services.calls.problems import CallRefused
from objstore.services.network import checks, groups
from objstore.services.network.kinds import REQUIRED, Attribute, Kind, description, project_attribute
from objstore.services.network.operations import Operations, View, plain_views, shared_filter, shared_ones
from objstore.services.network.problems import NetworkRefused, shown
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import Row, Tx, add, bump, change, remove, rows
from objstore.services.network.rights import seen_rules, seen_shared
from objstore.services.network.tables import GROUPS, RULES

PROTOCOLS = {
    "ah": 51, "dccp": 33, "egp": 8, "esp": 50, "gre": 47, "hopopt": 0, "icmp": 1, "igmp": 2, "ip": 0, "ipip": 4, "ipv6-encap": 41, "ipv6-frag": 44,
    "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ipv6-route": 43, "ospf": 89, "pgm": 113, "rsvp": 46, "sctp": 132, "tcp": 6,
    "udp": 17, "udplite": 136, "vrrp": 112,
}  # fmt: skip
PORTED = frozenset((6, 17, 33, 132, 136))
ONLY_IPV6 = frozenset((41, 43, 44, 58, 59, 60))
ICMP, ICMP6 = 1, 58
INGRESS, EGRESS = "ingress", "egress"
_SAME = ("direction", "ethertype", "protocol", "port_range_min", "port_range_max", "remote_ip_prefix", "remote_group_id")


def _protocol(name: str, value: Any) -> str | None:
    """A protocol by name or number; `any` is none."""
    if value is None or value == "any":
        return None
    text = str(value).lower() if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if text in PROTOCOLS or (text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 255):
        return text
    raise NetworkRefused(
        400, "SecurityGroupRuleInvalidProtocol",
        f"Security group rule protocol {shown(value)} not supported. Only protocol values {[None, *sorted(PROTOCOLS)]} and integer "
        "representations [0 to 255] are supported.",
    )  # fmt: skip


def _ethertype(name: str, value: Any) -> str:
    found = {"ipv4": "IPv4", "ipv6": "IPv6"}.get(value.lower() if isinstance(value, str) else "")
    if found is None:
        raise NetworkRefused(
            400, "SecurityGroupRuleInvalidEtherType",
            f"Security group rule for ethertype '{shown(value)}' not supported. Allowed values are ['IPv4', 'IPv6'].",
        )  # fmt: skip
    return found


def _port(name: str, value: Any) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(checks.number(-1, 65_535)(name, value))
    except CallRefused:
        raise NetworkRefused(400, "SecurityGroupInvalidPortValue", f"Invalid value for port {shown(value)}") from None


def _prefix(name: str, value: Any) -> str | None:
    """A range; one address is a range too."""
    if value is None or value == "":
        return None
    if isinstance(value, str) and "/" not in value:
        return str(ip_network(checks.address(name, value)))
    return checks.cidr(name, value)


KIND = Kind(
    "security_group_rule", "security_group_rules", "security-group-rules", RULES, "SecurityGroupRule", "Security group rule",
    (
        project_attribute(), description(),
        Attribute("security_group_id", checks.uuid, REQUIRED, put=False),
        Attribute("direction", checks.one_of(INGRESS, EGRESS), REQUIRED, put=False),
        Attribute("ethertype", _ethertype, "IPv4", put=False),
        Attribute("protocol", _protocol, None, put=False),
        Attribute("port_range_min", _port, None, put=False),
        Attribute("port_range_max", _port, None, put=False),
        Attribute("remote_ip_prefix", _prefix, None, put=False),
        Attribute("remote_group_id", checks.or_none(checks.text), None, put=False),
    ),
    read_only=("id", "created_at", "updated_at", "revision_number", "belongs_to_default_sg", "normalized_cidr"), tagged=False,
    quota="security_group_rule",
)  # fmt: skip


def create(tx: Tx, values: Row) -> Row:
    """A rule.  Raises 400, 403, 404, 409."""
    group = groups.check_changeable(tx, values["security_group_id"])
    values = {**values, "project": group["project"] if tx.who.admin else values["project"]}
    if values["remote_group_id"] is not None:
        if values["remote_ip_prefix"] is not None:
            raise NetworkRefused(
                400, "SecurityGroupMultipleRemoteEntites", "Only one of remote_ip_prefix or remote_group_id may be provided."
            )
        groups.check_visible(tx, values["remote_group_id"])
    _check_protocol(values)
    _check_ports(values)
    check_quota(tx, KIND, values["project"])
    for other in rows(tx, RULES, RULES.c.security_group_id == group["id"]):
        if all(_same(name, other[name], values[name]) for name in _SAME):
            raise NetworkRefused(409, "SecurityGroupRuleExists", f"Security group rule already exists. Rule id is {other['id']}.")
    row = add(tx, RULES, values)
    bump(tx, GROUPS, group["id"])
    return row


def _same(name: str, one: Any, other: Any) -> bool:
    if name == "protocol":
        return number_of(one) == number_of(other)
    if name == "remote_ip_prefix":
        everything = (None, "0.0.0.0/0", "::/0")
        return bool(one == other or (one in everything and other in everything))
    return bool(one == other)


def number_of(protocol: str | None) -> int | None:
    """A protocol's number."""
    return None if protocol is None else PROTOCOLS[protocol] if protocol in PROTOCOLS else int(protocol)


def _check_protocol(values: Row) -> None:
    number, ethertype = number_of(values["protocol"]), values["ethertype"]
    if number in ONLY_IPV6 and ethertype == "IPv4":
        raise NetworkRefused(
            400, "SecurityGroupEthertypeConflictWithProtocol", f"Invalid ethertype {ethertype} for protocol {values['protocol']}."
        )
    prefix = values["remote_ip_prefix"]
    if prefix is not None and ip_network(prefix).version != (4 if ethertype == "IPv4" else 6):
        raise NetworkRefused(400, "SecurityGroupRuleParameterConflict", f"Conflicting value ethertype {ethertype} for CIDR {prefix}")
    if values["protocol"] in ("icmp", "1") and ethertype == "IPv6":
        values["protocol"] = "ipv6-icmp"


def _check_ports(values: Row) -> None:
    low, high, number = values["port_range_min"], values["port_range_max"], number_of(values["protocol"])
    if low is None and high is None:
        return
    if number is None:
        raise NetworkRefused(400, "SecurityGroupProtocolRequiredWithPorts", "Must also specify protocol if port range is given.")
    if number in (ICMP, ICMP6):
        for which, attribute, value in (("type", "port_range_min", low), ("code", "port_range_max", high)):
            if value is not None and not 0 <= value <= 255:
                raise NetworkRefused(
                    400, "SecurityGroupInvalidIcmpValue", f"Invalid value for ICMP {which} ({attribute}) {value}. It must be 0 to 255."
                )
        if low is None:
            raise NetworkRefused(
                400,
                "SecurityGroupMissingIcmpType",
                f"ICMP code (port-range-max) {high} is provided but ICMP type (port-range-min) is missing.",
            )
        return
    if number not in PORTED:
        raise NetworkRefused(
            400, "SecurityGroupInvalidProtocolForPort",
            f"Ports cannot be specified for protocol {values['protocol']}. Ports are only supported for tcp, udp, dccp, sctp, udplite.",
        )  # fmt: skip
    for value in (low, high):
        if value is not None and value < 1:
            raise NetworkRefused(400, "SecurityGroupInvalidPortValue", f"Invalid value for port {value}")
    if low is None or high is None or low > high:
        raise NetworkRefused(400, "SecurityGroupInvalidPortRange", "For TCP/UDP protocols, port_range_min must be <= port_range_max")


def update(tx: Tx, row: Row, values: Row) -> None:
    """Rules do not change, but for what they are called."""
    change(tx, RULES, row, values, quiet=True)


def delete_rule(tx: Tx, row: Row) -> None:
    """Remove a rule.  Raises 403."""
    groups.check_changeable(tx, row["security_group_id"])
    remove(tx, RULES, row["id"])
    bump(tx, GROUPS, row["security_group_id"])


def views(tx: Tx, found: Sequence[Row]) -> list[View]:
    """Rules as they are shown."""
    shown_rules = plain_views(tx, KIND, found)
    for row, view in zip(found, shown_rules, strict=True):
        view |= {"normalized_cidr": row["remote_ip_prefix"], "remote_address_group_id": None}
    return shown_rules


def group_views(tx: Tx, found: Sequence[Row]) -> list[View]:
    """Security groups with their rules."""
    ids = [row["id"] for row in found]
    shared = shared_ones(tx, ids)
    by_group: dict[str, list[View]] = {id_: [] for id_ in ids}
    for start in range(0, len(ids), 500):
        some = rows(tx, RULES, RULES.c.security_group_id.in_(ids[start : start + 500]))
        for row, view in zip(some, views(tx, some), strict=True):
            by_group[row["security_group_id"]].append(view)
    shown_groups = plain_views(tx, groups.KIND, found)
    for row, view in zip(found, shown_groups, strict=True):
        view |= {"security_group_rules": by_group[row["id"]], "shared": row["id"] in shared}
    return shown_groups


OPERATIONS = Operations(KIND, create, update, delete_rule, views, seen_rules, needs_default_group=True)
GROUP_OPERATIONS = Operations(
    groups.KIND, groups.create, groups.update, groups.delete_group, group_views, seen_shared(GROUPS),
    {"shared": shared_filter(GROUPS.c.id)}, needs_default_group=True,
)  # fmt: skip
