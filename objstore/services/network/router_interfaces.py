"""Connecting routers to subnets, and routes that are added and taken away by themselves."""

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from objstore.services.network import checks
from objstore.services.network.addresses import Asked, Fixed, chosen, fixed_of, set_fixed
from objstore.services.network.checks import uuid
from objstore.services.network.groups import set_port_groups
from objstore.services.network.placing import place
from objstore.services.network.ports import ROUTER_INTERFACE, drop, new_port
from objstore.services.network.problems import NetworkRefused, bad, denied, shown
from objstore.services.network.quotas import left
from objstore.services.network.records import Row, Tx, bump, by_id, change, get, one, rows
from objstore.services.network.rights import SHARED, is_open, is_own
from objstore.services.network.routers import check_apart, check_routes, interfaces
from objstore.services.network.subnets import routes_check
from objstore.services.network.tables import FLOATINGS, NETWORKS, PORTS, ROUTERS, SUBNETS

View = dict[str, Any]


def add_interface(tx: Tx, router: Row, given: Any) -> View:
    """Connect a router to a subnet, or plug a port in.  Raises 400, 404, 409."""
    subnet_id, port_id = _asked(given)
    if subnet_id and port_id:
        raise _bad("Cannot specify both subnet-id and port-id")
    port, subnets = _plug(tx, router, port_id) if port_id else _connect(tx, router, subnet_id)
    place(tx, router)
    bump(tx, ROUTERS, router["id"])
    return _answer(router, port, subnets)


def _asked(given: Any) -> tuple[str, str]:
    if not isinstance(given, dict) or not (given.keys() & {"subnet_id", "port_id"}):
        raise _bad("Either subnet_id or port_id must be specified")
    unknown = given.keys() - {"subnet_id", "port_id"}
    if unknown:
        raise bad(f"Unrecognized attribute(s) '{shown(', '.join(map(str, unknown)))}'")
    found = {name: uuid(name, given[name]) for name in ("subnet_id", "port_id") if given.get(name) is not None}
    return found.get("subnet_id", ""), found.get("port_id", "")


def _bad(message: str) -> NetworkRefused:
    return NetworkRefused(400, "BadRequest", f"Bad router request: {message}.")


def _answer(router: Row, port: Row, subnets: Sequence[str]) -> View:
    return {
        "id": router["id"], "tenant_id": router["project"], "project_id": router["project"], "network_id": port["network_id"], "port_id": port["id"],
        "subnet_id": subnets[0] if subnets else None, "subnet_ids": list(subnets), "tags": [],
    }  # fmt: skip


def _plug(tx: Tx, router: Row, port_id: str) -> tuple[Row, list[str]]:
    port = get(tx, PORTS, port_id)
    if port is None or not is_own(tx.who, port):
        raise NetworkRefused(404, "PortNotFound", f"Port {port_id} could not be found.")
    if port["device_id"] or port["server"] or port["host"]:  # also where its owner took the name of the device off
        raise NetworkRefused(
            409, "PortInUse",
            f"Unable to complete operation on port {port_id} for network {port['network_id']}. Port already has an attached device {port['device_id'] or port['server']}.",
        )  # fmt: skip
    fixed = fixed_of(tx, [port_id])[port_id]
    if not fixed:
        raise _bad("Port has no fixed IPs")
    subnets = by_id(tx, SUBNETS, [each.subnet for each in fixed])
    if sum(1 for each in fixed if subnets[each.subnet]["ip_version"] == 4) > 1:
        raise _bad("Cannot have multiple IPv4 subnets on router port")
    # A router that is on such a subnet advertises itself to all guests there as their way out.
    if any(subnet["ipv6_ra_mode"] for subnet in subnets.values()) and not is_own(tx.who, one(tx, NETWORKS, port["network_id"])):
        raise denied(
            f"(rule:add_router_interface) is disallowed by policy: guests on the network {port['network_id']} would take the router for their "
            "way out, and it is another project's"
        )
    ids = list(dict.fromkeys(each.subnet for each in fixed))
    check_apart(tx, router, ids)
    set_port_groups(tx, port_id, [])  # nothing filters at a router's port
    values = {"device_id": router["id"], "device_owner": ROUTER_INTERFACE, "status": "ACTIVE"}
    change(tx, PORTS, port, {**values, "port_security_enabled": False, "allowed_address_pairs": []})
    return port, ids


def _connect(tx: Tx, router: Row, subnet_id: str) -> tuple[Row, list[str]]:
    subnet = get(tx, SUBNETS, subnet_id)
    network = None if subnet is None else one(tx, NETWORKS, subnet["network_id"])
    if subnet is None or network is None or not (is_own(tx.who, network) or is_open(tx, network["id"], SHARED)):
        raise NetworkRefused(404, "SubnetNotFound", f"Subnet {subnet_id} could not be found.")
    if subnet["gateway_ip"] is None:
        raise _bad("Subnet for router interface must have a gateway IP")
    if not is_own(tx.who, network):
        raise _bad(f"Cannot add interface to router because subnet {subnet_id} is not owned by project making the request")
    check_apart(tx, router, [subnet_id])
    if subnet["ip_version"] == 6:
        joined = _join_ipv6(tx, router, subnet)
        if joined is not None:
            return joined, [subnet_id]
    if left(tx, "port", router["project"]) < 1:
        raise NetworkRefused(409, "OverQuota", "Quota exceeded for resources: ['port'].")
    port = new_port(
        tx, network, router["project"], asked=[Asked(subnet_id, subnet["gateway_ip"])], device_owner=ROUTER_INTERFACE, device_id=router["id"],
        status="ACTIVE", port_security_enabled=False,
    )  # fmt: skip
    return port, [subnet_id]


