"""One storage engine under power cuts: whatever it acknowledged is there when it opens again, and nothing that nobody sent.

A life of the device ends in the middle of whatever runs: writes, flushes, checkpoints, compactions, blobs being staged.  The
disk may be full for a while, and a flush may fail.  The model of a register is what was acknowledged and what may
have happened besides.
"""

import asyncio
import random
from dataclasses import dataclass, field

import xxhash

from objstore.core.rows import BodyKind, Kind, Register, Row, RowKey, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot, ballot_at
from objstore.errors import Damaged, DeviceFull, DeviceOffline, NoSuchVersion
from objstore.node.engine.api import BodyMissing
from objstore.node.engine.engine import Engine, format_device
from objstore.node.engine.settings import EngineSettings
from tests.sim.clock import EPOCH_US
from tests.sim.disk import CAPACITY_BYTES
from tests.sim.host import HostDied, Simulation

DIRECTORY = "/device"
PARTITIONS = 4


@dataclass
class Known:
    """What is known of one register."""

    promised: Ballot = ZERO  # acknowledged
    accepted: Ballot = ZERO  # acknowledged
    sent: dict[Ballot, tuple[Row, bytes]] = field(default_factory=dict)  # every row that was ever sent
    reclaimed: Ballot = ZERO  # the highest reclaim that was ever asked for


