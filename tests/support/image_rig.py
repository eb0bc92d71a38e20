"""The image service over a cluster and a database in memory, asked in the same process, with users of two projects.

With OBJSTORE_TEST_DATABASE set to the URL of an empty PostgreSQL database the same tests run on that, in real time
(tests/conformance/test_services_on_postgresql.py does it).
"""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from objstore.identity.bearer import Bearer
from objstore.identity.model import User
from objstore.identity.registry import Registry
from objstore.identity.tenancy import RECORD_VERSION, Grant, Person, Project, Role, built_in, fixed_id
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.sql import MEMORY, Sql, open_sql
from objstore.services.image.app import ImageApp
from objstore.services.image.service import ImageService
from objstore.services.image.settings import ImageSettings
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world, run

DATABASE = os.environ.get("OBJSTORE_TEST_DATABASE", MEMORY)
CLUSTER_KEY = bytes(range(32))
ADMIN, ALICE, BOB, READER = "admin", "alice", "bob", "reader"
PROJECTS = {ADMIN: "admin", ALICE: "a" * 32, BOB: "b" * 32, READER: "a" * 32}
OCTETS = {"content-type": "application/octet-stream"}
PATCH = {"content-type": "application/openstack-images-v2.1-json-patch"}
URL = "http://image.test/image"


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
    def message(self) -> str:
        return str(self.body["message"])


class Broken(Exception):
    """The client goes away."""


async def fresh(sql: Sql) -> None:
    """No tables: what another test left on a real server goes, whichever service it was of."""

    def work(connection: Connection) -> None:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))

    if DATABASE != MEMORY:
        await sql.write(work)


def run_rig(main: Any) -> Any:
    """On virtual time, or in real time where there is a real server."""
    return run(main) if DATABASE == MEMORY else asyncio.run(main)