def _join_ipv6(tx: Tx, router: Row, subnet: Row) -> Row | None:
    """A router has one port for all IPv6 subnets of a network."""
    for port in interfaces(tx, router["id"]):
        if port["network_id"] == subnet["network_id"]:
            before = fixed_of(tx, [port["id"]])[port["id"]]
            known = by_id(tx, SUBNETS, [each.subnet for each in before])
            if all(known[each.subnet]["ip_version"] == 6 for each in before):
                asked = [Asked(subnet["id"], subnet["gateway_ip"])]
                more = chosen(tx, port["network_id"], asked, mac=port["mac_address"], owner=ROUTER_INTERFACE)
                set_fixed(tx, port["network_id"], port["id"], [*before, *more])
                bump(tx, PORTS, port["id"])
                return port
    return None


def remove_interface(tx: Tx, router: Row, given: Any) -> View:
    """Take a router from a subnet, or unplug a port.  Raises 400, 404, 409."""
    subnet_id, port_id = _asked(given)
    port, fixed = _interface(tx, router, subnet_id, port_id)
    leaving = [each for each in fixed if not subnet_id or port_id or each.subnet == subnet_id]
    _check_unused(tx, router, leaving)
    staying = [each for each in fixed if each not in leaving]
    if staying:
        set_fixed(tx, port["network_id"], port["id"], staying)
        bump(tx, PORTS, port["id"])
    else:
        drop(tx, port)
    bump(tx, ROUTERS, router["id"])
    return _answer(router, port, [each.subnet for each in leaving])


def _interface(tx: Tx, router: Row, subnet_id: str, port_id: str) -> tuple[Row, list[Fixed]]:
    ports = {port["id"]: port for port in interfaces(tx, router["id"])}
    fixed = fixed_of(tx, list(ports))
    if port_id:
        if port_id not in ports:
            raise NetworkRefused(404, "RouterInterfaceNotFound", f"Router {router['id']} does not have an interface with id {port_id}")
        if subnet_id and subnet_id not in [each.subnet for each in fixed[port_id]]:
            raise NetworkRefused(409, "SubnetMismatchForPort", f"Subnet on port {port_id} does not match the requested subnet {subnet_id}.")
        return ports[port_id], fixed[port_id]
    for id_, found in fixed.items():
        if any(each.subnet == subnet_id for each in found):
            return ports[id_], found
    if get(tx, SUBNETS, subnet_id) is None:
        raise NetworkRefused(404, "SubnetNotFound", f"Subnet {subnet_id} could not be found.")
    raise NetworkRefused(404, "RouterInterfaceNotFoundForSubnet", f"Router {router['id']} has no interface on subnet {subnet_id}")


def _check_unused(tx: Tx, router: Row, leaving: Sequence[Fixed]) -> None:
    subnets = by_id(tx, SUBNETS, [each.subnet for each in leaving])
    floating = rows(tx, FLOATINGS, FLOATINGS.c.router_id == router["id"])
    inside = fixed_of(tx, [each["port_id"] for each in floating if each["port_id"]])
    for subnet in subnets.values():
        for each in floating:
            if any(fixed.subnet == subnet["id"] and fixed.address == each["fixed_ip_address"] for fixed in inside.get(each["port_id"], ())):
                raise NetworkRefused(
                    409, "RouterInterfaceInUseByFloatingIP",
                    f"Router interface for subnet {subnet['id']} on router {router['id']} cannot be deleted, as it is required by one or more floating IPs.",
                )  # fmt: skip
        cidr = ip_network(subnet["cidr"])
        if any(ip_address(route["nexthop"]) in cidr for route in router["routes"]):
            raise NetworkRefused(
                409, "RouterInterfaceInUseByRoute",
                f"Router interface for subnet {subnet['id']} on router {router['id']} cannot be deleted, as it is required by one or more routes.",
            )  # fmt: skip


def _routes(tx: Tx, given: Any) -> list[dict[str, str]]:
    inner = given.get("router") if isinstance(given, dict) else None
    if not isinstance(inner, dict) or "routes" not in inner:
        raise bad('Unable to find \'routes\' in request body: it is {"router": {"routes": [...]}}')
    return list(routes_check(tx.settings.max_routes)("routes", inner["routes"]))


def add_routes(tx: Tx, router: Row, given: Any) -> None:
    """Give a router more routes.  Raises 400."""
    routes = [*router["routes"], *(route for route in _routes(tx, given) if route not in router["routes"])]
    checks.listed(lambda _, value: value, tx.settings.max_routes)("routes", routes)
    check_routes(tx, router, routes)
    change(tx, ROUTERS, router, {"routes": routes})


def remove_routes(tx: Tx, router: Row, given: Any) -> None:
    """Take routes from a router; those that it has not are no matter."""
    gone = _routes(tx, given)
    change(tx, ROUTERS, router, {"routes": [route for route in router["routes"] if route not in gone]})
