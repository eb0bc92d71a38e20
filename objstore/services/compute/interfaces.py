"""Network cards of servers: list, plug in, take out."""

from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import CallRefused, bad_request, forbidden, not_found
from objstore.services.compute import fields, records
from objstore.services.compute.context import Context, check_may, seen_server
from objstore.services.compute.desks import Port
from objstore.services.compute.records import DETACHING, READY, WANTED, Nic, Server
from objstore.services.compute.states import ACTIONS
from objstore.services.network.desk import Requested

WAIT_S = 60.0  # for a card to be plugged in: Nova's callers wait for that
POLL_S = 0.1  # at first; what takes longer is asked for less often, since any number of callers may wait
MAX_POLL_S = 1.0
MAX_NICS = 16


class InterfaceCalls:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        all_ = "/v2.1/servers/{server_id}/os-interface"
        return {
            ("GET", all_): self.list_interfaces,
            ("POST", all_): self.attach,
            ("GET", f"{all_}/{{port_id}}"): self.show,
            ("DELETE", f"{all_}/{{port_id}}"): self.detach,
            ("GET", "/v2.1/servers/{server_id}/os-security-groups"): self.groups,
        }

    async def list_interfaces(self, call: Call) -> Answer:
        """All cards of a server."""
        server = await self._context.server(call)
        ports = {port.id: port for port in (await self._context.networks.ports_of([server.id])).get(server.id, ())}
        shown = [_view(nic, ports[nic.port], call) for nic in server.nics if nic.port in ports]
        return Answer(body={"interfaceAttachments": shown})

    async def show(self, call: Call) -> Answer:
        """One card."""
        server = await self._context.server(call)
        nic = _nic_of(server, call.parameters["port_id"])
        return Answer(body={"interfaceAttachment": _view(nic, await self._port(server, nic.port), call)})

    async def _port(self, server: Server, id_: str) -> Port:
        ports = (await self._context.networks.ports_of([server.id])).get(server.id, ())
        found = next((port for port in ports if port.id == id_), None)
        if found is None:
            raise not_found(f"Port id {id_[:64]} could not be found.")
        return found

    async def attach(self, call: Call) -> Answer:
        """Plug in a card: on a network, with an address of it, or with a port that is there."""
        context = self._context
        call.check_read()
        document = fields.only(await call.document(), ("interfaceAttachment",))
        known = ("net_id", "port_id", "fixed_ips", *(("tag",) if call.version >= (2, 49) else ()))
        given = fields.only(document.get("interfaceAttachment", {}), known, "interfaceAttachment")
        wanted = _wanted(given)
        server = await context.own_server(call)
        check_may(call, server, "attach_interface")
        wanted = await self._checked(call, wanted)
        details = {
            "request": call.request_id,
            "event": ACTIONS["attach_interface"].event,
            "nic": context.new_id(),
            "admin": "1" if call.is_admin else "",
        }
        now_us = context.now_us()

        def work(connection: Connection) -> None:
            again = seen_server(connection, call)
            check_may(call, again, "attach_interface")
            if len(again.nics) >= MAX_NICS:
                raise forbidden(f"A server has {MAX_NICS} network cards at most.")
            position = 1 + max((nic.position for nic in again.nics), default=0)
            nic = Nic(
                details["nic"], again.id, position, WANTED, wanted.port_id, wanted.network_id, wanted.fixed_ip, "", not wanted.port_id, wanted.tag, now_us
            )  # fmt: skip
            records.add_nic(connection, nic)
            records.begin_action(connection, again.id, call.request_id, "attach_interface", call.project, call.who.user.id, now_us=now_us)
            context.enqueue(connection, "attach-nic", again.id, details)

        await context.write(work)
        nic = await self._until_there(server.id, details["nic"])
        return Answer(body={"interfaceAttachment": _view(nic, await self._port(server, nic.port), call)})

    async def _checked(self, call: Call, wanted: Requested) -> Requested:
        networks = self._context.networks
        if not wanted.port_id and not wanted.network_id:
            there = await networks.networks_for(call.who)
            if len(there) != 1:
                raise bad_request(
                    "No network is named, and the project has not just one." if there else "There is no network to attach to."
                )
            wanted = Requested(there[0].id, "", wanted.fixed_ip, wanted.tag)
        (found,) = await networks.check(call.who, [wanted])
        return Requested(found.network_id, found.port_id, found.fixed_ip, wanted.tag)

    async def _until_there(self, server_id: str, nic_id: str) -> Nic:
        """The card once it is plugged in."""
        clock = self._context.world.clock
        until_s, wait_s = clock.monotonic() + WAIT_S, POLL_S
        while clock.monotonic() < until_s:
            server = await self._context.read(lambda connection: records.living(connection, server_id))
            nic = next((nic for nic in server.nics if nic.id == nic_id), None) if server is not None else None
            if nic is None:
                raise bad_request("Failed to attach network adapter device to " + server_id)
            if nic.state == READY and nic.port:
                return nic
            await clock.sleep(wait_s)
            wait_s = min(MAX_POLL_S, wait_s * 1.5)
        raise CallRefused(503, f"The network card is not plugged into {server_id} yet; it will be, or be taken back.")

    async def detach(self, call: Call) -> Answer:
        """Begin to take a card out."""
        context, now_us = self._context, self._context.now_us()
        server = await context.own_server(call)
        nic = _nic_of(server, call.parameters["port_id"])
        check_may(call, server, "detach_interface")
        details = {"request": call.request_id, "event": ACTIONS["detach_interface"].event, "nic": nic.id}

        def work(connection: Connection) -> None:
            again = seen_server(connection, call)
            check_may(call, again, "detach_interface")
            if records.change_nic(connection, nic.id, states=(READY,), state=DETACHING):
                records.begin_action(
                    connection, again.id, call.request_id, "detach_interface", call.project, call.who.user.id, now_us=now_us
                )
                context.enqueue(connection, "detach-nic", again.id, details)

        await context.write(work)
        return Answer(202)

    async def groups(self, call: Call) -> Answer:
        """Security groups of a server's ports, as Nova's old proxy showed them."""
        if call.version >= (2, 36):
            raise not_found()
        server = await self._context.server(call)
        found = (await self._context.networks.security_groups_of([server.id])).get(server.id, ())
        views: list[dict[str, Any]] = [
            {"id": id_, "name": name, "description": "", "tenant_id": server.project, "rules": []} for id_, name in found
        ]
        return Answer(body={"security_groups": views})


