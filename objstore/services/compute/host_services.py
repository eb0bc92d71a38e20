"""Calls on the processes of the service, as Nova counts them: one nova-compute for each host, and the conductor and scheduler of this process.

Also the older calls on hosts, which say the same in other words.
"""

from typing import Any

from sqlalchemy import Connection, or_, select, update

from objstore.identity.tenancy import fixed_id
from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import CallRefused, bad_request, conflict, not_found
from objstore.services.compute import fields
from objstore.services.compute.cloud_tables import HOSTS
from objstore.services.compute.fields import member, only
from objstore.services.compute.hosts import Host, forget_host
from objstore.services.compute.ids import is_uuid
from objstore.services.compute.service import ComputeService
from objstore.services.compute.tables import SERVERS
from objstore.services.compute.views import View, time_of

FORCED: Version = (2, 11)
NO_HOSTS: Version = (2, 43)
BY_UUID: Version = (2, 53)
STRICT: Version = (2, 75)
COMPUTE = "nova-compute"
OURS = ("nova-conductor", "nova-scheduler")
INTERNAL = "internal"


class ServiceCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2.1/os-services"
        one = many + "/{service_id}"
        hosts = "/v2.1/os-hosts"
        return {
            ("GET", many): self.list_services, ("PUT", one): self.update, ("DELETE", one): self.remove, ("GET", hosts): self.list_hosts,
            ("GET", hosts + "/{host}"): self.show_host, ("PUT", hosts + "/{host}"): self.update_host,
            ("GET", hosts + "/{host}/{action}"): self.power_host,
        }  # fmt: skip

    async def list_services(self, call: Call) -> Answer:
        """All of them, or those of a host or a kind."""
        call.check_admin()
        if call.version >= STRICT and (strange := [name for name, _ in call.query if name not in ("host", "binary")]):
            raise bad_request(f"Invalid input for query parameters {strange[0][:64]}. Additional properties are not allowed")
        host, binary = call.first("host"), call.first("binary")
        views = [view for view, _ in await self._views(call.version)]
        return Answer(body={"services": [v for v in views if host in (None, v["host"]) and binary in (None, v["binary"])]})

    async def update(self, call: Call) -> Answer:
        """By id; in older versions the path has the verb, and the body the host."""
        call.check_admin()
        id_ = call.parameters["service_id"]
        if call.version < BY_UUID:
            return await self._update_old(call, id_)
        _check_uuid(id_)
        given = only(await call.document(), ("status", "disabled_reason", "forced_down"))
        if not given:
            raise bad_request("No updates were requested. Fields 'status' or 'forced_down' should be specified.")
        values: dict[str, Any] = {}
        if "status" in given:
            values["disabled"] = fields.one_of("enabled", "disabled")("status", given["status"]) == "disabled"
            values["disabled_reason"] = None
        if "disabled_reason" in given:
            if not values.get("disabled"):
                raise bad_request("Specifying 'disabled_reason' requires that status is 'disabled'.")
            values["disabled_reason"] = _reason(given["disabled_reason"])
        if "forced_down" in given:
            values["forced_down"] = fields.flag("forced_down", given["forced_down"])
        found = await self._change(HOSTS.c.service == id_, values)
        if not found:
            if id_ in [_our_id(binary, self._service.process) for binary in OURS]:
                raise bad_request(f"Updating a {OURS[0]} or {OURS[1]} service is not supported. Only {COMPUTE} services can be updated.")
            raise not_found(f"Service {id_} could not be found.")
        view = next(view for view, host in await self._views(call.version) if host is not None and host.service == id_)
        return Answer(body={"service": view})

    async def remove(self, call: Call) -> Answer:
        """Forget a host that runs nothing; it is there again when its agent reports."""
        call.check_admin()
        id_ = call.parameters["service_id"]
        if call.version >= BY_UUID:
            _check_uuid(id_)
            chosen = HOSTS.c.service == id_
        else:
            chosen = HOSTS.c.number == fields.integer(0)("id", id_)

        def work(connection: Connection) -> None:
            name = connection.execute(select(HOSTS.c.host).where(chosen)).scalar_one_or_none()
            if name is None:
                raise not_found(f"Service {id_[:64]} could not be found.")
            lives = or_(SERVERS.c.host == name, SERVERS.c.other_host == name)
            here = select(SERVERS.c.id).where(lives, SERVERS.c.deleted_us.is_(None)).limit(1)
            if connection.execute(here).one_or_none() is not None:
                raise conflict("Unable to delete compute service that is hosting instances. Migrate or delete the instances first.")
            forget_host(connection, name)

        await self._service.write(work)
        return Answer(204)

    async def _update_old(self, call: Call, verb: str) -> Answer:
        known = {"enable": (), "disable": (), "disable-log-reason": ("disabled_reason",), "force-down": ("forced_down",)}
        if verb not in known or (verb == "force-down" and call.version < FORCED):
            raise not_found("Unknown action")
        given = only(await call.document(), ("host", "binary", *known[verb]))
        host, binary = str(member(given, "host")), str(member(given, "binary"))
        told: View = {"host": host, "binary": binary}
        if verb == "force-down":
            values: dict[str, Any] = {"forced_down": fields.flag("forced_down", member(given, "forced_down"))}
            told |= values
        else:
            values = {"disabled": verb != "enable", "disabled_reason": None}
            told["status"] = "enabled" if verb == "enable" else "disabled"
            if verb == "disable-log-reason":
                values["disabled_reason"] = told["disabled_reason"] = _reason(member(given, "disabled_reason"))
        if binary != COMPUTE or not await self._change(HOSTS.c.host == host, values):
            raise not_found(f"Could not find binary {binary[:64]} on host {host[:64]}.")
        return Answer(body={"service": told})

    async def _change(self, chosen: Any, values: dict[str, Any]) -> bool:
        values = {**values, "updated_us": self._service.now_us()}
        if "forced_down" in values:
            values["down_told"] = False  # whoever is said to be dead is to be acted upon at once
        changed = bool(
            await self._service.write(lambda connection: connection.execute(update(HOSTS).where(chosen).values(**values)).rowcount)
        )
        if changed and values.get("forced_down"):
            await self._service.hosts.look()
        return changed

    async def _views(self, version: Version) -> list[tuple[View, Host | None]]:
        now = time_of(self._service.now_us())
        found: list[tuple[View, Host | None]] = []
        for number, binary in enumerate(OURS):
            view: View = {
                "id": _our_id(binary, self._service.process) if version >= BY_UUID else 1_000_000 + number, "binary": binary,
                "host": self._service.process, "zone": INTERNAL, "status": "enabled", "state": "up", "updated_at": now, "disabled_reason": None,
            }  # fmt: skip
            found.append((view, None))
        for host in await self._service.hosts.all():
            view = {
                "id": host.service if version >= BY_UUID else host.number, "binary": COMPUTE, "host": host.name, "zone": host.zone,
                "status": "disabled" if host.disabled else "enabled", "state": "up" if self._service.hosts.alive(host) else "down",
                "updated_at": time_of(max(host.reported_us, host.updated_us)), "disabled_reason": host.disabled_reason,
            }  # fmt: skip
            found.append((view, host))
        for view, told in found:
            if version >= FORCED:
                view["forced_down"] = told is not None and told.forced_down
        return found

    # -- the older calls --

    async def list_hosts(self, call: Call) -> Answer:
        """Hosts with what runs there."""
        call.check_admin()
        _check_hosts(call)
        zone = call.first("zone") or None
        views = [view for view, _ in await self._views(call.version)]
        shown = [{"host_name": v["host"], "service": v["binary"].removeprefix("nova-"), "zone": v["zone"]} for v in views]
        return Answer(body={"hosts": [view for view in shown if zone in (None, view["zone"])]})

    async def show_host(self, call: Call) -> Answer:
        """What a host has, what is taken, and by whom."""
        call.check_admin()
        _check_hosts(call)
        host = await self._host(call)
        query = select(SERVERS.c.project, SERVERS.c.vcpus, SERVERS.c.memory_mb).where(
            SERVERS.c.host == host.name, SERVERS.c.deleted_us.is_(None)
        )
        rows = await self._service.read(lambda connection: connection.execute(query).all())
        projects: dict[str, tuple[int, int]] = {}
        for row in rows:
            cpu, memory = projects.get(row.project, (0, 0))
            projects[row.project] = (cpu + row.vcpus, memory + row.memory_mb)
        used = (sum(cpu for cpu, _ in projects.values()), sum(memory for _, memory in projects.values()))
        parts = {
            "(total)": (host.report.vcpus, host.report.memory_mb, host.report.disk_gb),
            "(used_now)": (*used, 0),
            "(used_max)": (*used, 0),
        }
        parts |= {project: (*sums, 0) for project, sums in projects.items()}
        return Answer(
            body={
                "host": [
                    {"resource": {"host": host.name, "project": name, "cpu": cpu, "memory_mb": memory, "disk_gb": disk}}
                    for name, (cpu, memory, disk) in parts.items()
                ]
            }
        )

    async def update_host(self, call: Call) -> Answer:
        """Enable or disable it."""
        call.check_admin()
        _check_hosts(call)
        given = only(await call.document(), ("status", "maintenance_mode"))
        asked = {name: fields.one_of("enable", "disable")(name, str(value).strip().lower()) for name, value in given.items()}
        if not asked:
            raise bad_request("Invalid input for field/attribute body. It does not have enough properties")
        host = await self._host(call)
        if "maintenance_mode" in asked:
            raise CallRefused(501, "Hosts have no maintenance mode here: disable the host.")
        status = asked["status"]
        await self._change(HOSTS.c.host == host.name, {"disabled": status == "disable", "disabled_reason": None})
        return Answer(body={"host": host.name, "status": status + "d"})

    async def power_host(self, call: Call) -> Answer:
        """Hosts are not switched on or off from here."""
        call.check_admin()
        _check_hosts(call)
        if call.parameters["action"] not in ("startup", "shutdown", "reboot"):
            raise not_found()
        await self._host(call)
        raise CallRefused(501, "Hosts are not switched on or off from here.")

    async def _host(self, call: Call) -> Host:
        name = call.parameters["host"]
        found = await self._service.hosts.find(name)
        if found is None:
            raise not_found(f"Compute host {name[:64]} could not be found.")
        return found


def _check_hosts(call: Call) -> None:
    if call.version >= NO_HOSTS:
        raise not_found()


def _check_uuid(id_: str) -> None:
    if not is_uuid(id_):
        raise bad_request(f"Invalid uuid {id_[:64]}")


def _our_id(binary: str, process: str) -> str:
    text = fixed_id("compute service", f"{binary} {process}")
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def _reason(value: Any) -> str:
    reason: str = fields.text(least=1)("disabled_reason", value)
    if reason != reason.strip():
        raise bad_request("Disabled reason contains invalid characters or is too long")
    return reason
