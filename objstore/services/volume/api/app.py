"""The block storage service as an ASGI application: its routes put together, with and without a project in the path."""

from objstore.identity.registry import Registry
from objstore.services.calls.app import Service, ServiceApp
from objstore.services.calls.call import Handler
from objstore.services.calls.tokens import RegistryTokens
from objstore.services.volume.api import versions
from objstore.services.volume.api.actions import ActionCalls
from objstore.services.volume.api.attachments import AttachmentCalls
from objstore.services.volume.api.backups import BackupCalls
from objstore.services.volume.api.desk import VolumeDesk
from objstore.services.volume.api.info import InfoCalls
from objstore.services.volume.api.metadata import MetadataCalls
from objstore.services.volume.api.qos import QosCalls
from objstore.services.volume.api.quotas import QuotaCalls
from objstore.services.volume.api.running import Running
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.snapshots import SnapshotCalls
from objstore.services.volume.api.tables import SERVICE
from objstore.services.volume.api.transfers import TransferCalls
from objstore.services.volume.api.types import TypeCalls
from objstore.services.volume.api.volumes import VolumeCalls

OPEN = frozenset((("GET", "/"), ("GET", "/v3")))


class VolumeApp(ServiceApp):
    """The application; `url` is where clients reach it."""

    def __init__(self, service: VolumeService, registry: Registry, url: str) -> None:
        self.service = service
        self.desk = VolumeDesk(service)
        self.running = Running(service)
        super().__init__(
            Service(SERVICE, url, _routes(service), OPEN, versions.refusal, versions.before),
            RegistryTokens(registry, "block-storage"),
            service.world.rng,
        )

    async def start(self) -> None:
        """Raises Unavailable, SchemaAhead."""
        await self.service.start()
        self.running.start()

    async def aclose(self) -> None:
        """Stop what runs in the background."""
        await self.running.aclose()


def _routes(service: VolumeService) -> dict[tuple[str, str], Handler]:
    parts = (
        VolumeCalls(service), MetadataCalls(service), ActionCalls(service), SnapshotCalls(service), TypeCalls(service), QosCalls(service),
        QuotaCalls(service), AttachmentCalls(service), TransferCalls(service), BackupCalls(service), InfoCalls(service),
    )  # fmt: skip
    found = versions.routes()
    for part in parts:
        for (method, path), handler in part.routes().items():
            found[method, f"/v3/{{project_id}}{path}"] = handler
            found[method, f"/v3{path}"] = handler
    return found
