"""What compute asks of the network service, in the process: ports of servers, their groups, and what hosts must make true.

Everything that changes something may be asked twice and is done once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import and_, insert, or_, select, update

from objstore.identity.rules import Access
from objstore.services.network import groups, placing, port_views, records
from objstore.services.network.addresses import Asked, subnets_of, taken
from objstore.services.network.checks import address
from objstore.services.network.kinds import UNSET
from objstore.services.network.port_views import NetworkView, PortView, network_view, port_views_of
from objstore.services.network.ports import ACTIVE, BUILD, COMPUTE, DOWN, MIGRATING_TO, create, drop, network_for
from objstore.services.network.problems import NetworkRefused
from objstore.services.network.quotas import left
from objstore.services.network.records import REVISION, Row, Tx, Who, bump, change, counter, get, one, rows
from objstore.services.network.rights import SHARED, is_open, is_own, opened
from objstore.services.network.service import SYSTEM, NetworkService
from objstore.services.network.tables import ADDRESSES, GROUPS, HOSTS, NETWORKS, PORTS
from objstore.services.network.wanted import WantedHost
from objstore.services.network.wanting import SERVICES, wanted_host


@dataclass(frozen=True)
class Requested:
    """A network card that a server is to have: on a network, or an existing port."""

    network_id: str = ""
    port_id: str = ""
    fixed_ip: str = ""
    tag: str = ""


@dataclass(frozen=True)
class HostSeen:
    """A host as it reported itself."""

    host: str
    tunnel_address: str
    driver: str
    up: bool
    first_us: int
    heard_us: int


def who_of(access: Access | Who) -> Who:
    """On whose behalf."""
    if isinstance(access, Who):
        return access
    return Who(access.project.id if access.project is not None else "", access.is_admin)


class NetworkDesk:
    """The desk."""

    def __init__(self, service: NetworkService) -> None:
        self._service = service
        self._hosts: dict[str, HostSeen] = {}  # as they were recorded last

    # -- before a server is made --------------------------------------------------------------------------------

    async def networks_for(self, who: Access | Who) -> list[NetworkView]:
        """Networks that a server gets a card on when none is named: the project's own, and shared ones."""
        caller = who_of(who)
        own = and_(NETWORKS.c.project == caller.project, NETWORKS.c.external.is_(False))
        shared = opened(NETWORKS.c.id, Who(caller.project), SHARED)

        def work(tx: Tx) -> list[NetworkView]:
            found = rows(tx, NETWORKS, NETWORKS.c.admin_state_up.is_(True), or_(own, shared))
            return [network_view(tx, row) for row in found]

        return await self._service.read(caller, work)

    async def check(self, who: Access | Who, requested: Sequence[Requested], *, servers: int = 1) -> list[Requested]:
        """See that servers can have these cards; with the networks of named ports filled in.  Raises 400, 403, 409."""
        caller = who_of(who)
        return await self._service.read(caller, lambda tx: _check(tx, requested, servers))

    async def check_groups(self, who: Access | Who, names: Iterable[str]) -> list[str]:
        """Ids of security groups by names or ids.  Raises 404, 409."""
        caller, wanted = who_of(who), list(names)
        return await self._service.write(caller, lambda tx: [groups.by_name(tx, caller.project, name) for name in wanted])

    # -- ports of servers ---------------------------------------------------------------------------------------

    async def create_port(
        self, project_id: str, network_id: str, *, server_id: str, fixed_ip: str = "", security_groups: Sequence[str] = (), zone: str = "",
        name: str = "", port_id: str = "", is_admin: bool = False,
    ) -> PortView:  # fmt: skip
        """A port for a server: a new one, or the existing `port_id`.  `security_groups`: ids or names; `name`: the server's host name.

        Raises 400, 403, 404, 409.
        """
        owner = COMPUTE + (zone or self._service.settings.availability_zone)
        host_name = port_views.host_label(name)

        def work(tx: Tx) -> PortView:
            if port_id:
                row = _taken_over(tx, port_id, server_id, owner)
                if not row["dns_name"] and host_name:
                    change(tx, PORTS, row, {"dns_name": host_name})
            else:
                chosen_groups: Any = UNSET
                if security_groups:
                    chosen_groups = [groups.by_name(tx, project_id, each) for each in security_groups]
                row = create(
                    tx,
                    {
                        "project": project_id, "name": "", "description": "", "network_id": network_id, "admin_state_up": True, "mac_address": UNSET,
                        "fixed_ips": [Asked("", address("ip_address", fixed_ip))] if fixed_ip else UNSET, "device_id": server_id, "device_owner": owner,
                        "security_groups": UNSET, "port_security_enabled": UNSET, "allowed_address_pairs": (), "extra_dhcp_opts": (), "host": "",
                        "vnic_type": "normal", "profile": {}, "dns_name": host_name, "dns_domain": "",
                    },
                    quota=port_views.PORT_QUOTA,
                )  # fmt: skip
                if chosen_groups is not UNSET and row["port_security_enabled"]:
                    groups.set_port_groups(tx, row["id"], list(dict.fromkeys(chosen_groups)))
                change(tx, PORTS, row, {"made": True, "server": server_id})
            return port_views_of(tx, [row])[0]

        return await self._service.write(Who(project_id, is_admin), work)

    async def bind(self, port_id: str, host: str) -> PortView:
        """The port's guest is on this host.  Raises 404."""

        def work(tx: Tx) -> PortView:
            row = _port(tx, port_id)
            status = row["status"] if row["host"] == host else BUILD if host else DOWN
            change(tx, PORTS, row, {"host": host, "status": status, "profile": _coming(row, "")})
            if host:
                placing.place_all(tx)
            return port_views_of(tx, [row])[0]

        return await self._service.write(SYSTEM, work)

    async def expect(self, port_id: str, host: str) -> None:
        """The port's guest is about to move to this host, which is told of it while it still is where it is; "" for no more.  It may be gone."""

        def work(tx: Tx) -> None:
            row = get(tx, PORTS, port_id)
            if row is not None:
                change(tx, PORTS, row, {"profile": _coming(row, host)})

        await self._service.write(SYSTEM, work)

    async def unbind(self, port_id: str) -> None:
        """The port's guest is on no host."""

        def work(tx: Tx) -> None:
            row = get(tx, PORTS, port_id)
            if row is not None:
                change(tx, PORTS, row, {"host": "", "status": DOWN})

        await self._service.write(SYSTEM, work)

    async def release(self, port_id: str, server_id: str) -> None:
        """The server has the port no longer: it goes if it was made for it, else it is its owner's again.

        Nothing happens where another server has it, or nobody any more.
        """

        def work(tx: Tx) -> None:
            row = get(tx, PORTS, port_id)
            if row is not None and row["server"] == server_id:
                _release(tx, row)

        await self._service.write(SYSTEM, work)

    async def release_all(self, server_id: str) -> None:
        """The same for all ports of a server."""

        def work(tx: Tx) -> None:
            for row in _ports_of(tx, [server_id]):
                _release(tx, row)

        await self._service.write(SYSTEM, work)

    async def port(self, port_id: str) -> PortView:
        """A port.  Raises 404."""
        return await self._service.read(SYSTEM, lambda tx: port_views_of(tx, [_port(tx, port_id)])[0])

    async def ports_of(self, server_ids: Sequence[str]) -> dict[str, list[PortView]]:
        """The ports of servers, the oldest first."""

        def work(tx: Tx) -> dict[str, list[PortView]]:
            found: dict[str, list[PortView]] = {id_: [] for id_ in server_ids}
            for view in port_views_of(tx, _ports_of(tx, server_ids)):
                found[view.server_id].append(view)
            return found

        return await self._service.read(SYSTEM, work)

    async def port_at(self, network_id: str, address: str) -> PortView | None:
        """The port that has an address of a network: who asks for metadata from there."""

        def work(tx: Tx) -> PortView | None:
            query = select(ADDRESSES.c.port).where(ADDRESSES.c.network == network_id, ADDRESSES.c.address == address)
            found = tx.connection.execute(query).scalar_one_or_none()
            return None if found is None else port_views_of(tx, [one(tx, PORTS, found)])[0]

        return await self._service.read(SYSTEM, work)

    async def network_data(self, server_id: str) -> dict[str, object]:
        """network_data.json of a server."""
        return await self._service.read(SYSTEM, lambda tx: port_views.network_data(tx, _ports_of(tx, [server_id])))

    # -- security groups of servers -----------------------------------------------------------------------------

    async def security_groups_of(self, server_ids: Sequence[str]) -> dict[str, list[tuple[str, str]]]:
        """(id, name) of the groups that servers' ports have."""

        def work(tx: Tx) -> dict[str, list[tuple[str, str]]]:
            ports = _ports_of(tx, server_ids)
            named = groups.port_groups(tx, [port["id"] for port in ports])
            known = records.by_id(tx, GROUPS, [group for each in named.values() for group in each])
            found: dict[str, dict[str, str]] = {id_: {} for id_ in server_ids}
            for port in ports:
                found[port["server"]] |= {group: known[group]["name"] for group in named[port["id"]]}
            return {id_: sorted(each.items(), key=lambda pair: pair[1]) for id_, each in found.items()}

        return await self._service.read(SYSTEM, work)

    async def add_group(self, project_id: str, server_id: str, group: str) -> None:
        """Give all ports of a server a group, by id or name.  Raises 400, 404, 409."""

        def work(tx: Tx) -> None:
            id_ = groups.by_name(tx, project_id, group)
            ports = [port for port in _ports_of(tx, [server_id]) if port["port_security_enabled"]]
            if not ports:
                raise NetworkRefused(
                    400, "SecurityGroupCannotBeApplied", f"Server {server_id} has no port that security groups can be applied to."
                )
            for port, have in _with_groups(tx, ports):
                groups.set_port_groups(tx, port["id"], list(dict.fromkeys([*have, id_])))
                bump(tx, PORTS, port["id"])

        await self._service.write(Who(project_id), work)

    async def remove_group(self, project_id: str, server_id: str, group: str) -> None:
        """Take a group from all ports of a server.  Raises 404, 409."""

        def work(tx: Tx) -> None:
            id_ = groups.by_name(tx, project_id, group)
            ports = [(port, have) for port, have in _with_groups(tx, _ports_of(tx, [server_id])) if id_ in have]
            if not ports:
                raise NetworkRefused(404, "SecurityGroupNotFound", f"Security group {group} is not associated with server {server_id}.")
            for port, have in ports:
                groups.set_port_groups(tx, port["id"], [each for each in have if each != id_])
                bump(tx, PORTS, port["id"])

        await self._service.write(Who(project_id), work)

    # -- hosts --------------------------------------------------------------------------------------------------

    async def wanted(self, host: str) -> WantedHost:
        """What must be true on a host."""
        return await self._service.read(SYSTEM, lambda tx: wanted_host(tx, host))

    async def revision(self) -> int:
        """Of what hosts are told: grows with each change."""
        return await self._service.read(SYSTEM, lambda tx: counter(tx.connection, REVISION))

    def hosts(self) -> list[HostSeen]:
        """Hosts that were heard of since this process began, by name."""
        return sorted(self._hosts.values(), key=lambda seen: seen.host)

    async def host_seen(self, host: str, *, tunnel_address: str = "", driver: str = "", up: bool = True) -> None:
        """A host as it reports itself, or as one that is not heard of any more (`up` false): routers go elsewhere then.

        Guests of a host that is not heard of may run on, so it stays a peer.  Cheap when nothing is new.
        """
        now_us = self._service.now_us()
        before = self._hosts.get(host)
        if not up and before is not None:
            tunnel_address, driver = before.tunnel_address, before.driver
        after = HostSeen(
            host,
            tunnel_address,
            driver,
            up,
            now_us if before is None else before.first_us,
            now_us if up or before is None else before.heard_us,
        )
        if before is None or replace(before, heard_us=after.heard_us) != after:
            await self._service.write(SYSTEM, lambda tx: _record_host(tx, after))
        self._hosts[host] = after

    async def ports_are_up(self, host: str, ids: Sequence[str]) -> list[str]:
        """Which of a host's ports work; the servers whose ports began to."""
        up = set(ids)

        def differing(tx: Tx) -> list[Row]:
            here = rows(tx, PORTS, PORTS.c.host == host, PORTS.c.device_owner.not_like(SERVICES))
            return [row for row in here if (row["status"] == ACTIVE) != (row["id"] in up)]

        if not await self._service.read(SYSTEM, differing):
            return []

        def work(tx: Tx) -> list[str]:
            began: list[str] = []
            for row in differing(tx):
                change(tx, PORTS, row, {"status": ACTIVE if row["id"] in up else DOWN}, quiet=True)
                began += [row["server"]] if row["id"] in up and row["server"] else []
            return list(dict.fromkeys(began))

        return await self._service.write(SYSTEM, work)


