"""New snapshots and the end of old ones, inside transactions."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, insert, select

from objstore.services.calls.problems import bad_request
from objstore.services.volume.api import limits, records
from objstore.services.volume.api.records import AVAILABLE, CREATING, DELETING, ERROR, ERROR_DELETING, IN_USE
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.tables import SNAPSHOTS, TYPES, VOLUMES
from objstore.services.volume.api.work import DROP_SNAPSHOT, SNAPSHOT

Row = Any


def write_snapshot(
    connection: Connection, service: VolumeService, id_: str, volume: Row, *, user: str, name: str | None, description: str | None,
    force: bool = False, metadata: Mapping[str, str] | None = None, request_id: str = "",
) -> None:  # fmt: skip
    """A snapshot that is being created.  `force`: also of a volume that is in use.  Raises 400, 413."""
    expected = (AVAILABLE, IN_USE) if force else (AVAILABLE,)
    if volume.status not in expected:
        raise bad_request(
            f"Invalid volume: Volume {volume.id} status must be {' or '.join(expected)}, but current status is: {volume.status}."
        )
    type_name = connection.execute(select(TYPES.c.name).where(TYPES.c.id == volume.volume_type)).scalar_one_or_none()
    limits.check(
        connection, service.settings, volume.project, {"snapshots": 1, "gigabytes": volume.size_gb}, type_name=str(type_name or "")
    )
    connection.execute(
        insert(SNAPSHOTS).values(
            id=id_, volume=volume.id, data=volume.data, project=volume.project, user_id=user, status=CREATING, name=name, description=description,
            size_gb=volume.size_gb, progress="0%", volume_type=volume.volume_type, created_us=service.now_us(), updated_us=0,
        )
    )  # fmt: skip
    records.set_properties(connection, "snapshot", id_, metadata or {})
    service.enqueue(connection, SNAPSHOT, id_, details={"request": request_id})


def write_deletion(connection: Connection, service: VolumeService, row: Row, *, force: bool = False) -> None:
    """A snapshot begins to go.  Raises 400 where it is busy."""
    expected = None if force else (AVAILABLE, ERROR, ERROR_DELETING)
    if not records.change(connection, SNAPSHOTS, row.id, status=expected, status_=DELETING, updated_us=service.now_us()):
        raise bad_request(
            f"Invalid snapshot: Snapshot status must be one of available, error or error_deleting to be deleted; it is {row.status}."
        )
    making = select(VOLUMES.c.id).where((VOLUMES.c.snapshot_id == row.id) & (VOLUMES.c.status == CREATING)).limit(1)
    if not force and connection.execute(making).first() is not None:
        raise bad_request("Invalid snapshot: a volume is being made from the snapshot.")
    service.enqueue(connection, DROP_SNAPSHOT, row.id)
