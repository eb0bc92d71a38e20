"""The processes of a cluster: storage node, proxy, daemon, supervisor.  Each imports only what it runs.

A role reads its config.toml, builds its parts from the top down, says that it is ready, and ends in order on SIGTERM.
"""

import asyncio
import contextlib
import gc
import logging
import resource
import socket
from collections.abc import Callable, Coroutine, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from objstore.cli.child import Supervised, die_with_supervisor, give_back_memory, run_as_told, settle_allocator, settle_scheduling
from objstore.cli.errors import complain
from objstore.cli.world import system_world
from objstore.errors import ObjstoreError
from objstore.runtime import log as logs
from objstore.runtime.config import ConfigError

log = logging.getLogger(__name__)

GC_THRESHOLDS = (50_000, 20, 100)  # requests make little cyclic garbage; the default looks for it every 700 objects
GIVE_BACK_EVERY_S = 5.0
HASH_THREADS = 2  # bodies signed by their SHA-256 are hashed there while the loop goes on
GRACEFUL_S = 3.0  # a proxy lets requests that run come to their end for so long
STARTED_POLL_S = 0.002
OF_THE_STORE = ("node", "proxy", "daemon", "services")  # whatever else runs here may start programs, which would inherit the policy
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def run_role(role: str, arguments: Sequence[str]) -> int:
    """Run one process to its end; returns its exit code."""
    if role == "supervise":
        from objstore.cli import supervise

        return supervise.main(arguments[0]) if len(arguments) == 1 else complain("usage: objstore supervise DIR", code=2)
    if len(arguments) != 2 or arguments[0] != "--config":
        return complain(f"usage: objstore {role} --config FILE", code=2)
    from objstore.cli.settings import role_settings

    try:
        run_as_told()
        die_with_supervisor()
        settle_allocator()
        settings = role_settings(role, Path(arguments[1]))
        logs.set_up(getattr(settings, role).name, level=settings.log.level, style=settings.log.style)
        if role in OF_THE_STORE:
            settle_scheduling(settings.host.scheduling)
        _run(_runner(role)(settings))
    except (ConfigError, ObjstoreError, OSError) as failure:
        log.error("%s cannot run: %s", role, failure)  # noqa: TRY400 the message says what to do; a traceback would hide it
        return complain(f"{role} cannot run: {failure}")
    except Exception:
        log.exception("%s ended by a bug", role)  # the edge of the process: through the log, so that it is redacted
        return 1
    return 0


def _runner(role: str) -> Callable[[Any], Coroutine[Any, Any, None]]:
    if role == "disks":
        from objstore.cli.disks_role import run_disks

        return run_disks
    if role == "agent":
        from objstore.cli.agent_role import run_agent

        return run_agent
    return {"node": run_node, "proxy": run_proxy, "daemon": run_daemon, "services": run_services}[role]


def _run(role: Coroutine[Any, Any, None]) -> None:
    import uvloop

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(role)


