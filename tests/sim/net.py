"""A network that delays, stalls, cuts, resets and now and then garbles, under plain asyncio transports and protocols.

Bytes of one direction of one connection arrive in order; across connections anything goes.  A cut link holds its bytes: a
short cut delays them, a long one ends the connections that tried to say something, as TCP's retransmission does.  A write
may arrive in two pieces and several writes in one, so that nobody can rely on their boundaries.
"""

import asyncio
import random
import zlib
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from objstore.errors import NodeUnreachable
from objstore.runtime.net import split_address
from tests.sim.loop import DEAD, HostLoop

CUT_RESET_S = 20.0  # a cut that lasts longer ends the connections over it
_SOCKET_BUFFERS_BYTES = (8 * 1024, 64 * 1024, 256 * 1024)  # what the kernels take before a transport's own buffer fills
_READ_BYTES = 256 * 1024  # the most that one data_received gets, as in asyncio
_SPLIT_PROBABILITY = 0.05

Factory = Callable[[], asyncio.BaseProtocol]


class Link:
    """One direction between two hosts."""

    __slots__ = ("base_s", "cut", "cuts", "garble", "held", "jitter_s", "rng", "slow_s", "stall")

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.base_s = 0.0001
        self.jitter_s = 0.0005
        self.slow_s = 0.0  # added to everything
        self.stall = 0.0  # probability that a write is late by a second or so: a packet was lost
        self.garble = 0.0  # probability that a piece arrives with a flipped bit
        self.cut = False
        self.cuts = 0
        self.held: list[Pipe] = []  # pipes with something that would have arrived during the cut


class Counters:
    """Proof that a fault did hit something."""

    def __init__(self) -> None:
        self.connections = 0
        self.deliveries = 0
        self.held = 0
        self.resets = 0
        self.garbled = 0
        self.stalled = 0
        self.unreachable = 0


class Fabric:
    """All links, listeners and connections of the simulated world; `loop` is the harness's, which never dies."""

    def __init__(self, loop: HostLoop, rng: random.Random) -> None:
        self.loop = loop
        self.rng = rng
        self.counters = Counters()
        self._links: dict[tuple[str, str], Link] = {}
        self._listeners: dict[str, tuple[HostLoop, Factory]] = {}
        self._transports: dict[SimTransport, None] = {}  # of living hosts, in order of opening
        self._dark: set[str] = set()  # hosts without power do not even refuse
        self._gone: dict[str, list[SimTransport]] = {}  # ends of connections that died with their host

    def link(self, source: str, target: str) -> Link:
        """The link from one host to another."""
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = Link(random.Random(self.rng.random()))
        return link

    def delay_s(self, link: Link) -> float:
        """Time on the way for the next write."""
        draw = link.rng.random()
        delay_s = link.base_s + draw * draw * link.jitter_s + link.slow_s
        if link.stall and link.rng.random() < link.stall:
            self.counters.stalled += 1
            delay_s += link.rng.expovariate(1.0)
        return delay_s

    # -- faults -----------------------------------------------------------------------------------------------------

    def cut(self, source: str, target: str) -> None:
        """Let nothing through in this direction."""
        link = self.link(source, target)
        if not link.cut:
            link.cut = True
            link.cuts += 1
            self.loop.call_later(CUT_RESET_S, self._give_up, link, link.cuts)

    def heal(self, source: str, target: str) -> None:
        """Let through what was held, and all that follows."""
        link = self.link(source, target)
        if link.cut:
            link.cut = False
            held, link.held = link.held, []
            for pipe in held:
                pipe.arm(self.loop.time() + self.rng.random() * 0.2)

    def heal_all(self) -> None:
        """No cut, no delay beyond the usual, no loss."""
        for source, target in list(self._links):
            self.heal(source, target)
            link = self._links[source, target]
            link.slow_s = link.stall = link.garble = 0.0

    def reset_one(self, rng: random.Random) -> bool:
        """Break one connection; False when there is none."""
        candidates = list(self._transports)
        if candidates:
            self._break(rng.choice(candidates))
        return bool(candidates)

    def host_gone(self, loop: HostLoop, *, dark: bool) -> "list[SimTransport]":
        """A host died; its peers learn of it soon when its kernel still runs, later when the power is off.

        Returns its ends of connections, for the caller to keep: what hangs on them must not be freed yet.
        """
        if dark:
            self._dark.add(loop.name)
        for address in [a for a, (owner, _) in self._listeners.items() if owner is loop]:
            del self._listeners[address]
        gone = [t for t in self._transports if t.loop is loop]
        for transport in gone:
            del self._transports[transport]
            transport.lost = transport.closing = True
            wait_s = self.rng.uniform(1.0, 20.0) if dark else self.rng.uniform(0.0002, 0.3)
            self.loop.call_later(wait_s, transport.peer.lose, ConnectionResetError("the peer died"))
        self._gone.setdefault(loop.name, []).extend(gone)
        return gone

    def host_back(self, name: str) -> None:
        """The host has power again: it accepts or refuses, and resets connections of which it knows nothing."""
        self._dark.discard(name)
        for transport in self._gone.pop(name, ()):
            if transport.peer.outgoing.in_flight_bytes:  # what was sent into the dark is sent again now and then
                self.loop.call_later(self.rng.random(), transport.peer.lose, ConnectionResetError("connection reset by peer"))

    def sent_to_the_dead(self, transport: "SimTransport", target: str) -> None:
        """Something arrived for a connection whose host died: a host that runs again answers with a reset."""
        if target not in self._dark and not self.link(target, transport.loop.name).cut:
            transport.lose(ConnectionResetError("connection reset by peer"))

    def _break(self, transport: "SimTransport") -> None:
        self.counters.resets += 1
        transport.lose(ConnectionResetError("connection reset"))
        transport.peer.lose(ConnectionResetError("connection reset"))

    def _give_up(self, link: Link, cuts: int) -> None:
        """A cut went on for too long: end the connections that have something to say over it."""
        if not link.cut or link.cuts != cuts:
            return
        held, link.held = link.held, []
        for pipe in held:
            self.counters.resets += 1
            pipe.source.lose(TimeoutError("connection timed out"))
            self.loop.call_later(self.rng.uniform(0.0, 20.0), pipe.target.lose, ConnectionResetError("connection reset"))
        self.loop.call_later(CUT_RESET_S, self._give_up, link, cuts)

    # -- for SimNet and its transports ------------------------------------------------------------------------------

    def add_listener(self, address: str, loop: HostLoop, factory: Factory) -> None:
        """Raises OSError when the address is taken."""
        if address in self._listeners:
            raise OSError(98, f"{address} is in use")
        self._listeners[address] = (loop, factory)

    def remove_listener(self, address: str) -> None:
        """Connections stay."""
        self._listeners.pop(address, None)

    def listener(self, address: str) -> tuple[HostLoop, Factory] | None:
        """Who listens there."""
        return self._listeners.get(address)

    def passable(self, source: str, target: str) -> bool:
        """Whether a connection can be opened: packets flow both ways and the target has power."""
        return not (target in self._dark or self.link(source, target).cut or self.link(target, source).cut)

    def opened(self, transport: "SimTransport") -> None:
        """Remember a transport."""
        self._transports[transport] = None

    def closed(self, transport: "SimTransport") -> None:
        """Forget a transport."""
        self._transports.pop(transport, None)


