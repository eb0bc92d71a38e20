"""Lists: who sees what, order, pages, and links to the next page."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Boolean, ColumnElement, Connection, Table, and_, case, exists, func, or_, select

from objstore.services.calls.call import Call
from objstore.services.calls.comparing import compared, split_operator, time_us
from objstore.services.calls.paging import limit_of, link, query_without, sort_of
from objstore.services.calls.problems import bad_request, not_found
from objstore.services.volume.api.entry import asked_flag
from objstore.services.volume.api.tables import PROPERTIES
from objstore.services.volume.api.versions import has

Row = Any
PAGING = ("limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count", "project_id")
MAX_LITERAL_CHARS = 4096
MAX_LITERAL_NAMES = 64
MAX_TIMES = 4  # that one time is compared with
MAX_CONDITIONS = 200  # which databases nest
MAX_OFFSET = 10**9


@dataclass(frozen=True)
class Listed:
    """A kind of thing that is listed."""

    table: Table
    kind: str  # of its properties: "volume"
    name: str  # in answers: "volumes"
    columns: Mapping[str, Any]  # what is filtered and sorted by
    times: Sequence[str] = ("created_at", "updated_at")


def seen(call: Call, table: Table) -> list[ColumnElement[bool]]:
    """What a caller's list begins with: his project's, or all for an administrator who asks for that.  Raises 400."""
    if call.is_admin and asked_flag(call.first("all_tenants"), "all_tenants"):
        project = call.first("project_id")
        return [table.c.project == project] if project else []
    return [table.c.project == call.project]


def filters(call: Call, listed: Listed, more: Mapping[str, ColumnElement[bool] | None] | None = None) -> list[ColumnElement[bool]]:
    """Conditions of a query; `more` are parameters that were read already.  Raises 400."""
    found: list[ColumnElement[bool]] = [one for one in (more or {}).values() if one is not None]
    for name, value in call.query:
        if name in PAGING or name in (more or {}):
            continue
        like, name_ = name.endswith("~") and has(call, 34), name.removesuffix("~")
        column = listed.columns.get({"display_name": "name"}.get(name_, name_))
        if name == "metadata":
            found += [has_property(listed, listed.kind, key, each) for key, each in literal(name, value).items()]
        elif column is None:
            if has(call, 31):
                raise bad_request(f"Invalid filters {name[:64]} are found in query options.")
        elif like:
            if isinstance(column.type, Boolean) or column.type.python_type is int:
                raise bad_request(f"Invalid filters {name[:64]} are found in query options: it is no text.")
            found.append(column.like(f"%{_escaped(value)}%", escape="\\"))
        else:
            found.append(_condition(call, listed, name_, column, value))
        if len(found) > MAX_CONDITIONS:
            raise bad_request(f"A list has {MAX_CONDITIONS} filters at most.")
    return found


def _condition(call: Call, listed: Listed, name: str, column: Any, value: str) -> ColumnElement[bool]:
    if name in listed.times:
        if not has(call, 60):
            raise bad_request(f"Invalid filters {name} are found in query options.")
        parts = [split_operator(one) for one in value.split(",")]
        if len(parts) > MAX_TIMES:
            raise bad_request(f"A filter of a time has {MAX_TIMES} parts at most.")
        return and_(*(compared(column, operator, time_us(threshold)) for operator, threshold in parts))
    if isinstance(column.type, Boolean):
        return column.is_(asked_flag(value, name))  # type: ignore[no-any-return]  # a column, which is Any here
    if column.type.python_type is int:
        if not value.isascii() or not value.isdigit() or len(value) > 18:
            return column.is_(None)  # type: ignore[no-any-return]  # nothing has a size that is no number
        return column == int(value)  # type: ignore[no-any-return]  # as above
    return column == value  # type: ignore[no-any-return]  # as above


def has_property(listed: Listed, kind: str, name: str, value: str) -> ColumnElement[bool]:
    """Things that have a property of this value."""
    same = and_(PROPERTIES.c.owner == listed.table.c.id, PROPERTIES.c.kind == kind, PROPERTIES.c.name == name, PROPERTIES.c.value == value)
    return exists().where(same)


def literal(name: str, value: str) -> dict[str, str]:
    """Names with values as clients write them in queries: {'a': 'b'}, Python's or JSON's.  Raises 400."""
    try:
        found = ast.literal_eval(value) if len(value) <= MAX_LITERAL_CHARS else None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise bad_request(f"Invalid filter value for {name}: names with values are written {{'name': 'value'}}.")
    if len(found) > MAX_LITERAL_NAMES:
        raise bad_request(f"A filter has {MAX_LITERAL_NAMES} names at most.")
    given = {str(key): str(each) for key, each in found.items()}
    if any("\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text) for pair in given.items() for text in pair):
        raise bad_request(f"Invalid filter value for {name}: it holds a character that no text has.")
    return given


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


@dataclass(frozen=True)
class Page:
    """A page, and how many there are in all where that was asked for."""

    rows: Sequence[Row]
    more: bool
    count: int | None


def page(connection: Connection, call: Call, listed: Listed, conditions: Sequence[ColumnElement[bool]], *, most: int) -> Page:
    """One page of a list.  Raises 400, 404 for a marker that is nothing the caller sees."""
    limit = limit_of(call, default=most, most=most)
    offset = _offset(call)
    asked = sort_of(call, {*listed.columns, "display_name"}, default=(("created_at", "desc"),))
    sort = [("name" if key == "display_name" else key, direction) for key, direction in asked]
    names = [key for key, _ in sort]
    sort += [(key, sort[-1][1]) for key in ("created_at", "id") if key not in names]
    query = select(listed.table).where(*conditions)
    marker = call.first("marker")
    if marker is not None:
        query = query.where(_behind(connection, listed, sort, conditions, marker))
    for key, direction in sort:
        column = _ordered(listed.columns[key])
        query = query.order_by(column.asc() if direction == "asc" else column.desc())
    rows = connection.execute(query.offset(offset).limit(limit + 1)).all()
    count = None
    if has(call, 45) and asked_flag(call.first("with_count"), "with_count"):
        count = int(connection.execute(select(func.count()).select_from(listed.table).where(*conditions)).scalar_one())
    # A full page has a link even where nothing comes behind it, as Cinder does it.
    more = len(rows) > limit if call.first("limit") is None else len(rows) >= limit
    return Page(rows[:limit], more and limit > 0, count)


def _offset(call: Call) -> int:
    value = call.first("offset")
    if value is None:
        return 0
    if not value.isascii() or not value.isdigit() or len(value) > 12 or int(value) > MAX_OFFSET:
        raise bad_request("offset param must be an integer that is not negative")
    return int(value)


def _ordered(column: Any) -> Any:
    """Nothing comes before everything; on both databases."""
    if isinstance(column.type, Boolean):
        return case((column, 1), else_=0)
    return func.coalesce(column, -1 if column.type.python_type is int else "")


def _behind(
    connection: Connection, listed: Listed, sort: Sequence[tuple[str, str]], conditions: Sequence[ColumnElement[bool]], marker: str
) -> ColumnElement[bool]:
    columns = [_ordered(listed.columns[key]).label(f"k{number}") for number, (key, _) in enumerate(sort)]
    found = connection.execute(select(*columns).where(and_(listed.table.c.id == marker, *conditions[:1]))).one_or_none()
    if found is None:
        raise not_found(f"Marker {marker[:64]} could not be found.")
    alternatives = []
    for number, (key, direction) in enumerate(sort):
        equal = [_ordered(listed.columns[earlier]) == found[at] for at, (earlier, _) in enumerate(sort[:number])]
        column = _ordered(listed.columns[key])
        alternatives.append(and_(*equal, column > found[number] if direction == "asc" else column < found[number]))
    return or_(*alternatives)


def answer(call: Call, listed: Listed, found: Page, views: list[Any], *, links: bool = True) -> dict[str, Any]:
    """The document of a page."""
    body: dict[str, Any] = {listed.name: views}
    if found.more and links:
        query = [*query_without(call, "marker", "offset"), ("marker", found.rows[-1].id)]
        body[f"{listed.name}_links"] = [{"rel": "next", "href": link(f"{call.base_url}{call.path}", query)}]
    if found.count is not None:
        body["count"] = found.count
    return body
