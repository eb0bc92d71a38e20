"""How many of what a project may have, counted in the transaction that makes one more."""

from typing import Any

from sqlalchemy import Table, select

from objstore.services.network.kinds import Kind
from objstore.services.network.problems import over_quota
from objstore.services.network.records import Tx, count
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import FLOATINGS, GROUPS, NETWORKS, POOLS, PORTS, QUOTAS, RBAC, ROUTERS, RULES, SUBNETS

COUNTED: dict[str, Table] = {
    "network": NETWORKS, "subnet": SUBNETS, "subnetpool": POOLS, "port": PORTS, "router": ROUTERS, "floatingip": FLOATINGS,
    "security_group": GROUPS, "security_group_rule": RULES, "rbac_policy": RBAC,
}  # fmt: skip
UNLIMITED = 2**62


def defaults(settings: NetworkSettings) -> dict[str, int]:
    """What a project has unless it was given another quota."""
    return {resource: int(getattr(settings, f"quota_{resource}")) for resource in COUNTED}


def quotas_of(tx: Tx, project: str) -> dict[str, int]:
    """A project's quotas; -1 for no limit."""
    found = defaults(tx.settings)
    for row in tx.connection.execute(select(QUOTAS).where(QUOTAS.c.project == project)):
        found[row.resource] = row.most
    return found


def used(tx: Tx, resource: str, project: str) -> int:
    """How many a project has."""
    table: Any = COUNTED[resource]
    return count(tx, table, table.c.project == project)


def left(tx: Tx, resource: str, project: str) -> int:
    """How many more it may have."""
    query = select(QUOTAS.c.most).where(QUOTAS.c.project == project, QUOTAS.c.resource == resource)
    most = tx.connection.execute(query).scalar_one_or_none()
    most = getattr(tx.settings, f"quota_{resource}") if most is None else most
    return UNLIMITED if most < 0 else max(0, most - used(tx, resource, project))


def check_quota(tx: Tx, kind: Kind, project: str) -> None:
    """Raises 409 where a project may have no more."""
    if kind.quota and left(tx, kind.quota, project) < 1:
        raise over_quota(kind.quota)
