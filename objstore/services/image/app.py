"""The image service as an ASGI application: its routes put together."""

from objstore.identity.registry import Registry
from objstore.services.calls.app import Service, ServiceApp
from objstore.services.calls.call import Handler
from objstore.services.calls.tokens import RegistryTokens
from objstore.services.image import schemas
from objstore.services.image.data import DataCalls
from objstore.services.image.definitions import DefinitionCalls
from objstore.services.image.images import ImageCalls
from objstore.services.image.imports import ImportCalls
from objstore.services.image.info import InfoCalls
from objstore.services.image.members import MemberCalls
from objstore.services.image.service import ImageService
from objstore.services.image.tables import SERVICE
from objstore.services.image.tasks import TaskCalls
from objstore.services.image.views import refusal

OPEN = frozenset((("GET", "/"), ("GET", "/versions"), ("GET", "/v2")))


class ImageApp(ServiceApp):
    """The application; `url` is where clients reach it."""

    def __init__(self, service: ImageService, registry: Registry, url: str) -> None:
        self.service = service
        self._imports = ImportCalls(service)
        super().__init__(
            Service(SERVICE, url, self._routes_of(service), OPEN, refusal), RegistryTokens(registry, "image"), service.world.rng
        )

    def _routes_of(self, service: ImageService) -> dict[tuple[str, str], Handler]:
        images = ImageCalls(service, self._imports.worker.nudge)
        parts = (
            images,
            DataCalls(service),
            MemberCalls(service),
            TaskCalls(service),
            self._imports,
            InfoCalls(service),
            DefinitionCalls(service),
        )
        return {**schemas.ROUTES, **{key: handler for part in parts for key, handler in part.routes().items()}}

    async def start(self) -> None:
        """Raises Unavailable, SchemaAhead."""
        await self.service.start()
        self._imports.worker.start()

    async def aclose(self) -> None:
        """Stop what runs in the background."""
        await self._imports.worker.aclose()
        await self.service.aclose()
