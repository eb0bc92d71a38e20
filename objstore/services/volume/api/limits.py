"""Quotas: what projects may have and have, counted in the transaction that uses them up."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, select

from objstore.services.calls.problems import too_large
from objstore.services.volume.api.settings import BlockStorageSettings
from objstore.services.volume.api.tables import BACKUPS, QUOTAS, SNAPSHOTS, TYPES, VOLUMES

CLASS = "default"
PROJECT_KIND, CLASS_KIND = "project", "class"
RESOURCES = (
    "volumes", "snapshots", "gigabytes", "per_volume_gigabytes", "backups", "backup_gigabytes", "groups",
)  # fmt: skip
BY_TYPE = ("volumes", "snapshots", "gigabytes")
_NAMES = {
    "volumes": "volumes", "snapshots": "snapshots", "backups": "backups", "gigabytes": "gigabytes", "backup_gigabytes": "backup gigabytes",
}  # fmt: skip


def resources(connection: Connection) -> list[str]:
    """All that has limits: the same for every volume type comes after the common ones."""
    types = [row.name for row in connection.execute(select(TYPES.c.name).order_by(TYPES.c.name))]
    return [*RESOURCES, *(f"{name}_{type_}" for type_ in types for name in BY_TYPE)]


def defaults(connection: Connection, settings: BlockStorageSettings) -> dict[str, int]:
    """Limits of projects that have none of their own."""
    found = dict.fromkeys(resources(connection), -1)
    found |= {name: int(getattr(settings, f"quota_{name}")) for name in RESOURCES}
    return found | {name: limit for name, limit in set_of(connection, CLASS_KIND, CLASS).items() if name in found}


def limits_of(connection: Connection, settings: BlockStorageSettings, project: str) -> dict[str, int]:
    """A project's limits; -1 is none."""
    found = defaults(connection, settings)
    return found | {name: limit for name, limit in set_of(connection, PROJECT_KIND, project).items() if name in found}


def set_of(connection: Connection, kind: str, name: str) -> dict[str, int]:
    """Limits that were given to a project or a class."""
    rows = connection.execute(select(QUOTAS).where(and_(QUOTAS.c.kind == kind, QUOTAS.c.name == name)))
    return {row.resource: int(row.limit_value) for row in rows}


def set_limits(connection: Connection, kind: str, name: str, limits: Mapping[str, int]) -> None:
    """Write limits of a project or class; others stay."""
    for resource, limit in limits.items():
        mine = and_(QUOTAS.c.kind == kind, QUOTAS.c.name == name, QUOTAS.c.resource == resource)
        connection.execute(delete(QUOTAS).where(mine))
        connection.execute(insert(QUOTAS).values(kind=kind, name=name, resource=resource, limit_value=limit))


def drop_limits(connection: Connection, project: str) -> None:
    """A project has the default limits again."""
    connection.execute(delete(QUOTAS).where(and_(QUOTAS.c.kind == PROJECT_KIND, QUOTAS.c.name == project)))


def used_by(connection: Connection, project: str) -> dict[str, int]:
    """What a project has, by resource."""
    found: dict[str, int] = dict.fromkeys(resources(connection), 0)
    names = {row.id: row.name for row in connection.execute(select(TYPES.c.id, TYPES.c.name))}
    for table, count in ((VOLUMES, "volumes"), (SNAPSHOTS, "snapshots")):
        query = select(table.c.volume_type, func.count(), func.coalesce(func.sum(table.c.size_gb), 0)).where(table.c.project == project)
        for type_, number, size in connection.execute(query.group_by(table.c.volume_type)):
            name = names.get(type_, "")
            for resource, more in ((count, number), ("gigabytes", size)):
                found[resource] += int(more)
                if f"{resource}_{name}" in found:
                    found[f"{resource}_{name}"] += int(more)
    number, size = connection.execute(
        select(func.count(), func.coalesce(func.sum(BACKUPS.c.size_gb), 0)).where(BACKUPS.c.project == project)
    ).one()
    return found | {"backups": int(number), "backup_gigabytes": int(size)}


def check(
    connection: Connection, settings: BlockStorageSettings, project: str, wanted: Mapping[str, int], *, type_name: str = "", each_gb: int = 0
) -> None:  # fmt: skip
    """Whether a project may have so much more.  `each_gb` is the size of the volume.  Raises 413."""
    limits, used = limits_of(connection, settings, project), used_by(connection, project)
    most = limits["per_volume_gigabytes"]
    if 0 <= most < each_gb:
        raise too_large(f"Requested volume size {each_gb}G is larger than maximum allowed limit {most}G.")
    for resource, more in wanted.items():
        for name in (resource, f"{resource}_{type_name}"):
            limit = limits.get(name, -1)
            if more > 0 and 0 <= limit < used.get(name, 0) + more:
                raise too_large(_words(resource, name, more, used.get(name, 0), limit))


def check_type(connection: Connection, settings: BlockStorageSettings, project: str, wanted: Mapping[str, int], type_name: str) -> None:
    """Whether a project may have so much more of a type, what it has in all staying the same.  Raises 413."""
    limits, used = limits_of(connection, settings, project), used_by(connection, project)
    for resource, more in wanted.items():
        name = f"{resource}_{type_name}"
        limit = limits.get(name, -1)
        if 0 <= limit < used.get(name, 0) + more:
            raise too_large(_words(resource, name, more, used.get(name, 0), limit))


def _words(resource: str, name: str, more: int, used: int, limit: int) -> str:
    if resource in ("gigabytes", "backup_gigabytes"):
        what = "volume or snapshot" if resource == "gigabytes" else "backup"
        return f"Requested {what} exceeds allowed {_NAMES[resource]} quota. Requested {more}G, quota is {limit}G and {used}G has been consumed."
    return f"Maximum number of {_NAMES.get(resource, resource)} allowed ({limit}) exceeded for quota '{name}'."


def shown(limits: Mapping[str, int], used: Mapping[str, int]) -> dict[str, Any]:
    """Limits with what is used of them."""
    return {name: {"limit": limit, "in_use": used.get(name, 0), "reserved": 0} for name, limit in limits.items()}
