import asyncio
from typing import Any

import pytest

from objstore.errors import DeadlineExceeded, Unavailable
from objstore.wire.codec import MAX_DATA_BYTES, BadFrame, FrameReader
from objstore.wire.streams import WINDOW_BYTES, BodyReceiver, BodySender
from tests.sim.loop import run


class Wire:
    """Stands for the connection: keeps what would be sent."""

    def __init__(self) -> None:
        self.data: list[tuple[int, bool]] = []
        self.granted: list[int] = []
        self.congested = False
        self.free = asyncio.Event()

    def send_data(self, _request: int, piece: Any, *, end: bool) -> None:
        self.data.append((len(piece), end))

    def send(self, frame: bytes) -> None:
        FrameReader(lambda _r, _c, _f, head, _p: self.granted.append(int.from_bytes(head, "little")), limit_bytes=100).feed(frame)

    async def room(self) -> None:
        await self.free.wait()
        self.congested = False


def sender(wire: Wire, wait_s: float = 10) -> BodySender:
    return BodySender(wire, 1, wait_s=wait_s)  # type: ignore[arg-type]


def receiver(wire: Wire, wait_s: float = 10) -> BodyReceiver:
    return BodyReceiver(wire, 1, wait_s=wait_s)  # type: ignore[arg-type]


def test_a_large_piece_leaves_in_frames_and_stops_at_the_window() -> None:
    async def main() -> None:
        wire = Wire()
        body = sender(wire)
        writing = asyncio.ensure_future(body.write(bytes(2 * WINDOW_BYTES)))
        await asyncio.sleep(1)
        assert wire.data == [(MAX_DATA_BYTES, False)] * (WINDOW_BYTES // MAX_DATA_BYTES)
        body.grant(10)
        await asyncio.sleep(1)
        assert wire.data[-1] == (10, False)
        body.grant(WINDOW_BYTES - 20)
        await asyncio.sleep(1)
        assert not writing.done()
        body.grant(10)
        await writing
        assert sum(size for size, _ in wire.data) == 2 * WINDOW_BYTES
        body.end()
        assert wire.data[-1] == (0, True)

    run(main())


def test_credit_that_was_never_used_breaks_the_protocol() -> None:
    async def main() -> None:
        with pytest.raises(BadFrame):
            sender(Wire()).grant(1)

    run(main())


def test_a_sender_waits_for_room_in_the_transport() -> None:
    async def main() -> None:
        wire = Wire()
        wire.congested = True
        writing = asyncio.ensure_future(sender(wire).write(b"x"))
        await asyncio.sleep(1)
        assert wire.data == []
        wire.free.set()
        await writing
        assert wire.data == [(1, False)]

    run(main())


def test_a_sender_gives_up_after_its_limit_or_at_a_failure() -> None:
    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await sender(Wire()).write(bytes(2 * WINDOW_BYTES))
        body = sender(Wire())
        writing = asyncio.ensure_future(body.write(bytes(2 * WINDOW_BYTES)))
        await asyncio.sleep(1)
        body.fail(Unavailable("gone"))
        with pytest.raises(Unavailable):
            await writing
        with pytest.raises(Unavailable):
            await body.write(b"more")

    run(main())


def test_pieces_come_out_in_order_and_credit_goes_back_in_portions() -> None:
    async def main() -> None:
        wire = Wire()
        body = receiver(wire)
        pieces = [bytes([n]) * (WINDOW_BYTES // 8) for n in range(8)]
        for piece in pieces:
            body.deliver(memoryview(piece), end=False)
        assert [bytes(await body.__anext__()) for _ in range(8)] == pieces
        assert wire.granted == [WINDOW_BYTES // 4] * 4
        for piece in pieces:
            body.deliver(memoryview(piece), end=False)

    run(main())


def test_no_credit_goes_back_after_the_end() -> None:
    async def main() -> None:
        wire = Wire()
        body = receiver(wire)
        body.deliver(memoryview(bytes(WINDOW_BYTES)), end=True)
        assert [len(piece) async for piece in body] == [WINDOW_BYTES]
        assert wire.granted == []

    run(main())


def test_a_sender_that_overruns_the_window_or_goes_on_after_the_end_breaks_the_protocol() -> None:
    async def main() -> None:
        body = receiver(Wire())
        body.deliver(memoryview(bytes(WINDOW_BYTES)), end=False)
        with pytest.raises(BadFrame):
            body.deliver(memoryview(b"x"), end=False)
        ended = receiver(Wire())
        ended.deliver(memoryview(b""), end=True)
        with pytest.raises(BadFrame):
            ended.deliver(memoryview(b""), end=True)

    run(main())


def test_a_receiver_waits_no_longer_than_its_limit() -> None:
    async def main() -> None:
        with pytest.raises(DeadlineExceeded):
            await receiver(Wire(), wait_s=3).__anext__()

    run(main())


def test_a_failure_comes_after_what_is_here_and_not_after_the_end() -> None:
    async def main() -> None:
        body = receiver(Wire())
        body.deliver(memoryview(b"x"), end=False)
        body.fail(Unavailable("broke off"))
        assert await body.__anext__() == b"x"
        with pytest.raises(Unavailable):
            await body.__anext__()
        whole = receiver(Wire())
        whole.deliver(memoryview(b"x"), end=True)
        whole.fail(Unavailable("too late"))
        assert [bytes(piece) async for piece in whole] == [b"x"]

    run(main())
