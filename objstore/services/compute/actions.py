"""POST /servers/ID/action: what can be done with a server, one word a request; each answers as Nova does."""

from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import CallRefused, bad_request, conflict, forbidden, not_found
from objstore.services.compute import fields, records
from objstore.services.compute.agent_api import ConsoleLog
from objstore.services.compute.agent_client import AgentRefused
from objstore.services.compute.context import Action, Context, check_may, seen_server
from objstore.services.compute.records import Server
from objstore.services.compute.server_backups import create_backup
from objstore.services.compute.server_images import create_image
from objstore.services.compute.server_moves import MoveActions
from objstore.services.compute.server_rebuild import rebuild
from objstore.services.compute.servers import begin_delete
from objstore.services.compute.states import ACTIVE, ERROR, MIGRATING, NO_TASK

MAX_LINES = 100_000
# What Nova can do and this cloud does not: the answer says so, whatever the server's state.
NOT_BUILT = {
    "suspend": "Servers cannot be suspended here: guests' memory is not written to disks.",
    "resume": "Servers cannot be suspended here, so none can be resumed.",
    "rescue": "Servers cannot be rescued here: attach their volume to another server instead.",
    "unrescue": "Servers cannot be rescued here.",
    "shelve": "Servers cannot be shelved here: a stopped server holds no processor.",
    "shelveOffload": "Servers cannot be shelved here.",
    "unshelve": "Servers cannot be shelved here, so none can be unshelved.",
    "trigger_crash_dump": "Guests cannot be made to dump their memory here.",
    "injectNetworkInfo": "Guests are told of their network by DHCP, metadata and config drive alone.",
    "resetNetwork": "Guests are told of their network by DHCP, metadata and config drive alone.",
}


