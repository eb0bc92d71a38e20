"""Clusters in one process that send to each other: the real front and daemon of container sync, no sockets, virtual time."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import unquote

from objstore.core.container_sync import SyncSettings, parse_realms
from objstore.daemons.container_sync import ContainerSync
from objstore.fronts.swift.app import SwiftApp
from objstore.fronts.swift.context import SwiftFront, SwiftSettings
from objstore.runtime.http_client import Answer
from tests.support.memory_cluster import LoopClock, memory_world
from tests.support.store_rig import Rig

REALMS = """
[DEFAULT]
mtime_check_interval = 300

[us]
key = realm-key-of-us
key2 = second-key-of-us
cluster_one = http://one.test:8080/v1/
cluster_two = http://two.test:8080/v1/
"""


class NoLogins:
    """Nobody logs in: requests come from clusters alone."""

    def who(self, token: str, method: str, path: str) -> None:
        return None

    def log_in(self, user: str, key: str) -> None:
        return None


class Network:
    """Implements daemons.container_sync.Peers: every cluster by its address; `cut` ones do not answer."""

    def __init__(self) -> None:
        self.apps: dict[str, Any] = {}
        self.cut: set[str] = set()
        self.asked: list[tuple[str, str, int]] = []  # method, path, status

    async def ask(self, base: str, method: str, path: str, headers: Mapping[str, str]) -> Answer:
        return await self._call(base, method, path, headers, None, 0)

    async def put(self, base: str, path: str, headers: Mapping[str, str], pieces: AsyncIterator[bytes | memoryview], size: int) -> Answer:
        return await self._call(base, "PUT", path, headers, pieces, size)

    async def _call(
        self, base: str, method: str, path: str, headers: Mapping[str, str], pieces: AsyncIterator[bytes | memoryview] | None, size: int
    ) -> Answer:
        if base in self.cut:
            raise ConnectionRefusedError(base)
        raw, _, query = path.partition("?")
        scope = {
            "type": "http", "method": method, "path": unquote(raw), "raw_path": raw.encode(), "query_string": query.encode(),
            "scheme": "http", "client": ("10.0.0.1", 1),
            "headers": [(name.lower().encode(), value.encode()) for name, value in {**headers, "content-length": str(size)}.items()],
        }  # fmt: skip

        async def receive() -> dict[str, Any]:
            piece = None if pieces is None else await anext(pieces, None)
            return {"type": "http.request", "body": bytes(piece or b""), "more_body": piece is not None}

        answer = Answer()

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                answer.status = message["status"]
                answer.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}

        await self.apps[base](scope, receive, send)
        self.asked.append((method, unquote(raw), answer.status))
        return answer


class Site(Rig):
    """One cluster of the realm: its store, its front on the network, its daemon."""

    def __init__(self, network: Network, name: str, *, hosts: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.name, self.network = name, network
        self.base = f"http://{name}.test:8080"
        settings = SyncSettings(hosts=hosts, interval_s=5.0)
        realms = parse_realms(REALMS)
        world = memory_world(self.clock)
        front = SwiftFront(self.store, NoLogins(), SwiftSettings(), LoopClock(), world.rng, sync=settings, realms=realms)  # type: ignore[arg-type]
        network.apps[self.base] = SwiftApp(front, None)  # type: ignore[arg-type]
        self.daemon = ContainerSync(self.store, world, settings, realms, holder=name, peers=network)
