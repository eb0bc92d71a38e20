"""Storage nodes of a few lines, each on a simulated host of its own, and a proxy's cluster client that speaks to them.

A node keeps registers by the real rules, blobs and bodies in memory, and makes whatever trouble a test wants: `trouble` is asked
about every request and says None (answer), an error, seconds to wait, or SILENT.  `run` gives the test a `Rig` on the proxy's
host, on virtual time, and looks for what was left behind at the end.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import msgspec
import xxhash

from objstore.cluster.cluster import Cluster, ClusterSettings
from objstore.core.listing import place_of_version
from objstore.core.replica import decide_accept, decide_prepare
from objstore.core.rows import EMPTY, BodyKind, Kind, Register, Row, RowKey, decode_row, encode_row, is_live
from objstore.core.timestamp import ZERO, Ballot, ballot_at
from objstore.errors import NewerEpoch, NoSuchVersion, ObjstoreError, StaleEpoch, Unavailable
from objstore.wire import messages as m
from objstore.wire.channel import Call, Listener, serve
from ring import builder, codec
from ring.lookup import Ring
from ring.model import Device, RingSpec
from tests.sim.clock import EPOCH_US
from tests.sim.host import Host, Simulation
from tests.sim.loop import FROZEN

T = TypeVar("T")
KEY = b"the cluster's key"
BUCKET = b"bucket01"
SILENT = float("inf")
Trouble = Callable[[m.Message], ObjstoreError | float | None]


class Node:
    """One node with one device, whose id is the node's number."""

    def __init__(self, rig: "Rig", number: int, host: Host) -> None:
        self.number = number
        self.host = host
        self.ring: Ring | None = None
        self.registers: dict[RowKey, Register] = {}
        self.bodies: dict[RowKey, bytes] = {}
        self.blobs: dict[bytes, bytes] = {}
        self.trouble: Trouble | None = None
        self.garbled = False  # its scans show rows that do not decode
        self.body_trouble: Callable[[int], ObjstoreError | float | None] | None = None  # asked before each piece sent or taken
        self.digest_of: Callable[[bytes], bytes] = xxhash.xxh3_128_digest
        self.silent: set[int] = set()  # partitions on which it has no vote
        self.examined = 10_000  # names that one scan looks at
        self.tears = True  # False: a node of an older release, which does not end pages inside of a name
        self.calls: list[m.Message] = []
        self.stopped_uploads = 0
        self._rig = rig
        self._listener: Listener | None = None

    @property
    def address(self) -> str:
        return f"tcp:{self.host.name}:7000"

    async def start(self) -> None:
        self._listener = await serve(self.host.world(), self.address, cluster_key=KEY, name=self.host.name, handler_factory=lambda _: self)

    def stop(self) -> None:
        """Kill the process: its kernel closes the connections."""
        self.host.kill(power=False)

    def restart(self) -> None:
        """Start it again, with all that it had (it is taken to have been flushed)."""
        self.host.boot()
        loop = self.host.loop
        loop.call_soon(lambda: loop.create_task(self.start()))

    def seen(self, kind: type[m.Message]) -> list[Any]:
        return [call for call in self.calls if isinstance(call, kind)]

    def row(self, key: RowKey) -> Row | None:
        encoded = self.registers.get(key, EMPTY).row
        return decode_row(encoded) if encoded else None

    # -- requests -------------------------------------------------------------------------------------------------------

    def on_closed(self) -> None:
        pass

    def on_request(self, call: Call) -> None:
        self.calls.append(call.message)
        trouble = self.trouble(call.message) if self.trouble is not None else None
        if isinstance(trouble, ObjstoreError):
            raise trouble
        if trouble is None:
            self._answer(call)
        elif trouble != SILENT:
            self.host.loop.call_later(trouble, self._answer, call)

    def _answer(self, call: Call) -> None:
        try:
            message = call.message
            if isinstance(message, m.Request):
                self._admit(message)
            getattr(self, f"_{type(message).__name__.lower()}")(call, message)
        except ObjstoreError as failure:
            call.fail(failure)

    def _admit(self, request: m.Request) -> None:
        epoch = self.ring.epoch if self.ring is not None else 0
        if request.epoch < epoch:
            raise StaleEpoch("the sender is behind", epoch=epoch)
        if request.epoch > epoch:
            raise NewerEpoch("this node is behind", epoch=epoch)

    def _getring(self, call: Call, _: m.GetRing) -> None:
        assert self.ring is not None
        call.answer(m.RingAnswer(self.ring.epoch, has_payload=True), codec.encode(self.ring))

    def _putring(self, call: Call, _: m.PutRing) -> None:
        ring = codec.decode(bytes(call.payload))
        if self.ring is None or ring.epoch > self.ring.epoch:
            self.ring = ring
        call.answer(m.RingAnswer(self.ring.epoch))

    def _query(self, call: Call, message: m.Query) -> None:
        register = self.registers.get(message.key, EMPTY)
        body = self.bodies.get(message.key) if message.inline else None
        call.answer(m.RegisterAnswer(register, True, message.partition not in self.silent, body is not None), body or b"")

    def _prepare(self, call: Call, message: m.Prepare) -> None:
        granted, register = decide_prepare(self.registers.get(message.key, EMPTY), message.ballot)
        self.registers[message.key] = register
        call.answer(m.RegisterAnswer(register, granted, message.partition not in self.silent))

    def _accept(self, call: Call, message: m.Accept) -> None:
        row = decode_row(message.row)
        if row.body == BodyKind.INLINE and message.has_payload:
            self.bodies[message.key] = bytes(call.payload)
        elif row.body == BodyKind.INLINE and self.row(message.key) != row:
            self.bodies[message.key] = self._pull(message, lambda node: node.bodies.get(message.key))
        elif row.body == BodyKind.BLOB:
            if row.blob not in self.blobs:
                self.blobs[row.blob] = self._pull(message, lambda node: node.blobs.get(row.blob))
            self.bodies[message.key] = self.blobs[row.blob]
        held = self.registers.get(message.key, EMPTY)
        verdict, register = decide_accept(held, message.ballot, message.row)
        self.registers[message.key] = register
        base = decode_row(held.row).base if verdict == "superseded" else ZERO
        call.answer(m.AcceptAnswer(verdict, register.highest, base, message.partition not in self.silent))

    def _pull(self, message: m.Accept, get: Callable[["Node"], bytes | None]) -> bytes:
        found = next((body for body in map(get, (self._rig.nodes[source] for source in message.sources)) if body is not None), None)
        if found is None:
            raise Unavailable("no source has the body")
        return found

    def _merge(self, call: Call, message: m.Merge) -> None:
        self.registers[message.key] = message.register
        call.answer(m.Merged(True, 0, message.register.accepted, message.register.promised))

    def _scan(self, call: Call, message: m.Scan) -> None:
        call.answer(m.ScanAnswer(msgspec.Raw(b"\x91\x01")) if self.garbled else self.scan(message))

    def scan(self, message: m.Scan) -> m.ScanAnswer:
        """What a scan of this node shows, the simple way."""
        assert self.ring is not None
        names = sorted({key.name for key in self.registers if (key.bucket, key.space) == (message.bucket, message.space)})
        names = [name for name in names if name >= message.start and name.startswith(message.prefix)]
        if message.torn and self.tears:
            return self._scan_torn(names, message)
        rows: list[m.ScanRow] = []
        group = b"-"
        for count, name in enumerate(names):
            if group != b"-" and name.startswith(group):
                continue
            if len(rows) >= message.limit or count >= self.examined:
                return m.ScanAnswer.of(rows, name, tuple(sorted(self.silent)))
            shown = self._shown(name, message)
            rows += shown
            at = name.find(message.delimiter, len(message.prefix)) if message.delimiter else -1
            if shown and at >= 0:
                group = name[: at + len(message.delimiter)]
        return m.ScanAnswer.of(rows, None, tuple(sorted(self.silent)))

    def _scan_torn(self, names: list[bytes], message: m.Scan) -> m.ScanAnswer:
        silent = tuple(sorted(self.silent))
        rows = [row for name in names for row in self._shown(name, message)]
        first = place_of_version(message.start_version)
        rows = [row for row in rows if row.name != message.start or place_of_version(row.version) >= first]
        if len(rows) <= message.limit:
            return m.ScanAnswer.of(rows, None, silent)
        end = rows[message.limit]
        return m.ScanAnswer.of(rows[: message.limit], end.name, silent, end.version)

    def _shown(self, name: bytes, message: m.Scan) -> list[m.ScanRow]:
        assert self.ring is not None
        partition = self.ring.partition(message.bucket + bytes((message.space,)), name)
        if self.number not in (self.ring.previous(partition) or self.ring.primaries(partition)) or partition in self.silent:
            return []
        keys = [key for key in self.registers if (key.bucket, key.space, key.name) == (message.bucket, message.space, name)]
        keys = [key for key in keys if message.versions or not key.version]
        keys.sort(key=lambda key: (bool(key.version), bytes(255 - byte for byte in key.version)))
        found = []
        for key in keys:
            row = self.row(key)
            if row is not None and (is_live(row) or (message.versions and row.kind == Kind.DELETE_MARKER)):
                found.append(m.ScanRow(name, key.version, partition, self.registers[key].accepted, self.registers[key].row))
        return found

    # -- bodies ---------------------------------------------------------------------------------------------------------

    def _stagebody(self, call: Call, message: m.StageBody) -> None:
        call.run(self._take)

    async def _take(self, call: Call) -> None:
        assert isinstance(call.message, m.StageBody)
        assert call.body is not None
        received = b""
        try:
            async for piece in call.body:
                await self._body_trouble(len(received))
                received += piece
            await self._body_trouble(len(received))
        except asyncio.CancelledError:
            self.stopped_uploads += 1
            raise
        self.blobs[call.message.blob] = received
        call.answer(m.Staged(len(received), self.digest_of(received)))

    def _readbody(self, call: Call, message: m.ReadBody) -> None:
        row = self.row(message.key)
        if row is None or row.origin != message.origin:
            raise NoSuchVersion("the register holds another row")
        call.run(self._give)

    async def _give(self, call: Call) -> None:
        message = call.message
        assert isinstance(message, m.ReadBody)
        assert call.sender is not None
        data = self.bodies[message.key]
        end = len(data) if message.length < 0 else message.offset + message.length
        if self.body_trouble is not None and self.body_trouble(-1) == SILENT:
            await asyncio.sleep(1000)
        call.answer(m.BodyBegin(len(data), end - message.offset))
        for at in range(message.offset, end, 1000):
            await self._body_trouble(at)
            await call.sender.write(data[at : min(at + 1000, end)])
        call.end_body()

    async def _body_trouble(self, at: int) -> None:
        trouble = self.body_trouble(at) if self.body_trouble is not None else None
        if isinstance(trouble, ObjstoreError):
            raise trouble
        if trouble is not None:
            await asyncio.sleep(min(trouble, 1000.0))


