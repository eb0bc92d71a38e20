"""Lists of resources: filters, order, pages, fields.  A filter that is given several times holds where one of its values does."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, Select, String, Table, and_, case, exists, false, func, or_, select

from objstore.services.calls.call import Call
from objstore.services.calls.paging import link, query_without
from objstore.services.network.operations import Operations, View
from objstore.services.network.problems import NetworkRefused, bad, invalid, shown
from objstore.services.network.records import JSON_COLUMNS, Row, Tx, Who, decoded
from objstore.services.network.tables import TAGS

_PAGING = ("limit", "marker", "page_reverse", "sort_key", "sort_dir", "fields")
_TAGS = ("tags", "tags-any", "not-tags", "not-tags-any")
_COMMON = {"id": "id", "project_id": "project", "tenant_id": "project", "revision_number": "revision"}
_TIMES = {"created_at": "created_us", "updated_at": "updated_us"}
MAX_SORT_KEYS = 8
MAX_FILTERS = 120
MAX_VALUES = 400  # of one filter, which databases nest


@dataclass(frozen=True)
class Asked:
    """A list as it was asked for."""

    conditions: Sequence[ColumnElement[bool]]
    sort: Sequence[tuple[str, str]]  # (column, "asc" or "desc")
    limit: int
    marker: str | None
    reverse: bool


def fields_of(call: Call) -> list[str]:
    """The attributes to show; none for all."""
    return [name for key, value in call.query if key == "fields" for name in value.split(",") if name]


def narrowed(views: Sequence[View], fields: Sequence[str]) -> list[View]:
    """Resources with some attributes only."""
    return [{name: view[name] for name in fields if name in view} for view in views] if fields else list(views)


def asked_of(call: Call, operations: Operations, who: Who, *, page_limit: int) -> Asked:
    """Read the query.  Raises 400."""
    limit = call.first("limit")
    if limit is not None and re.fullmatch(r"[0-9]{1,9}", limit) is None:
        raise bad(f"Limit must be an integer 0 or greater and not '{shown(limit)}'")
    # 0 is none, as it is to Neutron.
    page = min(int(limit), page_limit) if limit is not None and int(limit) else page_limit
    sort = _sort_of(call, operations, who)
    named: dict[str, list[str]] = {}
    for name, value in call.query:
        if name not in _PAGING:
            named.setdefault(name, []).append(value)
    if len(named) > MAX_FILTERS:
        raise bad(f"A list has {MAX_FILTERS} filters at most")
    conditions = [operations.seen(who), *(_condition(operations, who, name, values) for name, values in named.items())]
    return Asked(conditions, sort, page, call.first("marker") or None, (call.first("page_reverse") or "").lower() in ("true", "1"))


def _sort_of(call: Call, operations: Operations, who: Who) -> list[tuple[str, str]]:
    keys = [value for name, value in call.query if name == "sort_key"]
    directions = [value for name, value in call.query if name == "sort_dir"]
    if directions and len(directions) != len(keys):
        raise bad("The number of sort_keys and sort_dirs must be same")
    if len(keys) > MAX_SORT_KEYS:
        raise bad(f"A list is sorted by {MAX_SORT_KEYS} keys at most")
    found: list[tuple[str, str]] = []
    for at, key in enumerate(keys):
        direction = directions[at] if directions else "asc"
        if direction not in ("asc", "desc"):
            raise bad(f"The sort direction is 'asc' or 'desc' and not '{shown(direction)}'")
        column = _TIMES.get(key) or _column_of(operations, key)
        hidden = key in operations.kind.named and operations.kind.named[key].hidden and not who.admin
        if column is None or column in JSON_COLUMNS or hidden:
            raise bad(f"'{shown(key)}' is an invalid attribute for sort key")
        found.append((column, direction))
    last = found[-1][1] if found else "asc"
    names = [column for column, _ in found]
    return found + [(column, last) for column in ("created_us", "id") if column not in names]


def _column_of(operations: Operations, name: str) -> str | None:
    """Where a filter's attribute is kept; None where it is no column."""
    table, kind = operations.kind.table, operations.kind
    if name in _COMMON:
        return _COMMON[name]
    kept = kind.named[name].kept if name in kind.named else name if name in kind.read_only else ""
    return kept if kept in table.c else None


