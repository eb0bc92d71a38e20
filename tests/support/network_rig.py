"""The network service over a database in memory, asked in the same process.

With OBJSTORE_TEST_DATABASE set to the URL of an empty PostgreSQL database the same tests run on that.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection, text

from objstore.runtime.sql import open_sql
from objstore.services.network.addresses import automatic, chosen
from objstore.services.network.desk import NetworkDesk
from objstore.services.network.records import Row, Tx, Who, add, new_number
from objstore.services.network.rights import SHARED
from objstore.services.network.service import SYSTEM, NetworkService
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import NETWORKS, RBAC, ROUTERS, SUBNETS, TABLES
from tests.support.image_rig import DATABASE, run_rig
from tests.support.memory_cluster import LoopClock, memory_world

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
