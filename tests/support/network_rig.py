"""The network service over a database in memory, asked in the same process.

With OBJSTORE_TEST_DATABASE set to the URL of an empty PostgreSQL database the same tests run on that.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from objstore.identity.bearer import Bearer
from objstore.identity.model import User
from objstore.identity.registry import Registry
from objstore.identity.tenancy import Person, built_in
from objstore.runtime.sql import open_sql
from objstore.services.network.addresses import automatic, chosen
from objstore.services.network.app import NetworkApp
from objstore.services.network.desk import NetworkDesk
from objstore.services.network.records import Row, Tx, Who, add, new_number
from objstore.services.network.rights import SHARED
from objstore.services.network.service import SYSTEM, NetworkService
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import NETWORKS, RBAC, ROUTERS, SUBNETS, TABLES
from tests.support.image_rig import ADMIN, CLUSTER_KEY, DATABASE, PROJECTS, Reply, _people, _person, run_rig
from tests.support.memory_cluster import LoopClock, MemoryCluster, memory_world

ALICE, BOB = "a" * 32, "b" * 32
__all__ = ["ALICE", "BOB", "NetworkRig", "automatic", "chosen", "on_network_rig"]


class NetworkRig:
    """One process of the service, below its API."""

    def __init__(self, **settings: Any) -> None:
        self.clock = LoopClock()
        self.world = memory_world(self.clock)
        self.sql = open_sql(DATABASE, self.world)
        self.service = NetworkService(self.sql, self.world, NetworkSettings(**settings))
        self.desk = NetworkDesk(self.service)

    async def start(self) -> None:
        def work(connection: Connection) -> None:
            for table in (*TABLES.tables, "schema_steps"):
                connection.execute(text(f"DROP TABLE IF EXISTS {table}"))

        await self.sql.write(work)
        await self.service.start()

    async def aclose(self) -> None:
        await self.sql.aclose()

    async def write(self, work: Callable[[Tx], Any], who: Who = SYSTEM) -> Any:
        return await self.service.write(who, work)

    async def network(
        self, project: str = ALICE, *, cidr: str = "10.0.0.0/24", shared: bool = False, external: bool = False, **more: Any
    ) -> tuple[str, str]:
        """(id of a network, id of its subnet)."""

        def work(tx: Tx) -> tuple[str, str]:
            id_ = tx.uuid()
            number = new_number(tx, id_)
            add(
                tx, NETWORKS,
                {
                    "id": id_, "project": project, "name": "net", "admin_state_up": True, "external": external, "is_default": False, "mtu": 1450,
                    "port_security_enabled": True, "dns_domain": "", "number": number, "network_type": "vxlan", "physical_network": None, "hints": [],
                },
            )  # fmt: skip
            if shared:
                add(tx, RBAC, {"project": project, "object_type": "network", "object_id": id_, "action": SHARED, "target": "*"})
            return id_, subnet_row(tx, id_, project, cidr, **more)["id"]

        return await self.write(work)

    async def router(self, project: str = ALICE) -> str:
        def work(tx: Tx) -> str:
            id_ = tx.uuid()
            add(
                tx, ROUTERS,
                {
                    "id": id_, "project": project, "name": "r", "admin_state_up": True, "number": new_number(tx, id_), "gateway_port": None,
                    "gateway_network": None, "enable_snat": True, "routes": [], "hints": [], "host": "",
                },
            )  # fmt: skip
            return id_

        return await self.write(work)


class NetworkApi(NetworkRig):
    """The service with its API, and people of two projects: alice, bob, and reader, who looks at what is alice's."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.registry = Registry(
            MemoryCluster(), self.world, CLUSTER_KEY, [*built_in([User("admin", "admin", "AK", "s", admin=True)]), *_people()]
        )
        self.app = NetworkApp(self.service, self.desk, self.registry, "http://network.test/network")

    async def start(self) -> None:
        await super().start()
        await self.registry.start()

    async def aclose(self) -> None:
        await self.registry.aclose()
        await super().aclose()

    def token(self, name: str) -> str:
        now_us = self.clock.wall_us()
        id_ = _person(name) if name != ADMIN else next(p.id for p in self.registry.all(Person) if p.name == "admin")
        return self.registry.bearers.seal(
            Bearer(1, id_, ("password",), f"p:{PROJECTS[name]}", now_us, now_us + 3_600_000_000, (self.world.rng.token(8).hex(),))
        )

    async def ask(self, method: str, path: str, body: Any = None, *, who: str = "alice", **headers: str) -> Reply:
        """One request below /network/v2.0; bytes are sent as they are."""
        await asyncio.sleep(0.00001)
        target, _, query = path.partition("?")
        if not target.startswith("//"):
            target = "/v2.0" + target
        data = body if isinstance(body, bytes) else b"" if body is None else msgspec.json.encode(body)
        given = {"x-auth-token": self.token(who) if who else "", "content-length": str(len(data))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        whole = "/network" + target.removeprefix("/") if target.startswith("//") else "/network" + target
        scope = {
            "type": "http", "method": method, "path": whole, "raw_path": whole.encode(), "query_string": query.encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        headers_out = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], headers_out, b"".join(message.get("body", b"") for message in sent[1:]))

    async def made(self, path: str, kind: str, who: str = "alice", /, **fields: Any) -> Any:
        """A new thing."""
        reply = await self.ask("POST", f"/{path}", {kind: fields}, who=who)
        assert reply.status == 201, reply.raw
        return reply.body[kind]

    async def plain(self, who: str = "alice", cidr: str = "10.0.0.0/24", /, **fields: Any) -> tuple[Any, Any]:
        """A network and its subnet."""
        network = await self.made("networks", "network", who, **{"name": "net", **fields})
        subnet = await self.made("subnets", "subnet", who, network_id=network["id"], cidr=cidr, ip_version=6 if ":" in cidr else 4)
        return network, subnet

    async def outside(self, cidr: str = "203.0.113.0/24", /, **fields: Any) -> tuple[Any, Any]:
        """An external network, and its subnet."""
        return await self.plain("admin", cidr, **{"router:external": True, **fields})

    async def refused(self, method: str, path: str, body: Any = None, *, who: str = "alice", **headers: str) -> tuple[int, str]:
        """Status and name of a refusal."""
        reply = await self.ask(method, path, body, who=who, **headers)
        assert reply.status >= 400, reply.raw
        return reply.status, reply.body["NeutronError"]["type"]


