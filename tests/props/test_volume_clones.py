"""Clones and readers over a store whose answers get lost, or come late, with makers that die and sweeps without grace at any moment.

Whatever happens, a volume that is no clone in the making has all its bytes, so has what a reader reads, and when all has come to rest no pin and
no half-made clone is left.
"""

import contextlib
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from objstore.errors import NoSuchKey, ObjstoreError, OutcomeUnknown, QuorumLost
from objstore.services.volume.attach import attach
from objstore.services.volume.layout import Head
from objstore.services.volume.operations import CLONE_PATIENCE_S
from objstore.services.volume.readers import Reading, open_reading
from objstore.services.volume.sweep import Sweeper, end_old_clones
from tests.support.volume_rig import CHUNK, SMALL, VolumeRig
from tests.support.volume_rig import VolumeHost as Seat

SEEDS = int(os.environ.get("VOLUME_SEEDS", "8"))
FIRST = int(os.environ.get("VOLUME_SEED", "1"))
STEPS = 60


class Play:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.rig = VolumeRig(seed, SMALL)
        self.sure = self.rig.first  # nothing fails here, and it lives
        self.makers = [self.rig.add("one"), self.rig.add("two")]
        self.faults = True
        for maker in self.makers:
            self.unsettle(maker)
        self.versions: dict[bytes, list[bytes]] = {}  # all that a volume may hold: what it was cloned from at any time
        self.readings: list[tuple[Reading, bytes]] = []
        self.done: dict[str, int] = {}
        self.number = 0

    def unsettle(self, seat: Seat) -> None:
        """Swaps of heads get lost on the way there, or back, or come late."""
        real = seat.objects._put

        async def put(key: str, *rest: Any) -> Any:
            draw = self.rng.random() if self.faults and key.startswith("head/") else 1.0
            failure = self.rng.choice([OutcomeUnknown, QuorumLost])("for this test")
            if draw < 0.1:
                await real(key, *rest)
                raise failure
            if draw < 0.2:
                self.send_late(self.rng.choice([0.3, 3.0, 200.0]), lambda: self.sure.objects._put(key, *rest))
                raise failure
            if draw < 0.25:
                raise failure
            if draw < 0.5:
                await seat.world.clock.sleep(self.rng.choice([0.01, 1.0, 150.0]))
            return await real(key, *rest)

        seat.objects._put = put  # type: ignore[method-assign]

    def send_late(self, seconds: float, send: Callable[[], Awaitable[Any]]) -> None:
        async def later() -> None:
            await self.sure.world.clock.sleep(seconds)
            with contextlib.suppress(ObjstoreError):
                await send()

        self.sure.host.loop.call_soon(lambda: self.sure.host.loop.create_task(later()))

    def fresh(self) -> bytes:
        self.number += 1
        return self.number.to_bytes(16, "big")

    def there(self) -> list[Head]:
        return [head for head in self.sure.run(self.sure.volumes.list) if not head.maker]

    def some(self) -> bytes | None:
        heads = self.there()
        return self.rng.choice(heads).volume if heads else None

    def step(self) -> None:
        name = self.rng.choices(["make", "write", "clone", "crash", "delete", "sweep", "read", "end", "time"], [2, 3, 8, 2, 3, 4, 3, 1, 3])[
            0
        ]
        self.done[name] = self.done.get(name, 0) + 1
        getattr(self, name)()

    def make(self) -> None:
        volume = self.fresh()
        self.sure.run(lambda: self.sure.volumes.create(2 * CHUNK, chunk_bytes=CHUNK, volume=volume))
        self.versions[volume] = [bytes(2 * CHUNK)]
        self.write(volume)

    def write(self, volume: bytes | None = None) -> None:
        wanted = volume or self.some()
        if wanted is None:
            return
        data = self.rng.randbytes(CHUNK + 5)

        async def work() -> None:
            attached = await attach(self.sure.objects, self.sure.world, wanted, SMALL, holder="sure", directory=f"/{wanted.hex()}")
            await attached.device.write(0, memoryview(data))
            await attached.detach()

        before = self.sure.stored(wanted)
        self.sure.run(work)
        self.versions[wanted].append(data + before[len(data) :])

    def clone(self) -> None:
        source = self.some()
        if source is None:
            return
        clone = self.fresh()
        self.versions[clone] = self.versions[source]  # the same list: it may be made by and by
        for maker in self.rng.sample(self.makers, self.rng.choice([1, 1, 2])):

            async def make(maker: Seat = maker) -> None:
                for _ in range(3):
                    with contextlib.suppress(ObjstoreError):
                        await maker.volumes.clone_once(source, clone)
                        return

            maker.run_until(self.rng.choice([0.001, 0.05, 2.0, 60.0]), make)

    def crash(self) -> None:
        maker = self.rng.choice(self.makers)
        maker.crash()
        self.unsettle(maker)

    def delete(self) -> None:
        volume = self.some()
        if volume is not None:
            with contextlib.suppress(ObjstoreError):
                self.sure.run(lambda: self.sure.volumes.delete(volume))

    def sweep(self) -> None:
        self.rig.pass_time(1.0)

        async def work() -> None:
            swept = await Sweeper(self.sure.objects, grace_s=0.0).run()
            await end_old_clones(self.sure.volumes, list(swept.heads.values()))

        self.sure.run(work)

    def read(self) -> None:
        volume = self.some()
        if volume is not None:
            with contextlib.suppress(NoSuchKey):
                source = self.sure.run(lambda: open_reading(self.sure.objects, self.sure.world, volume, SMALL, who="test"))
                self.readings.append((source, self.sure.stored(volume)))

    def end(self) -> None:
        for source, expected in self.readings:

            async def read(source: Reading = source) -> bytes:
                data = b"".join([bytes(piece) for piece in await source.device.read(0, 2 * CHUNK)])
                await source.aclose()
                return data

            assert self.sure.run(read) == expected
        self.readings.clear()

    def time(self) -> None:
        self.rig.pass_time(self.rng.choice([1.0, 10.0, CLONE_PATIENCE_S]))

    def check(self) -> None:
        for head in self.there():
            try:
                found = self.sure.stored(head.volume)
            except NoSuchKey:
                # Deleted at this moment: nothing else takes its bytes.
                assert head.volume not in [other.volume for other in self.there()]
            else:
                assert found in self.versions[head.volume]

    def rest(self) -> None:
        self.faults = False
        for _ in range(4):
            self.rig.pass_time(CLONE_PATIENCE_S + 200.0)
            self.sweep()
        self.end()
        self.check()
        for head in self.sure.run(self.sure.volumes.list):
            assert not head.maker
            assert head.pins == ()
        for head in self.there():
            self.sure.run(lambda head=head: self.sure.volumes.delete(head.volume))  # type: ignore[misc]
        self.rig.pass_time(1.0)
        swept = self.sure.run(Sweeper(self.sure.objects, grace_s=0.0).run)
        assert (swept.removed, swept.readers) == (swept.candidates, 0)


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_no_volume_and_no_reader_loses_a_byte_and_nothing_is_left(seed: int) -> None:
    play = Play(seed)
    try:
        play.make()
        for _ in range(STEPS):
            play.step()
            play.check()
        play.rest()
    finally:
        play.rig.close()
