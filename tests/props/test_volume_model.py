"""A volume against a bytearray: random operations, and crashes at any moment of them.

The promise is stronger than a disk's: after a crash the volume is what it was after some number of writes, in the order in which they
were made, and never fewer than were made before the last flush that was answered.  Of an attachment by force elsewhere the
same holds from the last commit on.  Snapshots and clones keep what they were made with, whatever is swept.
"""

import asyncio
import dataclasses
import os
import random

import pytest

from objstore.services.volume.attach import Attached
from objstore.services.volume.device import Device
from objstore.services.volume.layout import Tree
from objstore.services.volume.sweep import Sweeper
from tests.support.volume_rig import CHUNK, SMALL, VolumeHost, VolumeRig

SEEDS = int(os.environ.get("VOLUME_SEEDS", "12"))
FIRST = int(os.environ.get("VOLUME_SEED", "1"))
# What these found: records taken up after a kill were lost by the power cut that followed; a full journal stopped writers for ever.
KEPT = (140, 1213)
CHUNKS = 6
STEPS = 60


class History:
    """Every state that the volume went through since the last one that must not be lost."""

    def __init__(self, size: int) -> None:
        self.now = bytearray(size)
        self.since: list[tuple[int, bytes]] = []  # writes after `kept`
        self.kept = bytes(size)

    def write(self, offset: int, data: bytes) -> None:
        self.since.append((offset, data))
        self.now[offset : offset + len(data)] = data

    def flushed(self, count: int) -> None:
        """So many of the writes in `since` will never be lost."""
        kept = bytearray(self.kept)
        for offset, data in self.since[:count]:
            kept[offset : offset + len(data)] = data
        self.kept, self.since = bytes(kept), self.since[count:]

    def recovered(self, found: bytes) -> None:
        """One of the states it may be; from here on it is that one."""
        state = bytearray(self.kept)
        states = [bytes(state)]
        for offset, data in self.since:
            state[offset : offset + len(data)] = data
            states.append(bytes(state))
        assert found in states, "the volume is in a state that it was never in, or has lost what was flushed"
        self.kept, self.now, self.since = found, bytearray(found), []


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 3))
def test_many_at_once_each_find_what_they_wrote_last(seed: int) -> None:
    """Each worker has a stripe of every chunk to itself; the cache holds four of twelve chunks, and commits follow on each other."""
    rig = VolumeRig(seed)
    host, chunks, workers = rig.first, 12, 5
    stripe = CHUNK // 8
    try:
        volume = host.run(lambda: host.volumes.create(chunks * CHUNK, chunk_bytes=CHUNK)).volume
        device = host.attach(volume, commit_interval_s=0.001).device
        model = bytearray(chunks * CHUNK)

        async def work(worker: int) -> None:
            rng = random.Random(seed * 100 + worker)
            for _ in range(150):
                start = rng.randrange(chunks) * CHUNK + worker * stripe + rng.randrange(stripe - 1)
                length = rng.randrange(1, stripe - start % stripe + 1)
                draw = rng.random()
                if draw < 0.45:
                    data = rng.randbytes(length)
                    model[start : start + length] = data
                    await device.write(start, memoryview(data))
                elif draw < 0.5:
                    model[start : start + length] = bytes(length)
                    await device.zero(start, length)
                else:
                    found = device.read_now(start, length) or await device.read(start, length)
                    assert b"".join(found) == model[start : start + length]
                if rng.random() < 0.3:
                    await host.world.clock.sleep(rng.choice([0, 0.0005, 0.005]))

        async def all_of_them() -> None:
            await asyncio.gather(*[work(worker) for worker in range(workers)])
            await device.commit()

        host.run(all_of_them)
        assert device.commits > 5
        assert device.fetches > 20
        assert host.stored(volume) == model
    finally:
        rig.close()


