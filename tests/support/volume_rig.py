"""Volumes over a store in memory, on simulated hosts whose power can be cut: the store outlives them all."""

import dataclasses
import gc
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from objstore.objects.store import ObjectStore
from objstore.services.volume.attach import Attached, attach, view
from objstore.services.volume.layout import Tree
from objstore.services.volume.objects import VolumeObjects
from objstore.services.volume.operations import Volumes
from objstore.services.volume.settings import VolumeSettings
from tests.sim.host import Host, Simulation
from tests.support.memory_cluster import MemoryCluster, Registers
from tests.support.store_rig import SETTINGS as STORE_SETTINGS
from tests.support.store_rig import local_keys

T = TypeVar("T")
CHUNK = 64 * 1024
SMALL = VolumeSettings(
    clean_bytes=4 * CHUNK, changed_bytes=8 * CHUNK, journal_bytes=1 << 20, uploads=3, read_ahead_chunks=2, patience_s=5.0
)


class VolumeHost:
    """One host; `objects` and `volumes` are of its present life."""

    def __init__(self, rig: "VolumeRig", name: str) -> None:
        self.name = name
        self.rig = rig
        self.host: Host = rig.simulation.host(name)
        self.attached: Attached | None = None
        self.lives = 0
        self._begin()

    def _begin(self) -> None:
        self.lives += 1
        self.world = self.host.world()
        proxy = len(self.rig.hosts) * 1000 + self.lives
        cluster = MemoryCluster(self.rig.registers, clock=self.host.clock, proxy_id=proxy)  # type: ignore[arg-type]
        self.store = ObjectStore(cluster, self.world, STORE_SETTINGS, local_keys(self.world))
        self.objects = VolumeObjects(self.store, self.world.clock, self.world.rng)
        self.volumes = Volumes(self.objects)
        self.run(self.objects.start)

    def run(self, start: Callable[[], Awaitable[T]], *, limit_s: float = 3600.0) -> T:
        """Run a coroutine here, to its end."""

        async def body() -> T:
            return await start()

        return self.rig.simulation.run(self.host.call(body), limit_s=self.rig.simulation.scheduler.now_s + limit_s)

    def run_until(self, seconds: float, start: Callable[[], Awaitable[Any]]) -> bool:
        """Begin something here and look away after a while; whether it had ended."""
        ended: list[bool] = []

        async def body() -> None:
            await start()
            ended.append(True)

        async def harness() -> None:
            self.host.loop.call_soon(lambda: self.host.loop.create_task(body()))
            await self.rig.sleep(seconds)

        self.rig.simulation.run(harness(), limit_s=self.rig.simulation.scheduler.now_s + seconds + 10)
        return bool(ended)

    def attach(self, volume: bytes, *, force: bool = False, **changes: Any) -> Attached:
        settings = dataclasses.replace(self.rig.settings, **changes)
        self.attached = self.run(
            lambda: attach(self.objects, self.world, volume, settings, holder=self.name, directory=f"/volumes/{volume.hex()}", force=force)
        )
        return self.attached

    def crash(self, *, power: bool = True) -> None:
        """Everything that ran here ends; the disk may forget."""
        self.host.kill(power=power)
        self.host.boot()
        self.attached = None
        self._begin()

    def stored(self, volume: bytes, tree: Tree | None = None) -> bytes:
        """What the store has of a volume (or what a snapshot keeps)."""

        async def read() -> bytes:
            device = view(self.objects, self.world, await self.objects.head(volume), self.rig.settings, tree)
            try:
                return b"".join(await device.read(0, device.size_bytes))
            finally:
                await device.aclose()

        return self.run(read)

    def content(self) -> bytes:
        """What the attached device shows."""
        assert self.attached is not None
        device = self.attached.device

        async def read() -> bytes:
            return b"".join(await device.read(0, device.size_bytes))

        return self.run(read)


class VolumeRig:
    """A store and hosts."""

    def __init__(self, seed: int = 1, settings: VolumeSettings = SMALL) -> None:
        self.simulation = Simulation(seed)
        self.registers = Registers()
        self.settings = settings
        self.hosts: list[VolumeHost] = []
        self.first = self.add("first")

    def add(self, name: str) -> VolumeHost:
        self.hosts.append(VolumeHost(self, name))
        return self.hosts[-1]

    async def sleep(self, seconds: float) -> None:
        import asyncio

        await asyncio.sleep(seconds)

    def pass_time(self, seconds: float) -> None:
        self.simulation.run(self.sleep(seconds), limit_s=self.simulation.scheduler.now_s + seconds + 10)

    def close(self) -> None:
        """Let go of everything.  What crashed hosts were doing ends without a sound: nobody is there to be told."""
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        try:
            for host in self.hosts:
                if host.attached is not None:
                    host.run(host.attached.device.aclose)
        finally:
            for host in self.hosts:
                host.__dict__.clear()
            self.hosts.clear()
            self.simulation.bury()
            gc.collect()
            sys.unraisablehook = hook


def with_volume(test: Callable[[VolumeRig, bytes], None], *, chunks: float = 5, seed: int = 1, settings: VolumeSettings = SMALL) -> None:
    """Run a test with a volume of so many chunks of 64 KiB; time is virtual."""
    rig = VolumeRig(seed, settings)
    try:
        made = rig.first.run(lambda: rig.first.volumes.create(int(chunks * CHUNK), chunk_bytes=CHUNK))
        test(rig, made.volume)
    finally:
        rig.close()
