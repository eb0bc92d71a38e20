"""The identity service over a cluster in memory, asked in the same process."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from objstore.fronts.identity.app import IdentityApp
from objstore.fronts.identity.call import Identity
from objstore.fronts.identity.settings import IdentitySettings
from objstore.identity.model import User
from objstore.identity.passcodes import Passcodes
from objstore.identity.passwords import Passwords, hash_password
from objstore.identity.registry import Registry
from objstore.identity.tenancy import Place, built_in
from objstore.runtime.rng import SystemRng
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world, run

CLUSTER_KEY = bytes(range(32))
PASSWORD = "correct horse"
MEMORY_KIB = 64
ROOT = User("admin", "admin", "AKROOT", "root-secret", admin=True)
ACME = User("acme", "joe", "AKJOE", "joe-secret")
URL = "http://identity.test:5000/identity"
_HASH = hash_password(PASSWORD, SystemRng(), memory_kib=MEMORY_KIB)


@dataclass
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> Any:
        return msgspec.json.decode(self.raw) if self.raw else None

    @property
    def token(self) -> str:
        return self.headers["x-subject-token"]

    @property
    def message(self) -> str:
        return str(self.body["error"]["message"])


class Rig:
    """One process of the service; several may share the registers of a cluster."""

    def __init__(self, cluster: MemoryCluster | None = None, **settings: Any) -> None:
        self.cluster = cluster or MemoryCluster()
        self.clock = LoopClock()
        world = memory_world(self.clock)
        self.settings = IdentitySettings(hash_memory_kib=MEMORY_KIB, **settings)
        catalog = [Place("identity", "keystone", f"{URL}/v3"), Place("object-store", "swift", "http://s3.test/v1/AUTH_$(project_id)s")]
        below = built_in([ROOT, ACME], region="here", catalog=catalog, passwords={"admin/admin": _HASH, "acme/joe": _HASH})
        self.registry = Registry(self.cluster, world, CLUSTER_KEY, below)
        self.passwords = Passwords(
            world.clock, world.rng, world.new_threads("", 1), failures=self.settings.lockout_failures, lock_s=self.settings.lockout_s,
            memory_kib=MEMORY_KIB,
        )  # fmt: skip
        self.app = IdentityApp(Identity(self.registry, self.passwords, self.settings, URL, Passcodes(self.clock)))

    async def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        token: str = "",
        headers: dict[str, str] | None = None,
        prefix: str = "/identity/v3",
    ) -> Reply:
        """One request; `body` is sent as it is when it is bytes."""
        await asyncio.sleep(0.00001)  # requests are never of one microsecond
        target, _, query = path.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        given = {**({"x-auth-token": token} if token else {}), **(headers or {})}
        scope = {
            "type": "http", "method": method, "path": prefix + target, "raw_path": (prefix + target).encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        headers_out = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], headers_out, b"".join(message["body"] for message in sent[1:]))

    async def login(
        self, user: str = "admin", password: str = PASSWORD, *, scope: Any = None, domain: str = "default", project: str | None = None
    ) -> Reply:
        """A token by password; `project` is an id."""
        identity = {"methods": ["password"], "password": {"user": {"name": user, "domain": {"id": domain}, "password": password}}}
        auth: dict[str, Any] = {"identity": identity}
        if project is not None:
            scope = {"project": {"id": project}}
        if scope is not None:
            auth["scope"] = scope
        return await self.ask("POST", "/auth/tokens", {"auth": auth})

    async def admin(self, scope: Any = None) -> str:
        """A token of the administrator."""
        reply = await self.login(scope=scope)
        assert reply.status == 201, reply.raw
        return reply.token

    async def made(self, token: str, path: str, kind: str, /, **fields: Any) -> Any:
        """What a POST made."""
        reply = await self.ask("POST", path, {kind: fields}, token=token)
        assert reply.status == 201, reply.raw
        return reply.body[kind]


def on_rig(test: Callable[[Rig], Awaitable[None]], **settings: Any) -> None:
    """Run a test on a rig of its own, on virtual time."""

    async def main() -> None:
        rig = Rig(**settings)
        await test(rig)
        await rig.registry.aclose()

    run(main())
