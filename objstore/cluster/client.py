"""Channels to the nodes: one each, opened when first needed, a dead node remembered for a moment.

A node that cannot be reached fails calls at once until the next attempt to dial it, so that it costs a client no timeout
per request.  Latency is measured per node to ask the fastest first.
"""

from collections.abc import Callable, Sequence

from objstore.errors import NodeUnreachable, ObjstoreError, ProtocolMismatch
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.wire.channel import CallDone, Channel, dial
from objstore.wire.messages import Message

DIAL_TIMEOUT_S = 2.0
RETRY_AFTER_S = 0.25
SMOOTHING = 0.1  # weight of the newest latency
DOWN_RANK = 1e6
WAITING_LIMIT = 4096  # calls that may wait for one dial


class NodeClient:
    """One node's channel and what is known of its health."""

    def __init__(self, world: World, tasks: TaskOwner, *, address: str, cluster_key: bytes, name: str) -> None:
        self.address = address
        self.latency_s = 0.0
        self.down_until = 0.0
        self._world = world
        self._tasks = tasks
        self._cluster_key = cluster_key
        self._name = name
        self._channel: Channel | None = None
        self._dialing = False
        self._waiting: list[Callable[[Channel | None, ObjstoreError | None], None]] = []

    @property
    def down(self) -> bool:
        """Whether the last attempt to reach it failed a moment ago."""
        return self.down_until > 0.0 and (self._channel is None or self._channel.closed)

    @property
    def rank(self) -> float:
        """Lower is better."""
        return self.latency_s + (DOWN_RANK if self.down else 0.0)

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

    def with_channel(self, use: Callable[[Channel | None, ObjstoreError | None], None]) -> None:
        """Hand an open channel, or the reason why there is none, to `use`."""
        if self._channel is not None and not self._channel.closed:
            use(self._channel, None)
        elif not self._dialing and self._world.clock.monotonic() < self.down_until:
            use(None, NodeUnreachable(f"{self.address} did not answer a moment ago"))
        elif len(self._waiting) >= WAITING_LIMIT:
            use(None, NodeUnreachable(f"too many calls wait for {self.address} to answer"))
        else:
            self._waiting.append(use)
            if not self._dialing:
                self._dialing = True
                self._tasks.spawn(self._dial(), name=f"dial {self.address}")

    def took(self, seconds: float) -> None:
        """Note an answer's latency."""
        self.latency_s += (seconds - self.latency_s) * SMOOTHING

    async def _dial(self) -> None:
        channel: Channel | None = None
        problem: ObjstoreError | None = None
        try:
            channel = await dial(self._world, self.address, cluster_key=self._cluster_key, name=self._name, timeout_s=DIAL_TIMEOUT_S)
        except (NodeUnreachable, ProtocolMismatch) as failure:
            problem = failure
        except ObjstoreError as failure:
            problem = NodeUnreachable(f"{self.address}: {failure.message}")
        finally:
            self._dialing = False
            waiting, self._waiting = self._waiting, []
            self.down_until = 0.0
            if channel is None:
                problem = problem or NodeUnreachable(f"{self.address}: dialing was given up")
                self.down_until = self._world.clock.monotonic() + RETRY_AFTER_S
            else:
                self._channel = channel
            for use in waiting:
                use(channel, problem)

    def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            self._channel.close()


class Clients:
    """All nodes' clients by address."""

    def __init__(self, world: World, tasks: TaskOwner, *, cluster_key: bytes, name: str) -> None:
        self._world = world
        self._tasks = tasks
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

    def keep(self, addresses: Sequence[str]) -> None:
        """Close the channels of nodes that are in no ring any more."""
        for address in [known for known in self._clients if known not in addresses]:
            self._clients.pop(address).close()

    def close(self) -> None:
        """Close all channels."""
        for client in self._clients.values():
            client.close()
        self._clients.clear()
