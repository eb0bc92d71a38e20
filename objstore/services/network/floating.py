"""Floating addresses: outside addresses that stand for inside ones."""

from collections.abc import Sequence
from ipaddress import ip_address
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, false, or_

from objstore.services.network import checks
from objstore.services.network.addresses import Asked, Fixed, fixed_of
from objstore.services.network.kinds import REQUIRED, UNSET, Attribute, Kind, description, project_attribute
from objstore.services.network.operations import Operations, View, plain_views
from objstore.services.network.ports import FLOATING, drop_floating, let_go, network_for, new_port
from objstore.services.network.problems import NetworkRefused, denied
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import Row, Tx, Who, add, by_id, change, get, rows
from objstore.services.network.rights import is_own, seen_own
from objstore.services.network.routers import interfaces
from objstore.services.network.tables import FLOATINGS, PORTS, ROUTERS

KIND = Kind(
    "floatingip", "floatingips", "floatingips", FLOATINGS, "FloatingIP", "Floating IP",
    (
        project_attribute(), description(),
        Attribute("floating_network_id", checks.uuid, REQUIRED, put=False),
        Attribute("floating_ip_address", checks.or_none(checks.address), None, put=False),
        Attribute("subnet_id", checks.or_none(checks.uuid), None, put=False),
        Attribute("port_id", checks.or_none(checks.uuid), None),
        Attribute("fixed_ip_address", checks.or_none(checks.address), None),
        Attribute("dns_name", checks.dns_name, "", put=False),
        Attribute("dns_domain", checks.dns_name, "", put=False),
    ),
    read_only=("id", "router_id", "status", "port_details", "created_at", "updated_at", "revision_number"),
    quota="floatingip",
)  # fmt: skip


class Standing(NamedTuple):
    """What a floating address stands for."""

    port_id: str | None = None
    fixed_ip_address: str | None = None
    router_id: str | None = None


def create(tx: Tx, values: Row) -> Row:
    """A floating address.  Raises 400, 403, 404, 409."""
    network = network_for(tx, values["floating_network_id"])
    if not network["external"]:
        raise NetworkRefused(400, "BadRequest", f"Bad floatingip request: Network {network['id']} is not a valid external network.")
    if values["floating_ip_address"] is not None and not tx.who.admin:
        raise denied("(rule:create_floatingip:floating_ip_address) is disallowed by policy")
    check_quota(tx, KIND, values["project"])
    id_ = tx.uuid()
    address, subnet = values["floating_ip_address"], values["subnet_id"]
    asked: Any = [Asked(subnet or "", address or "")] if address or subnet else UNSET
    port = new_port(tx, network, "", asked=asked, device_owner=FLOATING, device_id=id_, status="N/A", port_security_enabled=False)
    outside = next((each.address for each in fixed_of(tx, [port["id"]])[port["id"]] if ip_address(each.address).version == 4), None)
    if outside is None:
        raise NetworkRefused(
            400, "ExternalIpAddressExhausted", f"Unable to find any IP address on external network {network['id']}: it has none of IPv4."
        )
    standing = _standing(tx, values, network["id"], outside, "", project=values["project"])
    plain = {name: values[name] for name in ("project", "description", "dns_name", "dns_domain")}
    return add(
        tx, FLOATINGS,
        {**plain, "id": id_, "floating_network_id": network["id"], "floating_ip_address": outside, "floating_port_id": port["id"], **standing._asdict()},
    )  # fmt: skip


