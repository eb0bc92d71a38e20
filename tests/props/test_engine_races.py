"""Changes to an object and its versions while packs are compacted, blobs are purged, the index is built anew and the power goes.

What upkeep looks up and what it decides a flush later must agree.  Whatever happened: every row that the device holds has its bytes.
"""

import asyncio
import contextlib
import dataclasses
import random

import msgspec
import pytest
import xxhash

from objstore.core.rows import BodyKind, Kind, Row, RowKey, Space, decode_row, encode_row
from objstore.core.timestamp import Ballot
from objstore.core.versions import VERSION_KINDS
from objstore.errors import DamagedFile, DeviceOffline
from objstore.node.engine.api import BodyMissing
from tests.sim.host import HostDied
from tests.support.engine_rig import SMALL, SimRig, ballot, key, row

SETTINGS = dataclasses.replace(SMALL, pack_size_bytes=2500, checkpoint_rows=20, compact_dead_ratio=0.2, staged_max_age_s=0)
NAMES = ["a", "b", "c"]
SIZES = [0, 10, 300, 1200]
WRITERS = 4
PARTITION = 0


class Race:
    """One device, some writers and somebody who keeps house."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rig = SimRig(seed, SETTINGS)
        self.number = 0
        self.blobs: dict[bytes, bytes] = {}
        self.chosen: dict[str, Ballot] = {}  # name -> the highest head that was acknowledged

    def next(self) -> int:
        self.number += 1
        return self.number

    async def accept(self, name: str, number: int, encoded: bytes, payload: bytes | None = None, where: RowKey | None = None) -> None:
        answer = await self.rig.engine.accept(where or key(name), partition=PARTITION, ballot=ballot(number), row=encoded, payload=payload)
        if answer.verdict == "yes" and where is None:
            self.chosen[name] = max(self.chosen.get(name, b""), ballot(number))  # type: ignore[type-var]

    def head(self, name: str) -> Row | None:
        register = self.rig.engine.query(key(name), partition=PARTITION)
        return decode_row(register.row) if register.row else None

    def versions(self, name: str) -> list[Row]:
        return [found.row for found in self.rig.engine.newest(key(name), partition=PARTITION, below=b"", limit=9)]

    # -- writers -----------------------------------------------------------------------------------------------------

    async def write(self) -> None:
        name = self.rng.choice(NAMES)
        act = self.rng.choice([self.put, self.put, self.put_null, self.put_large, self.promote, self.promote, self.again, self.tag,
                               self.remove, self.restore, self.delete, self.reclaim, self.prepare])  # fmt: skip
        with contextlib.suppress(BodyMissing, DeviceOffline):
            await act(name)

    async def put(self, name: str) -> None:
        number = self.next()
        payload = self.rng.randbytes(self.rng.choice(SIZES))
        await self.accept(name, number, row(ballot(number), payload, version=ballot(number).hex()), payload)

    async def put_null(self, name: str) -> None:
        number = self.next()
        payload = self.rng.randbytes(self.rng.choice(SIZES))
        gone = row(ballot(number), kind=Kind.TOMBSTONE)
        await self.accept(name, number, row(ballot(number), payload, effects=(gone,)), payload)

    async def put_large(self, name: str) -> None:
        number = self.next()
        blob, data = self.rng.randbytes(16), self.rng.randbytes(2000)
        self.blobs[blob] = data
        writer = await self.rig.engine.stage(blob, size=len(data))
        await writer.write(data)
        await writer.finish()
        await self.accept(name, number, row(ballot(number), blob=blob, size=len(data), version=ballot(number).hex()))

    async def promote(self, name: str) -> None:
        """The head is removed, and a version is the head again."""
        number, head, versions = self.next(), self.head(name), self.versions(name)
        if head is None or head.kind not in VERSION_KINDS or not versions:
            return
        version = self.rng.choice(versions)
        if version.version == head.version:
            return
        gone = row(ballot(number), kind=Kind.TOMBSTONE, version=head.version)
        await self.accept(name, number, encode_row(msgspec.structs.replace(version, origin=ballot(number), effects=(gone,))))

    async def again(self, name: str) -> None:
        """The head is proposed again, without its bytes."""
        number = self.next()
        register = self.rig.engine.query(key(name), partition=PARTITION)
        if register.row:
            await self.accept(name, number, register.row)

    async def tag(self, name: str) -> None:
        number, head, versions = self.next(), self.head(name), self.versions(name)
        if head is None or not versions:
            return
        changed = msgspec.structs.replace(self.rng.choice(versions), origin=ballot(number), tags={"n": str(number)}, effects=())
        if changed.version != head.version:
            effects = (encode_row(changed),)
            await self.accept(name, number, encode_row(msgspec.structs.replace(head, origin=ballot(number), effects=effects)))

    async def remove(self, name: str) -> None:
        """A noncurrent version is removed."""
        number, head, versions = self.next(), self.head(name), self.versions(name)
        if head is None or not versions:
            return
        version = self.rng.choice(versions).version
        if version != head.version:
            gone = row(ballot(number), kind=Kind.TOMBSTONE, version=version)
            await self.accept(name, number, encode_row(msgspec.structs.replace(head, origin=ballot(number), effects=(gone,))))

    async def restore(self, name: str) -> None:
        """A reader stores a version at a fresh ballot, under its own key."""
        number, versions = self.next(), self.versions(name)
        if versions:
            version = self.rng.choice(versions)
            where = key(name, bytes.fromhex(version.version), space=Space.VERSIONS)
            await self.accept(name, number, encode_row(msgspec.structs.replace(version, effects=())), where=where)

    async def delete(self, name: str) -> None:
        number = self.next()
        versions = {version.version for version in self.versions(name)} | {""}
        gone = tuple(row(ballot(number), kind=Kind.TOMBSTONE, version=version) for version in sorted(versions))
        await self.accept(name, number, row(ballot(number), kind=Kind.TOMBSTONE, effects=gone))

    async def reclaim(self, name: str) -> None:
        items, _ = self.rig.engine.partition_rows(PARTITION, cursor=b"", limit=1000, rows=True)
        dead = [item for item in items if item.register.row and decode_row(item.register.row).kind == Kind.TOMBSTONE]
        if dead:
            item = self.rng.choice(dead)
            at = item.register.accepted
            if item.key.space == Space.OBJECTS:
                if self.chosen.get(item.key.name.decode()) != at:
                    return  # whoever wrote it has not heard of that yet
                del self.chosen[item.key.name.decode()]
            await self.rig.engine.reclaim(item.key, partition=PARTITION, ballot=at)

    async def prepare(self, name: str) -> None:
        await self.rig.engine.prepare(key(name), partition=PARTITION, ballot=ballot(self.next()))

    async def writer(self, count: int) -> None:
        for _ in range(count):
            await self.write()
            await asyncio.sleep(self.rng.choice([0, 0.0005, 0.002]))

    # -- upkeep ------------------------------------------------------------------------------------------------------

    async def keep_house(self) -> None:
        while True:
            what = self.rng.choice(["compact", "compact", "checkpoint", "purge", "sweep_staged", "audit", "renew"])
            with contextlib.suppress(DeviceOffline):
                if what == "audit":
                    step = await self.rig.engine.audit(b"", budget_bytes=100_000)
                    assert step.damaged == []
                elif what == "renew":
                    if self.rng.random() < 0.2:
                        self.rig.engine._device._renewed_at = float("-inf")
                        await self.rig.engine._device.renew_index(DamagedFile("for once"))
                else:
                    await self.rig.engine.maintain(what)
            await asyncio.sleep(self.rng.choice([0, 0.001]))

    async def together(self, count: int) -> None:
        house = asyncio.ensure_future(self.keep_house())
        await asyncio.gather(*(self.writer(count) for _ in range(WRITERS)))
        if house.done():
            house.result()
        house.cancel()
        await asyncio.gather(house, return_exceptions=True)

    # -- what must hold ------------------------------------------------------------------------------------------------

    async def check(self) -> int:
        """Registers that were read."""
        engine = self.rig.engine
        while engine.trouble:
            await asyncio.sleep(0.01)  # an index is being built anew
        items, _ = engine.partition_rows(PARTITION, cursor=b"", limit=10_000, rows=True)
        for item in items:
            held = decode_row(item.register.row) if item.register.row else None
            if held is None or held.body not in (BodyKind.INLINE, BodyKind.BLOB):
                continue
            content = held.blob if held.body == BodyKind.BLOB else held.digest
            stream = await engine.read_body(item.key, origin=held.origin, offset=0, length=-1, content=content)
            data = b"".join([bytes(chunk) async for chunk in stream.chunks])
            if held.body == BodyKind.BLOB:
                assert data == self.blobs[held.blob]
            else:
                assert xxhash.xxh3_128_digest(data) == held.digest
        for name, highest in self.chosen.items():
            assert engine.query(key(name), partition=PARTITION).accepted >= highest
        assert engine._device.state.suspects == {}
        return len(items)

    def run(self, rounds: int) -> None:
        rig = self.rig
        for _ in range(rounds):
            if self.rng.random() < 0.5:
                rig.run(lambda: self.together(15))
            else:
                rig.simulation.run(self._cut(), limit_s=rig.simulation.scheduler.now_s + 60)
                rig.host.boot()
                rig.open()
            rig.run(self.check)
            if self.rng.random() < 0.3:
                before = rig.run(self.check)
                rig.run(rig.engine._device.checkpoint)
                rig.run(rig.engine.close)
                rig.host.storage.volume("/disks/a")[0].kv_stores.clear()
                rig.open()
                assert rig.run(self.check) == before
        rig.run(rig.engine.close)
        rig.finish()

    async def _cut(self) -> None:
        call = asyncio.ensure_future(self.rig.host.call(lambda: self.together(15)))
        await asyncio.sleep(self.rng.uniform(0, 0.03))
        self.rig.host.kill(power=True)
        with contextlib.suppress(HostDied):
            await call


@pytest.mark.parametrize("seed", range(12))
def test_every_row_has_its_bytes_whatever_happens_at_once(seed: int) -> None:
    Race(seed).run(5)
