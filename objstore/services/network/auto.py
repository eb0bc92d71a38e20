"""A network for a project that has none: a subnet of each default pool, and a router to the default external network."""

from typing import Any

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.network import networks, router_interfaces, routers, subnets
from objstore.services.network.kinds import parse_new
from objstore.services.network.problems import NetworkRefused, denied
from objstore.services.network.records import Row, Tx, Who, get, rows
from objstore.services.network.resources import V2
from objstore.services.network.service import NetworkService
from objstore.services.network.subnets import delete_subnet
from objstore.services.network.tables import NETWORKS, POOLS, PORTS, ROUTERS, SUBNETS

NAME, ROUTER_NAME = "auto_allocated_network", "auto_allocated_router"


class AutoCalls:
    """The handlers."""

    def __init__(self, service: NetworkService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = f"{V2}/auto-allocated-topology/{{project}}"
        return {("GET", one): self.show, ("DELETE", one): self.remove}

    async def show(self, call: Call) -> Answer:
        """The network, which is made where it is missing; with `fields=dry-run` only whether it could be."""
        call.check_read()
        project = self._project(call)
        if call.first("fields") == "dry-run":
            await self._service.read(Who(project), _needed)
            return Answer(body={"auto_allocated_topology": {"id": "dry-run=pass", "tenant_id": project, "project_id": project}})
        call.check_write()
        id_ = await self._service.write(Who(project), topology)
        return Answer(body={"auto_allocated_topology": {"id": id_, "tenant_id": project, "project_id": project}})

    async def remove(self, call: Call) -> Answer:
        """Remove network and router.  Raises 404, 409 where they are in use."""
        call.check_write()
        project = self._project(call)
        await self._service.write(Who(project), remove_topology)
        return Answer(204)

    @staticmethod
    def _project(call: Call) -> str:
        project = call.parameters["project"]
        if project == "None":  # what clients write who mean their own
            project = call.project
        if not project or (project != call.project and not call.is_admin):
            raise denied("(rule:get_auto_allocated_topology) is disallowed by policy: the project is not yours")
        return project


def _needed(tx: Tx) -> tuple[Row, list[Row]]:
    outside = rows(tx, NETWORKS, NETWORKS.c.is_default.is_(True), NETWORKS.c.external.is_(True))
    pools = [pool for version in (4, 6) for pool in rows(tx, POOLS, POOLS.c.is_default.is_(True), POOLS.c.ip_version == version)]
    missing = "No default router:external network." if not outside else "No default pools available." if not pools else ""
    if missing:
        raise NetworkRefused(409, "AutoAllocationFailure", f"Deployment error: {missing}")
    return outside[0], pools


def _found(tx: Tx) -> tuple[Row | None, Row | None]:
    mine = rows(tx, NETWORKS, NETWORKS.c.project == tx.who.project, NETWORKS.c.name == NAME)
    router = rows(tx, ROUTERS, ROUTERS.c.project == tx.who.project, ROUTERS.c.name == ROUTER_NAME)
    return (mine[0] if mine else None), (router[0] if router else None)


def topology(tx: Tx) -> str:
    """The id of the caller's network, made where it is missing.  Raises 409."""
    network, router = _found(tx)
    if network is not None and router is not None:
        return str(network["id"])
    outside, pools = _needed(tx)
    network = network or networks.create(tx, parse_new(networks.KIND, {"name": NAME}, tx.who))
    given = {"name": ROUTER_NAME, "external_gateway_info": {"network_id": outside["id"]}}
    router = routers.create(tx, parse_new(routers.kind(tx.settings), given, tx.who))
    for pool in pools:
        asked: dict[str, Any] = {
            "name": f"auto_allocated_subnet_v{pool['ip_version']}", "network_id": network["id"], "ip_version": pool["ip_version"],
            "use_default_subnetpool": True,
        }  # fmt: skip
        if pool["ip_version"] == 6 and pool["default_prefixlen"] == 64:
            asked |= {"ipv6_address_mode": "slaac", "ipv6_ra_mode": "slaac"}
        subnet = subnets.create(tx, parse_new(subnets.kind(tx.settings), asked, tx.who))
        router_interfaces.add_interface(tx, router, {"subnet_id": subnet["id"]})
    return str(network["id"])


def remove_topology(tx: Tx) -> None:
    """Remove what was made.  Raises 404, 409."""
    network, router = _found(tx)
    if network is None:
        raise NetworkRefused(404, "AutoAllocatedTopologyNotFound", "There is no automatically allocated topology.")
    if router is not None:
        for port in rows(tx, PORTS, PORTS.c.device_id == router["id"], PORTS.c.network_id == network["id"]):
            router_interfaces.remove_interface(tx, router, {"port_id": port["id"]})
        again = get(tx, ROUTERS, router["id"])
        assert again is not None
        routers.delete_router(tx, again)
    for subnet in rows(tx, SUBNETS, SUBNETS.c.network_id == network["id"]):
        delete_subnet(tx, subnet)
    networks.delete_network(tx, network)
