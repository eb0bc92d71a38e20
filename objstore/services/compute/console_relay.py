"""WebSockets of consoles: from a client with a token to the agent of the server's host, bytes as they come, either way.

A client is answered nothing but 403 until his token was good and the agent has opened the console.
"""

import asyncio
import logging
from typing import Any
from urllib.parse import parse_qs

from objstore.errors import ObjstoreError
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.websocket import Wire, websocket
from objstore.services.calls.call import Receive, Scope, Send
from objstore.services.compute import records
from objstore.services.compute.consoles import KINDS, take
from objstore.services.compute.service import ComputeService

log = logging.getLogger(__name__)

MAX_CONSOLES = 500  # at once
OPEN_S = 10.0
MAX_QUERY_BYTES = 1024
POLICY, GONE, FAILED = 1008, 1000, 1011
BINARY = "binary"  # the word by which noVNC asks for bytes


class ConsoleRelay:
    """Serves WebSockets as ASGI has them."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service
        self._tasks = TaskOwner("consoles")
        self._open = 0

    async def aclose(self) -> None:
        """Close all consoles."""
        await self._tasks.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One WebSocket."""
        await receive()  # websocket.connect
        if self._open >= MAX_CONSOLES:
            await send({"type": "websocket.close", "code": POLICY})
            return
        self._open += 1
        try:
            await self._serve(scope, receive, send)
        finally:
            self._open -= 1

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        server, kind = await self._server(scope)
        found = await self._service.read(lambda connection: records.living(connection, server)) if server else None
        address = await self._service.hosts.address(found.host) if found is not None and found.host else ""
        if not address:
            await send({"type": "websocket.close", "code": POLICY})
            return
        url = f"ws{address.removeprefix('http')}/v1/servers/{server}/console/{kind}"
        headers = {"Authorization": f"Bearer {self._service.secret}"}
        accepted = False
        try:
            async with websocket(url, headers=headers, timeout_s=OPEN_S, ca_file=self._service.settings.agent_ca_file) as wire:
                await send({"type": "websocket.accept", "subprotocol": BINARY if BINARY in scope.get("subprotocols", ()) else None})
                accepted = True
                await self._relay(wire, receive, send)
                await _close(send, GONE)
        except (OSError, ValueError, ObjstoreError) as failure:
            log.warning("the console of server %s cannot be reached: %s", server, failure)
            await _close(send, FAILED if accepted else POLICY)

    async def _server(self, scope: Scope) -> tuple[str, str]:
        """(the server that the token opens, kind of console); the server is "" where there is none."""
        pieces = str(scope["path"]).strip("/").split("/")
        query = bytes(scope.get("query_string", b""))
        if len(pieces) != 3 or pieces[1] != "console" or pieces[2] not in KINDS or len(query) > MAX_QUERY_BYTES:
            return "", ""
        tokens = parse_qs(query.decode("latin-1")).get("token", [])
        if len(tokens) != 1:
            return "", ""
        now_us = self._service.now_us()
        return await self._service.write(lambda connection: take(connection, tokens[0], pieces[2], now_us)) or "", pieces[2]

    async def _relay(self, wire: Wire, receive: Receive, send: Send) -> None:
        """Until either side ends it."""
        both = [
            self._tasks.spawn(_from_client(wire, receive), name="console from client"),
            self._tasks.spawn(_from_guest(wire, send), name="console from guest"),
        ]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in both:
                task.cancel()
            await asyncio.wait(both)


async def _from_client(wire: Wire, receive: Receive) -> None:
    while True:
        message: Any = await receive()
        if message["type"] != "websocket.receive":
            return
        data = message.get("bytes")
        try:
            await wire.send(data if data is not None else str(message.get("text") or "").encode())
        except ConnectionError:
            return


async def _from_guest(wire: Wire, send: Send) -> None:
    while (data := await wire.receive()) is not None:
        try:
            await send({"type": "websocket.send", "bytes": data})
        except OSError:
            return  # the client went away


async def _close(send: Send, code: int) -> None:
    try:
        await send({"type": "websocket.close", "code": code})
    except (OSError, RuntimeError):
        return  # the client went first, which uvicorn tells in either way
