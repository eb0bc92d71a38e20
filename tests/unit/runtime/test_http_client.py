"""Against a socket that answers what a test tells it to."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from objstore.runtime.http_client import MAX_ANSWER_BYTES, Answer, Http, split_target


def answered(raw: bytes, check: Callable[[Http], Awaitable[None]], *, hold_open: bool = False) -> bytes:
    """Serve one connection with `raw`; returns what was received."""
    received = b""

    async def main() -> None:
        served = asyncio.Event()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal received
            received += await reader.readuntil(b"\r\n\r\n")
            writer.write(raw)
            if hold_open:
                await reader.read()
            with contextlib.suppress(OSError):
                await writer.drain()
            writer.close()
            served.set()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        await check(Http(f"http://127.0.0.1:{port}/base/", timeout_s=0.5))
        server.close()
        await served.wait()
        await asyncio.sleep(0.01)

    asyncio.run(main())
    return received


def test_a_request_goes_out_whole_and_its_answer_comes_back() -> None:
    async def check(http: Http) -> None:
        answer = await http.request("POST", "/v1/x", headers={"X-Token": "t"}, body=b"hello")
        assert answer == Answer(200, {"content-length": "2", "x-a": "b"}, b"ok")

    received = answered(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nok", check)
    assert received.startswith(b"POST /base/v1/x HTTP/1.1\r\nHost: 127.0.0.1:")
    assert b"X-Token: t\r\n" in received
    assert b"Content-Length: 5\r\n" in received


@pytest.mark.parametrize(
    ("raw", "body"),
    [
        (b"HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", b"abc"),
        (b"HTTP/1.1 500 No\r\n\r\nuntil the end", b"until the end"),
        (b"HTTP/1.1 204 None\r\n\r\n", b""),
    ],
)
def test_bodies_end_in_all_three_ways(raw: bytes, body: bytes) -> None:
    async def check(http: Http) -> None:
        assert (await http.request("GET", "/", headers={})).body == body

    answered(raw, check)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"SSH-2.0-server\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (2 * MAX_ANSWER_BYTES) + bytes(2 * MAX_ANSWER_BYTES),
    ],
)
def test_what_is_no_answer_is_an_error(raw: bytes) -> None:
    async def check(http: Http) -> None:
        with pytest.raises(OSError, match=r"answer|HTTP"):
            await http.request("GET", "/", headers={})

    answered(raw, check)


def test_news_on_the_way_to_the_answer_is_passed_over() -> None:
    async def check(http: Http) -> None:
        assert await http.request("GET", "/", headers={}) == Answer(200, {"content-length": "2"}, b"ok")

    answered(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", check)


def test_where_the_head_is_enough_a_body_without_end_is_not_waited_for() -> None:
    async def check(http: Http) -> None:
        assert await http.request("POST", "/", headers={}, head_only=True) == Answer(202, {"content-length": "5000000"})

    answered(b"HTTP/1.1 202 Accepted\r\nContent-Length: 5000000\r\n\r\nbegin", check, hold_open=True)


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async def check(http: Http) -> None:
        assert (await http.request("GET", "/", headers={})).status == 302

    assert answered(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", check).count(b"GET ") == 1


def test_the_url_of_one_thing_is_cut_into_base_and_target() -> None:
    assert split_target("https://host/a?b=c") == ("https://host:443", "/a?b=c")
    assert split_target("http://[::1]:8") == ("http://[::1]:8", "/")


def test_silence_ends_at_the_deadline() -> None:
    async def check(http: Http) -> None:
        with pytest.raises(TimeoutError):
            await http.request("GET", "/", headers={})

    answered(b"HTTP/1.1 200 OK\r\n", check, hold_open=True)


@pytest.mark.parametrize("url", ["", "ftp://host", "http://", "http://user:secret@host", "http://host/?q", "host:80"])
def test_addresses_that_are_none_are_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address"):
        Http(url, timeout_s=1)


def test_headers_cannot_smuggle_lines() -> None:
    with pytest.raises(ValueError, match="control"):
        asyncio.run(Http("http://127.0.0.1:1", timeout_s=1).request("GET", "/", headers={"A": "b\r\nC: d"}))


def test_a_body_goes_out_piece_by_piece_and_an_early_refusal_is_heard() -> None:
    async def pieces(*parts: bytes) -> AsyncIterator[bytes | memoryview]:
        for part in parts:
            yield part

    async def check(http: Http) -> None:
        answer = await http.upload("/v1/x", pieces(b"abc", b"de"), 5, headers={"X-A": "b"})
        assert (answer.status, answer.body) == (201, b"")

    received = answered(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", check)
    assert received.startswith(b"PUT /base/v1/x HTTP/1.1\r\n")
    assert b"Content-Length: 5\r\n" in received

    async def stalled() -> AsyncIterator[bytes | memoryview]:
        yield b"abc"
        await asyncio.sleep(30)

    async def wait(http: Http) -> None:
        with pytest.raises(TimeoutError):
            await http.upload("/v1/x", stalled(), 5, headers={})

    answered(b"", wait, hold_open=True)