class Pipe:
    """One direction of a connection: what is on the way from `source` to `target`."""

    __slots__ = ("_fabric", "_last_s", "_link", "_queue", "_waiting", "in_flight_bytes", "source", "target")

    def __init__(self, fabric: Fabric, source: "SimTransport", target: "SimTransport") -> None:
        self._fabric = fabric
        self._link = fabric.link(source.loop.name, target.loop.name)
        self._queue: deque[tuple[float, bytes | Exception | None]] = deque()  # None: end of stream; an exception: reset
        self._last_s = 0.0
        self._waiting = False  # for a timer, for the end of a cut, or for the reader
        self.source = source
        self.target = target
        self.in_flight_bytes = 0

    def send(self, item: bytes | Exception | None) -> None:
        """Put something on the way."""
        loop = self.source.loop
        arrival_s = max(self._last_s, loop.scheduler.now_s + self._fabric.delay_s(self._link))
        self._last_s = arrival_s
        if self.target.loop.state == DEAD:
            self.in_flight_bytes += len(item) if isinstance(item, bytes) else 0
            if not self._link.cut:
                self._fabric.loop.call_at(arrival_s, self._fabric.sent_to_the_dead, self.source, self.target.loop.name)
            return
        if isinstance(item, bytes):
            self.in_flight_bytes += len(item)
            if len(item) > 1 and self._link.rng.random() < _SPLIT_PROBABILITY:
                cut = self._link.rng.randrange(1, len(item))
                self._queue.append((arrival_s, item[:cut]))
                arrival_s = self._last_s = arrival_s + self._fabric.delay_s(self._link)
                item = item[cut:]
        self._queue.append((arrival_s, item))
        if not self._waiting:
            self.arm(self._queue[0][0])

    def arm(self, when_s: float) -> None:
        """Deliver at a time."""
        self._waiting = True
        self.target.loop.call_at(when_s, self._deliver)

    def go_on(self) -> None:
        """The reader reads again."""
        if self._queue and not self._waiting:
            self.arm(self._queue[0][0])

    def drop(self) -> None:
        """Forget what is on the way."""
        self._queue.clear()
        self.in_flight_bytes = 0

    def _deliver(self) -> None:
        self._waiting = False
        queue = self._queue
        target = self.target
        if not queue:
            return
        if self._link.cut:
            self._waiting = True
            self._fabric.counters.held += 1
            self._link.held.append(self)
            return
        if target.lost:
            self.drop()
            return
        if not target.reading and not isinstance(queue[0][1], Exception):
            return  # resume_reading calls go_on
        now_s = target.loop.scheduler.now_s
        item = queue.popleft()[1]
        if isinstance(item, bytes):
            item = self._join(item, now_s)
            self._fabric.counters.deliveries += 1
            self.in_flight_bytes -= len(item)
            target.loop.scheduler.note(zlib.crc32(item, int(now_s * 1e9) & 0xFFFFFFFF))
            target.receive(self._garbled(item))
            self.source.drained()
        elif item is None:
            target.receive_end()
        else:
            target.lose(item)
        if queue and not self._waiting and (target.reading or target.lost):
            self.arm(max(now_s, queue[0][0]))

    def _join(self, first: bytes, now_s: float) -> bytes:
        queue = self._queue
        if not queue or queue[0][0] > now_s:
            return first
        pieces, total = [first], len(first)
        while queue and queue[0][0] <= now_s and total < _READ_BYTES and queue[0][1].__class__ is bytes:
            piece: bytes = queue.popleft()[1]  # type: ignore[assignment]
            pieces.append(piece)
            total += len(piece)
        return b"".join(pieces)

    def _garbled(self, data: bytes) -> bytes:
        link = self._link
        if not link.garble or link.rng.random() >= link.garble:
            return data
        self._fabric.counters.garbled += 1
        damaged = bytearray(data)
        damaged[link.rng.randrange(len(damaged))] ^= 1 << link.rng.randrange(8)
        return bytes(damaged)


