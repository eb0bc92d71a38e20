"""One simulated host with a network of its own, for tests of the wire and of single nodes on virtual time."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from objstore.core.rows import RowKey
from objstore.runtime.world import World
from objstore.wire import codec
from objstore.wire.channel import Channel, dial, serve
from objstore.wire.handshake import DialerHandshake
from objstore.wire.messages import Query
from objstore.wire.server import Call, Listener
from tests.sim import loop as virtual
from tests.sim.clock import SimClock
from tests.sim.disk import Storage
from tests.sim.kv import SimKv
from tests.sim.net import Fabric, SimNet
from tests.sim.rng import SimRng
from tests.sim.threads import SimThreads

T = TypeVar("T")
KEY = b"the cluster's key"
ADDRESS = "tcp:host:7000"


class Site:
    """The world of the one host, and what tests do to it."""

    def __init__(self, seed: int) -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, virtual.HostLoop)
        self.loop = loop
        self.fabric = Fabric(loop, random.Random(seed))
        self.storage = Storage(random.Random(seed + 1))
        self.clock = SimClock(loop.scheduler)
        self.world = World(
            clock=self.clock,
            rng=SimRng(random.Random(seed + 2)),
            net=SimNet(self.fabric, loop),
            open_disk=self.storage.disk,
            open_kv=lambda directory: SimKv(self.storage, directory),
            new_threads=lambda _name, size: SimThreads(self.storage, random.Random(seed + 3), size),
        )

    @property
    def link(self) -> Any:
        """The host's link to itself, which carries both directions."""
        return self.fabric.link("host", "host")

    async def serve(self, handler: Any, *, key: bytes = KEY, address: str = ADDRESS) -> Listener:
        """A listener all of whose connections share one handler."""
        return await serve(self.world, address, cluster_key=key, name="node", handler_factory=lambda _peer: handler)

    async def dial(self, *, key: bytes = KEY, address: str = ADDRESS, timeout_s: float = 5.0) -> Channel:
        """A channel to it."""
        return await dial(self.world, address, cluster_key=key, name="proxy", timeout_s=timeout_s)


def run(main: Callable[[Site], Awaitable[T]], *, seed: int = 1, limit_s: float = 3600.0) -> T:
    """Run a test's coroutine on virtual time."""

    async def body() -> T:
        return await main(Site(seed))

    return virtual.run(body(), limit_s=limit_s)


class Handler:
    """Gives every request to a function; keeps what came."""

    def __init__(self, answer: Callable[[Call], None]) -> None:
        self.calls: list[Call] = []
        self.closed = 0
        self._answer = answer

    def on_request(self, call: Call) -> None:
        self.calls.append(call)
        self._answer(call)

    def on_closed(self) -> None:
        self.closed += 1


def query(name: bytes = b"name", **changes: Any) -> Query:
    fields: dict[str, Any] = {"epoch": 1, "device": 2, "incarnation": b"12345678", "timeout_ms": 5000, "partition": 3}
    return Query(**{**fields, **changes, "key": RowKey(b"bucketid", 0, name)})


class Raw(asyncio.Protocol):
    """A peer that says what it likes and keeps the frames that it hears: (request id, code, head)."""

    def __init__(self) -> None:
        self.frames: list[tuple[int, int, bytes]] = []
        self.lost = False
        self._reader = codec.FrameReader(self._deliver, limit_bytes=1 << 25)

    def _deliver(self, request: int, code: int, _flags: int, head: memoryview, _payload: memoryview) -> None:
        self.frames.append((request, code, bytes(head)))

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True


async def raw(site: Site, *, authenticated: bool, address: str = ADDRESS) -> Raw:
    """Connect as such a peer, past the handshake if so asked."""
    peer = await site.world.net.connect(address, Raw, timeout_s=5)
    assert isinstance(peer, Raw)
    if authenticated:
        handshake = DialerHandshake(KEY, "raw", b"n" * 32)
        peer.transport.write(handshake.first())
        while handshake.peer is None:
            await asyncio.sleep(0.01)
            while peer.frames:
                _, code, head = peer.frames.pop(0)
                answer = handshake.receive(code, head)
                if answer:
                    peer.transport.write(answer)
    return peer
