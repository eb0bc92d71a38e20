"""Consoles over real connections: a client, the service, an agent that sends back what it gets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed, InvalidStatus

from objstore.fronts.http import uvicorn_config
from objstore.services.compute.agent_api import Report
from tests.support.cloud_rig import SECRET, CloudRig
from tests.support.image_rig import DATABASE

S = "5" * 32


async def agent(connection: ServerConnection) -> None:
    assert connection.request is not None
    assert connection.request.headers["authorization"] == f"Bearer {SECRET}"
    await connection.send(connection.request.path.encode())
    async for message in connection:
        if message == b"end":
            return
        await connection.send(message)


def with_relay(test: Callable[[CloudRig, str, int], Awaitable[None]]) -> None:
    """`test` is given the rig, the address of the service and the port of the agent."""

    async def main() -> None:
        rig = CloudRig()
        await rig.start()
        server = uvicorn.Server(uvicorn_config(rig.app, websockets=True))
        serving = asyncio.ensure_future(server._serve())
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        async with serve(agent, "127.0.0.1", 0) as other:
            try:
                await test(rig, f"ws://127.0.0.1:{port}/compute/console", next(iter(other.sockets)).getsockname()[1])
            finally:
                server.should_exit = True
                await serving
                await rig.aclose()

    asyncio.run(main())


async def token(rig: CloudRig, protocol: str, type_: str) -> str:
    body = {"remote_console": {"protocol": protocol, "type": type_}}
    reply = await rig.ask("POST", f"/servers/{S}/remote-consoles", body, version="2.6")
    return str(reply.body["remote_console"]["url"]).partition("=")[2]


pytestmark = pytest.mark.skipif(DATABASE != "sqlite://", reason="one database is enough for this")


def test_bytes_go_both_ways_and_a_token_is_good_once() -> None:
    async def test(rig: CloudRig, url: str, port: int) -> None:
        await rig.tell(Report("h1", f"http://127.0.0.1:{port}"))
        await rig.add_server(S, host="h1")
        text = await token(rig, "vnc", "novnc")
        with pytest.raises(InvalidStatus):
            await connect(f"{url}/serial?token={text}")
        with pytest.raises(InvalidStatus):
            await connect(f"{url}/vnc?token={text}&token={text}")
        async with connect(f"{url}/vnc?token={text}", subprotocols=["binary"]) as wire:  # type: ignore[list-item] # a plain text
            assert wire.subprotocol == "binary"
            assert await wire.recv() == f"/v1/servers/{S}/console/vnc".encode()
            await wire.send(b"\0\xff")
            assert await wire.recv() == b"\0\xff"
            await wire.send("text")
            assert await wire.recv() == b"text"
            with pytest.raises(InvalidStatus):
                await connect(f"{url}/vnc?token={text}")
            await wire.send(b"end")
            with pytest.raises(ConnectionClosed):
                await wire.recv()

    with_relay(test)


def test_what_leads_nowhere_is_refused() -> None:
    async def test(rig: CloudRig, url: str, port: int) -> None:
        await rig.tell(Report("h1", "http://127.0.0.1:1"))
        await rig.add_server(S, host="h1")
        paths = ["", "/serial", "/serial?token=", "/serial?token=x", "/other?token=x", "/serial?" + "x" * 2000]
        for path in [*paths, f"/serial?token={await token(rig, 'serial', 'serial')}"]:
            with pytest.raises(InvalidStatus) as caught:
                await connect(url + path)
            assert caught.value.response.status_code == 403

    with_relay(test)


def test_closing_the_service_closes_consoles() -> None:
    async def test(rig: CloudRig, url: str, port: int) -> None:
        await rig.tell(Report("h1", f"http://127.0.0.1:{port}"))
        await rig.add_server(S, host="h1")
        wire: Any = await connect(f"{url}/serial?token={await token(rig, 'serial', 'serial')}")
        await wire.recv()
        await rig.app.relay.aclose()
        with pytest.raises(ConnectionClosed):
            await wire.recv()

    with_relay(test)
