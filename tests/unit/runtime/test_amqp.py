"""AMQP against a server of our own that says what a test tells it; tests/conformance/test_event_servers.py has the real one."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest
from pamqp import body, commands, frame, header, heartbeat

from objstore.runtime import amqp
from objstore.runtime.amqp import Amqp

ACK = [commands.Basic.Ack(1)]


class Server:
    """Opens connections as a server does, then answers each message with the next of `answers` (raw bytes as they are)."""

    def __init__(self, *answers: list[object], greeting: bytes | None = None) -> None:
        self.connections = 0
        self.messages: list[bytes] = []
        self.said: list[frame.FrameTypes] = []
        self._answers = list(answers)
        self._greeting = greeting
        self._writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, OSError):
            await self._open(reader, writer)
            while True:
                await self._take(reader)
                self._say(writer, 1, *self._answers.pop(0))
        writer.close()

    def hang_up(self) -> None:
        for writer in self._writers:
            writer.close()

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert await reader.readexactly(8) == b"AMQP\0\0\x09\x01"
        if self._greeting is not None:
            writer.write(self._greeting)
            return
        self._say(writer, 0, commands.Connection.Start(server_properties={}, mechanisms="AMQPLAIN PLAIN"))
        self.said.append(await self._next(reader))
        self._say(writer, 0, heartbeat.Heartbeat(), commands.Connection.Tune(10, 4096, 60))
        self.said += [await self._next(reader), await self._next(reader)]
        self._say(writer, 0, commands.Connection.OpenOk())
        self.said.append(await self._next(reader))
        self._say(writer, 1, commands.Channel.OpenOk())
        self.said.append(await self._next(reader))
        self._say(writer, 1, commands.Confirm.SelectOk())

    @staticmethod
    def _say(writer: asyncio.StreamWriter, channel: int, *values: object) -> None:
        for value in values:
            writer.write(value if isinstance(value, bytes) else frame.marshal(value, channel))  # type: ignore[arg-type]

    async def _take(self, reader: asyncio.StreamReader) -> None:
        assert isinstance(await self._next(reader), commands.Basic.Publish)
        head = await self._next(reader)
        assert isinstance(head, header.ContentHeader)
        pieces: list[bytes] = []
        while sum(map(len, pieces)) < (head.body_size or 0):
            piece = await self._next(reader)
            assert isinstance(piece, body.ContentBody)
            assert len(piece.value) <= 4096 - 8, "the server said how large a frame may be"
            pieces.append(piece.value)
        self.messages.append(b"".join(pieces))

    @staticmethod
    async def _next(reader: asyncio.StreamReader) -> frame.FrameTypes:
        head = await reader.readexactly(7)
        return frame.unmarshal(head + await reader.readexactly(int.from_bytes(head[3:], "big") + 1))[2]


def talking(server: Server, talk: Callable[[Amqp], Awaitable[None]], *, token: str = "") -> None:
    async def test() -> None:
        listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
        sender = Amqp(f"amqp://me:p%40ss@127.0.0.1:{listening.sockets[0].getsockname()[1]}/v%2Fh?routing_key=q", token, "")
        try:
            async with asyncio.timeout(5):
                await talk(sender)
        finally:
            sender.close()
            listening.close()
            await asyncio.sleep(0.02)

    asyncio.run(test())


async def one(sender: Amqp) -> None:
    await sender.send(b"{}")


def test_messages_share_a_connection_and_are_confirmed_each() -> None:
    async def talk(sender: Amqp) -> None:
        for content in (b"a", b"b" * 10_000, b""):
            await sender.send(content)

    server = Server(ACK, [commands.Basic.Ack(1), heartbeat.Heartbeat(), commands.Basic.Ack(2, multiple=True)], [commands.Basic.Ack(3)])
    talking(server, talk)
    assert server.messages == [b"a", b"b" * 10_000, b""]
    assert server.connections == 1
    start, _, opening = server.said[:3]
    assert isinstance(start, commands.Connection.StartOk)
    assert (start.mechanism, start.response) == ("PLAIN", "\0me\0p@ss")
    assert isinstance(opening, commands.Connection.Open)
    assert opening.virtual_host == "v/h"


def test_a_token_is_said_in_place_of_the_password() -> None:
    server = Server(ACK)
    talking(server, one, token="a token")
    assert isinstance(server.said[0], commands.Connection.StartOk)
    assert server.said[0].response == "\0me\0a token"


def test_a_connection_that_broke_while_idle_costs_no_error() -> None:
    async def talk(sender: Amqp) -> None:
        await sender.send(b"1")
        server.hang_up()
        await sender.send(b"2")

    server = Server(ACK, ACK)
    talking(server, talk)
    assert (server.messages, server.connections) == ([b"1", b"2"], 2)


def test_a_kept_connection_that_breaks_under_a_message_is_tried_once_more() -> None:
    async def talk(sender: Amqp) -> None:
        await sender.send(b"1")
        await sender.send(b"2")

    closing = commands.Connection.Close(320, "CONNECTION_FORCED - shutdown", 0, 0)
    server = Server(ACK, [closing], ACK)
    talking(server, talk)
    assert (server.messages, server.connections) == ([b"1", b"2", b"2"], 2)


def test_an_old_connection_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def talk(sender: Amqp) -> None:
        await sender.send(b"1")
        await sender.send(b"2")

    monkeypatch.setattr(amqp, "IDLE_S", 0.0)
    server = Server(ACK, ACK)
    talking(server, talk)
    assert server.connections == 2


RETURNED = commands.Basic.Return(312, "NO_ROUTE", "", "q")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ([commands.Basic.Nack(1)], "keep"),
        ([RETURNED, header.ContentHeader(body_size=2), body.ContentBody(b"{}"), *ACK], "no queue for the message: 312 NO_ROUTE"),
        ([commands.Channel.Close(404, "NOT_FOUND", 0, 0)], "closed the channel: 404 NOT_FOUND"),
        ([commands.Basic.CancelOk("x")], "answered Basic.CancelOk"),
        ([b"\x01\0\1\0\0\0\4\0\xff\0\xff\xce"], "as it should"),
        ([b"\x01\0\1\x7f\0\0\0"], "does not speak AMQP"),
        ([b"\x01\0\1\0\0\0\2\0\0\0"], "as it should"),
    ],
)
def test_what_is_no_confirmation_is_an_error(answer: list[object], reason: str) -> None:
    with pytest.raises(OSError, match=reason):
        talking(Server(answer), one)


@pytest.mark.parametrize(
    "greeting",
    [b"AMQP\0\1\0\0", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\0" * 20, frame.marshal(commands.Connection.OpenOk(), 0), frame.marshal(commands.Connection.Start(server_properties={}, mechanisms="EXTERNAL"), 0)],
)  # fmt: skip
def test_a_server_of_another_kind_is_an_error(greeting: bytes) -> None:
    with pytest.raises(OSError):
        talking(Server(greeting=greeting), one)


@pytest.mark.parametrize("query", ["", "exchange=", "routing_key=" + "k" * 256, "exchange=" + "e" * 128, "routing_key=a&routing_key=b"])
def test_addresses_that_name_no_queue_are_refused_without_their_credentials(query: str) -> None:
    with pytest.raises(ValueError) as refusal:
        Amqp(f"amqp://me:hidden@host/?{query}", "", "")
    assert "hidden" not in str(refusal.value)
