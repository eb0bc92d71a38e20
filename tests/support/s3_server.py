"""The S3 front over real sockets and the real object model on a cluster in memory, for clients in the same process."""

import asyncio
import datetime
import ipaddress
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import uvicorn
import uvloop
from botocore.config import Config
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from objstore.fronts.http import HttpLimits, uvicorn_config
from objstore.fronts.s3.app import S3App
from objstore.fronts.s3.settings import S3Settings
from objstore.identity.logic import Credentials
from objstore.identity.model import User
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.clock import SystemClock
from objstore.runtime.rng import SystemRng
from objstore.runtime.tasks import ThreadPool
from tests.support.memory_cluster import MemoryCluster, memory_world
from tests.support.store_rig import local_keys

ALICE = User(account="alice", name="alice", access_key="AKALICE", secret_key="alice-secret")
BOB = User(account="bob", name="bob", access_key="AKBOB", secret_key="bob-secret")
EVE = User(account="eve", name="eve", access_key="AKEVE", secret_key="eve-secret", tenant="other")


def make_certificate(directory: Path) -> tuple[str, str]:
    """(certificate file, key file) of a self-signed certificate for localhost and 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "certificate.pem", directory / "key.pem"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return str(certificate_file), str(key_file)


@dataclass
class Running:
    """A server that runs."""

    port: int
    scheme: str
    app: Any
    ca: str | None = None
    clients: list[Any] = field(default_factory=list)
    store: Any = None
    rings: Any = None  # clusters of further storage policies, by name
    loop: Any = None
    connections: set[Any] = field(default_factory=set)  # that are open, as the server counts them

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"

    def client(self, user: User = ALICE, *, region: str = "us-east-1", **config: Any) -> Any:
        """A boto3 client; one attempt a call, so that tests see what the server says."""
        s3 = config.pop("s3", {"addressing_style": "path"})
        client = boto3.client(
            "s3",
            endpoint_url=self.url,
            aws_access_key_id=user.access_key,
            aws_secret_access_key=user.secret_key,
            region_name=region,
            verify=self.ca,
            config=Config(retries={"max_attempts": 1, "mode": "standard"}, s3=s3, max_pool_connections=20, **config),
        )
        self.clients.append(client)
        return client


@contextmanager
def serving(
    app_of: Callable[[], Any], *, tls: tuple[str, str] | None = None, limits: HttpLimits | None = None, websockets: bool = False
) -> Iterator[Running]:
    """Serve an application made on the server's own loop, in a thread, on a free port."""
    started = threading.Event()
    state: dict[str, Any] = {}

    async def main() -> None:
        app = app_of()
        certificate, key = tls or (None, None)
        config = uvicorn_config(app, certificate_file=certificate, key_file=key, limits=limits, websockets=websockets)
        server = uvicorn.Server(config)
        state.update(app=app, server=server, loop=asyncio.get_running_loop())

        async def watch() -> None:
            while not server.started:
                await asyncio.sleep(0.005)
            state["port"] = server.servers[0].sockets[0].getsockname()[1]
            started.set()

        watcher = asyncio.ensure_future(watch())
        await server._serve()
        await watcher
        closing = getattr(app, "aclose", None)
        if closing is not None:
            await closing()

    def run() -> None:
        try:
            uvloop.run(main())
        except BaseException as failure:
            state["failure"] = failure
            raise
        finally:
            started.set()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert started.wait(10)
    assert "failure" not in state, state["failure"]
    running = Running(state["port"], "https" if tls else "http", state["app"], tls[0] if tls else None, loop=state["loop"])
    running.connections = state["server"].server_state.connections
    try:
        yield running
    finally:
        for client in running.clients:
            client.close()
        state["server"].should_exit = True
        thread.join(15)
        assert not thread.is_alive()


@contextmanager
def s3_serving(
    *,
    settings: S3Settings | None = None,
    users: tuple[User, ...] = (ALICE, BOB, EVE),
    tls: tuple[str, str] | None = None,
    limits: HttpLimits | None = None,
    store_settings: ObjectSettings | None = None,
    credentials: Credentials | None = None,
    **options: Any,
) -> Iterator[Running]:
    """The S3 front over the object model; `options` are S3App's."""
    threads = ThreadPool("test", 2)
    made: dict[str, Any] = {}

    def build() -> S3App:
        clock = SystemClock()
        world = memory_world(clock)  # type: ignore[arg-type] # any Clock does
        chosen = store_settings or ObjectSettings(bucket_cache_s=0.02)
        made["store"] = ObjectStore(MemoryCluster(clock=clock), world, chosen, local_keys(world))  # type: ignore[arg-type] # any Clock does
        return S3App(
            made["store"], credentials or Credentials(users), clock, settings or S3Settings(), rng=SystemRng(), threads=threads, **options
        )

    with serving(build, tls=tls, limits=limits) as running:
        running.store = made["store"]
        yield running
    threads.close()