def _standing(tx: Tx, values: Row, network: str, outside: str, own_id: str, *, project: str) -> Standing:
    """What the values ask for.  Raises 400, 404, 409."""
    if values["port_id"] is None:
        if values["fixed_ip_address"] is not None:
            raise NetworkRefused(400, "BadRequest", "Bad floatingip request: fixed_ip_address cannot be specified without a port_id.")
        return Standing()
    port = get(tx, PORTS, values["port_id"])
    if port is None or not is_own(tx.who, port):
        raise NetworkRefused(404, "PortNotFound", f"Port {values['port_id']} could not be found.")
    if port["project"] != project and not tx.who.admin:
        raise NetworkRefused(
            400, "BadRequest", f"Bad floatingip request: Port {port['id']} is associated with a different project than the floating IP."
        )
    inner = _inside(tx, port, values["fixed_ip_address"])
    router = _router_between(tx, network, inner)
    if router is None:
        raise NetworkRefused(
            404, "ExternalGatewayForFloatingIPNotFound",
            f"External network {network} is not reachable from subnet {inner.subnet}.  Therefore, cannot associate Port {port['id']} with a Floating IP.",
        )  # fmt: skip
    same = rows(
        tx, FLOATINGS, FLOATINGS.c.port_id == port["id"], FLOATINGS.c.fixed_ip_address == inner.address, FLOATINGS.c.floating_network_id == network,
        FLOATINGS.c.id != own_id,
    )  # fmt: skip
    if same:
        raise NetworkRefused(
            409, "FloatingIPPortAlreadyAssociated",
            f"Cannot associate floating IP {outside} ({own_id}) with port {port['id']} using fixed IP {inner.address}, as that fixed IP already has a "
            f"floating IP on external network {network}.",
        )  # fmt: skip
    return Standing(port["id"], inner.address, router)


def _inside(tx: Tx, port: Row, wanted: str | None) -> Fixed:
    fixed = [each for each in fixed_of(tx, [port["id"]])[port["id"]] if ip_address(each.address).version == 4]
    if wanted is not None:
        found = next((each for each in fixed if each.address == wanted), None)
        if found is None:
            raise NetworkRefused(400, "BadRequest", f"Bad floatingip request: Port {port['id']} does not have fixed ip {wanted}.")
        return found
    if not fixed:
        raise NetworkRefused(
            400, "BadRequest", f"Bad floatingip request: Cannot add floating IP to port {port['id']} that has no fixed IPv4 addresses."
        )
    if len(fixed) > 1:
        raise NetworkRefused(
            400, "BadRequest",
            f"Bad floatingip request: Port {port['id']} has multiple fixed IPv4 addresses.  Must provide a specific IPv4 address when assigning a floating IP.",
        )  # fmt: skip
    return fixed[0]


def _router_between(tx: Tx, network: str, inner: Fixed) -> str | None:
    """The router that has a gateway on the network and an interface on the subnet."""
    for router in rows(tx, ROUTERS, ROUTERS.c.gateway_network == network):
        found = fixed_of(tx, [port["id"] for port in interfaces(tx, router["id"])])
        if any(each.subnet == inner.subnet for fixed in found.values() for each in fixed):
            return str(router["id"])
    return None


def update(tx: Tx, row: Row, values: Row) -> None:
    """Let a floating address stand for something else, or for nothing.  Raises 400, 404, 409."""
    values = dict(values)
    if "port_id" in values or "fixed_ip_address" in values:
        asked = {
            "port_id": values.pop("port_id") if "port_id" in values else row["port_id"],
            "fixed_ip_address": values.pop("fixed_ip_address", None),
        }
        standing = _standing(tx, asked, row["floating_network_id"], row["floating_ip_address"], row["id"], project=row["project"])
        if standing.port_id is None:
            let_go(tx, row)
        values |= standing._asdict()
    change(tx, FLOATINGS, row, values)


def views(tx: Tx, found: Sequence[Row]) -> list[View]:
    """Floating addresses as they are shown."""
    ports = by_id(tx, PORTS, [row["port_id"] for row in found if row["port_id"]])
    shown = plain_views(tx, KIND, found)
    for row, view in zip(found, shown, strict=True):
        port = ports.get(row["port_id"] or "")
        view |= {"router_id": row["router_id"], "status": "ACTIVE" if row["port_id"] else "DOWN", "port_details": None}
        if port is not None:
            view["port_details"] = {
                name: port[name] for name in ("name", "network_id", "mac_address", "admin_state_up", "status", "device_id", "device_owner")
            }
    return shown


def _status(_: Who, values: Sequence[str]) -> ColumnElement[bool]:
    wanted = [FLOATINGS.c.port_id.is_not(None)] if "ACTIVE" in values else []
    wanted += [FLOATINGS.c.port_id.is_(None)] if "DOWN" in values else []
    return or_(false(), *wanted)


OPERATIONS = Operations(KIND, create, update, drop_floating, views, seen_own(FLOATINGS), {"status": _status})
