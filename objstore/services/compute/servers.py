"""Calls on servers themselves: make, list, show, change, remove; and their addresses."""

from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.paging import link, query_without
from objstore.services.calls.problems import conflict, not_found
from objstore.services.compute import fields, records, server_listing
from objstore.services.compute.context import Context, seen_server
from objstore.services.compute.fields import Check
from objstore.services.compute.records import Server
from objstore.services.compute.server_create import create
from objstore.services.compute.server_views import brief_view, plain_addresses, server_view, updated_view
from objstore.services.compute.states import DELETING

DELETE = "delete"
FIRST: Version = (2, 1)
_CHANGES: dict[str, tuple[Version, Check]] = {
    "name": (FIRST, fields.server_name), "OS-DCF:diskConfig": (FIRST, fields.one_of("AUTO", "MANUAL")),
    "accessIPv4": (FIRST, fields.address(4)), "accessIPv6": (FIRST, fields.address(6)),
    "description": ((2, 19), fields.nullable(fields.text())), "hostname": ((2, 90), fields.host_name),
}  # fmt: skip
_COLUMNS = {
    "name": "name", "OS-DCF:diskConfig": "disk_config", "accessIPv4": "access_v4", "accessIPv6": "access_v6", "description": "description",
    "hostname": "hostname",
}  # fmt: skip


class ServerCalls:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/v2.1/servers/{server_id}"
        return {
            ("POST", "/v2.1/servers"): self.create,
            ("GET", "/v2.1/servers"): self.list_brief,
            ("GET", "/v2.1/servers/detail"): self.list_detail,
            ("GET", one): self.show,
            ("PUT", one): self.update,
            ("DELETE", one): self.remove,
            ("GET", f"{one}/ips"): self.addresses,
            ("GET", f"{one}/ips/{{label}}"): self.addresses_of_one,
            ("GET", f"{one}/diagnostics"): self.diagnostics,
            ("GET", f"{one}/os-server-password"): self.password,
            ("DELETE", f"{one}/os-server-password"): self.forget_password,
        }

    async def create(self, call: Call) -> Answer:
        """Begin to build servers."""
        return await create(self._context, call)

    async def list_brief(self, call: Call) -> Answer:
        """A page of names."""
        return await self._list(call, detail=False)

    async def list_detail(self, call: Call) -> Answer:
        """A page of servers as they are."""
        return await self._list(call, detail=True)

    async def _list(self, call: Call, *, detail: bool) -> Answer:
        context = self._context
        call.check_read()
        asked = server_listing.wanted(call, page_limit=context.page_limit)
        servers, more = await context.read(lambda connection: server_listing.page(connection, asked))
        last = servers[-1].id if servers else ""
        around = await context.around(call, servers if detail or asked.ip or asked.ip6 else [])
        if asked.ip or asked.ip6:
            found = {id_: [one["addr"] for shown in labels.values() for one in shown] for id_, labels in around.addresses.items()}
            fitting = set(server_listing.with_addresses(asked, found))
            servers = [server for server in servers if server.id in fitting]
        views = [server_view(server, around, in_list=True) if detail else brief_view(server, around) for server in servers]
        body: dict[str, Any] = {"servers": views}
        if more and last:
            path = f"{context.url}{call.path}"
            body["servers_links"] = [{"rel": "next", "href": link(path, [*query_without(call, "marker"), ("marker", last)])}]
        return Answer(body=body)

    async def show(self, call: Call) -> Answer:
        """One server."""
        server = await self._context.server(call)
        return Answer(body={"server": server_view(server, await self._context.around(call, [server]))})

    async def update(self, call: Call) -> Answer:
        """Name, description, addresses under which it says it is reached."""
        context = self._context
        call.check_read()
        document = fields.only(await call.document(), ("server",))
        given = fields.parsed(fields.member(document, "server"), _CHANGES, call.version, "server")
        now_us = context.now_us()

        def work(connection: Connection) -> Server:
            server = seen_server(connection, call)
            call.check_write()
            records.change(connection, server.id, updated_us=now_us, **{_COLUMNS[name]: value for name, value in given.items()})
            return _again(connection, server.id)

        server = await context.write(work)
        return Answer(body={"server": updated_view(server, await context.around(call, [server]))})

    async def remove(self, call: Call) -> Answer:
        """Remove a server, whatever it is doing."""
        await begin_delete(self._context, call)
        return Answer(204)

    async def addresses(self, call: Call) -> Answer:
        """Addresses by network."""
        server = await self._context.server(call)
        around = await self._context.around(call, [server])
        return Answer(body={"addresses": plain_addresses(around.addresses[server.id])})

    async def addresses_of_one(self, call: Call) -> Answer:
        """Addresses on one network."""
        server = await self._context.server(call)
        found = plain_addresses((await self._context.around(call, [server])).addresses[server.id])
        label = call.parameters["label"]
        if label not in found:
            raise not_found("Network not found")
        return Answer(body={label: found[label]})

    async def diagnostics(self, call: Call) -> Answer:
        """What the hypervisor counts: not told by agents."""
        server = await self._context.server(call)
        call.check_admin()
        raise conflict(f"Instance {server.id} has no diagnostics: hosts do not report them.")

    async def password(self, call: Call) -> Answer:
        """What the guest said that its password is: guests have no way to say it here."""
        await self._context.own_server(call)
        return Answer(body={"password": ""})

    async def forget_password(self, call: Call) -> Answer:
        """Nothing is kept that could be forgotten."""
        await self._context.own_server(call)
        return Answer(204)


def _again(connection: Connection, id_: str) -> Server:
    found = records.find(connection, id_)
    assert found is not None
    return found


async def begin_delete(context: Context, call: Call) -> None:
    """Begin to remove the server of a call.  Jobs that wait find it on its way out, and end.  Raises 403, 404, 409."""
    call.check_read()
    now_us = context.now_us()

    def work(connection: Connection) -> None:
        server = seen_server(connection, call)
        call.check_write()
        if server.locked_by and not call.is_admin:
            raise conflict(f"Instance {server.id} is locked")
        if server.task_state == DELETING:
            return  # it is on its way; a second request is as good as the first
        records.change(connection, server.id, task_state=DELETING, task=call.request_id, updated_us=now_us, progress=0)
        records.begin_action(connection, server.id, call.request_id, "delete", call.project, call.who.user.id, now_us=now_us)
        context.enqueue(connection, DELETE, server.id, {"request": call.request_id, "event": "compute_terminate_instance"})

    await context.write(work)


def deleted_server(connection: Connection, call: Call, id_: str) -> Server:
    """A server that may be deleted, for who may ask what became of it.  Raises 404."""
    found = records.find(connection, id_)
    if found is None or not (call.is_admin or found.project == call.project):
        raise not_found(f"Instance {id_[:64]} could not be found.")
    return found
