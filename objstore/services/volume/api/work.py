"""The jobs of volumes and snapshots: what follows in the store from what was written in the tables.

Every handler can run twice: the store's ids are chosen beforehand, states change by compare-and-set, and what is there already is
taken as done.  What cannot be done ends in a state that says so, with a message that its project can read.
"""

import contextlib
import logging
from collections.abc import Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from objstore.errors import InvalidArgument, NoSuchKey, ObjstoreError, PreconditionFailed, Refused, Unavailable
from objstore.services.image import records as image_records
from objstore.services.image.records import DELETED as IMAGE_DELETED
from objstore.services.image.records import QUEUED, SAVING
from objstore.services.tables.jobs import Job, others_of
from objstore.services.volume.api import records
from objstore.services.volume.api.making import CREATE, GIB
from objstore.services.volume.api.records import (
    ATTACHED,
    AVAILABLE,
    CREATING,
    DELETING,
    DOWNLOADING,
    ERROR,
    ERROR_DELETING,
    ERROR_EXTENDING,
    EXTENDING,
    REVERTING,
    UPLOADING,
)
from objstore.services.volume.api.service import CAPABILITIES, VolumeService
from objstore.services.volume.api.tables import ATTACHMENTS, MESSAGES, SERVICE, SNAPSHOTS, TRANSFERS, VOLUMES
from objstore.services.volume.api.temporary import DROP_PIN, Temporary
from objstore.services.volume.base_disks import HOLDER
from objstore.services.volume.layout import SNAPSHOT as PIN
from objstore.services.volume.layout import volume_id
from objstore.services.volume.operations import NoSuchSnapshot

log = logging.getLogger(__name__)
Row = Any

DELETE, SNAPSHOT, DROP_SNAPSHOT, EXTEND, UPLOAD, REVERT, REIMAGE, DROP_DATA = (
    "delete", "snapshot", "drop-snapshot", "extend", "upload", "revert", "reimage", "drop-data",
)  # fmt: skip
BASE_WAIT_S = 1.0  # before a volume asks again whether its image is there as chunks
BUSY_WAIT_S = 1.0  # before what is to go asks again whether a job may still be making it
MAKING = (CREATE, REVERT, REIMAGE)  # kinds of jobs that make data for a volume
AGAIN_S = 60.0
DAY_US = 86_400_000_000
MESSAGE_DAYS = 30
MESSAGES_LIMIT = 1000  # of a project


