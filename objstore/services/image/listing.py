"""Lists of images: filters, order and pages as one query."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, exists, false, func, or_, select

from objstore.services.calls.call import Call
from objstore.services.calls.comparing import compared, items_of, split_operator, time_us
from objstore.services.calls.paging import limit_of, sort_of
from objstore.services.calls.problems import bad_request
from objstore.services.image.records import COMMUNITY, DELETED, PUBLIC, SHARED, VISIBILITIES, Image, images_of
from objstore.services.image.tables import IMAGES, MEMBERS, PROPERTIES, TAGS

SORT_KEYS = {
    "name": IMAGES.c.name, "status": IMAGES.c.status, "container_format": IMAGES.c.container_format, "disk_format": IMAGES.c.disk_format,
    "size": IMAGES.c.size, "id": IMAGES.c.id, "created_at": IMAGES.c.created_us, "updated_at": IMAGES.c.updated_us, "visibility": IMAGES.c.visibility,
    "owner": IMAGES.c.owner, "min_disk": IMAGES.c.min_disk, "min_ram": IMAGES.c.min_ram, "virtual_size": IMAGES.c.virtual_size,
    "protected": IMAGES.c.protected,
}  # fmt: skip
_NUMBERS = ("size", "created_at", "updated_at", "min_disk", "min_ram", "virtual_size")
_EQUAL = {
    name: IMAGES.c[name] for name in ("name", "status", "id", "owner", "container_format", "disk_format", "checksum", "os_hash_algo", "os_hash_value")
}  # fmt: skip
_IN = ("name", "status", "id", "container_format", "disk_format")
_TIMES = {"created_at": IMAGES.c.created_us, "updated_at": IMAGES.c.updated_us}
_FLAGS = {"protected": IMAGES.c.protected, "os_hidden": IMAGES.c.os_hidden}
_SIZES = {"min_disk": IMAGES.c.min_disk, "min_ram": IMAGES.c.min_ram, "size": IMAGES.c.size, "virtual_size": IMAGES.c.virtual_size}
_PAGING = ("limit", "marker", "sort", "sort_key", "sort_dir", "member_status", "visibility", "tag", "size_min", "size_max")
MEMBER_STATUSES = ("pending", "accepted", "rejected", "all")
MAX_FILTERS = 64
MAX_PAGE_CHARS = 8 * 1024 * 1024  # of properties: quotas allow a page of images gigabytes of them


@dataclass(frozen=True)
class Wanted:
    """A list as it was asked for."""

    conditions: Sequence[ColumnElement[bool]]
    sort: Sequence[tuple[str, str]]
    limit: int
    marker: str | None


def wanted(call: Call, *, page_limit: int) -> Wanted:
    """Read the query.  Raises 400."""
    limit = limit_of(call, default=min(25, page_limit), most=page_limit)
    sort = sort_of(call, SORT_KEYS, default=(("created_at", "desc"),))
    names = [key for key, _ in sort]
    last = sort[-1][1]
    sort += [(key, last) for key in ("created_at", "id") if key not in names]
    filters = [pair for pair in call.query if pair[0] not in ("limit", "marker", "sort", "sort_key", "sort_dir")]
    if len(filters) > MAX_FILTERS:
        raise bad_request(f"A list has {MAX_FILTERS} filters at most.")
    conditions = [_seen(call), IMAGES.c.status != DELETED, *(_condition(name, value) for name, value in filters)]
    if call.first("os_hidden") is None:
        conditions.append(IMAGES.c.os_hidden == false())
    return Wanted(conditions, sort, limit, call.first("marker"))


def _seen(call: Call) -> ColumnElement[bool]:
    """What the caller is shown, as Glance chooses it: others' community images only when they are asked for."""
    visibility = call.first("visibility")
    if visibility is not None and visibility not in (*VISIBILITIES, "all"):
        raise bad_request(f"Invalid visibility value: {visibility[:64]}")
    said = call.first("member_status") or "accepted"
    if said not in MEMBER_STATUSES:
        raise bad_request(f"Invalid status: {said[:64]}")
    mine = IMAGES.c.owner == call.project
    conditions: list[ColumnElement[bool]] = []
    if visibility is None:
        conditions.append(or_(IMAGES.c.visibility != COMMUNITY, mine))
    elif visibility != "all":
        conditions.append(IMAGES.c.visibility == visibility)
    if not call.is_admin:
        member = and_(MEMBERS.c.image == IMAGES.c.id, MEMBERS.c.member == call.project)
        shared = exists().where(and_(member, MEMBERS.c.status == said) if said != "all" else member)
        conditions.append(or_(IMAGES.c.visibility.in_((PUBLIC, COMMUNITY)), mine, and_(IMAGES.c.visibility == SHARED, shared)))
    return and_(*conditions) if conditions else IMAGES.c.id.is_not(None)


