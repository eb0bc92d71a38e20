"""Exchanges on a connection that only takes notes: what is written, and what an application may not do."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest

from objstore.fronts.exchange import JOIN_BELOW_BYTES, Exchange
from objstore.fronts.http1 import HttpProblem, parse_head


class Notes:
    """exchange.Carrier."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.write_waiter: asyncio.Future[None] | None = None
        self.written: list[bytes] = []
        self.calls: list[str] = []
        self.transport: Any = self

    def write(self, data: bytes) -> None:
        self.written.append(bytes(data))

    def writelines(self, pieces: Iterable[bytes]) -> None:
        self.written.extend(map(bytes, pieces))

    def default_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"date", b"now")]

    def resume_reading(self, exchange: Exchange | None) -> None:
        self.calls.append("resume")

    def can_stay_open(self, exchange: Exchange) -> bool:
        return True

    def answered(self, exchange: Exchange) -> None:
        self.calls.append("answered")

    def refuse(self, problem: HttpProblem) -> None:
        self.calls.append(f"refuse {problem.status}")

    def abort(self) -> None:
        self.calls.append("abort")


App = Callable[[Any, Any, Any], Awaitable[None]]


def ran(app: App, head: str = "GET / HTTP/1.1\r\nHost: h\r\n\r\n", prepare: Callable[[Exchange], None] | None = None) -> Notes:
    async def go() -> Notes:
        notes = Notes()
        exchange = Exchange(notes, parse_head(head.encode()), 0.0)
        if prepare is not None:
            prepare(exchange)
        await exchange.run(app, {})
        return notes

    return asyncio.run(go())


def answering(status: int, headers: list[tuple[bytes, bytes]], *bodies: bytes) -> App:
    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for body in bodies[:-1]:
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": bodies[-1]})

    return app


def test_a_small_answer_is_one_write() -> None:
    notes = ran(answering(200, [(b"content-length", b"2"), (b"x", b"y")], b"ok"))
    assert notes.written == [b"HTTP/1.1 200 OK\r\ndate: now\r\ncontent-length: 2\r\nx: y\r\n\r\nok"]
    assert notes.calls == ["answered"]


def test_a_large_piece_is_not_joined_to_anything() -> None:
    piece = bytes(JOIN_BELOW_BYTES + 1)
    notes = ran(answering(200, [(b"content-length", str(len(piece)).encode())], piece))
    assert [len(data) for data in notes.written[1:]] == [len(piece)]


def test_answers_without_a_body_have_none_whatever_the_application_sends() -> None:
    assert ran(answering(204, [], b"")).written == [b"HTTP/1.1 204 No Content\r\ndate: now\r\n\r\n"]
    head = "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n"
    assert ran(answering(200, [(b"content-length", b"9")], b""), head).written[0].endswith(b"content-length: 9\r\n\r\n")
    assert ran(answering(200, [(b"content-length", b"2")], b"no"), head).written[0].endswith(b"\r\n\r\n")


@pytest.mark.parametrize("length", [b"1", b"3"])
def test_a_body_of_another_length_than_announced_breaks_off(length: bytes) -> None:
    assert "abort" in ran(answering(200, [(b"content-length", length)], b"ok")).calls


@pytest.mark.parametrize("value", [b"a\r\nb: c", b"a\nb", b"a\rb", b"a\0b"])
def test_a_header_value_cannot_add_a_line(value: bytes) -> None:
    notes = ran(answering(200, [(b"x", value)], b""))
    assert (notes.written, notes.calls) == ([], ["refuse 500"])


def test_an_application_that_answers_not_or_fails_is_answered_for() -> None:
    async def silent(*_: Any) -> None:
        return

    async def failing(*_: Any) -> None:
        raise ValueError("private")

    async def cut(*_: Any) -> None:
        raise ConnectionAbortedError

    assert ran(silent).calls == ["refuse 500"]
    assert ran(failing).calls == ["refuse 500"]
    assert ran(cut).calls == ["abort"]


def test_bodies_are_handed_on_as_they_came_and_small_slices_joined() -> None:
    seen: list[tuple[bytes, bool]] = []
    large = bytes(JOIN_BELOW_BYTES + 1)

    def prepare(exchange: Exchange) -> None:
        exchange.slices = [large, b"a", b"b"]
        exchange.buffered = len(large) + 2
        exchange.body_done = True

    head = "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"

    async def app(_: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            message = await receive()
            seen.append((message["body"], message["more_body"]))
        await answering(200, [(b"content-length", b"0")], b"")(_, receive, send)

    ran(app, head, prepare)
    assert seen[0][0] is large
    assert seen == [(large, True), (b"ab", False)]


def test_a_client_that_is_gone_is_told_to_both_sides() -> None:
    async def app(_: Any, receive: Any, send: Any) -> None:
        assert (await receive())["type"] == "http.disconnect"
        with pytest.raises(ConnectionResetError):
            await send({"type": "http.response.start", "status": 200})

    def prepare(exchange: Exchange) -> None:
        exchange.disconnected = True

    notes = ran(app, prepare=prepare)
    assert (notes.written, notes.calls) == ([], [])


def test_a_body_of_very_many_slices_is_joined_however_large_it_is() -> None:
    """Else taking them one by one from the front of the list takes minutes of the loop for a few megabytes of one-byte chunks."""
    seen: list[int] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        message = await receive()
        seen.append(len(message["body"]))
        await answering(200, [], b"")(_, receive, send)

    def prepare(exchange: Exchange) -> None:
        exchange.slices = [b"xy"] * 200_000
        exchange.buffered = 400_000

    ran(app, "PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 500000\r\n\r\n", prepare)
    assert seen == [400_000]
