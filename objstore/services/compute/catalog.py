"""What servers ask for when they are made: flavors, keys, quotas, groups; each inside the transaction that uses it (desks.py)."""

from typing import Any

from sqlalchemy import Connection, select

from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.compute import flavors, quotas
from objstore.services.compute.cloud_tables import GROUPS, KEYPAIRS
from objstore.services.compute.desks import Flavor, Key
from objstore.services.compute.settings import ComputeSettings
from objstore.services.compute.tables import SERVERS


class Catalog:
    """The tables of this process."""

    def __init__(self, settings: ComputeSettings) -> None:
        self._settings = settings

    def flavor(self, connection: Connection, project: str, flavor_id: str, *, is_admin: bool) -> Flavor | None:
        """A flavor that a project may use."""
        found = flavors.flavor_for(connection, project, flavor_id, is_admin=is_admin)
        if found is None:
            return None
        return Flavor(
            found.id, found.name, found.vcpus, found.ram_mb, found.disk_gb, found.ephemeral_gb, found.swap_mb, dict(found.extra_specs)
        )

    def key(self, connection: Connection, user_id: str, name: str) -> Key | None:
        """A user's key pair."""
        found = find_key(connection, user_id, name)
        return None if found is None else Key(found.name, found.type, found.public_key)

    def check_quota(self, connection: Connection, project: str, *, instances: int, cores: int, memory_mb: int, user_id: str = "") -> None:
        """Raises 403 when this much more would be too much for the project, or for the user."""
        quotas.check(connection, self._settings, project, {"instances": instances, "cores": cores, "ram": memory_mb}, user_id)

    def check_group(self, connection: Connection, project: str, group_id: str, *, adding: int) -> None:
        """Raises 400 for a group that the project does not have, 403 when it would have too many members."""
        if find_group(connection, project, group_id) is None:
            raise bad_request(f"Instance group {group_id[:64]} could not be found.")
        most = quotas.limit_of(connection, self._settings, project, "server_group_members")
        if 0 <= most < len(members_of(connection, group_id)) + adding:
            raise forbidden("Quota exceeded, too many servers in group")

    def metadata_limit(self, connection: Connection, project: str) -> int:
        """How many items of metadata a server may have; -1 for any."""
        return quotas.limit_of(connection, self._settings, project, "metadata_items")


def find_key(connection: Connection, user_id: str, name: str) -> Any:
    """A user's key pair; None where there is none."""
    return connection.execute(select(KEYPAIRS).where(KEYPAIRS.c.user_id == user_id, KEYPAIRS.c.name == name)).one_or_none()


def find_group(connection: Connection, project: str, id_: str, *, is_admin: bool = False) -> Any:
    """A project's server group; None where there is none."""
    query = select(GROUPS).where(GROUPS.c.id == id_)
    return connection.execute(query if is_admin else query.where(GROUPS.c.project == project)).one_or_none()


def members_of(connection: Connection, group: str) -> list[str]:
    """The servers in a group that are not deleted."""
    query = select(SERVERS.c.id).where(SERVERS.c.group_id == group, SERVERS.c.deleted_us.is_(None)).order_by(SERVERS.c.created_us)
    return list(connection.execute(query).scalars())
