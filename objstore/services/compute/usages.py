"""Calls on what projects used over a time: servers with their sizes and how long they were there."""

from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, or_, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.comparing import time_us
from objstore.services.calls.microversions import Version
from objstore.services.calls.paging import limit_of
from objstore.services.calls.problems import bad_request
from objstore.services.compute.service import ComputeService
from objstore.services.compute.states import status_of
from objstore.services.compute.tables import SERVERS
from objstore.services.compute.views import View, next_links, time_of

PAGED: Version = (2, 40)
STRICT: Version = (2, 75)
HOUR_S = 3600.0
WEEKS_US = 28 * 86_400 * 1_000_000  # what is told where nobody says since when
# Not whole rows: without a limit, which older versions know nothing of, these are all servers that there were.
_COLUMNS = (
    SERVERS.c.id, SERVERS.c.project, SERVERS.c.name, SERVERS.c.flavor, SERVERS.c.flavor_document, SERVERS.c.vcpus, SERVERS.c.memory_mb,
    SERVERS.c.vm_state, SERVERS.c.task_state, SERVERS.c.launched_us, SERVERS.c.terminated_us,
)  # fmt: skip
_QUERY = ("start", "end", "detailed", "limit", "marker")


@dataclass(frozen=True)
class _Span:
    start_us: int
    stop_us: int


class UsageCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2.1/os-simple-tenant-usage"
        return {("GET", many): self.all_projects, ("GET", many + "/{project_id}"): self.one_project}

    async def all_projects(self, call: Call) -> Answer:
        """Each project, for administrators."""
        call.check_admin()
        span = self._span(call)
        detailed = call.first("detailed") == "1"
        rows, more = await self._rows(call, span, None)
        projects = sorted({row.project for row in rows})
        views = [_usage([row for row in rows if row.project == project], project, span, self._service.now_us()) for project in projects]
        if not detailed:
            for view in views:
                del view["server_usages"]
        return Answer(body={"tenant_usages": views} | self._links(call, "os-simple-tenant-usage", "tenant_usages", rows, more=more))

    async def one_project(self, call: Call) -> Answer:
        """One, with its servers."""
        project = call.parameters["project_id"]
        if project != call.project:
            call.check_admin()
        call.check_read()
        span = self._span(call)
        rows, more = await self._rows(call, span, project)
        view = _usage(rows, project, span, self._service.now_us()) if rows else {}
        path = f"os-simple-tenant-usage/{project}"
        return Answer(body={"tenant_usage": view} | self._links(call, path, "tenant_usage", rows, more=more))

    async def _rows(self, call: Call, span: _Span, project: str | None) -> tuple[list[Any], bool]:
        query = select(*_COLUMNS).where(
            SERVERS.c.launched_us.is_not(None), SERVERS.c.launched_us < span.stop_us,
            or_(SERVERS.c.terminated_us.is_(None), SERVERS.c.terminated_us > span.start_us),
        ).order_by(SERVERS.c.id)  # fmt: skip
        if project is not None:
            query = query.where(SERVERS.c.project == project)
        limit = None
        if call.version >= PAGED:
            limit = limit_of(call, default=0, most=self._service.settings.page_limit) or self._service.settings.page_limit
            marker = call.first("marker")
            if marker is not None:
                query = query.where(SERVERS.c.id > await self._marker(marker))
            query = query.limit(limit)
        rows = list(await self._service.read(lambda connection: connection.execute(query).all()))
        return rows, limit is not None and len(rows) == limit

    async def _marker(self, marker: str) -> str:
        def work(connection: Connection) -> bool:
            return connection.execute(select(SERVERS.c.id).where(SERVERS.c.id == marker)).one_or_none() is not None

        if not await self._service.read(work):
            raise bad_request(f"marker [{marker[:64]}] not found")
        return marker

    def _links(self, call: Call, path: str, kind: str, rows: list[Any], *, more: bool) -> View:
        return next_links(call, path, kind, len(rows), [row.id for row in rows]) if more and rows else {}

    def _span(self, call: Call) -> _Span:
        if call.version >= STRICT and (strange := [name for name, _ in call.query if name not in _QUERY]):
            raise bad_request(f"Invalid input for query parameters {strange[0][:64]}. Additional properties are not allowed")
        now_us = self._service.now_us()
        start, end = call.first("start"), call.first("end")
        stop_us = now_us if not end else time_us(end)
        start_us = now_us - WEEKS_US if not start else time_us(start)
        if start_us >= stop_us:
            raise bad_request("Invalid start time. The start time cannot occur after the end time.")
        return _Span(start_us, stop_us)


def _usage(rows: list[Any], project: str, span: _Span, now_us: int) -> View:
    servers: list[View] = []
    totals = dict.fromkeys(("total_hours", "total_vcpus_usage", "total_memory_mb_usage", "total_local_gb_usage"), 0.0)
    for row in rows:
        flavor = msgspec.json.decode(row.flavor_document)
        local_gb = int(flavor.get("root_gb", 0)) + int(flavor.get("ephemeral_gb", 0))
        ended_us = row.terminated_us
        until_us = min(ended_us or now_us, span.stop_us, now_us)
        hours = max(until_us - max(row.launched_us, span.start_us), 0) / 1e6 / HOUR_S
        totals["total_hours"] += hours
        totals["total_vcpus_usage"] += hours * row.vcpus
        totals["total_memory_mb_usage"] += hours * row.memory_mb
        totals["total_local_gb_usage"] += hours * local_gb
        servers.append({
            "instance_id": row.id, "name": row.name, "tenant_id": row.project, "hours": hours, "flavor": flavor.get("name", row.flavor),
            "vcpus": row.vcpus, "memory_mb": row.memory_mb, "local_gb": local_gb, "started_at": time_of(row.launched_us),
            "ended_at": time_of(ended_us), "state": "terminated" if ended_us else status_of(row.vm_state, row.task_state).lower(),
            "uptime": max((ended_us or now_us) - row.launched_us, 0) // 1_000_000,
        })  # fmt: skip
    return {"tenant_id": project, "start": time_of(span.start_us), "stop": time_of(span.stop_us), "server_usages": servers, **totals}
