"""Devices in memory behind the `Fleet.ask` face, with the real replica rules: for unit tests of the daemons."""

import asyncio
from collections.abc import Callable
from typing import Any

import xxhash

from objstore.core.replica import decide_accept
from objstore.core.rows import EMPTY, Kind, Register, Row, RowKey, encode_row
from objstore.core.timestamp import ZERO, Ballot, ballot_at
from objstore.errors import NodeUnreachable, StaleEpoch
from objstore.runtime.clock import SystemClock
from objstore.runtime.disk import RealDisk
from objstore.runtime.net import SocketNet
from objstore.runtime.rng import SystemRng
from objstore.runtime.tasks import ThreadPool
from objstore.runtime.world import World
from objstore.wire import messages as m
from ring import builder
from ring.lookup import Ring
from ring.model import Device, RingSpec


def no_kv(directory: str) -> Any:
    raise AssertionError(f"nothing here opens a store in {directory}")


def world() -> World:
    return World(SystemClock(), SystemRng(), SocketNet(), RealDisk, no_kv, ThreadPool)


def device(number: int, incarnation: bytes | None = None) -> Device:
    return Device(
        id=number, node=f"node{number}", address=f"tcp:127.0.0.1:{30000 + number}", region="r", zone=f"z{number}", weight=1.0,
        incarnation=incarnation or bytes([number]) * 8, path="d1",
    )  # fmt: skip


def ring_of(count: int, *, part_power: int = 2) -> Ring:
    spec = RingSpec(policy="default", replica_count=min(3, count), part_power=part_power, hash_seed=7, min_part_hours=0.0, overload=0.1)
    return builder.create(spec, [device(n) for n in range(1, count + 1)])


def key(name: str) -> RowKey:
    return RowKey(b"bucket01", 0, name.encode())


def ballot(number: int) -> Ballot:
    return ballot_at(number << 12, 1)


def held(number: int, kind: Kind = Kind.OBJECT) -> Register:
    row = Row(kind, b"o" * 16, ballot(number), ballot(number), number)
    return Register(ZERO, ballot(number), encode_row(row))


class MemoryFleet:
    """`data[device][partition][key]` are registers; `down` devices answer nothing."""

    def __init__(self, ring: Ring) -> None:
        self.world = world()
        self.ring = ring
        self.data: dict[int, dict[int, dict[RowKey, Register]]] = {}
        self.floors: dict[tuple[int, int], Ballot] = {}
        self.in_sync: set[tuple[int, int, int]] = set()  # epoch, device, partition
        self.down: set[int] = set()
        self.pushed: list[tuple[str, int]] = []
        self.node_reports: dict[str, m.NodeReport | None] = {}
        self.log: list[tuple[int, m.Request]] = []
        self.before: Callable[[int, m.Request], None] = lambda number, request: None

    def put(self, number: int, partition: int, row_key: RowKey, register: Register) -> None:
        self.data.setdefault(number, {}).setdefault(partition, {})[row_key] = register

    def get(self, number: int, partition: int, row_key: RowKey) -> Register:
        found = self.data.get(number, {}).get(partition, {}).get(row_key)
        return found or Register(promised=self.floors.get((number, partition), ZERO))

    def adopt(self, ring: Ring) -> bool:
        if ring.epoch <= self.ring.epoch:
            return False
        self.ring = ring
        return True

    def addresses(self) -> list[str]:
        return sorted({d.address for d in self.ring.devices.values()})

    async def push_ring(self, address: str) -> None:
        self.pushed.append((address, self.ring.epoch))

    async def reports(self, extra: tuple[str, ...] = (), *, timeout_s: float = 2.0) -> dict[str, m.NodeReport | None]:
        return {address: self.node_reports.get(address) for address in self.addresses()}

    async def ask(
        self, request: type[m.Request], kind: type[Any], number: int, *, epoch: int, timeout_s: float = 10.0, **fields: Any
    ) -> Any:
        await asyncio.sleep(0)
        if epoch != self.ring.epoch:
            raise StaleEpoch(epoch=self.ring.epoch)
        if number in self.down:
            raise NodeUnreachable(f"device {number} is down")
        message = request(epoch=epoch, device=number, incarnation=b"", timeout_ms=int(timeout_s * 1000), **fields)
        self.before(number, message)
        self.log.append((number, message))
        answer = getattr(self, "_" + request.__name__.lower())(number, message)
        assert isinstance(answer, kind)
        return answer

    def _digests(self, number: int, q: m.Digests) -> m.DigestsAnswer:
        digests, rows = [], []
        for partition in q.partitions:
            mine = self.data.get(number, {}).get(partition, {})
            total = 0
            for row_key, register in mine.items():
                total ^= int.from_bytes(xxhash.xxh3_128_digest(repr((row_key, register.accepted)).encode()), "big")
            digests.append(total.to_bytes(16, "big"))
            rows.append(len(mine))
        return m.DigestsAnswer(digests, rows)

    def _partitionrows(self, number: int, q: m.PartitionRows) -> m.PartitionRowsAnswer:
        mine = sorted(self.data.get(number, {}).get(q.partition, {}).items(), key=lambda pair: pair[0].name)
        low = int(q.cursor or b"0")
        page = mine[low : low + q.limit]
        cursor = str(low + q.limit).encode() if low + q.limit < len(mine) else None
        items = [m.PartitionRow(k, r if q.rows else Register(r.promised, r.accepted)) for k, r in page]
        return m.PartitionRowsAnswer(items, cursor, self.ring.epoch, voting=True, floor=self.floors.get((number, q.partition), ZERO))

    def _query(self, number: int, q: m.Query) -> m.RegisterAnswer:
        return m.RegisterAnswer(self.get(number, q.partition, q.key), floor=self.floors.get((number, q.partition), ZERO))

    def _merge(self, number: int, q: m.Merge) -> m.Merged:
        mine = self.get(number, q.partition, q.key)
        after = decide_accept(mine, q.register.accepted, q.register.row)[1] if q.register.row else mine
        after = Register(max(after.promised, q.register.promised), after.accepted, after.row)
        if after != mine:
            self.put(number, q.partition, q.key, after)
        return m.Merged(after != mine, 0, after.accepted, after.promised)

    def _droppartition(self, number: int, q: m.DropPartition) -> m.Dropped:
        mine = self.data.get(number, {}).get(q.partition, {})
        gone = [item.key for item in q.items if mine.get(item.key, EMPTY).accepted == item.register.accepted]
        for row_key in gone:
            del mine[row_key]
        return m.Dropped(len(gone))

    def _reclaim(self, number: int, q: m.Reclaim) -> m.ReclaimAnswer:
        mine = self.data.get(number, {}).get(q.partition, {})
        self.floors[number, q.partition] = max(self.floors.get((number, q.partition), ZERO), q.ballot)
        if q.key in mine and mine[q.key].accepted == q.ballot:
            del mine[q.key]
        return m.ReclaimAnswer(q.key not in mine)

    def _syncstate(self, number: int, q: m.SyncState) -> m.SyncStateAnswer:
        new = [p for p in self.ring.moving() if number in self.ring.primaries(p) and number not in (self.ring.previous(p) or ())]
        return m.SyncStateAnswer([p for p in new if (self.ring.epoch, number, p) not in self.in_sync])

    def _insync(self, number: int, q: m.InSync) -> m.Done:
        self.in_sync.add((q.epoch, number, q.partition))
        self.floors[number, q.partition] = max(self.floors.get((number, q.partition), ZERO), q.floor)
        return m.Done()
