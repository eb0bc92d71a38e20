"""Servers as they are kept: reading and changing rows inside a transaction.  Nothing here waits, draws at random or reads a clock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, and_, delete, func, insert, select, update

from objstore.services.compute.desks import Flavor, Key
from objstore.services.compute.states import DELETED
from objstore.services.compute.tables import ACTIONS, DISKS, EVENTS, FAULTS, METADATA, MIGRATIONS, NICS, SERVERS, TAGS

WANTED, RESERVING, READY, ATTACHING, DETACHING = "wanted", "reserving", "ready", "attaching", "detaching"
RELEASING = "releasing"
HIDDEN = (RESERVING, RELEASING)  # of disks: nobody was told that the server has them
SUCCESS, FAILED = "Success", "Error"
FAULT_CHARS = 255
MOVE_ENDS = ("completed", "error", "failed", "cancelled", "confirmed", "reverted", "done")


@dataclass(frozen=True)
class Disk:
    """A disk of a server; see tables.py."""

    id: str
    server: str
    position: int
    state: str
    volume: str
    api_volume: str
    attachment: str
    source: str
    destination: str
    source_id: str
    size_gb: int
    volume_type: str
    device: str
    bus: str
    boot_index: int
    delete_on_termination: bool
    read_only: bool = False
    tag: str = ""
    created_us: int = 0

    @property
    def is_volume(self) -> bool:
        """Whether it is a volume of the volume service."""
        return self.destination == "volume"


@dataclass(frozen=True)
class Nic:
    """A network card of a server; see tables.py."""

    id: str
    server: str
    position: int
    state: str
    port: str
    network: str
    fixed_ip: str
    mac: str
    made: bool
    tag: str
    created_us: int


@dataclass(frozen=True)
class Server:
    """A server with what belongs to it; see tables.py."""

    id: str
    project: str
    user_id: str
    name: str
    vm_state: str
    created_us: int
    updated_us: int
    flavor: str
    flavor_document: str
    vcpus: int
    memory_mb: int
    description: str | None = None
    hostname: str = ""
    task_state: str = ""
    task: str = ""
    power_state: int = 0
    host: str = ""
    zone: str = ""
    wanted_host: str = ""
    image: str = ""
    image_document: str = "{}"
    other_flavor: str = ""
    other_host: str = ""
    key_name: str = ""
    key_document: str = ""
    user_data: str = ""
    config_drive: bool = False
    access_v4: str = ""
    access_v6: str = ""
    security_groups: str = "[]"
    hints: str = "{}"
    group_id: str = ""
    locked_by: str = ""
    locked_reason: str = ""
    disk_config: str = "MANUAL"
    progress: int = 0
    reservation: str = ""
    launch_index: int = 0
    root_device: str = ""
    launched_us: int | None = None
    terminated_us: int | None = None
    deleted_us: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    disks: Sequence[Disk] = ()
    nics: Sequence[Nic] = ()
    fault: Any = None

    @property
    def as_flavor(self) -> Flavor:
        """The flavor that it has."""
        return msgspec.json.decode(self.flavor_document, type=Flavor)

    @property
    def as_other_flavor(self) -> Flavor | None:
        """The flavor that it had, or gets."""
        return msgspec.json.decode(self.other_flavor, type=Flavor) if self.other_flavor else None

    @property
    def key(self) -> Key | None:
        """Its key pair."""
        return msgspec.json.decode(self.key_document, type=Key) if self.key_document else None

    @property
    def properties(self) -> dict[str, str]:
        """The properties of its image."""
        found: dict[str, str] = msgspec.json.decode(self.image_document)
        return found


def json_text(value: Any) -> str:
    """JSON for a column."""
    return msgspec.json.encode(value).decode()


def _by_server(connection: Connection, table: Table, ids: Sequence[str], *order: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {id_: [] for id_ in ids}
    for row in connection.execute(select(table).where(table.c.server.in_(ids)).order_by(*order)):
        found[row.server].append(row)
    return found


def servers_of(connection: Connection, rows: Iterable[Any]) -> list[Server]:
    """Servers of rows of the table, with their parts."""
    found = [dict(row._mapping) for row in rows]
    ids = [row["id"] for row in found]
    if not ids:
        return []
    metadata = _by_server(connection, METADATA, ids, METADATA.c.name)
    tags = _by_server(connection, TAGS, ids, TAGS.c.tag)
    disks = _by_server(connection, DISKS, ids, DISKS.c.position, DISKS.c.id)
    nics = _by_server(connection, NICS, ids, NICS.c.position, NICS.c.id)
    faults = _by_server(connection, FAULTS, ids, FAULTS.c.server)
    return [
        Server(
            **row,
            metadata={item.name: item.value for item in metadata[row["id"]]},
            tags=[item.tag for item in tags[row["id"]]],
            disks=[Disk(**item._mapping) for item in disks[row["id"]]],
            nics=[Nic(**item._mapping) for item in nics[row["id"]]],
            fault=next(iter(faults[row["id"]]), None),
        )
        for row in found
    ]


def find(connection: Connection, id_: str) -> Server | None:
    """A server, deleted or not."""
    found = servers_of(connection, connection.execute(select(SERVERS).where(SERVERS.c.id == id_)).all())
    return found[0] if found else None


def sharers(connection: Connection, server: Server, vm_states: Sequence[str]) -> list[tuple[str, str]]:
    """(volume, host) of other servers in these states that have volumes of this one, too."""
    mine = [disk.volume for disk in server.disks if disk.is_volume and disk.volume]
    others = and_(DISKS.c.server == SERVERS.c.id, DISKS.c.volume.in_(mine), SERVERS.c.id != server.id, SERVERS.c.vm_state.in_(vm_states))
    found = connection.execute(select(DISKS.c.volume, SERVERS.c.host).where(others)).all() if mine else []
    return [(row.volume, row.host) for row in found]


def living(connection: Connection, id_: str) -> Server | None:
    """A server that is not deleted."""
    found = find(connection, id_)
    return found if found is not None and found.vm_state != DELETED else None


def add(connection: Connection, server: Server) -> None:
    """Write a new server with its parts."""
    connection.execute(insert(SERVERS).values(**{column.name: getattr(server, column.name) for column in SERVERS.c}))
    set_metadata(connection, server.id, server.metadata)
    set_tags(connection, server.id, server.tags)
    for disk in server.disks:
        add_disk(connection, disk)
    for nic in server.nics:
        add_nic(connection, nic)


def change(
    connection: Connection, id_: str, *, vm_states: Sequence[str] | None = None, task_states: Sequence[str] | None = None,
    request: str | None = None, **values: Any,
) -> bool:  # fmt: skip
    """Compare and set: change a server that is not deleted and has one of these states, held by this request; whether it had."""
    conditions = [SERVERS.c.id == id_, SERVERS.c.vm_state != DELETED]
    if request is not None:
        conditions.append(SERVERS.c.task == request)
    if vm_states is not None:
        conditions.append(SERVERS.c.vm_state.in_(vm_states))
    if task_states is not None:
        conditions.append(SERVERS.c.task_state.in_(task_states))
    return connection.execute(update(SERVERS).where(and_(*conditions)).values(**values)).rowcount > 0


def add_disk(connection: Connection, disk: Disk) -> None:
    """Write a disk."""
    connection.execute(insert(DISKS).values(**{column.name: getattr(disk, column.name) for column in DISKS.c}))


def change_disk(connection: Connection, id_: str, *, states: Sequence[str] | None = None, **values: Any) -> bool:
    """Compare and set of a disk; whether it was there in one of these states."""
    conditions = [DISKS.c.id == id_]
    if states is not None:
        conditions.append(DISKS.c.state.in_(states))
    return connection.execute(update(DISKS).where(and_(*conditions)).values(**values)).rowcount > 0


def drop_disk(connection: Connection, id_: str) -> None:
    """Forget a disk."""
    connection.execute(delete(DISKS).where(DISKS.c.id == id_))


def add_nic(connection: Connection, nic: Nic) -> None:
    """Write a network card."""
    connection.execute(insert(NICS).values(**{column.name: getattr(nic, column.name) for column in NICS.c}))


def change_nic(connection: Connection, id_: str, *, states: Sequence[str] | None = None, **values: Any) -> bool:
    """Compare and set of a network card; whether it was there in one of these states."""
    conditions = [NICS.c.id == id_]
    if states is not None:
        conditions.append(NICS.c.state.in_(states))
    return connection.execute(update(NICS).where(and_(*conditions)).values(**values)).rowcount > 0


def drop_nic(connection: Connection, id_: str) -> None:
    """Forget a network card."""
    connection.execute(delete(NICS).where(NICS.c.id == id_))


def set_metadata(connection: Connection, id_: str, items: Mapping[str, str]) -> None:
    """Replace all metadata."""
    connection.execute(delete(METADATA).where(METADATA.c.server == id_))
    if items:
        connection.execute(insert(METADATA), [{"server": id_, "name": name, "value": value} for name, value in items.items()])


def set_tags(connection: Connection, id_: str, tags: Iterable[str]) -> None:
    """Replace all tags."""
    connection.execute(delete(TAGS).where(TAGS.c.server == id_))
    unique = list(dict.fromkeys(tags))
    if unique:
        connection.execute(insert(TAGS), [{"server": id_, "tag": tag} for tag in unique])


def set_fault(connection: Connection, id_: str, code: int, message: str, *, now_us: int, details: str = "") -> None:
    """Remember what went wrong last."""
    clear_fault(connection, id_)
    connection.execute(insert(FAULTS).values(server=id_, code=code, message=message[:FAULT_CHARS], details=details, created_us=now_us))


def clear_fault(connection: Connection, id_: str) -> None:
    """Forget what went wrong."""
    connection.execute(delete(FAULTS).where(FAULTS.c.server == id_))


def bury(connection: Connection, id_: str, *, now_us: int) -> bool:
    """Make a server a deleted one and forget its parts; whether it was still there."""
    done = change(
        connection, id_, vm_state=DELETED, task_state="", task="", power_state=0, deleted_us=now_us, terminated_us=now_us, updated_us=now_us,
        host="", other_host="", locked_by="", locked_reason="", user_data="",
    )  # fmt: skip
    for table in (DISKS, NICS, METADATA, TAGS):
        connection.execute(delete(table).where(table.c.server == id_))
    return done


# -- what was done ------------------------------------------------------------------------------------------------


def begin_action(connection: Connection, id_: str, request_id: str, action: str, project: str, user_id: str, *, now_us: int) -> None:
    """Remember that somebody asked for something."""
    known = and_(ACTIONS.c.server == id_, ACTIONS.c.request_id == request_id)
    if connection.execute(select(func.count()).select_from(ACTIONS).where(known)).scalar_one():
        return
    connection.execute(
        insert(ACTIONS).values(
            server=id_, request_id=request_id, action=action, project=project, user_id=user_id, message="", started_us=now_us, updated_us=now_us
        )
    )  # fmt: skip


def begin_event(connection: Connection, id_: str, request_id: str, name: str, host: str, *, now_us: int) -> None:
    """Remember that a step began; a second time changes nothing."""
    known = and_(EVENTS.c.server == id_, EVENTS.c.request_id == request_id, EVENTS.c.name == name)
    if not connection.execute(select(func.count()).select_from(EVENTS).where(known)).scalar_one():
        connection.execute(
            insert(EVENTS).values(
                server=id_, request_id=request_id, name=name, host=host, result="", details="", started_us=now_us, finished_us=None
            )
        )


def end_event(connection: Connection, id_: str, request_id: str, name: str, result: str, *, now_us: int, details: str = "") -> None:
    """Remember how a step ended."""
    which = and_(EVENTS.c.server == id_, EVENTS.c.request_id == request_id, EVENTS.c.name == name, EVENTS.c.finished_us.is_(None))
    connection.execute(update(EVENTS).where(which).values(result=result, details=details, finished_us=now_us))
    values = {"updated_us": now_us, **({"message": "Error"} if result == FAILED else {})}
    connection.execute(update(ACTIONS).where(and_(ACTIONS.c.server == id_, ACTIONS.c.request_id == request_id)).values(**values))


def begin_move(
    connection: Connection, server: Server, id_: str, kind: str, *, target: str, new_flavor: str, user_id: str, now_us: int
) -> None:
    """Remember that a server is to be moved.  A move that never came to an end does not come to one any more."""
    end_moves(connection, server.id, "failed", now_us=now_us)
    number = connection.execute(select(func.coalesce(func.max(MIGRATIONS.c.number), 0))).scalar_one() + 1
    connection.execute(
        insert(MIGRATIONS).values(
            id=id_, number=number, server=server.id, kind=kind, status="accepted", source=server.host, target=target, old_flavor=server.flavor,
            new_flavor=new_flavor, project=server.project, user_id=user_id, created_us=now_us, updated_us=now_us,
        )
    )  # fmt: skip


def change_move(connection: Connection, server: str, status: str, *, now_us: int, **values: Any) -> None:
    """Say how far the last move of a server has come."""
    last = select(func.max(MIGRATIONS.c.number)).where(MIGRATIONS.c.server == server).scalar_subquery()
    connection.execute(update(MIGRATIONS).where(MIGRATIONS.c.number == last).values(status=status, updated_us=now_us, **values))


def end_moves(connection: Connection, server: str, status: str, *, now_us: int) -> None:
    """No move of a server goes on."""
    going = and_(MIGRATIONS.c.server == server, MIGRATIONS.c.status.not_in(MOVE_ENDS))
    connection.execute(update(MIGRATIONS).where(going).values(status=status, updated_us=now_us))


def last_move(connection: Connection, server: str) -> tuple[str, str]:
    """(status, target) of the last move of a server; empty where it never moved."""
    query = select(MIGRATIONS.c.status, MIGRATIONS.c.target).where(MIGRATIONS.c.server == server).order_by(MIGRATIONS.c.number.desc())
    row = connection.execute(query.limit(1)).one_or_none()
    return (row.status, row.target) if row is not None else ("", "")


def arrive(connection: Connection, server: Server, target: str) -> bool:
    """The guest is on the host that it was sent to, whatever else is done with it; whether the server is still on its way there."""
    underway = and_(SERVERS.c.id == server.id, SERVERS.c.vm_state != DELETED, SERVERS.c.host == server.host, SERVERS.c.other_host == target)
    return connection.execute(update(SERVERS).where(underway).values(host=target, other_host="")).rowcount > 0
