"""The jobs of backups: write one, restore one, remove one.

A backup is of one moment: a snapshot that goes when it is done.  A volume is restored by making other data and exchanging the two at once, so
that a restore which breaks off leaves what was there.  All of it can run twice.
"""

import dataclasses
import logging
from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import Any

from sqlalchemy import Connection

from objstore.errors import Damaged, NoSuchKey, Refused, Unavailable
from objstore.services.tables.jobs import Job, others_of
from objstore.services.volume.api import records
from objstore.services.volume.api.backup_data import Backups, Listed
from objstore.services.volume.api.making import GIB, RESTORE
from objstore.services.volume.api.records import (
    AVAILABLE,
    BACKING_UP,
    CREATING,
    DELETING,
    ERROR,
    ERROR_DELETING,
    ERROR_RESTORING,
    RESTORING,
)
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.tables import BACKUPS, BYTES, SNAPSHOTS, VOLUMES
from objstore.services.volume.api.work import DROP_DATA, Work, add_message
from objstore.services.volume.attach import attach
from objstore.services.volume.base_disks import HOLDER
from objstore.services.volume.layout import volume_id
from objstore.services.volume.readers import forget, reading
from objstore.services.volume.settings import MEBIBYTE

log = logging.getLogger(__name__)
Row = Any
BACKUP, DROP_BACKUP = "backup", "drop-backup"
KINDS = (BACKUP, RESTORE, DROP_BACKUP)
LOOK_S = 5.0  # between looks whether a backup was deleted while it is written


