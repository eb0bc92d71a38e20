"""Calls on migrations: how servers went from host to host, or changed their size, over the whole cloud."""

from typing import Any

import msgspec
from sqlalchemy import Connection, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.comparing import time_us
from objstore.services.calls.microversions import Version
from objstore.services.calls.paging import limit_of
from objstore.services.calls.problems import bad_request
from objstore.services.compute.records import MOVE_ENDS
from objstore.services.compute.service import ComputeService
from objstore.services.compute.tables import MIGRATIONS
from objstore.services.compute.views import View, next_links, time_of

TYPED: Version = (2, 23)
PAGED: Version = (2, 59)
OWNED: Version = (2, 80)
_COLUMNS = {
    "status": MIGRATIONS.c.status, "instance_uuid": MIGRATIONS.c.server, "migration_type": MIGRATIONS.c.kind,
    "source_compute": MIGRATIONS.c.source, "user_id": MIGRATIONS.c.user_id, "project_id": MIGRATIONS.c.project,
}  # fmt: skip
LIVE = "live-migration"


class MoveCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {("GET", "/v2.1/os-migrations"): self.list_moves}

    async def list_moves(self, call: Call) -> Answer:
        """The newest first."""
        call.check_admin()
        query = select(MIGRATIONS).order_by(MIGRATIONS.c.created_us.desc(), MIGRATIONS.c.id.desc())
        for name, value in call.query:
            if name in _COLUMNS and not (name in ("user_id", "project_id") and call.version < OWNED):
                query = query.where(_COLUMNS[name] == value)
            elif name == "host":
                query = query.where((MIGRATIONS.c.source == value) | (MIGRATIONS.c.target == value))
            elif name in ("changes-since", "changes-before"):
                when = time_us(value)
                query = query.where(MIGRATIONS.c.updated_us >= when if name == "changes-since" else MIGRATIONS.c.updated_us <= when)
        limit = limit_of(call, default=0, most=self._service.settings.page_limit) or self._service.settings.page_limit
        marker = call.first("marker") if call.version >= PAGED else None

        def work(connection: Connection) -> list[Any]:
            rows = list(connection.execute(query).all())
            if marker is None:
                return rows[:limit]
            at = next((number for number, row in enumerate(rows) if row.id == marker), None)
            if at is None:
                raise bad_request(f"Marker {marker[:64]} not found.")
            return rows[at + 1 : at + 1 + limit]

        rows = await self._service.read(work)
        body: View = {"migrations": [self._view(row, call.version) for row in rows]}
        if call.version >= PAGED and rows:
            body |= next_links(call, "os-migrations", "migrations", limit, [row.id for row in rows])
        return Answer(body=body)

    def _view(self, row: Any, version: Version) -> View:
        view: View = {
            "id": row.number, "instance_uuid": row.server, "status": row.status, "source_compute": row.source, "source_node": row.source,
            "dest_compute": row.target or None, "dest_node": row.target or None, "dest_host": None, "created_at": time_of(row.created_us),
            "updated_at": time_of(row.updated_us), "old_instance_type_id": _number(row.old_flavor), "new_instance_type_id": _number(row.new_flavor),
        }  # fmt: skip
        if version >= TYPED:
            view["migration_type"] = row.kind
            if row.kind == LIVE and row.status not in MOVE_ENDS:
                path = f"servers/{row.server}/migrations/{row.number}"
                view["links"] = [
                    {"rel": "self", "href": f"{self._service.url}/v2.1/{path}"}, {"rel": "bookmark", "href": f"{self._service.url}/{path}"},
                ]  # fmt: skip
        if version >= PAGED:
            view["uuid"] = row.id
        if version >= OWNED:
            view |= {"user_id": row.user_id, "project_id": row.project}
        return view


def _number(flavor: str) -> int | None:
    """What clients show as a flavor's number; flavors here have ids alone."""
    try:
        text = str(msgspec.json.decode(flavor)["id"]) if flavor.startswith("{") else flavor
    except (msgspec.DecodeError, KeyError, TypeError):
        return None
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None
