"""Ports: where something is plugged into a network, with its addresses."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import delete

from objstore.services.network import checks, groups
from objstore.services.network.addresses import Fixed, automatic, check_fixed_ips, chosen, fixed_of, set_fixed
from objstore.services.network.kinds import REQUIRED, UNSET, Attribute, Kind, description, name, project_attribute
from objstore.services.network.port_checks import address_pairs, dhcp_options, merged_options
from objstore.services.network.problems import NetworkRefused, denied
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import Row, Tx, add, after, change, count, get, one, remove, rows
from objstore.services.network.rights import SHARED, check_own, is_open
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import ADDRESSES, FLOATINGS, NETWORKS, PORT_GROUPS, PORTS, ROUTERS

ACTIVE, DOWN, BUILD = "ACTIVE", "DOWN", "BUILD"
ROUTER_INTERFACE, ROUTER_GATEWAY, FLOATING = "network:router_interface", "network:router_gateway", "network:floatingip"
SERVICE_OWNERS = (ROUTER_INTERFACE, ROUTER_GATEWAY, FLOATING)
COMPUTE = "compute:"
MIGRATING_TO = "migrating_to"  # in a binding's profile: the host that the guest is about to move to
VNIC_TYPES = ("normal",)
MAC_ATTEMPTS = 16
_ROW = {
    "admin_state_up": True, "status": DOWN, "device_id": "", "device_owner": "", "host": "", "vnic_type": "normal", "profile": {},
    "port_security_enabled": True, "allowed_address_pairs": [], "extra_dhcp_opts": [], "dns_name": "", "dns_domain": "", "made": False, "server": "",
}  # fmt: skip


def kind(settings: NetworkSettings) -> Kind:
    """The resource."""
    return Kind(
        "port", "ports", "ports", PORTS, "Port", "Port",
        (
            project_attribute(), name(), description(),
            Attribute("network_id", checks.uuid, REQUIRED, put=False),
            Attribute("admin_state_up", checks.boolean, default=True),
            Attribute("mac_address", checks.mac),
            Attribute("fixed_ips", check_fixed_ips(settings.max_fixed_ips)),
            Attribute("device_id", checks.text_or_none, ""),
            Attribute("device_owner", checks.text_or_none, ""),
            Attribute("security_groups", checks.or_none(checks.listed(checks.uuid, settings.max_groups))),
            Attribute("port_security_enabled", checks.boolean),
            Attribute("allowed_address_pairs", address_pairs(settings.max_pairs), ()),
            Attribute("extra_dhcp_opts", dhcp_options(settings.max_options), ()),
            Attribute("binding:host_id", checks.text_or_none, "", column="host", admin=True, hidden=True),
            Attribute("binding:vnic_type", checks.one_of(*VNIC_TYPES), "normal", column="vnic_type"),
            Attribute("binding:profile", checks.small_object, {}, column="profile", admin=True, hidden=True),
            Attribute("dns_name", checks.dns_name, ""),
            Attribute("dns_domain", checks.dns_name, ""),
        ),
        read_only=(
            "id", "status", "binding:vif_type", "binding:vif_details", "dns_assignment", "created_at", "updated_at", "revision_number",
        ),
        quota="port",
    )  # fmt: skip


def create(tx: Tx, values: Row, quota: Kind | None = None) -> Row:
    """A port as a client asks for it.  Raises 400, 403, 404, 409."""
    network = network_for(tx, values["network_id"])
    _check_rights(tx, network, values)
    if quota is not None:
        check_quota(tx, quota, values["project"])
    secured = values["port_security_enabled"]
    secured = network["port_security_enabled"] if secured is UNSET else secured
    pairs, wanted = list(values["allowed_address_pairs"]), values["security_groups"]
    _check_security(tx, secured=secured, pairs=pairs, groups=wanted)
    row = new_port(
        tx, network, values["project"], mac=None if values["mac_address"] is UNSET else values["mac_address"], asked=values["fixed_ips"],
        **{name: values[name] for name in ("name", "description", "admin_state_up", "device_id", "device_owner", "host", "vnic_type", "profile",
                                           "dns_name", "dns_domain")},
        port_security_enabled=secured, allowed_address_pairs=pairs, extra_dhcp_opts=merged_options([], list(values["extra_dhcp_opts"])),
    )  # fmt: skip
    if secured and (wanted is UNSET or wanted) and not (wanted is UNSET and values["device_owner"].startswith("network:")):
        groups.set_port_groups(tx, row["id"], groups.groups_for(tx, row["project"], wanted))
    return row


def network_for(tx: Tx, id_: str) -> Row:
    """A network that the caller may see.  Raises 404."""
    row = get(tx, NETWORKS, id_)
    if row is None or not (tx.who.admin or row["project"] == tx.who.project or is_open(tx, id_, SHARED, "access_as_external")):
        raise NetworkRefused(404, "NetworkNotFound", f"Network {id_} could not be found.")
    return row


def _check_rights(tx: Tx, network: Row, values: Row) -> None:
    """What only the network's owner may choose."""
    if tx.who.admin or network["project"] == tx.who.project:
        if values["device_owner"].startswith("network:") and not tx.who.admin:
            raise denied("(rule:create_port:device_owner) is disallowed by policy: owners that begin with network: are the service's own")
        return
    if not is_open(tx, network["id"], SHARED):
        raise denied("(rule:create_port) is disallowed by policy: the network is not shared with this project")
    fixed = values["fixed_ips"]
    chosen_ones = {
        "mac_address": values["mac_address"] is not UNSET,
        "port_security_enabled": values["port_security_enabled"] is not UNSET,
        "allowed_address_pairs": bool(values["allowed_address_pairs"]),
        "device_owner": values["device_owner"].startswith("network:"),
        "fixed_ips:ip_address": fixed is not UNSET and any(asked.address for asked in fixed),
    }
    for what, given in chosen_ones.items():
        if given:
            raise denied(f"(rule:create_port:{what}) is disallowed by policy: only the network's owner chooses this")