class Rig:
    """The nodes, the proxy's host and the cluster client on it."""

    cluster: Cluster

    def __init__(self, simulation: Simulation, count: int, replicas: int, part_power: int) -> None:
        self.simulation = simulation
        self.proxy = simulation.host("proxy")
        self.nodes = [Node(self, number, simulation.host(f"n{number}")) for number in range(count)]
        self.ring = builder.create(RingSpec("default", replicas, part_power, 7, 0.0, 0.1), [self.device(node) for node in self.nodes])
        self.set_ring(self.ring)

    def device(self, node: Node) -> Device:
        return Device(-1, node.host.name, node.address, "r", f"z{node.number}", 1.0, bytes([65 + node.number]) * 8, "/d")

    def set_ring(self, ring: Ring, nodes: Iterable[int] | None = None) -> None:
        """Give some nodes (all) a ring behind the proxy's back."""
        for number in range(len(self.nodes)) if nodes is None else nodes:
            self.nodes[number].ring = ring

    def next_ring(self, epochs: int = 1) -> Ring:
        """The same assignment in a later epoch."""
        ring = self.ring
        return Ring(
            epoch=ring.epoch + epochs, spec=ring.spec, devices=ring.devices.values(), current=ring.table(),
            previous=ring.previous_table(), moved_s=ring.moved_table(), retired=ring.retired, next_id=ring.next_id,
        )  # fmt: skip

    @property
    def now_s(self) -> float:
        return self.simulation.scheduler.now_s

    def members(self, key: RowKey) -> list[Node]:
        """Its primaries, in the order of replicas."""
        return [self.nodes[device] for device in self.cluster.members.plan(self.cluster.partition(key)).quorum.members]

    def put(self, key: RowKey, row: bytes, accepted: Ballot, nodes: Iterable[Node] | None = None, body: bytes | None = None) -> None:
        """Put a row on nodes (its primaries) directly."""
        for node in self.members(key) if nodes is None else nodes:
            node.registers[key] = Register(node.registers.get(key, EMPTY).promised, accepted, row)
            if body is not None:
                node.bodies[key] = body

    def accepts(self) -> int:
        return sum(len(node.seen(m.Accept)) for node in self.nodes)


