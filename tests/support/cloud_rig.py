"""The compute service without agents, asked in the same process, with users of two projects; hosts are what the test reports."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from objstore.identity.bearer import Bearer
from objstore.identity.model import User
from objstore.identity.registry import Registry
from objstore.identity.tenancy import Person, built_in
from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.runtime.sql import open_sql
from objstore.services.calls.call import Call
from objstore.services.compute import records
from objstore.services.compute.agent_api import Report
from objstore.services.compute.app import ComputeApp
from objstore.services.compute.desks import Flavor
from objstore.services.compute.neighbours import Neighbour
from objstore.services.compute.records import Server
from objstore.services.compute.service import Below, ComputeService
from objstore.services.compute.settings import ComputeSettings
from objstore.services.image.app import ImageApp
from objstore.services.image.service import ImageService
from objstore.services.image.settings import ImageSettings
from objstore.services.network.app import NetworkApp
from objstore.services.network.desk import NetworkDesk
from objstore.services.network.service import NetworkService
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.wanted import WantedHost
from tests.support.image_rig import ADMIN, ALICE, CLUSTER_KEY, DATABASE, PROJECTS, Reply, _people, _person, fresh, run_rig
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world

URL = "http://compute.test/compute"
SECRET = "5" * 64


class Networks:
    """What hosts told of their ports, and what they are told."""

    def __init__(self) -> None:
        self.up: dict[str, tuple[str, ...]] = {}
        self.seen: dict[str, tuple[str, str, bool]] = {}
        self.number = 7

    async def revision(self) -> int:
        return self.number

    async def wanted(self, host: str) -> WantedHost:
        return WantedHost(self.number, peers=((host, "here"),))

    async def host_seen(self, host: str, *, tunnel_address: str = "", driver: str = "", up: bool = True) -> None:
        self.seen[host] = (tunnel_address, driver, up)

    async def ports_are_up(self, host: str, ids: Sequence[str]) -> Sequence[str]:
        self.up[host] = tuple(ids)
        return ()


class CloudRig:
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
        self.networks = Networks()
        self.images = ImageService(self.sql, self.store, self.world, ImageSettings(), "here")
        network = NetworkService(self.sql, self.world, NetworkSettings())
        self.network_app = NetworkApp(network, NetworkDesk(network), self.registry, "http://compute.test/network")
        self.image_app = ImageApp(self.images, self.registry, "http://compute.test/image")
        below = Below(self.images, None, None, self.networks, None, {"image": self.image_app, "network": self.network_app})
        self.service = ComputeService(self.sql, self.world, ComputeSettings(**settings), below, self.registry, SECRET, URL)
        self.app = ComputeApp(self.service)

    async def start(self) -> None:
        await fresh(self.sql)
        await self.registry.start()
        await self.store.start()
        await self.image_app.start()
        await self.network_app.start()
        await self.app.start()

    async def aclose(self) -> None:
        await self.app.aclose()
        await self.image_app.aclose()
        await self.registry.aclose()
        await self.store.aclose()
        await self.sql.aclose()

    def user_id(self, name: str) -> str:
        return _person(name) if name != ADMIN else next(person.id for person in self.registry.all(Person) if person.name == "admin")

    def token(self, name: str) -> str:
        now_us = self.clock.wall_us()
        life = (now_us, now_us + 3_600_000_000, (self.world.rng.token(8).hex(),))
        return self.registry.bearers.seal(Bearer(1, self.user_id(name), ("password",), f"p:{PROJECTS[name]}", *life))

    async def ask(
        self, method: str, path: str, body: Any = None, *, who: str = ALICE, version: str = "", headers: dict[str, str] | None = None,
        prefix: str = "/compute/v2.1",
    ) -> Reply:  # fmt: skip
        """One request; bytes are sent as they are."""
        await asyncio.sleep(0.00001)  # requests are never of one microsecond
        target, _, query = path.partition("?")
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        given = {"x-auth-token": self.token(who) if who else "", "content-type": "application/json", "content-length": str(len(data))}
        if version:
            given["openstack-api-version"] = f"compute {version}"
        given |= headers or {}
        scope = {
            "type": "http", "method": method, "path": prefix + target, "raw_path": (prefix + target).encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
        }  # fmt: skip
        waiting, sent = [data], list[Any]()

        async def receive() -> Any:
            await asyncio.sleep(0)
            return {"type": "http.request", "body": waiting.pop(0), "more_body": False} if waiting else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        headers_out = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], headers_out, b"".join(message.get("body", b"") for message in sent[1:]))

    async def network(self, method: str, *path: str, body: Any = None, who: str = ALICE, query: Sequence[tuple[str, str]] = ()) -> Any:
        """Ask the network service itself."""
        call = Call("GET", "", {}, (), {"x-auth-token": self.token(who)}, None, None, "", "")  # type: ignore[arg-type] # the token alone is asked for
        return await Neighbour(self.network_app, "network").ask(call, method, ("v2.0", *path), body, query=query)

    async def image(self, name: str, data: bytes = b"x", **fields: Any) -> str:
        """An image with bytes, of ALICE's project."""
        made = {"name": name, "disk_format": "raw", "container_format": "bare", **fields}
        neighbour = Neighbour(self.image_app, "image")
        call = Call("GET", "", {}, (), {"x-auth-token": self.token(ALICE)}, None, None, "", "")  # type: ignore[arg-type] # the token alone is asked for
        id_ = str((await neighbour.ask(call, "POST", ("v2", "images"), made))["id"])
        if data:
            await neighbour.ask(call, "PUT", ("v2", "images", id_, "file"), msgspec.Raw(data), content_type="application/octet-stream")
        return id_

    async def add_server(self, id_: str, **values: Any) -> None:
        """A server as a row, of ALICE's project."""
        flavor = msgspec.json.encode(Flavor("1", "tiny", 1, 512, 1)).decode()
        now_us = self.clock.wall_us()
        fields: dict[str, Any] = {
            "project": PROJECTS[ALICE], "user_id": self.user_id(ALICE), "name": f"name of {id_}", "vm_state": "active", "created_us": now_us,
            "updated_us": now_us, "flavor": "1", "flavor_document": flavor, "vcpus": 1, "memory_mb": 512, "launched_us": now_us,
        }  # fmt: skip
        server = Server(id_, **{**fields, **values})
        await self.sql.write(lambda connection: records.add(connection, server))

    async def report(self, host: str = "h1", **rest: Any) -> Reply:
        """What an agent says."""
        fields = {"vcpus": 4, "memory_mb": 8192, "disk_gb": 100, "boot_id": "b1", **rest}
        report = Report(host, f"http://127.0.0.1:{21500 + len(host)}", **fields)
        return await self.tell(report)

    async def tell(self, report: Any, secret: str = SECRET) -> Reply:
        headers = {"authorization": f"Bearer {secret}"}
        return await self.ask("POST", "/agents/v1/report", report, who="", headers=headers, prefix="/compute")


def on_cloud_rig(test: Callable[[CloudRig], Awaitable[None]], **settings: Any) -> None:
    """Run a test on a rig of its own."""

    async def main() -> None:
        rig = CloudRig(**settings)
        await rig.start()
        try:
            await test(rig)
        finally:
            await rig.aclose()

    run_rig(main())
