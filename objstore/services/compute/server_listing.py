"""Lists of servers: filters, order and pages as one query."""

import ipaddress
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, false, func, not_, or_, select, true

from objstore.services.calls.call import Call
from objstore.services.calls.comparing import time_us
from objstore.services.calls.paging import limit_of, sort_of
from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.compute import fields
from objstore.services.compute.patterns import Pattern, Search, parse
from objstore.services.compute.records import Server, servers_of
from objstore.services.compute.states import DELETED, other_tasks, states_of
from objstore.services.compute.tables import SERVERS, TAGS

SORT_KEYS = {
    "uuid": SERVERS.c.id, "display_name": SERVERS.c.name, "created_at": SERVERS.c.created_us, "updated_at": SERVERS.c.updated_us,
    "vm_state": SERVERS.c.vm_state, "task_state": SERVERS.c.task_state, "power_state": SERVERS.c.power_state, "host": SERVERS.c.host,
    "project_id": SERVERS.c.project, "user_id": SERVERS.c.user_id, "image_ref": SERVERS.c.image, "instance_type_id": SERVERS.c.flavor,
    "availability_zone": SERVERS.c.zone, "key_name": SERVERS.c.key_name, "launched_at": SERVERS.c.launched_us, "launch_index": SERVERS.c.launch_index,
    "root_device_name": SERVERS.c.root_device, "config_drive": SERVERS.c.config_drive, "progress": SERVERS.c.progress,
    "display_description": SERVERS.c.description, "hostname": SERVERS.c.hostname, "terminated_at": SERVERS.c.terminated_us,
    "auto_disk_config": SERVERS.c.disk_config, "access_ip_v4": SERVERS.c.access_v4, "access_ip_v6": SERVERS.c.access_v6,
    "locked": SERVERS.c.locked_by,
}  # fmt: skip
_SORT_NAMES = {
    "tenant_id": "project_id",
    "id": "uuid",
    "name": "display_name",
    "created": "created_at",
    "updated": "updated_at",
    "status": "vm_state",
}
_FOR_ADMINS = ("host", "node")  # as sort keys and filters
_EQUAL = {
    "user_id": SERVERS.c.user_id, "key_name": SERVERS.c.key_name, "reservation_id": SERVERS.c.reservation, "uuid": SERVERS.c.id,
    "hostname": SERVERS.c.hostname, "task_state": SERVERS.c.task_state, "vm_state": SERVERS.c.vm_state,
}  # fmt: skip
_TAG_FILTERS = ("tags", "tags-any", "not-tags", "not-tags-any")
MAX_FILTERS = 64
SCAN_ROWS = 10_000  # looked at for a page whose filters are no SQL


@dataclass(frozen=True)
class Wanted:
    """A list as it was asked for."""

    conditions: Sequence[ColumnElement[bool]]
    sort: Sequence[tuple[str, str]]
    limit: int
    marker: str | None
    name: Pattern | None = None
    ip: Pattern | None = None
    ip6: Pattern | None = None
    nothing: bool = False  # a filter that fits none


def wanted(call: Call, *, page_limit: int) -> Wanted:
    """Read the query.  Raises 400, 403."""
    if len(call.query) > MAX_FILTERS:
        raise bad_request(f"A list has {MAX_FILTERS} filters at most.")
    limit = limit_of(call, default=page_limit, most=page_limit)
    everything = call.first("all_tenants")
    all_tenants = everything is not None and fields.flag("all_tenants", everything or "1")
    if all_tenants and not call.is_admin:
        raise forbidden("Policy doesn't allow os_compute_api:servers:index:get_all_tenants to be performed.")
    conditions: list[ColumnElement[bool]] = []
    project = call.first("project_id") or call.first("tenant_id")
    if not all_tenants:
        conditions.append(SERVERS.c.project == call.project)
    elif project:
        conditions.append(SERVERS.c.project == project)
    conditions += _which(call)
    nothing = False
    for name in dict.fromkeys(name for name, _ in call.query):
        values = [value for key, value in call.query if key == name]
        found = _condition(call, name, values)
        if found is None:
            nothing = True
        elif found is not True:
            conditions.append(found)
    return Wanted(
        conditions, _sort(call), limit, call.first("marker"), _pattern(call, "name"), _pattern(call, "ip"),
        _pattern(call, "ip6") if call.is_admin or call.version >= (2, 5) else None, nothing,
    )  # fmt: skip