def _settle_memory() -> None:
    """After the start: what is there now stays for good and need not be looked at again by the collector."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    gc.enable()
    _keep_giving_back(asyncio.get_running_loop())


def _keep_giving_back(loop: asyncio.AbstractEventLoop) -> None:
    give_back_memory()  # 0.5 ms, 1.7 ms at most
    loop.call_later(GIVE_BACK_EVERY_S, _keep_giving_back, loop)


async def run_node(settings: Any) -> None:
    """A storage node."""
    from objstore.cli.settings import component, read_cluster_key
    from objstore.node.app import NodeApp, NodeConfig

    supervised = Supervised()
    section = settings.node
    config = NodeConfig(
        name=section.name,
        addresses=(*section.addresses, *_local_addresses(settings.host.sockets, section.addresses)),
        device_directories=section.devices,
        cluster_key=read_cluster_key(section.cluster_key_file),
        ring_path=section.ring,
        bootstrap_ring_path=section.bootstrap_ring,
        engine=component(settings, "engine"),
    )
    node = await NodeApp.start(system_world(settings.host.sockets), config)
    supervised.ready()
    _settle_memory()
    await supervised.asked_to_stop()
    await node.stop()


async def run_proxy(settings: Any) -> None:
    """A proxy: the cluster's face, the object model on it, S3 in front."""
    from objstore.cli.clusters import all_rings, open_cluster, with_classes
    from objstore.cli.identities import read_identities
    from objstore.cli.kms import key_service
    from objstore.cli.metrics import proxy_metrics, serve_metrics
    from objstore.cli.settings import component, read_cluster_key
    from objstore.fronts.http import uvicorn_config
    from objstore.fronts.iam.app import QueryCalls
    from objstore.fronts.s3.app import S3App
    from objstore.identity.directory import Directory
    from objstore.identity.registry import Registry
    from objstore.identity.tenancy import built_in
    from objstore.identity.tokens import TokenSealer
    from objstore.identity.web_keys import WebKeys
    from objstore.objects.store import ObjectStore

    supervised = Supervised()
    section = settings.proxy
    world = system_world(settings.host.sockets)
    known = read_identities(section.identities)
    cluster_key = read_cluster_key(section.cluster_key_file)
    _check_exposure(section.host, section.certificate_file)
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(listening_on(section.host, section.port))
        cluster = await stack.enter_async_context(open_cluster(world, settings, section))
        keys = key_service(component(settings, "kms"), section.kms_file, world)
        objects = component(settings, "objects")
        store = ObjectStore(await all_rings(stack, world, settings, section, cluster, objects), world, objects, keys)
        stack.push_async_callback(store.aclose)
        await store.start()
        hashing = world.new_threads("http-hash", HASH_THREADS)
        stack.callback(hashing.close)
        registry = Registry(cluster, world, cluster_key, built_in(known.users))
        directory = Directory(known.users, cluster, world, TokenSealer(cluster_key, world.rng), known.providers, registry)
        stack.push_async_callback(directory.aclose)
        await directory.start()
        web_keys = WebKeys(directory, known.key_addresses)
        stack.push_async_callback(web_keys.aclose)
        await web_keys.start()
        notifier = await _notifier(stack, world, settings)
        app = S3App(
            store, directory, world.clock, with_classes(component(settings, "s3"), objects), rng=world.rng, threads=hashing, health=cluster.serves,
            seconds_per_day=settings.lifecycle.seconds_per_day, calls=QueryCalls(directory, world.clock), notifier=notifier,
        )  # fmt: skip
        stack.push_async_callback(app.aclose)
        both = _with_swift(app, store, settings, world, known, cluster_key, registry, directory)
        if section.metrics_port:
            metrics = await serve_metrics(
                settings.metrics.host, section.metrics_port,
                lambda: proxy_metrics(app.counters.snapshot(), cluster, notifier, both.answered),
            )  # fmt: skip
            stack.push_async_callback(metrics)
        config = uvicorn_config(
            both, host=section.host, port=section.port, certificate_file=section.certificate_file or None, key_file=section.key_file or None
        )
        config.timeout_graceful_shutdown = int(GRACEFUL_S)
        await serve(config, listening, world, supervised)


def _with_swift(
    app: Any, store: Any, settings: Any, world: Any, known: Any, cluster_key: bytes, registry: Any, directory: Any
) -> Any:  # fmt: skip
    """Swift before S3, on one port."""
    from objstore.cli.clusters import first_classes
    from objstore.cli.realms import read_realms
    from objstore.cli.settings import component
    from objstore.fronts.swift.app import SwiftApp
    from objstore.fronts.swift.context import SwiftFront
    from objstore.identity.project_tokens import ProjectTokens
    from objstore.identity.swift_tokens import SwiftAuth

    auth = SwiftAuth(known.swift_users, known.users, directory, cluster_key, world.rng, world.clock)
    tokens = ProjectTokens(registry, directory)
    sync = component(settings, "container_sync")
    front = SwiftFront(
        store, auth, component(settings, "swift"), world.clock, world.rng, (tokens,), store.threads, first_classes(store.settings),
        sync, read_realms(sync),
    )  # fmt: skip
    return SwiftApp(front, app, app.names_bucket)