class ImageRig:
    """One process of the service."""

    def __init__(self, **settings: Any) -> None:
        self.cluster = MemoryCluster()
        self.clock = LoopClock()
        self.world = memory_world(self.clock)
        self.store = ObjectStore(self.cluster, self.world, ObjectSettings(min_part_bytes=1000))
        self.registry = Registry(
            self.cluster, self.world, CLUSTER_KEY, [*built_in([User("admin", "admin", "AK", "s", admin=True)]), *_people()]
        )
        self.sql = open_sql(DATABASE, self.world)
        self.service = ImageService(self.sql, self.store, self.world, ImageSettings(**settings), "here")
        self.app = ImageApp(self.service, self.registry, URL)
        self._tokens: dict[str, str] = {}

    async def start(self) -> None:
        await fresh(self.sql)
        await self.registry.start()
        await self.store.start()
        await self.app.start()

    async def aclose(self) -> None:
        await self.app.aclose()
        await self.registry.aclose()
        await self.store.aclose()
        await self.sql.aclose()

    def token(self, name: str, scope: str | None = None) -> str:
        """A token of one of the people."""
        now_us = self.clock.wall_us()
        id_ = _person(name) if name != ADMIN else next(p.id for p in self.registry.all(Person) if p.name == "admin")
        scope = f"p:{PROJECTS[name]}" if scope is None else scope
        return self.registry.bearers.seal(
            Bearer(1, id_, ("password",), scope, now_us, now_us + 3_600_000_000, (self.world.rng.token(8).hex(),))
        )

    async def ask(
        self, method: str, path: str, body: Any = None, *, who: str = ALICE, headers: dict[str, str] | None = None, prefix: str = "/image",
        pieces: list[bytes] | None = None, breaks: bool = False, token: str | None = None,
    ) -> Reply:  # fmt: skip
        """One request; bytes are sent as they are, `pieces` without an announced length; with `breaks` the client goes before the end."""
        await asyncio.sleep(0.00001)  # requests are never of one microsecond
        target, _, query = path.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        given = {"x-auth-token": self.token(who) if token is None else token, **(headers or {})}
        if pieces is None:
            given.setdefault("content-length", str(len(data)))
            waiting = [data]
        else:
            given["transfer-encoding"] = "chunked"
            waiting = list(pieces)
        scope = {
            "type": "http", "method": method, "path": prefix + target, "raw_path": (prefix + target).encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> Any:
            await asyncio.sleep(0)
            if not waiting:
                return {"type": "http.disconnect"}
            piece = waiting.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(waiting) or breaks}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        headers_out = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], headers_out, b"".join(message.get("body", b"") for message in sent[1:]))

    async def made(self, who: str = ALICE, **fields: Any) -> str:
        """The id of a new image."""
        reply = await self.ask("POST", "/v2/images", {"name": "i", "disk_format": "raw", "container_format": "bare", **fields}, who=who)
        assert reply.status == 201, reply.raw
        return str(reply.body["id"])

    async def upload(self, id_: str, data: bytes, who: str = ALICE, **rest: Any) -> Reply:
        return await self.ask("PUT", f"/v2/images/{id_}/file", data, who=who, headers=OCTETS, **rest)

    async def active(self, data: bytes = b"bytes of an image", who: str = ALICE, **fields: Any) -> str:
        """The id of a new image with bytes."""
        id_ = await self.made(who, **fields)
        assert (await self.upload(id_, data, who)).status == 204
        return id_

    async def show(self, id_: str, who: str = ALICE) -> Any:
        reply = await self.ask("GET", f"/v2/images/{id_}", who=who)
        assert reply.status == 200, reply.raw
        return reply.body

    async def listed(self, query: str = "", who: str = ALICE) -> list[str]:
        """Names of a list."""
        reply = await self.ask("GET", f"/v2/images{query}", who=who)
        assert reply.status == 200, reply.raw
        return [image["name"] for image in reply.body["images"]]

    async def patch(self, id_: str, *operations: Any, who: str = ALICE) -> Reply:
        return await self.ask("PATCH", f"/v2/images/{id_}", list(operations), who=who, headers=PATCH)

    async def until(self, id_: str, status: str) -> Any:
        """The image once it has this state."""
        for _ in range(500):
            image = await self.show(id_)
            if image["status"] == status:
                return image
            await asyncio.sleep(0.01)
        raise AssertionError(f"still {image['status']}")

    async def objects(self) -> list[str]:
        """Objects of the service's bucket."""
        return [id_ async for id_ in self.service.bodies.ids(before_us=2**62)]

    async def settled(self) -> list[str]:
        """The same once all jobs are done."""
        for _ in range(500):
            count = await self.sql.read(lambda connection: connection.execute(text("SELECT count(*) FROM jobs")).scalar_one())
            if not count:
                break
            await asyncio.sleep(0.01)
        return await self.objects()


async def slow(pieces: list[bytes], wait: Callable[[], Awaitable[None]]) -> AsyncIterator[bytes]:
    """Pieces, something happening before each but the first."""
    for number, piece in enumerate(pieces):
        if number:
            await wait()
        yield piece


def _person(name: str) -> str:
    return fixed_id("test", name)


def _people() -> list[Any]:
    roles = {role.name: role.id for role in built_in([]) if isinstance(role, Role)}
    found: list[Any] = [Project(RECORD_VERSION, PROJECTS[name], name, "default") for name in (ALICE, BOB)]
    for name, role in ((ALICE, "member"), (BOB, "member"), (READER, "reader")):
        found.append(Person(RECORD_VERSION, _person(name), name, "default"))
        target = f"p:{PROJECTS[name]}"
        found.append(Grant(RECORD_VERSION, fixed_id("grant", name), actor=f"u:{_person(name)}", target=target, roles=(roles[role],)))
    return found


def on_image_rig(test: Callable[[ImageRig], Awaitable[None]], **settings: Any) -> None:
    """Run a test on a rig of its own."""

    async def main() -> None:
        rig = ImageRig(**settings)
        await rig.start()
        try:
            await test(rig)
        finally:
            await rig.aclose()

    run_rig(main())
