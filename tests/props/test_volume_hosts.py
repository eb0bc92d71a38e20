"""Two hosts and one volume over a store whose answers get lost, or come late: what was flushed is never lost, and one host writes.

Nobody uses force.  A swap of the head takes effect and is not heard of, does not take effect, or takes effect when its sender has gone
on, or is dead.  Hosts attach, write, flush, let go, and are killed at any moment; their disks fail to flush.
"""

import asyncio
import contextlib
import dataclasses
import os
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from objstore.errors import ObjstoreError, OutcomeUnknown, QuorumLost
from objstore.services.volume.device import Device, Fenced
from objstore.services.volume.host import HostPlace, VolumeHost
from tests.props.test_volume_model import History
from tests.support.volume_rig import CHUNK, SMALL, VolumeRig
from tests.support.volume_rig import VolumeHost as Seat

SEEDS = int(os.environ.get("VOLUME_SEEDS", "8"))
FIRST = int(os.environ.get("VOLUME_SEED", "1"))
CHUNKS = 3
STEPS = 80


class Play:
    """One seed."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        settings = dataclasses.replace(SMALL, durability="store") if seed % 4 == 0 else SMALL
        self.rig = VolumeRig(seed, dataclasses.replace(settings, commit_interval_s=self.rng.choice([0.05, 1.0, 5.0])))
        self.seats = [self.rig.first, self.rig.add("second")]
        self.late = self.rig.add("late")  # where swaps go on whose senders do not wait for them
        self.volume = self.late.run(lambda: self.late.volumes.create(CHUNKS * CHUNK, chunk_bytes=CHUNK)).volume
        self.name = self.volume.hex()
        self.hosts = [self.begin(seat) for seat in self.seats]
        self.history = History(CHUNKS * CHUNK)
        self.owner: Device | None = None  # the device that was attached last
        self.faults = True
        self.done: dict[str, int] = {}

    def begin(self, seat: Seat) -> VolumeHost:
        real = seat.objects._put

        async def put(key: str, *rest: Any) -> Any:
            draw = self.rng.random() if self.faults and key.startswith("head/") else 1.0
            failure = self.rng.choice([OutcomeUnknown, QuorumLost])("for this test")
            if draw < 0.12:
                await real(key, *rest)
                raise failure
            if draw < 0.24:
                self.send_late(self.rng.choice([0.001, 0.3, 3.0]), lambda: self.late.objects._put(key, *rest))
                raise failure
            if draw < 0.3:
                raise failure
            return await real(key, *rest)

        seat.objects._put = put  # type: ignore[method-assign]
        place = HostPlace(seat.name, lambda volume: f"/volumes/{volume.hex()}", lambda _: contextlib.nullcontext())
        return VolumeHost(seat.volumes, seat.world, self.rig.settings, place)

    def send_late(self, seconds: float, send: Callable[[], Awaitable[Any]]) -> None:
        async def work() -> None:
            await asyncio.sleep(seconds)
            with contextlib.suppress(ObjstoreError):
                await send()

        loop = self.late.host.loop
        loop.call_soon(lambda: loop.create_task(work()))

    # -- what is done -----------------------------------------------------------------------------------------

    def step(self) -> None:
        who = self.rng.randrange(2)
        seat, host = self.seats[who], self.hosts[who]
        device = host.served().get(self.name)
        draw = self.rng.random()
        if draw < 0.1:
            self.crash(who)
        elif draw < 0.13:
            seat.host.storage.volumes[0].datasync_failures = 1
        elif draw < 0.2:
            self.rig.pass_time(self.rng.choice([0.01, 0.5, 5.0]))
        elif draw < 0.25:
            with contextlib.suppress(ObjstoreError):
                seat.run(lambda: seat.volumes.snapshot(self.volume))
                self.count("snapshot")
        elif draw < 0.4:
            self.let_go(seat, host)
        elif device is None:
            self.attach(seat, host)
        else:
            self.use(seat, device)

    def count(self, what: str) -> None:
        self.done[what] = self.done.get(what, 0) + 1

    def attach(self, seat: Seat, host: VolumeHost) -> None:
        try:
            seat.run(lambda: host.attach(self.volume))
        except (ObjstoreError, OSError) as failure:
            self.count(f"attach: {type(failure).__name__}")
            return
        self.attached(seat, host.served()[self.name])
        self.count("attach")

    def attached(self, seat: Seat, device: Device) -> None:
        self.owner = device
        self.history.recovered(seat.run(lambda: read(device)))

    def use(self, seat: Seat, device: Device) -> None:
        offset = self.rng.randrange(CHUNKS * CHUNK - 1)
        data = self.rng.randbytes(min(self.rng.choice([1, 4096, CHUNK]), CHUNKS * CHUNK - offset))
        sync = self.rng.choice([None, device.flush, device.commit])
        with contextlib.suppress(ObjstoreError):
            seat.run(lambda: device.write(offset, memoryview(data)))
            if device is self.owner:
                self.history.write(offset, data)
            if sync is not None:
                seat.run(sync)
                assert device is self.owner, "two hosts are told that their writes are kept"
                self.history.flushed(len(self.history.since))
                self.count("flush")

    def let_go(self, seat: Seat, host: VolumeHost) -> None:
        before = host.served().get(self.name)
        try:
            seat.run(lambda: host.detach(self.name))
        except (ObjstoreError, OSError) as failure:
            self.count(f"detach: {type(failure).__name__}")
            device = host.served().get(self.name)
            if device is not None and device is not before:  # it was this host's and nobody served it
                self.attached(seat, device)
        else:
            assert seat.run(lambda: self.late.volumes.head(self.volume)).holder != seat.name
            self.count("detach" if before else "detach of nothing")

    def crash(self, who: int) -> None:
        seat, host = self.seats[who], self.hosts[who]
        draw = self.rng.random()
        moment = self.rng.choice([0.0, 0.0003, 0.001, 0.02, 0.5])
        if draw < 0.4:
            seat.run_until(moment, lambda: host.detach(self.name))
        elif draw < 0.7:
            seat.run_until(moment, lambda: host.attach(self.volume))
        seat.crash(power=self.rng.random() < 0.6)
        self.hosts[who] = self.begin(seat)
        self.count("crash")

    def check(self) -> None:
        """Somebody gets it without force, with everything that was flushed."""
        self.faults = False
        for seat in self.seats:
            seat.host.storage.volumes[0].datasync_failures = 0
        self.rig.pass_time(10.0)
        for seat, host in zip(self.seats, self.hosts, strict=True):
            with contextlib.suppress(Fenced):
                seat.run(lambda host=host: host.detach(self.name))
        assert self.late.run(lambda: self.late.volumes.head(self.volume)).holder == ""
        for seat, host in zip(self.seats, self.hosts, strict=True):
            self.attach(seat, host)
            seat.run(lambda host=host: host.detach(self.name))
        assert self.done["attach"] >= 2


async def read(device: Device) -> bytes:
    return b"".join([bytes(view) for view in await device.read(0, device.size_bytes)])


@pytest.mark.parametrize("seed", range(FIRST, FIRST + SEEDS))
def test_what_was_flushed_is_never_lost_and_one_host_writes(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.services.volume.journal.SEGMENT_BYTES", 20_000 if seed % 2 else 64 * 1024 * 1024)
    play = Play(seed)
    try:
        for _ in range(STEPS):
            play.step()
        play.check()
        if os.environ.get("VOLUME_SHOW"):
            print(seed, sorted(play.done.items()))
    finally:
        for seat, host in zip(play.seats, play.hosts, strict=True):
            seat.run(lambda host=host: host.aclose(patience_s=1.0))
        play.rig.close()
