"""The network service as an ASGI application: its routes put together."""

from objstore.identity.registry import Registry
from objstore.services.calls.app import Service, ServiceApp
from objstore.services.calls.call import Handler
from objstore.services.calls.tokens import RegistryTokens
from objstore.services.network import extensions, floating, networks, port_calls, rbac, routers, rules, subnet_pools, subnets
from objstore.services.network.auto import AutoCalls
from objstore.services.network.desk import NetworkDesk
from objstore.services.network.info import InfoCalls
from objstore.services.network.problems import refusal
from objstore.services.network.quota_calls import QuotaCalls
from objstore.services.network.resources import ResourceCalls
from objstore.services.network.router_calls import RouterCalls
from objstore.services.network.service import NetworkService
from objstore.services.network.tables import SERVICE


class NetworkApp(ServiceApp):
    """The application; `url` is where clients reach it."""

    def __init__(self, service: NetworkService, desk: NetworkDesk, registry: Registry, url: str) -> None:
        self.service = service
        self.desk = desk
        tokens = RegistryTokens(registry, SERVICE)
        super().__init__(Service(SERVICE, url, self._routes_of(service, desk), extensions.OPEN, refusal), tokens, service.world.rng)

    @staticmethod
    def _routes_of(service: NetworkService, desk: NetworkDesk) -> dict[tuple[str, str], Handler]:
        settings = service.settings
        router = ResourceCalls(service, routers.operations(settings))
        resources = (
            ResourceCalls(service, networks.OPERATIONS),
            ResourceCalls(service, subnets.operations(settings)),
            ResourceCalls(service, port_calls.operations(settings)),
            ResourceCalls(service, subnet_pools.POOL_OPERATIONS),
            ResourceCalls(service, subnet_pools.SCOPE_OPERATIONS),
            router,
            ResourceCalls(service, floating.OPERATIONS),
            ResourceCalls(service, rules.GROUP_OPERATIONS),
            ResourceCalls(service, rules.OPERATIONS),
            ResourceCalls(service, rbac.OPERATIONS),
        )
        parts = (*resources, RouterCalls(service, router.operations), QuotaCalls(service), InfoCalls(service, desk), AutoCalls(service))
        return {**extensions.ROUTES, **{key: handler for part in parts for key, handler in part.routes().items()}}

    async def start(self) -> None:
        """Raises Unavailable, SchemaAhead."""
        await self.service.start()

    async def aclose(self) -> None:
        """Nothing runs in the background."""
