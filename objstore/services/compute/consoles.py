"""Consoles of guests: who may see a server's is given an address with a token, which opens it once within ten minutes (console_relay.py).

The database keeps a digest of the token, so what leaks from it opens nothing.
"""

import hashlib
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import bad_request, conflict, not_found
from objstore.services.compute import fields, records
from objstore.services.compute.cloud_tables import CONSOLES
from objstore.services.compute.fields import member, only
from objstore.services.compute.service import ComputeService
from objstore.services.compute.states import BUILDING, STOPPED

REMOTE: Version = (2, 6)
WITH_MKS: Version = (2, 8)
SERIAL, VNC = "serial", "vnc"
KINDS = (SERIAL, VNC)
TOKEN_BYTES = 32
MAX_TOKENS = 100  # of a server that are good at once; the oldest go
_TYPES = {"novnc": VNC, "serial": SERIAL}
_PROTOCOLS = {
    "vnc": ("novnc", "xvpvnc"), "serial": ("serial",), "spice": ("spice-html5",), "rdp": ("rdp-html5",), "mks": ("webmks",),
}  # fmt: skip
_OLD = {
    "os-getVNCConsole": _PROTOCOLS["vnc"], "os-getSerialConsole": _PROTOCOLS["serial"], "os-getSPICEConsole": _PROTOCOLS["spice"],
    "os-getRDPConsole": _PROTOCOLS["rdp"],
}  # fmt: skip


class ConsoleCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {("POST", "/v2.1/servers/{server_id}/remote-consoles"): self.create}

    def actions(self) -> dict[str, Callable[[Call, Any], Awaitable[Answer]]]:
        """The same as actions on servers, as clients asked for them before 2.6."""

        def action(name: str) -> Callable[[Call, Any], Awaitable[Answer]]:
            async def act(call: Call, given: Any) -> Answer:
                if call.version >= REMOTE:
                    raise not_found("Consoles are asked for at /remote-consoles in this version.")
                kind = fields.one_of(*_OLD[name])("type", member(only(given, ("type",), name), "type"))
                return Answer(body={"console": {"type": kind, "url": await self._url(call, kind)}})

            return act

        return {name: action(name) for name in _OLD}

    async def create(self, call: Call) -> Answer:
        """An address."""
        if call.version < REMOTE:
            raise not_found()
        given = only(member(only(await call.document(), ("remote_console",)), "remote_console"), ("protocol", "type"), "remote_console")
        known = [name for name in _PROTOCOLS if name != "mks" or call.version >= WITH_MKS]
        protocol = fields.one_of(*known)("protocol", member(given, "protocol"))
        kind = fields.one_of(*(one for name in known for one in _PROTOCOLS[name]))("type", member(given, "type"))
        if kind not in _PROTOCOLS[protocol]:
            raise bad_request(f"Unavailable console type {kind} of protocol {protocol}.")
        return Answer(body={"remote_console": {"protocol": protocol, "type": kind, "url": await self._url(call, kind)}})

    async def _url(self, call: Call, kind: str) -> str:
        call.check_write()
        service, now_us = self._service, self._service.now_us()
        id_ = call.parameters["server_id"]
        token = service.world.rng.token(TOKEN_BYTES).hex()
        until_us = now_us + int(service.settings.console_token_s * 1e6)

        def work(connection: Connection) -> None:
            server = records.living(connection, id_)
            if server is None or not (call.is_admin or server.project == call.project):
                raise not_found(f"Instance {id_[:64]} could not be found.")
            if kind not in _TYPES:
                raise bad_request(f"Unavailable console type {kind}.")
            if not server.host or server.vm_state == BUILDING:
                raise conflict("Instance not yet ready")
            if server.vm_state == STOPPED:
                raise conflict(f"Cannot open a console of instance {id_} while it is in vm_state stopped")
            connection.execute(delete(CONSOLES).where(CONSOLES.c.expires_us <= now_us))
            mine = (
                select(CONSOLES.c.token_hash).where(CONSOLES.c.server == id_).order_by(CONSOLES.c.expires_us.desc()).offset(MAX_TOKENS - 1)
            )
            connection.execute(delete(CONSOLES).where(CONSOLES.c.token_hash.in_(list(connection.execute(mine).scalars()))))
            row = {"token_hash": digest_of(token), "server": id_, "kind": _TYPES[kind], "expires_us": until_us}
            connection.execute(insert(CONSOLES).values(**row))

        await service.write(work)
        return f"ws{service.url.removeprefix('http')}/console/{_TYPES[kind]}?token={token}"


def digest_of(token: str) -> str:
    """What is kept of a token."""
    return hashlib.sha256(token.encode()).hexdigest()


def take(connection: Connection, token: str, kind: str, now_us: int) -> str | None:
    """The server that a token opens a console of, now and never again; None for one that is not good."""
    chosen = CONSOLES.c.token_hash == digest_of(token)
    row = connection.execute(select(CONSOLES).where(chosen)).one_or_none()
    if row is None or row.kind != kind or row.expires_us <= now_us:
        return None
    connection.execute(delete(CONSOLES).where(chosen))
    return str(row.server)