def on_network_api(test: Callable[[NetworkApi], Awaitable[None]], **settings: Any) -> None:
    """Run a test on an API of its own."""

    async def main() -> None:
        rig = NetworkApi(**settings)
        await rig.start()
        try:
            await test(rig)
        finally:
            await rig.aclose()

    run_rig(main())


def subnet_row(tx: Tx, network: str, project: str, cidr: str, **more: Any) -> Row:
    from ipaddress import ip_network

    from objstore.services.network.ipam import default_gateway, default_pools

    net = ip_network(cidr)
    gateway = default_gateway(net)
    return add(
        tx, SUBNETS,
        {
            "project": project, "network_id": network, "ip_version": net.version, "cidr": cidr, "gateway_ip": gateway, "enable_dhcp": True,
            "allocation_pools": default_pools(net, gateway), "dns_nameservers": [], "host_routes": [], "ipv6_ra_mode": None, "ipv6_address_mode": None,
            "subnetpool_id": None, "service_types": [], **more,
        },
    )  # fmt: skip


def on_network_rig(test: Callable[[NetworkRig], Awaitable[None]], **settings: Any) -> None:
    """Run a test on a rig of its own."""

    async def main() -> None:
        rig = NetworkRig(**settings)
        await rig.start()
        try:
            await test(rig)
        finally:
            await rig.aclose()

    run_rig(main())
