"""Cuts, resets, garbling and death, as the protocols on either side see them."""

import asyncio
import random
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from objstore.errors import NodeUnreachable
from tests.sim.loop import HostLoop, Scheduler
from tests.sim.net import CUT_RESET_S, Fabric, SimNet


class Recorder(asyncio.Protocol):
    def __init__(self) -> None:
        self.transport: asyncio.Transport
        self.received = bytearray()
        self.pieces = 0
        self.lost: BaseException | str | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data
        self.pieces += 1

    def connection_lost(self, exc: Exception | None) -> None:
        assert self.lost is None
        self.lost = exc or "closed"


class Stage:
    """Two hosts, a connection from a to b, and the harness."""

    def __init__(self, seed: int = 1) -> None:
        self.scheduler = Scheduler()
        self.harness = HostLoop(self.scheduler, "harness")
        self.a, self.b = HostLoop(self.scheduler, "a"), HostLoop(self.scheduler, "b")
        self.fabric = Fabric(self.harness, random.Random(seed))
        self.accepted: list[Recorder] = []
        self.near: Recorder

    def play(self, scene: Callable[["Stage"], Coroutine[Any, Any, None]]) -> None:
        async def main() -> None:
            await self.open()
            await scene(self)

        self.harness.run_until_complete(main())
        assert self.scheduler.failures == []

    async def open(self) -> None:
        await SimNet(self.fabric, self.b).listen("tcp:b:1", self._accept)
        self.near = await self.connect()
        while not self.accepted:
            await asyncio.sleep(0.001)

    async def connect(self, timeout_s: float = 5.0) -> Recorder:
        done = asyncio.get_running_loop().create_future()

        async def go() -> None:
            try:
                done.set_result(await SimNet(self.fabric, self.a).connect("tcp:b:1", Recorder, timeout_s=timeout_s))
            except NodeUnreachable as failure:
                done.set_exception(failure)

        self.a.call_soon(self.a.create_task, go())
        result = await done
        assert isinstance(result, Recorder)
        return result

    def _accept(self) -> Recorder:
        self.accepted.append(Recorder())
        return self.accepted[-1]


def test_a_short_cut_delays_and_loses_nothing() -> None:
    async def scene(stage: Stage) -> None:
        stage.fabric.cut("a", "b")
        stage.near.transport.write(b"held")
        stage.accepted[0].transport.write(b"the other way is open")
        await asyncio.sleep(CUT_RESET_S / 2)
        assert stage.accepted[0].received == b""
        assert stage.near.received == b"the other way is open"
        stage.fabric.heal("a", "b")
        await asyncio.sleep(1)
        assert stage.accepted[0].received == b"held"
        assert stage.near.lost is stage.accepted[0].lost is None

    Stage().play(scene)


def test_a_long_cut_ends_the_connection() -> None:
    async def scene(stage: Stage) -> None:
        stage.fabric.cut("a", "b")
        stage.near.transport.write(b"never arrives")
        await asyncio.sleep(3 * CUT_RESET_S)
        assert isinstance(stage.near.lost, TimeoutError)
        assert isinstance(stage.accepted[0].lost, ConnectionResetError)
        stage.fabric.heal("a", "b")
        await asyncio.sleep(1)
        assert stage.accepted[0].received == b""

    Stage().play(scene)


def test_nobody_connects_over_a_cut_in_either_direction() -> None:
    async def scene(stage: Stage) -> None:
        for source, target in (("a", "b"), ("b", "a")):
            stage.fabric.cut(source, target)
            with pytest.raises(NodeUnreachable):
                await stage.connect(timeout_s=3.0)
            stage.fabric.heal(source, target)
            await stage.connect()

    Stage().play(scene)


def test_a_reset_is_seen_on_both_sides_and_what_was_on_its_way_is_gone() -> None:
    async def scene(stage: Stage) -> None:
        stage.near.transport.write(b"gone")
        assert stage.fabric.reset_one(random.Random(1))
        await asyncio.sleep(1)
        assert isinstance(stage.near.lost, ConnectionResetError)
        assert isinstance(stage.accepted[0].lost, ConnectionResetError)
        assert stage.accepted[0].received == b""
        assert not stage.fabric.reset_one(random.Random(1))

    Stage().play(scene)


@pytest.mark.parametrize("dark", [False, True])
def test_the_peer_of_a_dead_host_is_told_in_the_end_and_cannot_connect(dark: bool) -> None:
    async def scene(stage: Stage) -> None:
        stage.b.kill()
        stage.fabric.host_gone(stage.b, dark=dark)
        began = asyncio.get_running_loop().time()
        with pytest.raises(NodeUnreachable):
            await stage.connect(timeout_s=2.0)
        assert (asyncio.get_running_loop().time() - began >= 2.0) is dark
        await asyncio.sleep(30)
        assert isinstance(stage.near.lost, ConnectionResetError)
        assert stage.accepted[0].lost is None  # nobody is left there to be told

    Stage().play(scene)


def test_garbling_flips_bits_and_is_counted() -> None:
    async def scene(stage: Stage) -> None:
        stage.fabric.link("a", "b").garble = 1.0
        stage.near.transport.write(bytes(1000))
        await asyncio.sleep(1)
        received = bytes(stage.accepted[0].received)
        assert len(received) == 1000
        assert sum(bin(byte).count("1") for byte in received) == stage.fabric.counters.garbled > 0

    Stage().play(scene)


def test_boundaries_of_writes_are_not_kept() -> None:
    async def scene(stage: Stage) -> None:
        for _ in range(300):
            stage.near.transport.write(b"0123456789")
            await asyncio.sleep(0.01)
        split = stage.accepted[0].pieces
        assert split > 300
        stage.accepted[0].transport.pause_reading()
        for _ in range(300):
            stage.near.transport.write(b"0123456789")
        await asyncio.sleep(1)
        stage.accepted[0].transport.resume_reading()
        await asyncio.sleep(1)
        assert stage.accepted[0].pieces - split < 300
        assert stage.accepted[0].received == b"0123456789" * 600

    Stage().play(scene)


def test_an_exception_in_a_protocol_ends_its_connection() -> None:
    class Broken(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ValueError("broken")

    async def scene(stage: Stage) -> None:
        stage.accepted[0].transport.set_protocol(Broken())
        stage.near.transport.write(b"x")
        await asyncio.sleep(1)
        assert isinstance(stage.near.lost, ConnectionResetError)
        ((host, context),) = stage.scheduler.failures
        assert host == "b"
        assert isinstance(context["exception"], ValueError)
        stage.scheduler.failures.clear()

    Stage().play(scene)


def test_the_same_seed_gives_the_same_run_and_another_one_another() -> None:
    def run(seed: int) -> tuple[int, float]:
        async def scene(stage: Stage) -> None:
            stage.fabric.link("a", "b").stall = 0.1
            for number in range(100):
                stage.near.transport.write(b"%d" % number)
                await asyncio.sleep(0.001)
            await asyncio.sleep(10)

        stage = Stage(seed)
        stage.play(scene)
        return stage.scheduler.digest, stage.scheduler.now_s

    assert run(1) == run(1)
    assert run(1) != run(2)
