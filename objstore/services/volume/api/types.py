"""Calls on volume types, their extra specs, who may use them, and projects' default types."""

from typing import Any

from sqlalchemy import Connection, delete, exists, insert, or_, select, update

from objstore.runtime.sql import IntegrityError
from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import CallRefused, bad_request, conflict, not_found
from objstore.services.volume.api import entry, listing, records
from objstore.services.volume.api.listing import Listed, has_property, literal
from objstore.services.volume.api.making import default_type_id, find_type
from objstore.services.volume.api.service import VolumeService
from objstore.services.volume.api.tables import DEFAULT_TYPES, SNAPSHOTS, TYPE_ACCESS, TYPES, VOLUMES
from objstore.services.volume.api.versions import since
from objstore.services.volume.api.views import View

Row = Any
EXTRA = "extra"
LISTED = Listed(
    TYPES, EXTRA, "volume_types",
    {"id": TYPES.c.id, "name": TYPES.c.name, "created_at": TYPES.c.created_us, "updated_at": TYPES.c.updated_us, "description": TYPES.c.description},
    times=(),
)  # fmt: skip
MAX_SPECS = 128


class TypeCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/types/{type_id}"
        return {
            ("POST", "/types"): self.create,
            ("GET", "/types"): self.list_types,
            ("GET", one): self.show,
            ("PUT", one): self.update,
            ("DELETE", one): self.remove,
            ("GET", f"{one}/extra_specs"): self.show_specs,
            ("POST", f"{one}/extra_specs"): self.add_specs,
            ("GET", f"{one}/extra_specs/{{key}}"): self.show_spec,
            ("PUT", f"{one}/extra_specs/{{key}}"): self.set_spec,
            ("DELETE", f"{one}/extra_specs/{{key}}"): self.remove_spec,
            ("GET", f"{one}/os-volume-type-access"): self.list_access,
            ("POST", f"{one}/action"): self.act,
            ("GET", "/default-types"): self.list_defaults,
            ("GET", "/default-types/{for_project}"): self.show_default,
            ("PUT", "/default-types/{for_project}"): self.set_default,
            ("DELETE", "/default-types/{for_project}"): self.remove_default,
        }

    # -- types ----------------------------------------------------------------------------------------------------

    async def create(self, call: Call) -> Answer:
        """A new type."""
        call.check_admin()
        service, id_ = self._service, self._service.new_id()
        fields = entry.part(await call.document(), "volume_type")
        name = entry.needed(fields, "name")
        public = entry.flag(fields, "os-volume-type-access:is_public", default=entry.flag(fields, "is_public", default=True))
        specs = _specs(fields, "extra_specs")
        description = entry.text(fields, "description")

        def work(connection: Connection) -> View:
            connection.execute(
                insert(TYPES).values(
                    id=id_, name=name, description=description, is_public=public, qos="", created_us=service.now_us(), updated_us=0
                )
            )
            records.set_properties(connection, EXTRA, id_, specs)
            return self._view(connection, call, records.find(connection, TYPES, id_), qos=False)

        try:
            return Answer(200, {"volume_type": await service.write(work)})
        except IntegrityError:
            raise conflict(f"Volume Type {name} already exists.") from None

    async def list_types(self, call: Call) -> Answer:
        """Types that a project may use; the administrator's list is of all, or of what `is_public` says."""
        call.check_read()
        public = call.first("is_public")
        conditions: list[Any] = []
        mine = exists().where(TYPE_ACCESS.c.volume_type == TYPES.c.id, TYPE_ACCESS.c.project == call.project)
        if not call.is_admin or public is None:
            conditions.append(or_(TYPES.c.is_public.is_(True), mine))
        elif public.lower() != "none":
            conditions.append(TYPES.c.is_public.is_(entry.asked_flag(public, "is_public")))
        asked = call.first("extra_specs")
        if asked is not None:
            conditions += [has_property(LISTED, EXTRA, name, value) for name, value in literal("extra_specs", asked).items()]
        conditions += listing.filters(call, LISTED, {"is_public": None, "extra_specs": None})

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            return listing.answer(call, LISTED, found, [self._view(connection, call, row) for row in found.rows])

        return Answer(body=await self._service.read(work))

    async def show(self, call: Call) -> Answer:
        """One type; `default` is the one for volumes without."""
        call.check_read()

        def work(connection: Connection) -> View:
            if call.parameters["type_id"] == "default":
                id_ = default_type_id(connection, call.project) or self._service.settings.default_volume_type
                return self._view(connection, call, find_type(connection, call.project, id_, is_admin=True))
            return self._view(connection, call, self._called(connection, call))

        return Answer(body={"volume_type": await self._service.read(work)})

    async def update(self, call: Call) -> Answer:
        """Name, description, whether everybody may use it."""
        call.check_admin()
        service = self._service
        fields = entry.part(await call.document(), "volume_type")
        values: dict[str, Any] = {}
        if fields.get("name") is not None:
            values["name"] = entry.needed(fields, "name")
        if fields.get("description") is not None:
            values["description"] = entry.text(fields, "description")
        if fields.get("is_public") is not None:
            values["is_public"] = entry.flag(fields, "is_public", default=True)
        if not values:
            raise bad_request("Specify volume type name, description, is_public or a combination thereof.")

        def work(connection: Connection) -> View:
            row = self._called(connection, call)
            connection.execute(update(TYPES).where(TYPES.c.id == row.id).values(updated_us=service.now_us(), **values))
            return self._view(connection, call, records.find(connection, TYPES, row.id), qos=False, access=False)

        try:
            return Answer(body={"volume_type": await service.write(work)})
        except IntegrityError:
            raise conflict(f"Volume Type {values.get('name')} already exists.") from None

    async def remove(self, call: Call) -> Answer:
        """A type goes that no volume has."""
        call.check_admin()

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            for table in (VOLUMES, SNAPSHOTS):
                if connection.execute(select(table.c.id).where(table.c.volume_type == row.id).limit(1)).first() is not None:
                    raise bad_request(f"Target volume type is still in use: volume type {row.id} has volumes.")
            chosen = connection.execute(select(DEFAULT_TYPES).where(DEFAULT_TYPES.c.volume_type == row.id)).first()
            if row.name == self._service.settings.default_volume_type or chosen is not None:
                raise bad_request(f"Invalid volume type: the type {row.name} is a default and cannot be deleted.")
            connection.execute(delete(TYPE_ACCESS).where(TYPE_ACCESS.c.volume_type == row.id))
            records.forget(connection, TYPES, row.id)

        await self._service.write(work)
        return Answer(202)

    def _called(self, connection: Connection, call: Call) -> Row:
        row = find_type(connection, call.project, call.parameters["type_id"], is_admin=call.is_admin)
        if row.id != call.parameters["type_id"]:  # by its name: clients look for that in lists
            raise not_found(f"Volume type {call.parameters['type_id'][:255]} could not be found.")
        return row

    def _view(self, connection: Connection, call: Call, row: Row, *, qos: bool = True, access: bool = True) -> View:
        specs = records.properties_of(connection, EXTRA, row.id)
        view: View = {"id": row.id, "name": row.name, "is_public": bool(row.is_public), "description": row.description}
        if access:
            view["os-volume-type-access:is_public"] = bool(row.is_public)
        if call.is_admin:
            view["extra_specs"] = specs
            if qos:
                view["qos_specs_id"] = row.qos or None
        else:
            view["extra_specs"] = {name: value for name, value in specs.items() if name in ("multiattach", "RESKEY:availability_zones")}
        return view

    # -- extra specs ----------------------------------------------------------------------------------------------

    async def show_specs(self, call: Call) -> Answer:
        """All."""
        return Answer(body={"extra_specs": await self._read_specs(call)})

    async def show_spec(self, call: Call) -> Answer:
        """One."""
        key = call.parameters["key"]
        found = await self._read_specs(call)
        if key not in found:
            raise _no_spec(call, key)
        return Answer(body={key: found[key]})

    async def _read_specs(self, call: Call) -> dict[str, str]:
        call.check_admin()
        return await self._service.read(lambda connection: records.properties_of(connection, EXTRA, self._called(connection, call).id))

    async def add_specs(self, call: Call) -> Answer:
        """Add, or change."""
        document = await call.document()
        call.check_admin()
        if not isinstance(document.get("extra_specs"), dict):
            raise bad_request("Missing required element 'extra_specs' in request body.")
        given = _specs(document, "extra_specs")
        await self._change_specs(call, given, "")
        return Answer(body={"extra_specs": given})

    async def set_spec(self, call: Call) -> Answer:
        """One."""
        call.check_admin()
        key, document = call.parameters["key"], await call.document()
        if set(document) != {key}:
            raise bad_request("Request body contains too many items" if len(document) > 1 else "Request body and URI mismatch")
        given = _specs({"extra_specs": document}, "extra_specs")
        await self._change_specs(call, given, "")
        return Answer(body=given)

    async def remove_spec(self, call: Call) -> Answer:
        """One goes."""
        call.check_admin()
        await self._change_specs(call, {}, call.parameters["key"])
        return Answer(202)

    async def _change_specs(self, call: Call, given: dict[str, str], without: str) -> None:
        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            specs = records.properties_of(connection, EXTRA, row.id)
            if without and without not in specs:
                raise _no_spec(call, without)
            specs.pop(without, None)
            if len(specs | given) > MAX_SPECS:
                raise CallRefused(413, f"A volume type has {MAX_SPECS} extra specs at most.")
            records.set_properties(connection, EXTRA, row.id, specs | given)

        await self._service.write(work)

    # -- access ---------------------------------------------------------------------------------------------------

    async def list_access(self, call: Call) -> Answer:
        """Projects that may use a type which is not everybody's."""
        call.check_admin()

        def work(connection: Connection) -> list[View]:
            row = self._called(connection, call)
            if row.is_public:
                raise not_found("Access list not available for public volume types.")
            rows = connection.execute(select(TYPE_ACCESS).where(TYPE_ACCESS.c.volume_type == row.id).order_by(TYPE_ACCESS.c.project))
            return [{"volume_type_id": row.id, "project_id": one.project} for one in rows]

        return Answer(body={"volume_type_access": await self._service.read(work)})

    async def act(self, call: Call) -> Answer:
        """addProjectAccess, removeProjectAccess."""
        call.check_admin()
        document = await call.document()
        name = next(iter(document), "")
        if name not in ("addProjectAccess", "removeProjectAccess"):
            raise bad_request(f"There is no such action: {name[:64]}")
        project = entry.needed(entry.part(document, name), "project")

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            mine = (TYPE_ACCESS.c.volume_type == row.id) & (TYPE_ACCESS.c.project == project)
            there = connection.execute(select(TYPE_ACCESS).where(mine)).first() is not None
            if name == "addProjectAccess":
                if row.is_public:
                    raise conflict("Type access modification is not applicable to public volume type.")
                if there:
                    raise conflict(f"Volume type access for {row.id} / {project} combination already exists.")
                connection.execute(insert(TYPE_ACCESS).values(volume_type=row.id, project=project))
            elif not there:
                raise not_found(f"Volume type access not found for {row.id} / {project[:64]} combination.")
            else:
                connection.execute(delete(TYPE_ACCESS).where(mine))

        await self._service.write(work)
        return Answer(202)

    # -- defaults -------------------------------------------------------------------------------------------------

    async def list_defaults(self, call: Call) -> Answer:
        """Projects with a default type of their own."""
        since(call, 62)
        call.check_admin()
        rows = await self._service.read(lambda connection: connection.execute(select(DEFAULT_TYPES)).all())
        return Answer(body={"default_types": [{"project_id": row.project, "volume_type_id": row.volume_type} for row in rows]})

    async def show_default(self, call: Call) -> Answer:
        """One project's."""
        since(call, 62)
        call.check_admin()
        project = call.parameters["for_project"]
        found = await self._service.read(lambda connection: default_type_id(connection, project))
        if not found:
            raise not_found(f"Default type for project {project[:64]} not found.")
        return Answer(body={"default_type": {"project_id": project, "volume_type_id": found}})

    async def set_default(self, call: Call) -> Answer:
        """A project chooses."""
        since(call, 62)
        call.check_admin()
        project = call.parameters["for_project"]
        wanted = entry.needed(entry.part(await call.document(), "default_type"), "volume_type")

        def work(connection: Connection) -> str:
            row = find_type(connection, project, wanted, is_admin=True)
            connection.execute(delete(DEFAULT_TYPES).where(DEFAULT_TYPES.c.project == project))
            connection.execute(insert(DEFAULT_TYPES).values(project=project, volume_type=row.id))
            return str(row.id)

        found = await self._service.write(work)
        return Answer(body={"default_type": {"project_id": project, "volume_type_id": found}})

    async def remove_default(self, call: Call) -> Answer:
        """A project has everybody's again."""
        since(call, 62)
        call.check_admin()
        mine = DEFAULT_TYPES.c.project == call.parameters["for_project"]
        await self._service.write(lambda connection: connection.execute(delete(DEFAULT_TYPES).where(mine)).rowcount)
        return Answer(204)


def _specs(fields: dict[str, Any], name: str) -> dict[str, str]:
    found = entry.metadata(fields, name)
    for key in found:
        if not all(one.isascii() and (one.isalnum() or one in "-_:. ") for one in key):
            raise bad_request("Key names can only contain alphanumeric characters, underscores, periods, colons and hyphens.")
    return found


def _no_spec(call: Call, key: str) -> CallRefused:
    return not_found(f"Volume Type {call.parameters['type_id']} has no extra spec with key {key[:64]}.")
