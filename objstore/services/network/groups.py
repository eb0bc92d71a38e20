"""Security groups: what their ports may send and are sent.  Every project has a group `default`, made when it is first needed."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import and_, delete, insert, or_, select

from objstore.services.network.kinds import UNSET, Kind, description, name, project_attribute
from objstore.services.network.problems import NetworkRefused, denied, over_quota
from objstore.services.network.quotas import check_quota, left
from objstore.services.network.records import Row, Tx, add, after, change, get, remove, rows
from objstore.services.network.rights import SHARED, is_open, is_own
from objstore.services.network.tables import DEFAULT_GROUPS, GROUPS, PORT_GROUPS, RBAC, RULES

DEFAULT = "default"
KIND = Kind(
    "security_group",
    "security_groups",
    "security-groups",
    GROUPS,
    "SecurityGroup",
    "Security group",
    (project_attribute(), name(), description()),
    read_only=("id", "security_group_rules", "shared", "created_at", "updated_at", "revision_number", "tags"),
    quota="security_group",
)


def create(tx: Tx, values: Row) -> Row:
    """A group that lets everything out and nothing in.  Raises 409."""
    if values["name"].lower() == DEFAULT:
        raise NetworkRefused(409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
    default_group(tx, values["project"])
    check_quota(tx, KIND, values["project"])
    check_rules_quota(tx, values["project"], 2)
    return _new(tx, values)


def _new(tx: Tx, values: Row) -> Row:
    row = add(tx, GROUPS, values)
    for ethertype in ("IPv4", "IPv6"):
        _rule(tx, row, direction="egress", ethertype=ethertype, remote_group_id=None)
    return row


def _rule(tx: Tx, group: Row, **values: Any) -> Row:
    plain = {"protocol": None, "port_range_min": None, "port_range_max": None, "remote_ip_prefix": None}
    return add(tx, RULES, {"security_group_id": group["id"], "project": group["project"], **plain, **values})


def default_group(tx: Tx, project: str) -> str:
    """The id of a project's default group, which is made where it is missing: its ports hear one another."""
    query = select(DEFAULT_GROUPS.c.security_group).where(DEFAULT_GROUPS.c.project == project)
    found = tx.connection.execute(query).scalar_one_or_none()
    if found is not None:
        return str(found)
    group = _new(tx, {"project": project, "name": DEFAULT, "description": "Default security group"})
    for ethertype in ("IPv4", "IPv6"):
        _rule(tx, group, direction="ingress", ethertype=ethertype, remote_group_id=group["id"])
    tx.connection.execute(insert(DEFAULT_GROUPS).values(project=project, security_group=group["id"]))
    return str(group["id"])


def needs_default(connection: Any, project: str) -> bool:
    """Whether a project has no default group yet."""
    query = select(DEFAULT_GROUPS.c.project).where(DEFAULT_GROUPS.c.project == project)
    return bool(project) and connection.execute(query).first() is None


def is_default(tx: Tx, row: Row) -> bool:
    """Whether a group is its project's default."""
    return bool(rows(tx, DEFAULT_GROUPS, DEFAULT_GROUPS.c.security_group == row["id"]))


def update(tx: Tx, row: Row, values: Row) -> None:
    """Rename, describe.  Raises 409."""
    if after(row, values, "name") != row["name"]:
        if is_default(tx, row):
            raise NetworkRefused(409, "SecurityGroupCannotUpdateDefault", "Updating default security group not allowed.")
        if values["name"].lower() == DEFAULT:
            raise NetworkRefused(409, "SecurityGroupDefaultAlreadyExists", "Default security group already exists.")
    change(tx, GROUPS, row, values)


def _used(tx: Tx, id_: str) -> bool:
    return bool(rows(tx, PORT_GROUPS, PORT_GROUPS.c.security_group == id_))


def _in_use(id_: str, reason: str) -> NetworkRefused:
    return NetworkRefused(409, "SecurityGroupInUse", f"Security Group {id_} {reason}.")


