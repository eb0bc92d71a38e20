"""Calls that only tell: hosts, availability zones, providers, how many addresses are left."""

import hashlib
from ipaddress import ip_network
from typing import Any

from sqlalchemy import func, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.network import ipam, listing
from objstore.services.network.desk import HostSeen, NetworkDesk
from objstore.services.network.operations import time_text
from objstore.services.network.problems import NetworkRefused, shown
from objstore.services.network.records import Row, Tx, rows
from objstore.services.network.resources import V2, who_calls
from objstore.services.network.service import NetworkService
from objstore.services.network.tables import ADDRESSES, NETWORKS, SUBNETS

View = dict[str, Any]
AGENT = "Linux bridge agent"  # the kind that Neutron would call what hosts have
ALIVE_S = 75.0


class InfoCalls:
    """The handlers."""

    def __init__(self, service: NetworkService, desk: NetworkDesk) -> None:
        self._service = service
        self._desk = desk

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {
            ("GET", f"{V2}/agents"): self.agents, ("GET", f"{V2}/agents/{{id}}"): self.agent,
            ("GET", f"{V2}/availability_zones"): self.zones, ("GET", f"{V2}/service-providers"): self.providers,
            ("GET", f"{V2}/network-ip-availabilities"): self.availabilities,
            ("GET", f"{V2}/network-ip-availabilities/{{id}}"): self.availability,
        }  # fmt: skip

    # -- hosts --------------------------------------------------------------------------------------------------

    def _agents(self, call: Call) -> list[View]:
        call.check_read()
        if not call.is_admin:
            return []  # Neutron's answer to those whom hosts do not concern
        now_us = self._service.now_us()
        return [_agent(seen, now_us, self._service.settings.availability_zone) for seen in self._desk.hosts()]

    async def agents(self, call: Call) -> Answer:
        """Hosts as agents of Neutron's, those that match the query."""
        found = _matching(self._agents(call), call)
        return Answer(body={"agents": listing.narrowed(found, listing.fields_of(call))})

    async def agent(self, call: Call) -> Answer:
        """One of them."""
        for view in self._agents(call):
            if view["id"] == call.parameters["id"]:
                return Answer(body={"agent": view})
        raise NetworkRefused(404, "AgentNotFound", f"Agent {shown(call.parameters['id'])} could not be found.")

    # -- zones and providers ------------------------------------------------------------------------------------

    async def zones(self, call: Call) -> Answer:
        """There is one zone."""
        call.check_read()
        name = self._service.settings.availability_zone
        found = [{"name": name, "resource": resource, "state": "available"} for resource in ("network", "router")]
        return Answer(body={"availability_zones": _matching(found, call)})

    async def providers(self, call: Call) -> Answer:
        """Routers are made by one provider."""
        call.check_read()
        found = [{"service_type": "L3_ROUTER_NAT", "name": "single_node", "default": True}]
        return Answer(body={"service_providers": _matching(found, call)})

    # -- addresses that are left --------------------------------------------------------------------------------

    async def availabilities(self, call: Call) -> Answer:
        """Of all networks."""
        call.check_admin()
        version = call.first("ip_version")
        found = await self._service.read(who_calls(call), lambda tx: [_availability(tx, row, version) for row in rows(tx, NETWORKS)])
        shown_ones = _matching(found, call, skip=("ip_version",))
        return Answer(body={"network_ip_availabilities": listing.narrowed(shown_ones, listing.fields_of(call))})

    async def availability(self, call: Call) -> Answer:
        """Of one network."""
        call.check_admin()
        id_ = call.parameters["id"]

        def work(tx: Tx) -> View:
            found = rows(tx, NETWORKS, NETWORKS.c.id == id_)
            if not found:
                raise NetworkRefused(404, "NetworkNotFound", f"Network {shown(id_)} could not be found.")
            return _availability(tx, found[0], None)

        return Answer(body={"network_ip_availability": await self._service.read(who_calls(call), work)})


def agent_id(host: str) -> str:
    """A host's id as an agent: always the same for its name."""
    text = hashlib.sha256(b"network agent " + host.encode()).hexdigest()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:32]}"


def _agent(seen: HostSeen, now_us: int, zone: str) -> View:
    return {
        "id": agent_id(seen.host), "agent_type": AGENT, "binary": "objstore-agent", "topic": "N/A", "host": seen.host, "admin_state_up": True,
        "alive": seen.up and now_us - seen.heard_us < ALIVE_S * 1e6, "created_at": _time(seen.first_us), "started_at": _time(seen.first_us),
        "heartbeat_timestamp": _time(seen.heard_us), "description": None, "availability_zone": zone, "resources_synced": None,
        "configurations": {"driver": seen.driver, "tunneling_ip": seen.tunnel_address, "tunnel_types": ["vxlan"] if seen.tunnel_address else []},
    }  # fmt: skip


def _time(us: int) -> str:
    return time_text(us).replace("T", " ").rstrip("Z")


def _matching(views: list[View], call: Call, *, skip: tuple[str, ...] = ()) -> list[View]:
    """Those whose attributes are as the query says."""
    named: dict[str, list[str]] = {}
    for name, value in call.query:
        if name not in ("fields", "limit", "marker", "sort_key", "sort_dir", "page_reverse", *skip):
            named.setdefault("project_id" if name == "tenant_id" else name, []).append(value.lower())
    return [view for view in views if all(str(view.get(name, "")).lower() in values for name, values in named.items())]


def _availability(tx: Tx, network: Row, version: str | None) -> View:
    subnets: list[View] = []
    for subnet in rows(tx, SUBNETS, SUBNETS.c.network_id == network["id"]):
        if version is not None and str(subnet["ip_version"]) != version:
            continue
        query = select(func.count()).select_from(ADDRESSES).where(ADDRESSES.c.subnet == subnet["id"])
        pools = [(first, last) for first, last in subnet["allocation_pools"]]
        net = ip_network(subnet["cidr"])
        first, last = ipam.bounds(net)
        subnets.append(
            {
                "subnet_id": subnet["id"], "subnet_name": subnet["name"], "cidr": subnet["cidr"], "ip_version": subnet["ip_version"],
                "total_ips": ipam.size(pools) if pools else last - first + 1, "used_ips": int(tx.connection.execute(query).scalar_one()),
            }
        )  # fmt: skip
    return {
        "network_id": network["id"], "network_name": network["name"], "project_id": network["project"], "tenant_id": network["project"],
        "total_ips": sum(each["total_ips"] for each in subnets), "used_ips": sum(each["used_ips"] for each in subnets),
        "subnet_ip_availability": subnets,
    }  # fmt: skip
