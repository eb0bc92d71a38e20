"""The ring in use by this process, and how it and the nodes catch up with each other.

Whoever is behind gets the newer ring from who is ahead: a node that says StaleEpoch is asked for its ring, one that says
NewerEpoch is given ours.  One fetch or push per node runs at a time; whoever needs it meanwhile waits for that one.
"""

import asyncio
import logging
from collections.abc import Callable

from objstore.cluster.client import Clients, NodeClient
from objstore.core.placement import Placement, Plan
from objstore.errors import ObjstoreError
from objstore.runtime.tasks import TaskOwner
from objstore.wire.channel import Channel
from objstore.wire.messages import GetRing, Message, PutRing, RingAnswer
from ring.codec import decode, encode
from ring.lookup import Ring
from ring.model import Device, RingError

log = logging.getLogger(__name__)

RING_TIMEOUT_S = 3.0


class Membership:
    """The ring, its placement, and the clients of its nodes."""

    def __init__(self, clients: Clients, tasks: TaskOwner, ring: Ring) -> None:
        self.clients = clients
        self.placement = Placement(ring)
        self._tasks = tasks
        self._listeners: list[Callable[[Ring], None]] = []
        self._fetching: dict[str, asyncio.Task[None]] = {}
        self._pushing: dict[str, asyncio.Task[None]] = {}

    @property
    def ring(self) -> Ring:
        """The ring in use."""
        return self.placement.ring

    def on_ring(self, listener: Callable[[Ring], None]) -> None:
        """Be told of each newer ring."""
        self._listeners.append(listener)

    def adopt(self, ring: Ring) -> bool:
        """Use a ring if it is newer."""
        if ring.epoch <= self.ring.epoch or ring.spec.hash_seed != self.ring.spec.hash_seed:
            return False
        self.placement = Placement(ring)
        self.clients.keep([device.address for device in ring.devices.values()])
        for listener in self._listeners:
            listener(ring)
        return True

    def plan(self, partition: int) -> Plan:
        """The plan of a partition in the ring in use."""
        return self.placement.plan(partition)

    def device(self, device: int) -> Device:
        """A device of the ring in use."""
        return self.ring.devices[device]

    def client(self, device: int) -> NodeClient:
        """The client of a device's node."""
        return self.clients.at(self.ring.devices[device].address)

    def rank(self, device: int) -> float:
        """Lower answers sooner."""
        return self.client(device).rank

    def down(self) -> frozenset[int]:
        """Devices whose node could not be reached a moment ago."""
        return frozenset(d.id for d in self.ring.devices.values() if self.clients.at(d.address).down)

    async def fetch(self, address: str) -> None:
        """Take over a node's ring if it is newer; failures are left to the next attempt."""
        await self._shared(self._fetching, address, self._fetch)

    async def push(self, address: str) -> None:
        """Give a node our ring."""
        await self._shared(self._pushing, address, self._push)

    async def _shared(self, running: dict[str, asyncio.Task[None]], address: str, work: Callable[[str], object]) -> None:
        task = running.get(address)
        if task is None or task.done():
            task = running[address] = self._tasks.spawn(work(address), name=f"ring of {address}")  # type: ignore[arg-type]  # both are coroutine functions
        await asyncio.shield(task)

    async def _channel(self, address: str) -> Channel:
        future: asyncio.Future[Channel] = asyncio.get_running_loop().create_future()

        def opened(channel: Channel | None, failure: ObjstoreError | None) -> None:
            if future.done():
                return
            if channel is not None:
                future.set_result(channel)
            elif failure is not None:
                future.set_exception(failure)

        self.clients.at(address).with_channel(opened)
        return await future

    async def _call(self, address: str, message: Message, payload: bytes = b"") -> tuple[Message, bytes | memoryview]:
        return await (await self._channel(address)).call(message, payload, timeout_s=RING_TIMEOUT_S)

    async def _fetch(self, address: str) -> None:
        try:
            answer, payload = await self._call(address, GetRing())
            if isinstance(answer, RingAnswer) and answer.has_payload:
                self.adopt(decode(bytes(payload)))
        except (ObjstoreError, RingError) as failure:
            log.warning("no ring from %s: %r", address, failure)

    async def _push(self, address: str) -> None:
        try:
            await self._call(address, PutRing(), encode(self.ring))
        except ObjstoreError as failure:
            log.warning("ring not taken by %s: %r", address, failure)

    async def channel_of(self, device: int) -> Channel:
        """An open channel to a device's node.  Raises NodeUnreachable."""
        return await self._channel(self.ring.devices[device].address)
