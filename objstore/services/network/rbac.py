"""RBAC policies: what a project opens to others."""

from collections.abc import Sequence
from typing import Any

from objstore.services.network import checks
from objstore.services.network.kinds import REQUIRED, Attribute, Kind, project_attribute
from objstore.services.network.networks import check_unshared
from objstore.services.network.operations import Operations, View
from objstore.services.network.problems import NetworkRefused, bad, denied
from objstore.services.network.quotas import check_quota
from objstore.services.network.records import Row, Tx, add, change, get, one, remove, rows
from objstore.services.network.rights import EVERYBODY, EXTERNAL, SHARED, is_own, own
from objstore.services.network.tables import FLOATINGS, GROUPS, NETWORKS, POOLS, PORT_GROUPS, PORTS, RBAC, ROUTERS, SCOPES, SUBNETS

TYPES: dict[str, Any] = {"network": NETWORKS, "subnetpool": POOLS, "address_scope": SCOPES, "security_group": GROUPS}


def _target(name: str, value: Any) -> str:
    if value == "":
        raise bad("Invalid input for target_tenant. Reason: it is the id of a project, or *.")
    return EVERYBODY if value == EVERYBODY else str(checks.project(name, value))


KIND = Kind(
    "rbac_policy", "rbac_policies", "rbac-policies", RBAC, "RbacPolicy", "RBAC policy",
    (
        project_attribute(),
        Attribute("object_type", checks.one_of(*TYPES), REQUIRED, put=False),
        Attribute("object_id", checks.uuid, REQUIRED, put=False),
        Attribute("action", checks.one_of(SHARED, EXTERNAL), REQUIRED, put=False),
        Attribute("target_tenant", _target, REQUIRED, column="target"),
    ),
    read_only=("id",), tagged=False, quota="rbac_policy",
)  # fmt: skip


def create(tx: Tx, values: Row) -> Row:
    """Open a thing.  Raises 400, 403, 404, 409."""
    found = get(tx, TYPES[values["object_type"]], values["object_id"])
    if found is None or not is_own(tx.who, found):
        raise NetworkRefused(404, "ObjectNotFound", f"Object {values['object_id']} not found.")
    if values["action"] == EXTERNAL and values["object_type"] != "network":
        raise bad(f"Action {EXTERNAL} is not valid for object type {values['object_type']}")
    _check_everybody(tx, values["target"])
    _check_external(tx, values["action"])
    check_quota(tx, KIND, values["project"])
    if rows(tx, RBAC, RBAC.c.object_id == values["object_id"], RBAC.c.action == values["action"], RBAC.c.target == values["target"]):
        raise NetworkRefused(409, "DuplicateRbacPolicy", "An RBAC policy already exists with those values.")
    row = add(tx, RBAC, values)
    if values["action"] == EXTERNAL and not found["external"]:
        change(tx, NETWORKS, found, {"external": True})
    return row


def _check_everybody(tx: Tx, target: str) -> None:
    if target == EVERYBODY and not tx.who.admin:
        raise denied("(rule:restrict_wildcard) is disallowed by policy: only the administrator opens things to everybody")


def _check_external(tx: Tx, action: str) -> None:
    # Here an external network leads to the hosts: each of its addresses is a route of theirs.
    if action == EXTERNAL and not tx.who.admin:
        raise denied("(rule:create_rbac_policy:action) is disallowed by policy: only the administrator makes networks external")


def update(tx: Tx, row: Row, values: Row) -> None:
    """Open it to somebody else.  Raises 403, 409."""
    _check_everybody(tx, values.get("target", ""))
    _check_external(tx, row["action"])
    if values.get("target", row["target"]) != row["target"]:
        _check_unused(tx, row)
    change(tx, RBAC, row, values)


def delete_policy(tx: Tx, row: Row) -> None:
    """Close it.  Raises 409 where others use it."""
    _check_unused(tx, row)
    remove(tx, RBAC, row["id"])
    left = rows(tx, RBAC, RBAC.c.object_id == row["object_id"], RBAC.c.action == EXTERNAL)
    if row["action"] == EXTERNAL and not left:
        change(tx, NETWORKS, one(tx, NETWORKS, row["object_id"]), {"external": False})


def _check_unused(tx: Tx, row: Row) -> None:
    id_, target = row["object_id"], row["target"]
    if row["object_type"] == "network" and row["action"] == EXTERNAL:
        gone = ROUTERS.c.gateway_network == id_
        using = rows(tx, ROUTERS, gone) if target == EVERYBODY else rows(tx, ROUTERS, gone, ROUTERS.c.project == target)
        using += rows(
            tx, FLOATINGS, FLOATINGS.c.floating_network_id == id_, *(() if target == EVERYBODY else (FLOATINGS.c.project == target,))
        )
    elif row["object_type"] == "network":
        check_unshared(tx, one(tx, NETWORKS, id_), () if target == EVERYBODY else (target,))
        using = []
    elif row["object_type"] == "subnetpool":
        pool = one(tx, POOLS, id_)
        using = _of_others(rows(tx, SUBNETS, SUBNETS.c.subnetpool_id == id_), pool["project"], target)
    elif row["object_type"] == "address_scope":
        using = _of_others(rows(tx, POOLS, POOLS.c.address_scope_id == id_), one(tx, SCOPES, id_)["project"], target)
    else:
        ports = [found["port"] for found in rows(tx, PORT_GROUPS, PORT_GROUPS.c.security_group == id_)]
        using = _of_others(rows(tx, PORTS, PORTS.c.id.in_(ports)), one(tx, GROUPS, id_)["project"], target)
    if using:
        raise NetworkRefused(409, "RbacPolicyInUse", f"RBAC policy on object {id_} cannot be removed because other objects depend on it.")


def _of_others(found: Sequence[Row], owner: str, target: str) -> list[Row]:
    return [row for row in found if row["project"] != owner and target in (EVERYBODY, row["project"])]


def views(tx: Tx, found: Sequence[Row]) -> list[View]:
    """Policies as they are shown."""
    return [{"id": row["id"], "tenant_id": row["project"], **{each.name: row[each.kept] for each in KIND.attributes}} for row in found]


OPERATIONS = Operations(KIND, create, update, delete_policy, views, lambda who: own(RBAC, who))
