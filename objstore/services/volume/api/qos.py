"""Calls on quality of service: specs that types name.  They are kept and shown; limits of a disk are the compute service's to set."""

from typing import Any

from sqlalchemy import Connection, insert, select, update

from objstore.runtime.sql import IntegrityError
from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, conflict, not_found, too_large
from objstore.services.volume.api import entry, listing, records
from objstore.services.volume.api.listing import Listed
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.tables import QOS, TYPES
from objstore.services.volume.api.views import View, links

Row = Any
KIND = "qos"
CONSUMERS = ("front-end", "back-end", "both")
LISTED = Listed(
    QOS, KIND, "qos_specs", {"id": QOS.c.id, "name": QOS.c.name, "consumer": QOS.c.consumer, "created_at": QOS.c.created_us}, times=()
)


class QosCalls:
    """The handlers; all of it is the administrator's."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/qos-specs/{qos_id}"
        return {
            ("POST", "/qos-specs"): self.create,
            ("GET", "/qos-specs"): self.list_all,
            ("GET", one): self.show,
            ("PUT", one): self.set_keys,
            ("DELETE", one): self.remove,
            ("PUT", f"{one}/delete_keys"): self.delete_keys,
            ("GET", f"{one}/associations"): self.associations,
            ("GET", f"{one}/associate"): self.associate,
            ("GET", f"{one}/disassociate"): self.disassociate,
            ("GET", f"{one}/disassociate_all"): self.disassociate_all,
        }

    async def create(self, call: Call) -> Answer:
        """New specs."""
        call.check_admin()
        service, id_ = self._service, self._service.new_id()
        fields = dict(entry.part(await call.document(), "qos_specs"))
        name = entry.needed(fields, "name")
        consumer = entry.text(fields, "consumer", default="back-end")
        if consumer not in CONSUMERS:
            raise bad_request(f"Invalid qos specs: Valid consumer of QoS specs are: {list(CONSUMERS)}")
        specs = entry.metadata({"specs": {key: value for key, value in fields.items() if key not in ("name", "consumer")}}, "specs")

        def work(connection: Connection) -> View:
            connection.execute(insert(QOS).values(id=id_, name=name, consumer=consumer, created_us=service.now_us()))
            records.set_properties(connection, KIND, id_, specs)
            return self._view(connection, records.find(connection, QOS, id_))

        try:
            view = await service.write(work)
        except IntegrityError:
            raise conflict(f"QoS Specs {name} already exists.") from None
        return Answer(200, {"qos_specs": view, "links": links(call, "qos-specs", id_)})

    async def list_all(self, call: Call) -> Answer:
        """All specs."""
        call.check_admin()
        conditions = listing.filters(call, LISTED)

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            return listing.answer(call, LISTED, found, [self._view(connection, row) for row in found.rows])

        return Answer(body=await self._service.read(work))

    async def show(self, call: Call) -> Answer:
        """One."""
        call.check_admin()
        view = await self._service.read(lambda connection: self._view(connection, self._called(connection, call)))
        return Answer(body={"qos_specs": view, "links": links(call, "qos-specs", view["id"])})

    async def set_keys(self, call: Call) -> Answer:
        """Specs are added, or changed."""
        call.check_admin()
        fields = entry.part(await call.document(), "qos_specs")
        consumer = entry.text(fields, "consumer")
        if consumer is not None and consumer not in CONSUMERS:
            raise bad_request(f"Invalid qos specs: Valid consumer of QoS specs are: {list(CONSUMERS)}")
        given = entry.metadata({"specs": {key: value for key, value in fields.items() if key != "consumer"}}, "specs")

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            if consumer is not None:
                connection.execute(update(QOS).where(QOS.c.id == row.id).values(consumer=consumer))
            specs = records.properties_of(connection, KIND, row.id) | given
            if len(specs) > entry.MAX_PROPERTIES:
                raise too_large(f"QoS specs have {entry.MAX_PROPERTIES} keys at most.")
            records.set_properties(connection, KIND, row.id, specs)

        await self._service.write(work)
        return Answer(body={"qos_specs": given})

    async def delete_keys(self, call: Call) -> Answer:
        """Specs go."""
        call.check_admin()
        keys = (await call.document()).get("keys")
        if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
            raise bad_request("'keys' must be a list of names.")

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            specs = records.properties_of(connection, KIND, row.id)
            for key in keys:
                if key not in specs:
                    raise bad_request(f"QoS specs {row.id} has no spec with key {key[:64]}.")
                del specs[key]
            records.set_properties(connection, KIND, row.id, specs)

        await self._service.write(work)
        return Answer(202)

    async def remove(self, call: Call) -> Answer:
        """Specs go that no type has; with `force` types are rid of them."""
        call.check_admin()
        force = entry.asked_flag(call.first("force"), "force")

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            if not force and connection.execute(select(TYPES.c.id).where(TYPES.c.qos == row.id).limit(1)).first() is not None:
                raise bad_request(f"QoS Specs {row.id} is still associated with entities.")
            connection.execute(update(TYPES).where(TYPES.c.qos == row.id).values(qos=""))
            records.forget(connection, QOS, row.id)

        await self._service.write(work)
        return Answer(202)

    async def associations(self, call: Call) -> Answer:
        """Types that have them."""
        call.check_admin()

        def work(connection: Connection) -> list[View]:
            rows = connection.execute(select(TYPES).where(TYPES.c.qos == self._called(connection, call).id).order_by(TYPES.c.name))
            return [{"association_type": "volume_type", "name": row.name, "id": row.id} for row in rows]

        return Answer(body={"qos_associations": await self._service.read(work)})

    async def associate(self, call: Call) -> Answer:
        """A type gets them."""
        await self._change(call, of=None)
        return Answer(202)

    async def disassociate(self, call: Call) -> Answer:
        """A type is rid of them."""
        await self._change(call, of="one")
        return Answer(202)

    async def disassociate_all(self, call: Call) -> Answer:
        """All types are."""
        await self._change(call, of="all")
        return Answer(202)

    async def _change(self, call: Call, *, of: str | None) -> None:
        call.check_admin()
        type_id = call.first("vol_type_id") or ""

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            if of == "all":
                connection.execute(update(TYPES).where(TYPES.c.qos == row.id).values(qos=""))
                return
            if not type_id:
                raise bad_request("Volume Type id must not be None.")
            type_ = records.find(connection, TYPES, type_id)
            if type_ is None:
                raise not_found(f"Volume type {type_id[:64]} could not be found.")
            if of is None and type_.qos and type_.qos != row.id:
                raise bad_request(f"Type {type_id} is already associated with another qos specs: {type_.qos}")
            connection.execute(update(TYPES).where(TYPES.c.id == type_id).values(qos=row.id if of is None else ""))

        await self._service.write(work)

    def _called(self, connection: Connection, call: Call) -> Row:
        row = records.find(connection, QOS, call.parameters["qos_id"])
        if row is None:
            raise not_found(f"No such qos spec {call.parameters['qos_id'][:64]}.")
        return row

    def _view(self, connection: Connection, row: Row) -> View:
        return {"id": row.id, "name": row.name, "consumer": row.consumer, "specs": records.properties_of(connection, KIND, row.id)}