def _check_security(tx: Tx, *, secured: bool, pairs: Sequence[Any], groups: Any) -> None:
    if not secured and pairs:
        raise NetworkRefused(
            409, "AddressPairAndPortSecurityRequired", "Port Security must be enabled in order to have allowed address pairs on a port."
        )
    if not secured and groups is not UNSET and groups:
        raise NetworkRefused(
            400, "PortSecurityAndIPRequiredForSecurityGroups",
            "Port security must be enabled and port must have an IP address in order to use security groups.",
        )  # fmt: skip


def new_port(
    tx: Tx, network: Row, project: str, *, mac: str | None = None, asked: Any = UNSET, fixed: Sequence[Fixed] | None = None, **values: Any
) -> Row:
    """A port of any kind; `fixed`: addresses that were chosen already.  Raises 400, 404, 409."""
    mac = _new_mac(tx, network["id"]) if mac is None else mac
    if count(tx, PORTS, PORTS.c.network_id == network["id"], PORTS.c.mac_address == mac):
        raise NetworkRefused(
            409, "MacAddressInUse", f"Unable to complete operation for network {network['id']}. The mac address {mac} is in use."
        )
    owner = values.get("device_owner", "")
    if fixed is None:
        fixed = automatic(tx, network["id"], mac, owner) if asked is UNSET else chosen(tx, network["id"], asked, mac=mac, owner=owner)
    row = add(tx, PORTS, {**_ROW, "network_id": network["id"], "project": project, "mac_address": mac, **values})
    set_fixed(tx, network["id"], row["id"], fixed)
    return row


def _new_mac(tx: Tx, network: str) -> str:
    for _ in range(MAC_ATTEMPTS):
        drawn = tx.rng.token(3)
        mac = ":".join([tx.settings.mac_prefix, *(f"{octet:02x}" for octet in drawn)])
        if not count(tx, PORTS, PORTS.c.network_id == network, PORTS.c.mac_address == mac):
            return mac
    raise NetworkRefused(503, "MacAddressGenerationFailure", f"Unable to generate unique mac on network {network}.")


def update(tx: Tx, row: Row, values: Row) -> None:
    """Change a port.  Raises 400, 403, 404, 409."""
    network = one(tx, NETWORKS, row["network_id"])
    _check_change(tx, network, row, values)
    values = {**values}
    asked, wanted = values.pop("fixed_ips", UNSET), values.pop("security_groups", UNSET)
    if "extra_dhcp_opts" in values:
        values["extra_dhcp_opts"] = merged_options(row["extra_dhcp_opts"], list(values["extra_dhcp_opts"]))
    secured = after(row, values, "port_security_enabled")
    before = groups.port_groups(tx, [row["id"]])[row["id"]]
    if not secured and (before if wanted is UNSET else wanted):
        raise NetworkRefused(
            409, "PortSecurityPortHasSecurityGroup",
            "Port has security group associated. Cannot disable port security or IP address until security group is removed.",
        )  # fmt: skip
    pairs = values["allowed_address_pairs"] = list(after(row, values, "allowed_address_pairs"))
    _check_security(tx, secured=secured, pairs=pairs, groups=UNSET)
    mac = after(row, values, "mac_address")
    if mac != row["mac_address"]:
        _check_new_mac(tx, row, mac)
    if after(row, values, "host") != row["host"]:
        values["status"] = BUILD if values["host"] and row["device_owner"].startswith(COMPUTE) else DOWN
    changed = False
    if asked is not UNSET:
        changed = _change_addresses(tx, row, asked, mac)
    if wanted is not UNSET and sorted(wanted or ()) != before:
        groups.set_port_groups(tx, row["id"], groups.groups_for(tx, row["project"], wanted or ()))
        changed = True
    if changed:
        change(tx, PORTS, row, {"revision": row["revision"] + 1, **values})
    else:
        change(tx, PORTS, row, values)


