"""The `agent` process: runs one host's guests as the services ask (ADR 17), and tells them how they are.

Guests outlive it: started again it finds them.  When the whole cluster goes down (SIGQUIT) it ends them first.
"""

import asyncio
import contextlib
import os
import socket
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from objstore.cli.agent_disks import DisksClient
from objstore.cli.child import Supervised
from objstore.cli.roles import LOOPBACK, listening_on, serve
from objstore.cli.version import installed_version
from objstore.cli.world import system_world
from objstore.fronts.http import HttpLimits, uvicorn_config
from objstore.runtime.config import ConfigError
from objstore.runtime.log import hide
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.services.compute.agent import facts, probe
from objstore.services.compute.agent.agent import Agent
from objstore.services.compute.agent.app import AgentApp
from objstore.services.compute.agent.command import HostFacts
from objstore.services.compute.agent.host import GuestSettings, Host
from objstore.services.compute.agent.keeper import Keeper
from objstore.services.compute.agent.layout import NETWORKS, RUN, SERVERS, SOCKET_PATH_LIMIT
from objstore.services.compute.agent.reports import Networks, Reporter, Services
from objstore.services.compute.agent_api import Report
from objstore.services.network.driver import values
from objstore.services.network.driver.api import Lookup, Metadata, NetworkDriver
from objstore.services.network.driver.choice import open_driver
from objstore.services.network.driver.names import Names, tag_of
from objstore.services.network.driver.plan import Site

FILE_THREADS = 4


async def run_agent(settings: Any) -> None:
    """To the end.  Raises ConfigError, ObjstoreError, OSError."""
    supervised = Supervised()
    section = settings.agent
    _check(section)
    os.umask(0o077)
    secret = read_secret(section.secret_file)
    directory = Path(section.data_directory).absolute()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    world = system_world(settings.host.sockets)
    async with contextlib.AsyncExitStack() as stack:
        listening = stack.enter_context(listening_on(section.listen, section.port))
        threads = world.new_threads("agent-files", FILE_THREADS)
        stack.callback(threads.close)
        changed = asyncio.Event()
        boot_id = facts.boot_id()
        accelerator = await probe.accelerator(section.virt_type, str(directory), boot_id)
        agents: list[Agent] = []  # one, as soon as it is made: what it is made of asks it

        async def metadata(port: str, server: str) -> Metadata | None:
            return await agents[0].metadata(port, server)

        def in_use(volume: str, server: str) -> bool:
            return agents[0].in_use(volume, server)

        name = section.host or socket.gethostname()
        driver = await driver_of(section, name, secret, world, directory / NETWORKS, metadata)
        stack.push_async_callback(driver.aclose)
        services = Services(section.services_url, secret, section.ca_file) if section.services_url else None
        networks = Networks(services, driver, name)
        host = Host(
            world, threads, world.open_disk(str(directory)), str(directory),
            HostFacts(accelerator, section.machine, nbd_path(section.disks_nbd, str(directory)), facts.firmware()),
            DisksClient(world, section.disks_control), driver, networks.fetch,
            GuestSettings(section.unplug_timeout_s, section.move_timeout_s, section.console_bytes, section.user),
            boot_id, changed.set, in_use,
        )  # fmt: skip
        agent = Agent(host, secret=secret, listen=section.listen)
        agents.append(agent)
        stack.push_async_callback(agent.aclose)
        await agent.start()
        background = TaskOwner("agent background")
        stack.push_async_callback(background.aclose)
        background.spawn(Keeper(agent).run())
        if services is not None:
            fixed = _report(section, name, accelerator, driver.name, boot_id)
            background.spawn(_reporting(services, world, agent, networks, fixed, changed, section.report_interval_s))
        app = AgentApp(agent, secret)
        stack.push_async_callback(app.aclose)
        config = uvicorn_config(
            app, host=section.listen, port=section.port, certificate_file=section.certificate_file or None,
            key_file=section.key_file or None, limits=HttpLimits(connections=1000), websockets=True,
        )  # fmt: skip
        config.timeout_graceful_shutdown = 1
        await serve(config, listening, world, supervised)
        if supervised.for_good:
            await background.aclose()
            await agent.end_all()
            await driver.clean_up()


