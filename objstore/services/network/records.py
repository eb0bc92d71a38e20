"""Rows of resources inside a transaction: a row is a dict by column, with lists and objects decoded.

A change of anything that hosts are told about raises the revision of what they are told, once in a transaction.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import ColumnElement, Connection, Table, and_, delete, func, insert, select, true, update

from objstore.runtime.rng import Rng
from objstore.services.network import tables
from objstore.services.network.settings import NetworkSettings
from objstore.services.network.tables import COUNTERS, NUMBERS, TAGS

Row = dict[str, Any]
JSON_COLUMNS = frozenset(
    ("hints", "allocation_pools", "dns_nameservers", "host_routes", "service_types", "prefixes", "profile", "allowed_address_pairs",
     "extra_dhcp_opts", "routes")
)  # fmt: skip
# What is told to hosts: `routes` of net_hosts is a flag and not JSON.
_TOLD = frozenset(
    (tables.NETWORKS, tables.SUBNETS, tables.PORTS, tables.ROUTERS, tables.FLOATINGS, tables.GROUPS, tables.RULES, tables.HOSTS)
)
REVISION = "revision"
MAX_NUMBER = 2**24 - 1


@dataclass(frozen=True)
class Who:
    """On whose behalf something is done."""

    project: str  # "" for the administrator without one
    admin: bool = False
    writer: bool = True


@dataclass
class Tx:
    """A transaction and what it may need; `told` says that hosts must be told anew."""

    connection: Connection
    who: Who
    now_us: int
    rng: Rng
    settings: NetworkSettings
    told: bool = False

    def uuid(self) -> str:
        """A new id."""
        text = self.rng.token(16).hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:]}"


def decoded(found: Any, table: Table) -> Row:
    """A row as it came from the database."""
    row = dict(found._mapping)
    if table is not tables.HOSTS:
        for name in JSON_COLUMNS & row.keys():
            row[name] = msgspec.json.decode(row[name])
    return row


def _encoded(values: Mapping[str, Any], table: Table) -> Row:
    if table is tables.HOSTS:
        return dict(values)
    return {name: msgspec.json.encode(value).decode() if name in JSON_COLUMNS else value for name, value in values.items()}


def rows(tx: Tx, table: Table, *conditions: ColumnElement[bool]) -> list[Row]:
    """All rows of which the conditions hold, the oldest first."""
    query = select(table).where(and_(true(), *conditions))
    if "created_us" in table.c:
        query = query.order_by(table.c.created_us, table.c.id)
    return [decoded(found, table) for found in tx.connection.execute(query)]


def get(tx: Tx, table: Table, id_: str | None) -> Row | None:
    """A row by its id."""
    found = tx.connection.execute(select(table).where(table.c.id == id_)).one_or_none()
    return None if found is None else decoded(found, table)


def one(tx: Tx, table: Table, id_: str | None) -> Row:
    """A row that is known to be there."""
    found = get(tx, table, id_)
    assert found is not None, f"{table.name} has no {id_}"
    return found


def by_id(tx: Tx, table: Table, ids: Iterable[str]) -> dict[str, Row]:
    """Rows by their ids."""
    wanted = list(dict.fromkeys(ids))
    found: dict[str, Row] = {}
    for start in range(0, len(wanted), 500):
        for row in rows(tx, table, table.c.id.in_(wanted[start : start + 500])):
            found[row["id"]] = row
    return found


def add(tx: Tx, table: Table, values: Mapping[str, Any]) -> Row:
    """Write a new resource; its id and times are made here where they are not given."""
    row = {
        "id": tx.uuid(), "project": tx.who.project, "name": "", "description": "", "created_us": tx.now_us, "updated_us": tx.now_us, "revision": 0,
        **values,
    }  # fmt: skip
    tx.connection.execute(insert(table).values(**_encoded(row, table)))
    tx.told = tx.told or table in _TOLD
    return row


def change(tx: Tx, table: Table, row: Row, values: Mapping[str, Any], *, quiet: bool = False) -> None:
    """Change a resource, in the database and in `row`; nothing is done where nothing differs.  `quiet`: not for hosts."""
    differing = {name: value for name, value in values.items() if row[name] != value}
    if differing:
        differing |= {"updated_us": tx.now_us, "revision": row["revision"] + 1}
        tx.connection.execute(update(table).where(table.c.id == row["id"]).values(**_encoded(differing, table)))
        row.update(differing)
        tx.told = tx.told or (table in _TOLD and not quiet)


def after(row: Row, values: Mapping[str, Any], name: str) -> Any:
    """What a column has after a change."""
    return values[name] if name in values else row[name]


def bump(tx: Tx, table: Table, id_: str) -> None:
    """A part of a resource changed that is not in its row."""
    tx.connection.execute(update(table).where(table.c.id == id_).values(updated_us=tx.now_us, revision=table.c.revision + 1))
    tx.told = tx.told or table in _TOLD


def remove(tx: Tx, table: Table, id_: str) -> None:
    """Remove a resource with its tags."""
    tx.connection.execute(delete(table).where(table.c.id == id_))
    tx.connection.execute(delete(TAGS).where(TAGS.c.resource == id_))
    tx.told = tx.told or table in _TOLD


def count(tx: Tx, table: Table, *conditions: ColumnElement[bool]) -> int:
    """How many rows there are of which the conditions hold."""
    return int(tx.connection.execute(select(func.count()).select_from(table).where(and_(true(), *conditions))).scalar_one())


# -- counters -----------------------------------------------------------------------------------------------------


def counter(connection: Connection, name: str) -> int:
    """A counter's value; 0 where it never counted."""
    return int(connection.execute(select(COUNTERS.c.value).where(COUNTERS.c.name == name)).scalar_one_or_none() or 0)


