"""One suite for every Net: sockets and the simulator's network must treat protocols alike."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from objstore.errors import NodeUnreachable
from objstore.runtime.net import Net, SocketNet
from tests.sim import loop as virtual
from tests.sim.net import Fabric, SimNet

Play = Callable[[Net, str], Awaitable[None]]


class Recorder(asyncio.Protocol):
    """Keeps what happens to it."""

    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.received = bytearray()
        self.events: list[str] = []
        self.lost: asyncio.Future[Exception | None] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.note("made")

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.changed.set()

    def eof_received(self) -> None:
        self.note("eof")

    def connection_lost(self, exc: Exception | None) -> None:
        self.note("lost")
        if not self.lost.done():
            self.lost.set_result(exc)

    def pause_writing(self) -> None:
        self.note("pause")

    def resume_writing(self) -> None:
        self.note("resume")

    def note(self, event: str) -> None:
        self.events.append(event)
        self.changed.set()

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()


class Echo(Recorder):
    """Sends back what it gets."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self.transport.write(data)


class BufferedRecorder(Recorder, asyncio.BufferedProtocol):  # type: ignore[misc]
    """Receives into a buffer of its own, smaller than what is sent."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = bytearray(1000)

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, count: int) -> None:
        self.data_received(bytes(self.buffer[:count]))


def real(play: Play, tmp_path: Path) -> None:
    asyncio.run(play(SocketNet(), f"unix:{tmp_path}/socket"))  # type: ignore[arg-type]


def simulated(play: Play, tmp_path: Path) -> None:
    async def main() -> None:
        here = asyncio.get_running_loop()
        assert isinstance(here, virtual.HostLoop)
        await play(SimNet(Fabric(here, random.Random(str(tmp_path.name))), here), "tcp:host:7000")

    virtual.run(main())


@pytest.fixture(params=[real, simulated], ids=["real", "simulated"])
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Play], None]:
    return lambda play: request.param(play, tmp_path)


@contextlib.asynccontextmanager
async def pair(net: Net, address: str, server: type[Recorder] = Recorder) -> AsyncIterator[tuple[Recorder, Recorder]]:
    """(client, server) of a new connection."""
    servers: list[Recorder] = []

    def accept() -> Recorder:
        servers.append(server())
        return servers[-1]

    listener = await net.listen(address, accept)
    near = await net.connect(address, Recorder, timeout_s=5.0)
    assert isinstance(near, Recorder)
    async with asyncio.timeout(5):
        while not servers or "made" not in servers[0].events:
            await asyncio.sleep(0.001)
    yield near, servers[0]
    await listener.aclose()
    async with asyncio.timeout(5):
        for end in (near, servers[0]):
            end.transport.close()
            await end.lost


def test_bytes_arrive_in_order_both_ways(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        async with pair(net, address, server=Echo) as (near, _):
            sent = b"".join(b"%06d" % i for i in range(2000))
            for start in range(0, len(sent), 700):
                near.transport.write(sent[start : start + 700])
            await near.until(lambda: len(near.received) >= len(sent))
            assert bytes(near.received) == sent

    stage(play)


def test_writelines_and_odd_buffers_arrive_whole(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        async with pair(net, address) as (near, far):
            scratch = bytearray(b"456")
            near.transport.writelines([b"123", memoryview(scratch), b"", bytearray(b"789")])
            scratch[:] = b"xxx"  # the transport must have taken a copy
            near.transport.write(memoryview(b"__abc__")[2:5])
            await far.until(lambda: len(far.received) >= 12)
            assert bytes(far.received) == b"123456789abc"

    stage(play)


def test_close_delivers_what_was_written_and_then_ends_both_sides(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        async with pair(net, address) as (near, far):
            near.transport.write(b"last words" * 30_000)
            near.transport.close()
            assert near.transport.is_closing()
            async with asyncio.timeout(5):
                assert await far.lost is None
                assert await near.lost is None
            assert bytes(far.received) == b"last words" * 30_000
            assert far.events[-2:] == ["eof", "lost"]

    stage(play)


def test_abort_ends_both_sides(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        async with pair(net, address) as (near, far):
            near.transport.abort()
            assert near.transport.is_closing()
            async with asyncio.timeout(5):
                assert await near.lost is None
                await far.lost

    stage(play)


def test_a_reader_that_pauses_makes_the_writer_pause(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        async with pair(net, address) as (near, far):
            far.transport.pause_reading()
            near.transport.set_write_buffer_limits(high=50_000, low=10_000)
            total = 0
            while "pause" not in near.events:
                near.transport.write(bytes(20_000))
                total += 20_000
                assert total < 50_000_000
            before = len(far.received)
            await asyncio.sleep(0.05)
            assert len(far.received) == before
            assert near.transport.get_write_buffer_size() > 0
            far.transport.resume_reading()
            await far.until(lambda: len(far.received) == total)
            await near.until(lambda: "resume" in near.events)
            assert near.events.count("pause") == 1

    stage(play)


def test_a_buffered_protocol_receives_into_its_own_buffer(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        async with pair(net, address, server=BufferedRecorder) as (near, far):
            sent = bytes(range(256)) * 40
            near.transport.write(sent)
            await far.until(lambda: len(far.received) >= len(sent))
            assert bytes(far.received) == sent

    stage(play)


def test_nobody_listens_means_unreachable(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        with pytest.raises(NodeUnreachable):
            await net.connect(address, Recorder, timeout_s=1.0)

    stage(play)


def test_a_closed_listener_accepts_nobody_but_keeps_its_connections(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        listener = await net.listen(address, Echo)
        near = await net.connect(address, Recorder, timeout_s=5.0)
        assert isinstance(near, Recorder)
        near.transport.write(b"a")
        await near.until(lambda: near.received == b"a")
        await listener.aclose()
        with pytest.raises(NodeUnreachable):
            await net.connect(address, Recorder, timeout_s=1.0)
        near.transport.write(b"b")
        await near.until(lambda: near.received == b"ab")
        near.transport.close()
        await near.lost
        await asyncio.sleep(0.01)  # the accepting side sees the end too

    stage(play)


def test_a_bad_address_is_refused(stage: Callable[[Play], None]) -> None:
    async def play(net: Net, address: str) -> None:
        for bad in ("nonsense", "tcp:host", "tcp:host:port", "unix:", "http:host:80"):
            with pytest.raises(ValueError):
                await net.connect(bad, Recorder, timeout_s=1.0)

    stage(play)
