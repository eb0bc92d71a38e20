"""WebSockets to others, against a real server."""

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from objstore.runtime.websocket import websocket

HEADERS = {"Authorization": "Bearer secret"}


def with_server(handler: Callable[[ServerConnection], Awaitable[None]], test: Callable[[str], Awaitable[None]], **rest: Any) -> None:
    async def main() -> None:
        async with serve(handler, "127.0.0.1", 0, **rest) as server:
            await test(f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/there?x=1")

    asyncio.run(main())


def test_messages_go_both_ways_until_the_end() -> None:
    seen: list[Any] = []

    async def echo(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append((connection.request.path, connection.request.headers["authorization"]))
        await connection.send(await connection.recv())
        await connection.send("text")

    async def test(url: str) -> None:
        async with websocket(url, headers=HEADERS, timeout_s=5) as wire:
            await wire.send(b"\0\xff")
            assert [await wire.receive(), await wire.receive(), await wire.receive()] == [b"\0\xff", b"text", None]
            with pytest.raises(ConnectionError):
                await wire.send(b"more")

    with_server(echo, test)
    assert seen == [("/there?x=1", "Bearer secret")]


def test_nobody_is_followed_elsewhere() -> None:
    async def never(connection: ServerConnection) -> None:
        raise AssertionError("reached")

    def refuse(connection: ServerConnection, request: Any) -> Any:
        response = connection.respond(HTTPStatus.FOUND, "")
        response.headers["Location"] = "ws://127.0.0.1:1/"
        return response

    async def test(url: str) -> None:
        with pytest.raises(ConnectionError, match="302") as caught:
            async with websocket(url, headers=HEADERS, timeout_s=5):
                pass
        assert "secret" not in str(caught.value)

    with_server(never, test, process_request=refuse)


def test_who_is_not_there_or_is_no_address_is_told() -> None:
    async def test() -> None:
        with pytest.raises(OSError):
            async with websocket("ws://127.0.0.1:1/", headers={}, timeout_s=5):
                pass
        for url in ("http://127.0.0.1:1/", "ws://", "ws://127.0.0.1:1/\r\n"):
            with pytest.raises(ValueError):
                async with websocket(url, headers={}, timeout_s=5):
                    pass
        with pytest.raises(ValueError):
            async with websocket("ws://127.0.0.1:1/", headers={"a": "b\r\nc: d"}, timeout_s=5):
                pass

    asyncio.run(test())
