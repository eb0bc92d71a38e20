"""Quotas as they are kept: limits of a project, of one of its users, of everybody; and what is used.  Inside a transaction.

A limit is the user's where he has one, else the project's, else that of the class `default`, else the settings'; -1 is none.
"""

from collections.abc import Mapping

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.compute.cloud_tables import GROUPS, QUOTAS
from objstore.services.compute.desks import Flavor
from objstore.services.compute.settings import ComputeSettings
from objstore.services.compute.tables import SERVERS

EVERYBODY = "class:default"
OF_NETWORKS = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")  # the network service's business: no limit here
OF_FILES = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
RESOURCES = (
    "instances", "cores", "ram", *OF_NETWORKS, "metadata_items", *OF_FILES, "key_pairs", "server_groups", "server_group_members",
)  # fmt: skip
MAX_LIMIT = 2**31 - 1


def defaults_of(settings: ComputeSettings) -> dict[str, int]:
    """What the settings say."""
    return {
        "instances": settings.quota_instances, "cores": settings.quota_cores, "ram": settings.quota_ram_mb,
        "metadata_items": settings.quota_metadata_items, "key_pairs": settings.quota_key_pairs, "server_groups": settings.quota_server_groups,
        "server_group_members": settings.quota_server_group_members, "injected_files": settings.quota_injected_files,
        "injected_file_content_bytes": settings.quota_injected_file_bytes, "injected_file_path_bytes": settings.quota_injected_path_bytes,
        **dict.fromkeys(OF_NETWORKS, -1),
    }  # fmt: skip


def limits_of(connection: Connection, settings: ComputeSettings, project: str, user_id: str = "") -> dict[str, int]:
    """Resource -> limit."""
    found = defaults_of(settings)
    for owner, user in ((EVERYBODY, ""), (project, ""), (project, user_id)):
        query = select(QUOTAS).where(QUOTAS.c.project == owner, QUOTAS.c.user_id == user)
        found |= {row.resource: int(row.hard_limit) for row in connection.execute(query)}
    return found


def limit_of(connection: Connection, settings: ComputeSettings, project: str, resource: str, user_id: str = "") -> int:
    """One of them."""
    return limits_of(connection, settings, project, user_id)[resource]


def used_of(connection: Connection, project: str, user_id: str = "") -> dict[str, int]:
    """What is used of each resource that is counted, by a project or by one of its users.

    A server that is resized counts as the larger of what it was and what it becomes until it is only one of them.
    """
    mine = [SERVERS.c.project == project, SERVERS.c.deleted_us.is_(None)]
    groups = [GROUPS.c.project == project]
    if user_id:
        mine.append(SERVERS.c.user_id == user_id)
        groups.append(GROUPS.c.user_id == user_id)
    sums = select(func.count(), func.coalesce(func.sum(SERVERS.c.vcpus), 0), func.coalesce(func.sum(SERVERS.c.memory_mb), 0)).where(*mine)
    instances, cores, ram = connection.execute(sums).one()
    resized = select(SERVERS.c.vcpus, SERVERS.c.memory_mb, SERVERS.c.other_flavor).where(*mine, SERVERS.c.other_flavor != "")
    for row in connection.execute(resized):
        other = msgspec.json.decode(row.other_flavor, type=Flavor)
        cores += max(0, other.vcpus - row.vcpus)
        ram += max(0, other.memory_mb - row.memory_mb)
    count = connection.execute(select(func.count()).select_from(GROUPS).where(*groups)).scalar_one()
    return {"instances": int(instances), "cores": int(cores), "ram": int(ram), "server_groups": int(count)}


def check(connection: Connection, settings: ComputeSettings, project: str, more: Mapping[str, int], user_id: str = "") -> None:
    """Raises 403 when this much more of some resources would be too much."""
    for user in ("", user_id) if user_id else ("",):
        limits, used = limits_of(connection, settings, project, user), used_of(connection, project, user)
        over = [name for name, wanted in more.items() if wanted > 0 and 0 <= limits[name] < used[name] + wanted]
        if over:
            asked = ", ".join(str(more[name]) for name in over)
            have = ", ".join(str(used[name]) for name in over)
            most = ", ".join(str(limits[name]) for name in over)
            raise forbidden(f"Quota exceeded for {', '.join(over)}: Requested {asked}, but already used {have} of {most} {', '.join(over)}")


def change(
    connection: Connection, settings: ComputeSettings, project: str, limits: Mapping[str, int], *, user_id: str = "", force: bool = False
) -> None:
    """Set limits.  Raises 400 for a user's that is beyond the project's, or (unless forced) below what is used."""
    used = used_of(connection, project, user_id)
    whole = limits_of(connection, settings, project)
    for resource, limit in limits.items():
        if not force and 0 <= limit < used.get(resource, 0):
            raise bad_request(
                f"Quota limit {limit} for {resource} must be greater than or equal to already used and reserved {used[resource]}."
            )
        if user_id and whole[resource] >= 0 and not 0 <= limit <= whole[resource]:
            raise bad_request(f"Quota limit {limit} for {resource} must be less than or equal to {whole[resource]}.")
        put(connection, project, user_id, resource, limit)


def put(connection: Connection, project: str, user_id: str, resource: str, limit: int) -> None:
    """Set one limit."""
    row = {"project": project, "user_id": user_id, "resource": resource}
    connection.execute(delete(QUOTAS).where(*(QUOTAS.c[name] == value for name, value in row.items())))
    connection.execute(insert(QUOTAS).values(**row, hard_limit=limit))


def forget(connection: Connection, project: str, user_id: str = "") -> None:
    """Go back to what everybody has (with a user: to what the project has)."""
    query = delete(QUOTAS).where(QUOTAS.c.project == project)
    connection.execute(query.where(QUOTAS.c.user_id == user_id) if user_id else query)
