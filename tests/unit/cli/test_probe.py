"""Asking a proxy for its health: yes, no, silence, nobody."""

import asyncio

import pytest

from objstore.cli.probe import probe_proxy


@pytest.mark.parametrize(
    ("answer", "healthy"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", True),
        (b"HTTP/1.1 503 Slow Down\r\n\r\n", False),
        (b"SSH-2.0-surprise\r\n", False),
        (b"", False),
    ],
)
def test_only_a_200_is_healthy(answer: bytes, healthy: bool) -> None:
    async def main() -> bool:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert (await reader.readline()).startswith(b"GET /-/health HTTP/1.1")
            writer.write(answer)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            return await probe_proxy(server.sockets[0].getsockname()[1], tls=False)

    assert asyncio.run(main()) == healthy


def test_a_proxy_that_hangs_is_not_healthy_and_does_not_hold_up() -> None:
    async def main() -> bool:
        async def serve(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.3)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        async with server:
            answer = await probe_proxy(server.sockets[0].getsockname()[1], tls=False, timeout_s=0.1)
            await asyncio.sleep(0.3)
            return answer

    assert asyncio.run(main()) is False


def test_nobody_listening_is_not_healthy() -> None:
    assert asyncio.run(probe_proxy(1, tls=False)) is False
