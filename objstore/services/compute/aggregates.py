"""Aggregates: hosts that have something in common; `availability_zone` in their metadata puts them into that zone."""

from typing import Any

import msgspec
from sqlalchemy import Connection, and_, delete, func, insert, select, update

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import bad_request, conflict, not_found
from objstore.services.compute import fields
from objstore.services.compute.cloud_tables import AGGREGATE_HOSTS, AGGREGATES, HOSTS
from objstore.services.compute.fields import Check, member, only, wrong
from objstore.services.compute.hosts import zones_of
from objstore.services.compute.ids import new_uuid
from objstore.services.compute.service import ComputeService
from objstore.services.compute.views import View, time_of

WITH_UUID: Version = (2, 41)
WITH_IMAGES: Version = (2, 81)
ZONE = "availability_zone"
MAX_ITEMS = 128


class AggregateCalls:
    """The handlers."""

    def __init__(self, service: ComputeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        many = "/v2.1/os-aggregates"
        one = many + "/{aggregate_id}"
        return {
            ("GET", many): self.list_aggregates, ("POST", many): self.create, ("GET", one): self.show, ("PUT", one): self.update,
            ("DELETE", one): self.remove, ("POST", one + "/action"): self.act, ("POST", one + "/images"): self.images,
        }  # fmt: skip

    async def list_aggregates(self, call: Call) -> Answer:
        """All of them."""
        call.check_admin()

        def work(connection: Connection) -> list[View]:
            rows = connection.execute(select(AGGREGATES).order_by(AGGREGATES.c.id)).all()
            return [_view(connection, row, call.version) for row in rows]

        return Answer(body={"aggregates": await self._service.read(work)})

    async def create(self, call: Call) -> Answer:
        """A new one, without hosts."""
        call.check_admin()
        given = _entry(member(only(await call.document(), ("aggregate",)), "aggregate"))
        name = str(member(given, "name"))
        zone = given.get(ZONE)
        now_us, uuid = self._service.now_us(), new_uuid(self._service.world.rng)

        def work(connection: Connection) -> View:
            _check_name(connection, name)
            number = connection.execute(select(func.coalesce(func.max(AGGREGATES.c.id), 0))).scalar_one() + 1
            text = msgspec.json.encode({ZONE: zone} if zone else {}).decode()
            row = {"id": number, "uuid": uuid, "name": name, "metadata": text, "created_us": now_us, "updated_us": 0}
            connection.execute(insert(AGGREGATES).values(**row))
            return _view(connection, _find(connection, str(number)), call.version)

        view = await self._service.write(work)
        return Answer(body={"aggregate": {name: value for name, value in view.items() if name not in ("hosts", "metadata")}})

    async def show(self, call: Call) -> Answer:
        """One."""
        call.check_admin()
        id_ = call.parameters["aggregate_id"]
        return Answer(
            body={"aggregate": await self._service.read(lambda connection: _view(connection, _find(connection, id_), call.version))}
        )

    async def update(self, call: Call) -> Answer:
        """Its name, its zone."""
        call.check_admin()
        given = _entry(member(only(await call.document(), ("aggregate",)), "aggregate"))
        if not given:
            raise bad_request("Invalid input for field/attribute aggregate. It does not have enough properties")

        def change(connection: Connection, row: Any) -> None:
            if "name" in given and given["name"] != row.name:
                _check_name(connection, given["name"])
                connection.execute(update(AGGREGATES).where(AGGREGATES.c.id == row.id).values(name=given["name"]))
            if ZONE in given:
                _set_metadata(connection, row, {ZONE: given[ZONE]})

        return await self._changed(call, change)

    async def remove(self, call: Call) -> Answer:
        """One less, where it has no hosts."""
        call.check_admin()

        def work(connection: Connection) -> None:
            row = _find(connection, call.parameters["aggregate_id"])
            if _hosts_of(connection, row.id):
                raise bad_request(f"Cannot remove aggregate {row.id}. Reason: Host aggregate is not empty.")
            connection.execute(delete(AGGREGATES).where(AGGREGATES.c.id == row.id))

        await self._service.write(work)
        return Answer(200)

    async def act(self, call: Call) -> Answer:
        """add_host, remove_host, set_metadata."""
        call.check_admin()
        document = only(await call.document(), ("add_host", "remove_host", "set_metadata"))
        if len(document) != 1:
            raise bad_request("There is no such action for resource: os-aggregates")
        ((name, given),) = document.items()
        if name == "set_metadata":
            items = _metadata(member(only(given, ("metadata",), name), "metadata"))
            return await self._changed(call, lambda connection, row: _set_metadata(connection, row, items))
        host = fields.server_name("host", member(only(given, ("host",), name), "host"))
        change = _add_host if name == "add_host" else _remove_host
        return await self._changed(call, lambda connection, row: change(connection, row, host))

    async def images(self, call: Call) -> Answer:
        """Images are disks of the store from the moment they are whole: no host needs a copy beforehand."""
        if call.version < WITH_IMAGES:
            raise not_found()
        call.check_admin()
        cache = member(only(await call.document(), ("cache",)), "cache")
        if not isinstance(cache, list) or not cache:
            raise wrong("cache", cache, "It is not a list of images")
        for image in cache:
            fields.uuid("id", member(only(image, ("id",), "cache"), "id"))
        await self._service.read(lambda connection: _find(connection, call.parameters["aggregate_id"]))
        return Answer(202)

    async def _changed(self, call: Call, change: Any) -> Answer:
        now_us, id_ = self._service.now_us(), call.parameters["aggregate_id"]

        def work(connection: Connection) -> View:
            change(connection, _find(connection, id_))
            connection.execute(update(AGGREGATES).where(AGGREGATES.c.id == int(id_)).values(updated_us=now_us))
            return _view(connection, _find(connection, id_), call.version)

        return Answer(body={"aggregate": await self._service.write(work)})


def _find(connection: Connection, id_: str) -> Any:
    if not id_.removeprefix("-").isascii() or not id_.removeprefix("-").isdigit() or len(id_) > 18:
        raise bad_request(f"Invalid aggregate id: {id_[:64]}")
    row = connection.execute(select(AGGREGATES).where(AGGREGATES.c.id == int(id_))).one_or_none()
    if row is None:
        raise not_found(f"Aggregate {id_} could not be found.")
    return row


def _check_name(connection: Connection, name: str) -> None:
    if connection.execute(select(AGGREGATES.c.id).where(AGGREGATES.c.name == name)).one_or_none() is not None:
        raise conflict(f"Aggregate {name} already exists.")


def _hosts_of(connection: Connection, number: int) -> list[str]:
    query = select(AGGREGATE_HOSTS.c.host).where(AGGREGATE_HOSTS.c.aggregate == number).order_by(AGGREGATE_HOSTS.c.host)
    return list(connection.execute(query).scalars())


def _add_host(connection: Connection, row: Any, host: str) -> None:
    if connection.execute(select(HOSTS.c.host).where(HOSTS.c.host == host)).one_or_none() is None:
        raise not_found(f"Compute host {host[:64]} could not be found.")
    if host in _hosts_of(connection, row.id):
        raise conflict(f"Aggregate {row.id} already has host {host}.")
    _check_zone(connection, row.id, msgspec.json.decode(row.metadata).get(ZONE), [host])
    connection.execute(insert(AGGREGATE_HOSTS).values(aggregate=row.id, host=host))


def _remove_host(connection: Connection, row: Any, host: str) -> None:
    chosen = and_(AGGREGATE_HOSTS.c.aggregate == row.id, AGGREGATE_HOSTS.c.host == host)
    if not connection.execute(delete(AGGREGATE_HOSTS).where(chosen)).rowcount:
        raise not_found(f"Aggregate {row.id} has no host {host[:64]}.")


def _set_metadata(connection: Connection, row: Any, items: dict[str, str | None]) -> None:
    have = {**msgspec.json.decode(row.metadata), **items}
    have = {name: value for name, value in have.items() if value is not None}
    if len(have) > MAX_ITEMS:
        raise bad_request(f"An aggregate has {MAX_ITEMS} items of metadata at most.")
    if items.get(ZONE):
        _check_zone(connection, row.id, items[ZONE], _hosts_of(connection, row.id))
    connection.execute(update(AGGREGATES).where(AGGREGATES.c.id == row.id).values(metadata=msgspec.json.encode(have).decode()))


def _check_zone(connection: Connection, number: int, zone: str | None, hosts: list[str]) -> None:
    """A host is in one zone.  Raises 409."""
    others = select(AGGREGATE_HOSTS.c.host).where(AGGREGATE_HOSTS.c.aggregate != number, AGGREGATE_HOSTS.c.host.in_(hosts))
    elsewhere = set(connection.execute(others).scalars())
    zones = zones_of(connection)
    if zone and any(zones.get(host, zone) != zone for host in elsewhere):
        raise conflict(f"Cannot update aggregate {number}. Reason: One or more hosts already in different availability zone(s).")


def _entry(document: Any) -> dict[str, Any]:
    checks: dict[str, Check] = {"name": fields.server_name, ZONE: fields.nullable(_zone)}
    return {name: checks[name](name, value) for name, value in only(document, checks, "aggregate").items()}


def _zone(name: str, value: Any) -> str:
    found = fields.server_name(name, value)
    if ":" in found:
        raise wrong(name, value, "A zone's name has no colon")
    return found


def _metadata(value: Any) -> dict[str, str | None]:
    if not isinstance(value, dict) or not value:
        raise wrong("metadata", value, "It is not an object with values")
    fields.metadata("metadata", {name: item for name, item in value.items() if item is not None})
    fields.metadata("metadata", dict.fromkeys(value, ""))
    if value.get(ZONE) is not None:
        _zone(ZONE, value[ZONE])
    return dict(value)


def _view(connection: Connection, row: Any, version: Version) -> View:
    metadata = msgspec.json.decode(row.metadata)
    view: View = {
        "id": row.id, "name": row.name, ZONE: metadata.get(ZONE), "hosts": _hosts_of(connection, row.id), "metadata": metadata,
        "created_at": time_of(row.created_us), "updated_at": time_of(row.updated_us) if row.updated_us else None, "deleted": False,
        "deleted_at": None,
    }  # fmt: skip
    if version >= WITH_UUID:
        view["uuid"] = row.uuid
    return view
