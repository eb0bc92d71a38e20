"""Actions that move a server or change its size: resize and its two ends, migrate, live migration, evacuation."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import bad_request, conflict
from objstore.services.compute import fields, records
from objstore.services.compute.context import Context
from objstore.services.compute.desks import Flavor
from objstore.services.compute.records import Server, json_text
from objstore.services.compute.states import ACTIVE, DELETING, ERROR, POWER_RUNNING

Action = Callable[[Call, Any], Awaitable[Answer]]


class MoveActions:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def actions(self) -> dict[str, Action]:
        """Name -> handler."""
        return {
            "resize": self._resize, "confirmResize": self._confirm, "revertResize": self._revert, "migrate": self._migrate,
            "os-migrateLive": self._live, "evacuate": self._evacuate,
        }  # fmt: skip

    async def _resize(self, call: Call, given: Any) -> Answer:
        context = self._context
        document = fields.only(given, ("flavorRef", "OS-DCF:diskConfig"), "resize")
        wanted = document.get("flavorRef")
        if isinstance(wanted, bool) or not isinstance(wanted, str | int) or not 1 <= len(str(wanted)) <= 255:
            raise fields.wrong("flavorRef", wanted, "It is not the id of a flavor")
        flavor_id = str(wanted).rsplit("/", 1)[-1]
        values: dict[str, Any] = {}
        if "OS-DCF:diskConfig" in document:
            values["disk_config"] = fields.one_of("AUTO", "MANUAL")("OS-DCF:diskConfig", document["OS-DCF:diskConfig"])
        move_id = context.new_id()

        def check(connection: Connection, server: Server) -> None:
            flavor = context.catalog.flavor(connection, server.project, flavor_id, is_admin=call.is_admin)
            if flavor is None:
                raise bad_request(f"Flavor {flavor_id} could not be found.")
            self._begin_move(connection, call, server, move_id, "resize", flavor.id)
            _check_size(context, connection, server, flavor)
            records.change(connection, server.id, other_flavor=json_text(flavor))

        await context.begin(call, "resize", job="resize", check=check, **values)
        return Answer(202)

    def _begin_move(self, connection: Connection, call: Call, server: Server, id_: str, kind: str, flavor: str, target: str = "") -> None:
        """Write the move down, and give up what one that was cut off before (os-resetState, a dead host) had claimed."""
        now_us = self._context.now_us()
        self._context.places.settle(connection, server.id, server.host, vcpus=server.vcpus, memory_mb=server.memory_mb)
        records.change(connection, server.id, other_host="", other_flavor="")
        records.begin_move(connection, server, id_, kind, target=target, new_flavor=flavor, user_id=call.who.user.id, now_us=now_us)

    async def _confirm(self, call: Call, _: Any) -> Answer:
        await self._context.begin(call, "confirmResize", job="confirm")
        return Answer(204)

    async def _revert(self, call: Call, _: Any) -> Answer:
        def check(connection: Connection, server: Server) -> None:
            if not server.other_flavor:
                raise conflict(f"Instance {server.id} has not been resized.")

        await self._context.begin(call, "revertResize", job="revert", check=check)
        return Answer(202)

    async def _migrate(self, call: Call, given: Any) -> Answer:
        context = self._context
        await context.server(call)
        call.check_admin()
        host = _host(given, call, "migrate") if call.version >= (2, 56) else ""
        move_id = context.new_id()

        def check(connection: Connection, server: Server) -> None:
            self._check_target(connection, server, host)
            self._begin_move(connection, call, server, move_id, "migration", server.flavor, host)
            records.change(connection, server.id, other_flavor=server.flavor_document)

        await context.begin(call, "migrate", job="resize", details={"host": host, "elsewhere": "1"}, check=check)
        return Answer(202)

    def _check_target(self, connection: Connection, server: Server, host: str) -> None:
        if not host:
            return
        if not self._context.places.host_exists(connection, host):
            raise bad_request(f"Compute host {host[:64]} could not be found.")
        if host == server.host:
            raise bad_request("Cannot migrate to the host where the server exists.")

    async def _live(self, call: Call, given: Any) -> Answer:
        context = self._context
        await context.server(call)
        call.check_admin()
        known = (
            "host",
            "block_migration",
            *(("disk_over_commit",) if call.version < (2, 25) else ()),
            *(("force",) if call.version >= (2, 30) else ()),
        )
        document = fields.only(given, known, "os-migrateLive")
        if "host" not in document or "block_migration" not in document:
            raise bad_request("Invalid input for field/attribute os-migrateLive. 'host' and 'block_migration' are required properties")
        block = document["block_migration"]
        if block != "auto" or call.version < (2, 25):
            block = fields.flag("block_migration", block)
        if document.get("force") and call.version >= (2, 68):
            raise bad_request(
                "Invalid input for field/attribute os-migrateLive. Additional properties are not allowed ('force' was unexpected)"
            )
        host = "" if document["host"] is None else fields.text(255, 1)("host", document["host"])
        move_id = context.new_id()

        def check(connection: Connection, server: Server) -> None:
            if block is True:
                raise bad_request(f"{server.host} is not on local storage: Block migration can not be used with shared storage.")
            self._check_target(connection, server, host)
            if not context.places.is_alive(connection, server.host):
                raise bad_request(f"Compute service of {server.host} is unavailable at this time.")
            self._begin_move(connection, call, server, move_id, "live-migration", server.flavor, host)

        await context.begin(call, "live-migration", job="live-migrate", details={"host": host}, check=check)
        return Answer(202)

    async def _evacuate(self, call: Call, given: Any) -> Answer:
        context = self._context
        await context.server(call)
        call.check_admin()
        known = (
            "host",
            "adminPass",
            *(("onSharedStorage",) if call.version < (2, 14) else ()),
            *(("force",) if (2, 29) <= call.version < (2, 68) else ()),
        )
        document = fields.only(given, known, "evacuate")
        if call.version < (2, 14) and "onSharedStorage" not in document:
            raise bad_request("Invalid input for field/attribute evacuate. 'onSharedStorage' is a required property")
        host = fields.text(255, 1)("host", document["host"]) if document.get("host") is not None else ""
        password = document.get("adminPass") or context.world.rng.token(6).hex()
        fields.text()("adminPass", password)
        move_id = context.new_id()
        details = {"host": host}

        def check(connection: Connection, server: Server) -> None:
            if server.task_state == DELETING:
                raise conflict(f"Cannot 'evacuate' instance {server.id} while it is in task_state {DELETING}")
            if not server.host:
                raise conflict(f"Instance {server.id} never had a host.")
            if context.places.is_alive(connection, server.host):
                raise bad_request(f"Compute service of {server.host} is still in use.")
            self._check_target(connection, server, host)
            running = server.vm_state == ACTIVE or (server.vm_state == ERROR and server.power_state == POWER_RUNNING)
            details["running"] = "1" if running else "0"
            self._begin_move(connection, call, server, move_id, "evacuation", server.flavor, host)

        # What was being done with it was being done by a host that is no more.
        await context.begin(call, "evacuate", job="evacuate", details=details, check=check)
        return Answer(200, {"adminPass": password}) if call.version < (2, 14) else Answer(200)


def _host(given: Any, call: Call, action: str) -> str:
    if given is None:
        return ""
    found = fields.only(given, ("host",), action).get("host")
    return "" if found is None else str(fields.text(255, 1)("host", found))


def _check_size(context: Context, connection: Connection, server: Server, flavor: Flavor) -> None:
    """Raises 400, 403 where a server cannot become as large, or as small."""
    now = server.as_flavor
    if flavor.id == now.id:
        raise bad_request("When resizing, instances must change flavor!")
    root = next((disk for disk in server.disks if disk.boot_index == 0), None)
    if root is not None and not root.is_volume:
        if flavor.root_gb == 0 and now.root_gb:
            raise bad_request("Resize to zero disk flavor is not allowed.")
        if flavor.root_gb < root.size_gb:
            raise bad_request("Flavor's disk is too small: the root disk of a server cannot be made smaller.")
    if flavor.ephemeral_gb != now.ephemeral_gb or flavor.swap_mb != now.swap_mb:
        raise bad_request("Ephemeral and swap disks of a server keep their size: choose a flavor that has the same.")
    context.catalog.check_quota(
        connection,
        server.project,
        instances=0,
        cores=max(0, flavor.vcpus - now.vcpus),
        memory_mb=max(0, flavor.memory_mb - now.memory_mb),
        user_id=server.user_id,
    )
