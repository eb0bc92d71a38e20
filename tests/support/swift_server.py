"""The Swift front, before the S3 front, over real sockets and the real object model on a cluster in memory."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from objstore.cli.clusters import first_classes
from objstore.cluster.policies import PolicyClusters
from objstore.core.container_sync import Realms, SyncSettings
from objstore.fronts.s3.app import S3App
from objstore.fronts.s3.settings import S3Settings
from objstore.fronts.swift.app import SwiftApp
from objstore.fronts.swift.context import SwiftFront, SwiftSettings
from objstore.identity.logic import Credentials
from objstore.identity.model import SwiftUser, User
from objstore.identity.swift_tokens import SwiftAuth
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import MemoryCluster, memory_world
from tests.support.s3_server import Running, serving
from tests.support.store_rig import local_keys

TESTER = SwiftUser("test", "tester", "testing", (".admin",))
MEMBER = SwiftUser("test", "tester3", "testing3")
OTHER = SwiftUser("test2", "tester2", "testing2", (".admin",))
RESELLER = SwiftUser("admin", "admin", "adminpass", (".reseller_admin",))
SERVICE = SwiftUser("service", "glance", "glancing", ("service",))
S3_USER = User(account="test", name="s3", access_key="AKTEST", secret_key="test-secret")


@dataclass
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def lines(self) -> list[str]:
        return self.body.decode().splitlines()


class Swift:
    """One user's view: paths below the own storage URL; `token=None` sends none."""

    def __init__(self, running: Running, user: SwiftUser | None = TESTER, *, account: str = "") -> None:
        self.running = running
        self.token = ""
        self.account = account or (user.account if user else "test")
        if user is not None:
            reply = self.raw("GET", "/auth/v1.0", headers={"X-Auth-User": f"{user.account}:{user.user}", "X-Auth-Key": user.key})
            assert reply.status == 200, reply
            self.token = reply.headers["x-auth-token"]

    def at(self, account: str) -> "Swift":
        """The same user in another account."""
        made = Swift(self.running, None, account=account)
        made.token = self.token
        return made

    def path(self, name: str = "") -> str:
        return f"/v1/AUTH_{quote(self.account)}" + (f"/{quote(name)}" if name else "")

    def raw(self, method: str, target: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.running.port, timeout=20)
        try:
            connection.request(method, target, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            return Reply(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())
        finally:
            connection.close()

    def __call__(self, method: str, name: str = "", body: bytes | None = None, query: str = "", **headers: str) -> Reply:
        """A request; headers as keyword arguments with underscores."""
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if self.token:
            sent.setdefault("X-Auth-Token", self.token)
        if body is None and method in ("PUT", "POST"):
            sent.setdefault("Content-Length", "0")
        return self.raw(method, self.path(name) + (f"?{query}" if query else ""), body, sent)


@contextmanager
def swift_serving(
    *, settings: SwiftSettings | None = None, classes: Mapping[str, str] | None = None, users: tuple[SwiftUser, ...] = (),
    sync: SyncSettings | None = None, realms: Realms | None = None,
) -> Iterator[Running]:  # fmt: skip
    """Both fronts over one object model; `classes`: storage class -> policy, each of which has a cluster in memory too."""
    made: dict[str, Any] = {}

    def build() -> Any:
        clock, rng = SystemClock(), SystemRng()
        world = memory_world(clock)  # type: ignore[arg-type] # any Clock does
        credentials = Credentials((S3_USER,))
        objects = ObjectSettings(bucket_cache_s=0.02, storage_classes=classes or {})
        default = MemoryCluster(clock=clock)  # type: ignore[arg-type] # any Clock does
        made["rings"] = {policy: MemoryCluster(clock=clock) for policy in objects.storage_classes.values()}  # type: ignore[arg-type] # as above
        cluster = PolicyClusters(default, made["rings"]) if classes else default
        store = made["store"] = ObjectStore(cluster, world, objects, local_keys(world))  # type: ignore[arg-type] # as above
        s3 = S3App(store, credentials, clock, S3Settings(domains=("s3.test",), website_domains=("web.test",)), rng=rng)
        auth = SwiftAuth((TESTER, MEMBER, OTHER, RESELLER, SERVICE, *users), (S3_USER,), credentials, bytes(32), rng, clock)
        front = SwiftFront(
            store,
            auth,
            settings or SwiftSettings(),
            clock,
            rng,
            policies=first_classes(objects),
            sync=sync or SyncSettings(),
            realms=realms or {},
        )
        return SwiftApp(front, s3, s3.names_bucket)

    with serving(build) as running:
        running.store = made["store"]
        running.rings = made["rings"]
        yield running
