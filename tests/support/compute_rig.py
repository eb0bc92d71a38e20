"""Servers over the real image, volume and network services and a store in memory, asked in the same process; hosts are scripted.

A scripted host speaks agent_api.py: calls reach it as bytes and are decoded as an agent decodes them.  It attaches the disks of its guests
as a host does, by the volume's head, so that what is still held somewhere is refused elsewhere.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, text

from objstore.errors import Unavailable
from objstore.services.calls.app import Service, ServiceApp
from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.calls.tokens import RegistryTokens
from objstore.services.compute import agent_api, cloud_tables, records, versions
from objstore.services.compute.agent_api import CALLS, Power, Report
from objstore.services.compute.agent_client import AgentRefused
from objstore.services.compute.context import Context
from objstore.services.compute.desks import Flavor, Key
from objstore.services.compute.hosts import Hosts
from objstore.services.compute.records import Server
from objstore.services.compute.scheduler import Places
from objstore.services.compute.server_app import HostVolumes, ServerPart
from objstore.services.compute.settings import ComputeSettings
from objstore.services.compute.tables import SCHEMA, SERVERS, TABLES
from objstore.services.compute.views import refusal
from objstore.services.network.desk import NetworkDesk
from objstore.services.network.service import NetworkService
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import TABLES as NETWORK_TABLES
from objstore.services.tables.migrations import migrate
from tests.support.block_rig import BlockRig
from tests.support.image_rig import ADMIN, ALICE, BOB, READER, Reply, _person, run_rig
from tests.support.network_rig import NetworkRig

URL = "http://compute.test/compute"
FLAVORS = {
    "1": Flavor("1", "tiny", 1, 64, 1),
    "2": Flavor("2", "small", 2, 128, 2, extra_specs={"a": "b"}),
    "3": Flavor("3", "rich", 1, 64, 1, 1, 512),
    "4": Flavor("4", "large", 1, 100_000, 1),
    "5": Flavor("5", "as the image", 1, 64, 0),
}
__all__ = ["ADMIN", "ALICE", "BOB", "FLAVORS", "READER", "ComputeRig", "Cut", "Reply", "on_compute_rig"]


class Catalog:
    """Five flavors, a key of everybody, a quota."""

    instances = 10
    metadata = 5

    def flavor(self, connection: Connection, project: str, flavor_id: str, *, is_admin: bool) -> Flavor | None:
        return FLAVORS.get(flavor_id)

    def key(self, connection: Connection, user_id: str, name: str) -> Key | None:
        return Key("mine", "ssh", "ssh-ed25519 AAAA me") if name == "mine" else None

    def check_quota(self, connection: Connection, project: str, *, instances: int, cores: int, memory_mb: int, user_id: str = "") -> None:
        query = text("SELECT count(*) FROM servers WHERE project = :project AND vm_state <> 'deleted'")
        if connection.execute(query, {"project": project}).scalar_one() + instances > self.instances:
            raise forbidden("Quota exceeded for instances")

    def check_group(self, connection: Connection, project: str, group_id: str, *, adding: int) -> None:
        raise bad_request(f"Instance group {group_id} could not be found.")

    def metadata_limit(self, connection: Connection, project: str) -> int:
        return self.metadata


@dataclass
class Guest:
    """A guest on a scripted host."""

    spec: agent_api.ServerSpec
    state: str = "running"


@dataclass
class ScriptedHost:
    """A host: guests, and what they hold."""

    name: str
    rig: "ComputeRig"
    guests: dict[str, Guest] = field(default_factory=dict)
    awaited: dict[str, agent_api.ServerSpec] = field(default_factory=dict)
    calls: list[Any] = field(default_factory=list)
    down: bool = False
    refuses: dict[str, tuple[int, str]] = field(default_factory=dict)  # name of a call -> its refusal
    loses: set[str] = field(default_factory=set)  # calls that are carried out and whose answer never comes, once each

    async def answer(self, name: str, body: bytes) -> bytes:
        """One call, as an agent's HTTP handler sees it."""
        message = msgspec.json.decode(body, type=CALLS[name])
        self.calls.append(message)
        if self.down:
            raise Unavailable(f"{self.name} does not answer")
        if name in self.refuses:
            raise AgentRefused(*self.refuses[name])
        found = await getattr(self, f"_{name}")(message)
        if name in self.loses:
            self.loses.discard(name)
            raise Unavailable(f"{self.name} went away before it answered")
        return msgspec.json.encode(found)

    async def _hold(self, disk: agent_api.Disk, *, force: bool = False) -> None:
        volume = bytes.fromhex(disk.volume)
        head = await self.rig.volumes.head(volume)
        if head.holder not in ("", self.name) and not force:
            raise AgentRefused(409, f"volume {disk.volume} is attached to {head.holder}")
        await self.rig.volumes._change(volume, lambda h: msgspec.structs.replace(h, holder=self.name, epoch=h.epoch + 1))

    async def _let_go(self, disk: agent_api.Disk) -> None:
        volume = bytes.fromhex(disk.volume)
        await self.rig.volumes._change(volume, lambda h: msgspec.structs.replace(h, holder="") if h.holder == self.name else h)

    def _guest(self, id_: str) -> Guest:
        if id_ not in self.guests:
            raise AgentRefused(404, f"no guest {id_} here")
        return self.guests[id_]

    async def _spawn(self, message: agent_api.Spawn) -> Any:
        for disk in message.server.disks:
            await self._hold(disk, force=message.force)
        self.guests[message.server.id] = Guest(message.server)
        return {}

    async def _stop(self, message: agent_api.Stop) -> Any:
        guest = self._guest(message.server)
        for disk in guest.spec.disks:
            await self._let_go(disk)
        guest.state = "off"
        return {}

    async def _reboot(self, message: agent_api.Reboot) -> Any:
        guest = self._guest(message.server)
        if guest.state == "off":
            raise AgentRefused(409, "the guest does not run")
        guest.state = "running"
        return {}

    async def _pause(self, message: agent_api.Pause) -> Any:
        self._guest(message.server).state = "paused" if message.paused else "running"
        return {}

    async def _destroy(self, message: agent_api.Destroy) -> Any:
        guest = self.guests.pop(message.server, None)
        self.awaited.pop(message.server, None)
        for disk in guest.spec.disks if guest is not None else ():
            await self._let_go(disk)
        return {}

    async def _attach_disk(self, message: agent_api.AttachDisk) -> Any:
        guest = self._guest(message.server)
        await self._hold(message.disk)
        others = tuple(disk for disk in guest.spec.disks if disk.volume != message.disk.volume)
        guest.spec = msgspec.structs.replace(guest.spec, disks=(*others, message.disk))
        return {}

    async def _detach_disk(self, message: agent_api.DetachDisk) -> Any:
        guest = self._guest(message.server)
        for disk in guest.spec.disks:
            if disk.volume == message.volume:
                await self._let_go(disk)
        guest.spec = msgspec.structs.replace(guest.spec, disks=tuple(disk for disk in guest.spec.disks if disk.volume != message.volume))
        return {}

    async def _attach_nic(self, message: agent_api.AttachNic) -> Any:
        guest = self._guest(message.server)
        others = tuple(nic for nic in guest.spec.nics if nic.port != message.nic.port)
        guest.spec = msgspec.structs.replace(guest.spec, nics=(*others, message.nic))
        return {}

    async def _detach_nic(self, message: agent_api.DetachNic) -> Any:
        guest = self._guest(message.server)
        guest.spec = msgspec.structs.replace(guest.spec, nics=tuple(nic for nic in guest.spec.nics if nic.port != message.port))
        return {}

    async def _console_log(self, message: agent_api.ConsoleLog) -> Any:
        self._guest(message.server)
        return {"output": "".join(["first\n", "second\n", "third\n"][-(message.lines or 9) :])}

    async def _snapshot_volume(self, message: agent_api.SnapshotVolume) -> Any:
        await self.rig.volumes.snapshot(bytes.fromhex(message.volume), snapshot=bytes.fromhex(message.snapshot))
        return {}

    async def _resize_volume(self, message: agent_api.ResizeVolume) -> Any:
        return {}

    async def _receive(self, message: agent_api.Receive) -> Any:
        if message.server.id in self.guests:
            raise AgentRefused(409, f"server {message.server.id} {agent_api.ON_THIS_HOST}")
        self.awaited[message.server.id] = message.server
        return {"address": f"tcp:{self.name}:1"}

    async def _migrate(self, message: agent_api.Migrate) -> Any:
        guest = self._guest(message.server)
        target = self.rig.hosts[message.address.split(":")[1]]
        spec = target.awaited.pop(message.server)
        for disk in guest.spec.disks:
            await self._let_go(disk)
        for disk in spec.disks:
            await target._hold(disk)
        del self.guests[message.server]
        target.guests[message.server] = Guest(spec, guest.state)
        return {}


