"""The compute service as an ASGI application: its routes put together."""

import re
from typing import Any

from objstore.services.calls.app import Service, ServiceApp
from objstore.services.calls.call import Handler, Receive, Scope, Send
from objstore.services.calls.tokens import RegistryTokens
from objstore.services.compute import agent_calls, extensions, versions
from objstore.services.compute.agent_calls import AgentCalls
from objstore.services.compute.aggregates import AggregateCalls
from objstore.services.compute.audits import AuditCalls
from objstore.services.compute.console_relay import ConsoleRelay
from objstore.services.compute.consoles import ConsoleCalls
from objstore.services.compute.context import Action, Context
from objstore.services.compute.events import EventCalls
from objstore.services.compute.flavor_calls import FlavorCalls
from objstore.services.compute.host_services import ServiceCalls
from objstore.services.compute.hypervisors import HypervisorCalls
from objstore.services.compute.image_proxy import ImageProxy
from objstore.services.compute.keypairs import KeypairCalls
from objstore.services.compute.moves import MoveCalls
from objstore.services.compute.neighbours import Neighbour
from objstore.services.compute.network_proxy import NetworkProxy
from objstore.services.compute.quota_calls import QuotaCalls
from objstore.services.compute.server_app import ServerPart
from objstore.services.compute.server_groups import ServerGroupCalls
from objstore.services.compute.service import ComputeService
from objstore.services.compute.usages import UsageCalls
from objstore.services.compute.views import refusal
from objstore.services.compute.volume_proxy import VolumeProxy
from objstore.services.compute.zones import ZoneCalls

OPEN = versions.OPEN | {agent_calls.REPORT, agent_calls.NETWORK}
_OLD = re.compile(rb"^(/compute)?/v2(?:\.1)?(?:/[0-9a-f]{32}|/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})?(/.+)$")
_PLAIN = re.compile(rb"^(/compute)?/v2(/.*)?$")
PREFIX = "compute"
_VERSION_HEADERS = (b"openstack-api-version", b"x-openstack-nova-api-version")


class ComputeApp(ServiceApp):
    """The application; its service's `url` is where clients reach it."""

    takes_websockets = True

    def __init__(self, service: ComputeService) -> None:
        self.service = service
        self.relay = ConsoleRelay(service)
        self.servers = ServerPart(_context_of(service))
        service.hosts.watch(self.servers.reports)
        super().__init__(
            Service(PREFIX, service.url, self.routes_of(service), OPEN, refusal, versions.find_version),
            RegistryTokens(service.registry, "compute"),
            service.world.rng,
        )

    def routes_of(self, service: ComputeService) -> dict[tuple[str, str], Handler]:
        """All of them."""
        parts: tuple[Any, ...] = (
            AgentCalls(service), AggregateCalls(service), AuditCalls(service),
            self.servers, ConsoleCalls(service), EventCalls(service), FlavorCalls(service), ServiceCalls(service), HypervisorCalls(service), KeypairCalls(service), MoveCalls(service), QuotaCalls(service), ServerGroupCalls(service), UsageCalls(service), ZoneCalls(service),
        )  # fmt: skip
        apps = service.below.apps
        if "image" in apps:
            parts = (*parts, ImageProxy(service, Neighbour(apps["image"], "image")))
        if "network" in apps:
            parts = (*parts, NetworkProxy(Neighbour(apps["network"], "network")))
        if "volume" in apps:
            parts = (*parts, VolumeProxy(Neighbour(apps["volume"], "volume")))
        return {**versions.routes(), **extensions.routes(), **{key: handler for part in parts for key, handler in part.routes().items()}}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or one WebSocket."""
        if scope["type"] == "websocket":
            await self.relay(scope, receive, send)
            return
        await super().__call__(_as_today(scope), receive, send)

    async def start(self) -> None:
        """Raises Unavailable, SchemaAhead."""
        await self.service.start()
        await self.servers.start()

    async def aclose(self) -> None:
        """Stop what runs in the background."""
        await self.relay.aclose()
        await self.servers.aclose()
        await self.service.aclose()


def _context_of(service: ComputeService) -> Context:
    below, settings = service.below, service.settings
    return Context(
        service.sql, service.world, service.url, settings.page_limit, below.volumes, below.networks, below.disks, below.store, service.agents,
        service.places, service.catalog, stop_timeout_s=settings.stop_timeout_s, more_actions=_more_actions(service),
    )  # fmt: skip


def _more_actions(service: ComputeService) -> dict[str, Action]:
    """Actions on servers that are others' than the conductor's: consoles, floating addresses in the words of old clients."""
    network = service.below.apps.get("network")
    addresses = NetworkProxy(Neighbour(network, "network")).actions() if network is not None else {}
    return {**ConsoleCalls(service).actions(), **addresses}


def _as_today(scope: Scope) -> Scope:
    """A request by an old address: /v2 has no microversions, and the project's id after the version says nothing that the token does not."""
    raw = bytes(scope.get("raw_path") or str(scope["path"]).encode())
    found = _OLD.match(raw)
    if found is None:
        return scope
    changed = dict(scope)
    if _PLAIN.match(raw) is not None:
        changed["headers"] = [(name, value) for name, value in scope["headers"] if bytes(name).lower() not in _VERSION_HEADERS]
    changed["raw_path"] = (found.group(1) or b"") + b"/v2.1" + found.group(2)
    return changed
