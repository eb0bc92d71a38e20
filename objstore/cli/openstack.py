"""Puts OpenStack's services together: identity with its built-in records, the catalog, the administrator's first password; image."""

import contextlib
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from objstore.cli.probe import HEALTH_PATH
from objstore.cluster.api import ClusterApi
from objstore.fronts.identity.app import IdentityApp
from objstore.fronts.identity.call import Identity
from objstore.fronts.identity.settings import IdentitySettings
from objstore.identity.model import User
from objstore.identity.passcodes import Passcodes
from objstore.identity.passwords import Passwords, hash_password
from objstore.identity.registry import Registry
from objstore.identity.tenancy import Place, built_in
from objstore.objects.api import ObjectStoreApi
from objstore.runtime.config import ConfigError
from objstore.runtime.sql import Sql, open_sql
from objstore.runtime.world import World

DAY_S = 86_400.0
DATABASE = "services.sqlite"


async def identity_app(
    stack: contextlib.AsyncExitStack,
    world: World,
    cluster: ClusterApi,
    key: bytes,
    users: Iterable[User],
    section: Any,
    settings: IdentitySettings,
) -> tuple[IdentityApp, Registry]:
    """The application and its tables; what it is made of ends with `stack`.  `section` is [services].  Raises ConfigError."""
    threads = world.new_threads("passwords", settings.hash_threads)
    stack.callback(threads.close)
    hashes = {
        name: hash_password(password, world.rng, memory_kib=settings.hash_memory_kib)
        for name, password in first_passwords(section.admin_file).items()
    }
    registry = Registry(cluster, world, key, built_in(users, region=section.region, catalog=catalog(section), passwords=hashes))
    stack.push_async_callback(registry.aclose)
    await registry.start(sweeps=True, token_key_s=settings.token_key_days * DAY_S, expired_token_s=settings.expired_token_s)
    passwords = Passwords(
        world.clock, world.rng, threads, failures=settings.lockout_failures, lock_s=settings.lockout_s, memory_kib=settings.hash_memory_kib
    )
    return IdentityApp(Identity(registry, passwords, settings, f"{section.url}/identity", Passcodes(world.clock))), registry


async def service_apps(
    stack: contextlib.AsyncExitStack, world: World, cluster: ClusterApi, store: ObjectStoreApi, registry: Registry, settings: Any
) -> dict[str, Any]:  # fmt: skip
    """The services' applications by the first piece of their paths; they end with `stack`, those first that stand on others.

    Raises ConfigError, Unavailable.
    """
    from objstore.cli.settings import component

    section = settings.services
    sql = open_database(stack, world, section, component(settings, "database").url)
    image = await image_app(stack, world, sql, store, registry, section, component(settings, "image"))
    volume = await volume_app(stack, world, sql, cluster, store, registry, settings, image.service)
    network = await network_app(stack, world, sql, registry, section, component(settings, "network"))
    compute = await compute_app(stack, world, sql, registry, settings, image=image, volume=volume, network=network)
    return {"image": image, "volume": volume, "network": network, "compute": compute}


def open_database(stack: contextlib.AsyncExitStack, world: World, section: Any, url: str) -> Sql:
    """The database of all services.  Raises ConfigError."""
    if not url:
        if not section.data_directory:
            raise ConfigError("the services need database.url, or services.data_directory to keep a database in")
        Path(section.data_directory).mkdir(mode=0o700, parents=True, exist_ok=True)
        url = f"sqlite:///{section.data_directory}/{DATABASE}"
    try:
        sql = open_sql(url, world)
    except ValueError as failure:
        raise ConfigError(str(failure)) from failure
    stack.push_async_callback(sql.aclose)
    return sql


async def image_app(
    stack: contextlib.AsyncExitStack, world: World, sql: Sql, store: ObjectStoreApi, registry: Registry, section: Any, settings: Any
) -> Any:
    """The image service, which ends with `stack`.  Raises Unavailable."""
    from objstore.services.image.app import ImageApp
    from objstore.services.image.service import ImageService

    app = ImageApp(ImageService(sql, store, world, settings, section.region), registry, f"{section.url}/image")
    stack.push_async_callback(app.aclose)
    await app.start()
    return app


async def network_app(stack: contextlib.AsyncExitStack, world: World, sql: Sql, registry: Registry, section: Any, settings: Any) -> Any:
    """The network service, which ends with `stack`; its `desk` is what compute asks.  Raises Unavailable."""
    from objstore.services.network.app import NetworkApp
    from objstore.services.network.desk import NetworkDesk
    from objstore.services.network.service import NetworkService

    service = NetworkService(sql, world, settings, section.region)
    app = NetworkApp(service, NetworkDesk(service), registry, f"{section.url}/network")
    stack.push_async_callback(app.aclose)
    await app.start()
    return app


