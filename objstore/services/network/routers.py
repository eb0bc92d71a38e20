"""Routers: between subnets, and to the outside world."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any, NamedTuple

from objstore.services.network import checks
from objstore.services.network.addresses import Asked, Fixed, check_fixed_ips, chosen, fixed_of, set_fixed
from objstore.services.network.checks import boolean, fields, uuid, wrong
from objstore.services.network.kinds import UNSET, Attribute, Kind, description, name, project_attribute
from objstore.services.network.networks import checked_zones
from objstore.services.network.operations import Operations, View, constant_filter, plain_views
from objstore.services.network.placing import place
from objstore.services.network.ports import ROUTER_GATEWAY, ROUTER_INTERFACE, drop, network_for, new_port
from objstore.services.network.problems import NetworkRefused, denied
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import Row, Tx, add, by_id, change, free_number, new_number, one, remove, rows
from objstore.services.network.rights import seen_own
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.subnets import routes_check
from objstore.services.network.tables import FLOATINGS, PORTS, ROUTERS, SUBNETS


class Gateway(NamedTuple):
    """An external gateway as it was asked for."""

    network: str
    snat: bool | None
    fixed: list[Asked] | None


def _gateway(name: str, value: Any) -> Gateway | None:
    if value is None or value == {}:
        return None
    given = fields(value, name, ("network_id", "enable_snat", "external_fixed_ips", "qos_policy_id"))
    if given.get("qos_policy_id") is not None:
        raise wrong(name, "there are no QoS policies")
    if given.get("network_id") is None:
        raise wrong(name, "'network_id' is needed")
    return Gateway(
        uuid("network_id", given["network_id"]),
        boolean("enable_snat", given["enable_snat"]) if given.get("enable_snat") is not None else None,
        check_fixed_ips(5)("external_fixed_ips", given["external_fixed_ips"]) if given.get("external_fixed_ips") is not None else None,
    )


def kind(settings: NetworkSettings) -> Kind:
    """The resource."""
    return Kind(
        "router", "routers", "routers", ROUTERS, "Router", "Router",
        (
            project_attribute(), name(), description(),
            Attribute("admin_state_up", checks.boolean, default=True),
            Attribute("external_gateway_info", _gateway, None),
            Attribute("enable_snat", checks.boolean, post=False, put=False),
            Attribute("routes", routes_check(settings.max_routes), post=False),
            Attribute("availability_zone_hints", checks.listed(checks.text, 10), (), column="hints", put=False),
        ),
        read_only=("id", "status", "availability_zones", "created_at", "updated_at", "revision_number"),
        quota="router",
    )  # fmt: skip


def create(tx: Tx, values: Row) -> Row:
    """A router.  Raises 400, 403, 404, 409."""
    check_quota(tx, kind(tx.settings), values["project"])
    id_ = tx.uuid()
    number = new_number(tx, id_)
    if number is None:
        raise NetworkRefused(503, "NoNetworkAvailable", "No number is left for a router.")
    plain = {column: values[column] for column in ("project", "name", "description", "admin_state_up")}
    zones = checked_zones(tx.settings, values["hints"])
    row = add(
        tx, ROUTERS,
        {**plain, "id": id_, "number": number, "gateway_port": None, "gateway_network": None, "enable_snat": True, "routes": [], "hints": zones, "host": ""},
    )  # fmt: skip
    if values["external_gateway_info"] is not None:
        _set_gateway(tx, row, values["external_gateway_info"])
    place(tx, row)
    return row


def update(tx: Tx, row: Row, values: Row) -> None:
    """Change a router.  Raises 400, 403, 404, 409."""
    values = dict(values)
    if "external_gateway_info" in values:
        _set_gateway(tx, row, values.pop("external_gateway_info"))
    if "routes" in values:
        check_routes(tx, row, values["routes"])
    change(tx, ROUTERS, row, values)


def check_routes(tx: Tx, row: Row, routes: Sequence[dict[str, str]]) -> None:
    """Raises 400 for a next hop that is not on a subnet of the router, or is the router itself."""
    fixed = [each for found in _all_fixed(tx, row).values() for each in found]
    subnets = by_id(tx, SUBNETS, [each.subnet for each in fixed])
    cidrs = [ip_network(subnet["cidr"]) for subnet in subnets.values()]
    for route in routes:
        hop = ip_address(route["nexthop"])
        if not any(hop in cidr for cidr in cidrs):
            raise _bad_route(f"the nexthop is not connected with router: {hop}")
        if route["nexthop"] in {each.address for each in fixed}:
            raise _bad_route(f"the nexthop is used by router: {hop}")


def _bad_route(reason: str) -> NetworkRefused:
    return NetworkRefused(400, "InvalidRoutes", f"Invalid format for routes: {reason}")


def interfaces(tx: Tx, router: str) -> list[Row]:
    """The ports of a router on its subnets."""
    return rows(tx, PORTS, PORTS.c.device_id == router, PORTS.c.device_owner == ROUTER_INTERFACE)


def _all_fixed(tx: Tx, row: Row) -> dict[str, list[Fixed]]:
    ids = [port["id"] for port in interfaces(tx, row["id"])]
    return fixed_of(tx, ids + ([row["gateway_port"]] if row["gateway_port"] else []))


def _set_gateway(tx: Tx, row: Row, asked: Gateway | None) -> None:
    if asked is None:
        _drop_gateway(tx, row, "")
        change(tx, ROUTERS, row, {"enable_snat": True})
        return
    if (asked.snat is not None or asked.fixed is not None) and not tx.who.admin:
        what = "enable_snat" if asked.snat is not None else "external_fixed_ips"
        raise denied(f"(rule:update_router:external_gateway_info:{what}) is disallowed by policy")
    network = network_for(tx, asked.network)
    if not network["external"]:
        raise NetworkRefused(400, "BadRequest", f"Bad router request: Network {asked.network} is not an external network.")
    if row["gateway_network"] != asked.network:
        _drop_gateway(tx, row, asked.network)
    inner = fixed_of(tx, [port["id"] for port in interfaces(tx, row["id"])])
    if row["gateway_port"] is None:
        port = new_port(
            tx, network, "", asked=UNSET if asked.fixed is None else asked.fixed, device_owner=ROUTER_GATEWAY, device_id=row["id"], status="ACTIVE",
            port_security_enabled=False,
        )  # fmt: skip
        fixed = fixed_of(tx, [port["id"]])[port["id"]]
        if not fixed:
            raise NetworkRefused(400, "BadRequest", f"Bad router request: No IPs available for external network {asked.network}.")
        _check_apart(tx, [each.subnet for each in fixed], [each.subnet for found in inner.values() for each in found])
        change(tx, ROUTERS, row, {"gateway_port": port["id"], "gateway_network": asked.network})
    elif asked.fixed is not None:
        port = one(tx, PORTS, row["gateway_port"])
        before = fixed_of(tx, [port["id"]])[port["id"]]
        set_fixed(
            tx,
            network["id"],
            port["id"],
            chosen(tx, network["id"], asked.fixed, mac=port["mac_address"], owner=ROUTER_GATEWAY, keep=before),
        )
    change(tx, ROUTERS, row, {"enable_snat": True if asked.snat is None else asked.snat})


def _drop_gateway(tx: Tx, row: Row, other: str) -> None:
    if row["gateway_port"] is None:
        return
    if rows(tx, FLOATINGS, FLOATINGS.c.router_id == row["id"]):
        raise NetworkRefused(
            409, "RouterExternalGatewayInUseByFloatingIp",
            f"Gateway cannot be updated for router {row['id']}, since a gateway to external network {row['gateway_network']} is required by one or "
            "more floating IPs.",
        )  # fmt: skip
    drop(tx, one(tx, PORTS, row["gateway_port"]))
    change(tx, ROUTERS, row, {"gateway_port": None, "gateway_network": None})


def _check_apart(tx: Tx, new: Sequence[str], have: Sequence[str]) -> None:
    """Raises 400 where subnets of one router overlap."""
    subnets = by_id(tx, SUBNETS, [*new, *have])
    for one_ in new:
        for other in have:
            if one_ == other:
                raise NetworkRefused(400, "BadRequest", f"Bad router request: Router already has a port on subnet {one_}.")
            first, second = ip_network(subnets[one_]["cidr"]), ip_network(subnets[other]["cidr"])
            if first.version == second.version and first.overlaps(second):
                raise NetworkRefused(
                    400, "BadRequest",
                    f"Bad router request: Cidr {first} of subnet {one_} overlaps with cidr {second} of subnet {other}.",
                )  # fmt: skip


def check_apart(tx: Tx, router: Row, subnets: Sequence[str]) -> None:
    """The same for subnets that a router is to be connected to."""
    _check_apart(tx, subnets, [each.subnet for found in _all_fixed(tx, router).values() for each in found])


def delete_router(tx: Tx, row: Row) -> None:
    """Remove a router without interfaces.  Raises 409."""
    if interfaces(tx, row["id"]):
        raise NetworkRefused(409, "RouterInUse", f"Router {row['id']} still has ports")
    _drop_gateway(tx, row, "")
    free_number(tx, row["number"])
    remove(tx, ROUTERS, row["id"])


def views_of(own_kind: Kind) -> Any:
    """How routers are shown."""

    def views(tx: Tx, found: Sequence[Row]) -> list[View]:
        fixed = fixed_of(tx, [row["gateway_port"] for row in found if row["gateway_port"]])
        shown = plain_views(tx, own_kind, found)
        for row, view in zip(found, shown, strict=True):
            view.pop("enable_snat")
            outer = None
            if row["gateway_port"]:
                addresses = [{"subnet_id": each.subnet, "ip_address": each.address} for each in fixed[row["gateway_port"]]]
                outer = {"network_id": row["gateway_network"], "external_fixed_ips": addresses, "enable_snat": row["enable_snat"]}
            view |= {
                "status": "ACTIVE", "external_gateway_info": outer,
                "availability_zones": [tx.settings.availability_zone] if row["host"] else [],
            }  # fmt: skip
        return shown

    return views


def operations(settings: NetworkSettings) -> Operations:
    """The resource and its calls."""
    own_kind = kind(settings)
    return Operations(own_kind, create, update, delete_router, views_of(own_kind), seen_own(ROUTERS), {"status": constant_filter("ACTIVE")})
