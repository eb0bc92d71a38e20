"""Exports by name, and the sockets they are served on."""

import asyncio
import contextlib
from collections.abc import Sequence

from objstore.runtime.net import Listener, Net
from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.device import Device
from objstore.services.volume.nbd.connection import Connection
from objstore.services.volume.nbd.handshake import Export

CONNECTIONS_LIMIT = 1024
PATIENCE_S = 5.0


class NbdServer:
    """Serves devices to whoever reaches its sockets: NBD knows no users, so they are Unix sockets or loopback."""

    def __init__(self, net: Net) -> None:
        self._net = net
        self._devices: dict[str, Device] = {}
        self._listeners: list[Listener] = []
        self._connections: set[Connection] = set()
        self._tasks = TaskOwner("nbd")

    def add(self, name: str, device: Device) -> None:
        """Export a device."""
        assert name not in self._devices
        self._devices[name] = device

    def remove(self, name: str) -> None:
        """Take an export away; its connections are closed."""
        self._devices.pop(name, None)
        for connection in [c for c in self._connections if c.export == name]:
            connection.hang_up()

    def names(self) -> Sequence[str]:
        """All exports."""
        return sorted(self._devices)

    def find(self, name: str) -> Export | None:
        """What a client is told of an export; the empty name means the only one."""
        if not name and len(self._devices) == 1:
            name = next(iter(self._devices))
        device = self._devices.get(name)
        return None if device is None else Export(name, device.size_bytes, device.read_only, device.at.head.name)

    def device(self, name: str) -> Device | None:
        """The device behind an export."""
        return self._devices.get(name)

    async def listen(self, address: str) -> None:
        """Serve on "unix:/PATH" or "tcp:HOST:PORT".  Raises OSError."""
        self._listeners.append(await self._net.listen(address, self._connection))

    def _connection(self) -> Connection:
        return Connection(self, self._tasks, self._connections, refused=len(self._connections) >= CONNECTIONS_LIMIT)

    async def aclose(self, *, patience_s: float = PATIENCE_S) -> None:
        """Stop listening, finish what is being worked on, hang up.  What waits for the store for longer is not finished, nor answered."""
        for listener in self._listeners:
            await listener.aclose()
        for connection in list(self._connections):
            connection.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._tasks.drain()
        for connection in list(self._connections):
            connection.hang_up()
        await self._tasks.aclose()
