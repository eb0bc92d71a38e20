"""The simulated cluster: storage nodes, proxies and one host of daemons, each a machine of its own, all of them the real code.

What an operator does is here too: formatting devices, making the first ring, starting what died, changing the ring, asking
the daemons to repair and to audit.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from objstore.cluster.cluster import Cluster
from objstore.daemons.fleet import Fleet
from objstore.daemons.service import Daemons, DaemonSettings
from objstore.errors import BucketAlreadyOwnedByYou, ObjstoreError, Refused
from objstore.node.app import NodeApp, NodeConfig
from objstore.node.engine.engine import format_device
from objstore.node.engine.settings import EngineSettings
from objstore.node.rings import RingFile
from objstore.node.state import Condition
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from ring import builder, codec
from ring.lookup import Ring
from ring.model import UNASSIGNED, Device, RingSpec
from tests.sim.disk import CAPACITY_BYTES, Volume
from tests.sim.host import Host, HostDied, Simulation
from tests.sim.workload import BUCKET, WHO, Seat

KEY = b"simulated cluster key, 32 bytes."
RING_PATH = "/etc/ring"
BOOTSTRAP_PATH = "/etc/bootstrap.ring"


@dataclass(frozen=True)
class Shape:
    """How large the cluster is and how its parts are set; drawn from the seed."""

    nodes: int
    in_ring: int  # the rest are spare, for ring changes
    devices: int  # of each node
    proxies: int
    part_power: int
    engine: EngineSettings
    daemons: DaemonSettings
    objects: ObjectSettings = field(default_factory=lambda: ObjectSettings(bucket_cache_s=1.0, min_part_bytes=1))

    @classmethod
    def draw(cls, rng: random.Random, *, nodes: int = 0, proxies: int = 3) -> "Shape":
        """Small files and short intervals, so that seals, checkpoints and compactions come in every seed.  `nodes`: 0 for 4 or 5."""
        nodes = nodes or rng.choice((4, 4, 5))
        return cls(
            nodes=nodes,
            in_ring=rng.choice((3, 3, nodes)),
            devices=rng.choice((1, 1, 2)),
            proxies=proxies,
            part_power=rng.choice((1, 2)),
            engine=EngineSettings(
                pack_size_bytes=rng.choice((16, 64, 1024)) * 1024,
                checkpoint_rows=rng.choice((8, 40, 1000)),
                reserve_bytes=16 * 1024,
                stage_bytes=64 * 1024,
                block_size_bytes=16 * 1024,
                read_bytes=64 * 1024,
                staged_max_age_s=30,
                compact_dead_ratio=0.3,
            ),
            daemons=DaemonSettings(
                replicate_interval_s=rng.choice((5.0, 15.0, 60.0)),
                audit_interval_s=rng.choice((30.0, 1000.0)),
                upkeep_interval_s=rng.choice((5.0, 20.0)),
                reclaim_interval_s=rng.choice((5.0, 20.0)),
                reclaim_age_s=rng.choice((0.0, 3.0, 20.0)),
                rebalance_interval_s=2.0,
            ),
        )


class NodeSeat:
    """One storage node, dead or alive."""

    def __init__(self, simulation: Simulation, name: str, shape: Shape) -> None:
        self.host: Host = simulation.host(name)
        self.directories = tuple(f"/device{number}" for number in range(shape.devices))
        for directory in self.directories:
            self.host.storage.mount(directory)
        self.app: NodeApp | None = None
        self._config = NodeConfig(
            name=name,
            addresses=(self.address,),
            device_directories=self.directories,
            cluster_key=KEY,
            ring_path=RING_PATH,
            bootstrap_ring_path=BOOTSTRAP_PATH,
            engine=shape.engine,
        )

    @property
    def address(self) -> str:
        """Where it answers."""
        return f"tcp:{self.host.name}:6000"

    def volumes(self) -> list[Volume]:
        """The file systems of its devices."""
        return [self.host.storage.volume(directory)[0] for directory in self.directories]

    async def format(self) -> list[Device]:
        """Format all devices; what a ring needs to know of them."""
        world = self.host.world()
        return [self._device(await format_device(world, directory), directory) for directory in self.directories]

    def devices(self) -> list[Device]:
        """The same for devices that are open now."""
        assert self.app is not None
        return [self._device(device.incarnation, device.directory) for device in self.app.state.devices if device.incarnation]

    def _device(self, incarnation: bytes, directory: str) -> Device:
        return Device(
            id=UNASSIGNED, node=self.host.name, address=self.address, region="r", zone=self.host.name, weight=100.0,
            incarnation=incarnation, path=directory,
        )  # fmt: skip

    async def start(self) -> None:
        """Switch the machine on if it is off, and start the node; does nothing when it dies again meanwhile."""
        if not self.host.alive:
            self.host.boot()
        self.app = None
        try:
            self.app = await self.host.call(lambda: NodeApp.start(self.host.world(), self._config))
        except HostDied:
            return


class ProxySeat(Seat):
    """One proxy.  Somebody puts a newer ring file on its host now and then; else it must learn of newer rings by itself."""

    ring: Ring

    def __init__(self, simulation: Simulation, name: str, newest: Callable[[], Ring], settings: ObjectSettings) -> None:
        super().__init__(simulation.host(name))
        self._settings = settings
        self._rng = simulation.rng(f"ring files {name}")
        self._newest = newest
        self._ids = simulation.rng(f"proxy id {name}")
        self._cluster: Cluster | None = None

    async def start(self) -> None:
        """Switch the machine on if it is off, and start the proxy."""
        if not self.host.alive:
            self.host.boot()
        self.store = None
        if self._rng.random() < 0.5:
            self.ring = self._newest()
        try:
            self.store = await self.host.call(self._build)
        except HostDied:
            return

    def take_newest_ring(self) -> None:
        """Somebody puts the newest ring file there and tells the proxy, if it runs."""
        self.ring = ring = self._newest()
        cluster = self._cluster
        if self.host.alive and self.store is not None and cluster is not None:
            self.host.loop.call_soon(lambda: cluster.adopt(ring) and None)

    async def _build(self) -> ObjectStore:
        world = self.host.world()
        self._cluster = cluster = Cluster(world, ring=self.ring, proxy_id=self._ids.getrandbits(32), name=self.host.name, cluster_key=KEY)
        await cluster.start()
        store = ObjectStore(cluster, world, self._settings)
        await store.start()
        return store


class DaemonSeat:
    """The host of the daemons, the only publisher of rings."""

    def __init__(self, simulation: Simulation, settings: DaemonSettings) -> None:
        self.host: Host = simulation.host("daemons")
        self.daemons: Daemons | None = None
        self._settings = settings
        self._ids = simulation.rng("proxy id daemons")

    def adopt(self, ring: Ring) -> None:
        """Put the first ring there."""
        RingFile(self.host.world(), RING_PATH).save(codec.encode(ring))

    def newest_ring(self) -> Ring:
        """What is in the ring file now."""
        return codec.decode(RingFile(self.host.world(), RING_PATH).load())

    async def start(self) -> None:
        """Switch the machine on if it is off, and start the daemons."""
        if not self.host.alive:
            self.host.boot()
        self.daemons = None
        try:
            self.daemons = await self.host.call(self._build)
        except HostDied:
            return

    async def _build(self) -> Daemons:
        world = self.host.world()
        file = RingFile(world, RING_PATH)
        ring = codec.decode(file.load())
        cluster = Cluster(world, ring=ring, proxy_id=self._ids.getrandbits(32), name="daemons", cluster_key=KEY)
        await cluster.start()
        fleet = Fleet(world, ring=ring, cluster_key=KEY, name="daemons")
        daemons = Daemons(world, fleet, settle=cluster.settle, save_ring=lambda new: file.save(codec.encode(new)), settings=self._settings)
        daemons.start()
        return daemons


class SimCluster:
    """All machines of one seed."""

    def __init__(self, simulation: Simulation, shape: Shape) -> None:
        self.simulation = simulation
        self.shape = shape
        rng = simulation.rng("cluster")
        self.nodes = [NodeSeat(simulation, f"node{number}", shape) for number in range(shape.nodes)]
        self.daemons = DaemonSeat(simulation, shape.daemons)
        self.proxies = [ProxySeat(simulation, f"proxy{number}", self.daemons.newest_ring, shape.objects) for number in range(shape.proxies)]
        self._hash_seed = rng.getrandbits(64)
        self.harmed: set[str] = set()  # nodes that ever lost something that was flushed
        for host in self.hosts():
            host.clock.skew_us = rng.randint(-200_000, 200_000)
            host.clock.drift = rng.uniform(-1e-4, 1e-4)

    def hosts(self) -> list[Host]:
        """Every machine."""
        return [seat.host for seat in (*self.nodes, *self.proxies, self.daemons)]

    async def _make_ring(self) -> None:
        """Format the devices of the first nodes, and give everybody the ring that names them."""
        devices: list[Device] = []
        for seat in self.nodes[: self.shape.in_ring]:
            devices += await seat.host.call(seat.format)
        spec = RingSpec(
            policy="simulated", replica_count=3, part_power=self.shape.part_power, hash_seed=self._hash_seed, min_part_hours=0.0,
            overload=10.0,  # replicas stay on different nodes whatever the weights
        )  # fmt: skip
        ring = builder.create(spec, devices)
        for seat in self.nodes:
            RingFile(seat.host.world(), BOOTSTRAP_PATH).save(codec.encode(ring))
        for proxy in self.proxies:
            proxy.ring = ring
        self.daemons.adopt(ring)

    async def start(self) -> None:
        """Start everything."""
        await self._make_ring()
        await asyncio.gather(*(seat.start() for seat in self.nodes))
        await asyncio.gather(*(seat.start() for seat in self.proxies), self.daemons.start())

    async def make_bucket(self) -> None:
        """Make the one bucket that workload.py needs."""
        while True:
            store = self.proxies[0].store
            assert store is not None
            try:
                await self.proxies[0].call(store.create_bucket(WHO, BUCKET))
            except BucketAlreadyOwnedByYou:
                return
            except ObjstoreError:
                await asyncio.sleep(0.5)
            else:
                return

    async def replace_broken(self, seats: Sequence[NodeSeat]) -> list[str]:
        """Start nodes anew whose devices are out of service; wipe a device that does not open even then, as after a new disk.

        Returns what must not be: devices that do not open although nobody harmed what was flushed there.
        """
        wrong = []
        for seat in seats:
            if not (
                seat.app
                and seat.host.alive
                and not seat.host.frozen
                and any(d.condition is Condition.OFFLINE for d in seat.app.state.devices)
            ):
                continue
            seat.host.kill(power=False)
            await seat.start()
            for device in seat.app.state.devices if seat.app else ():
                if device.engine is None:
                    self.simulation.note("operator", f"replaces {device.directory} of {seat.host.name}: {device.detail}")
                    if seat.host.name not in self.harmed:
                        wrong.append(f"{seat.host.name} {device.directory} does not open: {device.detail}")
                    self.harmed.add(seat.host.name)
                    seat.host.storage.volume(device.directory)[0].wipe()
            if seat.app and any(device.engine is None for device in seat.app.state.devices):
                seat.host.kill(power=False)
                await seat.start()
        return wrong

    async def make_whole(self, *, timeout_s: float = 60.0) -> bool:
        """Repair and audit; True when the daemons say that every copy is in its place and intact."""
        daemons = self.daemons.daemons
        if daemons is None or not self.daemons.host.alive:
            return False
        try:
            audited = await self.daemons.host.call(daemons.audit, timeout_s=timeout_s)
            repaired = await self.daemons.host.call(lambda: daemons.repair(timeout_s=timeout_s), timeout_s=2 * timeout_s)
            again = await self.daemons.host.call(daemons.audit, timeout_s=timeout_s)
        except (ObjstoreError, HostDied, TimeoutError) as failure:
            self.simulation.note("operator", f"repair failed: {failure!r}")
            return False
        self.simulation.note("operator", f"audit {audited}, repair {repaired}, audit {again}")
        return bool(repaired.finished and again.finished)

    async def change_ring(self, rng: random.Random) -> bool:
        """Publish one change that an operator might make; False when none was possible now."""
        daemons = self.daemons.daemons
        if daemons is None or not self.daemons.host.alive or daemons.fleet.ring.moving():
            return False
        changes = self._changes(daemons.fleet.ring, rng)
        if not changes:
            return False
        self.simulation.note("operator", f"changes the ring: {changes}")
        try:
            ring = await self.daemons.host.call(lambda: daemons.rebalancer.publish(changes), timeout_s=60.0)
        except (Refused, HostDied, TimeoutError) as failure:
            self.simulation.note("operator", f"ring change failed: {failure!r}")
            return False
        self.simulation.note("operator", f"ring of epoch {ring.epoch}: {len(ring.moving())} of {ring.partition_count} partitions move")
        return bool(ring.moving())

    def _changes(self, ring: Ring, rng: random.Random) -> list[builder.Change]:
        # By place, not by incarnation: a wiped disk is the daemons' to replace, and added as well it would be in the ring twice.
        present = {(device.address, device.path) for device in ring.devices.values()}
        serving = sorted({device.node for device in ring.devices.values() if device.weight > 0})
        spare = [
            device
            for seat in self.nodes
            if seat.app is not None and seat.host.alive
            for device in seat.devices()
            if (device.address, device.path) not in present
        ]
        what = rng.choice(("add", "add", "remove", "weigh", "drain"))
        if what == "add" and spare:
            return [builder.Add(device) for device in spare if device.node == spare[0].node]
        node = rng.choice(serving)
        own = [device.id for device in ring.devices.values() if device.node == node]
        if what == "remove" and len(serving) > 3:
            return [builder.Remove(device) for device in own]
        if what == "drain" and len(serving) > 3:
            return [builder.Weigh(device, 0.0) for device in own]
        if what == "weigh":
            return [builder.Weigh(device, rng.choice((30.0, 100.0, 250.0))) for device in own]
        return []

    async def recover(self) -> None:
        """What an operator does when the faults are over: all machines run, with room, and the clocks are set."""
        self.simulation.fabric.heal_all()
        for host in self.hosts():
            host.clock.skew_us = 0
            for volume in host.storage.volumes:
                volume.slow_s = 0.0
                volume.capacity_bytes = CAPACITY_BYTES
                volume.datasync_failures = volume.read_failures = 0
        for seat in (*self.nodes, *self.proxies, self.daemons):
            if seat.host.frozen:
                seat.host.thaw()
            if not seat.host.alive:
                await seat.start()
