"""Images as volumes: each image's disk is written into the store as chunks once, and cloned from then on without copying anything.

Bytes of raw images stream from one object into chunks, zeros taking no room.  Other formats go through qemu-img in a sandbox
(`runtime/sandbox.py`), which is told the format, has no network but a socket to this process, and writes into a volume over NBD.
One job an image does that; a run that dies is begun anew with a volume of another id.  When the image is gone its base goes too;
clones do not depend on it.
"""

import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import Connection, and_, delete, exists, insert, select, update

from objstore.errors import NoSuchKey, PreconditionFailed, Refused, Unavailable
from objstore.runtime.commands import ProgramMissing
from objstore.runtime.sql import IntegrityError, Sql
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.services.image import records as image_records
from objstore.services.image.content import Bodies
from objstore.services.image.records import ACTIVE, DELETED, QUEUED, SAVING, Image
from objstore.services.image.tables import IMAGES
from objstore.services.image.uploads import Uploads
from objstore.services.tables.jobs import Job, enqueue
from objstore.services.volume.api.settings import BlockStorageSettings
from objstore.services.volume.api.tables import BASES, BYTES, SERVICE
from objstore.services.volume.attach import VolumeInUse, attach
from objstore.services.volume.device import Device
from objstore.services.volume.layout import SECTOR_BYTES, volume_id
from objstore.services.volume.objects import close
from objstore.services.volume.operations import HasSnapshots, Volumes
from objstore.services.volume.readers import reading
from objstore.services.volume.settings import MEBIBYTE, VolumeSettings
from objstore.services.volume.transfer import load, pour

log = logging.getLogger(__name__)

MAKE, DROP = "make-base", "drop-base"
NAME = "base of image"  # how a base's volume is named in the store
HOLDER = "services"  # of volumes that are being filled: with a space and what for, which no host's name has
COMING, READY, ERROR, GOING = "coming", "ready", "error", "going"
RAW_FORMATS = ("raw", "iso", "ami", "gpt", "ploop")
QEMU_FORMATS = {"qcow2": "qcow2", "vmdk": "vmdk", "vdi": "vdi", "vhd": "vpc", "vhdx": "vhdx"}
CONTAINERS = ("bare", "ami")
LOOK_S = 5.0  # between looks for images that became active or went
WAIT_S = 0.25
AGAIN_S = 60.0
OUTAGE = -1  # size of a base that could not be made for a reason which may pass


class ImageUnusable(Refused):
    """The image has no disk that a volume could begin with."""


class Converter(Protocol):
    """Turns the bytes of an image that is not raw into those of a disk."""

    async def convert(self, chunks: AsyncIterator[bytes | memoryview], format_: str, disk: "BlankDisk") -> None:
        """`format_` as QEMU names it.  Raises ImageUnusable, Unavailable."""


class BlankDisk(Protocol):
    """Where a converter's result goes."""

    def open(self, size_bytes: int) -> "contextlib.AbstractAsyncContextManager[Device]":
        """A device of zeros of that size, which is in the store when the context ends without an exception.  Raises ImageUnusable."""


@dataclass(frozen=True)
class BaseDisk:
    """An image as a volume of the store."""

    volume: bytes
    size_bytes: int


