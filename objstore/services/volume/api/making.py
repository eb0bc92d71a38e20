"""New volumes: what may be asked for, judged and written in one transaction with the quota and the job that makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, insert, or_, select

from objstore.services.calls.problems import bad_request, not_found
from objstore.services.image.records import ACTIVE, Image
from objstore.services.volume.api import limits, records
from objstore.services.volume.api.records import AVAILABLE, CREATING, IN_USE, RESTORING
from objstore.services.volume.api.service import VolumeService, image_of, snapshot_of, volume_of
from objstore.services.volume.api.tables import BACKUPS, DEFAULT_TYPES, TYPE_ACCESS, TYPES, VOLUMES
from objstore.services.volume.layout import SIZE_LIMIT_BYTES

GIB = 1024**3
MAX_GB = SIZE_LIMIT_BYTES // GIB
CREATE, RESTORE = "create", "restore"
Row = Any


@dataclass(frozen=True)
class Wanted:
    """A volume as it was asked for."""

    project: str
    user: str
    size_gb: int | None = None
    name: str | None = None
    description: str | None = None
    image: str = ""
    snapshot: str = ""
    source: str = ""
    backup: str = ""
    volume_type: str = ""  # id or name
    availability_zone: str = ""
    multiattach: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    is_admin: bool = False
    request_id: str = ""


@dataclass
class _Origin:
    """What a volume begins with."""

    size_gb: int = 0
    bootable: bool = False
    volume_type: str = ""
    image_metadata: dict[str, str] = field(default_factory=dict)
    multiattach: bool = False


async def create(service: VolumeService, wanted: Wanted) -> str:
    """Write a volume that is being created; its id.  Raises 400, 404, 413."""
    id_ = service.new_id()
    await service.write(lambda connection: write_volume(connection, service, id_, wanted))
    return id_


def write_volume(connection: Connection, service: VolumeService, id_: str, wanted: Wanted, *, begin: bool = True) -> None:
    """The same inside a transaction.  `begin`: with the job that makes it."""
    if sum(bool(one) for one in (wanted.image, wanted.snapshot, wanted.source, wanted.backup)) > 1:
        raise bad_request("Invalid input received: a volume is made from one of an image, a snapshot, a volume and a backup.")
    origin = _origin(connection, wanted)
    size_gb = _size(wanted, origin)
    zone = wanted.availability_zone or service.settings.availability_zone
    if zone != service.settings.availability_zone:
        raise bad_request(f"Invalid input received: Availability zone '{zone[:64]}' is invalid.")
    type_ = type_for(connection, service, wanted, origin.volume_type)
    extra = records.properties_of(connection, "extra", type_.id)
    limits.check(connection, service.settings, wanted.project, {"volumes": 1, "gigabytes": size_gb}, type_name=type_.name, each_gb=size_gb)
    now_us = service.now_us()
    connection.execute(
        insert(VOLUMES).values(
            id=id_, project=wanted.project, user_id=wanted.user, status=CREATING, name=wanted.name, description=wanted.description, size_gb=size_gb,
            data=id_.replace("-", ""), availability_zone=zone, bootable=origin.bootable,
            multiattach=origin.multiattach or is_yes(extra.get("multiattach", "")), read_only=False, volume_type=type_.id,
            snapshot_id=wanted.snapshot, source_volid=wanted.source, image_id=wanted.image, backup_id=wanted.backup, before="", migration_status="",
            created_us=now_us, updated_us=0,
        )
    )  # fmt: skip
    records.set_properties(connection, "volume", id_, wanted.metadata)
    records.set_properties(connection, "image", id_, origin.image_metadata)
    if begin and wanted.backup:
        records.change(connection, VOLUMES, id_, status_=RESTORING)
        records.change(connection, BACKUPS, wanted.backup, status=(AVAILABLE,), status_="restoring", restoring=id_, updated_us=now_us)
        service.enqueue(connection, RESTORE, wanted.backup, details={"volume": id_, "request": wanted.request_id})
    elif begin:
        service.enqueue(connection, CREATE, id_, details={"request": wanted.request_id})


def is_yes(value: str) -> bool:
    """Extra specs say "<is> True"."""
    return value.removeprefix("<is>").strip().lower() in ("true", "yes", "1", "on")


def _origin(connection: Connection, wanted: Wanted) -> _Origin:
    project, is_admin = wanted.project, wanted.is_admin
    if wanted.snapshot:
        snapshot = snapshot_of(connection, project, wanted.snapshot, is_admin=is_admin)
        if snapshot.status != AVAILABLE:
            raise bad_request("Invalid snapshot: Originating snapshot status must be one of 'available' values")
        volume = records.find(connection, VOLUMES, snapshot.volume)
        return _from_volume(connection, volume, snapshot.size_gb, snapshot.volume_type)
    if wanted.source:
        volume = volume_of(connection, project, wanted.source, is_admin=is_admin)
        if volume.status not in (AVAILABLE, IN_USE):
            raise bad_request("Invalid volume: Unable to create volume from source volume: its status must be available or in-use.")
        return _from_volume(connection, volume, volume.size_gb, volume.volume_type)
    if wanted.backup:
        backup = records.find(connection, BACKUPS, wanted.backup)
        if backup is None or not (is_admin or backup.project == project):
            raise not_found(f"Backup {wanted.backup[:64]} could not be found.")
        if backup.status != AVAILABLE:
            raise bad_request("Invalid backup: Originating backup status must be one of 'available' values")
        return _Origin(backup.size_gb)
    if wanted.image:
        return _from_image(image_of(connection, project, wanted.image, is_admin=is_admin))
    return _Origin()


def _from_volume(connection: Connection, volume: Row, size_gb: int, type_: str) -> _Origin:
    if volume is None:
        return _Origin(size_gb, volume_type=type_)
    return _Origin(size_gb, bool(volume.bootable), type_, records.properties_of(connection, "image", volume.id))


def _from_image(image: Image) -> _Origin:
    if image.status != ACTIVE:
        raise bad_request(f"Invalid input received: Image {image.id} is not active.")
    return _Origin(image_least_gb(image), bootable=True, image_metadata=image_metadata(image))


def image_least_gb(image: Image) -> int:
    """How large a volume must be that begins with an image."""
    return max(image.min_disk, -(-max(image.virtual_size or 0, image.size or 0) // GIB))


def image_metadata(image: Image) -> dict[str, str]:
    """What a volume keeps of its image."""
    found = {name: value for name, value in image.properties.items() if value is not None}
    base = {
        "image_id": image.id, "image_name": image.name, "checksum": image.checksum, "container_format": image.container_format,
        "disk_format": image.disk_format, "min_disk": image.min_disk, "min_ram": image.min_ram, "size": image.size,
    }  # fmt: skip
    return found | {name: str(value) for name, value in base.items() if value is not None}


def _size(wanted: Wanted, origin: _Origin) -> int:
    whole = wanted.snapshot or wanted.source or wanted.backup
    size_gb = wanted.size_gb if wanted.size_gb is not None else origin.size_gb if whole else None
    if size_gb is None:
        raise bad_request("Invalid input received: Volume size 'None' must be an integer and greater than 0")
    if not 0 < size_gb <= MAX_GB:
        raise bad_request(f"Invalid input received: Volume size '{size_gb}' must be an integer and greater than 0, and {MAX_GB} at most")
    if size_gb < origin.size_gb:
        what = "snapshot" if wanted.snapshot else "source volume" if wanted.source else "backup" if wanted.backup else "image"
        raise bad_request(
            f"Invalid input received: Volume size '{size_gb}'GB cannot be smaller than the {what} size {origin.size_gb}GB. "
            f"They must be >= original {what} size."
        )
    return size_gb


def type_for(connection: Connection, service: VolumeService, wanted: Wanted, inherited: str) -> Row:
    """The volume type: as asked for, else as what it is made from, else the project's default, else everybody's.  Raises 404."""
    if wanted.volume_type:
        return find_type(connection, wanted.project, wanted.volume_type, is_admin=wanted.is_admin)
    for id_ in (inherited, default_type_id(connection, wanted.project)):
        row = records.find(connection, TYPES, id_) if id_ else None
        if row is not None:
            return row
    return find_type(connection, wanted.project, service.settings.default_volume_type, is_admin=True)


def default_type_id(connection: Connection, project: str) -> str:
    """The type that a project chose for volumes without one, "" where it did not."""
    found = connection.execute(select(DEFAULT_TYPES.c.volume_type).where(DEFAULT_TYPES.c.project == project)).scalar_one_or_none()
    return str(found or "")


def find_type(connection: Connection, project: str, id_or_name: str, *, is_admin: bool = False) -> Row:
    """A volume type that a project may use.  Raises 404."""
    query = select(TYPES).where(or_(TYPES.c.id == id_or_name, TYPES.c.name == id_or_name)).limit(1)
    row = connection.execute(query).first()
    if row is not None and not (row.is_public or is_admin):
        mine = select(TYPE_ACCESS).where((TYPE_ACCESS.c.volume_type == row.id) & (TYPE_ACCESS.c.project == project))
        row = row if connection.execute(mine).first() is not None else None
    if row is None:
        raise not_found(f"Volume type {id_or_name[:255]} could not be found.")
    return row
