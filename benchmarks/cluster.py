"""What does the cluster client itself cost per operation?  `python -m benchmarks.cluster [seconds per line]`

Proxy-side CPU alone: three stub channels stand in for the nodes' connections and answer in the next turn of the loop, so neither
the wire nor an engine is in the figure.  The baseline is the same number of channel calls with a future and nothing else.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from objstore.cluster.cluster import Cluster
from objstore.core.replica import decide_accept
from objstore.core.rows import EMPTY, BodyKind, Kind, Register, Row, RowKey
from objstore.core.timestamp import ZERO
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.net import SocketNet
from objstore.runtime.rng import SystemRng
from objstore.runtime.tasks import ThreadPool
from objstore.runtime.world import World
from objstore.wire.messages import Accept, AcceptAnswer, Prepare, Query, RegisterAnswer
from ring import builder
from ring.model import Device, RingSpec

PAYLOAD = bytes(4096)
IN_FLIGHT = 16
KEYS = [RowKey(b"bucketid", 0, b"some/key/of/usual/length/%04d.jpg" % number) for number in range(1000)]


def no_kv(directory: str) -> None:
    raise NotImplementedError(directory)


WORLD = World(SystemClock(), SystemRng(), SocketNet(), RealDisk, no_kv, ThreadPool)  # type: ignore[arg-type]


class Stub:
    """A channel whose node follows the register's rules in memory."""

    closed = False
    silent_since = None

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._registers: dict[RowKey, Register] = {}

    def call_soon(self, message: Any, payload: bytes, *, timeout_s: float, done: Any) -> None:
        if isinstance(message, Accept):
            verdict, register = decide_accept(self._registers.get(message.key, EMPTY), message.ballot, message.row)
            self._registers[message.key] = register
            self._loop.call_soon(done, AcceptAnswer(verdict), b"", None)
            return
        register = self._registers.get(message.key, EMPTY)
        if isinstance(message, Prepare):
            register = self._registers[message.key] = Register(message.ballot, register.accepted, register.row)
        inline = isinstance(message, Query) and message.inline
        self._loop.call_soon(done, RegisterAnswer(register, has_payload=inline), PAYLOAD if inline else b"", None)

    def close(self) -> None:
        self.closed = True


def make_cluster() -> Cluster:
    devices = [Device(-1, f"n{n}", f"tcp:127.0.0.1:{1 + n}", "r", f"z{n}", 1.0, bytes(7) + bytes([n]), f"/d{n}") for n in range(3)]
    ring = builder.create(RingSpec("default", 3, 8, 7, 0.0, 0.1), devices)
    cluster = Cluster(WORLD, ring=ring, proxy_id=1, name="bench", cluster_key=b"k")
    for device in ring.devices.values():
        cluster.members.clients.at(device.address)._channel = Stub()  # type: ignore[assignment]
    return cluster


async def measure(name: str, operation: Callable[[RowKey], Awaitable[object]], seconds: float) -> None:
    end = time.perf_counter() + seconds
    count = 0

    async def one_after_the_other(offset: int) -> None:
        nonlocal count
        while time.perf_counter() < end:
            await operation(KEYS[(count + offset) % len(KEYS)])
            count += 1

    before = time.process_time()
    await asyncio.gather(*(one_after_the_other(number) for number in range(IN_FLIGHT)))
    print(f"{name:40s} {(time.process_time() - before) / count * 1e6:8.1f} us", flush=True)


async def main(seconds: float) -> None:
    cluster = make_cluster()
    stubs = [Stub() for _ in range(3)]
    query = Query(1, 1, b"i" * 8, 5000, 7, KEYS[0])
    loop = asyncio.get_running_loop()

    async def bare(_: RowKey, calls: int) -> None:
        future = loop.create_future()
        left = calls

        def done(*_: object) -> None:
            nonlocal left
            left -= 1
            if not left:
                future.set_result(None)

        for number in range(calls):
            stubs[number % 3].call_soon(query, b"", timeout_s=5, done=done)
        await future

    draft = Row(Kind.OBJECT, b"", ZERO, ZERO, 0, size=4096, etag="e" * 32, body=BodyKind.INLINE, digest=b"d" * 16)
    await measure("baseline: 2 calls", lambda key: bare(key, 2), seconds)
    await measure("baseline: 5 calls", lambda key: bare(key, 5), seconds)
    await measure("plain write, 4 KiB", lambda key: cluster.write(key, draft, payload=PAYLOAD), seconds)
    await measure("read, 4 KiB inline", lambda key: cluster.read(key, inline=True), seconds)
    await measure("read, row alone", cluster.read, seconds)
    await measure("conditional write, 4 KiB", lambda key: cluster.conditional(key, lambda _: draft, payload=PAYLOAD), seconds)
    await cluster.aclose()


if __name__ == "__main__":
    uvloop.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 1.0))