class Work:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service
        self._volumes = service.volumes
        self.temporary = Temporary(service, self.take_snapshot)

    # -- making ---------------------------------------------------------------------------------------------------

    async def create(self, job: Job) -> None:
        """A volume's data: zeros, or a clone."""
        volume = await self._volume(job.subject)
        if volume is None or volume.status not in (CREATING, DOWNLOADING):
            return
        data, size = volume_id(volume.data), volume.size_gb * GIB
        try:
            await self._check_type(volume)
            if volume.snapshot_id:
                snapshot = await self._service.read(lambda connection: records.find(connection, SNAPSHOTS, volume.snapshot_id))
                if snapshot is None:
                    raise NoSuchSnapshot("the snapshot was deleted")
                await self.clone(volume_id(snapshot.data), data, size, snapshot=volume_id(snapshot.id))
            elif volume.source_volid:
                await self._copy(job, volume, data, size)
            elif volume.image_id:
                if not await self._from_image(job, volume, data, size):
                    return
            else:
                await self.blank(data, size)
        except Refused as failure:
            await self._failed(volume, (CREATING, DOWNLOADING), ERROR, job, "create", f"The volume could not be made: {failure}")
            return
        await self._settled(volume.id, (CREATING, DOWNLOADING), AVAILABLE)

    async def _check_type(self, volume: Row) -> None:
        """Raises InvalidArgument for a type that asks for another backend."""
        specs = await self._service.read(lambda connection: records.properties_of(connection, "extra", volume.volume_type))
        for name, value in specs.items():
            if CAPABILITIES.get(name.removeprefix("capabilities:"), value) != value:
                raise InvalidArgument(f"no backend was found whose {name} is {value[:64]}")

    async def blank(self, data: bytes, size_bytes: int) -> None:
        """A volume of zeros; nothing happens when it is there."""
        with contextlib.suppress(PreconditionFailed):
            await self._volumes.create(size_bytes, volume=data)

    async def clone(self, source: bytes, data: bytes, size_bytes: int, *, snapshot: bytes = b"") -> None:
        """A clone; nothing happens when it is there."""
        await self._volumes.clone_once(source, data, snapshot=snapshot, size_bytes=size_bytes)

    async def _copy(self, job: Job, volume: Row, data: bytes, size_bytes: int) -> None:
        """A clone of another volume as it is now: of one that a host has, by a snapshot that is taken there and dropped afterwards."""
        source = await self._volume(volume.source_volid)
        if source is None:
            raise NoSuchKey("the source volume was deleted")
        await self.temporary.take(job, source.id, volume_id(source.data), data)
        await self.clone(volume_id(source.data), data, size_bytes, snapshot=data)
        await self.temporary.drop(volume_id(source.data), data)

    async def _from_image(self, job: Job, volume: Row, data: bytes, size_bytes: int) -> bool:
        """Whether the image's chunks were there; else it is asked again soon."""
        service = self._service
        if await service.bases.ask(volume.image_id) is not None:
            await service.bases.clone(volume.image_id, data, size_bytes)
            return True

        def again(connection: Connection) -> None:
            if records.change(connection, VOLUMES, volume.id, status=(CREATING, DOWNLOADING), status_=DOWNLOADING):
                service.enqueue(connection, CREATE, volume.id, details=job.details, delay_s=BASE_WAIT_S)

        await service.write(again)
        return False

    # -- snapshots ------------------------------------------------------------------------------------------------

    async def take_snapshot(self, volume: str, data: bytes, snapshot: bytes) -> None:
        """A snapshot in the store, by the host that has the volume attached where one has.  Raises Unavailable, Refused."""
        head = await self._volumes.head(data)
        if not head.holder:
            await self._volumes.snapshot(data, snapshot=snapshot)
            return
        host = await self.host_of(volume)
        if not host or self._service.hosts is None:
            raise Unavailable(f"volume {volume} is held by {head.holder!r}, which no attachment explains")
        await self._service.hosts.snapshot(host, data.hex(), snapshot.hex())

    async def host_of(self, volume: str) -> str:
        """Where a volume is attached by the compute service; "" nowhere."""
        rows = await self._service.read(lambda connection: records.attachments_of(connection, (volume,))[volume])
        return next((str(row.host) for row in rows if row.owner == records.COMPUTE and row.host and row.status == ATTACHED), "")

    async def snapshot(self, job: Job) -> None:
        """A snapshot that its row says is being created."""
        service = self._service
        snapshot = await service.read(lambda connection: records.find(connection, SNAPSHOTS, job.subject))
        if snapshot is None or snapshot.status != CREATING:
            return
        try:
            await self.take_snapshot(snapshot.volume, volume_id(snapshot.data), volume_id(snapshot.id))
        except Refused as failure:
            await self._snapshot_failed(job, f"The snapshot could not be taken: {failure}")
            return
        now_us = service.now_us()
        await service.write(
            lambda connection: records.change(
                connection, SNAPSHOTS, snapshot.id, status=(CREATING,), status_=AVAILABLE, progress="100%", updated_us=now_us
            )
        )

    async def drop_snapshot(self, job: Job) -> None:
        """A snapshot goes, and the data that it was taken of, where nothing else names it."""
        service = self._service
        snapshot = await service.read(lambda connection: records.find(connection, SNAPSHOTS, job.subject))
        if snapshot is None or snapshot.status != DELETING:
            return
        if await self._waits(job, (SNAPSHOT,)):  # or it would be taken after it was dropped
            return
        with contextlib.suppress(NoSuchKey):
            await self._volumes.drop_snapshot(volume_id(snapshot.data), volume_id(snapshot.id))

        def work(connection: Connection) -> None:
            records.forget(connection, SNAPSHOTS, snapshot.id)
            if not records.is_named(connection, snapshot.data):
                service.enqueue(connection, DROP_DATA, snapshot.data)

        await service.write(work)

    # -- the end --------------------------------------------------------------------------------------------------

    async def delete(self, job: Job) -> None:
        """A volume goes with its data; its chunks with the next sweep."""
        service = self._service
        volume = await self._volume(job.subject)
        if volume is None or volume.status != DELETING:
            return
        if await self._waits(job, MAKING):  # or its data would be made after it was removed
            return
        await self.remove_data(volume_id(volume.data), force=job.details.get("force") == "yes")
        await service.write(lambda connection: forget_volume(connection, volume.id))

    async def _waits(self, job: Job, kinds: Sequence[str]) -> bool:
        """Whether jobs of these kinds are not through with what this one is to remove; then it comes again soon."""
        service = self._service

        def work(connection: Connection) -> bool:
            busy = others_of(connection, (SERVICE,), kinds, job.subject)
            if busy:
                service.enqueue(connection, job.kind, job.subject, details=job.details, delay_s=BUSY_WAIT_S)
            return busy

        return await service.write(work)

    async def remove_data(self, data: bytes, *, force: bool = False) -> None:
        """Remove a volume of the store.  Raises VolumeInUse and HasSnapshots, which are tried again, Unavailable."""
        with contextlib.suppress(NoSuchKey):
            head = await self._volumes.head(data)
            for pin in head.pins:  # what jobs that were given up left: no snapshot of a client
                if pin.kind == PIN and not await self._service.read(partial(_is_snapshot, id_=uuid_like(pin.id))):
                    await self._volumes.drop_snapshot(data, pin.id)
            # What this service held while it filled the volume, or read it, ended with the process that did.
            await self._volumes.delete(data, force=force or head.holder.startswith(f"{HOLDER} "))

    async def drop_data(self, job: Job) -> None:
        """Data that no volume and no snapshot names any more."""
        if not await self._service.read(lambda connection: records.is_named(connection, job.subject)):
            await self.remove_data(volume_id(job.subject))

    # -- changes --------------------------------------------------------------------------------------------------

    async def extend(self, job: Job) -> None:
        """A volume becomes longer, its attached hosts know of it."""
        service = self._service
        volume = await self._volume(job.subject)
        if volume is None or volume.status != EXTENDING:
            return
        host = await self.host_of(volume.id)
        size, data = int(job.details["size_gb"]) * GIB, volume_id(volume.data)
        try:
            head = await self._volumes.head(data)
            if head.size_bytes < size:
                if not head.holder:
                    await self._volumes.resize(data, size)
                elif host and service.hosts is not None:
                    await service.hosts.resize(host, volume.data, size)
                else:
                    raise Unavailable(f"volume {volume.id} is held by {head.holder!r}, which no attachment explains")
        except Refused as failure:
            old_gb = int(job.details["old_gb"])
            await self._failed(
                volume, (EXTENDING,), ERROR_EXTENDING, job, "extend", f"The volume could not be extended: {failure}", size_gb=old_gb
            )
            return
        await self._settled(volume.id, (EXTENDING,), job.details["before"])
        if host and service.hosts is not None:
            rows = await service.read(lambda connection: records.attachments_of(connection, (volume.id,))[volume.id])
            for row in rows:
                if row.owner == records.COMPUTE and row.server:
                    with contextlib.suppress(ObjstoreError):  # it is as long as it was asked to be; the guest sees it at its next start
                        await service.hosts.extended(row.server, volume.id)

    async def upload(self, job: Job) -> None:
        """A volume becomes the bytes of an image."""
        volume = await self._volume(job.subject)
        if volume is None or volume.status != UPLOADING:
            # Nobody uploads to it any more, where the run before this one did not.
            await self._service.write(lambda connection: drop_image(connection, job.details["image"], now_us=self._service.now_us()))
            return
        temporary = volume_id(job.id)
        data = volume_id(volume.data)
        try:
            await self.temporary.take(job, volume.id, data, temporary)
            await self._send(data, temporary, job.details["image"])
        except Unavailable:
            raise
        except Refused as failure:
            await self._tell(volume, job, "upload", f"The volume could not be uploaded: {failure}")
            await self._service.write(lambda connection: drop_image(connection, job.details["image"], now_us=self._service.now_us()))
        await self._settled(volume.id, (UPLOADING,), job.details["before"])
        await self.temporary.drop(data, temporary)

    async def _send(self, data: bytes, snapshot: bytes, image_id: str) -> None:
        image = await self._service.read(lambda connection: image_records.find_image(connection, image_id))
        if image is None:
            raise NoSuchKey("the image was deleted")
        if image.status == SAVING:
            raise Unavailable("an upload that died still holds the image")
        if image.status == QUEUED:
            await self._service.bases.to_image(data, image_id, snapshot=snapshot)

    async def revert(self, job: Job) -> None:
        """A volume becomes what a snapshot keeps: other data, made from it."""
        volume = await self._volume(job.subject)
        if volume is not None and volume.status == REVERTING:
            snapshot = await self._service.read(lambda connection: records.find(connection, SNAPSHOTS, job.details["snapshot"]))
            data = volume_id(job.id)
            try:
                if snapshot is None:
                    raise NoSuchSnapshot("the snapshot was deleted")
                await self.clone(volume_id(snapshot.data), data, volume.size_gb * GIB, snapshot=volume_id(snapshot.id))
            except Refused as failure:
                await self._failed(volume, (REVERTING,), ERROR, job, "revert", f"The volume could not be reverted: {failure}")
            else:
                await self._exchange(volume, data, (REVERTING,), job.details["before"])
        await self._made(job)

    async def _made(self, job: Job) -> None:
        """The end of a job that makes other data for a volume, however it ended: what nobody names goes, the snapshot is free."""
        service, now_us = self._service, self._service.now_us()
        made = job.details.get("data") or job.id

        def work(connection: Connection) -> None:
            going_on = others_of(connection, (SERVICE,), (REIMAGE,), job.subject, but=job.id)  # with the same data
            if not going_on and not records.is_named(connection, made):
                service.enqueue(connection, DROP_DATA, made)
            if job.kind == REVERT:
                records.change(connection, SNAPSHOTS, job.details["snapshot"], status=("restoring",), status_=AVAILABLE, updated_us=now_us)

        await service.write(work)

    async def reimage(self, job: Job) -> None:
        """A volume becomes what an image holds: other data, made from it."""
        service = self._service
        volume = await self._volume(job.subject)
        if volume is None or volume.status != DOWNLOADING:
            await self._made(job)
            return
        data = volume_id(job.details.get("data") or job.id)
        try:
            if await service.bases.ask(job.details["image"]) is None:
                details = {**job.details, "data": data.hex()}
                await service.write(
                    lambda connection: service.enqueue(connection, REIMAGE, volume.id, details=details, delay_s=BASE_WAIT_S)
                )
                return
            await service.bases.clone(job.details["image"], data, volume.size_gb * GIB)
        except Refused as failure:
            await self._failed(volume, (DOWNLOADING,), ERROR, job, "reimage", f"The volume could not be made from the image: {failure}")
        else:
            await self._exchange(volume, data, (DOWNLOADING,), job.details["before"])
        await self._made(job)

    async def _exchange(self, volume: Row, data: bytes, before: Sequence[str], after: str) -> None:
        service, now_us = self._service, self._service.now_us()

        def work(connection: Connection) -> None:
            if records.change(connection, VOLUMES, volume.id, status=before, status_=after, data=data.hex(), before="", updated_us=now_us):
                records.settle(connection, volume.id, now_us=now_us)  # who had reserved it may have let go of it
                if not records.is_named(connection, volume.data):
                    service.enqueue(connection, DROP_DATA, volume.data)

        await service.write(work)

    # -- what is common -------------------------------------------------------------------------------------------

    async def give_up(self, job: Job) -> None:
        """The store or a host could not be reached for long."""
        why = "The store, or the host that has the volume, could not be reached."
        if job.kind in (SNAPSHOT,):
            await self._snapshot_failed(job, why)
            return
        if job.kind == DROP_SNAPSHOT:
            await self._service.write(
                lambda connection: records.change(connection, SNAPSHOTS, job.subject, status=(DELETING,), status_=ERROR_DELETING)
            )
            return
        if job.kind == DROP_DATA:  # never given up: nobody else knows of it
            service = self._service
            await service.write(lambda connection: service.enqueue(connection, DROP_DATA, job.subject, delay_s=AGAIN_S))
            return
        if job.kind == DROP_PIN:
            await self.temporary.again(job)
            return
        if job.kind == UPLOAD:
            await self._service.write(lambda connection: drop_image(connection, job.details["image"], now_us=self._service.now_us()))
        volume = await self._volume(job.subject)
        if volume is not None:
            await self._end_in_error(job, volume, why)
        if job.kind in (REVERT, REIMAGE):
            await self._made(job)

    async def _end_in_error(self, job: Job, volume: Row, why: str) -> None:
        ends: dict[str, tuple[tuple[str, ...], str]] = {
            CREATE: ((CREATING, DOWNLOADING), ERROR), DELETE: ((DELETING,), ERROR_DELETING), EXTEND: ((EXTENDING,), ERROR_EXTENDING),
            UPLOAD: ((UPLOADING,), job.details.get("before", AVAILABLE)), REVERT: ((REVERTING,), ERROR), REIMAGE: ((DOWNLOADING,), ERROR),
        }  # fmt: skip
        before, after = ends[job.kind]
        values = {}
        if job.kind == EXTEND:
            with contextlib.suppress(ObjstoreError):  # the answer alone may have been lost, every time
                if (await self._volumes.head(volume_id(volume.data))).size_bytes >= int(job.details["size_gb"]) * GIB:
                    await self._settled(volume.id, before, job.details["before"])
                    return
            values = {"size_gb": int(job.details["old_gb"])}
        await self._failed(volume, before, after, job, job.kind, why, **values)

    async def _volume(self, id_: str) -> Row:
        return await self._service.read(lambda connection: records.find(connection, VOLUMES, id_))

    async def _settled(self, id_: str, before: Sequence[str], after: str) -> None:
        now_us = self._service.now_us()

        def work(connection: Connection) -> None:
            if records.change(connection, VOLUMES, id_, status=before, status_=after, before="", updated_us=now_us):
                records.settle(connection, id_, now_us=now_us)  # it may have been reserved meanwhile

        await self._service.write(work)

    async def _failed(self, volume: Row, before: Sequence[str], after: str, job: Job, event: str, why: str, **values: Any) -> None:
        service, now_us = self._service, self._service.now_us()
        log.warning("%s of volume %s: %s", event, volume.id, why)

        def work(connection: Connection) -> None:
            if records.change(connection, VOLUMES, volume.id, status=before, status_=after, before="", updated_us=now_us, **values):
                records.settle(connection, volume.id, now_us=now_us)  # where it is as it was, that may be another state by now
                add_message(connection, service, volume.project, "VOLUME", volume.id, job.details.get("request", ""), event, why)

        await service.write(work)

    async def _tell(self, volume: Row, job: Job, event: str, why: str) -> None:
        service = self._service
        await service.write(
            lambda connection: add_message(
                connection, service, volume.project, "VOLUME", volume.id, job.details.get("request", ""), event, why
            )
        )

    async def _snapshot_failed(self, job: Job, why: str) -> None:
        service, now_us = self._service, self._service.now_us()

        def work(connection: Connection) -> None:
            row = records.find(connection, SNAPSHOTS, job.subject)
            if row is not None and records.change(connection, SNAPSHOTS, row.id, status=(CREATING,), status_=ERROR, updated_us=now_us):
                add_message(connection, service, row.project, "VOLUME_SNAPSHOT", row.id, job.details.get("request", ""), "snapshot", why)

        await service.write(work)