class Agents:
    """Calls reach hosts as bytes."""

    def __init__(self, rig: "ComputeRig") -> None:
        self._rig = rig

    async def call(self, host: str, message: msgspec.Struct) -> Any:
        await asyncio.sleep(0.001)
        if host not in self._rig.hosts:
            raise Unavailable(f"host {host} never reported")
        name = next(name for name, kind in CALLS.items() if kind is type(message))
        return msgspec.json.decode(await self._rig.hosts[host].answer(name, msgspec.json.encode(message)))


class Cut(BaseException):
    """The conductor's process dies here."""


class Fuse:
    """Counts steps; after the chosen one the process dies."""

    def __init__(self) -> None:
        self.steps = 0
        self.at = -1
        self.trace: list[str] = []

    async def step(self, name: str, call: Callable[[], Awaitable[Any]]) -> Any:
        self.steps += 1
        self.trace.append(name)
        found = await call()
        if self.steps == self.at:
            raise Cut
        return found


class Fused:
    """Something whose asynchronous calls are steps."""

    def __init__(self, real: Any, name: str, fuse: Fuse, only: tuple[str, ...] = ()) -> None:
        self._real, self._name, self._fuse, self._only = real, name, fuse, only

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._real, name)
        if not asyncio.iscoroutinefunction(found) or (self._only and name not in self._only):
            return found

        def call(*args: Any, **named: Any) -> Awaitable[Any]:
            return self._fuse.step(f"{self._name}.{name}", lambda: found(*args, **named))

        return call