class BaseDisks:
    """All images' volumes."""

    def __init__(
        self, sql: Sql, world: World, volumes: Volumes, bodies: Bodies, uploads: Uploads, settings: BlockStorageSettings,
        data_settings: VolumeSettings, converter: Converter,
    ) -> None:  # fmt: skip
        self._sql = sql
        self._world = world
        self._volumes = volumes
        self._bodies = bodies
        self._uploads = uploads
        self._settings = settings
        self._data_settings = dataclasses.replace(
            data_settings, durability="store", clean_bytes=16 * MEBIBYTE, changed_bytes=64 * MEBIBYTE, commit_interval_s=60.0
        )
        self._converter = converter
        self._tasks = TaskOwner("base disks")
        self.jobs_wait: Callable[[], None] = _nobody  # set by who runs the jobs: told when there is one

    def start(self) -> None:
        """Begin to follow what becomes of images."""
        self._tasks.spawn(self._follow(), name="follow images")

    async def aclose(self) -> None:
        """Stop."""
        await self._tasks.aclose()

    # -- for who needs a disk -------------------------------------------------------------------------------------

    async def ensure(self, image_id: str) -> BaseDisk:
        """The image's volume, made now if there is none.  Who may see the image is the caller's business.

        Raises ImageUnusable, Unavailable.
        """
        while True:
            base = await self.ask(image_id)
            if base is not None:
                return base
            await self._world.clock.sleep(WAIT_S)

    async def ask(self, image_id: str) -> BaseDisk | None:
        """The image's volume; None while it is being made, which is begun now if it was not.  Raises ImageUnusable."""
        row = await self._sql.write(lambda connection: self._wanted(connection, image_id))
        if row.status == ERROR:
            raise ImageUnusable(row.message)
        if row.status != READY:
            self.jobs_wait()
            return None
        return BaseDisk(volume_id(row.data), row.size_bytes)

    async def clone(self, image_id: str, volume: bytes, size_bytes: int) -> None:
        """A new volume of that id that begins with the image, as long as asked for.  Nothing happens when it is there already.

        Raises ImageUnusable (also when the image's disk is longer), Unavailable.
        """
        base = await self.ensure(image_id)
        if size_bytes < base.size_bytes:
            raise ImageUnusable(f"the image's disk has {base.size_bytes} bytes, which is more than {size_bytes}")
        try:
            made = await self._volumes.clone_once(base.volume, volume, size_bytes=size_bytes, name=f"image {image_id}")
            if made.name != f"image {image_id}":
                raise PreconditionFailed(f"volume {volume.hex()} is there, and of no such image", condition="if-none-match")
        except NoSuchKey as failure:
            raise ImageUnusable(f"the image {image_id} was deleted") from failure

    def check_count(self, connection: Connection, project: str) -> None:
        """Whether a project may have one more image, of which the bytes come later.  Raises 413."""
        self._uploads.check_count(connection, project)

    async def to_image(self, volume: bytes, image_id: str, *, snapshot: bytes = b"", size_bytes: int = 0) -> None:
        """Upload what the store has of a volume, or a snapshot of it, as the bytes of a queued image whose disk format is raw.

        Raises CallRefused, Unavailable, NoSuchKey.
        """
        who = f"image {image_id}"
        async with reading(
            self._volumes.objects, self._world, volume, self._data_settings, snapshot=snapshot, who=who, is_one=True
        ) as source:
            size = size_bytes or source.device.size_bytes
            await self._uploads.receive(image_id, pour(source.device, length=size), size=size, before=(QUEUED,), during=SAVING)

    # -- records --------------------------------------------------------------------------------------------------

    def _wanted(self, connection: Connection, image_id: str) -> "_Row":
        row = connection.execute(select(BASES).where(BASES.c.image == image_id)).one_or_none()
        now_us = self._world.clock.wall_us()
        if row is not None and not _is_worth_another_try(row, now_us):
            return _Row(row.status, row.data, row.size_bytes, row.message)
        image = image_records.find_image(connection, image_id)
        if image is None or image.body is None:
            raise ImageUnusable(f"Image {image_id} has no data.")
        why = unusable(image, self._settings)
        if why:
            raise ImageUnusable(why)
        if row is None:
            connection.execute(insert(BASES).values(image=image_id, data="", status=COMING, size_bytes=0, message="", created_us=now_us))
        else:
            connection.execute(update(BASES).where(BASES.c.image == image_id).values(status=COMING, created_us=now_us))
        enqueue(connection, self._world.rng, BYTES, MAKE, image_id, now_us=now_us)
        return _Row(COMING, "", 0, "")

    async def _follow(self) -> None:
        while True:
            try:
                if await self._sql.write(self._compare):
                    self.jobs_wait()
            except (Unavailable, IntegrityError) as failure:  # the latter where another process wrote the same record at this moment
                log.warning("images are not looked at now: %s", failure)
            except Exception:  # without this loop no image becomes a volume ahead of its use, and none that went is let go of
                log.exception("images are not looked at now")
            await self._world.clock.sleep(LOOK_S)

    def _compare(self, connection: Connection) -> int:
        """Bases that are to be made, and those whose images went; how many jobs that makes."""
        now_us, count = self._world.clock.wall_us(), 0
        if self._settings.convert == "eager":
            missing = ~exists().where(BASES.c.image == IMAGES.c.id)
            rows = connection.execute(select(IMAGES).where(and_(IMAGES.c.status == ACTIVE, IMAGES.c.size > 0, missing)).limit(16)).all()
            for image in image_records.images_of(connection, rows):
                why = unusable(image, self._settings)
                status = ERROR if why else COMING
                connection.execute(
                    insert(BASES).values(image=image.id, data="", status=status, size_bytes=0, message=why, created_us=now_us)
                )
                if not why:
                    enqueue(connection, self._world.rng, BYTES, MAKE, image.id, now_us=now_us)
                    count += 1
        gone = exists().where(and_(IMAGES.c.id == BASES.c.image, IMAGES.c.status == DELETED))
        for row in connection.execute(select(BASES.c.image).where(and_(BASES.c.status.in_((READY, ERROR)), gone)).limit(100)).all():
            connection.execute(update(BASES).where(BASES.c.image == row.image).values(status=GOING))
            enqueue(connection, self._world.rng, SERVICE, DROP, row.image, now_us=now_us)
            count += 1
        return count

    # -- jobs -----------------------------------------------------------------------------------------------------

    async def make(self, job: Job) -> None:
        """Write an image's disk into the store."""
        image = await self._sql.read(lambda connection: image_records.find_image(connection, job.subject))
        data = self._world.rng.token(16)
        before = await self._sql.write(lambda connection: self._begin(connection, job.subject, data))
        if before is None:
            return
        if before:
            await self._remove(volume_id(before))
        if image is None or image.body is None:
            await self._sql.write(lambda connection: connection.execute(delete(BASES).where(BASES.c.image == job.subject)).rowcount)
            return
        disk = _Blank(self, image, data)
        try:
            await self._write(image, disk)
        except ProgramMissing as failure:
            await self._remove(data)
            await self._end(image.id, data, ERROR, OUTAGE, str(failure))
            return
        except Unavailable:
            raise
        except (Refused, VolumeInUse) as failure:
            log.warning("image %s is no disk: %s", image.id, failure)
            await self._remove(data)
            await self._end(image.id, data, ERROR, 0, f"The image cannot be used: {failure}"[:500])
            return
        if not await self._end(image.id, data, READY, disk.size_bytes, ""):
            await self._remove(data)

    def _begin(self, connection: Connection, image_id: str, data: bytes) -> str | None:
        row = connection.execute(select(BASES).where(BASES.c.image == image_id)).one_or_none()
        if row is None or row.status != COMING:
            return None
        connection.execute(update(BASES).where(BASES.c.image == image_id).values(data=data.hex()))
        return str(row.data)

    async def _end(self, image_id: str, data: bytes, status: str, size_bytes: int, message: str) -> bool:
        mine = and_(BASES.c.image == image_id, BASES.c.data == data.hex(), BASES.c.status == COMING)
        values = {"status": status, "size_bytes": size_bytes, "message": message}
        return bool(await self._sql.write(lambda connection: connection.execute(update(BASES).where(mine).values(**values)).rowcount))

    async def _write(self, image: Image, disk: "_Blank") -> None:
        assert image.body is not None
        reading = await self._bodies.read(image.body)
        try:
            if image.disk_format in RAW_FORMATS:
                await disk.fill(reading.chunks, int(image.size or 0))
            else:
                await self._converter.convert(reading.chunks, QEMU_FORMATS[str(image.disk_format)], disk)
        finally:
            await close(reading.chunks)

    async def give_up(self, job: Job) -> None:
        """The store could not be reached for long: the image is tried again when it is next needed."""
        now_us = self._world.clock.wall_us()

        def work(connection: Connection) -> None:
            mine = and_(BASES.c.image == job.subject, BASES.c.status == COMING)
            values = {"status": ERROR, "size_bytes": OUTAGE, "message": "The store could not be reached.", "created_us": now_us}
            connection.execute(update(BASES).where(mine).values(**values))
            if job.kind == DROP:
                enqueue(connection, self._world.rng, SERVICE, DROP, job.subject, now_us=now_us, delay_s=AGAIN_S)

        await self._sql.write(work)

    async def drop(self, job: Job) -> None:
        """Remove the base of an image that is gone."""
        row = await self._sql.read(lambda connection: connection.execute(select(BASES).where(BASES.c.image == job.subject)).one_or_none())
        if row is None or row.status != GOING:
            return
        if row.data:
            await self._remove(volume_id(row.data))
        await self._sql.write(lambda connection: connection.execute(delete(BASES).where(BASES.c.image == job.subject)).rowcount)

    async def _remove(self, data: bytes) -> None:
        with contextlib.suppress(NoSuchKey):
            try:
                await self._volumes.delete(data, force=True)
            except HasSnapshots as failure:
                raise Unavailable("the base is being cloned at this moment") from failure

    # -- for blank disks ------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def blank(self, image: Image, data: bytes, size_bytes: int) -> AsyncIterator[Device]:
        """An attached volume of zeros; committed and let go of at the end."""
        await self.create(image, data, size_bytes)
        attached = await attach(
            self._volumes.objects, self._world, data, self._data_settings, holder=f"{HOLDER} {data.hex()}", directory=""
        )
        try:
            yield attached.device
            await attached.detach()
        finally:
            await attached.aclose()

    async def create(self, image: Image, data: bytes, size_bytes: int) -> None:
        """A volume of zeros for an image.  Raises ImageUnusable."""
        if not 0 < size_bytes <= self._settings.convert_max_bytes:
            raise ImageUnusable(f"its disk has {size_bytes} bytes; volumes are made from up to {self._settings.convert_max_bytes}")
        await self._volumes.create(size_bytes, name=f"{NAME} {image.id}", volume=data)

    async def load(self, data: bytes, chunks: AsyncIterator[bytes | memoryview]) -> None:
        """Fill a volume of zeros."""
        holder = f"{HOLDER} {data.hex()}"
        await load(self._volumes.objects, self._world, data, self._data_settings, chunks, holder=holder)