def _check_change(tx: Tx, network: Row, row: Row, values: Row) -> None:
    check_own(tx.who, row, "update")
    if tx.who.admin:
        return
    if values.get("device_owner", "").startswith("network:") and values["device_owner"] != row["device_owner"]:
        raise denied("(rule:update_port:device_owner) is disallowed by policy: owners that begin with network: are the service's own")
    if row["device_owner"] in SERVICE_OWNERS and {"device_owner", "device_id"} & values.keys():
        raise denied("(rule:update_port) is disallowed by policy: the port belongs to a router")
    if after(row, values, "mac_address") != row["mac_address"]:
        raise denied("(rule:update_port:mac_address) is disallowed by policy")
    if network["project"] == tx.who.project:
        return
    for what in ("port_security_enabled", "allowed_address_pairs"):
        if what in values and values[what] != row[what]:
            raise denied(f"(rule:update_port:{what}) is disallowed by policy: only the network's owner chooses this")
    if row["device_owner"] in SERVICE_OWNERS and "fixed_ips" in values:
        raise denied(
            "(rule:update_port:fixed_ips) is disallowed by policy: only the network's owner moves a router to another subnet of it"
        )
    if any(asked.address for asked in values.get("fixed_ips", ())):
        raise denied("(rule:update_port:fixed_ips:ip_address) is disallowed by policy: only the network's owner chooses this")


def _check_new_mac(tx: Tx, row: Row, mac: str) -> None:
    if row["host"]:
        raise NetworkRefused(
            409, "PortBound",
            f"Unable to complete operation on port {row['id']}, port is already bound, port type: tap, old_mac {row['mac_address']}, new_mac {mac}.",
        )  # fmt: skip
    if count(tx, PORTS, PORTS.c.network_id == row["network_id"], PORTS.c.mac_address == mac):
        raise NetworkRefused(
            409, "MacAddressInUse", f"Unable to complete operation for network {row['network_id']}. The mac address {mac} is in use."
        )


def _change_addresses(tx: Tx, row: Row, asked: Any, mac: str) -> bool:
    before = fixed_of(tx, [row["id"]])[row["id"]]
    after = chosen(tx, row["network_id"], asked, mac=mac, owner=row["device_owner"], keep=before)
    if before == after:
        return False
    set_fixed(tx, row["network_id"], row["id"], after)
    gone = {fixed.address for fixed in before} - {fixed.address for fixed in after}
    for floating in rows(tx, FLOATINGS, FLOATINGS.c.port_id == row["id"], FLOATINGS.c.fixed_ip_address.in_(gone)):
        let_go(tx, floating)
    return True


def let_go(tx: Tx, floating: Row) -> None:
    """A floating address stands for nothing any more."""
    change(tx, FLOATINGS, floating, {"port_id": None, "fixed_ip_address": None, "router_id": None})


def drop_floating(tx: Tx, floating: Row) -> None:
    """Remove a floating address with its port."""
    remove(tx, FLOATINGS, floating["id"])
    port = get(tx, PORTS, floating["floating_port_id"])
    if port is not None:
        drop(tx, port)


def delete_port(tx: Tx, row: Row) -> None:
    """Remove a port as a client asks for it.  Raises 403, 409."""
    check_deletable(tx, row)
    drop(tx, row)


def check_deletable(tx: Tx, row: Row) -> None:
    """Raises 409 for a port that goes with its router or floating address."""
    owner = row["device_owner"]
    if owner not in SERVICE_OWNERS:
        return
    holders: Any = FLOATINGS if owner == FLOATING else ROUTERS
    if get(tx, holders, row["device_id"]) is not None:
        raise NetworkRefused(
            409, "ServicePortInUse", f"Port {row['id']} cannot be deleted directly via the port API: has device owner {owner}."
        )


def drop(tx: Tx, row: Row) -> None:
    """Remove a port with all that hangs on it."""
    for floating in rows(tx, FLOATINGS, FLOATINGS.c.port_id == row["id"]):
        let_go(tx, floating)
    tx.connection.execute(delete(ADDRESSES).where(ADDRESSES.c.port == row["id"]))
    tx.connection.execute(delete(PORT_GROUPS).where(PORT_GROUPS.c.port == row["id"]))
    remove(tx, PORTS, row["id"])