class ByPath:
    """The image service's application, and the compute service's below /compute."""

    def __init__(self, images: Any, compute: Any) -> None:
        self._images, self._compute = images, compute
        self.start, self.aclose = images.start, images.aclose

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await (self._compute if scope["path"].startswith("/compute") else self._images)(scope, receive, send)


class ComputeRig(BlockRig):
    """One process of all the services."""

    def __init__(self, *, hosts: int = 2, working: bool = True, **settings: Any) -> None:
        super().__init__()
        self.settings = ComputeSettings(reserved_memory_mb=0, **settings)
        self.network_service = NetworkService(self.sql, self.world, NetworkSettings())
        self.network_desk = NetworkDesk(self.network_service)
        self.hosts = {f"h{number}": ScriptedHost(f"h{number}", self) for number in range(1, hosts + 1)}
        self.registered = Hosts(self.sql, self.world, self.settings)
        self.catalog = Catalog()
        self.fuse = Fuse()
        self.working = working
        self.part = ServerPart(self.context())
        self.compute = ServiceApp(
            Service("compute", URL, {**versions.routes(), **self.part.routes()}, versions.OPEN, refusal, versions.find_version),
            RegistryTokens(self.registry, "compute"), self.world.rng,
        )  # fmt: skip
        self.registered.watch(self.part.reports)
        self.app = ByPath(self.app, self.compute)  # type: ignore[assignment]
        self.network = ""
        self.subnet = ""

    def context(self, *, fused: bool = False) -> Context:
        """What a process works on; with `fused` each of its steps can be its last."""
        fuse = (lambda real, name, *only: Fused(real, name, self.fuse, only)) if fused else (lambda real, name, *only: real)
        return Context(
            fuse(self.sql, "sql", "write"), self.world, URL, 1000, fuse(self.desk, "volumes"), fuse(self.network_desk, "networks"),
            fuse(self.block.bases, "bases"), fuse(self.volumes, "store"), fuse(Agents(self), "agents"), Places(self.settings, self.world.clock),
            self.catalog, stop_timeout_s=5.0,
        )  # fmt: skip

    async def start(self) -> None:
        def drop(connection: Connection) -> None:
            for tables in (TABLES, cloud_tables.TABLES, NETWORK_TABLES):
                for name in tables.tables:
                    connection.execute(text(f"DROP TABLE IF EXISTS {name}"))

        await self.sql.write(drop)
        await super().start()
        await self.network_service.start()
        await migrate(self.sql, cloud_tables.SCHEMA, 1)
        self.desk.serve_hosts(HostVolumes(self.part.context))
        if self.working:
            await self.part.start()
        else:
            self.part.context.jobs_wait = lambda: None
            await migrate(self.sql, SCHEMA, 1)
        for name in self.hosts:
            await self.report(name)
        rig = NetworkRig.__new__(NetworkRig)
        rig.service = self.network_service
        self.network, self.subnet = await rig.network()

    async def aclose(self) -> None:
        await self.part.aclose()
        await super().aclose()

    async def report(self, name: str, **rest: Any) -> tuple[str, ...]:
        """A host reports; the guests that it is to forget."""
        host = self.hosts[name]
        guests = tuple(Power(id_, guest.state, "guest" if guest.state == "off" else "") for id_, guest in host.guests.items())
        fields = {"vcpus": 16, "memory_mb": 4096, "disk_gb": 100, "boot_id": "b1", "guests": guests, **rest}
        return await self.registered.reported(Report(name, "http://127.0.0.1:1", **fields))

    async def dies(self, name: str) -> None:
        """A host is not heard of any more; the others are."""
        self.hosts[name].down = True
        await asyncio.sleep(self.settings.host_down_s + 1)
        for other, host in self.hosts.items():
            if not host.down:
                await self.report(other)

    async def ask(self, method: str, path: str, body: Any = None, *, version: str = "", **rest: Any) -> Reply:  # type: ignore[override]
        """One request to the compute service; with `prefix` to another one."""
        if "prefix" in rest or path.startswith("/v2/"):
            return await super().ask(method, path, body, **rest)
        headers = {**(rest.pop("headers", None) or {}), **({"openstack-api-version": f"compute {version}"} if version else {})}
        return await super().ask(method, "/v2.1" + path, body, headers=headers, prefix="/compute", **rest)

    def user_id(self, name: str = ALICE) -> str:
        return _person(name)

    async def bootable(self, size: int = 4096) -> str:
        """An image."""
        return await self.image(b"\x01" * size, min_disk=0)

    async def made_server(self, *, who: str = ALICE, version: str = "", wait: str = "ACTIVE", **fields: Any) -> str:
        """The id of a new server, once it has the state."""
        document = {"name": "s", "flavorRef": "1", "networks": [{"uuid": self.network}], **fields}
        if "imageRef" not in document and "block_device_mapping_v2" not in document:
            document["imageRef"] = await self.bootable()
        reply = await self.ask("POST", "/servers", {"server": document}, who=who, version=version)
        assert reply.status == 202, reply.raw
        id_ = str(reply.body["server"]["id"])
        if wait:
            await self.until_server(id_, wait, who=who)
        return id_

    async def shown(self, id_: str, *, who: str = ALICE, version: str = "2.96") -> Any:
        reply = await self.ask("GET", f"/servers/{id_}", who=who, version=version)
        assert reply.status == 200, reply.raw
        return reply.body["server"]

    async def until_server(self, id_: str, status: str, *, who: str = ALICE, task: Any = None) -> Any:
        """The server once it has this status and nothing is being done with it."""
        view: Any = {}
        for _ in range(3000):
            reply = await self.ask("GET", f"/servers/{id_}", who=who, version="2.96")
            if reply.status == 404 and status == "GONE":
                return None
            if reply.status == 200:
                view = reply.body["server"]
                if view["status"] == status and view["OS-EXT-STS:task_state"] == task:
                    return view
            await asyncio.sleep(0.1)
        raise AssertionError(f"still {view.get('status')} {view.get('OS-EXT-STS:task_state')} {view.get('fault')}, wanted {status}")

    async def act(self, id_: str, action: str, given: Any = None, **rest: Any) -> Reply:
        return await self.ask("POST", f"/servers/{id_}/action", {action: given}, **rest)

    async def record(self, id_: str) -> Server:
        found = await self.sql.read(lambda connection: records.find(connection, id_))
        assert found is not None
        return found

    async def claims(self, id_: str) -> dict[str, tuple[int, int]]:
        """Host -> (vcpus, memory in MiB) that is claimed there for a server."""
        query = cloud_tables.ALLOCATIONS.select().where(cloud_tables.ALLOCATIONS.c.server == id_)
        rows = await self.sql.read(lambda connection: connection.execute(query).all())
        return {row.host: (row.vcpus, row.memory_mb) for row in rows}

    async def ports_at(self, id_: str) -> set[str]:
        """The hosts that a server's ports are bound to."""
        return {port.host for port in (await self.network_desk.ports_of([id_]))[id_]}

    async def jobs_left(self) -> int:
        query = text("SELECT count(*) FROM jobs WHERE service = 'compute'")
        return int(await self.sql.read(lambda connection: connection.execute(query).scalar_one()))

    async def leftovers(self, id_: str) -> dict[str, Any]:
        """What is left of a server that is deleted: nothing, one hopes."""
        tables = ("server_disks", "server_nics", "server_metadata", "server_tags", "compute_allocations")

        def work(connection: Connection) -> dict[str, Any]:
            rows = {
                name: connection.execute(text(f"SELECT count(*) FROM {name} WHERE server = :id"), {"id": id_}).scalar_one()
                for name in tables
            }
            rows["server"] = connection.execute(SERVERS.select().where(SERVERS.c.id == id_, SERVERS.c.vm_state != "deleted")).all()
            return rows

        found = await self.sql.read(work)
        found["ports"] = (await self.network_desk.ports_of([id_]))[id_]
        found["guests"] = [name for name, host in self.hosts.items() if id_ in host.guests]
        return {name: value for name, value in found.items() if value}

    async def own_volumes(self) -> list[str]:
        """Names of volumes of the store, without the bases of images."""
        heads = await self.volumes.list()
        return sorted(head.name for head in heads if not head.name.startswith("base of"))


def on_compute_rig(test: Callable[[ComputeRig], Awaitable[None]], **settings: Any) -> None:
    """Run a test on a rig of its own."""

    async def main() -> None:
        rig = ComputeRig(**settings)
        await rig.start()
        try:
            await test(rig)
        finally:
            await rig.aclose()

    run_rig(main())
