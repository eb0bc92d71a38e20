"""A storage node process: devices, ring, RPC.  One device that fails takes nothing else with it.

A directory that holds no device is formatted under a fresh incarnation.  The ring does not know that one, so the device
serves nothing until a ring names it: a wiped disk never answers for what it has lost.
"""

import asyncio
import logging
from collections import Counter
from dataclasses import dataclass, field

from objstore.errors import InvalidArgument, ObjstoreError
from objstore.node.bodies import Bodies
from objstore.node.engine.engine import Engine, EngineSettings, format_device, read_identity
from objstore.node.pages import Pages
from objstore.node.pull import Peers, Puller
from objstore.node.registers import Registers
from objstore.node.ring_file import RingFile
from objstore.node.rings import RingKeeper
from objstore.node.rpc import NodeRpc
from objstore.node.state import LocalDevice, NodeState
from objstore.node.upkeep import Upkeep
from objstore.runtime.tasks import TaskOwner, Threads
from objstore.runtime.world import World
from objstore.wire.handshake import check_key
from objstore.wire.messages import NodeReport
from objstore.wire.server import Call, Listener

log = logging.getLogger(__name__)

# A device that did not open (its disk is not mounted yet, say) is tried again this often.
REOPEN_S = 30.0
# What is in flight may end for so long when the node stops; a restart then costs nobody an unknown outcome.
DRAIN_S = 2.0
THREADS = 4


@dataclass(frozen=True)
class NodeConfig:
    """What an operator says about one node."""

    name: str
    addresses: tuple[str, ...]  # "tcp:HOST:PORT" or "unix:/PATH"
    device_directories: tuple[str, ...]
    cluster_key: bytes = field(repr=False)
    ring_path: str  # the node's own durable copy
    bootstrap_ring_path: str = ""  # a copy that somebody else put there; used when it is newer
    engine: EngineSettings = field(default_factory=EngineSettings)


class NodeApp:
    """A running node.  Made by `start`."""

    def __init__(self, world: World, config: NodeConfig) -> None:
        self.counters: Counter[str] = Counter()
        self.state = NodeState([LocalDevice(directory) for directory in config.device_directories], wall_us=world.clock.wall_us)
        self._world = world
        self._config = config
        self._threads: Threads = world.new_threads(f"{config.name}-node", THREADS)
        self._tasks = TaskOwner(f"node {config.name}")
        self._peers = Peers(world, cluster_key=config.cluster_key, name=config.name)
        self._keeper = RingKeeper(world, self.state, RingFile(world, config.ring_path), self._threads, redo=self._redo)
        puller = Puller(self.state, self._peers, self.counters)
        self._upkeep = Upkeep(
            world,
            config.name,
            self.state,
            self._keeper,
            self._threads,
            self.counters,
            full_below_bytes=config.engine.reserve_bytes,
        )
        self._bodies = Bodies(self.state, self.counters)
        self._rpc = NodeRpc(
            world.clock,
            self.state,
            Registers(self.state, puller, self.counters),
            self._bodies,
            Pages(self.state),
            self._upkeep,
            self.counters,
        )
        self._listener = Listener(world, cluster_key=config.cluster_key, name=config.name, handler_factory=lambda _peer: self._rpc)

    @classmethod
    async def start(cls, world: World, config: NodeConfig) -> "NodeApp":
        """Open the devices, adopt the ring, listen.

        Raises InvalidArgument for an empty key, a configuration without devices or addresses or a damaged ring file;
        OSError when an address is taken.  A device that does not open is reported, not raised.
        """
        check_key(config.cluster_key)
        if not config.addresses or not config.device_directories:
            raise InvalidArgument("a node needs an address and a device directory")
        if len(set(config.device_directories)) != len(config.device_directories):
            raise InvalidArgument("a device directory is named twice")
        node = cls(world, config)
        try:
            await asyncio.gather(*(node._open(device) for device in node.state.devices))
            bootstrap = RingFile(world, config.bootstrap_ring_path) if config.bootstrap_ring_path else None
            await node._keeper.load(bootstrap)
            for address in config.addresses:
                await node._listener.listen(address)
        except BaseException:
            await node.stop()
            raise
        if any(device.engine is None for device in node.state.devices):
            node._tasks.spawn(node._reopen(), name="reopen devices")
        return node

    async def stop(self) -> None:
        """Finish what is in flight for a moment, then close every device with a checkpoint."""
        await self._listener.aclose(grace_s=DRAIN_S)
        await self._keeper.aclose()
        await self._tasks.aclose()
        self._peers.close()
        for device in self.state.devices:
            engine, device.engine = device.engine, None
            device.detail = "the node is stopping"
            if engine is not None:
                try:
                    await engine.close()
                except (ObjstoreError, OSError) as failure:
                    log.warning("%s did not close cleanly: %r", device.directory, failure)
        self._threads.close()

    async def report(self) -> NodeReport:
        """State and counters, as NodeStatus is answered."""
        return await self._upkeep.report()

    def _redo(self, call: Call) -> None:
        self._rpc.redo(call)

    async def _open(self, device: LocalDevice) -> None:
        world, directory = self._world, device.directory
        try:
            incarnation = await self._threads.run(read_identity, world, directory)
            if incarnation is None:
                incarnation = await format_device(world, directory)
                log.warning("%s held no device: formatted as %s", directory, incarnation.hex())
            device.engine = await Engine.open(world, directory, self._config.engine)
        except (ObjstoreError, OSError) as failure:
            device.detail = f"did not open: {failure!r}"
            log.warning("%s did not open: %r", directory, failure)
            return
        device.incarnation = device.engine.incarnation
        device.detail = ""

    async def _reopen(self) -> None:
        """Try devices that did not open again, until all are in service."""
        while any(device.engine is None for device in self.state.devices):
            await self._world.clock.sleep(REOPEN_S)
            for device in self.state.devices:
                if device.engine is None:
                    await self._open(device)
                    if device.engine is not None:
                        await self._keeper.take_in(device)