def _wanted(given: dict[str, Any]) -> Requested:
    network = fields.uuid("net_id", given["net_id"]) if given.get("net_id") is not None else ""
    port = fields.uuid("port_id", given["port_id"]) if given.get("port_id") is not None else ""
    if network and port:
        raise bad_request("Must not input both network_id and port_id")
    addresses = given.get("fixed_ips")
    address = ""
    if addresses is not None:
        if not isinstance(addresses, list) or len(addresses) != 1:
            raise fields.wrong("fixed_ips", addresses, "It is not a list of one address")
        address = fields.any_address("ip_address", fields.only(addresses[0], ("ip_address",), "fixed_ips").get("ip_address"))
        if not network:
            raise bad_request("Must input network_id when request IP address")
    return Requested(network, port, address, fields.tag("tag", given["tag"]) if "tag" in given else "")


def _nic_of(server: Server, port_id: str) -> Nic:
    found = next((nic for nic in server.nics if nic.port == port_id), None)
    if found is None:
        raise not_found(f"Port id {port_id[:64]} could not be found.")
    return found


def _view(nic: Nic, port: Port, call: Call) -> dict[str, Any]:
    view: dict[str, Any] = {
        "port_id": port.id, "net_id": port.network_id, "mac_addr": port.mac, "port_state": port.status,
        "fixed_ips": [{"subnet_id": subnet, "ip_address": address} for subnet, address, _ in port.addresses],
    }  # fmt: skip
    if call.version >= (2, 70):
        view["tag"] = nic.tag or None
    return view
