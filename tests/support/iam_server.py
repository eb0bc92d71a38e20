"""S3, IAM and STS on one endpoint over a cluster in memory, for clients in the same process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config

from objstore.fronts.iam.app import QueryCalls
from objstore.fronts.s3.app import S3App
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.directory import Directory
from objstore.identity.entities import WebProvider
from objstore.identity.model import User
from objstore.identity.tokens import TokenSealer
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from objstore.runtime.tasks import ThreadPool
from tests.support.memory_cluster import MemoryCluster, memory_world
from tests.support.s3_server import ALICE, BOB, EVE, Running, serving

ROOT = User(account="admin", name="admin", access_key="AKADMIN", secret_key="admin-secret", admin=True)
CLUSTER_KEY = bytes(range(32))


class Proxy:
    """The application with what it is made of."""

    def __init__(self, app: S3App, directory: Directory) -> None:
        self.app = app
        self.directory = directory
        self.started = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self.started:
            self.started = True
            await self.directory.start()
        await self.app(scope, receive, send)

    async def aclose(self) -> None:
        await self.app.aclose()
        await self.directory.aclose()


def build_proxy(
    cluster: Any, *, users: tuple[User, ...], providers: tuple[WebProvider, ...], threads: Any, settings: S3Settings
) -> tuple[Proxy, ObjectStore]:
    clock = SystemClock()
    world = memory_world(clock)  # type: ignore[arg-type] # any Clock does
    store = ObjectStore(cluster, world, ObjectSettings(bucket_cache_s=0.02))
    directory = Directory(users, cluster, world, TokenSealer(CLUSTER_KEY, SystemRng()), providers)
    calls = QueryCalls(directory, clock)
    return Proxy(S3App(store, directory, clock, settings, rng=SystemRng(), threads=threads, calls=calls), directory), store


@contextmanager
def iam_serving(
    *,
    users: tuple[User, ...] = (ALICE, BOB, EVE, ROOT),
    providers: tuple[WebProvider, ...] = (),
    tls: tuple[str, str] | None = None,
    cluster: Any = None,
    settings: S3Settings | None = None,
) -> Iterator[Running]:
    """A proxy on its own port; several may share a cluster."""
    threads = ThreadPool("test", 2)
    made: dict[str, Any] = {}

    def build() -> Proxy:
        shared = cluster or MemoryCluster(clock=SystemClock())  # type: ignore[arg-type] # any Clock does
        proxy, made["store"] = build_proxy(shared, users=users, providers=providers, threads=threads, settings=settings or S3Settings())
        return proxy

    with serving(build, tls=tls) as running:
        running.store = made["store"]
        yield running
    threads.close()


def service(server: Running, name: str, keys: User | dict[str, str] = ALICE, **config: Any) -> Any:
    """A boto3 client of any service; `keys` may be what STS or CreateAccessKey gave."""
    found = {"AccessKeyId": keys.access_key, "SecretAccessKey": keys.secret_key} if isinstance(keys, User) else keys
    extra = {"s3": {"addressing_style": "path"}} if name == "s3" else {}
    client = boto3.client(
        name,
        endpoint_url=server.url,
        aws_access_key_id=found["AccessKeyId"],
        aws_secret_access_key=found["SecretAccessKey"],
        aws_session_token=found.get("SessionToken"),
        region_name="us-east-1",
        verify=server.ca,
        config=Config(retries={"max_attempts": 1, "mode": "standard"}, **{**extra, **config}),
    )
    server.clients.append(client)
    return client
