"""Calls by which other services tell of servers: of this cloud's services none does, since they call one another in the process."""

from typing import Any

from sqlalchemy import select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import forbidden
from objstore.services.compute import fields
from objstore.services.compute.fields import member, only, wrong
from objstore.services.compute.service import ComputeService
from objstore.services.compute.tables import SERVERS

EXTENDED: Version = (2, 51)
POWER: Version = (2, 76)
BOUND: Version = (2, 82)
REIMAGED: Version = (2, 93)
MAX_EVENTS = 1000
NAMES = ("network-vif-plugged", "network-vif-unplugged", "network-changed", "network-vif-deleted")
STATUSES = ("failed", "completed", "in-progress")


class EventCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {("POST", "/v2.1/os-server-external-events"): self.tell}

    async def tell(self, call: Call) -> Answer:
        """Each event is answered by whether there is such a server.  Ports, networks and volumes are looked up when they are shown, so
        there is nothing to bring up to date."""
        if not call.who.is_service:
            raise forbidden()
        given = member(only(await call.document(), ("events",)), "events")
        if not isinstance(given, list) or not 0 < len(given) <= MAX_EVENTS:
            raise wrong("events", given, f"It is not a list of 1 to {MAX_EVENTS} events")
        names = _names(call.version)
        events: list[dict[str, Any]] = []
        for event in given:
            known = only(event, ("name", "server_uuid", "status", "tag"), "events")
            events.append({
                "name": fields.one_of(*names)("name", member(known, "name")), "server_uuid": fields.uuid("server_uuid", member(known, "server_uuid")),
                "status": fields.one_of(*STATUSES)("status", known.get("status", "completed")), **({"tag": fields.text()("tag", known["tag"])} if known.get("tag") is not None else {}),
            })  # fmt: skip
        wanted = {event["server_uuid"] for event in events}
        query = select(SERVERS.c.id, SERVERS.c.host).where(SERVERS.c.id.in_(wanted), SERVERS.c.deleted_us.is_(None))
        hosts = {row.id: row.host for row in await self._service.read(lambda connection: connection.execute(query).all())}
        for event in events:
            host = hosts.get(event["server_uuid"])
            event["code"] = 404 if host is None else 200 if host else 422
            if event["code"] != 200:
                event["status"] = "failed"
        if not any(event["code"] == 200 for event in events):
            return Answer(404, {"itemNotFound": {"code": 404, "message": "No instances found for any event"}})
        return Answer(200 if all(event["code"] == 200 for event in events) else 207, {"events": events})


def _names(version: Version) -> tuple[str, ...]:
    later = ((EXTENDED, "volume-extended"), (POWER, "power-update"), (BOUND, "accelerator-request-bound"), (REIMAGED, "volume-reimaged"))
    return (*NAMES, *(name for since, name in later if version >= since))