def _port(tx: Tx, id_: str) -> Row:
    row = get(tx, PORTS, id_)
    if row is None:
        raise NetworkRefused(404, "PortNotFound", f"Port {id_} could not be found.")
    return row


def _ports_of(tx: Tx, servers: Sequence[str]) -> list[Row]:
    found: list[Row] = []
    for start in range(0, len(servers), 500):
        wanted = [server for server in servers[start : start + 500] if server]
        found += rows(tx, PORTS, PORTS.c.server.in_(wanted))
    return found


def _with_groups(tx: Tx, ports: Sequence[Row]) -> list[tuple[Row, list[str]]]:
    named = groups.port_groups(tx, [port["id"] for port in ports])
    return [(port, named[port["id"]]) for port in ports]


def _taken_over(tx: Tx, port_id: str, server_id: str, owner: str) -> Row:
    row = _port(tx, port_id)
    if not is_own(tx.who, row):
        raise NetworkRefused(404, "PortNotFound", f"Port {port_id} could not be found.")
    if row["device_id"] not in ("", server_id) or row["server"] not in ("", server_id) or row["device_owner"].startswith("network:"):
        raise NetworkRefused(409, "PortInUse", f"Port {port_id} is still in use.")
    change(tx, PORTS, row, {"device_id": server_id, "device_owner": owner, "server": server_id})
    return row


