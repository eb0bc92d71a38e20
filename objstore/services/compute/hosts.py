"""The hosts of the cloud: what their agents reported last, whether they are alive, and who is told when that changes.

A host is known from its first report on, which only those who know the agents' secret can send.  It is down when it did not report
for `compute.host_down_s`, or an administrator said so.
"""

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import msgspec
from sqlalchemy import Connection, delete, func, insert, select, update

from objstore.errors import ObjstoreError
from objstore.runtime.dial import place_of
from objstore.runtime.sql import Sql
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.services.calls.problems import bad_request, conflict
from objstore.services.compute.agent_api import Report
from objstore.services.compute.cloud_tables import AGGREGATE_HOSTS, AGGREGATES, HOSTS
from objstore.services.compute.ids import new_uuid
from objstore.services.compute.settings import ComputeSettings

log = logging.getLogger(__name__)

MAX_HOSTS = 10_000
WATCH_S = 2.0
PORTS = {"http": 80, "https": 443}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


class Watching(Protocol):
    """Who is told what hosts report: the conductor.  What it raises is logged; it is told again with the next report, and when a host is still dead."""

    async def reported(self, report: Report, *, rebooted: bool) -> Sequence[str]:
        """A host reported; `rebooted` where it was started anew since its last report.  Returns the guests that no record knows."""

    async def died(self, host: str) -> None:
        """A host was not heard of for too long, or is said to be dead."""


@dataclass(frozen=True)
class Host:
    """A host as it is known."""

    name: str
    number: int
    hypervisor: str
    service: str
    created_us: int
    updated_us: int
    reported_us: int
    booted_us: int
    report: Report
    disabled: bool
    disabled_reason: str | None
    forced_down: bool
    zone: str = ""

    def is_alive(self, now_us: int, down_s: float) -> bool:
        """Whether it reported within `down_s` seconds and is not said to be dead."""
        return not self.forced_down and now_us - self.reported_us < down_s * 1e6


def host_of(row: Any, zone: str) -> Host:
    """A host of its row."""
    report = msgspec.json.decode(row.report, type=Report)
    return Host(
        row.host, row.number, row.hypervisor, row.service, row.created_us, row.updated_us, row.reported_us, row.booted_us, report,
        bool(row.disabled), row.disabled_reason, bool(row.forced_down), zone,
    )  # fmt: skip


def zones_of(connection: Connection) -> dict[str, str]:
    """Host -> availability zone, of those that an aggregate puts into one."""
    query = (
        select(AGGREGATE_HOSTS.c.host, AGGREGATES.c.metadata)
        .where(AGGREGATE_HOSTS.c.aggregate == AGGREGATES.c.id)
        .order_by(AGGREGATES.c.id)
    )
    found: dict[str, str] = {}
    for row in connection.execute(query):
        zone = msgspec.json.decode(row.metadata).get("availability_zone")
        if zone:
            found.setdefault(row.host, str(zone))
    return found


def all_hosts(connection: Connection, default_zone: str) -> list[Host]:
    """All hosts in the order in which they came."""
    zones = zones_of(connection)
    return [host_of(row, zones.get(row.host, default_zone)) for row in connection.execute(select(HOSTS).order_by(HOSTS.c.number))]


def find_host(connection: Connection, name: str, default_zone: str) -> Host | None:
    """A host by its name."""
    row = connection.execute(select(HOSTS).where(HOSTS.c.host == name)).one_or_none()
    return None if row is None else host_of(row, zones_of(connection).get(name, default_zone))


def check_report(report: Report) -> None:
    """Raises 400 for a report of what cannot be."""
    if _NAME.fullmatch(report.host) is None:
        raise bad_request("A host's name has 1 to 128 letters, digits, dots, hyphens and underscores.")
    try:
        place = place_of(report.address, PORTS)
    except ValueError:
        raise bad_request("An agent's address is http://HOST:PORT or https://HOST:PORT.") from None
    if place.path.strip("/") or place.query or place.user or place.password:
        raise bad_request("An agent's address is http://HOST:PORT or https://HOST:PORT.")
    if min(report.vcpus, report.memory_mb, report.disk_gb) < 0:
        raise bad_request("A host cannot have less than nothing.")


