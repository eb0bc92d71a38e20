"""Who sees and changes what.

A project sees what is its own and what RBAC policies open to it: `shared` is the policy that opens a thing to all.  Who may not see a thing is
told that there is none (404); who sees it and may not change it is told so (403).  The administrator does everything everywhere.
"""

from typing import Any

from sqlalchemy import ColumnElement, Table, and_, exists, literal, or_, select, true

from objstore.services.network.problems import denied
from objstore.services.network.records import Row, Tx, Who, rows
from objstore.services.network.tables import GROUPS, NETWORKS, PORTS, RBAC, RULES, SUBNETS

SHARED, EXTERNAL = "access_as_shared", "access_as_external"
EVERYBODY = "*"


def opened(column: Any, who: Who, *actions: str) -> ColumnElement[bool]:
    """Whether a policy opens the thing with this id to the caller."""
    return exists().where(and_(RBAC.c.object_id == column, RBAC.c.action.in_(actions), RBAC.c.target.in_((EVERYBODY, who.project))))


def own(table: Table, who: Who) -> ColumnElement[bool]:
    """What belongs to the caller."""
    return true() if who.admin else and_(literal(bool(who.project)), table.c.project == who.project)


def seen_own(table: Table) -> Any:
    """A condition for things that are never shared."""
    return lambda who: own(table, who)


def seen_shared(table: Table) -> Any:
    """A condition for things that may be shared."""
    return lambda who: or_(own(table, who), opened(table.c.id, who, SHARED))


def seen_networks(who: Who) -> ColumnElement[bool]:
    """Networks that the caller sees: external ones too."""
    return or_(own(NETWORKS, who), opened(NETWORKS.c.id, who, SHARED, EXTERNAL))


def seen_subnets(who: Who) -> ColumnElement[bool]:
    """Subnets that the caller sees: those of shared networks and of his own."""
    mine = exists().where(and_(NETWORKS.c.id == SUBNETS.c.network_id, NETWORKS.c.project == who.project))
    return or_(own(SUBNETS, who), opened(SUBNETS.c.network_id, who, SHARED), mine)


def seen_ports(who: Who) -> ColumnElement[bool]:
    """Ports that the caller sees: those on his networks too."""
    mine = exists().where(and_(NETWORKS.c.id == PORTS.c.network_id, NETWORKS.c.project == who.project, literal(bool(who.project))))
    return or_(own(PORTS, who), mine)


def seen_rules(who: Who) -> ColumnElement[bool]:
    """Rules that the caller sees: those of groups that he sees."""
    group = select(GROUPS.c.id).where(or_(own(GROUPS, who), opened(GROUPS.c.id, who, SHARED)))
    return or_(own(RULES, who), RULES.c.security_group_id.in_(group))


def is_own(who: Who, row: Row) -> bool:
    """Whether the caller may change a thing."""
    return who.admin or (bool(who.project) and row["project"] == who.project)


def check_own(who: Who, row: Row, action: str = "change") -> None:
    """Raises 403 for what the caller sees and may not change."""
    if not is_own(who, row) or not who.writer:
        raise denied(f"You may not {action} {row['id']}: disallowed by policy")


def is_open(tx: Tx, id_: str, *actions: str) -> bool:
    """Whether a policy opens a thing to the caller."""
    return bool(rows(tx, RBAC, RBAC.c.object_id == id_, RBAC.c.action.in_(actions), RBAC.c.target.in_((EVERYBODY, tx.who.project))))
