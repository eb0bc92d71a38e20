"""Storage nodes on a simulated host: started, given a ring, and spoken to as proxies and daemons do."""

from typing import Any

import xxhash

from objstore.core.rows import BodyKind, Kind, Row, RowKey, encode_row
from objstore.core.timestamp import Ballot, ballot_at
from objstore.node.app import NodeApp, NodeConfig
from objstore.wire import messages as m
from objstore.wire.channel import Channel
from ring import builder, codec
from ring.lookup import Ring
from ring.model import Device, RingSpec
from tests.sim.clock import EPOCH_US
from tests.support.wires import KEY, Site

INCARNATION_UNKNOWN = b"unknown!"


def config(number: int, directories: int = 1, **changes: Any) -> NodeConfig:
    return NodeConfig(
        **{
            "name": f"node{number}",
            "addresses": (f"tcp:host:{7000 + number}",),
            "device_directories": tuple(f"/disks/{number}{chr(ord('a') + n)}" for n in range(directories)),
            "cluster_key": KEY,
            "ring_path": f"/nodes/{number}/ring",
            **changes,
        }
    )


class Nodes:
    """A few nodes and the ring that they share."""

    def __init__(self, site: Site, first: int = 0) -> None:
        self.site = site
        self.first = first  # number of the first of them; another ring's nodes have others
        self.apps: list[NodeApp] = []
        self.channels: dict[int, Channel] = {}
        self.ring: Ring

    @classmethod
    async def start(
        cls, site: Site, count: int = 3, *, directories: int = 1, part_power: int = 2, replicas: int = 3, first: int = 0
    ) -> "Nodes":
        """Nodes with one ring over all of their devices; device ids count from 0 in order of nodes and directories."""
        nodes = cls(site, first)
        for number in range(first, first + count):
            nodes.apps.append(await NodeApp.start(site.world, config(number, directories)))
        spec = RingSpec("default", min(replicas, count * directories), part_power, 7 + first, 0.0, 0.1)
        nodes.ring = builder.create(spec, [await nodes.device(node, index) for node in range(count) for index in range(directories)])
        await nodes.publish(nodes.ring)
        return nodes

    async def device(self, node: int, index: int = 0, id_: int = -1) -> Device:
        """A node's device as a ring would name it."""
        seen = (await self.apps[node].report()).devices[index]
        return Device(
            id=id_, node=f"node{self.first + node}", address=f"tcp:host:{7000 + self.first + node}", region="r", zone=f"z{node}", weight=1.0,
            incarnation=seen.incarnation, path=seen.path,
        )  # fmt: skip

    async def publish(self, ring: Ring) -> None:
        """Give every node a ring."""
        self.ring = ring
        for node in range(len(self.apps)):
            await (await self.channel(node)).call(m.PutRing(), codec.encode(ring), timeout_s=10)

    async def channel(self, node: int) -> Channel:
        """A channel to a node, opened again when it is closed."""
        channel = self.channels.get(node)
        if channel is None or channel.closed:
            channel = self.channels[node] = await self.site.dial(address=f"tcp:host:{7000 + self.first + node}")
        return channel

    async def ask(self, kind: type[m.Request], device: int = 0, payload: bytes = b"", *, timeout_s: float = 10.0, **fields: Any) -> Any:
        """A request to a device in the epoch of the ring last published, or as `fields` say; its answer."""
        return (await self.ask_both(kind, device, payload, timeout_s=timeout_s, **fields))[0]

    async def ask_both(
        self, kind: type[m.Request], device: int = 0, payload: bytes = b"", *, timeout_s: float = 10.0, **fields: Any
    ) -> tuple[Any, bytes]:
        """The same with the answer's payload."""
        channel = await self.channel(self.node_of(device))
        answer, back = await channel.call(self.request(kind, device, timeout_s=timeout_s, **fields), payload, timeout_s=timeout_s)
        return answer, bytes(back)

    def node_of(self, device: int) -> int:
        """Which node a device is on."""
        known = self.ring.devices.get(device)
        return int(known.node.removeprefix("node")) - self.first if known is not None else 0

    def request(self, kind: type[m.Request], device: int = 0, *, timeout_s: float = 10.0, **fields: Any) -> Any:
        """A request with its first four fields filled in."""
        known = self.ring.devices.get(device)
        first = {
            "epoch": self.ring.epoch,
            "device": device,
            "incarnation": known.incarnation if known is not None else INCARNATION_UNKNOWN,
            "timeout_ms": int(timeout_s * 1000),
        }
        return kind(**{**first, **fields})

    async def stop(self) -> None:
        """Stop all nodes."""
        for app in self.apps:
            await app.stop()


def key(name: str = "name") -> RowKey:
    return RowKey(b"bucket01", 0, name.encode())


def ballot(number: int = 1, *, ahead_us: int = 0) -> Ballot:
    return ballot_at((EPOCH_US + ahead_us << 12) + number, 1)


def row(
    number: int = 1, payload: bytes = b"", *, kind: Kind = Kind.OBJECT, blob: bytes = b"", size: int | None = None, **more: Any
) -> bytes:
    """An encoded row; with a blob id its bytes are a blob, with a payload they are inline."""
    body = BodyKind.BLOB if blob else BodyKind.INLINE if payload else BodyKind.NONE
    return encode_row(
        Row(
            kind,
            number.to_bytes(16, "big"),
            ballot(number),
            ballot(number),
            EPOCH_US,
            size=len(payload) if size is None else size,
            body=body,
            digest=xxhash.xxh3_128_digest(payload) if body == BodyKind.INLINE else b"",
            blob=blob,
            **more,
        )
    )
