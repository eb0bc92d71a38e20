"""Calls to agents, over real connections."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from objstore.services.compute.agent_api import Destroy, SnapshotVolume
from objstore.services.compute.agent_client import AgentClient, AgentRefused, AgentUnavailable

Heard = list[bytes]


def with_agent(answer: bytes, test: Callable[[AgentClient, Heard], Awaitable[None]]) -> None:
    """An agent that answers everything alike."""

    async def main() -> None:
        heard: Heard = []

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            heard.append(await reader.read(65536))
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]

        async def address(host: str) -> str:
            return f"http://127.0.0.1:{port}" if host == "h1" else ""

        async with server:
            await test(AgentClient(address, "secret", timeout_s=5), heard)

    asyncio.run(main())


def reply(status: int, body: bytes) -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def test_a_call_is_sent_with_the_secret_and_its_answer_comes_back() -> None:
    async def test(client: AgentClient, heard: Heard) -> None:
        assert await client.call("h1", SnapshotVolume("v", "s")) == {"a": 1}
        assert heard[0].startswith(b"POST /v1/snapshot_volume HTTP/1.1\r\n")
        assert b"Authorization: Bearer secret\r\n" in heard[0]
        assert heard[0].endswith(b'{"volume":"v","snapshot":"s"}')

    with_agent(reply(200, b'{"a": 1}'), test)


@pytest.mark.parametrize("status", [400, 404, 409])
def test_what_the_agent_refuses_is_refused(status: int) -> None:
    async def test(client: AgentClient, heard: Heard) -> None:
        with pytest.raises(AgentRefused, match="it is so") as caught:
            await client.call("h1", Destroy("s"))
        assert caught.value.status == status

    with_agent(reply(status, b'{"error": "it is so"}'), test)


@pytest.mark.parametrize("answer", [reply(503, b""), reply(500, b"[]"), reply(401, b"{"), b"", b"what?\r\n\r\n"])
def test_whatever_else_comes_may_go_well_later(answer: bytes) -> None:
    async def test(client: AgentClient, heard: Heard) -> None:
        with pytest.raises(AgentUnavailable) as caught:
            await client.call("h1", Destroy("s"))
        assert "secret" not in str(caught.value)

    with_agent(answer, test)


def test_hosts_that_are_not_known_and_agents_that_are_not_there_may_come() -> None:
    async def test(client: AgentClient, heard: Heard) -> None:
        with pytest.raises(AgentUnavailable, match="never reported"):
            await client.call("h2", Destroy("s"))
        assert heard == []

        async def nowhere(host: str) -> str:
            return "http://127.0.0.1:1"

        with pytest.raises(AgentUnavailable, match="does not answer"):
            await AgentClient(nowhere, "secret").call("h1", Destroy("s"))

    with_agent(b"", test)
