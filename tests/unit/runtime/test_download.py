"""Fetching from the web: only from listed hosts, only from public addresses, nothing followed."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from objstore.runtime.download import Allowed, NotAllowed, download


@pytest.mark.parametrize(
    "url",
    [
        "http://other.test/x", "http://images.test:8080/x", "https://images.test.evil/x", "file:///etc/passwd", "ftp://images.test/x", "http:///x", "",
        "http://u:p@images.test/x", "http://images.test/x#f", "http://images.test/a b", "http://images.test/\r\nHost: x", "http://2130706433/x", "x" * 5000,
        "http://evil.test@images.test/x", "http://images.test@evil.test/",
    ],
)  # fmt: skip
def test_addresses_that_are_not_listed_are_refused(url: str) -> None:
    with pytest.raises(NotAllowed):
        Allowed(("images.test:80", "images.test:443")).check(url)


def test_a_listed_host_is_taken_with_its_port_or_any() -> None:
    assert Allowed(("images.test",)).check("http://IMAGES.test:8080/x").port == 8080
    assert Allowed(("images.test:80",)).check("http://images.test./x?q=1").target == "/x?q=1"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1", "::1", "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1",
     "2002:7f00:1::", "198.18.0.1", "240.0.0.1"],
)  # fmt: skip
def test_addresses_inside_of_networks_are_refused_unless_the_operator_says_else(address: str) -> None:
    place = Allowed(("h",)).check("http://h/")
    with pytest.raises(NotAllowed):
        Allowed(("h",)).check_address(place, address)
    Allowed(("h",), ("h",)).check_address(place, address)
    Allowed(("h",)).check_address(place, "93.184.216.34")


def fetched(answer: bytes, check: Callable[[str], Awaitable[None]]) -> list[bytes]:
    """Run a check against a server that gives this answer; what it was asked."""
    asked: list[bytes] = []

    async def main() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(answer)
            await writer.drain()
            writer.close()
            await writer.wait_closed()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        try:
            await check(f"http://127.0.0.1:{port}/d?q=1")
        finally:
            server.close()
            await server.wait_closed()

    asyncio.run(main())
    return asked


HERE = Allowed(("127.0.0.1",), ("127.0.0.1",))


@pytest.mark.parametrize(
    ("answer", "size"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 5), (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", None),
        (b"HTTP/1.1 200 OK\r\n\r\nhello", None), (b"HTTP/1.1 103 Early\r\nX: y\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 5),
    ],
)  # fmt: skip
def test_a_document_comes_whole(answer: bytes, size: int | None) -> None:
    async def check(url: str) -> None:
        async with download(url, HERE) as coming:
            assert coming.size == size
            assert b"".join([piece async for piece in coming.chunks]) == b"hello"

    (asked,) = fetched(answer, check)
    assert asked.startswith(b"GET /d?q=1 HTTP/1.1\r\nHost: 127.0.0.1:")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", b"SSH-2.0\r\n\r\n", b"",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ],
)  # fmt: skip
def test_anything_else_is_no_document(answer: bytes) -> None:
    async def check(url: str) -> None:
        async def whole() -> bytes:
            async with download(url, HERE) as coming:
                return b"".join([piece async for piece in coming.chunks])

        with pytest.raises(OSError, match=r".+"):
            await whole()

    fetched(answer, check)


def test_a_private_address_is_never_connected_to() -> None:
    async def check(url: str) -> None:
        with pytest.raises(NotAllowed):
            async with download(url, Allowed(("127.0.0.1",))):
                pass

    assert fetched(b"", check) == []
