"""What of the block storage service runs in the background: its jobs, the bases of images, and what was left behind.

Jobs that move bytes have workers of their own, so that nobody waits for them who only makes a snapshot.
"""

import logging
from functools import partial

from sqlalchemy import Connection, delete, select

from objstore.errors import ObjstoreError
from objstore.runtime.tasks import TaskOwner
from objstore.services.tables.jobs import Handler, Job, Worker, others_of
from objstore.services.volume.api import records
from objstore.services.volume.api.backup_jobs import BACKUP, DROP_BACKUP, KINDS, BackupWork
from objstore.services.volume.api.making import CREATE, RESTORE
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.tables import BASES, BYTES, MESSAGES, SERVICE
from objstore.services.volume.api.temporary import DROP_PIN
from objstore.services.volume.api.work import (
    DELETE,
    DROP_DATA,
    DROP_SNAPSHOT,
    EXTEND,
    REIMAGE,
    REVERT,
    SNAPSHOT,
    UPLOAD,
    Work,
)
from objstore.services.volume.base_disks import DROP, HOLDER, MAKE, NAME
from objstore.services.volume.layout import Head

log = logging.getLogger(__name__)

BYTE_WORKERS = 2
TIDY_S = 3600.0
ORPHAN_AGE_US = 86_400_000_000  # of images' bases that no record names


class Running:
    """The background of one process."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service
        self._work = work = Work(service)
        self._backups = backups = BackupWork(service, work)
        self._tasks = TaskOwner("volumes")
        handlers: dict[str, Handler] = {
            CREATE: work.create, DELETE: work.delete, SNAPSHOT: work.snapshot, DROP_SNAPSHOT: work.drop_snapshot, EXTEND: work.extend,
            UPLOAD: work.upload, REVERT: work.revert, REIMAGE: work.reimage, DROP_DATA: work.drop_data, DROP_PIN: work.temporary.watch, MAKE: service.bases.make,
            DROP: service.bases.drop, BACKUP: backups.backup,
            RESTORE: backups.restore, DROP_BACKUP: backups.drop,
        }  # fmt: skip
        self.workers = (
            Worker(service.sql, service.world, SERVICE, handlers, self._give_up),
            Worker(service.sql, service.world, BYTES, handlers, self._give_up, limit=BYTE_WORKERS),
        )
        service.jobs_wait = service.bases.jobs_wait = self.nudge

    def start(self) -> None:
        """Begin."""
        for worker in self.workers:
            worker.start()
        self._service.bases.start()
        self._tasks.spawn(self._keep_tidy(), name="tidy volumes")

    async def aclose(self) -> None:
        """Stop; jobs that run are left to their leases."""
        await self._tasks.aclose()
        await self._service.bases.aclose()
        for worker in self.workers:
            await worker.aclose()

    def nudge(self) -> None:
        """There may be jobs."""
        for worker in self.workers:
            worker.nudge()

    async def _give_up(self, job: Job) -> None:
        if job.kind in (MAKE, DROP):
            await self._service.bases.give_up(job)
        elif job.kind in KINDS:
            await self._backups.give_up(job)
        else:
            await self._work.give_up(job)

    async def _keep_tidy(self) -> None:
        while True:
            await self._service.world.clock.sleep(TIDY_S)
            try:
                await self.tidy()
            except ObjstoreError as failure:
                log.warning("volumes are not tidied now: %s", failure)
            except Exception:  # without this loop what died in the middle stays for ever
                log.exception("volumes are not tidied now")

    async def tidy(self) -> int:
        """Remove messages that are old, and bases and restored data that a run which died left without a record; how many of these."""
        service, now_us, removed = self._service, self._service.now_us(), 0
        await service.write(lambda connection: connection.execute(delete(MESSAGES).where(MESSAGES.c.expires_us < now_us)).rowcount)
        for head in await service.volumes.list():
            if not head.name.startswith((NAME, f"{HOLDER} ")) or head.created_us > now_us - ORPHAN_AGE_US:
                continue
            if not await service.read(partial(_is_known, head=head)):
                try:
                    await service.volumes.delete(head.volume, force=True)
                    removed += 1
                except ObjstoreError as failure:
                    log.warning("the volume %s, which is nobody's, stays for now: %s", head.volume.hex(), failure)
        return removed


def _is_known(connection: Connection, head: Head) -> bool:
    data = head.volume.hex()
    base = connection.execute(select(BASES.c.image).where(BASES.c.data == data)).first()
    if base is not None or records.is_named(connection, data):
        return True
    return others_of(connection, (BYTES,), (RESTORE,), head.name.removeprefix(f"{HOLDER} "))  # a restore may take longer than a day
