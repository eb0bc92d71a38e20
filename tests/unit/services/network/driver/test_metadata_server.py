"""The server of metadata against whatever a guest sends."""

import asyncio
from collections.abc import Callable

import pytest
import uvloop

from objstore.errors import Unavailable
from objstore.runtime.clock import SystemClock
from objstore.services.network.driver import metadata_server
from objstore.services.network.driver.api import Metadata
from objstore.services.network.driver.metadata_server import MetadataServer

HEAD = b"GET /openstack/latest/meta_data.json HTTP/1.1\r\nHost: x\r\n\r\n"


async def known(port: str, server: str) -> Metadata | None:
    return Metadata(server, "web", metadata={"port": port})


async def nobody(port: str, server: str) -> Metadata | None:
    return None


async def broken(port: str, server: str) -> Metadata | None:
    raise Unavailable("later")


def talk(*sent: bytes, lookup: Callable[..., object] = known, connections: int = 1) -> list[bytes]:
    """What each connection is answered until it is closed."""

    async def body() -> list[bytes]:
        server = MetadataServer(SystemClock(), {("n1", "127.0.0.1"): ("p", "s")}.get, lookup)  # type: ignore[arg-type]
        listener = await asyncio.get_running_loop().create_server(lambda: server.connection("n1"), "127.0.0.1", 0)
        host, number = listener.sockets[0].getsockname()

        async def one() -> bytes:
            reader, writer = await asyncio.open_connection(host, number)
            try:
                for data in sent:
                    writer.write(data)
                    await writer.drain()
                    await asyncio.sleep(0)
                return await reader.read()
            except ConnectionError:
                return b""
            finally:
                writer.close()

        try:
            return await asyncio.gather(*(one() for _ in range(connections)))
        finally:
            listener.close()
            await server.aclose()

    return uvloop.run(body())  # as agents do


def test_guest_is_known_by_where_it_comes_from() -> None:
    (answered,) = talk(HEAD)
    assert answered.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n")
    assert answered.endswith(b'\r\n\r\n{"port":"p"}')


def test_request_may_come_in_pieces() -> None:
    assert talk(HEAD[:10], HEAD[10:])[0].startswith(b"HTTP/1.1 200")


def test_head_has_no_body() -> None:
    assert talk(HEAD.replace(b"GET", b"HEAD"))[0].endswith(b"\r\n\r\n")


def test_what_is_no_request_is_told_so() -> None:
    for junk in (b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"GET x HTTP/1.1\r\n\r\n", b"GET / HTTP/2\r\n\r\n"):
        assert talk(junk)[0].startswith(b"HTTP/1.1 400")


def test_servers_that_nobody_knows_are_not_found_and_failures_are_told_apart() -> None:
    assert talk(HEAD, lookup=nobody)[0].startswith(b"HTTP/1.1 404")
    assert talk(HEAD, lookup=broken)[0].startswith(b"HTTP/1.1 503")


def test_long_head_ends_the_connection() -> None:
    assert talk(b"GET / HTTP/1.1\r\n" + b"x" * 20_000) == [b""]


def test_guest_has_so_many_connections_at_once(monkeypatch: object) -> None:
    answered = talk(b"GET / HTTP/1.1\r\n\r\n", connections=40)
    assert 0 < sum(a.startswith(b"HTTP/1.1 200") for a in answered) <= 40
    server = MetadataServer(SystemClock(), lambda _: None, known)
    guest = ("n", "10.0.0.5")
    entered = [server.enter(guest) for _ in range(metadata_server.GUEST_CONNECTIONS + 1)]
    assert entered == [True] * metadata_server.GUEST_CONNECTIONS + [False]
    assert server.enter(("n", "10.0.0.6"))
    server.leave(guest)
    assert server.enter(guest)


def test_guest_that_asks_without_end_is_slowed() -> None:
    async def body() -> list[int]:
        server = MetadataServer(SystemClock(), {("n", "a"): ("p", "s"), ("n", "b"): ("p", "s")}.get, known)
        statuses = [(await server.respond(("n", "a"), HEAD)).status for _ in range(int(metadata_server.GUEST_BURST) + 20)]
        return [statuses[0], statuses[-1], (await server.respond(("n", "b"), HEAD)).status]

    assert uvloop.run(body()) == [200, 429, 200]


def test_requests_beyond_what_is_served_at_once_are_hung_up_on_in_order(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metadata_server, "CONNECTIONS", 1)

    async def slow(port: str, server: str) -> Metadata | None:
        await asyncio.sleep(0.1)
        return Metadata(server, "web")

    answered = talk(HEAD, lookup=slow, connections=4)
    assert len([text for text in answered if text.startswith(b"HTTP/1.1 200")]) == 1
    assert caplog.text == ""