def _condition(operations: Operations, who: Who, name: str, values: Sequence[str]) -> ColumnElement[bool]:
    table = operations.kind.table
    if name in _TAGS:
        values = [tag for value in values for tag in value.split(",")]
    values = list(dict.fromkeys(values))
    if len(values) > MAX_VALUES:
        raise bad(f"A filter has {MAX_VALUES} values at most")
    if name in operations.filters:
        return operations.filters[name](who, values)
    if name in _TAGS and operations.kind.tagged:
        return _tagged(table, name, values)
    column = _column_of(operations, name)
    if column is None or column in JSON_COLUMNS:
        raise invalid(f"['{shown(name)}' is invalid attribute for filtering]")
    if name in operations.kind.named and operations.kind.named[name].hidden and not who.admin:
        return false()
    return or_(*(_equals(table.c[column], name, value) for value in values))


def _equals(column: Any, name: str, value: str) -> ColumnElement[bool]:
    kind = column.type
    if isinstance(kind, Boolean):
        if value.lower() not in ("true", "false", "1", "0"):
            raise bad(f"'{shown(value)}' is not a valid boolean value for the filter '{name}'")
        return bool_is(column, wanted=value.lower() in ("true", "1"))
    if isinstance(kind, BigInteger):
        if re.fullmatch(r"-?[0-9]{1,18}", value) is None:
            raise bad(f"'{shown(value)}' is not an integer for the filter '{name}'")
        return bool_of(column == int(value))
    if value in ("", "None", "null"):
        return or_(column.is_(None), column == value)
    return bool_of(column == value)


def bool_is(column: Any, *, wanted: bool) -> ColumnElement[bool]:
    """Whether a flag is so."""
    return bool_of(column.is_(wanted))


def bool_of(condition: Any) -> ColumnElement[bool]:
    """A condition with its type."""
    found: ColumnElement[bool] = condition
    return found


def _tagged(table: Table, name: str, tags: Sequence[str]) -> ColumnElement[bool]:
    has = [exists().where(and_(TAGS.c.resource == table.c.id, TAGS.c.tag == tag)) for tag in tags]
    together = or_(*has) if name.endswith("any") else and_(*has)
    return ~together if name.startswith("not-") else together


def _ordered(table: Table, name: str) -> ColumnElement[Any]:
    """A column as lists are ordered by it: nothing comes before everything."""
    column = table.c[name]
    if isinstance(column.type, Boolean):
        return case((column, 1), else_=0)
    empty: Any = "" if isinstance(column.type, String) else -1
    return func.coalesce(column, empty)


def page(tx: Tx, operations: Operations, asked: Asked) -> tuple[list[Row], bool]:
    """One page in the order of the list, and whether there is more beyond it.  Raises 400 for a marker that is none."""
    table = operations.kind.table
    turned = {"asc": "desc", "desc": "asc"} if asked.reverse else {"asc": "asc", "desc": "desc"}
    sort = [(column, turned[direction]) for column, direction in asked.sort]
    query: Select[Any] = select(table).where(and_(*asked.conditions))
    if asked.marker is not None:
        query = query.where(_behind(tx, operations, asked.marker, asked.conditions[0], sort))
    for name, direction in sort:
        column = _ordered(table, name)
        query = query.order_by(column.asc() if direction == "asc" else column.desc())
    found = [decoded(row, table) for row in tx.connection.execute(query.limit(asked.limit + 1))]
    rows = found[: asked.limit]
    return (rows[::-1] if asked.reverse else rows), len(found) > asked.limit


def _behind(tx: Tx, operations: Operations, marker: str, seen: Any, sort: Sequence[tuple[str, str]]) -> ColumnElement[bool]:
    table = operations.kind.table
    columns = [_ordered(table, name).label(f"k{at}") for at, (name, _) in enumerate(sort)]
    found = tx.connection.execute(select(*columns).where(and_(table.c.id == marker, seen))).one_or_none()
    if found is None:
        raise NetworkRefused(404, f"{operations.kind.missing}NotFound", f"{operations.kind.words} {shown(marker)} could not be found.")
    alternatives: list[ColumnElement[bool]] = []
    for at, (name, direction) in enumerate(sort):
        equal = [_ordered(table, earlier) == found[before] for before, (earlier, _) in enumerate(sort[:at])]
        column = _ordered(table, name)
        alternatives.append(and_(*equal, column > found[at] if direction == "asc" else column < found[at]))
    return or_(*alternatives)


def links(call: Call, asked: Asked, ids: Sequence[str], *, more: bool) -> list[View]:
    """The links to the pages beside this one."""
    rest = query_without(call, "marker", "page_reverse")
    url = f"{call.base_url}{call.path}"
    found: list[View] = []
    if ids and (more if not asked.reverse else asked.marker is not None):
        found.append({"rel": "next", "href": link(url, [*rest, ("marker", ids[-1])])})
    if ids and (more if asked.reverse else asked.marker is not None):
        found.append({"rel": "previous", "href": link(url, [*rest, ("marker", ids[0]), ("page_reverse", "True")])})
    return found
