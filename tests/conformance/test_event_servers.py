"""Senders of events against the real servers: RabbitMQ and NATS of Debian's packages, with and without TLS."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import uvloop

from objstore.runtime.outgoing import Message, SocketOutgoing
from tests.support import nats, rabbitmq
from tests.support.cluster import free_port_base
from tests.support.rabbitmq import PASSWORD, QUEUE, USER, RabbitMq
from tests.support.s3_server import make_certificate

WHO = f"{USER}:{quote(PASSWORD, safe='')}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def rabbit(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[str, str]) -> Iterator[RabbitMq]:
    if missing := rabbitmq.obtainable():
        pytest.skip(missing)
    base = free_port_base()
    with rabbitmq.rabbitmq(tmp_path_factory.mktemp("rabbit") / "server", (base, base + 1, base + 2, base + 3), certificate) as server:
        yield server


def url(server: RabbitMq, query: str, *, who: str = WHO, tls: bool = False, vhost: str = "store%2Fa") -> str:
    scheme, port = ("amqps", server.tls_port) if tls else ("amqp", server.port)
    return f"{scheme}://{who}@127.0.0.1:{port}/{vhost}?{query}"


def send(*messages: Message) -> None:
    async def test() -> None:
        outgoing = SocketOutgoing()
        try:
            for message in messages:
                await outgoing.send(message, timeout_s=20)
        finally:
            await outgoing.aclose()

    uvloop.run(test())


def test_rabbitmq_has_what_it_confirmed(rabbit: RabbitMq) -> None:
    large = b"x" * 400_000  # several frames
    to = url(rabbit, f"routing_key={QUEUE}")
    send(Message(to, b'{"n":1}'), Message(to, large), Message(to, b""), Message(to, b'{"n":2}'))
    assert rabbit.take() == [b'{"n":1}', large, b"", b'{"n":2}']


def test_rabbitmq_gets_messages_through_an_exchange_and_over_tls(rabbit: RabbitMq, certificate: tuple[str, str]) -> None:
    to = url(rabbit, "exchange=store&routing_key=bucket.created", tls=True)
    send(Message(to, b"{}", ca_file=certificate[0]))
    assert rabbit.take("bound") == [b"{}"]
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        send(Message(to, b"{}"))
    assert rabbit.take("bound") == []


def test_a_token_is_the_password(rabbit: RabbitMq) -> None:
    send(Message(url(rabbit, f"routing_key={QUEUE}", who=USER), b"{}", token=PASSWORD))
    assert rabbit.take() == [b"{}"]


@pytest.mark.parametrize(
    ("query", "more", "reason"),
    [
        ("routing_key=nobody", {}, "no queue"),
        ("exchange=store&routing_key=elsewhere", {}, "no queue"),
        ("exchange=missing&routing_key=x", {}, "404"),
        ("routing_key=told", {"who": "events:wrong-password"}, "403"),
        ("routing_key=told", {"vhost": "missing"}, "530"),
    ],
)
def test_what_rabbitmq_does_not_keep_is_an_error_without_secrets(rabbit: RabbitMq, query: str, more: dict[str, str], reason: str) -> None:
    with pytest.raises(OSError, match=reason) as failure:
        send(Message(url(rabbit, query, **more), b"{}"))  # type: ignore[arg-type] # strings all
    assert "wrong-password" not in str(failure.value)
    assert PASSWORD not in str(failure.value)
    assert rabbit.take() == []


def test_a_server_that_comes_back_is_found_and_has_what_it_confirmed(rabbit: RabbitMq) -> None:
    async def test() -> None:
        outgoing = SocketOutgoing()
        message = Message(url(rabbit, f"routing_key={QUEUE}"), b"before")
        try:
            await outgoing.send(message, timeout_s=20)
            await asyncio.to_thread(rabbit.stop)
            with pytest.raises(OSError):
                await outgoing.send(message._replace(body=b"lost"), timeout_s=5)
            await asyncio.to_thread(rabbit.start)
            await outgoing.send(message._replace(body=b"after"), timeout_s=20)
        finally:
            await outgoing.aclose()

    uvloop.run(test())
    assert rabbit.take() == [b"before", b"after"]


@pytest.mark.parametrize("secure", [False, True], ids=["plain", "tls"])
def test_nats_gets_what_is_published(tmp_path: Path, certificate: tuple[str, str], *, secure: bool) -> None:
    if missing := nats.obtainable():
        pytest.skip(missing)
    ca_file = certificate[0] if secure else ""
    with nats.nats_server(tmp_path / "nats", free_port_base(), certificate if secure else None) as port:
        hearing = nats.Subscriber(port, "store.>", ca_file)
        try:
            to = f"{'tls' if secure else 'nats'}://127.0.0.1:{port}/store/events"
            send(Message(to, b'{"a":1}', nats.TOKEN, ca_file))
            assert hearing.next() == ("store.events", b'{"a":1}')
            with pytest.raises(OSError, match="Authorization Violation"):
                send(Message(to, b"{}", "a wrong one", ca_file))
            if secure:
                with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
                    send(Message(to, b"{}", nats.TOKEN))
        finally:
            hearing.close()