class Play:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        # One seed in four has no journal: there a flush waits for the store.
        self.rig = VolumeRig(seed, dataclasses.replace(SMALL, durability="store") if seed % 4 == 0 else SMALL)
        self.hosts = [self.rig.first, self.rig.add("second")]
        self.at = self.hosts[0]
        self.volume = self.at.run(lambda: self.at.volumes.create(CHUNKS * CHUNK, chunk_bytes=CHUNK)).volume
        self.history = History(CHUNKS * CHUNK)
        self.committed = History(CHUNKS * CHUNK)  # what the store must have
        self.pins: list[tuple[Tree, bytes, bytes]] = []  # (tree, what it holds, its id)
        self.at.attach(self.volume)

    @property
    def device(self) -> Device:
        assert isinstance(self.at.attached, Attached)
        return self.at.attached.device

    def change(self) -> tuple[int, bytes | None, int]:
        offset = self.rng.choice([self.rng.randrange(CHUNKS * CHUNK), self.rng.randrange(CHUNKS) * CHUNK])
        length = min(self.rng.choice([1, 512, 4096, CHUNK, 2 * CHUNK + 5]), CHUNKS * CHUNK - offset)
        return offset, None if self.rng.random() < 0.25 else self.rng.randbytes(length), length

    def note(self, offset: int, data: bytes | None, length: int) -> None:
        self.history.write(offset, bytes(length) if data is None else data)
        self.committed.write(offset, bytes(length) if data is None else data)

    async def do(self, offset: int, data: bytes | None, length: int) -> None:
        device = self.device
        if data is None:
            await device.zero(offset, length)
        else:
            await device.write(offset, memoryview(data))

    def step(self) -> None:
        draw = self.rng.random()
        if draw < 0.45:
            change = self.change()
            self.at.run(lambda: self.do(*change))
            self.note(*change)
        elif draw < 0.6:
            self.read()
        elif draw < 0.68:
            self.at.run(self.device.flush)
            self.history.flushed(len(self.history.since))
        elif draw < 0.73:
            self.at.run(self.device.commit)
            self.history.flushed(len(self.history.since))
            self.committed.flushed(len(self.committed.since))
        elif draw < 0.78:
            self.rig.pass_time(self.rng.choice([0.5, 8.0]))
        elif draw < 0.83:
            self.keep()
        elif draw < 0.87:
            self.rig.pass_time(1.0)
            self.at.run(Sweeper(self.at.objects, grace_s=0.0).run)
        else:
            self.crash()

    def read(self) -> None:
        offset = self.rng.randrange(CHUNKS * CHUNK)
        length = self.rng.randrange(1, CHUNKS * CHUNK - offset + 1)
        found = b"".join(self.at.run(lambda: self.device.read(offset, length)))
        assert found == self.history.now[offset : offset + length]

    def keep(self) -> None:
        """A snapshot, or a clone of one; or one of them goes."""
        if len(self.pins) > 3:
            _, _, pin_id = self.pins.pop(self.rng.randrange(len(self.pins)))
            self.at.run(lambda: self.at.volumes.drop_snapshot(self.volume, pin_id))
            return
        pin = self.at.run(lambda: self.at.volumes.snapshot(self.volume))
        self.pins.append((pin.tree, self.at.stored(self.volume, pin.tree), pin.id))
        if self.rng.random() < 0.3:
            clone = self.at.run(lambda: self.at.volumes.clone(self.volume, snapshot=pin.id))
            assert self.at.stored(clone.volume) == self.pins[-1][1]
            if self.rng.random() < 0.5:
                self.at.run(lambda: self.at.volumes.delete(clone.volume))

    def crash(self) -> None:
        """In the middle of something, or between; then here again, or there by force."""
        draw = self.rng.random()
        change = None
        moment = self.rng.choice([0.0, 0.0001, 0.0003, 0.001, 0.003, 0.02])
        if draw < 0.35:
            change = self.change()

            async def write_and_flush() -> None:
                assert change is not None
                await self.do(*change)
                await self.device.flush()

            self.at.run_until(moment, write_and_flush)
        elif draw < 0.75:
            self.at.run_until(moment, self.device.commit)
        if change is not None:
            self.note(*change)
        self.at.crash(power=self.rng.random() < 0.6)
        if self.rng.random() < 0.15:
            self.at = self.hosts[1 - self.hosts.index(self.at)]
            self.attach(force=True)
            self.committed.recovered(self.at.content())
            self.history.kept, self.history.since, self.history.now = self.committed.kept, [], bytearray(self.committed.kept)
            return
        if self.rng.random() < 0.3:  # it does not get far
            self.at.run_until(moment, lambda: self.begin(self.at))
            self.at.crash(power=True)
        self.attach(force=False)
        found = self.at.content()
        self.history.recovered(found)
        # What the store has is some state between its last known commit and this one; from here on it is found anew.
        self.committed.since.append((0, found))
        self.committed.now = bytearray(found)

    async def begin(self, host: VolumeHost) -> None:
        from objstore.services.volume.attach import attach

        await attach(host.objects, host.world, self.volume, self.rig.settings, holder=host.name, directory=f"/volumes/{self.volume.hex()}")

    def attach(self, *, force: bool) -> None:
        self.at.attach(self.volume, force=force)

    def check(self) -> None:
        assert self.at.content() == self.history.now
        for tree, held, _ in self.pins:
            assert self.at.stored(self.volume, tree) == held
        self.at.run(self.device.commit)
        assert self.at.stored(self.volume) == self.history.now


@pytest.mark.parametrize("seed", [*range(FIRST, FIRST + SEEDS), *KEPT])
def test_a_volume_is_a_bytearray_that_survives_crashes(seed: int) -> None:
    play = Play(seed)
    try:
        for _ in range(STEPS):
            play.step()
        play.check()
    finally:
        play.rig.close()
