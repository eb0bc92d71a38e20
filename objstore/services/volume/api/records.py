"""Volumes and what belongs to them as they are kept: reading and changing rows inside a transaction.  Nothing here waits, draws at
random or reads a clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Table, and_, delete, insert, select, update

from objstore.services.volume.api.tables import ATTACHMENTS, BACKUPS, PROPERTIES, SNAPSHOTS, VOLUMES

Row = Any
# States of volumes.
CREATING, DOWNLOADING, AVAILABLE, RESERVED, ATTACHING, IN_USE, DETACHING, DELETING = (
    "creating", "downloading", "available", "reserved", "attaching", "in-use", "detaching", "deleting",
)  # fmt: skip
ERROR, ERROR_DELETING, ERROR_EXTENDING, ERROR_RESTORING = "error", "error_deleting", "error_extending", "error_restoring"
EXTENDING, UPLOADING, BACKING_UP, RESTORING, RETYPING, REVERTING = (
    "extending", "uploading", "backing-up", "restoring-backup", "retyping", "reverting",
)  # fmt: skip
AWAITING_TRANSFER, MAINTENANCE, MANAGING = "awaiting-transfer", "maintenance", "managing"
VOLUME_STATUSES = (
    CREATING, DOWNLOADING, AVAILABLE, RESERVED, ATTACHING, IN_USE, DETACHING, DELETING, ERROR, ERROR_DELETING, ERROR_EXTENDING, ERROR_RESTORING,
    EXTENDING, UPLOADING, BACKING_UP, RESTORING, RETYPING, REVERTING, AWAITING_TRANSFER, MAINTENANCE, MANAGING,
)  # fmt: skip
REMOVABLE = (AVAILABLE, ERROR, ERROR_RESTORING, ERROR_EXTENDING, ERROR_DELETING)
MAX_ATTACHMENTS = 128  # of a volume that several servers may have
ATTACHED = "attached"
COMPUTE = "compute"  # owner of attachments


def find(connection: Connection, table: Table, id_: str) -> Row:
    """The row of an id, None where there is none."""
    return connection.execute(select(table).where(table.c.id == id_)).one_or_none()


def change(connection: Connection, table: Table, id_: str, *, status: Sequence[str] | None = None, **values: Any) -> bool:
    """Compare and set: change a row that has one of these states; whether it had.  The new state is `status_`."""
    conditions = [table.c.id == id_]
    if status is not None:
        conditions.append(table.c.status.in_(status))
    values = {name.rstrip("_"): value for name, value in values.items()}
    return connection.execute(update(table).where(and_(*conditions)).values(**values)).rowcount > 0


def properties(connection: Connection, kind: str, owners: Iterable[str]) -> dict[str, dict[str, str]]:
    """Names with values by owner; every owner is there."""
    found: dict[str, dict[str, str]] = {owner: {} for owner in owners}
    rows = connection.execute(
        select(PROPERTIES).where(and_(PROPERTIES.c.kind == kind, PROPERTIES.c.owner.in_(list(found)))).order_by(PROPERTIES.c.name)
    )
    for row in rows:
        found[row.owner][row.name] = row.value
    return found


def properties_of(connection: Connection, kind: str, owner: str) -> dict[str, str]:
    """Names with values of one thing."""
    return properties(connection, kind, (owner,))[owner]


def set_properties(connection: Connection, kind: str, owner: str, values: Mapping[str, str]) -> None:
    """Replace all."""
    connection.execute(delete(PROPERTIES).where(and_(PROPERTIES.c.kind == kind, PROPERTIES.c.owner == owner)))
    if values:
        connection.execute(
            insert(PROPERTIES), [{"owner": owner, "kind": kind, "name": name, "value": value} for name, value in values.items()]
        )


def forget(connection: Connection, table: Table, id_: str) -> None:
    """Remove a row and its properties."""
    connection.execute(delete(PROPERTIES).where(PROPERTIES.c.owner == id_))
    connection.execute(delete(table).where(table.c.id == id_))


def attachments_of(connection: Connection, volumes: Iterable[str]) -> dict[str, list[Row]]:
    """Attachments by volume, the oldest first; every volume is there."""
    found: dict[str, list[Row]] = {volume: [] for volume in volumes}
    query = select(ATTACHMENTS).where(ATTACHMENTS.c.volume.in_(list(found))).order_by(ATTACHMENTS.c.created_us, ATTACHMENTS.c.id)
    for row in connection.execute(query):
        found[row.volume].append(row)
    return found


def snapshots_of(connection: Connection, volume: str) -> Sequence[Row]:
    """A volume's snapshots."""
    return connection.execute(select(SNAPSHOTS).where(SNAPSHOTS.c.volume == volume).order_by(SNAPSHOTS.c.created_us)).all()


def is_named(connection: Connection, data: str) -> bool:
    """Whether a volume of the store is still that of a volume, or has snapshots."""
    for table in (VOLUMES, SNAPSHOTS):
        if connection.execute(select(table.c.id).where(table.c.data == data).limit(1)).first() is not None:
            return True
    return False


def is_exchanged(volume: Row) -> bool:
    """Whether a volume is to have other data, made from an image, in a moment; a new one is not."""
    return bool(volume.status == DOWNLOADING and volume.before)


def dependents_of(connection: Connection, backup: str) -> int:
    """How many backups go on from this one."""
    return len(connection.execute(select(BACKUPS.c.id).where(BACKUPS.c.parent == backup)).all())


def change_attachments(connection: Connection, volume: str, before: Sequence[str], after: str | None) -> None:
    """All of a volume's attachments that are in one of these states, where there is another."""
    if after is not None:
        mine = and_(ATTACHMENTS.c.volume == volume, ATTACHMENTS.c.status.in_(before))
        connection.execute(update(ATTACHMENTS).where(mine).values(status=after))


def settle(connection: Connection, volume: str, *, now_us: int) -> None:
    """The status of a volume that follows from its attachments, after one was changed or ended."""
    statuses = {row.status for row in attachments_of(connection, (volume,))[volume]}
    if ATTACHED in statuses:
        status = IN_USE
    elif ATTACHING in statuses:
        status = ATTACHING
    elif DETACHING in statuses:
        status = DETACHING
    else:
        status = RESERVED if statuses else AVAILABLE
    change(connection, VOLUMES, volume, status=(AVAILABLE, RESERVED, ATTACHING, IN_USE, DETACHING), status_=status, updated_us=now_us)
