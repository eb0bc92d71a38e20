"""What the compute service's calls work on: the database, the settings, the services below, the hosts; and how it starts and ends."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection

from objstore.identity.registry import Registry
from objstore.identity.tenancy import Project
from objstore.runtime.log import hide
from objstore.runtime.sql import Sql
from objstore.runtime.world import World
from objstore.services.compute import tables
from objstore.services.compute.agent_api import Report
from objstore.services.compute.agent_client import AgentClient
from objstore.services.compute.catalog import Catalog
from objstore.services.compute.cloud_tables import SCHEMA
from objstore.services.compute.hosts import Hosts
from objstore.services.compute.neighbours import App
from objstore.services.compute.scheduler import Places
from objstore.services.compute.settings import ComputeSettings
from objstore.services.image.service import ImageService
from objstore.services.network.wanted import WantedHost
from objstore.services.tables import jobs
from objstore.services.tables.migrations import migrate

T = TypeVar("T")


class HostNetworks(Protocol):
    """What is asked of the network service for hosts; servers ask for more (desks.py)."""

    async def revision(self) -> int:
        """Grows with each change of what must be true on a host."""

    async def wanted(self, host: str) -> WantedHost:
        """All that must be true on a host."""

    async def host_seen(self, host: str, *, tunnel_address: str = "", driver: str = "", up: bool = True) -> None:
        """A host as it reports itself, or one that is not heard of any more."""

    async def ports_are_up(self, host: str, ids: Sequence[str]) -> Sequence[str]:
        """Of the ports of a host, those that work; all others do not.  The servers whose ports began to."""


class _ToldNetworks:
    """Tells the network service what hosts report (hosts.py: Watching)."""

    def __init__(self, networks: HostNetworks) -> None:
        self._networks = networks

    async def reported(self, report: Report, *, rebooted: bool) -> Sequence[str]:
        await self._networks.host_seen(report.host, tunnel_address=report.tunnel_address, driver=report.network_driver)
        await self._networks.ports_are_up(report.host, report.ports_up)
        return ()

    async def died(self, host: str) -> None:
        await self._networks.host_seen(host, up=False)
        await self._networks.ports_are_up(host, ())


@dataclass(frozen=True)
class Below:
    """The services that compute stands on, called in the process: each keeps its own tables."""

    images: ImageService
    volumes: Any  # volume/api/desk.py: VolumeDesk
    disks: Any  # volume/base_disks.py: BaseDisks
    networks: Any  # network/desk.py: NetworkDesk
    store: Any = None  # volume/operations.py: Volumes, for disks that are nobody's volumes
    apps: Mapping[str, App] = field(default_factory=dict)  # "image", "network", "volume": their APIs, for calls that are only passed on


class ComputeService:
    """One process's part of the service."""

    def __init__(
        self,
        sql: Sql,
        world: World,
        settings: ComputeSettings,
        below: Below,
        registry: Registry,
        secret: str,
        url: str,
        process: str = "services1",
    ) -> None:
        self.sql = sql
        self.world = world
        self.settings = settings
        self.below = below
        self.networks: HostNetworks = below.networks
        self.registry = registry  # users and projects
        self.secret = secret
        self.url = url  # where clients reach the service, with its prefix
        self.process = process  # the name of this process
        self.hosts = Hosts(sql, world, settings)
        self.hosts.watch(_ToldNetworks(self.networks))
        self.places = Places(settings, world.clock)
        self.catalog = Catalog(settings)
        self.agents = AgentClient(self.hosts.address, secret, timeout_s=settings.agent_timeout_s, ca_file=settings.agent_ca_file)
        hide(secret)

    async def start(self) -> None:
        """Bring the tables up to date, begin to look after hosts.  Raises Unavailable, SchemaAhead."""
        now_us = self.now_us()
        for schema in (jobs.SCHEMA, tables.SCHEMA, SCHEMA):
            await migrate(self.sql, schema, now_us)
        self.hosts.start()

    async def aclose(self) -> None:
        """Stop."""
        await self.hosts.aclose()

    def now_us(self) -> int:
        """The time."""
        return self.world.clock.wall_us()

    async def project_exists(self, id_: str) -> bool:
        """Whether the identity service has such a project."""
        if self.registry.get(Project, id_) is None:
            await self.registry.feed.refresh()  # it may have been made elsewhere a moment ago
        return self.registry.get(Project, id_) is not None

    async def read(self, work: Callable[[Connection], T]) -> T:
        """A transaction that changes nothing."""
        return await self.sql.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """A transaction."""
        return await self.sql.write(work)
