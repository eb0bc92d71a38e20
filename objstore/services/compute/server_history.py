"""What was done to servers: instance actions with their events, and live migrations that go on."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.comparing import time_us
from objstore.services.calls.paging import limit_of, link, query_without
from objstore.services.calls.problems import CallRefused, bad_request, not_found
from objstore.services.compute import records
from objstore.services.compute.context import Context
from objstore.services.compute.records import Server
from objstore.services.compute.server_views import action_view, event_view
from objstore.services.compute.states import DELETED
from objstore.services.compute.tables import ACTIONS, EVENTS, MIGRATIONS
from objstore.services.compute.views import View, time_of

_DONE = (*records.MOVE_ENDS, "finished")


class HistoryCalls:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/v2.1/servers/{server_id}"
        return {
            ("GET", f"{one}/os-instance-actions"): self.actions,
            ("GET", f"{one}/os-instance-actions/{{request_id}}"): self.action,
            ("GET", f"{one}/migrations"): self.moves_of_one,
            ("GET", f"{one}/migrations/{{move_id}}"): self.move,
            ("POST", f"{one}/migrations/{{move_id}}/action"): self.force,
            ("DELETE", f"{one}/migrations/{{move_id}}"): self.abort,
        }

    async def _server(self, call: Call) -> Server:
        """A server; from 2.21 on also one that is deleted.  Raises 404."""
        call.check_read()
        id_ = call.parameters["server_id"]
        found = await self._context.read(lambda connection: records.find(connection, id_))
        gone = found is not None and found.vm_state == DELETED and call.version < (2, 21)
        if found is None or gone or not (call.is_admin or found.project == call.project):
            raise not_found(f"Instance {id_[:64]} could not be found.")
        return found

    async def actions(self, call: Call) -> Answer:
        """What was done to a server, the last first."""
        server = await self._server(call)
        conditions = [ACTIONS.c.server == server.id]
        limit = self._context.page_limit
        if call.version >= (2, 58):
            limit = limit_of(call, default=limit, most=limit)
            if call.first("changes-since") is not None:
                conditions.append(ACTIONS.c.updated_us >= _time("changes-since", call.first("changes-since")))
        if call.version >= (2, 66) and call.first("changes-before") is not None:
            conditions.append(ACTIONS.c.updated_us < _time("changes-before", call.first("changes-before")) + 1_000_000)
        query = select(ACTIONS).where(and_(*conditions)).order_by(ACTIONS.c.started_us.desc(), ACTIONS.c.request_id).limit(limit + 1)
        marker = call.first("marker") if call.version >= (2, 58) else None
        rows = list(
            await self._context.read(
                lambda connection: connection.execute(
                    query if marker is None else query.where(_behind(connection, conditions, marker))
                ).all()
            )
        )
        body: View = {"instanceActions": [action_view(row, call.version) for row in rows[:limit]]}
        if call.version >= (2, 58) and len(rows) > limit > 0:
            rest = [*query_without(call, "marker"), ("marker", rows[limit - 1].request_id)]
            body["links"] = [{"rel": "next", "href": link(f"{self._context.url}{call.path}", rest)}]
        return Answer(body=body)

    async def action(self, call: Call) -> Answer:
        """One of them, with its steps for who may see them."""
        server = await self._server(call)
        request_id = call.parameters["request_id"]

        def work(connection: Connection) -> tuple[Any, Sequence[Any]]:
            which = and_(ACTIONS.c.server == server.id, ACTIONS.c.request_id == request_id)
            row = connection.execute(select(ACTIONS).where(which)).one_or_none()
            steps = select(EVENTS).where(and_(EVENTS.c.server == server.id, EVENTS.c.request_id == request_id))
            return row, connection.execute(steps.order_by(EVENTS.c.started_us.desc())).all()

        row, events = await self._context.read(work)
        if row is None:
            raise not_found(f"Action for request_id {request_id[:64]} on instance {server.id} not found")
        view = action_view(row, call.version)
        if call.is_admin or call.version >= (2, 51):
            view["events"] = [event_view(event, server, call.version, is_admin=call.is_admin) for event in events]
        return Answer(body={"instanceAction": view})

    # -- moves ----------------------------------------------------------------------------------------------------

    async def moves_of_one(self, call: Call) -> Answer:
        """Live migrations of a server that are going on."""
        if call.version < (2, 23):
            raise not_found()
        server = await self._context.server(call)
        call.check_admin()
        rows = await self._context.read(lambda connection: _running(connection, server.id))
        return Answer(body={"migrations": [_running_view(row, call) for row in rows]})

    async def move(self, call: Call) -> Answer:
        """One of those."""
        return Answer(body={"migration": _running_view(await self._running(call, (2, 23)), call)})

    async def _running(self, call: Call, since: tuple[int, int]) -> Any:
        if call.version < since:
            raise not_found()
        server = await self._context.server(call)
        call.check_admin()
        number = call.parameters["move_id"]
        rows = await self._context.read(lambda connection: _running(connection, server.id))
        found = next((row for row in rows if str(row.number) == number or row.id == number), None)
        if found is None:
            raise not_found(f"In-progress live migration {number[:64]} is not found for server {server.id}.")
        return found

    async def force(self, call: Call) -> Answer:
        """A live migration cannot be hurried: guests are halted for the last step as it is."""
        await self._running(call, (2, 22))
        raise CallRefused(501, "A live migration cannot be forced to complete here.")

    async def abort(self, call: Call) -> Answer:
        """Nor stopped."""
        await self._running(call, (2, 24))
        raise CallRefused(501, "A live migration cannot be aborted here.")


def _running(connection: Connection, server: str) -> Sequence[Any]:
    which = and_(MIGRATIONS.c.server == server, MIGRATIONS.c.kind == "live-migration", MIGRATIONS.c.status.not_in(_DONE))
    return connection.execute(select(MIGRATIONS).where(which).order_by(MIGRATIONS.c.number)).all()


def _behind(connection: Connection, conditions: Sequence[ColumnElement[bool]], marker: str) -> ColumnElement[bool]:
    """Those that come after the marker: a server may have been locked and unlocked any number of times."""
    at = connection.execute(select(ACTIONS.c.started_us).where(and_(*conditions, ACTIONS.c.request_id == marker))).scalar_one_or_none()
    if at is None:
        raise bad_request(f"marker [{marker[:64]}] not found")
    return or_(ACTIONS.c.started_us < at, and_(ACTIONS.c.started_us == at, ACTIONS.c.request_id > marker))


def _time(name: str, text: str | None) -> int:
    try:
        return time_us(text or "")
    except CallRefused:
        raise bad_request(f"Invalid input for query parameters {name}. Value: {str(text)[:64]}. It is not a 'date-time'") from None


def _running_view(row: Any, call: Call) -> View:
    view: View = {
        "id": row.number, "source_node": row.source, "source_compute": row.source, "dest_node": row.target, "dest_compute": row.target,
        "dest_host": row.target, "status": row.status, "server_uuid": row.server, "created_at": time_of(row.created_us),
        "updated_at": time_of(row.updated_us), "memory_total_bytes": None, "memory_processed_bytes": None, "memory_remaining_bytes": None,
        "disk_total_bytes": None, "disk_processed_bytes": None, "disk_remaining_bytes": None,
    }  # fmt: skip
    if call.version >= (2, 59):
        view["uuid"] = row.id
    if call.version >= (2, 80):
        view |= {"user_id": row.user_id, "project_id": row.project}
    return view
