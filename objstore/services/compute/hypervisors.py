"""Calls on hypervisors: the hosts with what they have and what is taken of it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.paging import limit_of
from objstore.services.calls.problems import CallRefused, bad_request, not_found
from objstore.services.compute import fields
from objstore.services.compute.hosts import Host, all_hosts
from objstore.services.compute.ids import is_uuid
from objstore.services.compute.scheduler import Room, taken_of
from objstore.services.compute.service import ComputeService
from objstore.services.compute.tables import SERVERS
from objstore.services.compute.views import View, next_links

DECODED: Version = (2, 28)  # since when cpu_info is an object
PAGED: Version = (2, 33)
BY_UUID: Version = (2, 53)
SLIM: Version = (2, 88)  # since when room is not told here
TYPE = "QEMU"
VERSION = 1
DAY_S, HOUR_S, MINUTE_S = 86_400, 3600, 60
Servers = Mapping[str, Sequence[tuple[str, str]]]  # host -> (id, name)


class HypervisorCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2.1/os-hypervisors"
        one = many + "/{hypervisor_id}"
        return {
            ("GET", many): self.list_short, ("GET", many + "/detail"): self.list_detail, ("GET", many + "/statistics"): self.statistics,
            ("GET", one): self.show, ("GET", one + "/uptime"): self.uptime, ("GET", one + "/search"): self.search,
            ("GET", one + "/servers"): self.servers,
        }  # fmt: skip

    async def list_short(self, call: Call) -> Answer:
        """Names and states."""
        return await self._list(call, "os-hypervisors", detail=False)

    async def list_detail(self, call: Call) -> Answer:
        """All of each."""
        return await self._list(call, "os-hypervisors/detail", detail=True)

    async def show(self, call: Call) -> Answer:
        """One."""
        call.check_admin()
        hosts, taken, servers = await self._everything()
        host = _find(hosts, call)
        with_servers = call.version >= SLIM or (call.version >= BY_UUID and _flag(call, "with_servers"))
        view = self._detail(host, taken.get(host.name, Room()), call.version)
        if with_servers:
            view["servers"] = _named(servers.get(host.name, ()))
            if call.version < SLIM and not view["servers"]:
                del view["servers"]
        return Answer(body={"hypervisor": view})

    async def statistics(self, call: Call) -> Answer:
        """Sums over all that are enabled."""
        if call.version >= SLIM:
            raise not_found()
        call.check_admin()
        hosts, taken, _ = await self._everything()
        views = [_room(host, taken.get(host.name, Room())) for host in hosts if not host.disabled]
        names = (
            "current_workload", "disk_available_least", "free_disk_gb", "free_ram_mb", "local_gb", "local_gb_used", "memory_mb",
            "memory_mb_used", "running_vms", "vcpus", "vcpus_used",
        )  # fmt: skip
        return Answer(
            body={"hypervisor_statistics": {"count": len(views), **{name: sum(view[name] or 0 for view in views) for name in names}}}
        )

    async def uptime(self, call: Call) -> Answer:
        """For how long one has been known to run."""
        if call.version >= SLIM:
            raise not_found()
        call.check_admin()
        host = _find((await self._everything())[0], call)
        up = self._uptime(host)
        if up is None:
            raise bad_request(f"Compute host {host.name} is not up.")
        return Answer(body={"hypervisor": self._short(host, call.version) | {"uptime": up}})

    async def search(self, call: Call) -> Answer:
        """Those whose name has this in it."""
        found, _ = await self._searched(call)
        return Answer(body={"hypervisors": [self._short(host, call.version) for host in found]})

    async def servers(self, call: Call) -> Answer:
        """The same, with their servers."""
        found, servers = await self._searched(call)
        views = []
        for host in found:
            view = self._short(host, call.version)
            if servers.get(host.name):
                view["servers"] = _named(servers[host.name])
            views.append(view)
        return Answer(body={"hypervisors": views})

    async def _searched(self, call: Call) -> tuple[list[Host], Servers]:
        if call.version >= BY_UUID:
            raise not_found()
        call.check_admin()
        hosts, _, servers = await self._everything()
        pattern = call.parameters["hypervisor_id"]
        found = [host for host in hosts if pattern in host.name]
        if not found:
            raise not_found(f"No hypervisor matching '{pattern[:64]}' could be found.")
        return found, servers

    async def _list(self, call: Call, path: str, *, detail: bool) -> Answer:
        call.check_admin()
        version = call.version
        hosts, taken, servers = await self._everything()
        pattern = call.first("hypervisor_hostname_pattern") if version >= BY_UUID else None
        paged = version >= PAGED and (call.first("limit") is not None or call.first("marker") is not None)
        if pattern is not None:
            if paged:
                raise bad_request("Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not supported.")
            hosts = [host for host in hosts if pattern in host.name]
            if not hosts:
                raise not_found(f"No hypervisor matching '{pattern[:64]}' could be found.")
        with_servers = version >= BY_UUID and _flag(call, "with_servers")
        limit = limit_of(call, default=0, most=self._service.settings.page_limit) or self._service.settings.page_limit
        if paged:
            hosts = _after(hosts, call.first("marker"), version)[:limit]
        views = []
        for host in hosts:
            view = self._detail(host, taken.get(host.name, Room()), version) if detail else self._short(host, version)
            if with_servers and (servers.get(host.name) or version >= SLIM):
                view["servers"] = _named(servers.get(host.name, ()))
            views.append(view)
        body: View = {"hypervisors": views}
        if paged and call.first("limit") is not None and hosts:
            body |= next_links(call, path, "hypervisors", limit, [str(_id(host, version)) for host in hosts])
        return Answer(body=body)

    async def _everything(self) -> tuple[list[Host], dict[str, Room], Servers]:
        def work(connection: Connection) -> tuple[list[Host], dict[str, Room], Servers]:
            return all_hosts(connection, self._service.settings.zone), taken_of(connection), servers_by_host(connection)

        return await self._service.read(work)

    def _short(self, host: Host, version: Version) -> View:
        return {
            "id": _id(host, version), "hypervisor_hostname": host.name, "state": "up" if self._service.hosts.alive(host) else "down",
            "status": "disabled" if host.disabled else "enabled",
        }  # fmt: skip

    def _detail(self, host: Host, room: Room, version: Version) -> View:
        service = {"id": host.service if version >= BY_UUID else host.number, "host": host.name, "disabled_reason": host.disabled_reason}
        view = self._short(host, version) | {
            "hypervisor_type": TYPE, "hypervisor_version": VERSION, "host_ip": urlsplit(host.report.address).hostname or "", "service": service,
        }  # fmt: skip
        if version >= SLIM:
            return view | {"uptime": self._uptime(host)}
        cpu = {
            "arch": "x86_64",
            "model": host.report.cpu_model,
            "accelerator": host.report.accelerator,
            "features": list(host.report.traits),
        }
        return view | _room(host, room) | {"cpu_info": cpu if version >= DECODED else json.dumps(cpu)}

    def _uptime(self, host: Host) -> str | None:
        if not self._service.hosts.alive(host):
            return None
        seconds = (self._service.now_us() - host.booted_us) // 1_000_000
        days, rest = divmod(seconds, DAY_S)
        return f"up {days} days, {rest // HOUR_S:2d}:{rest % HOUR_S // MINUTE_S:02d}"


def servers_by_host(connection: Connection) -> Servers:
    """The servers of each host."""
    query = select(SERVERS.c.host, SERVERS.c.id, SERVERS.c.name).where(SERVERS.c.host != "", SERVERS.c.deleted_us.is_(None))
    found: dict[str, list[tuple[str, str]]] = {}
    for row in connection.execute(query.order_by(SERVERS.c.created_us)):
        found.setdefault(row.host, []).append((row.id, row.name))
    return found


def _id(host: Host, version: Version) -> str | int:
    return host.hypervisor if version >= BY_UUID else host.number


def _find(hosts: Sequence[Host], call: Call) -> Host:
    """The host that a call's path names.  Raises 404, and 400 for what is no UUID where they are expected."""
    id_ = call.parameters["hypervisor_id"]
    if call.version >= BY_UUID and not is_uuid(id_):
        raise bad_request(f"Invalid uuid {id_[:64]}")
    found = next((host for host in hosts if str(_id(host, call.version)) == id_), None)
    if found is None:
        raise _unknown(id_)
    return found


