"""Snapshots in the store that a job takes for itself and drops when it is done: of a volume that is copied, uploaded, or backed up.

Before it takes one it writes a job that watches it, and drops the snapshot when the taker is gone, however that came: done, given up, or
killed between two steps.  The taker drops it itself as a rule, and the watch with it.
"""

import contextlib
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection, delete

from objstore.errors import NoSuchKey, ObjstoreError
from objstore.services.tables.jobs import JOBS, Job, is_there, others_of
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.tables import SERVICE
from objstore.services.volume.layout import volume_id

DROP_PIN = "drop-pin"
WATCH_S = 60.0


class Temporary:
    """Snapshots for the time of a job.  `take` makes one: of a volume's row, its data, under an id."""

    def __init__(self, service: VolumeService, take: Callable[[str, bytes, bytes], Awaitable[None]]) -> None:
        self._service = service
        self._take = take

    async def take(self, job: Job, volume: str, data: bytes, snapshot: bytes) -> None:
        """A snapshot that goes with the job.  Raises what taking one raises."""
        service = self._service

        def watch(connection: Connection) -> None:
            if not others_of(connection, (SERVICE,), (DROP_PIN,), snapshot.hex()):
                service.enqueue(connection, DROP_PIN, snapshot.hex(), details={"data": data.hex(), "of": job.id}, delay_s=WATCH_S)

        await service.write(watch)
        await self._take(volume, data, snapshot)

    async def drop(self, data: bytes, snapshot: bytes) -> None:
        """It is done with; where the store cannot be reached, the watch drops it."""
        watch = (JOBS.c.service == SERVICE, JOBS.c.kind == DROP_PIN, JOBS.c.subject == snapshot.hex())
        with contextlib.suppress(ObjstoreError):
            await self._drop(data, snapshot)
            await self._service.write(lambda connection: connection.execute(delete(JOBS).where(*watch)).rowcount)

    async def watch(self, job: Job) -> None:
        """Job: look whether the taker is there still.  Raises Unavailable."""
        if await self._service.read(lambda connection: is_there(connection, job.details["of"])):
            await self.again(job)
        else:
            await self._drop(volume_id(job.details["data"]), volume_id(job.subject))

    async def again(self, job: Job) -> None:
        """Look later.  It is never given up: nobody else knows of the snapshot."""
        service = self._service
        await service.write(lambda connection: service.enqueue(connection, DROP_PIN, job.subject, details=job.details, delay_s=WATCH_S))

    async def _drop(self, data: bytes, snapshot: bytes) -> None:
        with contextlib.suppress(NoSuchKey):  # it went with its volume, or was never taken
            await self._service.volumes.drop_snapshot(data, snapshot)