class SimTransport(asyncio.Transport):
    """One end of a connection."""

    def __init__(self, fabric: Fabric, loop: HostLoop, names: dict[str, Any]) -> None:
        super().__init__(names)
        self.loop = loop
        self.closing = False
        self.lost = False  # nothing goes in or out any more
        self.reading = True
        self.peer: SimTransport
        self.outgoing: Pipe
        self._fabric = fabric
        self._protocol: Any = None
        self._buffered = False
        self._socket_buffer_bytes = fabric.rng.choice(_SOCKET_BUFFERS_BYTES)
        self._high_bytes = 64 * 1024
        self._low_bytes = 16 * 1024
        self._paused_protocol = False
        self._closed_by_owner = False

    # -- used by the other half -------------------------------------------------------------------------------------

    def begin(self, factory: Factory) -> asyncio.BaseProtocol:
        """Make the protocol and tell it that it is connected."""
        protocol = factory()
        self.set_protocol(protocol)
        protocol.connection_made(self)
        return protocol

    def accept(self, factory: Factory) -> None:
        """The server's side of `begin`, as a callback of its loop."""
        if not self.lost:
            self.begin(factory)
            self.peer.outgoing.go_on()

    def receive(self, data: bytes) -> None:
        """Hand bytes to the protocol; an exception in it ends the connection, as in asyncio."""
        if self.closing:
            return
        protocol = self._protocol
        try:
            if not self._buffered:
                protocol.data_received(data)
                return
            view = memoryview(data)
            while view and not self.lost:
                buffer = protocol.get_buffer(len(view))
                count = min(len(buffer), len(view))
                buffer[:count] = view[:count]
                protocol.buffer_updated(count)
                view = view[count:]
        except Exception as failure:  # noqa: BLE001 asyncio's rule
            message = "Fatal error: protocol.data_received() call failed."
            self.loop.call_exception_handler({"message": message, "exception": failure, "transport": self, "protocol": protocol})
            self._end(failure)

    def receive_end(self) -> None:
        """The peer has closed its side."""
        if not self.closing and not self._protocol.eof_received():
            self.close()

    def lose(self, failure: Exception) -> None:
        """The connection broke; both directions are lost."""
        if not self.lost:
            self.lost = self.closing = True
            self._fabric.closed(self)
            self.outgoing.drop()
            self.loop.call_soon(self._tell_lost, failure)

    def drained(self) -> None:
        """Some bytes arrived at the peer."""
        if self.lost or self.loop.state == DEAD:
            return
        if self._paused_protocol and self.get_write_buffer_size() <= self._low_bytes:
            self._paused_protocol = False
            self.loop.call_soon(self._resume_writing)
        if self._closed_by_owner and not self.get_write_buffer_size():
            self._finish_close()

    # -- asyncio's interface ----------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"data argument must be a bytes-like object, not {type(data).__name__!r}")
        if self.closing or not data:
            return
        self.outgoing.send(bytes(data))
        if not self._paused_protocol and self.get_write_buffer_size() > self._high_bytes:
            self._paused_protocol = True
            self._protocol.pause_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        if not self.closing:
            self.outgoing.send(None)

    def close(self) -> None:
        if self.closing:
            return
        self.closing = self._closed_by_owner = True
        self.outgoing.send(None)
        if not self.get_write_buffer_size():
            self._finish_close()

    def abort(self) -> None:
        self._end(None)

    def is_closing(self) -> bool:
        return self.closing

    def pause_reading(self) -> None:
        if not self.closing:
            self.reading = False

    def resume_reading(self) -> None:
        if not self.reading and not self.closing:
            self.reading = True
            self.peer.outgoing.go_on()

    def is_reading(self) -> bool:
        return self.reading and not self.closing

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        if high is None:
            high = 64 * 1024 if low is None else 4 * low
        self._high_bytes = high
        self._low_bytes = high // 4 if low is None else low

    def get_write_buffer_limits(self) -> tuple[int, int]:
        return self._low_bytes, self._high_bytes

    def get_write_buffer_size(self) -> int:
        return max(0, self.outgoing.in_flight_bytes - self._socket_buffer_bytes)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = protocol
        self._buffered = isinstance(protocol, asyncio.BufferedProtocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._protocol  # type: ignore[no-any-return]

    # -- endings ----------------------------------------------------------------------------------------------------

    def _end(self, failure: Exception | None) -> None:
        if not self.lost:
            self.lost = self.closing = True
            self._fabric.closed(self)
            self.outgoing.drop()
            self.outgoing.send(ConnectionResetError("connection reset by peer"))
            self.loop.call_soon(self._tell_lost, failure)

    def _finish_close(self) -> None:
        if not self.lost:
            self.lost = True
            self._fabric.closed(self)
            self.loop.call_soon(self._tell_lost, None)

    def _tell_lost(self, failure: Exception | None) -> None:
        if self._protocol is not None:
            self._protocol.connection_lost(failure)

    def _resume_writing(self) -> None:
        if not self.lost:
            self._protocol.resume_writing()


class _SimListener:
    def __init__(self, fabric: Fabric, address: str) -> None:
        self._fabric = fabric
        self._address = address

    async def aclose(self) -> None:
        self._fabric.remove_listener(self._address)


class SimNet:
    """runtime.net.Net of one host; host names in addresses are names of simulated hosts."""

    def __init__(self, fabric: Fabric, loop: HostLoop) -> None:
        self._fabric = fabric
        self._loop = loop

    async def connect(self, address: str, factory: Factory, *, timeout_s: float) -> asyncio.BaseProtocol:
        """Connect.  Raises NodeUnreachable."""
        target, place = self._place(address)
        fabric = self._fabric
        try:
            async with asyncio.timeout(timeout_s):
                await self._handshake(target)
        except TimeoutError as failure:
            fabric.counters.unreachable += 1
            raise NodeUnreachable(f"cannot connect to {address}: timed out") from failure
        found = fabric.listener(place)
        if found is None:
            fabric.counters.unreachable += 1
            raise NodeUnreachable(f"cannot connect to {address}: connection refused")
        server_loop, server_factory = found
        mine = SimTransport(fabric, self._loop, {"peername": (target, 1), "sockname": (self._loop.name, 2)})
        theirs = SimTransport(fabric, server_loop, {"peername": (self._loop.name, 2), "sockname": (target, 1)})
        mine.peer, theirs.peer = theirs, mine
        mine.outgoing, theirs.outgoing = Pipe(fabric, mine, theirs), Pipe(fabric, theirs, mine)
        fabric.opened(mine)
        fabric.opened(theirs)
        fabric.counters.connections += 1
        server_loop.call_soon(theirs.accept, server_factory)
        return mine.begin(factory)

    async def listen(self, address: str, factory: Factory) -> _SimListener:
        """Accept connections.  Raises OSError when the address is taken."""
        place = self._place(address)[1]
        self._fabric.add_listener(place, self._loop, factory)
        return _SimListener(self._fabric, place)

    def _place(self, address: str) -> tuple[str, str]:
        kind, host, _ = split_address(address)
        return (self._loop.name, f"{self._loop.name} {address}") if kind == "unix" else (host, address)

    async def _handshake(self, target: str) -> None:
        fabric, name = self._fabric, self._loop.name
        retry_s = 1.0
        while True:
            if fabric.passable(name, target):
                await asyncio.sleep(fabric.delay_s(fabric.link(name, target)) + fabric.delay_s(fabric.link(target, name)))
                if fabric.passable(name, target):
                    return
            await asyncio.sleep(retry_s)
            retry_s *= 2
