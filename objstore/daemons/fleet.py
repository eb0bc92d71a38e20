"""All devices of the ring, as daemons talk to them: one call at a time to one device, in one epoch.

A daemon's work on a partition is only worth something inside one ring epoch: `Fleet.ask` refuses with StaleEpoch when the
ring changed under the caller, who then starts that piece of work over.
"""

import asyncio
from typing import Any, TypeVar

from objstore.errors import NewerEpoch, NoSuchDevice, ObjstoreError, StaleEpoch
from objstore.runtime.world import World
from objstore.wire.channel import Channel, dial
from objstore.wire.messages import GetRing, Message, NodeReport, NodeStatus, PutRing, Request, RingAnswer
from ring.codec import decode, encode
from ring.lookup import Ring

A = TypeVar("A", bound=Message)
CALL_TIMEOUT_S = 10.0
DIAL_TIMEOUT_S = 2.0


class Fleet:
    """Channels to all nodes, and the ring in use by this process's daemons."""

    def __init__(self, world: World, *, ring: Ring, cluster_key: bytes, name: str) -> None:
        self.world = world
        self.ring = ring
        self._cluster_key = cluster_key
        self._name = name
        self._channels: dict[str, Channel] = {}
        self._dialing: dict[str, asyncio.Lock] = {}

    def adopt(self, ring: Ring) -> bool:
        """Use a ring if it is newer; True when it is."""
        if ring.epoch <= self.ring.epoch:
            return False
        self.ring = ring
        return True

    async def channel(self, address: str) -> Channel:
        """An open channel to a node.  Raises NodeUnreachable."""
        async with self._dialing.setdefault(address, asyncio.Lock()):
            channel = self._channels.get(address)
            if channel is None or channel.closed:
                channel = await dial(self.world, address, cluster_key=self._cluster_key, name=self._name, timeout_s=DIAL_TIMEOUT_S)
                self._channels[address] = channel
            return channel

    async def call(self, address: str, message: Message, kind: type[A], *, timeout_s: float = CALL_TIMEOUT_S, payload: bytes = b"") -> A:
        """One call to a node.  Raises what the node raised, NodeUnreachable, DeadlineExceeded."""
        answer, _ = await (await self.channel(address)).call(message, payload, timeout_s=timeout_s)
        assert isinstance(answer, kind), f"{type(message).__name__} answered by {type(answer).__name__}"
        return answer

    async def ask(
        self, request: type[Request], kind: type[A], device: int, *, epoch: int, timeout_s: float = CALL_TIMEOUT_S, **fields: Any
    ) -> A:
        """One request to one device inside `epoch`.

        A node that is behind is given the ring and asked again.  Raises StaleEpoch when the ring in use is no longer that of
        `epoch`, or when the node's is newer (it is fetched first).
        """
        if self.ring.epoch != epoch:
            raise StaleEpoch(f"the ring is at epoch {self.ring.epoch}, the work began in {epoch}", epoch=self.ring.epoch)
        about = self.ring.devices.get(device)
        if about is None:
            raise NoSuchDevice(f"the ring of epoch {epoch} has no device {device}")
        message = request(epoch=epoch, device=device, incarnation=about.incarnation, timeout_ms=int(timeout_s * 1000), **fields)
        try:
            return await self.call(about.address, message, kind, timeout_s=timeout_s)
        except NewerEpoch:
            await self.push_ring(about.address)
            return await self.call(about.address, message, kind, timeout_s=timeout_s)
        except StaleEpoch:
            await self.fetch_ring(about.address)
            raise

    async def push_ring(self, address: str) -> None:
        """Give a node our ring."""
        await self.call(address, PutRing(), RingAnswer, payload=encode(self.ring))

    async def fetch_ring(self, address: str) -> None:
        """Take over a node's ring if it is newer."""
        channel = await self.channel(address)
        answer, payload = await channel.call(GetRing(), timeout_s=CALL_TIMEOUT_S)
        if isinstance(answer, RingAnswer) and answer.has_payload:
            self.adopt(decode(bytes(payload)))

    def addresses(self) -> list[str]:
        """The nodes' addresses, in a stable order."""
        return sorted({device.address for device in self.ring.devices.values()})

    async def reports(self, extra: tuple[str, ...] = (), *, timeout_s: float = 2.0) -> dict[str, NodeReport | None]:
        """Every node's own report by address; None for a node that does not answer."""
        addresses = sorted({*self.addresses(), *extra})

        async def one(address: str) -> NodeReport | None:
            try:
                async with asyncio.timeout(timeout_s):  # also over the dialing, which a node that hangs lets wait
                    return await self.call(address, NodeStatus(), NodeReport, timeout_s=timeout_s)
            except (ObjstoreError, TimeoutError):  # also one that is of another cluster, or of a release that this one cannot speak to
                return None

        return dict(zip(addresses, await asyncio.gather(*map(one, addresses)), strict=True))

    async def aclose(self) -> None:
        """Close all channels."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()
