"""Compares what hosts report with what records say, and settles the difference.

A guest that switched itself off is SHUTOFF; one that no record of this host knows is to be ended by its agent; one that should run and is not
there, though nothing is being done with its server, is SHUTOFF too; one that runs though it was stopped is stopped again.  What was
changed a moment ago is left alone: the report may be older.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from objstore.services.compute import records
from objstore.services.compute.agent_api import Power, Report
from objstore.services.compute.context import Context
from objstore.services.compute.ids import new_uuid
from objstore.services.compute.records import Server
from objstore.services.compute.states import DELETED, NO_TASK, POWERING_OFF, STOPPED, settled
from objstore.services.compute.tables import SERVERS

QUIET_US = 10_000_000  # reports are younger than this


class Reports:
    """Who is told what hosts report (hosts.py)."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def reported(self, report: Report, *, rebooted: bool) -> Sequence[str]:
        """Settle what a host reports; the guests that it is to end."""
        context, now_us = self._context, self._context.now_us()
        guests = {guest.server: guest for guest in report.guests}
        servers = {server.id: server for server in await context.read(lambda connection: _here(connection, report.host, list(guests)))}
        mine = [server for server in servers.values() if server.host == report.host and server.task_state == NO_TASK]
        changes: list[tuple[Server, str, int]] = []
        stray: list[Server] = []
        for server in mine:
            quiet = rebooted or now_us - server.updated_us > QUIET_US
            found = guests.get(server.id) or Power(server.id, "off", "gone")
            after = settled(server.vm_state, server.task_state, found.state, found.why)
            if after is None or not quiet:
                continue
            if server.vm_state == STOPPED and found.state in ("running", "paused"):
                stray.append(server)
            elif after != (server.vm_state, server.power_state):
                changes.append((server, *after))
        if changes:
            await context.write(lambda connection: _settle(connection, changes, now_us))
        if stray:
            await context.write(lambda connection: self._stop(connection, stray))
        return [id_ for id_ in guests if id_ not in servers or report.host not in _hosts(servers[id_])]

    def _stop(self, connection: Connection, servers: Sequence[Server]) -> None:
        """As if their owners had asked for it; not by who reports, which would wait for a guest while it is waited for itself."""
        for server in servers:
            request = new_uuid(self._context.world.rng)
            if records.change(connection, server.id, vm_states=(STOPPED,), task_states=(NO_TASK,), task_state=POWERING_OFF, task=request):
                self._context.enqueue(connection, "stop", server.id, {"request": request})

    async def died(self, host: str) -> None:
        """Servers of a dead host stay as they are until somebody evacuates or deletes them, or the host comes back."""


def _hosts(server: Server) -> tuple[str, ...]:
    """Where a guest of a server may be."""
    return () if server.vm_state == DELETED else (server.host, server.other_host)


def _here(connection: Connection, host: str, guests: list[str]) -> list[Server]:
    """Living servers of a host, and those whose guests it reports."""
    found = connection.execute(
        select(SERVERS).where(and_(SERVERS.c.vm_state != DELETED, or_(SERVERS.c.host == host, SERVERS.c.id.in_(guests))))
    ).all()
    return [Server(**row._mapping) for row in found]


def _settle(connection: Connection, changes: Sequence[tuple[Server, str, int]], now_us: int) -> None:
    for server, vm_state, power in changes:
        values: dict[str, Any] = {"vm_state": vm_state, "power_state": power}
        if vm_state != server.vm_state:
            values["updated_us"] = now_us
        records.change(connection, server.id, vm_states=(server.vm_state,), task_states=(NO_TASK,), **values)
