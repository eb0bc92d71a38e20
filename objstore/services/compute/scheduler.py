"""Chooses the host of a server and claims its room there, in one transaction: nothing is ever given out twice.

Hosts that are off, down, full, in another zone, without what is asked for, or at odds with the server's group are left out; of
the rest the one with the most free memory is taken.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, delete, func, insert, select

from objstore.runtime.clock import Clock
from objstore.services.compute.cloud_tables import ALLOCATIONS, GROUPS, HOSTS
from objstore.services.compute.desks import NoValidHost, PlaceRequest
from objstore.services.compute.hosts import Host, all_hosts, find_host
from objstore.services.compute.settings import ComputeSettings
from objstore.services.compute.tables import SERVERS

AFFINITY, ANTI_AFFINITY, SOFT_AFFINITY, SOFT_ANTI_AFFINITY = "affinity", "anti-affinity", "soft-affinity", "soft-anti-affinity"
POLICIES = (AFFINITY, ANTI_AFFINITY, SOFT_AFFINITY, SOFT_ANTI_AFFINITY)
_TRAIT = "trait:"


@dataclass
class Room:
    """What is taken of a host."""

    vcpus: int = 0
    memory_mb: int = 0
    servers: set[str] = field(default_factory=set)


@dataclass(frozen=True)
class _Company:
    """With whom a server may be on a host: the servers that the request names, by the hosts that they are on."""

    policy: str
    most: int  # of a group on one host
    mates: Mapping[str, int]  # host -> members of the group
    apart: Mapping[str, int]
    together: Mapping[str, int]
    wants_together: bool


class Places:
    """Hosts and who lives on them; every call is inside its caller's transaction."""

    def __init__(self, settings: ComputeSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    def choose(self, connection: Connection, request: PlaceRequest) -> str:
        """A host with room, claimed for the server; one on which the server has a claim keeps it, of the size that is asked for now.

        Raises NoValidHost.
        """
        taken = taken_of(connection)
        own = _own(connection, request, taken)
        company = _company(connection, request)
        why: dict[str, int] = {}
        fit: list[tuple[bool, int, int, str]] = []
        for host in all_hosts(connection, self._settings.zone):
            room = taken.get(host.name, Room())
            problem = self._unfit(host, request) or self._full(host, room, request) or _at_odds(host.name, company)
            if problem:
                why[problem] = why.get(problem, 0) + 1
                continue
            liking = {SOFT_AFFINITY: 1, SOFT_ANTI_AFFINITY: -1}.get(company.policy, 0) * company.mates.get(host.name, 0)
            fit.append((host.name not in own, -liking, room.memory_mb - host.report.memory_mb, host.name))
        if not fit:
            raise NoValidHost(
                "No valid host was found. " + ("; ".join(f"{n} {what}" for what, n in sorted(why.items())) or "There are none.")
            )
        name = min(fit)[3]
        self.release(connection, request.server, name)
        connection.execute(
            insert(ALLOCATIONS).values(
                server=request.server, host=name, vcpus=request.vcpus, memory_mb=request.memory_mb, created_us=self._clock.wall_us()
            )
        )
        return name

    def release(self, connection: Connection, server: str, host: str = "") -> None:
        """Give up a server's claim on a host, or on all."""
        mine = ALLOCATIONS.c.server == server
        connection.execute(delete(ALLOCATIONS).where(mine & (ALLOCATIONS.c.host == host) if host else mine))

    def settle(self, connection: Connection, server: str, host: str, *, vcpus: int, memory_mb: int) -> None:
        """From now on this is the server's one claim, whether there is room or not: it is there.  No host: it has none."""
        self.release(connection, server)
        if host:
            values = {"server": server, "host": host, "vcpus": vcpus, "memory_mb": memory_mb, "created_us": self._clock.wall_us()}
            connection.execute(insert(ALLOCATIONS).values(**values))

    def zone_of(self, connection: Connection, host: str) -> str:
        """The availability zone of a host; empty for one that is not known."""
        found = find_host(connection, host, self._settings.zone)
        return found.zone if found is not None else ""

    def zone_exists(self, connection: Connection, zone: str) -> bool:
        """Whether a host is in such a zone."""
        return zone == self._settings.zone or any(host.zone == zone for host in all_hosts(connection, self._settings.zone))

    def host_exists(self, connection: Connection, host: str) -> bool:
        """Whether there is such a host."""
        return connection.execute(select(HOSTS.c.host).where(HOSTS.c.host == host)).one_or_none() is not None

    def is_alive(self, connection: Connection, host: str) -> bool:
        """Whether a host was heard of lately."""
        found = find_host(connection, host, self._settings.zone)
        return found is not None and found.is_alive(self._clock.wall_us(), self._settings.host_down_s)

    def _unfit(self, host: Host, request: PlaceRequest) -> str:
        if request.host and host.name != request.host:
            return "not the one that is asked for"
        if host.name in request.skip:
            return "not wanted for this"
        if not host.is_alive(self._clock.wall_us(), self._settings.host_down_s):
            return "down"
        if host.disabled:
            return "disabled"
        if request.zone and host.zone != request.zone:
            return "in another availability zone"
        needed, forbidden = _traits(request)
        traits = frozenset(host.report.traits)
        return "" if needed <= traits and not forbidden & traits else "without the traits that are asked for"

    def _full(self, host: Host, room: Room, request: PlaceRequest) -> str:
        settings = self._settings
        overhead_mb = settings.guest_overhead_mb * len(room.servers | {request.server})
        if room.memory_mb + request.memory_mb + overhead_mb > host.report.memory_mb * settings.memory_ratio - settings.reserved_memory_mb:
            return "without enough memory"
        return "without enough processors" if room.vcpus + request.vcpus > host.report.vcpus * settings.cpu_ratio else ""


def taken_of(connection: Connection) -> dict[str, Room]:
    """What is taken, by host."""
    found: dict[str, Room] = {}
    for row in connection.execute(select(ALLOCATIONS)):
        room = found.setdefault(row.host, Room())
        room.vcpus += row.vcpus
        room.memory_mb += row.memory_mb
        room.servers.add(row.server)
    return found


def _own(connection: Connection, request: PlaceRequest, taken: dict[str, Room]) -> set[str]:
    """The hosts on which the server has a claim, which is taken out of `taken`."""
    found: set[str] = set()
    for row in connection.execute(select(ALLOCATIONS).where(ALLOCATIONS.c.server == request.server)):
        found.add(row.host)
        room = taken[row.host]
        room.vcpus -= row.vcpus
        room.memory_mb -= row.memory_mb
    return found


def _company(connection: Connection, request: PlaceRequest) -> _Company:
    group = request.group_id or _first(request.hints.get("group"))
    row = connection.execute(select(GROUPS).where(GROUPS.c.id == group)).one_or_none() if group else None
    members: list[str] = []
    most = 1
    if row is not None:
        most = int(msgspec.json.decode(row.rules).get("max_server_per_host", 1))
        query = select(SERVERS.c.id).where(SERVERS.c.group_id == group, SERVERS.c.id != request.server, SERVERS.c.deleted_us.is_(None))
        members = list(connection.execute(query).scalars())
    together = _texts(request.hints.get("same_host"))
    return _Company(
        policy=str(row.policy) if row is not None else "", most=most, mates=_hosts_of(connection, members),
        apart=_hosts_of(connection, _texts(request.hints.get("different_host"))), together=_hosts_of(connection, together),
        wants_together=bool(together),
    )  # fmt: skip


def _at_odds(host: str, company: _Company) -> str:
    if host in company.apart:
        return "running a server that it must not run with"
    if company.wants_together and host not in company.together:
        return "not running the servers that it must run with"
    if company.policy == AFFINITY and company.mates and host not in company.mates:
        return "not where the server's group is"
    if company.policy == ANTI_AFFINITY and company.mates.get(host, 0) >= company.most:
        return "where the server's group is already"
    return ""


def _hosts_of(connection: Connection, servers: Iterable[str]) -> dict[str, int]:
    """Host -> how many of these servers are there."""
    query = select(ALLOCATIONS.c.host, func.count()).where(ALLOCATIONS.c.server.in_(list(servers))).group_by(ALLOCATIONS.c.host)
    return {host: int(count) for host, count in connection.execute(query)}


def _traits(request: PlaceRequest) -> tuple[frozenset[str], frozenset[str]]:
    """Traits that a host must and must not have, as flavor and image say them: `trait:NAME` = required, forbidden."""
    asked = [*request.extra_specs.items(), *request.properties.items()]
    named = [(name.removeprefix(_TRAIT), value) for name, value in asked if name.startswith(_TRAIT)]
    return frozenset(n for n, value in named if value == "required"), frozenset(n for n, value in named if value == "forbidden")


def _texts(hint: Any) -> list[str]:
    return [hint] if isinstance(hint, str) else [one for one in hint if isinstance(one, str)] if isinstance(hint, list) else []


def _first(hint: Any) -> str:
    return next(iter(_texts(hint)), "")