def _condition(name: str, value: str) -> ColumnElement[bool]:
    if name in ("visibility", "member_status"):
        return IMAGES.c.id.is_not(None)  # part of what is seen
    if name == "tag":
        return exists().where(and_(TAGS.c.image == IMAGES.c.id, TAGS.c.tag == value))
    if name in ("size_min", "size_max"):
        number = _number(name, value)
        return IMAGES.c.size >= number if name == "size_min" else IMAGES.c.size <= number
    if name in _SIZES:
        return _SIZES[name] == _number(name, value)
    if name in _FLAGS:
        if value.lower() not in ("true", "false"):
            raise bad_request(f"invalid value '{value[:64]}' for '{name}' filter. Valid values are case insensitively 'true' or 'false'.")
        return _FLAGS[name].is_(value.lower() == "true")
    if name in _TIMES:
        operator, text = split_operator(value)
        return _at(_TIMES[name], operator, time_us(text))
    if name in _EQUAL:
        if name in _IN and value.startswith("in:"):
            return _EQUAL[name].in_(items_of(value[3:]))
        operator, text = split_operator(value) if name in _IN and value.startswith(("eq:", "neq:")) else ("eq", value)
        return compared(_EQUAL[name], operator, text)
    if name in ("changes-since", "deleted"):
        raise bad_request(f"The filter '{name}' is not known.")
    return exists().where(and_(PROPERTIES.c.image == IMAGES.c.id, PROPERTIES.c.name == name, PROPERTIES.c.value == value))


def _at(column: ColumnElement[int], operator: str, second: int) -> ColumnElement[bool]:
    """Times are shown in whole seconds and compared as they are shown."""
    whole = second // 1_000_000 * 1_000_000
    after = whole + 1_000_000
    conditions: dict[str, Any] = {
        "eq": and_(column >= whole, column < after), "neq": or_(column < whole, column >= after), "gt": column >= after, "gte": column >= whole,
        "lt": column < whole, "lte": column < after,
    }  # fmt: skip
    found: ColumnElement[bool] = conditions[operator]
    return found


def _number(name: str, value: str) -> int:
    if not value.isascii() or not value.isdigit() or len(value) > 18:
        raise bad_request(f"{name} must be an integer that is not negative, not {value[:64]!r}")
    return int(value)


def _ordered(key: str) -> ColumnElement[Any]:
    """A column as lists are ordered by it: nothing comes before everything."""
    if key == "protected":
        return case((IMAGES.c.protected, 1), else_=0)
    empty: Any = -1 if key in _NUMBERS else ""
    return func.coalesce(SORT_KEYS[key], empty)


def page(connection: Connection, asked: Wanted) -> tuple[list[Image], bool]:
    """One page, and whether there is more.  Raises 400 for a marker that is no image the caller sees."""
    query: Select[Any] = select(IMAGES).where(and_(*asked.conditions))
    if asked.marker is not None:
        query = query.where(_behind(connection, asked))
    for key, direction in asked.sort:
        column = _ordered(key)
        query = query.order_by(column.asc() if direction == "asc" else column.desc())
    rows = connection.execute(query.limit(asked.limit + 1)).all()
    shown = rows[: _fitting(connection, rows[: asked.limit])]
    return images_of(connection, shown), len(rows) > len(shown)


def _fitting(connection: Connection, rows: Sequence[Any]) -> int:
    """How many of these images are shown at once: one in any case, and no more than have their properties on one page."""
    mine = select(PROPERTIES.c.image, func.sum(func.length(PROPERTIES.c.value))).where(PROPERTIES.c.image.in_([row.id for row in rows]))
    chars = {row[0]: int(row[1] or 0) for row in connection.execute(mine.group_by(PROPERTIES.c.image))}
    taken = 0
    for number, row in enumerate(rows):
        taken += chars.get(row.id, 0)
        if number and taken > MAX_PAGE_CHARS:
            return number
    return len(rows)


def _behind(connection: Connection, asked: Wanted) -> ColumnElement[bool]:
    """Those that come after the marker in the order of the list."""
    columns = [_ordered(key).label(f"k{number}") for number, (key, _) in enumerate(asked.sort)]
    seen = select(*columns).where(and_(IMAGES.c.id == asked.marker, IMAGES.c.status != DELETED, asked.conditions[0]))
    found = connection.execute(seen).one_or_none()
    if found is None:
        raise bad_request(f"Image {str(asked.marker)[:64]} could not be found for a marker.")
    alternatives: list[ColumnElement[bool]] = []
    for number, (key, direction) in enumerate(asked.sort):
        equal = [_ordered(earlier) == found[at] for at, (earlier, _) in enumerate(asked.sort[:number])]
        column = _ordered(key)
        alternatives.append(and_(*equal, column > found[number] if direction == "asc" else column < found[number]))
    return or_(*alternatives)
