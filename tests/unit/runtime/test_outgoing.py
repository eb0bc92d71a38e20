"""Webhooks against small servers of our own, and who sends where; tests/conformance/test_event_servers.py has the real servers."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from objstore.runtime.outgoing import Message, SocketOutgoing, open_sender, secrets_of

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
        outgoing = SocketOutgoing()
        try:
            await outgoing.send(Message(url.format(port=port), body, token), timeout_s=timeout_s)
        finally:
            await outgoing.aclose()
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


def test_nobody_there_and_silence_are_failures() -> None:
    async def silent(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.3)
        writer.close()

    with pytest.raises(OSError):
        asyncio.run(SocketOutgoing().send(Message("http://127.0.0.1:1/", b""), timeout_s=5))
    with pytest.raises(TimeoutError):
        sent(silent, "http://127.0.0.1:{port}/", timeout_s=0.1)


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("https://host/path", "Webhook"),
        ("nats://host:4222/subject", "Nats"),
        ("tls://host/a/b", "Nats"),
        ("amqp://host/?routing_key=q", "Amqp"),
    ],
)
def test_the_scheme_chooses_who_sends(url: str, kind: str) -> None:
    assert type(open_sender(url)).__name__ == kind


@pytest.mark.parametrize(
    "odd", ["nats://host", "gopher://host/", "http:///x", "http://ü/", "http://host:no/", "http://host/#x", "amqp://host/"]
)
def test_addresses_that_nothing_can_be_sent_to_are_refused(odd: str) -> None:
    with pytest.raises(ValueError):
        open_sender(odd)


@pytest.mark.parametrize("url", ["amqp://u:hidden@host/v", "gopher://u:hidden@host/", "nats://u:hidden@host", "http://u:hidden@host/#x"])
def test_a_refusal_does_not_repeat_credentials(url: str) -> None:
    with pytest.raises(ValueError) as refusal:
        open_sender(url)
    assert "hidden" not in str(refusal.value)
    assert "hidden" in secrets_of(url, "")


def test_what_must_not_be_logged_of_a_target() -> None:
    assert secrets_of("amqp://u:a%40b@host/?routing_key=q", "t") == ["t", "a%40b", "a@b"]
    assert secrets_of("https://host/", "") == []


def test_certificates_that_are_not_there_are_noticed_before_anything_is_sent() -> None:
    with pytest.raises(OSError):
        open_sender("https://host/", "", "missing.pem")


def test_credentials_in_a_webhooks_address_are_said_in_a_header() -> None:
    got: list[bytes] = []
    sent(webhook(b"HTTP/1.1 200 OK", got), "http://me:p%40ss@127.0.0.1:{port}/x")
    assert b"Authorization: Basic bWU6cEBzcw==\r\n" in got[0]
    assert b"p%40ss" not in got[0]