def _coming(row: Row, host: str) -> dict[str, Any]:
    """A port's binding profile with the host that its guest moves to, under Neutron's own name for it."""
    rest = {key: value for key, value in row["profile"].items() if key != MIGRATING_TO}
    return {**rest, MIGRATING_TO: host} if host else rest


def _release(tx: Tx, row: Row | None) -> None:
    if row is None or not (row["server"] or row["made"]):
        return
    if row["made"]:
        drop(tx, row)
    else:
        change(tx, PORTS, row, {"device_id": "", "device_owner": "", "host": "", "status": DOWN, "server": ""})


def _check(tx: Tx, requested: Sequence[Requested], servers: int) -> list[Requested]:
    found: list[Requested] = []
    for want in requested:
        if want.port_id:
            row = get(tx, PORTS, want.port_id)
            if row is None or not is_own(tx.who, row):
                raise NetworkRefused(400, "PortNotFound", f"Port id {want.port_id} could not be found.")
            if row["device_id"] or row["server"] or any(other.port_id == want.port_id for other in found):
                raise NetworkRefused(409, "PortInUse", f"Port {want.port_id} is still in use.")
            found.append(Requested(row["network_id"], want.port_id, want.fixed_ip, want.tag))
            continue
        found.append(want)
        _check_network(tx, want)
    new = servers * sum(1 for want in found if not want.port_id)
    if left(tx, "port", tx.who.project) < new:
        raise NetworkRefused(403, "OverQuota", "Maximum number of ports exceeded")
    return found