def _sort(call: Call) -> list[tuple[str, str]]:
    keys: Collection[str] = (*SORT_KEYS, *_SORT_NAMES, "node")
    asked = sort_of(call, keys, default=(("created_at", "desc"),))
    if not call.is_admin and any(key in _FOR_ADMINS for key, _ in asked):
        raise forbidden("Only administrators can sort servers by their hosts.")
    sort = [("host" if key == "node" else _SORT_NAMES.get(key, key), direction) for key, direction in asked]
    last = sort[-1][1]
    return sort + [(key, last) for key in ("created_at", "uuid") if key not in [name for name, _ in sort]]


def _which(call: Call) -> list[ColumnElement[bool]]:
    """Living ones, deleted ones, those that changed."""
    since, before = call.first("changes-since"), call.first("changes-before")
    conditions: list[ColumnElement[bool]] = []
    if since is not None:
        conditions.append(SERVERS.c.updated_us >= _time(since))
    if before is not None and call.version >= (2, 66):
        conditions.append(SERVERS.c.updated_us < _time(before) + 1_000_000)
        if since is not None and _time(since) > _time(before):
            raise bad_request("The value of changes-since must be less than or equal to changes-before.")
    deleted = call.first("deleted")
    if deleted is not None and call.is_admin:
        gone = fields.flag("deleted", deleted)
        conditions.append(SERVERS.c.vm_state == DELETED if gone else SERVERS.c.vm_state != DELETED)
    elif since is None and not (call.is_admin and (call.first("status") or "").upper() == "DELETED"):
        conditions.append(SERVERS.c.vm_state != DELETED)
    return conditions


def _time(text: str) -> int:
    try:
        return time_us(text)
    except Exception as failure:
        raise bad_request(f"Invalid input for query parameters changes-since. Value: {text[:64]}. It is not a 'date-time'") from failure


def _condition(call: Call, name: str, values: Sequence[str]) -> Any:
    """A condition; True where there is none, None where nothing fits."""
    value = values[-1]
    if name == "status":
        return _status(values, is_admin=call.is_admin)
    if name == "image":
        return SERVERS.c.image == value.rsplit("/", 1)[-1]
    if name == "flavor":
        return SERVERS.c.flavor == value.rsplit("/", 1)[-1]
    if name in ("host", "node") and call.is_admin:
        return SERVERS.c.host == value
    if name == "availability_zone":
        return SERVERS.c.zone == value if call.is_admin or call.version >= (2, 83) else True
    if name == "locked" and call.version >= (2, 73):
        return SERVERS.c.locked_by != "" if fields.flag(name, value) else SERVERS.c.locked_by == ""
    if name == "config_drive" and (call.is_admin or call.version >= (2, 83)):
        return SERVERS.c.config_drive == (true() if fields.flag(name, value) else false())
    if name in _TAG_FILTERS and call.version >= (2, 26):
        return _tags(name, value)
    if name in ("power_state", "launch_index", "progress") and (call.is_admin or call.version >= (2, 83)):
        return SERVERS.c[name] == int(value) if re.fullmatch(r"[0-9]{1,9}", value) else None
    if name == "description" and call.is_admin:
        return SERVERS.c.description.contains(value, autoescape=True)
    if name in ("user_id", "key_name", "reservation_id", "uuid", "hostname", "task_state", "vm_state"):
        column = _EQUAL[name]
        may = name in ("reservation_id", "uuid") or call.is_admin or call.version >= (2, 83)
        return column == value if may else True
    return True  # what is not known is ignored, as Nova does


