"""Jobs: work that follows from a change, written in the same transaction as the change, done afterwards by whoever claims it.

A job is claimed with a lease, which its worker renews while it runs; a worker that dies leaves it to the next one when the
lease has run out.  So a job can run twice, and two runs can overlap for a moment: handlers are idempotent, and change
state by compare-and-set.  Who has lost the lease changes nothing of the job any more, and ends its run as soon as it finds out.  A job
that fails is tried again later, each time a little later, and given up after `ATTEMPTS`; then the service's `give_up` says what that means.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field

import msgspec
from sqlalchemy import BigInteger, Column, ColumnElement, Connection, MetaData, Table, Text, and_, delete, insert, select, update

from objstore.errors import ObjstoreError
from objstore.runtime.rng import Rng
from objstore.runtime.sql import Sql
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.services.tables.migrations import Schema

log = logging.getLogger(__name__)

LEASE_S = 30.0
RENEW_S = 10.0
POLL_S = 2.0  # between looks for jobs of other processes and of earlier runs; own ones are begun at once
ATTEMPTS = 8
BACK_OFF_S = 2.0  # times 2 to the number of failures
BACK_OFF_LIMIT_S = 300.0  # a `give_up` that fails is tried again as well, for ever: in minutes, not in days
WORKERS = 4

SCHEMA = Schema(
    "jobs",
    (
        (
            "CREATE TABLE jobs (id TEXT PRIMARY KEY, service TEXT NOT NULL, kind TEXT NOT NULL, subject TEXT NOT NULL, details TEXT NOT NULL, "
            "created_us BIGINT NOT NULL, due_us BIGINT NOT NULL, attempts BIGINT NOT NULL, holder TEXT NOT NULL)",
            "CREATE INDEX jobs_by_due ON jobs (service, due_us)",
            "CREATE INDEX jobs_by_subject ON jobs (service, subject)",
        ),
    ),
)
JOBS = Table(
    "jobs",
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("service", Text),
    Column("kind", Text),
    Column("subject", Text),  # the id of what it is about
    Column("details", Text),  # an object of JSON
    Column("created_us", BigInteger),
    Column("due_us", BigInteger),  # not before; while it runs, the end of the lease
    Column("attempts", BigInteger),
    Column("holder", Text),  # of the lease, "" nobody
)


@dataclass(frozen=True)
class Job:
    """A job that was claimed."""

    id: str
    kind: str
    subject: str
    details: Mapping[str, str]
    attempts: int  # begun before this one


Handler = Callable[[Job], Awaitable[None]]


def enqueue(
    connection: Connection, rng: Rng, service: str, kind: str, subject: str, *, now_us: int, details: Mapping[str, str] | None = None,
    delay_s: float = 0.0,
) -> str:  # fmt: skip
    """Write a job with the change that it belongs to; its id."""
    id_ = rng.token(16).hex()
    connection.execute(
        insert(JOBS).values(
            id=id_, service=service, kind=kind, subject=subject, details=msgspec.json.encode(dict(details or {})).decode(),
            created_us=now_us, due_us=now_us + int(delay_s * 1e6), attempts=0, holder="",
        )
    )  # fmt: skip
    return id_


def others_of(connection: Connection, service: Iterable[str], kinds: Iterable[str], subject: str, *, but: str = "") -> bool:
    """Whether jobs of one of these kinds wait or run for a subject, `but` the one of that id."""
    mine = and_(JOBS.c.service.in_(list(service)), JOBS.c.subject == subject, JOBS.c.kind.in_(list(kinds)), JOBS.c.id != but)
    return connection.execute(select(JOBS.c.id).where(mine).limit(1)).first() is not None


def is_there(connection: Connection, id_: str) -> bool:
    """Whether a job still waits or runs."""
    return connection.execute(select(JOBS.c.id).where(JOBS.c.id == id_)).first() is not None


@dataclass
class Worker:
    """Does the jobs of one service; with `one_by_one` never two of the same subject at a time, whichever processes do them."""

    sql: Sql
    world: World
    service: str
    handlers: Mapping[str, Handler]
    give_up: Handler
    limit: int = WORKERS
    one_by_one: bool = False
    failures: int = 0
    _tasks: TaskOwner = field(default_factory=lambda: TaskOwner("jobs"))
    _running: set[str] = field(default_factory=set)
    _looking: bool = False
    _again: bool = False
    _closed: bool = False
    _holder: str = ""  # one name for all its leases: a job whose lease had run out here, and that it claims again, runs on

    def start(self) -> None:
        """Begin to look for jobs now and then."""
        self._tasks.spawn(self._keep_looking(), name=f"jobs of {self.service}")

    async def aclose(self) -> None:
        """Stop; what runs is left to its lease's end."""
        self._closed = True
        await self._tasks.aclose()

    def nudge(self) -> None:
        """There may be a new job: look at once."""
        self._again = True
        if not self._looking and not self._closed:
            self._looking = True
            self._tasks.spawn(self._look(), name="look for jobs")

    async def _keep_looking(self) -> None:
        while True:
            self.nudge()
            await self.world.clock.sleep(POLL_S)

    async def _look(self) -> None:
        try:
            while self._again and len(self._running) < self.limit:
                self._again = False
                for job in await self.claim(self.limit - len(self._running)):
                    if job.id in self._running:
                        continue  # its lease had run out here: it has it again
                    self._running.add(job.id)
                    self._again = True
                    self._tasks.spawn(self._run(job), name=f"{self.service} {job.kind}")
        except ObjstoreError as failure:
            log.warning("jobs of %s: %s", self.service, failure)
        finally:
            self._looking = False

    async def claim(self, limit: int) -> list[Job]:
        """Take up to `limit` jobs that are due."""
        now_us = self.world.clock.wall_us()
        holder = self._holder = self._holder or self.world.rng.token(8).hex()
        lease_us = now_us + int(LEASE_S * 1e6)

        def work(connection: Connection) -> list[Job]:
            due = select(JOBS).where(and_(JOBS.c.service == self.service, JOBS.c.due_us <= now_us))
            if self.one_by_one:
                running = and_(JOBS.c.service == self.service, JOBS.c.due_us > now_us, JOBS.c.holder != "")
                due = due.where(JOBS.c.subject.not_in(select(JOBS.c.subject).where(running)))
            taken: list[Job] = []
            for row in connection.execute(due.order_by(JOBS.c.due_us).limit(limit)).all():
                if self.one_by_one and any(job.subject == row.subject for job in taken):
                    continue
                changed = connection.execute(
                    update(JOBS)
                    .where(and_(JOBS.c.id == row.id, JOBS.c.due_us == row.due_us, JOBS.c.holder == row.holder))
                    .values(due_us=lease_us, holder=holder, attempts=row.attempts + 1)
                )
                if changed.rowcount:
                    taken.append(Job(row.id, row.kind, row.subject, msgspec.json.decode(row.details), row.attempts))
            return taken

        return await self.sql.write(work)

    async def _run(self, job: Job) -> None:
        handling = self._tasks.spawn(self._handle(job), name=f"handle {job.kind}")
        renewing = self._tasks.spawn(self._renew(job, handling), name="renew")
        try:
            await asyncio.wait([handling])
            renewing.cancel()
            if not handling.cancelled():
                await self._ended(job, failed=not handling.result())
        finally:
            handling.cancel()
            renewing.cancel()
            self._running.discard(job.id)
            self.nudge()

    async def _handle(self, job: Job) -> bool:
        """Whether it went well."""
        try:
            if job.attempts >= ATTEMPTS:
                await self.give_up(job)
            else:
                await self.handlers[job.kind](job)
        except Exception as failure:  # noqa: BLE001 whatever it was, the job is tried again and in the end given up
            self.failures += 1
            level = logging.WARNING if isinstance(failure, ObjstoreError | OSError) else logging.ERROR
            log.log(level, "%s %s of %s failed: %r", self.service, job.kind, job.subject, failure)
            return False
        return True

    async def _renew(self, job: Job, handling: "asyncio.Task[bool]") -> None:
        while True:
            await self.world.clock.sleep(RENEW_S)
            try:
                if not await self._due(job, LEASE_S):
                    log.warning("%s %s of %s is another's by now: this run of it ends", self.service, job.kind, job.subject)
                    handling.cancel()
                    return
            except ObjstoreError as failure:  # the next renewal may still be in time
                log.warning("the lease of %s %s of %s is not renewed: %s", self.service, job.kind, job.subject, failure)

    async def _ended(self, job: Job, *, failed: bool) -> None:
        if failed:
            await self._due(job, min(BACK_OFF_LIMIT_S, BACK_OFF_S * 2 ** min(job.attempts, 32)), holder="")
        else:
            await self.sql.write(lambda connection: connection.execute(delete(JOBS).where(self._is_ours(job))).rowcount)

    async def _due(self, job: Job, delay_s: float, **values: str) -> bool:
        """Whether it is still this worker's."""
        due_us = self.world.clock.wall_us() + int(delay_s * 1e6)
        return bool(
            await self.sql.write(
                lambda connection: connection.execute(update(JOBS).where(self._is_ours(job)).values(due_us=due_us, **values)).rowcount
            )
        )

    def _is_ours(self, job: Job) -> ColumnElement[bool]:
        return and_(JOBS.c.id == job.id, JOBS.c.holder == self._holder)