def _check_network(tx: Tx, want: Requested) -> None:
    try:
        network = network_for(tx, want.network_id)
    except NetworkRefused:
        raise NetworkRefused(400, "NetworkNotFound", f"Network {want.network_id} could not be found.") from None
    if network["external"] and not (tx.who.admin or network["project"] == tx.who.project or is_open(tx, network["id"], SHARED)):
        raise NetworkRefused(
            403, "ExternalNetworkAttachForbidden", f"It is not allowed to create an interface on external network {network['id']}"
        )
    if want.fixed_ip and taken(tx, network["id"], want.fixed_ip):
        raise NetworkRefused(400, "FixedIpAlreadyInUse", f"Fixed IP address {want.fixed_ip} is already in use.")
    if not subnets_of(tx, network["id"]):
        raise NetworkRefused(400, "NetworkRequiresSubnet", f"Network {network['id']} requires a subnet in order to boot instances on.")


def _record_host(tx: Tx, seen: HostSeen) -> None:
    row = next(iter(rows(tx, HOSTS, HOSTS.c.host == seen.host)), None)
    values = {"tunnel_address": seen.tunnel_address, "driver": seen.driver, "routes": seen.up and seen.driver in placing.ROUTING_DRIVERS}
    if row is not None and not seen.up:
        values = {**row, "routes": False}
        values.pop("host")
    if row is None:
        tx.connection.execute(insert(HOSTS).values(host=seen.host, **values))
    elif row != {"host": seen.host, **values}:
        tx.connection.execute(update(HOSTS).where(HOSTS.c.host == seen.host).values(**values))
    else:
        return
    tx.told = True
    placing.place_all(tx)