async def run_services(settings: Any) -> None:
    """OpenStack's APIs, which keep what they know in the store."""
    from objstore.cli.clusters import all_rings, open_cluster
    from objstore.cli.identities import read_identities
    from objstore.cli.metrics import serve_metrics, services_metrics
    from objstore.cli.openstack import ByPath, identity_app, service_apps
    from objstore.cli.settings import component, read_cluster_key
    from objstore.fronts.http import uvicorn_config
    from objstore.objects.store import ObjectStore

    supervised = Supervised()
    section = settings.services
    world = system_world(settings.host.sockets)
    known = read_identities(section.identities)
    key = read_cluster_key(section.cluster_key_file)
    _check_exposure(section.host, section.certificate_file)
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(listening_on(section.host, section.port))
        cluster = await stack.enter_async_context(open_cluster(world, settings, section))
        identity, registry = await identity_app(stack, world, cluster, key, known.users, section, component(settings, "identity"))
        objects = component(settings, "objects")
        store = ObjectStore(await all_rings(stack, world, settings, section, cluster, objects), world, objects)
        stack.push_async_callback(store.aclose)
        await store.start()
        apps = await service_apps(stack, world, cluster, store, registry, settings)
        by_path = ByPath(apps, identity, serves=cluster.serves)
        if section.metrics_port:
            metrics = await serve_metrics(settings.metrics.host, section.metrics_port, lambda: services_metrics(by_path.answered, cluster))
            stack.push_async_callback(metrics)
        config = uvicorn_config(
            by_path,
            host=section.host,
            port=section.port,
            certificate_file=section.certificate_file or None,
            key_file=section.key_file or None,
            websockets=True,
        )
        config.timeout_graceful_shutdown = int(GRACEFUL_S)
        await serve(config, listening, world, supervised)


async def _notifier(stack: contextlib.AsyncExitStack, world: Any, settings: Any) -> Any:
    """Queue and senders of events; None where the configuration names no targets."""
    from objstore.cli.settings import component
    from objstore.fronts.s3.notifier import Notifier
    from objstore.runtime.log import hide
    from objstore.runtime.outgoing import SocketOutgoing, secrets_of

    chosen = component(settings, "notifications")
    if not chosen.targets:
        return None
    if not settings.proxy.data_directory:
        raise ConfigError("notifications.targets needs proxy.data_directory, where events wait for their delivery")
    directory = Path(settings.proxy.data_directory) / "events"
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    threads = world.new_threads("events", 1)
    stack.callback(threads.close)
    try:
        for target in chosen.targets.values():
            for secret in secrets_of(target.url, target.token):
                hide(secret)
        notifier = Notifier(world.open_disk(str(directory)), threads, world.clock, SocketOutgoing(), chosen)
    except (OSError, ValueError) as failure:
        raise ConfigError(f"notifications.targets: {failure}") from failure
    await notifier.start()
    stack.push_async_callback(notifier.aclose)
    return notifier


