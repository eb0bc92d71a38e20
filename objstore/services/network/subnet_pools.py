"""Pools that subnets are cut out of, and address scopes: pools whose addresses do not overlap."""

from collections.abc import Sequence
from ipaddress import ip_network
from typing import Any

from sqlalchemy import delete

from objstore.services.network import checks, ipam
from objstore.services.network.checks import IpNetwork, is_uuid
from objstore.services.network.kinds import REQUIRED, UNSET, Attribute, Kind, description, name, project_attribute
from objstore.services.network.operations import Operations, View, plain_views, shared_filter, shared_ones
from objstore.services.network.problems import NetworkRefused, bad, invalid, over_quota
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import Row, Tx, add, after, change, count, get, remove, rows
from objstore.services.network.rights import EVERYBODY, SHARED, is_open, is_own, seen_shared
from objstore.services.network.tables import POOLS, RBAC, SCOPES, SUBNETS

BITS = {4: 32, 6: 128}
MIN_PREFIX = {4: 8, 6: 64}
MAX_PREFIXES = 50
MAX_SCOPES = 100  # of a project; Neutron has no quota of them
POOL_KIND = Kind(
    "subnetpool", "subnetpools", "subnetpools", POOLS, "SubnetPool", "Subnet pool",
    (
        project_attribute(), name(), description(),
        Attribute("prefixes", checks.listed(checks.cidr, MAX_PREFIXES, unique=False), REQUIRED),
        Attribute("min_prefixlen", checks.number(0, 128)),
        Attribute("max_prefixlen", checks.number(0, 128)),
        Attribute("default_prefixlen", checks.number(0, 128)),
        Attribute("default_quota", checks.or_none(checks.number(0, checks.MAX_NUMBER)), None),
        Attribute("is_default", checks.boolean, default=False, admin=True),
        Attribute("shared", checks.boolean, default=False, put=False, admin=True),
        Attribute("address_scope_id", checks.or_none(checks.uuid), None),
    ),
    read_only=("id", "ip_version", "created_at", "updated_at", "revision_number"),
    quota="subnetpool",
)  # fmt: skip
SCOPE_KIND = Kind(
    "address_scope", "address_scopes", "address-scopes", SCOPES, "AddressScope", "Address scope",
    (
        project_attribute(), Attribute("name", checks.text_or_none, ""), Attribute("ip_version", checks.ip_version, REQUIRED, put=False),
        Attribute("shared", checks.boolean, default=False, admin=True),
    ),
    read_only=("id",), tagged=False,
)  # fmt: skip


def create_pool(tx: Tx, values: Row) -> Row:
    """A pool.  Raises 400, 404, 409."""
    check_quota(tx, POOL_KIND, values["project"])
    values = dict(values)
    shared = values.pop("shared")
    values["prefixes"], values["ip_version"] = _prefixes(values["prefixes"])
    version = values["ip_version"]
    for limit, default in (("min_prefixlen", MIN_PREFIX[version]), ("max_prefixlen", BITS[version])):
        values[limit] = default if values[limit] is UNSET else values[limit]
    values["default_prefixlen"] = values["min_prefixlen"] if values["default_prefixlen"] is UNSET else values["default_prefixlen"]
    _check_bounds(values)
    _check_scope(tx, values, shared=shared)
    _check_default(tx, values, "")
    row = add(tx, POOLS, values)
    if shared:
        share(tx, row, "subnetpool")
    return row


def share(tx: Tx, row: Row, object_type: str) -> None:
    """Open a thing to everybody."""
    add(tx, RBAC, {"project": row["project"], "object_type": object_type, "object_id": row["id"], "action": SHARED, "target": EVERYBODY})


