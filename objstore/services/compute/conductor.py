"""Carries out what was asked of servers: one job after the other for each server, each again until it is done or cannot be.

A job that was cut off runs again from its start; every step finds what was done.  What a desk or a host refuses for good ends the job: its
`failed` half leaves a state that says so.  What may go well later is tried again, and given up after the worker's attempts.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from objstore.errors import ConditionalConflict, ObjstoreError, Unavailable
from objstore.services.compute import conductor_build as building
from objstore.services.compute import conductor_image as imaging
from objstore.services.compute import conductor_move as moving
from objstore.services.compute import conductor_parts as parts
from objstore.services.compute import conductor_power as power
from objstore.services.compute.context import Context, Failed
from objstore.services.compute.tables import SERVICE
from objstore.services.compute.work import Over, Work, told
from objstore.services.tables.jobs import Job, Worker
from objstore.services.volume.operations import HasSnapshots

log = logging.getLogger(__name__)

AT_ONCE = 24  # jobs of one process: most of them wait for hosts
Half = Callable[[Work], Awaitable[None]]
Failing = Callable[[Work, str], Awaitable[None]]


@dataclass(frozen=True)
class Kind:
    """A kind of job."""

    run: Half
    failed: Failing


KINDS: Mapping[str, Kind] = {
    "build": Kind(building.build, building.build_failed),
    "delete": Kind(building.remove, building.remove_failed),
    "rebuild": Kind(building.rebuild, building.rebuild_failed),
    "stop": Kind(power.stop, power.power_failed),
    "start": Kind(power.start, power.power_failed),
    "reboot": Kind(power.reboot, power.power_failed),
    "pause": Kind(power.pause, power.power_failed),
    "unpause": Kind(power.unpause, power.power_failed),
    "attach-disk": Kind(parts.attach_disk, parts.attach_disk_failed),
    "detach-disk": Kind(parts.detach_disk, parts.detach_disk_failed),
    "unreserve": Kind(parts.unreserve, parts.unreserve_failed),
    "attach-nic": Kind(parts.attach_nic, parts.attach_nic_failed),
    "detach-nic": Kind(parts.detach_nic, parts.detach_nic_failed),
    "resize": Kind(moving.resize, moving.resize_failed),
    "confirm": Kind(moving.confirm, moving.confirm_failed),
    "revert": Kind(moving.revert, moving.revert_failed),
    "live-migrate": Kind(moving.live_migrate, moving.live_failed),
    "evacuate": Kind(moving.evacuate, moving.evacuate_failed),
    "snapshot": Kind(imaging.snapshot, imaging.snapshot_failed),
}


class Conductor:
    """The jobs of one process."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._busy: dict[str, _Turn] = {}
        handlers = dict.fromkeys(KINDS, self.run)
        self.worker = Worker(context.sql, context.world, SERVICE, handlers, self.give_up, limit=AT_ONCE, one_by_one=True)
        context.jobs_wait = self.worker.nudge

    def start(self) -> None:
        """Begin to look for jobs."""
        self.worker.start()

    async def aclose(self) -> None:
        """Stop; jobs that run are begun anew by whoever finds their leases run out."""
        await self.worker.aclose()

    async def run(self, job: Job) -> None:
        """One run of a job.  Raises Unavailable when it is to be tried again."""
        async with self._turn(job.subject):
            work = Work(self._context, job)
            try:
                await KINDS[job.kind].run(work)
            except Over:
                log.info("server %s: nothing is left to do for %s", job.subject, job.kind)
            except (Unavailable, ConditionalConflict) as failure:
                if isinstance(failure, HasSnapshots) or not isinstance(failure, Unavailable):
                    raise Unavailable(told(failure)) from failure
                raise
            except ObjstoreError as failure:
                await self._failed(work, failure)

    async def give_up(self, job: Job) -> None:
        """A job that was tried often enough."""
        async with self._turn(job.subject):
            await self._failed(Work(self._context, job), Failed("The hosts or services that this needs did not answer for too long."))

    async def _failed(self, work: Work, failure: ObjstoreError) -> None:
        log.warning("server %s: %s failed: %s", work.id, work.job.kind, told(failure))
        try:
            await KINDS[work.job.kind].failed(work, told(failure))
        except Over:
            log.info("server %s went meanwhile", work.id)

    def _turn(self, server: str) -> "_Turn":
        return self._busy.setdefault(server, _Turn(server, self._busy))


class _Turn:
    """What is done with one server is done one after the other."""

    def __init__(self, server: str, all_of_them: dict[str, "_Turn"]) -> None:
        self._server = server
        self._all = all_of_them
        self._lock = asyncio.Lock()
        self._waiting = 0

    async def __aenter__(self) -> None:
        self._waiting += 1
        try:
            await self._lock.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(self, *_: object) -> None:
        self._lock.release()
        self._leave()

    def _leave(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._all.pop(self._server, None)