class Hosts:
    """The registry of one process."""

    def __init__(self, sql: Sql, world: World, settings: ComputeSettings) -> None:
        self._sql = sql
        self._world = world
        self._settings = settings
        self._watching: list[Watching] = []
        self._tasks = TaskOwner("hosts")

    def watch(self, watching: Watching) -> None:
        """Tell this one too."""
        self._watching.append(watching)

    def start(self) -> None:
        """Begin to look for hosts that are no longer heard of."""
        self._tasks.spawn(self._keep_looking(), name="watch hosts")

    async def aclose(self) -> None:
        """Stop."""
        await self._tasks.aclose()

    async def reported(self, report: Report) -> tuple[str, ...]:
        """Keep a report; the guests of the host that no record knows.  Raises 400, 409."""
        check_report(report)
        now_us = self._now_us()
        ids = new_uuid(self._world.rng), new_uuid(self._world.rng)
        text = msgspec.json.encode(report).decode()
        rebooted = await self._sql.write(lambda connection: _keep(connection, report, text, ids, now_us))
        forget: dict[str, None] = {}
        for watching in self._watching:
            try:
                forget.update(dict.fromkeys(await watching.reported(report, rebooted=rebooted)))
            except (ObjstoreError, OSError) as failure:
                log.warning("what %s reported could not be acted upon: %r", report.host, failure)
        return tuple(forget)

    async def all(self) -> list[Host]:
        """All hosts."""
        return await self._sql.read(lambda connection: all_hosts(connection, self._settings.zone))

    async def find(self, name: str) -> Host | None:
        """A host by its name."""
        return await self._sql.read(lambda connection: find_host(connection, name, self._settings.zone))

    async def is_alive(self, name: str) -> bool:
        """Whether a host is known, and not down."""
        host = await self.find(name)
        return host is not None and self.alive(host)

    def alive(self, host: Host) -> bool:
        """Whether a host is not down now."""
        return host.is_alive(self._now_us(), self._settings.host_down_s)

    async def address(self, name: str) -> str:
        """Where a host's agent answers; empty where the host is not known.  Not remembered: the next report may come to another process."""
        host = await self.find(name)
        return host.report.address if host is not None else ""

    async def look(self) -> list[str]:
        """Tell of hosts that are down and were not told of; their names."""
        down = [host for host in await self._sql.read(self._silent) if not self.alive(host)]
        for host in down:
            try:
                for watching in self._watching:
                    await watching.died(host.name)
            except (ObjstoreError, OSError) as failure:
                log.warning("that %s is down could not be acted upon: %r", host.name, failure)
            else:
                log.warning("host %s is down: its last report is %.0f s old", host.name, (self._now_us() - host.reported_us) / 1e6)
                await self._sql.write(lambda connection, host=host: _told(connection, host))  # type: ignore[misc] # a closure over one host
        return [host.name for host in down]

    def _silent(self, connection: Connection) -> list[Host]:
        return [host_of(row, "") for row in connection.execute(select(HOSTS).where(HOSTS.c.down_told.is_(False)))]

    async def _keep_looking(self) -> None:
        # After a start agents need their time to find this process again: nobody is dead for that.
        await self._world.clock.sleep(self._settings.host_down_s)
        while True:
            try:
                await self.look()
            except ObjstoreError as failure:
                log.warning("hosts cannot be looked at: %s", failure)
            except Exception:  # without this loop no host is ever found dead
                log.exception("hosts cannot be looked at")
            await self._world.clock.sleep(WATCH_S)

    def _now_us(self) -> int:
        return self._world.clock.wall_us()


def _keep(connection: Connection, report: Report, text: str, ids: tuple[str, str], now_us: int) -> bool:
    """Write a report down; whether the host was started anew since its last one."""
    row = connection.execute(select(HOSTS).where(HOSTS.c.host == report.host)).one_or_none()
    if row is None:
        count, number = connection.execute(select(func.count(), func.coalesce(func.max(HOSTS.c.number), 0))).one()
        if count >= MAX_HOSTS:
            raise conflict(f"There are {MAX_HOSTS} hosts already.")
        connection.execute(
            insert(HOSTS).values(
                host=report.host, number=number + 1, hypervisor=ids[0], service=ids[1], created_us=now_us, updated_us=now_us, reported_us=now_us,
                booted_us=now_us, report=text, disabled=False, disabled_reason=None, forced_down=False, down_told=False,
            )
        )  # fmt: skip
        return False
    before = msgspec.json.decode(row.report, type=Report).boot_id
    rebooted = bool(before) and before != report.boot_id
    connection.execute(
        update(HOSTS).where(HOSTS.c.host == report.host).values(
            report=text, reported_us=now_us, booted_us=now_us if rebooted else row.booted_us, down_told=bool(row.forced_down and row.down_told)
        )
    )  # fmt: skip
    return rebooted


def _told(connection: Connection, host: Host) -> None:
    """It was acted upon, unless the host reported meanwhile."""
    connection.execute(update(HOSTS).where(HOSTS.c.host == host.name, HOSTS.c.reported_us == host.reported_us).values(down_told=True))


def forget_host(connection: Connection, name: str) -> None:
    """A host is gone for good."""
    connection.execute(delete(HOSTS).where(HOSTS.c.host == name))
    connection.execute(delete(AGGREGATE_HOSTS).where(AGGREGATE_HOSTS.c.host == name))