async def serve(config: Any, listening: socket.socket, world: Any, supervised: Supervised) -> None:
    """Serve HTTP until the process is asked to stop."""
    from objstore.fronts import http
    from objstore.runtime.tasks import TaskOwner

    logging.getLogger("uvicorn").setLevel(logging.WARNING)  # that it started is no news

    class Server(http.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield  # signals are the supervised process's own business

    server = Server(config)
    owner = TaskOwner("http server")
    serving = owner.spawn(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await world.clock.sleep(STARTED_POLL_S)
    if not serving.done():
        supervised.ready()
        _settle_memory()
        stopping = owner.spawn(supervised.asked_to_stop())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        server.should_exit = True
    await serving
    await owner.aclose()


async def run_daemon(settings: Any) -> None:
    """The background work of one host, and the socket on which it is asked."""
    from objstore.cli import holdings
    from objstore.cli.bucket_metrics import held_by_buckets
    from objstore.cli.clusters import open_cluster
    from objstore.cli.metrics import daemon_metrics, serve_metrics
    from objstore.cli.requests import FindCopies, RotateTokenKeys
    from objstore.cli.settings import component, read_cluster_key
    from objstore.daemons import control
    from objstore.daemons.fleet import Fleet
    from objstore.daemons.service import Daemons
    from ring import files

    supervised = Supervised()
    section = settings.daemon
    world = system_world(settings.host.sockets)
    async with contextlib.AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(open_cluster(world, settings, section))
        fleet = Fleet(world, ring=files.load(section.ring), cluster_key=read_cluster_key(section.cluster_key_file), name=section.name)
        stack.push_async_callback(fleet.aclose)
        work, handlers = ({}, {}) if section.policy else await _work_on_objects(stack, world, settings, cluster, fleet)
        daemons = Daemons(
            world,
            fleet,
            settle=cluster.settle,
            save_ring=lambda ring: files.save(section.ring, ring),
            settings=component(settings, "daemons"),
            **work,
        )
        stack.push_async_callback(daemons.aclose)
        handlers = {**daemons.handlers(), **handlers}
        asked = control.DaemonRequest | FindCopies | holdings.Requests | RotateTokenKeys
        server = control.ControlServer(world, requests=asked, handlers=handlers)
        stack.push_async_callback(server.aclose)
        await server.start(section.control)
        if section.metrics_port:
            limit = 0 if section.policy else settings.metrics.buckets
            held = partial(held_by_buckets, cluster, limit) if limit else None
            metrics = await serve_metrics(settings.metrics.host, section.metrics_port, lambda: daemon_metrics(world, fleet, daemons, held))
            stack.push_async_callback(metrics)
        daemons.start()
        supervised.ready()
        _settle_memory()
        await supervised.asked_to_stop()


async def _work_on_objects(
    stack: contextlib.AsyncExitStack, world: Any, settings: Any, cluster: Any, fleet: Any
) -> tuple[dict[str, Any], dict[Any, Any]]:
    """What the daemon of the default ring does besides looking after its ring, and what more it can be asked.

    Rows are there alone, and they say which bodies are needed and what rules demand: bodies of all rings are its business.
    """
    from msgspec import convert

    from objstore.cli import holdings, token_keys, where
    from objstore.cli.clusters import all_rings
    from objstore.cli.kms import key_service
    from objstore.cli.realms import read_realms
    from objstore.cli.requests import FindCopies
    from objstore.cli.settings import component, read_cluster_key
    from objstore.daemons.container_sync import ContainerSync
    from objstore.daemons.expirer import ExpirySettings, ObjectExpirer
    from objstore.daemons.late_deletes import LateDeletes
    from objstore.daemons.lifecycle import Lifecycle, LifecycleSettings
    from objstore.objects.reclaim import PartReclaimer
    from objstore.objects.store import ObjectStore

    name, objects = settings.daemon.name, component(settings, "objects")
    rings = await all_rings(stack, world, settings, settings.daemon, cluster, objects)
    sync = component(settings, "container_sync")
    realms = read_realms(sync)
    sends = bool(realms or sync.hosts)
    keys = key_service(component(settings, "kms"), settings.daemon.kms_file, world) if sends else None
    store = ObjectStore(rings, world, objects, keys)
    stack.push_async_callback(store.aclose)
    await store.start()
    work = {
        "sweep_uploads": PartReclaimer(rings, world.clock, grace_s=objects.part_grace_s).run,
        "lifecycle": Lifecycle(store, world, convert(settings.lifecycle, LifecycleSettings, from_attributes=True), holder=name),
        "expirer": ObjectExpirer(store, world, convert(settings.lifecycle, ExpirySettings, from_attributes=True), holder=name),
        "late_deletes": LateDeletes(store, world, holder=name),
        "sync": ContainerSync(store, world, sync, realms, holder=name) if sends else None,
    }
    return work, {
        **holdings.handlers(rings),
        **token_keys.handlers(cluster, world, read_cluster_key(settings.daemon.cluster_key_file)),
        FindCopies: lambda request: where.find(store.directory, cluster, fleet, request),
    }


@contextlib.contextmanager
def listening_on(host: str, port: int) -> Iterator[socket.socket]:
    """Bind before anything else is built: a port that is taken must be the first thing said.  Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
        except OSError as failure:
            raise OSError(failure.errno, f"cannot listen on {host}:{port}: {failure.strerror}") from failure
        yield listening


def _local_addresses(directory: str, addresses: Sequence[str]) -> list[str]:
    from objstore.runtime.net import local_socket

    if not Path(directory or ".").is_dir():
        return []  # this process was started by hand, outside of the cluster's directory: TCP will do
    return [local for address in addresses if (local := local_socket(directory, address))]


def _check_exposure(host: str, certificate: str) -> None:
    if host not in LOOPBACK and not certificate:
        raise ConfigError(f"proxy.host = {host!r} is reachable from elsewhere without TLS; set proxy.certificate_file and key_file")