def _status(values: Sequence[str], *, is_admin: bool) -> Any:
    found: list[ColumnElement[bool]] = []
    for value in values:
        states = states_of(value)
        if states is None:
            return None
        if value.upper() == "DELETED" and not is_admin:
            raise forbidden("Only administrators may list deleted servers")
        for vm_state, task in states:
            here = SERVERS.c.vm_state == vm_state
            found.append(
                and_(here, SERVERS.c.task_state == task)
                if task is not None
                else and_(here, SERVERS.c.task_state.not_in(other_tasks(vm_state)))
            )
    return or_(*found) if found else None


def _tags(name: str, value: str) -> ColumnElement[bool]:
    each = [exists().where(and_(TAGS.c.server == SERVERS.c.id, TAGS.c.tag == one)) for one in value.split(",")[: fields.MAX_TAGS]]
    joined = or_(*each) if name.endswith("any") else and_(*each)
    return not_(joined) if name.startswith("not") else joined


def _pattern(call: Call, name: str) -> Pattern | None:
    value = call.first(name)
    return parse(name, value) if value else None


def _ordered(key: str) -> ColumnElement[Any]:
    """A column as lists are ordered by it: nothing comes before everything."""
    column = SORT_KEYS[key]
    empty: Any = -1 if key.endswith(("_at", "index", "state", "progress")) and key not in ("vm_state", "task_state") else ""
    return column if key == "config_drive" else func.coalesce(column, empty)


def page(connection: Connection, asked: Wanted) -> tuple[list[Server], bool]:
    """One page, and whether there is more.  Raises 400 for a marker that is no server the caller sees."""
    query = select(SERVERS).where(and_(*asked.conditions))
    if asked.marker is not None:
        query = query.where(_behind(connection, asked))
    if asked.nothing or asked.limit == 0:
        return [], False
    for key, direction in asked.sort:
        column = _ordered(key)
        query = query.order_by(column.asc() if direction == "asc" else column.desc())
    if asked.name is None:
        rows = list(connection.execute(query.limit(asked.limit + 1)))
    else:
        rows, search = [], Search("name", asked.name)
        for row in connection.execute(query.limit(SCAN_ROWS)):
            if search.finds(row.name):
                rows.append(row)
                if len(rows) > asked.limit:
                    break
    return servers_of(connection, rows[: asked.limit]), len(rows) > asked.limit


def _behind(connection: Connection, asked: Wanted) -> ColumnElement[bool]:
    """Those that come after the marker in the order of the list."""
    columns = [_ordered(key).label(f"k{number}") for number, (key, _) in enumerate(asked.sort)]
    seen = select(*columns).where(and_(SERVERS.c.id == asked.marker, asked.conditions[0]))
    found = connection.execute(seen).one_or_none()
    if found is None:
        raise bad_request(f"marker [{str(asked.marker)[:64]}] not found")
    alternatives: list[ColumnElement[bool]] = []
    for number, (key, direction) in enumerate(asked.sort):
        equal = [_ordered(earlier) == found[at] for at, (earlier, _) in enumerate(asked.sort[:number])]
        column = _ordered(key)
        alternatives.append(and_(*equal, column > found[number] if direction == "asc" else column < found[number]))
    return or_(*alternatives)


def with_addresses(asked: Wanted, addresses: Mapping[str, Sequence[str]]) -> list[str]:
    """The ids of those servers whose addresses fit the filters of addresses.  Raises 400."""
    found = list(addresses)
    for name, pattern, version in (("ip", asked.ip, 4), ("ip6", asked.ip6, 6)):
        if pattern is not None:
            search = Search(name, pattern)
            found = [
                id_ for id_ in found if any(ipaddress.ip_address(one).version == version and search.finds(one) for one in addresses[id_])
            ]
    return found
