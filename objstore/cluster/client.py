"""Channels to the nodes: one each, opened when first needed, and what is known of each node's health.

Three kinds of trouble, so that none costs every request a timeout.  A node that cannot be reached fails calls at once until
the next attempt to dial it.  A node that says nothing any more although it owes answers (stopped, cut off) is asked last.
A node that answers slowly is asked last too, and is forgiven little by little, since nobody measures what is not asked.
"""

import asyncio
from collections.abc import Callable, Collection

from objstore.errors import NodeUnreachable, ObjstoreError, ProtocolMismatch, TooBusy
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.wire.channel import CallDone, Channel, dial
from objstore.wire.messages import Message

DIAL_TIMEOUT_S = 2.0
RETRY_AFTER_S = 0.25
SUSPECT_AFTER_S = 1.0  # longer than a flush takes on a busy disk; the channel itself gives up after 15 s
SMOOTHING = 0.1  # weight of the newest latency
FORGIVING = 0.98  # what is left of a latency each time the node is passed over
SLOW_UNIT_S = 0.002  # latencies below are all alike: their differences are noise, and order by replica spreads the load
SUSPECT_RANK = 100
DOWN_RANK = 200
WAITING_LIMIT = 4096  # calls that may wait for one dial
DIALS_AT_ONCE = 256

UseChannel = Callable[[Channel | None, ObjstoreError | None], None]


class NodeClient:
    """One node's channel and what is known of its health."""

    def __init__(self, world: World, tasks: TaskOwner, *, address: str, cluster_key: bytes, name: str) -> None:
        self.address = address
        self.latency_s = 0.0  # of queries, smoothed
        self._slow = 0
        self._loop = asyncio.get_running_loop()
        self._world = world
        self._tasks = tasks
        self._cluster_key = cluster_key
        self._name = name
        self._channel: Channel | None = None
        self._failed = False  # the last attempt to dial it failed
        self._dial_again_at = 0.0
        self._dialing = False
        self._closed = False
        self._waiting: list[UseChannel] = []

    @property
    def down(self) -> bool:
        """Whether it could not be reached, or its connection ended, and nobody has reached it since."""
        return self._failed if self._channel is None else self._channel.closed

    @property
    def rank(self) -> int:
        """0 when it is as good as any; more the later it should be asked."""
        channel = self._channel
        if channel is None or channel.closed:
            return DOWN_RANK if self.down else 0
        silent_since = channel.silent_since
        if silent_since is not None and self._loop.time() - silent_since > SUSPECT_AFTER_S:
            return SUSPECT_RANK
        return self._slow

    def send(self, message: Message, payload: bytes | memoryview, *, timeout_s: float, done: CallDone) -> None:
        """Call the node; `done` is told the outcome, never from within this call unless the node is known to be down."""
        channel = self._channel
        if channel is not None and not channel.closed:
            channel.call_soon(message, payload, timeout_s=timeout_s, done=done)
            return

        def opened(channel: Channel | None, failure: ObjstoreError | None) -> None:
            if channel is None:
                done(None, b"", failure)
            else:
                channel.call_soon(message, payload, timeout_s=timeout_s, done=done)

        self.with_channel(opened)

    def with_channel(self, use: UseChannel) -> None:
        """Hand an open channel, or the reason why there is none, to `use`."""
        if self._channel is not None and not self._channel.closed:
            use(self._channel, None)
        elif self._closed:
            use(None, NodeUnreachable(f"{self.address} is not spoken to any more"))
        elif self._failed and (self._dialing or self._loop.time() < self._dial_again_at):
            use(None, NodeUnreachable(f"{self.address} did not answer a moment ago"))
        elif len(self._waiting) >= WAITING_LIMIT:
            use(None, TooBusy(f"too many calls wait for {self.address} to answer"))
        else:
            self._waiting.append(use)
            self._start_dialing()

    def passed_over(self) -> None:
        """Others were asked because of its rank: dial it if it is down, forgive a little if it was slow."""
        if self.down:
            if not self._closed and self._loop.time() >= self._dial_again_at:
                self._start_dialing()
        elif self._slow:
            self._note_latency(self.latency_s * FORGIVING)

    def took(self, seconds: float) -> None:
        """Note how long an answer took (or how long there has been none)."""
        self._note_latency(self.latency_s + (seconds - self.latency_s) * SMOOTHING)

    def _note_latency(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self._slow = int(latency_s / SLOW_UNIT_S).bit_length()

    def _start_dialing(self) -> None:
        if self._dialing:
            return
        self._dialing = True
        try:
            self._tasks.spawn(self._dial(), name=f"dial {self.address}")
        except TooBusy as failure:
            self._dialed(None, failure)

    async def _dial(self) -> None:
        try:
            channel = await dial(self._world, self.address, cluster_key=self._cluster_key, name=self._name, timeout_s=DIAL_TIMEOUT_S)
        except (NodeUnreachable, ProtocolMismatch) as failure:
            self._dialed(None, failure)
        except ObjstoreError as failure:
            self._dialed(None, NodeUnreachable(f"{self.address}: {failure.message}"))
        except BaseException:
            self._dialed(None, NodeUnreachable(f"{self.address}: dialing was given up"))
            raise
        else:
            self._dialed(channel, None)

    def _dialed(self, channel: Channel | None, failure: ObjstoreError | None) -> None:
        self._dialing = False
        if channel is not None and self._closed:
            channel.close()
            channel, failure = None, NodeUnreachable(f"{self.address} is not spoken to any more")
        self._channel = channel
        self._failed = channel is None
        if channel is None:
            self._dial_again_at = self._loop.time() + RETRY_AFTER_S
        else:
            self._note_latency(0.0)
        self._tell(channel, failure)

    def _tell(self, channel: Channel | None, failure: ObjstoreError | None) -> None:
        waiting, self._waiting = self._waiting, []
        for use in waiting:
            use(channel, failure)

    def close(self) -> None:
        """Close the channel for good; a dial that is under way comes to nothing."""
        self._closed = True
        if self._channel is not None:
            self._channel.close()
        self._tell(None, NodeUnreachable(f"{self.address} is not spoken to any more"))


class Clients:
    """All nodes' clients by address."""

    def __init__(self, world: World, *, cluster_key: bytes, name: str) -> None:
        self._world = world
        self._tasks = TaskOwner(f"dials of {name}", limit=DIALS_AT_ONCE)
        self._cluster_key = cluster_key
        self._name = name
        self._clients: dict[str, NodeClient] = {}

    def at(self, address: str) -> NodeClient:
        """The client of one node."""
        client = self._clients.get(address)
        if client is None:
            client = NodeClient(self._world, self._tasks, address=address, cluster_key=self._cluster_key, name=self._name)
            self._clients[address] = client
        return client

    def keep(self, addresses: Collection[str]) -> None:
        """Close the channels of nodes that are in no ring any more."""
        for address in [known for known in self._clients if known not in addresses]:
            self._clients.pop(address).close()

    async def aclose(self) -> None:
        """Close all channels and give up dialing.  What waits for an answer is told NodeUnreachable."""
        for client in self._clients.values():
            client.close()
        await self._tasks.aclose()
