"""The servers' part of the compute service: its calls, the conductor, what it tells hosts and volumes."""

from objstore.errors import Unavailable
from objstore.services.calls.call import Handler
from objstore.services.compute.actions import ServerActions
from objstore.services.compute.agent_api import ResizeVolume, SnapshotVolume
from objstore.services.compute.attachments import AttachmentCalls
from objstore.services.compute.conductor import Conductor
from objstore.services.compute.context import Context
from objstore.services.compute.interfaces import InterfaceCalls
from objstore.services.compute.reports import Reports
from objstore.services.compute.server_history import HistoryCalls
from objstore.services.compute.server_notes import NoteCalls
from objstore.services.compute.servers import ServerCalls
from objstore.services.compute.tables import SCHEMA
from objstore.services.tables.migrations import migrate


class ServerPart:
    """Put together; starts after the services that it stands on."""

    def __init__(self, context: Context) -> None:
        self.context = context
        self.conductor = Conductor(context)
        self.reports = Reports(context)
        self.host_volumes = HostVolumes(context)  # for the volume service's desk: `serve_hosts`

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        context = self.context
        parts = (
            ServerCalls(context), ServerActions(context), NoteCalls(context), AttachmentCalls(context), InterfaceCalls(context), HistoryCalls(context),
        )  # fmt: skip
        return {key: handler for part in parts for key, handler in part.routes().items()}

    async def start(self) -> None:
        """Bring the tables up to date, take up the jobs that wait.  Raises Unavailable, SchemaAhead."""
        await migrate(self.context.sql, SCHEMA, self.context.now_us())
        self.conductor.start()

    async def aclose(self) -> None:
        """Stop; what was begun is gone on with after the next start."""
        await self.conductor.aclose()


class HostVolumes:
    """How the volume service reaches the hosts that have volumes attached (volume/api/service.py: AttachedHosts)."""

    def __init__(self, context: Context) -> None:
        self._context = context

    async def snapshot(self, host: str, data_hex: str, snapshot_hex: str) -> None:
        """A snapshot of a volume with everything that was written before."""
        if not host:
            raise Unavailable("the volume's host is not known yet")
        await self._context.agents.call(host, SnapshotVolume(data_hex, snapshot_hex))

    async def resize(self, host: str, data_hex: str, size_bytes: int) -> None:
        """Make a volume longer; the guest sees it."""
        if not host:
            raise Unavailable("the volume's host is not known yet")
        await self._context.agents.call(host, ResizeVolume(data_hex, size_bytes))

    async def extended(self, server_id: str, volume_id: str) -> None:
        """Its guest was told with `resize`."""