def run(
    main: Callable[[Rig], Awaitable[T]], *, nodes: int = 3, replicas: int = 3, part_power: int = 2, settings: ClusterSettings | None = None,
    seed: int = 1,
) -> T:  # fmt: skip
    """Run a test's coroutine on the proxy's host; afterwards nothing may be left: no task, no timer, no unseen exception."""
    simulation = Simulation(seed)
    rig = Rig(simulation, nodes, replicas, part_power)

    async def on_proxy() -> T:
        rig.cluster = Cluster(rig.proxy.world(), ring=rig.ring, proxy_id=9, name="proxy", cluster_key=KEY, settings=settings)
        await rig.cluster.start()
        try:
            return await main(rig)
        finally:
            await rig.cluster.aclose()

    async def harness() -> T:
        for node in rig.nodes:
            await node.host.call(node.start)
        result = await rig.proxy.call(on_proxy)
        await asyncio.sleep(5.0)  # time out what the closed connections leave in the network
        _look_for_remains(rig)
        return result

    try:
        return simulation.run(harness(), limit_s=3600.0)
    finally:
        simulation.bury()


def _look_for_remains(rig: Rig) -> None:
    loop = rig.proxy.loop
    tasks = [task for task in asyncio.all_tasks(loop) if not task.done()]
    assert not tasks, f"tasks were left behind: {tasks}"
    timers = [entry[2] for entry in rig.simulation.scheduler._timers if entry[2].loop is loop and entry[2].callback is not None]
    assert not timers, f"timers were left behind: {[timer.callback for timer in timers]}"
    failures = [failure for failure in rig.simulation.scheduler.failures if failure[0] == "proxy"]
    assert not failures, f"exceptions that nobody saw: {failures}"
    for node in rig.nodes:
        if node.host.loop.state == FROZEN:
            node.host.thaw()


_numbers = itertools.count(1)


def key(name: str | bytes = "name", version: bytes = b"") -> RowKey:
    return RowKey(BUCKET, 0, name if isinstance(name, bytes) else name.encode(), version)


def ballot(number: int) -> Ballot:
    return ballot_at((EPOCH_US - 3_600_000_000 << 12) + number, 1)


def draft(body: bytes = b"", *, kind: Kind = Kind.OBJECT, blob: bytes = b"", note: str = "") -> Row:
    """What a client wants to write."""
    where = BodyKind.BLOB if blob else BodyKind.INLINE if body else BodyKind.NONE
    return Row(kind, b"", ZERO, ZERO, 0, size=len(body), etag=note, body=where, blob=blob, owner="me")


def stored(number: int, body: bytes = b"", *, kind: Kind = Kind.OBJECT, blob: bytes = b"", version: str = "") -> bytes:
    """An encoded row as somebody wrote it at ballot `number`."""
    where = BodyKind.BLOB if blob else BodyKind.INLINE if body else BodyKind.NONE
    operation = number.to_bytes(16, "big")
    at = ballot(number)
    return encode_row(Row(kind, operation, at, at, 0, size=len(body), etag=str(number), body=where, blob=blob, version=version))
