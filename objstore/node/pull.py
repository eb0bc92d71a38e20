"""Fetching a body from another node when a row came without it, and the channels between nodes that this needs."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Sequence

from objstore.core.rows import INLINE_LIMIT_BYTES, BodyKind, Row, RowKey, Space, stored_size
from objstore.errors import DamagedBody, NewerEpoch, NodeUnreachable, ObjstoreError, Refused, Unavailable
from objstore.node.engine.api import EngineApi
from objstore.node.state import LocalDevice, NodeState
from objstore.runtime.world import World
from objstore.wire.channel import Channel, Download, dial
from objstore.wire.messages import PutRing, ReadBody
from ring.model import Device

DIAL_TIMEOUT_S = 2.0
# A node that could not be reached is left alone for so long, so that pulls go on to the next source at once.
DIAL_AGAIN_S = 1.0
# Bodies that a node fetches at the same time; each holds at most a window of a megabyte.
MAX_PULLS = 32


class Peers:
    """Channels to other nodes, opened when first needed and again after they break."""

    def __init__(self, world: World, *, cluster_key: bytes, name: str) -> None:
        self._world = world
        self._cluster_key = cluster_key
        self._name = name
        self._channels: dict[str, Channel] = {}
        self._dialing: dict[str, asyncio.Lock] = {}
        self._failed_at: dict[str, float] = {}

    async def channel(self, address: str) -> Channel:
        """An open channel.  Raises NodeUnreachable, ProtocolMismatch."""
        channel = self._channels.get(address)
        if channel is not None and not channel.closed:
            return channel
        async with self._dialing.setdefault(address, asyncio.Lock()):
            channel = self._channels.get(address)
            if channel is not None and not channel.closed:
                return channel
            now = self._world.clock.monotonic()
            if now - self._failed_at.get(address, -DIAL_AGAIN_S) < DIAL_AGAIN_S:
                raise NodeUnreachable(f"{address} did not answer less than {DIAL_AGAIN_S} s ago")
            try:
                channel = await dial(self._world, address, cluster_key=self._cluster_key, name=self._name, timeout_s=DIAL_TIMEOUT_S)
            except ObjstoreError:
                self._failed_at[address] = self._world.clock.monotonic()
                raise
            self._failed_at.pop(address, None)
            self._channels[address] = channel
            return channel

    def close(self) -> None:
        """Close every channel."""
        for channel in self._channels.values():
            channel.close()
        self._channels.clear()


class _Turn:
    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.users = 0


class Puller:
    """Fetches bodies for the devices of one node."""

    def __init__(self, state: NodeState, peers: Peers, counters: "Counter[str]") -> None:
        self._counters = counters
        self._state = state
        self._peers = peers
        self._room = asyncio.Semaphore(MAX_PULLS)
        self._turns: dict[tuple[str, object, bytes], _Turn] = {}

    @contextlib.asynccontextmanager
    async def turn(self, device: LocalDevice, key: RowKey, row: Row) -> AsyncIterator[None]:
        """One at a time for one body on one device: who comes second finds it there."""
        # Several rows may name one blob: a copy, a version that becomes the head again.
        name = (device.directory, None, row.blob) if row.blob else (device.directory, key, row.origin)
        turn = self._turns.setdefault(name, _Turn())
        turn.users += 1
        try:
            async with turn.lock:
                yield
        finally:
            turn.users -= 1
            if not turn.users:
                del self._turns[name]

    async def pull(
        self, device: LocalDevice, key: RowKey, row: Row, sources: Sequence[int], *, timeout_s: float
    ) -> tuple[bytes | None, int]:
        """Fetch the body of `row` from the first source that has it whole.

        Returns (payload, bytes): an inline body as payload; a blob is staged in the device's engine, durable, payload None.
        Raises Unavailable when no source had it.
        """
        failures = []
        async with self._room:
            for source in sources:
                try:
                    return await self._pull_from(source, device, key, row, timeout_s)
                except ObjstoreError as failure:
                    failures.append(f"device {source}: {type(failure).__name__} {failure.message}")
        self._counters["pulls_failed"] += 1
        raise Unavailable(f"no source has the body of {key.name[:80]!r}: {'; '.join(failures) or 'none was named'}")

    async def _pull_from(self, source: int, device: LocalDevice, key: RowKey, row: Row, timeout_s: float) -> tuple[bytes | None, int]:
        named = self._state.ring.devices.get(source) if self._state.ring is not None else None
        if named is None or (device.view is not None and source == device.view.device):
            raise Unavailable("is not in this ring, or is the device itself")
        download = await self._open(named, key, row, timeout_s)
        try:
            size = stored_size(row)
            if download.begin.size != size or download.begin.length != size:
                raise DamagedBody(f"has {download.begin.size} bytes, the row says {size}")
            if row.body == BodyKind.INLINE:
                payload = await _gather(download, size)
                self._counters["pulled_bytes"] += len(payload)
                return payload, len(payload)
            await _stage(download, device.open(), row)
            self._counters["pulled_bytes"] += size
            return None, size
        finally:
            await download.aclose()

    async def _open(self, source: Device, key: RowKey, row: Row, timeout_s: float) -> Download:
        channel = await self._peers.channel(source.address)
        # A version that becomes the head again, or whose row was changed: the source has its bytes under another row.
        content = (row.blob or row.digest) if row.version or row.effects or key.space == Space.VERSIONS else b""
        request = ReadBody(self._state.epoch, source.id, source.incarnation, int(timeout_s * 1000), key, row.origin, content=content)
        try:
            return await channel.open_download(request, timeout_s=timeout_s)
        except NewerEpoch:
            await channel.call(PutRing(), self._state.ring_bytes, timeout_s=timeout_s)
            return await channel.open_download(request, timeout_s=timeout_s)


async def _gather(download: Download, size: int) -> bytes:
    if size > INLINE_LIMIT_BYTES:
        raise Refused(f"an inline body has at most {INLINE_LIMIT_BYTES} bytes")
    pieces = [piece async for piece in download]
    payload = b"".join(pieces)
    if len(payload) != size:
        raise DamagedBody(f"sent {len(payload)} of {size} bytes")
    return payload


async def _stage(download: Download, engine: EngineApi, row: Row) -> None:
    size = stored_size(row)
    writer = await engine.stage(row.blob, size=size)
    try:
        async for piece in download:
            await writer.write(piece)
        staged = await writer.finish()
    except BaseException:
        await writer.abort()
        raise
    if staged.size != size:
        raise DamagedBody(f"sent {staged.size} of {size} bytes")
