"""What the block storage service's calls and jobs work on: the database, volumes of the store, images' base disks, the settings."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, insert, select

from objstore.identity.rules import Access
from objstore.objects.api import ObjectStoreApi
from objstore.runtime.sql import IntegrityError, Sql
from objstore.runtime.world import World
from objstore.services.calls.call import Call
from objstore.services.calls.problems import CallRefused, not_found
from objstore.services.image import records as image_records
from objstore.services.image.content import Bodies
from objstore.services.image.records import COMMUNITY, PUBLIC, SHARED, Image
from objstore.services.image.settings import ImageSettings
from objstore.services.image.uploads import Uploads
from objstore.services.tables import jobs
from objstore.services.tables.jobs import enqueue
from objstore.services.tables.migrations import migrate
from objstore.services.volume.api import records
from objstore.services.volume.api.backup_data import Backups
from objstore.services.volume.api.settings import BlockStorageSettings
from objstore.services.volume.api.tables import BYTES, SCHEMA, SERVICE, SNAPSHOTS, TYPES, VOLUMES
from objstore.services.volume.base_disks import BaseDisks, Converter
from objstore.services.volume.operations import Volumes
from objstore.services.volume.settings import VolumeSettings

T = TypeVar("T")
Row = Any
# What the one backend is; volume types that ask for something else cannot be had.
CAPABILITIES = {"volume_backend_name": "objstore", "storage_protocol": "objstore", "vendor_name": "objstore"}
MOVES_BYTES = ("upload", "backup", "restore", "drop-backup")  # kinds of jobs that others should not wait for


class AttachedHosts(Protocol):
    """What is asked of the hosts that have volumes attached; the compute service knows them.

    Each may come twice.  Raises Unavailable for what may go well later, Refused for what cannot.
    """

    async def snapshot(self, host: str, data_hex: str, snapshot_hex: str) -> None:
        """A snapshot of a volume with everything that was written before; it has the given id in the store."""

    async def resize(self, host: str, data_hex: str, size_bytes: int) -> None:
        """Make a volume longer."""

    async def extended(self, server_id: str, volume_id: str) -> None:
        """A volume of this server is longer now: its guest is to see it."""


@dataclass(frozen=True)
class ImageService:
    """What is used of the image service."""

    bodies: Bodies
    uploads: Uploads
    settings: ImageSettings


class VolumeService:
    """One process's part of the service."""

    def __init__(
        self, sql: Sql, store: ObjectStoreApi, world: World, volumes: Volumes, images: ImageService, converter: Converter,
        settings: BlockStorageSettings, data_settings: VolumeSettings,
    ) -> None:  # fmt: skip
        self.sql = sql
        self.store = store
        self.world = world
        self.volumes = volumes
        self.images = images
        self.settings = settings
        self.data_settings = data_settings
        self.bases = BaseDisks(sql, world, volumes, images.bodies, images.uploads, settings, data_settings, converter)
        self.hosts: AttachedHosts | None = None  # compute hands itself in when it starts
        self.jobs_wait: Callable[[], None] = lambda: None  # set by who runs the jobs

    async def start(self) -> None:
        """Bring the tables up to date.  Raises Unavailable, SchemaAhead."""
        for schema in (jobs.SCHEMA, SCHEMA):
            await migrate(self.sql, schema, self.now_us())
        await self.volumes.objects.start()
        await Backups(self.store, self.volumes.objects).start()
        name = self.settings.default_volume_type
        with contextlib.suppress(IntegrityError):  # another process made it at this moment
            await self.sql.write(lambda connection: _add_type(connection, self.new_id(), name, self.now_us()))

    def now_us(self) -> int:
        """The time."""
        return self.world.clock.wall_us()

    def new_id(self) -> str:
        """A UUID."""
        return uuid_of(self.world.rng.token(16))

    async def read(self, work: Callable[[Connection], T]) -> T:
        """A transaction that changes nothing."""
        return await self.sql.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """A transaction, after which jobs may wait."""
        done = await self.sql.write(work)
        self.jobs_wait()
        return done

    def enqueue(
        self, connection: Connection, kind: str, subject: str, *, details: Mapping[str, str] | None = None, delay_s: float = 0.0
    ) -> None:
        """Write a job with the change that it follows from."""
        service = BYTES if kind in MOVES_BYTES else SERVICE
        enqueue(connection, self.world.rng, service, kind, subject, now_us=self.now_us(), details=details, delay_s=delay_s)


def _add_type(connection: Connection, id_: str, name: str, now_us: int) -> None:
    """The volume type of volumes for which nothing else was said."""
    if connection.execute(select(TYPES.c.id).where(TYPES.c.name == name)).first() is None:
        values = {"id": id_, "name": name, "description": "Default Volume Type", "is_public": True, "qos": ""}
        connection.execute(insert(TYPES).values(**values, created_us=now_us, updated_us=0))


def uuid_of(token: bytes) -> str:
    """16 random bytes as a UUID of version 4."""
    text = token.hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:]}"


def project_of(who: Access) -> str:
    """The id of the project that somebody acts for."""
    return who.project.id if who.project is not None else ""


def volume_of(connection: Connection, project: str, id_: str, *, is_admin: bool = False) -> Row:
    """A volume that a project sees.  Raises 404."""
    row = records.find(connection, VOLUMES, id_)
    if row is None or not (is_admin or row.project == project):
        raise not_found(f"Volume {id_[:255]} could not be found.")
    return row


def snapshot_of(connection: Connection, project: str, id_: str, *, is_admin: bool = False) -> Row:
    """A snapshot that a project sees.  Raises 404."""
    row = records.find(connection, SNAPSHOTS, id_)
    if row is None or not (is_admin or row.project == project):
        raise not_found(f"Snapshot {id_[:255]} could not be found.")
    return row


def image_of(connection: Connection, project: str, id_: str, *, is_admin: bool = False) -> Image:
    """An image that a project sees.  Raises 404."""
    image = image_records.find_image(connection, id_)
    if image is None or not (is_admin or _sees(connection, project, image)):
        raise CallRefused(404, f"Image {id_[:255]} could not be found.")
    return image


def _sees(connection: Connection, project: str, image: Image) -> bool:
    if image.owner == project or image.visibility in (PUBLIC, COMMUNITY):
        return True
    return image.visibility == SHARED and image_records.member_status(connection, image.id, project) is not None


def called_volume(connection: Connection, call: Call) -> Row:
    """The volume that a call's path names.  Raises 404."""
    return volume_of(connection, call.project, call.parameters["volume_id"], is_admin=call.is_admin)
