"""Webhooks and NATS against small servers of our own."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from objstore.runtime.outgoing import Message, SocketOutgoing, check_url

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def sent(serve: Serve, url: str, body: bytes = b'{"a":1}', token: str = "", timeout_s: float = 5.0) -> None:
    async def test() -> None:
        served: list[asyncio.Task[None]] = []

        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                    await serve(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            served.append(asyncio.get_running_loop().create_task(handle(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await SocketOutgoing().send(Message(url.format(port=port), body, token), timeout_s=timeout_s)
        finally:
            server.close()
            for task in served:
                task.cancel()
            await asyncio.gather(*served, return_exceptions=True)
            await server.wait_closed()

    asyncio.run(test())


def webhook(status: bytes, got: list[bytes]) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        got.append(head + await reader.readexactly(7))
        writer.write(status + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    return serve


def test_a_webhook_gets_json_and_says_yes() -> None:
    got: list[bytes] = []
    sent(webhook(b"HTTP/1.1 204 No Content", got), "http://127.0.0.1:{port}/path?x=1", token="secret")
    head = got[0].decode()
    assert head.startswith("POST /path?x=1 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert "Authorization: Bearer secret\r\n" in head
    assert "Content-Type: application/json\r\n" in head
    assert head.endswith('{"a":1}')


@pytest.mark.parametrize("answer", [b"HTTP/1.1 500 no", b"HTTP/1.1 302 Found", b"nonsense", b"HTTP/1.1 abc"])
def test_any_other_answer_of_a_webhook_is_a_failure(answer: bytes) -> None:
    with pytest.raises(OSError):
        sent(webhook(answer, []), "http://127.0.0.1:{port}/")


def nats(answer: bytes, got: list[bytes]) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_id":"x"}\r\n')
        got.append(await reader.readuntil(b"PING\r\n"))
        writer.write(answer)
        await writer.drain()
        writer.close()

    return serve


def test_nats_takes_a_message_before_it_answers_the_ping() -> None:
    got: list[bytes] = []
    sent(nats(b"PING\r\nPONG\r\n", got), "nats://127.0.0.1:{port}/events/store", token="t")
    assert b'"auth_token": "t"' in got[0]
    assert b'\r\nPUB events.store 7\r\n{"a":1}\r\nPING\r\n' in got[0]
    for answer in (b"-ERR 'Authorization Violation'\r\n", b""):
        with pytest.raises(OSError):
            sent(nats(answer, []), "nats://127.0.0.1:{port}/events")


def test_nobody_there_and_silence_are_failures() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.close()

    with pytest.raises(OSError):
        asyncio.run(SocketOutgoing().send(Message("http://127.0.0.1:1/", b""), timeout_s=5))
    with pytest.raises(TimeoutError):
        sent(silent, "http://127.0.0.1:{port}/", timeout_s=0.1)


def test_addresses_are_checked() -> None:
    check_url("https://host/path")
    check_url("nats://host:4222/subject")
    for odd in ("nats://host", "gopher://host/", "http:///x", "http://ü/"):
        with pytest.raises(ValueError):
            check_url(odd)