class BackupWork:
    """The handlers."""

    def __init__(self, service: VolumeService, work: Work) -> None:
        self._service = service
        self._work = work
        self._volumes = service.volumes
        self._backups = Backups(service.store, service.volumes.objects)
        self._settings = dataclasses.replace(
            service.data_settings, durability="store", clean_bytes=16 * MEBIBYTE, changed_bytes=64 * MEBIBYTE, commit_interval_s=60.0
        )

    async def backup(self, job: Job) -> None:
        """Write a backup."""
        row = await self._row(job.subject)
        await forget(self._volumes.objects, *(_reader(job, run) for run in range(job.attempts)))
        if row is None or row.status != CREATING:  # deleted meanwhile, or done by a run before this one
            await self._service.write(lambda connection: self._free_volume(connection, job, row))
            return
        volume = await self._service.read(lambda connection: records.find(connection, VOLUMES, row.volume))
        if volume is None:
            await self._end(job, row, ERROR, "The volume was deleted.")
            return
        temporary, data = volume_id(job.id), volume_id(volume.data)
        try:
            if row.snapshot:
                count = await self._write(job, row, volume, await self._of_snapshot(row.snapshot), volume_id(row.snapshot))
            else:
                await self._work.temporary.take(job, volume.id, data, temporary)
                count = await self._write(job, row, volume, data, temporary)
        except Unavailable:
            raise
        except (Refused, Damaged) as failure:
            await self._end(job, row, ERROR, f"The backup could not be written: {failure}")
        else:
            await self._end(job, row, AVAILABLE, "", object_count=count)
        if not row.snapshot:
            await self._work.temporary.drop(data, temporary)

    async def _of_snapshot(self, id_: str) -> bytes:
        row = await self._service.read(lambda connection: records.find(connection, SNAPSHOTS, id_))
        if row is None:
            raise NoSuchKey("the snapshot was deleted")
        return volume_id(row.data)

    async def _write(self, job: Job, row: Row, volume: Row, data: bytes, snapshot: bytes) -> int:
        parent = await self._row(row.parent) if row.parent else None
        before = (_prefix(parent), await self._backups.read_list(_prefix(parent))) if parent is not None else None
        metadata, image = await self._service.read(
            lambda connection: tuple(records.properties_of(connection, kind, volume.id) for kind in ("volume", "image"))
        )
        who, objects, world = _reader(job, job.attempts), self._volumes.objects, self._service.world
        async with reading(objects, world, data, self._settings, snapshot=snapshot, who=who, is_one=True) as source:
            tree = source.tree
            listed = Listed(1, tree.size_bytes, (), metadata, image, bool(volume.bootable), volume.name or "", volume.description or "")
            done = await self._backups.write(_prefix(row), source.device, tree, listed, before, self._is_wanted(row))
        return sum(not extent.prefix for extent in done.extents) + 1

    def _is_wanted(self, row: Row) -> Callable[[], Awaitable[None]]:
        """Looks now and then whether the backup is to be written still.  Raises NoSuchKey."""
        clock = self._service.world.clock
        looked = clock.monotonic()

        async def look() -> None:
            nonlocal looked
            if clock.monotonic() < looked + LOOK_S:
                return
            looked = clock.monotonic()
            found = await self._row(row.id)
            if found is None or found.status != CREATING:
                raise NoSuchKey("the backup was deleted while it was written")

        return look

    def _free_volume(self, connection: Connection, job: Job, row: Row) -> None:
        """The volume that was backed up is as it was."""
        before, id_ = job.details.get("before"), job.details.get("volume") or (row.volume if row is not None else "")
        now_us = self._service.now_us()
        if before and records.change(connection, VOLUMES, id_, status=(BACKING_UP,), status_=before, updated_us=now_us):
            records.settle(connection, id_, now_us=now_us)

    async def _end(self, job: Job, row: Row, status: str, why: str, **values: Any) -> None:
        service, now_us = self._service, self._service.now_us()

        def work(connection: Connection) -> None:
            done = records.change(
                connection, BACKUPS, row.id, status=(CREATING,), status_=status, fail_reason=why[:255], updated_us=now_us, **values
            )
            if done and why:
                add_message(connection, service, row.project, "VOLUME_BACKUP", row.id, job.details.get("request", ""), "backup", why)
            self._free_volume(connection, job, row)

        await service.write(work)

    async def restore(self, job: Job) -> None:
        """Make data of a backup, and give it to the volume."""
        service, row = self._service, await self._row(job.subject)
        volume = await service.read(lambda connection: records.find(connection, VOLUMES, job.details["volume"]))
        if volume is None or volume.status != RESTORING:
            await self._free(job)
            return
        if row is None:
            await self._restored(job, volume, None, None, "The backup was deleted.")
            return
        data = data_of(job, job.attempts)
        try:
            listed = await self._fill(row, volume, data)
        except Unavailable:
            await self._work.remove_data(data)
            raise
        except (Refused, Damaged) as failure:
            await self._work.remove_data(data)
            await self._restored(job, volume, None, None, f"The backup could not be restored: {failure}")
            return
        await self._restored(job, volume, data, listed, "")

    async def _fill(self, row: Row, volume: Row, data: bytes) -> Listed:
        listed = await self._backups.read_list(_prefix(row))
        await self._volumes.create(max(volume.size_gb * GIB, listed.size_bytes), name=f"{HOLDER} {row.id}", volume=data)
        objects, world = self._volumes.objects, self._service.world
        attached = await attach(objects, world, data, self._settings, holder=f"{HOLDER} {data.hex()}", directory="")
        try:
            await self._backups.restore(_prefix(row), listed, attached.device)
            await attached.detach()
        finally:
            await attached.aclose()
        return listed

    async def _restored(self, job: Job, volume: Row, data: bytes | None, listed: Listed | None, why: str) -> None:
        service, now_us = self._service, self._service.now_us()

        def work(connection: Connection) -> None:
            if data is None or listed is None:
                records.change(connection, VOLUMES, volume.id, status=(RESTORING,), status_=ERROR_RESTORING, updated_us=now_us)
                add_message(connection, service, volume.project, "VOLUME", volume.id, job.details.get("request", ""), "restore", why)
            else:
                values = {"data": data.hex(), "bootable": listed.bootable, "updated_us": now_us}
                if records.change(connection, VOLUMES, volume.id, status=(RESTORING,), status_=AVAILABLE, **values):
                    records.set_properties(connection, "volume", volume.id, listed.metadata)
                    records.set_properties(connection, "image", volume.id, listed.image)
                    if not records.is_named(connection, volume.data):
                        service.enqueue(connection, DROP_DATA, volume.data)
            self._release(connection, job)

        await service.write(work)

    def _release(self, connection: Connection, job: Job) -> None:
        now_us = self._service.now_us()
        for run in range(job.attempts + 1):
            made = data_of(job, run).hex()
            if not records.is_named(connection, made):
                self._service.enqueue(connection, DROP_DATA, made)
        records.change(connection, BACKUPS, job.subject, status=("restoring",), status_=AVAILABLE, restoring="", updated_us=now_us)

    async def _free(self, job: Job) -> None:
        await self._service.write(lambda connection: self._release(connection, job))

    async def drop(self, job: Job) -> None:
        """Remove a backup."""
        row = await self._row(job.subject)
        if row is None or row.status != DELETING:
            return
        if await self._service.write(lambda connection: self._is_busy(connection, job)):
            return
        await self._backups.drop(_prefix(row))
        await self._service.write(lambda connection: records.forget(connection, BACKUPS, row.id))

    def _is_busy(self, connection: Connection, job: Job) -> bool:
        """Whether a job writes or reads what is to go, and would write it after it went; then this one comes again soon."""
        busy = others_of(connection, (BYTES,), (BACKUP, RESTORE), job.subject)
        if busy:
            self._service.enqueue(connection, job.kind, job.subject, details=job.details, delay_s=LOOK_S)
        return busy

    async def give_up(self, job: Job) -> None:
        """The store could not be reached for long."""
        why = "The store, or the host that has the volume, could not be reached."
        row = await self._row(job.subject)
        if job.kind == BACKUP:
            if row is not None:
                await self._end(job, row, ERROR, why)
            else:
                await self._service.write(lambda connection: self._free_volume(connection, job, None))
        elif job.kind == RESTORE:
            volume = await self._service.read(lambda connection: records.find(connection, VOLUMES, job.details["volume"]))
            if volume is not None:
                await self._restored(job, volume, None, None, why)
            else:
                await self._free(job)
        else:
            await self._service.write(
                lambda connection: records.change(connection, BACKUPS, job.subject, status=(DELETING,), status_=ERROR_DELETING)
            )

    async def _row(self, id_: str) -> Row:
        return await self._service.read(lambda connection: records.find(connection, BACKUPS, id_))


def _reader(job: Job, run: int) -> str:
    """Who reads: each run is one of its own, so that one which lost its lease takes nothing from the next."""
    return f"backup by job {job.id}, run {run}"


def _prefix(row: Row) -> str:
    return f"{row.container}/{row.id}"


def data_of(job: Job, run: int) -> bytes:
    """The data of one run of a restore: each has its own, as one that died may have written half of it, and all are found again."""
    return blake2b(f"{job.id} {run}".encode(), digest_size=16).digest()
