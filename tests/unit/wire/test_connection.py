import asyncio
from typing import Any

from objstore.wire import codec
from objstore.wire.connection import JOIN_LIMIT_BYTES, MAX_QUEUED_BYTES, Connection
from tests.sim.loop import run


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[list[bytes]] = []
        self.ended = ""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high

    def write(self, data: Any) -> None:
        self.writes.append([bytes(data)])

    def writelines(self, list_of_data: Any) -> None:
        self.writes.append([bytes(data) for data in list_of_data])

    def close(self) -> None:
        self.ended = "closed"

    def abort(self) -> None:
        self.ended = "aborted"


class End(Connection):
    """A connection that keeps what comes."""

    def __init__(self) -> None:
        super().__init__()
        self.came: list[Any] = []
        self.reasons: list[str] = []

    def opened(self) -> None:
        self.came.append("opened")

    def on_handshake(self, code: int, head: memoryview) -> None:
        self.came.append((code, bytes(head)))

    def on_message(self, request: int, code: int, head: memoryview, payload: memoryview) -> None:
        self.came.append((request, code, bytes(payload)))

    def on_stream(self, request: int, code: int, flags: int, head: memoryview, payload: memoryview) -> None:
        self.came.append((request, code, flags))

    def lost(self, reason: str) -> None:
        self.reasons.append(reason)


def connected() -> tuple[End, Transport]:
    end, transport = End(), Transport()
    end.connection_made(transport)
    end.admit_peer()
    return end, transport


def test_what_becomes_ready_in_one_turn_leaves_in_one_write() -> None:
    async def main() -> None:
        end, transport = connected()
        for payload in (b"", b"small", bytes(JOIN_LIMIT_BYTES + 1)):
            end.send(b"frame", payload)
        assert transport.writes == []
        await asyncio.sleep(0)
        assert transport.writes == [[b"frame", b"framesmall", b"frame", bytes(JOIN_LIMIT_BYTES + 1)]]
        end.send(b"next")
        await asyncio.sleep(0)
        assert transport.writes[1:] == [[b"next"]]

    run(main())


def test_while_the_transport_is_full_frames_wait_here_in_order() -> None:
    async def main() -> None:
        end, transport = connected()
        end.send(b"1")
        end.pause_writing()
        end.send(b"2")
        waiting = asyncio.ensure_future(end.room())
        await asyncio.sleep(1)
        assert transport.writes == []
        assert end.congested
        assert not waiting.done()
        end.resume_writing()
        assert transport.writes == [[b"1", b"2"]]
        await waiting

    run(main())


def test_too_much_that_waits_is_an_overload() -> None:
    async def main() -> None:
        end, _ = connected()
        end.pause_writing()
        end.send(b"frame", bytes(MAX_QUEUED_BYTES))
        assert end.overloaded
        end.resume_writing()
        assert not end.overloaded

    run(main())


def test_the_end_is_told_once_and_wakes_who_waits() -> None:
    async def main() -> None:
        end, transport = connected()
        end.pause_writing()
        waiting = asyncio.ensure_future(end.room())
        await asyncio.sleep(0)
        end.abort("first")
        end.connection_lost(None)
        end.finish("third")
        assert (end.reasons, end.closed) == (["first"], True)
        await waiting
        end.send(b"x")
        await asyncio.sleep(0)
        assert transport.writes == []

    run(main())


def test_a_graceful_end_sends_what_waits() -> None:
    async def main() -> None:
        end, transport = connected()
        end.send(b"last words")
        end.finish("done")
        assert (transport.writes, transport.ended) == ([[b"last words"]], "closed")

    run(main())


def test_garbage_aborts_the_connection_and_what_follows_is_not_read() -> None:
    async def main() -> None:
        end, transport = connected()
        end.data_received(codec.pack_frame(1, 5, 0, b"") + bytes(100) + codec.pack_frame(1, 6, 0, b""))
        assert end.came == ["opened", (5, 1, b"")]
        assert transport.ended == "aborted"
        assert "protocol" in end.reasons[0]

    run(main())


def test_before_authentication_only_the_handshake_hears_anything_and_only_a_little() -> None:
    async def main() -> None:
        end, transport = End(), Transport()
        end.connection_made(transport)
        end.data_received(codec.pack_frame(1, 5, 0, b"head"))
        assert end.came == ["opened", (1, b"head")]
        end.data_received(codec.pack_frame(codec.HELLO, 0, 0, bytes(codec.MAX_HANDSHAKE_BYTES + 1)))
        assert transport.ended == "aborted"

    run(main())


def test_a_ping_is_answered_and_a_pong_is_only_heard() -> None:
    async def main() -> None:
        end, transport = connected()
        end.data_received(codec.pack_frame(codec.PING, 0, 0, b"") + codec.pack_frame(codec.PONG, 0, 0, b""))
        await asyncio.sleep(0)
        assert transport.writes == [[codec.pack_frame(codec.PONG, 0, 0, b"")]]
        assert end.heard

    run(main())