@dataclass(frozen=True)
class _Row:
    status: str
    data: str
    size_bytes: int
    message: str


class _Blank:
    """BlankDisk for one run of a job."""

    def __init__(self, bases: BaseDisks, image: Image, data: bytes) -> None:
        self._bases = bases
        self._image = image
        self._data = data
        self.size_bytes = 0

    def open(self, size_bytes: int) -> contextlib.AbstractAsyncContextManager[Device]:
        self.size_bytes = whole_sectors(size_bytes)
        return self._bases.blank(self._image, self._data, self.size_bytes)

    async def fill(self, chunks: AsyncIterator[bytes | memoryview], size_bytes: int) -> None:
        """The disk is what the bytes are."""
        self.size_bytes = whole_sectors(size_bytes)
        await self._bases.create(self._image, self._data, self.size_bytes)
        await self._bases.load(self._data, chunks)


def _is_worth_another_try(row: Any, now_us: int) -> bool:
    return bool(row.status == ERROR and row.size_bytes == OUTAGE and row.created_us < now_us - int(AGAIN_S * 1e6))


def _nobody() -> None:
    return


def whole_sectors(size_bytes: int) -> int:
    """Rounded up to what a disk can have."""
    return -(-size_bytes // SECTOR_BYTES) * SECTOR_BYTES


def unusable(image: Image, settings: BlockStorageSettings) -> str:
    """Why no volume can begin with an image; empty where one can."""
    if image.container_format not in CONTAINERS or image.disk_format not in (*RAW_FORMATS, *QEMU_FORMATS):
        return f"Image {image.id} is {image.disk_format} in a container {image.container_format}, which is not the format of a disk."
    size = image.virtual_size or image.size or 0
    if not size:
        return f"Image {image.id} has no data."
    if size > settings.convert_max_bytes:
        return f"Image {image.id} has a disk of {size} bytes; volumes are made from up to {settings.convert_max_bytes}."
    return ""