def count_up(connection: Connection, name: str) -> int:
    """Count; the new value."""
    if not connection.execute(update(COUNTERS).where(COUNTERS.c.name == name).values(value=COUNTERS.c.value + 1)).rowcount:
        connection.execute(insert(COUNTERS).values(name=name, value=1))
    return counter(connection, name)


def new_number(tx: Tx, resource: str, wanted: int | None = None) -> int | None:
    """A number that no network and no router has; None where `wanted` is taken, or all are."""
    if wanted is None:
        wanted = (count_up(tx.connection, "number") - 1) % MAX_NUMBER + 1
        for _ in range(1000):
            if not count(tx, NUMBERS, NUMBERS.c.number == wanted):
                break
            wanted = (count_up(tx.connection, "number") - 1) % MAX_NUMBER + 1
    if count(tx, NUMBERS, NUMBERS.c.number == wanted):
        return None
    tx.connection.execute(insert(NUMBERS).values(number=wanted, resource=resource))
    return wanted


def free_number(tx: Tx, number: int) -> None:
    """A number is for others again."""
    tx.connection.execute(delete(NUMBERS).where(NUMBERS.c.number == number))


# -- tags ---------------------------------------------------------------------------------------------------------


def tags_of(tx: Tx, ids: Sequence[str]) -> dict[str, list[str]]:
    """The tags of resources, sorted."""
    found: dict[str, list[str]] = {id_: [] for id_ in ids}
    for start in range(0, len(ids), 500):
        query = select(TAGS).where(TAGS.c.resource.in_(ids[start : start + 500])).order_by(TAGS.c.tag)
        for row in tx.connection.execute(query):
            found[row.resource].append(row.tag)
    return found


def set_tags(tx: Tx, id_: str, tags: Iterable[str]) -> None:
    """Replace all tags of a resource."""
    tx.connection.execute(delete(TAGS).where(TAGS.c.resource == id_))
    unique = sorted(set(tags))
    if unique:
        tx.connection.execute(insert(TAGS), [{"resource": id_, "tag": tag} for tag in unique])
