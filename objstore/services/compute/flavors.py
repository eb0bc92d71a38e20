"""Flavors as they are kept and shown; inside a transaction, or pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, insert, or_, select, update

from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import CallRefused, conflict, not_found
from objstore.services.compute.cloud_tables import FLAVOR_ACCESS, FLAVORS
from objstore.services.compute.views import View, links

DESCRIBED: Version = (2, 55)  # since when there are descriptions
WITH_SPECS: Version = (2, 61)  # since when flavors show their extra specs
ZERO_SWAP: Version = (2, 75)  # since when no swap is 0 and not ""


@dataclass(frozen=True)
class FlavorRow:
    """A flavor as it is kept."""

    id: str
    name: str
    description: str | None
    vcpus: int
    ram_mb: int
    disk_gb: int
    ephemeral_gb: int
    swap_mb: int
    rxtx_factor: float
    is_public: bool
    extra_specs: Mapping[str, str]
    created_us: int


def flavor_of(row: Any) -> FlavorRow:
    """A flavor of its row."""
    return FlavorRow(
        row.id, row.name, row.description, row.vcpus, row.ram_mb, row.disk_gb, row.ephemeral_gb, row.swap_mb, float(row.rxtx_factor),
        bool(row.is_public), msgspec.json.decode(row.extra_specs), row.created_us,
    )  # fmt: skip


def find_flavor(connection: Connection, id_: str) -> FlavorRow:
    """A flavor by its id.  Raises 404."""
    row = connection.execute(select(FLAVORS).where(FLAVORS.c.id == id_)).one_or_none()
    if row is None:
        raise unknown(id_)
    return flavor_of(row)


def flavor_for(connection: Connection, project: str, id_: str, *, is_admin: bool) -> FlavorRow | None:
    """A flavor that a project may use; None where there is none."""
    query = select(FLAVORS).where(FLAVORS.c.id == id_)
    row = connection.execute(query if is_admin else query.where(_open_to(project))).one_or_none()
    return None if row is None else flavor_of(row)


def flavors_for(connection: Connection, project: str, *, public: bool | None) -> list[FlavorRow]:
    """Flavors that a project may use (`public`), all others, or all."""
    query = select(FLAVORS)
    if public is True:
        query = query.where(_open_to(project))
    elif public is False:
        query = query.where(FLAVORS.c.is_public.is_(False))
    return [flavor_of(row) for row in connection.execute(query.order_by(FLAVORS.c.id))]


def add_flavor(connection: Connection, flavor: FlavorRow) -> None:
    """Raises 409 for an id or a name that is taken."""
    for column, value, what in ((FLAVORS.c.id, flavor.id, "ID"), (FLAVORS.c.name, flavor.name, "name")):
        if connection.execute(select(FLAVORS.c.id).where(column == value)).one_or_none() is not None:
            raise conflict(f"Flavor with {what} {value} already exists.")
    connection.execute(
        insert(FLAVORS).values(
            id=flavor.id, name=flavor.name, description=flavor.description, vcpus=flavor.vcpus, ram_mb=flavor.ram_mb, disk_gb=flavor.disk_gb,
            ephemeral_gb=flavor.ephemeral_gb, swap_mb=flavor.swap_mb, rxtx_factor=repr(flavor.rxtx_factor), is_public=flavor.is_public,
            extra_specs=msgspec.json.encode(dict(flavor.extra_specs)).decode(), created_us=flavor.created_us,
        )
    )  # fmt: skip


def remove_flavor(connection: Connection, id_: str) -> None:
    """Servers keep what they have of it.  Raises 404."""
    find_flavor(connection, id_)
    connection.execute(delete(FLAVORS).where(FLAVORS.c.id == id_))
    connection.execute(delete(FLAVOR_ACCESS).where(FLAVOR_ACCESS.c.flavor == id_))


def describe(connection: Connection, id_: str, description: str | None) -> FlavorRow:
    """Change the description.  Raises 404."""
    find_flavor(connection, id_)
    connection.execute(update(FLAVORS).where(FLAVORS.c.id == id_).values(description=description))
    return find_flavor(connection, id_)


def set_specs(connection: Connection, id_: str, specs: Mapping[str, str]) -> None:
    """Change all extra specs."""
    connection.execute(update(FLAVORS).where(FLAVORS.c.id == id_).values(extra_specs=msgspec.json.encode(dict(specs)).decode()))


def projects_of(connection: Connection, id_: str) -> list[str]:
    """The projects that may use a flavor that is not public.  Raises 404."""
    if find_flavor(connection, id_).is_public:
        raise not_found("Access list not available for public flavors.")
    return list(
        connection.execute(select(FLAVOR_ACCESS.c.project).where(FLAVOR_ACCESS.c.flavor == id_).order_by(FLAVOR_ACCESS.c.project)).scalars()
    )


def allow(connection: Connection, id_: str, project: str) -> None:
    """Let a project use a flavor.  Raises 404, 409."""
    if find_flavor(connection, id_).is_public:
        raise conflict("Can not add access to a public flavor.")
    if project in projects_of(connection, id_):
        raise conflict(f"Flavor access already exists for flavor {id_} and project {project} combination.")
    connection.execute(insert(FLAVOR_ACCESS).values(flavor=id_, project=project))


def disallow(connection: Connection, id_: str, project: str) -> None:
    """Take that back.  Raises 404, 409."""
    if find_flavor(connection, id_).is_public:
        raise conflict("Can not remove access from a public flavor.")
    chosen = and_(FLAVOR_ACCESS.c.flavor == id_, FLAVOR_ACCESS.c.project == project)
    if not connection.execute(delete(FLAVOR_ACCESS).where(chosen)).rowcount:
        raise not_found(f"Flavor access not found for {id_} / {project} combination.")


def unknown(id_: str) -> CallRefused:
    """404 in the words that clients know."""
    return not_found(f"Flavor {id_[:255]} could not be found.")


def flavor_view(flavor: FlavorRow, url: str, version: Version) -> View:
    """A flavor as it is shown."""
    view: View = {
        "id": flavor.id, "name": flavor.name, "ram": flavor.ram_mb, "disk": flavor.disk_gb, "vcpus": flavor.vcpus,
        "swap": flavor.swap_mb or (0 if version >= ZERO_SWAP else ""), "OS-FLV-EXT-DATA:ephemeral": flavor.ephemeral_gb,
        "OS-FLV-DISABLED:disabled": False, "os-flavor-access:is_public": flavor.is_public, "rxtx_factor": flavor.rxtx_factor,
        "links": links(url, "flavors", flavor.id),
    }  # fmt: skip
    if version >= DESCRIBED:
        view["description"] = flavor.description
    if version >= WITH_SPECS:
        view["extra_specs"] = dict(flavor.extra_specs)
    return view


def short_view(flavor: FlavorRow, url: str, version: Version) -> View:
    """A flavor in a list without details."""
    view: View = {"id": flavor.id, "name": flavor.name, "links": links(url, "flavors", flavor.id)}
    if version >= DESCRIBED:
        view["description"] = flavor.description
    return view


def _open_to(project: str) -> Any:
    mine = select(FLAVOR_ACCESS.c.flavor).where(FLAVOR_ACCESS.c.project == project)
    return or_(FLAVORS.c.is_public.is_(True), FLAVORS.c.id.in_(mine))
