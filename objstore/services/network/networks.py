"""Networks: segments that only the ports on them hear, and the outside world."""

from collections.abc import Sequence

from sqlalchemy import delete

from objstore.services.network import checks
from objstore.services.network.kinds import UNSET, Attribute, Kind, description, name, project_attribute
from objstore.services.network.operations import Operations, View, constant_filter, plain_views, shared_filter, shared_ones
from objstore.services.network.ports import ROUTER_GATEWAY, drop, drop_floating
from objstore.services.network.problems import NetworkRefused, invalid
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import MAX_NUMBER, Row, Tx, add, after, by_id, change, free_number, new_number, remove, rows
from objstore.services.network.rights import EVERYBODY, EXTERNAL, SHARED, seen_networks
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import ADDRESSES, FLOATINGS, NETWORKS, POOLS, PORTS, RBAC, ROUTERS, SUBNETS

VXLAN, FLAT = "vxlan", "flat"
TUNNEL_BYTES = 50  # of each packet between hosts
MIN_MTU, MAX_MTU = 68, 65_535
DHCP = "network:dhcp"
KIND = Kind(
    "network", "networks", "networks", NETWORKS, "Network", "Network",
    (
        project_attribute(), name(), description(),
        Attribute("admin_state_up", checks.boolean, default=True),
        Attribute("shared", checks.boolean, default=False, admin=True),
        Attribute("router:external", checks.boolean, default=False, column="external", admin=True),
        Attribute("is_default", checks.boolean, default=False, admin=True),
        Attribute("mtu", checks.number(0, MAX_MTU), 0),
        Attribute("port_security_enabled", checks.boolean, default=True),
        Attribute("dns_domain", checks.dns_name, ""),
        Attribute("provider:network_type", checks.or_none(checks.one_of(VXLAN, FLAT)), column="network_type", put=False, admin=True, hidden=True),
        Attribute("provider:physical_network", checks.or_none(checks.text), column="physical_network", put=False, admin=True, hidden=True),
        Attribute("provider:segmentation_id", checks.or_none(checks.number(1, MAX_NUMBER)), column="segmentation_id", put=False, admin=True, hidden=True),
        Attribute("availability_zone_hints", checks.listed(checks.text, 10), (), column="hints", put=False),
    ),
    read_only=(
        "id", "status", "subnets", "availability_zones", "ipv4_address_scope", "ipv6_address_scope", "created_at", "updated_at", "revision_number",
    ),
    quota="network",
)  # fmt: skip


def create(tx: Tx, values: Row) -> Row:
    """A network.  Raises 400, 409."""
    check_quota(tx, KIND, values["project"])
    values = dict(values)
    shared, segment = values.pop("shared"), values.pop("segmentation_id")
    values["hints"] = checked_zones(tx.settings, values["hints"])
    for optional in ("network_type", "physical_network"):
        values[optional] = None if values[optional] is UNSET else values[optional]
    segment = None if segment is UNSET else segment
    _check_segment(tx, values, segment)
    values["network_type"] = values["network_type"] or VXLAN
    room = tx.settings.mtu - (TUNNEL_BYTES if values["network_type"] == VXLAN else 0)
    values["mtu"] = _checked_mtu(values["mtu"], room)
    id_ = tx.uuid()
    number = new_number(tx, id_, segment)
    if number is None:
        raise NetworkRefused(409, "TunnelIdInUse", f"Unable to create the network. The tunnel ID {segment} is in use.")
    row = add(tx, NETWORKS, {**values, "id": id_, "number": number})
    if shared:
        policy(tx, row, SHARED)
    if row["external"]:
        policy(tx, row, EXTERNAL)
    _settle_default(tx, row)
    return row


def policy(tx: Tx, row: Row, action: str) -> None:
    """Open a thing to everybody, unless it is."""
    if not rows(tx, RBAC, RBAC.c.object_id == row["id"], RBAC.c.action == action, RBAC.c.target == EVERYBODY):
        add(tx, RBAC, {"project": row["project"], "object_type": "network", "object_id": row["id"], "action": action, "target": EVERYBODY})


def _close(tx: Tx, row: Row, action: str) -> None:
    tx.connection.execute(delete(RBAC).where(RBAC.c.object_id == row["id"], RBAC.c.action == action, RBAC.c.target == EVERYBODY))


def checked_zones(settings: NetworkSettings, hints: Sequence[str]) -> list[str]:
    """Availability zones that are there.  Raises 404."""
    for hint in hints:
        if hint != settings.availability_zone:
            raise NetworkRefused(404, "AvailabilityZoneNotFound", f"AvailabilityZone {hint} could not be found.")
    return list(hints)


def _check_segment(tx: Tx, values: Row, segment: int | None) -> None:
    kind = values["network_type"]
    if kind is None and (values["physical_network"] is not None or segment is not None):
        raise invalid("network_type required when physical_network or segmentation_id are given")
    if kind == FLAT:
        if segment is not None or not values["physical_network"]:
            raise invalid("A flat network has a physical_network and no segmentation_id")
        if rows(tx, NETWORKS, NETWORKS.c.physical_network == values["physical_network"]):
            raise NetworkRefused(
                409, "FlatNetworkInUse", f"Unable to create the flat network. Physical network {values['physical_network']} is in use."
            )
    elif values["physical_network"] is not None:
        raise invalid("provider:physical_network specified for vxlan network")


def _checked_mtu(asked: int, room: int) -> int:
    if asked > room:
        raise invalid(f"Requested MTU is too big, maximum is {room}")
    if 0 < asked < MIN_MTU:
        raise invalid(f"Requested MTU is too small, minimum is {MIN_MTU}")
    return asked or room