class EngineTrial:
    """Lives of one device."""

    def __init__(self, seed: int, *, lives: int = 12) -> None:
        self.simulation = Simulation(seed)
        self.rng: random.Random = self.simulation.rng("engine trial")
        self.host = self.simulation.host("node")
        self.volume = self.host.storage.mount(DIRECTORY)
        self.lives = lives
        self.acknowledged = 0
        self.known = {RowKey(b"bucket00", 0, f"key {number}".encode()): Known() for number in range(12)}
        self.settings = EngineSettings(
            pack_size_bytes=self.rng.choice((4, 32)) * 1024, checkpoint_rows=self.rng.choice((6, 30)), reserve_bytes=4096,
            block_size_bytes=4096, stage_bytes=8192, compact_dead_ratio=0.2, staged_max_age_s=5,
        )  # fmt: skip
        self._clock = 0

    def run(self) -> None:
        """All lives.  Raises AssertionError for what the engine did wrong."""
        self.simulation.run(self._play(), limit_s=36_000.0)
        assert not self.simulation.scheduler.failures, self.simulation.scheduler.failures

    async def _play(self) -> None:
        await self.host.call(lambda: format_device(self.host.world(), DIRECTORY))
        for _ in range(self.lives):
            if not self.host.alive:
                self.host.boot()
            world = self.host.world()
            engine = await self.host.call(lambda world=world: Engine.open(world, DIRECTORY, self.settings))  # type: ignore[misc]
            await self.host.call(lambda engine=engine: self._check(engine))  # type: ignore[misc]
            work = [self.simulation.loop.create_task(self._work(engine)) for _ in range(4)]
            work.append(self.simulation.loop.create_task(self._upkeep(engine)))
            await asyncio.sleep(self.rng.choice((0.0, 0.002, 0.02, 2.0)) * self.rng.random())
            self.host.kill(power=self.rng.random() < 0.7)
            await asyncio.gather(*work)
            self.volume.capacity_bytes = CAPACITY_BYTES
            self.volume.datasync_failures = 0

    def _ballot(self) -> Ballot:
        self._clock += 1
        return ballot_at((EPOCH_US << 12) + self._clock, self.rng.randrange(3))

    async def _work(self, engine: Engine) -> None:
        try:
            while True:
                await asyncio.sleep(self.rng.expovariate(200.0))
                await self._operate(engine)
                if self.rng.random() < 0.001:
                    self.volume.datasync_failures = 1
                if self.rng.random() < 0.003:
                    self.volume.capacity_bytes = self.volume.used_bytes + self.rng.choice((0, 300, 6000))
                elif self.rng.random() < 0.05:
                    self.volume.capacity_bytes = CAPACITY_BYTES
        except (HostDied, DeviceOffline):
            return

    async def _upkeep(self, engine: Engine) -> None:
        try:
            while True:
                await asyncio.sleep(self.rng.expovariate(10.0))
                what = self.rng.choice(("checkpoint", "compact", "purge", "sweep_staged"))
                try:
                    await self.host.call(lambda what=what: engine.maintain(what))  # type: ignore[misc]
                except DeviceFull:
                    continue
        except (HostDied, DeviceOffline):
            return

    async def _operate(self, engine: Engine) -> None:
        key = self.rng.choice(list(self.known))
        known = self.known[key]
        partition = key.name[-1] % PARTITIONS
        draw = self.rng.random()
        try:
            if draw < 0.2:
                ballot = self._ballot()
                granted, register = await self.host.call(lambda: engine.prepare(key, partition=partition, ballot=ballot))
                assert granted is (register.promised == ballot)
                known.promised = max(known.promised, ballot if granted else ZERO)
            elif draw < 0.3 and known.accepted in known.sent and known.sent[known.accepted][0].kind == Kind.TOMBSTONE:
                known.reclaimed = ballot = known.accepted
                if await self.host.call(lambda: engine.reclaim(key, partition=partition, ballot=ballot)):
                    known.promised = max(known.promised, ballot)
            elif draw < 0.5:
                await self.host.call(lambda: self._read(engine, key, partition))
            else:
                await self._accept(engine, key, known, partition)
        except DeviceFull:
            return

    async def _accept(self, engine: Engine, key: RowKey, known: Known, partition: int) -> None:
        ballot = self._ballot()
        row, payload = self._row(ballot)
        known.sent[ballot] = (row, payload)
        inline = payload if row.body == BodyKind.INLINE else None
        if row.body == BodyKind.BLOB:
            await self.host.call(lambda: self._stage(engine, row.blob, payload))
        try:
            answer = await self.host.call(
                lambda: engine.accept(key, partition=partition, ballot=ballot, row=encode_row(row), payload=inline)
            )
        except BodyMissing:
            return  # the sweep took it: its age limit is very short here
        if answer.verdict == "yes":
            known.accepted = max(known.accepted, ballot)
            self.acknowledged += 1

    def _row(self, ballot: Ballot) -> tuple[Row, bytes]:
        draw = self.rng.random()
        operation = self.rng.randbytes(16)
        if draw < 0.25:
            return Row(Kind.TOMBSTONE, operation, ballot, ballot, 0), b""
        payload = self.rng.randbytes(self.rng.choice((1, 100, 5000)) if draw < 0.9 else 20_000)
        if draw < 0.9:
            return Row(
                Kind.OBJECT, operation, ballot, ballot, 0, len(payload), "e", BodyKind.INLINE, xxhash.xxh3_128_digest(payload)
            ), payload  # fmt: skip
        return Row(Kind.OBJECT, operation, ballot, ballot, 0, len(payload), "e", BodyKind.BLOB, b"", self.rng.randbytes(16)), payload

    async def _stage(self, engine: Engine, blob: bytes, payload: bytes) -> None:
        writer = await engine.stage(blob, size=len(payload))
        for start in range(0, len(payload), 7000):
            await writer.write(payload[start : start + 7000])
        staged = await writer.finish()
        assert staged.size == len(payload)
        assert staged.digest == xxhash.xxh3_128_digest(payload)

    async def _check(self, engine: Engine) -> None:
        for key, known in self.known.items():
            partition = key.name[-1] % PARTITIONS
            register = engine.query(key, partition=partition)
            assert register.highest >= known.promised, f"{key}: a promise was lost: {register} {known.promised!r}"
            if register.accepted < known.accepted:
                gone = known.reclaimed >= known.accepted and register.accepted == ZERO and register.promised >= known.accepted
                assert gone, f"{key}: an acknowledged row was lost: {register.accepted!r} < {known.accepted!r}"
            # What a crash left behind without an answer is now as good as acknowledged: it must not vanish later.
            known.accepted = register.accepted
            known.promised = max(known.promised, register.promised)
            await self._read(engine, key, partition)

    async def _read(self, engine: Engine, key: RowKey, partition: int) -> None:
        known = self.known[key]
        register: Register
        try:
            register, inline = await engine.query_inline(key, partition=partition)
            if register.accepted == ZERO:
                return
            row, payload = known.sent[register.accepted]
            assert decode_row(register.row) == row
            if row.body == BodyKind.INLINE:
                assert inline == payload
            elif row.body == BodyKind.BLOB:
                stream = await engine.read_body(key, origin=row.origin, offset=0, length=-1)
                assert b"".join([bytes(chunk) async for chunk in stream.chunks]) == payload
        except NoSuchVersion:
            assert engine.query(key, partition=partition).accepted != register.accepted
        except Damaged as damage:
            raise AssertionError(f"{key}: nothing was damaged here: {damage!r}") from damage