def delete_group(tx: Tx, row: Row) -> None:
    """Remove a group that no port has.  Raises 409."""
    if _used(tx, row["id"]):
        raise _in_use(row["id"], "in use")
    if is_default(tx, row):
        if not tx.who.admin:
            raise NetworkRefused(409, "SecurityGroupCannotRemoveDefault", "Insufficient rights for removing default security group.")
        tx.connection.execute(delete(DEFAULT_GROUPS).where(DEFAULT_GROUPS.c.security_group == row["id"]))
    tx.connection.execute(delete(RULES).where(or_(RULES.c.security_group_id == row["id"], RULES.c.remote_group_id == row["id"])))
    tx.connection.execute(delete(RBAC).where(RBAC.c.object_id == row["id"]))
    remove(tx, GROUPS, row["id"])


def check_rules_quota(tx: Tx, project: str, more: int) -> None:
    """Raises 409 where a project may not have so many more rules."""
    if left(tx, "security_group_rule", project) < more:
        raise over_quota("security_group_rule")


def groups_for(tx: Tx, project: str, wanted: Sequence[str] | Any) -> list[str]:
    """The ids of groups for a port; UNSET for the default one.  Raises 404."""
    if wanted is UNSET:
        return [default_group(tx, project)]
    for id_ in wanted:
        row = get(tx, GROUPS, id_)
        if row is None or not (is_own(tx.who, row) or row["project"] == project or is_open(tx, id_, SHARED)):
            raise NetworkRefused(404, "SecurityGroupNotFound", f"Security group {id_} does not exist")
    return list(dict.fromkeys(wanted))


def by_name(tx: Tx, project: str, wanted: str) -> str:
    """The id of a project's group by its id or name.  Raises 404, 409."""
    default_group(tx, project)
    mine = and_(GROUPS.c.project == project, or_(GROUPS.c.id == wanted, GROUPS.c.name == wanted))
    found = rows(tx, GROUPS, mine)
    exact = [row for row in found if row["id"] == wanted]
    if not found:
        shared = get(tx, GROUPS, wanted)
        if shared is not None and is_open(tx, wanted, SHARED):
            return wanted
        raise NetworkRefused(404, "SecurityGroupNotFound", f"Security group {wanted} not found.")
    if len(found) > 1 and not exact:
        raise NetworkRefused(409, "NoUniqueMatch", f"Multiple security groups found matching '{wanted}'. Use an ID to be more specific.")
    return str((exact or found)[0]["id"])


def set_port_groups(tx: Tx, port: str, groups: Sequence[str]) -> None:
    """Replace a port's groups."""
    tx.connection.execute(delete(PORT_GROUPS).where(PORT_GROUPS.c.port == port))
    if groups:
        tx.connection.execute(insert(PORT_GROUPS), [{"port": port, "security_group": group} for group in groups])
    tx.told = True


def port_groups(tx: Tx, ports: Sequence[str]) -> dict[str, list[str]]:
    """The groups of ports."""
    found: dict[str, list[str]] = {port: [] for port in ports}
    for start in range(0, len(ports), 500):
        query = select(PORT_GROUPS).where(PORT_GROUPS.c.port.in_(ports[start : start + 500])).order_by(PORT_GROUPS.c.security_group)
        for row in tx.connection.execute(query):
            found[row.port].append(row.security_group)
    return found


def check_visible(tx: Tx, id_: str) -> Row:
    """A group that the caller sees.  Raises 404."""
    row = get(tx, GROUPS, id_)
    if row is None or not (is_own(tx.who, row) or is_open(tx, id_, SHARED)):
        raise NetworkRefused(404, "SecurityGroupNotFound", f"Security group {id_} does not exist")
    return row


def check_changeable(tx: Tx, id_: str) -> Row:
    """The same for whoever may change it.  Raises 403, 404."""
    row = check_visible(tx, id_)
    if not is_own(tx.who, row):
        raise denied()
    return row