def _check(section: Any) -> None:
    """Raises ConfigError."""
    for key in ("data_directory", "disks_control", "disks_nbd", "port"):
        if not getattr(section, key):
            raise ConfigError(f"[agent] needs {key!r}")
    for key, words in (("virt_type", ("auto", "kvm", "tcg")), ("network_driver", ("auto", "netns", "user")), ("machine", ("q35", "pc"))):
        if getattr(section, key) not in words:
            raise ConfigError(f"agent.{key} = {getattr(section, key)!r}: it must be one of {', '.join(words)}")
    if section.listen not in LOOPBACK and not section.certificate_file:
        raise ConfigError(
            f"agent.listen = {section.listen!r} is reachable from elsewhere without TLS; set agent.certificate_file and key_file"
        )


def nbd_path(path: str, directory: str) -> str:
    """The disks' socket as guests reach it, whose working directories are below the agent's: names of sockets are short.  Raises ConfigError."""
    absolute = str(Path(path).absolute())
    best = min(absolute, os.path.relpath(absolute, f"{directory}/{SERVERS}/any/{RUN}"), key=len)
    if len(os.fsencode(best)) > SOCKET_PATH_LIMIT:
        raise ConfigError(
            f"agent.disks_nbd = {path!r}: a Unix socket's path has at most {SOCKET_PATH_LIMIT} bytes, also {best!r} is longer"
        )
    return best


async def driver_of(section: Any, name: str, secret: str, world: World, directory: Path, lookup: Lookup) -> NetworkDriver:
    """What carries out networks on this host.  Raises ConfigError, CannotDrive."""
    # Names of what it makes are of this cluster and this host: others of this machine are left alone.
    try:
        tunnel = values.tunnel_end(section.tunnel_address) if section.tunnel_address else None
    except ValueError as failure:
        raise ConfigError(f"agent.tunnel_address: {failure}") from failure
    site = Site(name, Names(tag_of(secret, name)), tunnel, section.outbound)
    return await open_driver(section.network_driver, world, site, str(directory), lookup)


def read_secret(path: str) -> str:
    """What the services and agents show one another.  Raises ConfigError."""
    try:
        secret = Path(path).read_text().strip()
    except (OSError, ValueError) as failure:
        raise ConfigError(f"the agents' secret in {path} cannot be read: {failure}") from failure
    if len(secret) < 32 or not secret.isascii() or not secret.isprintable():
        raise ConfigError(f"the agents' secret in {path} must have 32 printable characters at least")
    hide(secret)
    return secret


async def _reporting(
    services: Services, world: World, agent: Agent, networks: Networks, fixed: Report, changed: asyncio.Event, interval_s: float
) -> None:
    def report() -> Report:
        return replace(fixed, network_revision=networks.revision, guests=agent.power(), ports_up=networks.up)

    await Reporter(services, world.clock, agent, networks, report, changed, interval_s=interval_s).run()


def _report(section: Any, name: str, accelerator: str, driver: str, boot_id: str) -> Report:
    """What does not change of this host's reports."""
    try:
        cpu = facts.cpu_model(Path("/proc/cpuinfo").read_text())
    except OSError:
        cpu = ""
    scheme = "https" if section.certificate_file else "http"
    return Report(
        host=name, address=section.address or f"{scheme}://{section.listen}:{section.port}", tunnel_address=section.tunnel_address,
        version=installed_version(), vcpus=section.vcpus or facts.vcpus(), memory_mb=section.memory_mb or facts.memory_mb(),
        disk_gb=section.disk_gb, cpu_model=cpu, accelerator=accelerator, traits=facts.traits(accelerator, driver), network_driver=driver,
        boot_id=boot_id,
    )  # fmt: skip