def _prefixes(given: Sequence[str]) -> tuple[list[str], int]:
    if not given:
        raise NetworkRefused(400, "EmptySubnetPoolPrefixList", "Empty subnet pool prefix list.")
    versions = {ip_network(prefix).version for prefix in given}
    if len(versions) > 1:
        raise NetworkRefused(400, "PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
    for prefix in given:
        if ip_network(prefix).prefixlen == 0:
            raise NetworkRefused(400, "UnsupportedMinSubnetPoolPrefix", f"Prefix '0' not supported in IPv{min(versions)} pool.")
    return ipam.compacted(given), min(versions)


def _check_bounds(values: Row) -> None:
    low, high, default, bits = values["min_prefixlen"], values["max_prefixlen"], values["default_prefixlen"], BITS[values["ip_version"]]
    for which, length, base_which, base, fine in (
        ("max_prefixlen", high, "address length", bits, high <= bits),
        ("min_prefixlen", low, "max_prefixlen", high, low <= high),
        ("default_prefixlen", default, "min_prefixlen", low, default >= low),
        ("default_prefixlen", default, "max_prefixlen", high, default <= high),
    ):
        if not fine:
            raise NetworkRefused(400, "IllegalSubnetPoolPrefixBounds", f"Illegal prefix bounds: {which}={length}, {base_which}={base}.")


def _check_scope(tx: Tx, values: Row, *, shared: bool, but: str = "") -> None:
    id_ = values["address_scope_id"]
    if id_ is None:
        return
    scope = get(tx, SCOPES, id_)
    if scope is None or not (is_own(tx.who, scope) or is_open(tx, id_, SHARED)):
        raise NetworkRefused(404, "AddressScopeNotFound", f"Address scope {id_} could not be found.")
    if not is_own(tx.who, scope) and not is_open(tx, id_, SHARED):
        raise bad(f"Illegal subnetpool association: the address scope {id_} is not this project's")
    if scope["ip_version"] != values["ip_version"]:
        raise NetworkRefused(
            400, "IllegalSubnetPoolIpVersionAssociationToAddressScope",
            f"Illegal subnetpool association: subnetpool cannot associate with address scope {id_} because subnetpool ip_version is not {scope['ip_version']}.",
        )  # fmt: skip
    others = [prefix for other in rows(tx, POOLS, POOLS.c.address_scope_id == id_, POOLS.c.id != but) for prefix in other["prefixes"]]
    if any(ip_network(one).overlaps(ip_network(other)) for one in values["prefixes"] for other in others):
        raise NetworkRefused(
            409, "AddressScopePrefixConflict",
            f"Failed to associate address scope: subnetpools within an address scope must have unique prefixes ({'shared' if shared else id_}).",
        )  # fmt: skip


def _check_default(tx: Tx, values: Row, but: str) -> None:
    if not values["is_default"]:
        return
    others = rows(tx, POOLS, POOLS.c.is_default.is_(True), POOLS.c.ip_version == values["ip_version"], POOLS.c.id != but)
    if others:
        raise invalid(
            f"A default subnetpool for this IP family has already been set. Only one default may exist per IP family: {others[0]['id']}"
        )


def update_pool(tx: Tx, row: Row, values: Row) -> None:
    """Change a pool: prefixes may only be added.  Raises 400, 409."""
    values = dict(values)
    new = {**row, **values}
    if "prefixes" in values:
        prefixes, version = _prefixes(values["prefixes"])
        if version != row["ip_version"]:
            raise NetworkRefused(400, "PrefixVersionMismatch", "Cannot mix IPv4 and IPv6 prefixes in a subnet pool.")
        if any(ipam.compacted([*prefixes, prefix]) != prefixes for prefix in row["prefixes"]):
            raise NetworkRefused(
                400, "IllegalSubnetPoolPrefixUpdate", "Illegal update to prefixes: Existing prefixes must be a subset of the new prefixes."
            )
        values["prefixes"] = new["prefixes"] = prefixes
    _check_bounds(new)
    _check_scope(tx, new, shared=False, but=row["id"])
    _check_default(tx, new, row["id"])
    change(tx, POOLS, row, values)


def delete_pool(tx: Tx, row: Row) -> None:
    """Remove a pool that no subnet is of.  Raises 400."""
    if rows(tx, SUBNETS, SUBNETS.c.subnetpool_id == row["id"]):
        raise NetworkRefused(400, "SubnetPoolDeleteError", "Unable to delete subnet pool: Subnet pool has existing allocations.")
    tx.connection.execute(delete(RBAC).where(RBAC.c.object_id == row["id"]))
    remove(tx, POOLS, row["id"])


def allocate(tx: Tx, values: Row, given: str | None) -> IpNetwork | None:
    """The range of a new subnet out of the pool that it names; None when it names none.  Raises 400, 404, 409."""
    pool = _pool_of(tx, values, given)
    if pool is None:
        return None
    length = pool["default_prefixlen"] if values["prefixlen"] is UNSET else values["prefixlen"]
    if given is not None:
        if values["prefixlen"] is not UNSET:
            raise NetworkRefused(400, "BadRequest", "Bad subnets request: cidr and prefixlen must not be supplied together.")
        length = ip_network(given).prefixlen
    for limit, worse, kind in (
        ("min_prefixlen", length < pool["min_prefixlen"], "Min"),
        ("max_prefixlen", length > pool["max_prefixlen"], "Max"),
    ):
        if worse:
            raise NetworkRefused(
                400, f"{kind}PrefixSubnetAllocationError",
                f"Unable to allocate subnet with prefix length {length}, {'minimum' if kind == 'Min' else 'maximum'} allowed prefix is {pool[limit]}.",
            )  # fmt: skip
    used = rows(tx, SUBNETS, SUBNETS.c.subnetpool_id == pool["id"])
    _check_pool_quota(pool, values["project"], used, length)
    cidrs = [subnet["cidr"] for subnet in used]
    within = [given] if given is not None else pool["prefixes"]
    inside = given is None or any(_holds(prefix, given) for prefix in pool["prefixes"])
    found = ipam.carve(within, cidrs, length) if inside else None
    if found is None:
        raise NetworkRefused(
            409, "SubnetAllocationError",
            "Failed to allocate subnet: "
            + (f"Insufficient prefix space to allocate subnet size /{length}." if given is None else "Cannot allocate requested subnet from the available set of prefixes."),
        )  # fmt: skip
    values["subnetpool_id"] = pool["id"]
    return ip_network(found)


def _holds(prefix: str, given: str) -> bool:
    outer, inner = ip_network(prefix), ip_network(given)
    return outer.version == inner.version and outer.supernet_of(inner)  # type: ignore[arg-type] # of one version, as was just seen


def _pool_of(tx: Tx, values: Row, given: str | None) -> Row | None:
    if values["use_default_subnetpool"] and values["subnetpool_id"] is None:
        version = values["ip_version"]
        if version is UNSET:
            raise NetworkRefused(400, "BadRequest", "Bad subnets request: ip_version must be specified in the absence of a subnetpool.")
        found = rows(tx, POOLS, POOLS.c.is_default.is_(True), POOLS.c.ip_version == version)
        if not found:
            raise NetworkRefused(400, "BadRequest", f"Bad subnets request: No default subnetpool found for IPv{version}.")
        return found[0]
    if values["subnetpool_id"] is None:
        return None
    id_ = values["subnetpool_id"]
    pool = get(tx, POOLS, id_) if is_uuid(id_) else None
    if pool is None or not (is_own(tx.who, pool) or is_open(tx, id_, SHARED)):
        raise NetworkRefused(404, "SubnetPoolNotFound", f"Subnet pool {id_} could not be found.")
    if values["ip_version"] is not UNSET and values["ip_version"] != pool["ip_version"]:
        raise NetworkRefused(400, "BadRequest", "Bad subnets request: The IP version of the subnet is not that of its pool.")
    return pool


def _check_pool_quota(pool: Row, project: str, used: Sequence[Row], length: int) -> None:
    """A pool's quota counts addresses of IPv4, and ranges of /64 of IPv6."""
    if pool["default_quota"] is None:
        return
    unit = 32 if pool["ip_version"] == 4 else 64
    lengths = [ip_network(subnet["cidr"]).prefixlen for subnet in used if subnet["project"] == project]
    if sum(2.0 ** (unit - each) for each in [*lengths, length]) > pool["default_quota"]:
        raise NetworkRefused(409, "SubnetPoolQuotaExceeded", "Per-project subnet pool prefix quota exceeded.")


def create_scope(tx: Tx, values: Row) -> Row:
    """An address scope."""
    values = dict(values)
    shared = values.pop("shared")
    if count(tx, SCOPES, SCOPES.c.project == values["project"]) >= MAX_SCOPES:
        raise over_quota("address_scope")
    row = add(tx, SCOPES, values)
    if shared:
        share(tx, row, "address_scope")
    return row


def update_scope(tx: Tx, row: Row, values: Row) -> None:
    """Rename, share.  Raises 400."""
    values = dict(values)
    shared = values.pop("shared", None)
    if shared is True and not is_open(tx, row["id"], SHARED):
        share(tx, row, "address_scope")
    if shared is False and rows(tx, RBAC, RBAC.c.object_id == row["id"], RBAC.c.target == EVERYBODY):
        raise NetworkRefused(
            400, "AddressScopeUpdateError", f"Unable to update address scope {row['id']} : Shared address scope can't be unshared."
        )
    change(tx, SCOPES, row, {**values, "name": after(row, values, "name")})


def delete_scope(tx: Tx, row: Row) -> None:
    """Remove a scope without pools.  Raises 409."""
    if rows(tx, POOLS, POOLS.c.address_scope_id == row["id"]):
        raise NetworkRefused(
            409, "AddressScopeInUse",
            f"Unable to complete operation on address scope {row['id']}. There are one or more subnet pools in use on the address scope.",
        )  # fmt: skip
    tx.connection.execute(delete(RBAC).where(RBAC.c.object_id == row["id"]))
    remove(tx, SCOPES, row["id"])


def _views(kind: Kind) -> Any:
    def views(tx: Tx, found: Sequence[Row]) -> list[View]:
        shared = shared_ones(tx, [row["id"] for row in found])
        shown = plain_views(tx, kind, found)
        for row, view in zip(found, shown, strict=True):
            view |= {"shared": row["id"] in shared, "ip_version": row["ip_version"]}
        return shown

    return views


POOL_OPERATIONS = Operations(
    POOL_KIND, create_pool, update_pool, delete_pool, _views(POOL_KIND), seen_shared(POOLS), {"shared": shared_filter(POOLS.c.id)}
)
SCOPE_OPERATIONS = Operations(
    SCOPE_KIND, create_scope, update_scope, delete_scope, _views(SCOPE_KIND), seen_shared(SCOPES), {"shared": shared_filter(SCOPES.c.id)}
)