async def volume_app(
    stack: contextlib.AsyncExitStack, world: World, sql: Sql, cluster: ClusterApi, store: ObjectStoreApi, registry: Registry, settings: Any, image: Any
) -> Any:  # fmt: skip
    """The block storage service, which ends with `stack`; `image` is the image service's.  Raises Unavailable."""
    from objstore.cli.settings import component
    from objstore.records.store import Leases
    from objstore.runtime.tasks import TaskOwner
    from objstore.services.volume.api.app import VolumeApp
    from objstore.services.volume.api.service import ImageService, VolumeService
    from objstore.services.volume.convert import QemuConverter
    from objstore.services.volume.objects import VolumeObjects
    from objstore.services.volume.operations import Volumes
    from objstore.services.volume.sweep import sweep_for_ever

    section, own, data = settings.services, component(settings, "block_storage"), component(settings, "volume")
    volumes = Volumes(VolumeObjects(store, world.clock, world.rng))
    converter = QemuConverter(world, str(Path(section.data_directory or tempfile.gettempdir()) / "convert"), own)
    stack.callback(converter.close)
    images = ImageService(image.bodies, image.uploads, image.settings)
    app = VolumeApp(VolumeService(sql, store, world, volumes, images, converter, own, data), registry, f"{section.url}/volume")
    stack.push_async_callback(app.aclose)
    await app.start()
    if data.sweep_interval_s:
        sweeping = TaskOwner("sweep of volumes")
        stack.push_async_callback(sweeping.aclose)
        leases = Leases(cluster, world.clock, "volumes")
        sweeping.spawn(sweep_for_ever(volumes, leases, holder=section.name, interval_s=data.sweep_interval_s, grace_s=data.sweep_grace_s))
    return app


async def compute_app(
    stack: contextlib.AsyncExitStack, world: World, sql: Sql, registry: Registry, settings: Any, *, image: Any, volume: Any, network: Any
) -> Any:  # fmt: skip
    """The compute service over the other services' applications, which ends with `stack`.  Raises Unavailable."""
    from objstore.cli.roles_config import agents_secret
    from objstore.cli.settings import component, read_cluster_key
    from objstore.services.compute.app import ComputeApp
    from objstore.services.compute.service import Below, ComputeService

    section, own = settings.services, component(settings, "compute")
    desk = volume.desk
    below = Below(image.service, desk, desk.bases, network.desk, desk.store, {"image": image, "network": network, "volume": volume})
    secret = agents_secret(read_cluster_key(section.cluster_key_file))
    app = ComputeApp(ComputeService(sql, world, own, below, registry, secret, f"{section.url}/compute", section.name))
    desk.serve_hosts(app.servers.host_volumes)
    stack.push_async_callback(app.aclose)
    await app.start()
    return app


class ByPath:
    """One application out of several, by the first piece of the path; the last one serves all others.

    Requests are counted here by service and HTTP status, and the health path is answered as a proxy answers it.
    """

    def __init__(self, apps: Mapping[str, Any], others: Any, *, serves: Callable[[], bool] | None = None) -> None:
        """`serves` tells whether this process can serve; None: it always can."""
        self.answered: dict[tuple[str, int], int] = {}
        self._apps = apps
        self._others = others
        self._serves = serves

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request."""
        name = str(scope.get("path", "")).lstrip("/").partition("/")[0]
        app = self._apps.get(name, self._others)
        if scope["type"] == "websocket":
            if getattr(app, "takes_websockets", False):
                await app(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        if scope.get("path") == HEALTH_PATH:
            await self._tell_health(send)
            return
        service = name if app is not self._others else "identity"

        async def counted(message: Any) -> None:
            if message["type"] == "http.response.start":
                key = (service, int(message["status"]))
                self.answered[key] = self.answered.get(key, 0) + 1
            await send(message)

        await app(scope, receive, counted)

    async def _tell_health(self, send: Any) -> None:
        status, body = (200, b"OK\n") if self._serves is None or self._serves() else (503, b"no quorum\n")
        headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def catalog(section: Any) -> list[Place]:
    """Where the services answer."""
    places = [Place("identity", "keystone", f"{section.url}/identity/v3"), Place("image", "glance", f"{section.url}/image")]
    places.append(Place("network", "neutron", f"{section.url}/network"))
    for type_, name in (("block-storage", "cinder"), ("volumev3", "cinderv3")):
        places.append(Place(type_, name, f"{section.url}/volume/v3/$(project_id)s"))
    places.append(Place("compute", "nova", f"{section.url}/compute/v2.1"))
    if section.object_store_url:
        places.append(Place("object-store", "swift", f"{section.object_store_url}/v1/AUTH_$(project_id)s"))
        places.append(Place("s3", "s3", section.object_store_url))
    return places


def first_passwords(path: str) -> dict[str, str]:
    """ "account/name" -> password, from the administrator's file.  Raises ConfigError."""
    if not path:
        return {}
    try:
        admin = tomllib.loads(Path(path).read_text())["admin"]
        return {f"{admin['project']}/{admin['user']}": str(admin["password"])}
    except (OSError, KeyError, TypeError, tomllib.TOMLDecodeError) as failure:
        raise ConfigError(f"the administrator's file {path} cannot be read: {failure!r}") from failure
