"""The ring in use by this process, and how it and the nodes catch up with each other.

Whoever is behind gets the newer ring from who is ahead: a node that says StaleEpoch is asked for its ring, one that says
NewerEpoch is given ours.  One fetch or push per node runs at a time; whoever needs it meanwhile waits for that one.
"""

import asyncio
import logging
from collections.abc import Callable
from functools import partial

from objstore.cluster.client import SUSPECT_RANK, Clients, NodeClient
from objstore.core.placement import Placement, Plan, smallest_quorum
from objstore.errors import NodeUnreachable, ObjstoreError, StaleEpoch, TooBusy
from objstore.runtime.tasks import TaskOwner
from objstore.wire.channel import Channel
from objstore.wire.messages import GetRing, Message, PutRing, RingAnswer
from ring.codec import decode, encode
from ring.lookup import Ring
from ring.model import Device, RingError

log = logging.getLogger(__name__)

RING_TIMEOUT_S = 3.0
CATCH_UPS_AT_ONCE = 1024  # one per node and direction
SPLITS_KEPT = 16_384  # 5 MB

Tell = Callable[[], None]


class Membership:
    """The ring, its placement, and the clients of its nodes."""

    def __init__(self, clients: Clients, ring: Ring) -> None:
        self.clients = clients
        self.placement = Placement(ring)
        self._tasks = TaskOwner("catching up", limit=CATCH_UPS_AT_ONCE)
        self._listeners: list[Callable[[Ring], None]] = []
        self._catching_up: dict[tuple[str, bool], list[Tell]] = {}
        self._by_device: dict[int, NodeClient] = {}
        self._splits: dict[tuple[int, tuple[int, ...]], tuple[tuple[int, ...], tuple[int, ...]]] = {}

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
        self._by_device = {}
        self._splits = {}
        self.clients.keep({device.address for device in ring.devices.values()})
        for listener in self._listeners:
            listener(ring)
        return True

    def plan(self, partition: int) -> Plan:
        """The plan of a partition in the ring in use."""
        return self.placement.plan(partition)

    def split(self, plan: Plan, order: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Whom to ask first and whom later, the devices in this order of preference: `smallest_quorum`, kept, since it is asked for every request.

        `plan` must be of the ring in use.
        """
        found = self._splits.get((plan.partition, order))
        if found is None:
            if len(self._splits) >= SPLITS_KEPT:
                self._splits.clear()
            found = self._splits[plan.partition, order] = smallest_quorum(plan.quorum, order)
        return found

    def device(self, device: int) -> Device:
        """A device of the ring in use."""
        return self.ring.devices[device]

    def client(self, device: int) -> NodeClient:
        """The client of a device's node.  Raises KeyError when the ring in use does not have it."""
        client = self._by_device.get(device)
        if client is None:
            client = self._by_device[device] = self.clients.at(self.ring.devices[device].address)
        return client

    def rank(self, device: int) -> int:
        """0 when the device's node is as good as any; more the later it should be asked."""
        return self.client(device).rank

    def ill(self) -> frozenset[int]:
        """Devices whose node is down or owes answers; those that are down are dialed again."""
        found = []
        for device in self.ring.devices:
            client = self.client(device)
            if client.rank >= SUSPECT_RANK:
                client.passed_over()
                found.append(device)
        return frozenset(found)

    # -- catching up ----------------------------------------------------------------------------------------------------

    def when_caught_up(self, device: int, failure: ObjstoreError, tell: Tell) -> bool:
        """After a device said StaleEpoch or NewerEpoch: take over its ring or give it ours, then call `tell`.

        Whether that did any good is for the caller to see.  `tell` is called later, never from within; False (and no call)
        when the device is in no ring that we know, or too much is under way.
        """
        known = self.ring.devices.get(device)
        if known is None:
            return False
        stale = isinstance(failure, StaleEpoch)
        key = (known.address, stale)
        waiting = self._catching_up.get(key)
        if waiting is not None:
            waiting.append(tell)
            return True
        try:
            self._tasks.spawn(self._catch_up(known.address, stale=stale), name=f"ring of {known.address}")
        except TooBusy:
            return False
        self._catching_up[key] = [tell]
        return True

    async def catch_up(self, device: int, failure: ObjstoreError) -> None:
        """The same for whoever can wait."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.when_caught_up(device, failure, partial(_settle, future)):
            await future

    async def _catch_up(self, address: str, *, stale: bool) -> None:
        try:
            async with asyncio.timeout(RING_TIMEOUT_S):
                if stale:
                    answer, payload = await self._call(address, GetRing())
                    if isinstance(answer, RingAnswer) and answer.has_payload:
                        self.adopt(decode(bytes(payload)))
                else:
                    await self._call(address, PutRing(), encode(self.ring))
        except (ObjstoreError, RingError, TimeoutError) as failure:
            log.warning("%s %s: %r", "no newer ring from" if stale else "our ring was not taken by", address, failure)
        finally:
            for tell in self._catching_up.pop((address, stale), []):
                tell()

    async def _call(self, address: str, message: Message, payload: bytes = b"") -> tuple[Message, bytes | memoryview]:
        return await (await self._channel(address)).call(message, payload, timeout_s=RING_TIMEOUT_S)

    # -- channels -------------------------------------------------------------------------------------------------------

    async def channel_of(self, device: int) -> Channel:
        """An open channel to a device's node.  Raises NodeUnreachable, also when the device is in the ring no more."""
        known = self.ring.devices.get(device)
        if known is None:
            raise NodeUnreachable(f"device {device} is not in the ring any more")
        return await self._channel(known.address)

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

    async def aclose(self) -> None:
        """Give up what is under way and close all channels."""
        await self.clients.aclose()
        await self._tasks.aclose()
        for waiting in list(self._catching_up.values()):  # of tasks that were cancelled before they began
            for tell in waiting:
                tell()
        self._catching_up.clear()


def _settle(future: "asyncio.Future[None]") -> None:
    if not future.done():
        future.set_result(None)