class ServerActions:
    """The handler."""

    def __init__(self, context: Context) -> None:
        self._context = context
        moves = MoveActions(context)
        self._actions: dict[str, Action] = {
            "os-start": self._start, "os-stop": self._stop, "reboot": self._reboot, "pause": self._pause, "unpause": self._unpause,
            "lock": self._lock, "unlock": self._unlock, "rebuild": self._rebuild, "createImage": self._create_image, "createBackup": self._create_backup,
            "os-getConsoleOutput": self._console, "changePassword": self._password, "addSecurityGroup": self._add_group,
            "removeSecurityGroup": self._remove_group, "os-resetState": self._reset_state, "forceDelete": self._force_delete,
            "restore": self._restore, "addFixedIp": self._old_network, "removeFixedIp": self._old_network,
            "addFloatingIp": self._old_network, "removeFloatingIp": self._old_network, **moves.actions(), **context.more_actions,
        }  # fmt: skip

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {("POST", "/v2.1/servers/{server_id}/action"): self.act}

    async def act(self, call: Call) -> Answer:
        """One action."""
        call.check_read()
        document = await call.document()
        if len(document) != 1:
            raise bad_request("There is no such action: the body names one." if not document else "The body names one action.")
        name, given = next(iter(document.items()))
        if name in NOT_BUILT:
            await self._context.own_server(call)
            raise CallRefused(501, NOT_BUILT[name])
        action = self._actions.get(name)
        if action is None:
            raise bad_request(f"There is no such action: {name[:64]}")
        return await action(call, given)

    # -- power ----------------------------------------------------------------------------------------------------

    async def _start(self, call: Call, _: Any) -> Answer:
        await self._context.begin(call, "start", job="start")
        return Answer(202)

    async def _stop(self, call: Call, _: Any) -> Answer:
        await self._context.begin(call, "stop", job="stop")
        return Answer(202)

    async def _reboot(self, call: Call, given: Any) -> Answer:
        kind = fields.only(given, ("type",), "reboot").get("type")
        if not isinstance(kind, str) or kind.upper() not in ("SOFT", "HARD"):
            raise fields.wrong("type", kind, "It is not one of ['HARD', 'SOFT']")
        await self._context.begin(call, "reboot_hard" if kind.upper() == "HARD" else "reboot", job="reboot")
        return Answer(202)

    async def _pause(self, call: Call, _: Any) -> Answer:
        await self._context.begin(call, "pause", job="pause")
        return Answer(202)

    async def _unpause(self, call: Call, _: Any) -> Answer:
        await self._context.begin(call, "unpause", job="unpause")
        return Answer(202)

    async def _force_delete(self, call: Call, _: Any) -> Answer:
        await begin_delete(self._context, call)
        return Answer(202)

    async def _restore(self, call: Call, _: Any) -> Answer:
        server = await self._context.own_server(call)
        raise conflict(f"Cannot 'restore' instance {server.id} while it is in vm_state {server.vm_state}")

    # -- locks and states -----------------------------------------------------------------------------------------

    async def _lock(self, call: Call, given: Any) -> Answer:
        reason = None
        if given is not None:
            known: tuple[str, ...] = ("locked_reason",) if call.version >= (2, 73) else ()
            if call.version >= (2, 73) or isinstance(given, dict):
                reason = fields.only(given, known, "lock").get("locked_reason")
        if reason is not None:
            reason = fields.text(255, 1)("locked_reason", reason)

        def work(connection: Connection) -> None:
            server = seen_server(connection, call)
            call.check_write()
            owner = "admin" if call.is_admin and server.project != call.project else "owner"
            if server.locked_by == "admin" and not call.is_admin:
                return
            records.change(connection, server.id, locked_by=owner, locked_reason=reason or "")
            self._remember(connection, call, server, "lock")

        await self._context.write(work)
        return Answer(202)

    async def _unlock(self, call: Call, _: Any) -> Answer:
        def work(connection: Connection) -> None:
            server = seen_server(connection, call)
            call.check_write()
            if server.locked_by == "admin" and not call.is_admin:
                raise forbidden("Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be performed.")
            records.change(connection, server.id, locked_by="", locked_reason="")
            self._remember(connection, call, server, "unlock")

        await self._context.write(work)
        return Answer(202)

    async def _reset_state(self, call: Call, given: Any) -> Answer:
        await self._context.server(call)
        call.check_admin()
        state = fields.one_of("active", "error")("state", fields.only(given, ("state",), "os-resetState").get("state"))
        now_us = self._context.now_us()

        def work(connection: Connection) -> None:
            server = seen_server(connection, call)
            values: dict[str, Any] = {
                "vm_state": ACTIVE if state == "active" else ERROR,
                "task_state": NO_TASK,
                "task": "",
                "updated_us": now_us,
            }
            if server.task_state != MIGRATING:  # a guest on its way is at either end: where it arrives is written down (conductor_move.py)
                values |= {"other_host": "", "other_flavor": ""}
                size = {"vcpus": server.vcpus, "memory_mb": server.memory_mb}
                self._context.places.settle(connection, server.id, server.host, **size)
                records.end_moves(connection, server.id, "error", now_us=now_us)
            records.change(connection, server.id, **values)
            if state == "active":
                records.clear_fault(connection, server.id)

        await self._context.write(work)
        return Answer(202)

    def _remember(self, connection: Connection, call: Call, server: Server, action: str) -> None:
        now_us = self._context.now_us()
        records.begin_action(connection, server.id, call.request_id, action, call.project, call.who.user.id, now_us=now_us)

    # -- images ---------------------------------------------------------------------------------------------------

    async def _rebuild(self, call: Call, given: Any) -> Answer:
        return await rebuild(self._context, call, given)

    async def _create_image(self, call: Call, given: Any) -> Answer:
        return await create_image(self._context, call, given)

    async def _create_backup(self, call: Call, given: Any) -> Answer:
        return await create_backup(self._context, call, given)

    # -- inside ---------------------------------------------------------------------------------------------------

    async def _console(self, call: Call, given: Any) -> Answer:
        length = fields.only(given, ("length",), "os-getConsoleOutput").get("length")
        lines = None if length is None else fields.integer(-1, MAX_LINES)("length", length)
        server = await self._context.own_server(call)
        check_may(call, server, "get_console_output")
        if not server.host:
            raise conflict(f"Instance {server.id} is not ready")
        try:
            answer = await self._context.agents.call(server.host, ConsoleLog(server.id, None if lines == -1 else lines))
        except AgentRefused as refused:
            if refused.status == 404:
                return Answer(body={"output": ""})
            raise conflict(f"Instance {server.id} is not ready: {refused.message}") from None
        output = str(answer.get("output", ""))
        # As Nova counts: what stands behind the last "\n" is a line, also where that is nothing.
        return Answer(body={"output": output if lines in (None, -1) else "\n".join(output.split("\n")[-lines:]) if lines else ""})

    async def _password(self, call: Call, given: Any) -> Answer:
        fields.text()("adminPass", fields.only(given, ("adminPass",), "changePassword").get("adminPass"))
        server = await self._context.own_server(call)
        check_may(call, server, "changePassword")
        raise conflict("Failed to set admin password: QEMU guest agent is not enabled")

    # -- networks -------------------------------------------------------------------------------------------------

    async def _add_group(self, call: Call, given: Any) -> Answer:
        server, name = await self._group(call, given, "addSecurityGroup")
        await self._context.networks.add_group(server.project, server.id, name)
        return Answer(202)

    async def _remove_group(self, call: Call, given: Any) -> Answer:
        server, name = await self._group(call, given, "removeSecurityGroup")
        await self._context.networks.remove_group(server.project, server.id, name)
        return Answer(202)

    async def _group(self, call: Call, given: Any, action: str) -> tuple[Server, str]:
        name = fields.only(given, ("name",), action).get("name")
        if not isinstance(name, str) or not name.strip():
            raise bad_request("Security group name cannot be empty" if name == "" else "Missing parameter dict: name")
        server = await self._context.own_server(call)
        if server.locked_by and not call.is_admin:
            raise conflict(f"Instance {server.id} is locked")
        return server, name

    async def _old_network(self, call: Call, _: Any) -> Answer:
        since: Version = (2, 44)
        if call.version >= since:
            raise bad_request("There is no such action: it ended with microversion 2.43; use the network service.")
        await self._context.own_server(call)
        raise not_found("Addresses are given and taken by the network service: floating IPs and ports.")
