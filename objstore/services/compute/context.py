"""What calls on servers and the conductor's jobs work on: the database, the desks of other services, the hosts."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import Connection

from objstore.errors import ObjstoreError
from objstore.runtime.sql import Sql
from objstore.runtime.world import World
from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import conflict, not_found
from objstore.services.compute import records
from objstore.services.compute.desks import Agents, BaseDisks, Catalog, Networks, Places, Volumes
from objstore.services.compute.ids import new_uuid
from objstore.services.compute.records import Server
from objstore.services.compute.server_views import Around, addresses_of
from objstore.services.compute.states import ACTIONS, why_not
from objstore.services.compute.tables import SERVICE
from objstore.services.tables.jobs import enqueue
from objstore.services.volume.operations import Volumes as Store

T = TypeVar("T")
Action = Callable[[Call, Any], Awaitable[Answer]]  # the second: what the body says for it


@dataclass
class Context:
    """One process's part."""

    sql: Sql
    world: World
    url: str
    page_limit: int
    volumes: Volumes
    networks: Networks
    bases: BaseDisks
    store: Store
    agents: Agents
    places: Places
    catalog: Catalog
    stop_timeout_s: float = 60.0  # what a guest is given to switch itself off
    more_actions: Mapping[str, Action] = field(default_factory=dict)  # POST /servers/ID/action, beside the conductor's
    jobs_wait: Callable[[], None] = lambda: None  # told when there is a new job

    def now_us(self) -> int:
        """The time."""
        return self.world.clock.wall_us()

    def new_id(self) -> str:
        """A UUID."""
        return new_uuid(self.world.rng)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """A transaction that changes nothing."""
        return await self.sql.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """A transaction, after which jobs may wait."""
        done = await self.sql.write(work)
        self.jobs_wait()
        return done

    def enqueue(self, connection: Connection, kind: str, server: str, details: Mapping[str, str], *, delay_s: float = 0.0) -> None:
        """Write a job with the change that it follows from."""
        enqueue(connection, self.world.rng, SERVICE, kind, server, now_us=self.now_us(), details=details, delay_s=delay_s)

    # -- servers of calls -----------------------------------------------------------------------------------------

    async def server(self, call: Call) -> Server:
        """The server that a call's path names.  Raises 403, 404."""
        call.check_read()
        return await self.read(lambda connection: seen_server(connection, call))

    async def own_server(self, call: Call) -> Server:
        """The same for a caller who may change it.  Raises 403, 404."""
        found = await self.server(call)
        call.check_write()
        return found

    async def begin(
        self, call: Call, action: str, *, job: str = "", details: Mapping[str, str] | None = None, check: Callable[[Connection, Server], None] | None = None,
        **values: Any,
    ) -> Server:  # fmt: skip
        """Begin an action on the server of a call: check, compare and set task_state, remember it, write the job.  Raises 403, 404, 409.

        `check` sees the server in the transaction and may refuse, or add to it.
        """
        call.check_read()
        now_us, who = self.now_us(), call.who
        allowed = ACTIONS[action]

        def work(connection: Connection) -> Server:
            server = seen_server(connection, call)
            call.check_write()
            check_may(call, server, action)
            if check is not None:
                check(connection, server)
            if allowed.task_state is not None:
                values["task_state"] = allowed.task_state
                values["task"] = call.request_id
            # Transactions are serializable: the server is what it was when it was read, above.
            done = records.change(
                connection, server.id, vm_states=(server.vm_state,), task_states=(server.task_state,), **{"updated_us": now_us, **values}
            )
            assert done
            records.begin_action(connection, server.id, call.request_id, allowed.record or action, call.project, who.user.id, now_us=now_us)
            if job:
                told = {"request": call.request_id, "event": allowed.event, **(details or {})}
                self.enqueue(connection, job, server.id, told)
            return server

        return await self.write(work)

    async def around(self, call: Call, servers: Sequence[Server]) -> Around:
        """What is shown with servers."""
        ids = [server.id for server in servers]
        ports = await self.networks.ports_of(ids) if ids else {}
        groups = await self.networks.security_groups_of(ids) if ids else {}
        hosts = sorted({server.host for server in servers if server.host})

        def work(connection: Connection) -> tuple[dict[str, str], dict[str, bool]]:
            zones = {host: self.places.zone_of(connection, host) for host in hosts}
            return zones, {host: self.places.is_alive(connection, host) for host in hosts} if call.is_admin else {}

        zones, alive = await self.read(work) if hosts else ({}, {})
        return Around(
            self.url, call.version, call.is_admin, {id_: addresses_of(ports.get(id_, ())) for id_ in ids},
            {id_: [name for _, name in groups.get(id_, ())] for id_ in ids}, zones, alive,
        )  # fmt: skip


def seen_server(connection: Connection, call: Call, id_: str = "") -> Server:
    """A server that the caller sees.  Raises 404."""
    id_ = id_ or call.parameters["server_id"]
    server = records.living(connection, id_)
    if server is None or not (call.is_admin or server.project == call.project):
        raise not_found(f"Instance {id_[:64]} could not be found.")
    return server


def check_may(call: Call, server: Server, action: str) -> None:
    """Raises 409 when an action cannot begin now."""
    if server.locked_by and not ACTIONS[action].locked and not call.is_admin:
        raise conflict(f"Instance {server.id} is locked")
    why = why_not(action, server.id, vm_state=server.vm_state, task_state=server.task_state, launched=server.launched_us is not None)
    if why:
        raise conflict(why)


class Failed(ObjstoreError):
    """What a job was to do cannot be done, now or later; the message is shown to the server's owner."""