def _after(hosts: list[Host], marker: str | None, version: Version) -> list[Host]:
    if marker is None:
        return hosts
    at = next((number for number, host in enumerate(hosts) if str(_id(host, version)) == marker), None)
    if at is None:
        raise bad_request(f"marker [{marker[:64]}] not found")
    return hosts[at + 1 :]


def _flag(call: Call, name: str) -> bool:
    value = call.first(name)
    return value is not None and fields.flag(name, value)


def _unknown(id_: str) -> CallRefused:
    return not_found(f"Hypervisor with ID '{id_[:64]}' could not be found.")


def _named(servers: Sequence[tuple[str, str]]) -> list[dict[str, str]]:
    return [{"uuid": id_, "name": name} for id_, name in servers]


def _room(host: Host, room: Room) -> dict[str, Any]:
    """Disks are in the store: what a host has of its own is for journals, and nothing of it is claimed."""
    report = host.report
    return {
        "current_workload": 0, "disk_available_least": report.disk_gb, "free_disk_gb": report.disk_gb, "local_gb": report.disk_gb,
        "local_gb_used": 0, "free_ram_mb": report.memory_mb - room.memory_mb, "memory_mb": report.memory_mb, "memory_mb_used": room.memory_mb,
        "running_vms": len(room.servers), "vcpus": report.vcpus, "vcpus_used": room.vcpus,
    }  # fmt: skip