def uuid_like(id_: bytes) -> str:
    """16 bytes with hyphens."""
    text = id_.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _is_snapshot(connection: Connection, id_: str) -> bool:
    return records.find(connection, SNAPSHOTS, id_) is not None


def drop_image(connection: Connection, id_: str, *, now_us: int) -> None:
    """An image that got no bytes goes; an upload that still has it finds out."""
    values: dict[str, Any] = {"deleted_us": now_us, "updated_us": now_us, "operation_": "", "operation_until_us": 0}
    image_records.change(connection, id_, status=(QUEUED, SAVING), status_=IMAGE_DELETED, **values)


def forget_volume(connection: Connection, id_: str) -> None:
    """A volume's rows go."""
    for table in (ATTACHMENTS, TRANSFERS):
        connection.execute(delete(table).where(table.c.volume == id_))
    records.forget(connection, VOLUMES, id_)


def add_message(
    connection: Connection, service: VolumeService, project: str, resource_type: str, resource: str, request_id: str, event: str, text: str
) -> None:  # fmt: skip
    """Something that a project should know of what became of its request; of many, the newest."""
    now_us = service.now_us()
    old = select(MESSAGES.c.id).where(MESSAGES.c.project == project).order_by(MESSAGES.c.created_us.desc()).offset(MESSAGES_LIMIT - 1)
    gone = [row.id for row in connection.execute(old)]
    if gone:
        connection.execute(delete(MESSAGES).where(MESSAGES.c.id.in_(gone)))
    connection.execute(
        insert(MESSAGES).values(
            id=service.new_id(), project=project, resource_type=resource_type, resource=resource, request_id=request_id, event=event, text=text[:500],
            created_us=now_us, expires_us=now_us + MESSAGE_DAYS * DAY_US,
        )
    )  # fmt: skip