def _settle_default(tx: Tx, row: Row) -> None:
    """There is one default external network at most."""
    if row["is_default"]:
        others = rows(tx, NETWORKS, NETWORKS.c.is_default.is_(True), NETWORKS.c.external.is_(True), NETWORKS.c.id != row["id"])
        if row["external"] and others:
            raise NetworkRefused(409, "DefaultExternalNetworkExists", f"A default external network already exists: {others[0]['id']}.")


def update(tx: Tx, row: Row, values: Row) -> None:
    """Change a network.  Raises 400, 409."""
    values = dict(values)
    shared = values.pop("shared", None)
    if "mtu" in values:
        values["mtu"] = _checked_mtu(values["mtu"], tx.settings.mtu - (TUNNEL_BYTES if row["network_type"] == VXLAN else 0))
    if shared is True:
        policy(tx, row, SHARED)
    elif shared is False:
        check_unshared(tx, row)
        _close(tx, row, SHARED)
    external = after(row, values, "external")
    if external != row["external"]:
        if external:
            policy(tx, row, EXTERNAL)
        else:
            if rows(tx, PORTS, PORTS.c.network_id == row["id"], PORTS.c.device_owner == ROUTER_GATEWAY):
                raise NetworkRefused(
                    409, "ExternalNetworkInUse",
                    f"External network {row['id']} cannot be updated to be made non-external, since it has existing gateway ports",
                )  # fmt: skip
            _close(tx, row, EXTERNAL)
    change(tx, NETWORKS, row, values)
    _settle_default(tx, row)


def check_unshared(tx: Tx, row: Row, targets: Sequence[str] = ()) -> None:
    """Raises 409 where others use a network that shall be shared no longer (`targets`: only by these projects)."""
    kept = [
        policy["target"] for policy in rows(tx, RBAC, RBAC.c.object_id == row["id"], RBAC.c.action == SHARED, RBAC.c.target != EVERYBODY)
    ]
    others = rows(
        tx, PORTS, PORTS.c.network_id == row["id"], PORTS.c.project.not_in([row["project"], "", *(kept if not targets else ())]),
        PORTS.c.device_owner.not_in((ROUTER_GATEWAY, "network:floatingip")), *((PORTS.c.project.in_(targets),) if targets else ()),
    )  # fmt: skip
    if others:
        raise NetworkRefused(
            409, "InvalidSharedSetting",
            f"Unable to reconfigure sharing settings for network {row['name'] or row['id']}. Multiple projects are using it.",
        )  # fmt: skip


def delete_network(tx: Tx, row: Row) -> None:
    """Remove a network with its subnets.  Raises 409 where ports are on it."""
    for floating in rows(tx, FLOATINGS, FLOATINGS.c.floating_network_id == row["id"], FLOATINGS.c.port_id.is_(None)):
        drop_floating(tx, floating)  # addresses that stand for nothing go with their network, as they do in Neutron
    ports = rows(tx, PORTS, PORTS.c.network_id == row["id"])
    using = [port["id"] for port in ports if port["device_owner"] != DHCP]
    if using:
        raise NetworkRefused(
            409, "NetworkInUse",
            f"Unable to complete operation on network {row['id']}. There are one or more ports still in use on the network, "
            f"id for these ports is: {','.join(using[:10])}.",
        )  # fmt: skip
    for port in ports:
        drop(tx, port)
    for subnet in rows(tx, SUBNETS, SUBNETS.c.network_id == row["id"]):
        remove(tx, SUBNETS, subnet["id"])
    tx.connection.execute(delete(ADDRESSES).where(ADDRESSES.c.network == row["id"]))
    tx.connection.execute(delete(RBAC).where(RBAC.c.object_id == row["id"]))
    assert not rows(tx, ROUTERS, ROUTERS.c.gateway_network == row["id"])
    assert not rows(tx, FLOATINGS, FLOATINGS.c.floating_network_id == row["id"])
    free_number(tx, row["number"])
    remove(tx, NETWORKS, row["id"])


def views(tx: Tx, found: Sequence[Row]) -> list[View]:
    """Networks as they are shown."""
    ids = [row["id"] for row in found]
    shared = shared_ones(tx, ids)
    subnets: dict[str, list[Row]] = {id_: [] for id_ in ids}
    for start in range(0, len(ids), 500):
        for subnet in rows(tx, SUBNETS, SUBNETS.c.network_id.in_(ids[start : start + 500])):
            subnets[subnet["network_id"]].append(subnet)
    pools = by_id(tx, POOLS, [subnet["subnetpool_id"] for each in subnets.values() for subnet in each if subnet["subnetpool_id"]])
    shown = plain_views(tx, KIND, found)
    for row, view in zip(found, shown, strict=True):
        mine = subnets[row["id"]]
        outside = row["external"] and not tx.who.admin and row["project"] != tx.who.project and row["id"] not in shared
        scopes: dict[int, str | None] = {4: None, 6: None}
        for subnet in mine:
            if subnet["subnetpool_id"] in pools:
                scopes[subnet["ip_version"]] = pools[subnet["subnetpool_id"]]["address_scope_id"]
        view |= {
            "status": "ACTIVE", "shared": row["id"] in shared, "subnets": [] if outside else [subnet["id"] for subnet in mine],
            "availability_zones": [tx.settings.availability_zone], "ipv4_address_scope": scopes[4], "ipv6_address_scope": scopes[6],
        }  # fmt: skip
        if tx.who.admin:
            view["provider:segmentation_id"] = row["number"] if row["network_type"] == VXLAN else None
    return shown


OPERATIONS = Operations(
    KIND, create, update, delete_network, views, seen_networks,
    {"shared": shared_filter(NETWORKS.c.id), "status": constant_filter("ACTIVE")},
)  # fmt: skip
