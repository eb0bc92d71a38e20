"""Ports as the API shows them, and what lists of them are filtered by."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, exists, literal

from objstore.services.network.addresses import fixed_of
from objstore.services.network.groups import port_groups
from objstore.services.network.kinds import Kind
from objstore.services.network.operations import Filter, Operations, View, plain_views
from objstore.services.network.port_views import vif_types
from objstore.services.network.ports import create, delete_port, kind, update
from objstore.services.network.problems import bad, shown
from objstore.services.network.records import Row, Tx, Who
from objstore.services.network.rights import seen_ports
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import ADDRESSES, PORT_GROUPS, PORTS
from objstore.services.network.wanting import host_name


def views_of(own_kind: Kind) -> Any:
    """How ports are shown."""

    def views(tx: Tx, found: Sequence[Row]) -> list[View]:
        ids = [row["id"] for row in found]
        fixed, groups, types = fixed_of(tx, ids), port_groups(tx, ids), vif_types(tx, found)
        shown_ports = plain_views(tx, own_kind, found)
        for row, view in zip(found, shown_ports, strict=True):
            mine = fixed[row["id"]]
            name = host_name(row, mine)
            domain = (row["dns_domain"] or tx.settings.dns_domain).rstrip(".")
            view |= {
                "status": row["status"], "fixed_ips": [{"subnet_id": each.subnet, "ip_address": each.address} for each in mine],
                "security_groups": groups[row["id"]],
                "allowed_address_pairs": [{"mac_address": row["mac_address"], **pair} for pair in row["allowed_address_pairs"]],
                "dns_assignment": [{"hostname": name, "ip_address": each.address, "fqdn": f"{name}.{domain}."} for each in mine],
            }  # fmt: skip
            if tx.who.admin:
                details = {} if not row["host"] else {"port_filter": True, "connectivity": "l2"}
                view |= {"binding:vif_type": types[row["host"]], "binding:vif_details": details}
        return shown_ports

    return views


def _fixed_ips(_: Who, values: Sequence[str]) -> ColumnElement[bool]:
    """fixed_ips=ip_address=A&fixed_ips=subnet_id=S: a port that has the addresses, on the subnets."""
    conditions: list[ColumnElement[bool]] = []
    wanted: dict[str, list[str]] = {}
    for value in values:
        name, equals, text = value.partition("=")
        if not equals or name not in ("ip_address", "subnet_id", "ip_address_substr"):
            raise bad(f"Invalid filter fixed_ips={shown(value)}: it is ip_address=A, ip_address_substr=A or subnet_id=S")
        wanted.setdefault(name, []).append(text)
    mine = ADDRESSES.c.port == PORTS.c.id
    if "ip_address" in wanted:
        conditions.append(exists().where(and_(mine, ADDRESSES.c.address.in_(wanted["ip_address"]))))
    if "subnet_id" in wanted:
        conditions.append(exists().where(and_(mine, ADDRESSES.c.subnet.in_(wanted["subnet_id"]))))
    parts = wanted.get("ip_address_substr", ())
    conditions += [exists().where(and_(mine, ADDRESSES.c.address.contains(part, autoescape=True))) for part in parts]
    return and_(*conditions)


def _groups(_: Who, values: Sequence[str]) -> ColumnElement[bool]:
    wanted = [group for value in values for group in value.split(",")]
    return exists().where(and_(PORT_GROUPS.c.port == PORTS.c.id, PORT_GROUPS.c.security_group.in_(wanted)))


def _vif_type(_: Who, values: Sequence[str]) -> ColumnElement[bool]:
    unbound = literal("unbound" in values)
    return and_(unbound, PORTS.c.host == "") if values == ["unbound"] else and_(~unbound, PORTS.c.host != "")


FILTERS: dict[str, Filter] = {"fixed_ips": _fixed_ips, "security_groups": _groups, "binding:vif_type": _vif_type}


def operations(settings: NetworkSettings) -> Operations:
    """The resource and its calls."""
    own_kind = kind(settings)
    return Operations(
        own_kind, lambda tx, values: create(tx, values, own_kind), update, delete_port, views_of(own_kind), seen_ports, FILTERS
    )
