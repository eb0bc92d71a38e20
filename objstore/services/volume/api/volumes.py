"""Calls on volumes: make, list, show, change, remove, summary, metadata."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, not_, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, not_found
from objstore.services.volume.api import entry, listing, making, records
from objstore.services.volume.api.listing import Listed, has_property, literal
from objstore.services.volume.api.making import Wanted
from objstore.services.volume.api.records import (
    ATTACHED,
    CREATING,
    DELETING,
    REMOVABLE,
)
from objstore.services.volume.api.service import VolumeService, called_volume
from objstore.services.volume.api.snapshotting import write_deletion
from objstore.services.volume.api.tables import ATTACHMENTS, PROPERTIES, TYPES, VOLUMES
from objstore.services.volume.api.versions import has, since
from objstore.services.volume.api.views import HOST, View, brief, volume_view
from objstore.services.volume.api.work import DELETE

Row = Any
LISTED = Listed(
    VOLUMES, "volume", "volumes",
    {
        "id": VOLUMES.c.id, "name": VOLUMES.c.name, "status": VOLUMES.c.status, "size": VOLUMES.c.size_gb, "availability_zone": VOLUMES.c.availability_zone,
        "created_at": VOLUMES.c.created_us, "updated_at": VOLUMES.c.updated_us, "bootable": VOLUMES.c.bootable, "user_id": VOLUMES.c.user_id,
        "multiattach": VOLUMES.c.multiattach, "snapshot_id": VOLUMES.c.snapshot_id, "source_volid": VOLUMES.c.source_volid,
        "migration_status": VOLUMES.c.migration_status, "volume_type_id": VOLUMES.c.volume_type, "description": VOLUMES.c.description,
    },
)  # fmt: skip


class VolumeCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {
            ("POST", "/volumes"): self.create,
            ("GET", "/volumes"): self.list_brief,
            ("GET", "/volumes/detail"): self.list_whole,
            ("GET", "/volumes/summary"): self.summary,
            ("GET", "/volumes/{volume_id}"): self.show,
            ("PUT", "/volumes/{volume_id}"): self.update,
            ("DELETE", "/volumes/{volume_id}"): self.remove,
        }

    async def create(self, call: Call) -> Answer:
        """A new volume; it is being made when this is answered."""
        call.check_write()
        document = await call.document()
        wanted = _wanted(call, entry.part(document, "volume"))
        service, id_ = self._service, self._service.new_id()

        def work(connection: Connection) -> View:
            making.write_volume(connection, service, id_, wanted)
            return views(connection, call, [records.find(connection, VOLUMES, id_)], whole=False)[0]

        return Answer(202, {"volume": await service.write(work)})

    async def list_brief(self, call: Call) -> Answer:
        """Ids and names."""
        return await self._list(call, whole=False)

    async def list_whole(self, call: Call) -> Answer:
        """All of it."""
        return await self._list(call, whole=True)

    async def _list(self, call: Call, *, whole: bool) -> Answer:
        call.check_read()
        conditions = [*listing.seen(call, VOLUMES), *listing.filters(call, LISTED, _more(call))]

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            shown = views(connection, call, found.rows) if whole else [brief(call, "volumes", row) for row in found.rows]
            return listing.answer(call, LISTED, found, shown)

        return Answer(body=await self._service.read(work))

    async def summary(self, call: Call) -> Answer:
        """How many there are, and how large they are together."""
        since(call, 12)
        call.check_read()
        conditions = [*listing.seen(call, VOLUMES), *listing.filters(call, LISTED, _more(call))]

        def work(connection: Connection) -> View:
            query = select(func.count(), func.coalesce(func.sum(VOLUMES.c.size_gb), 0)).where(*conditions)
            count, size = connection.execute(query).one()
            found: View = {"total_size": int(size), "total_count": int(count)}
            if has(call, 36):
                values = select(PROPERTIES.c.name, PROPERTIES.c.value).distinct().order_by(PROPERTIES.c.name, PROPERTIES.c.value)
                mine = select(VOLUMES.c.id).where(*conditions)
                together: dict[str, list[str]] = {}
                for name, value in connection.execute(values.where(PROPERTIES.c.kind == "volume", PROPERTIES.c.owner.in_(mine))):
                    together.setdefault(name, []).append(value)
                found["metadata"] = together
            return {"volume-summary": found}

        return Answer(body=await self._service.read(work))

    async def show(self, call: Call) -> Answer:
        """One volume."""
        call.check_read()
        view = await self._service.read(lambda connection: views(connection, call, [called_volume(connection, call)])[0])
        return Answer(body={"volume": view})

    async def update(self, call: Call) -> Answer:
        """Name, description, metadata."""
        service = self._service
        call.check_read()
        fields = entry.part(await call.document(), "volume")
        values: dict[str, Any] = {}
        for name, old in (("name", "display_name"), ("description", "display_description")):
            if name in fields or old in fields:
                values[name] = entry.text(fields, name if name in fields else old)
        metadata = entry.metadata(fields) if fields.get("metadata") is not None else None
        if not values and metadata is None:
            raise bad_request("Invalid input received: Must specify 'name', 'description' or 'metadata' for update.")

        def work(connection: Connection) -> View:
            row = called_volume(connection, call)
            call.check_write()
            records.change(connection, VOLUMES, row.id, updated_us=service.now_us(), **values)
            if metadata is not None:
                records.set_properties(connection, "volume", row.id, metadata)
            return views(connection, call, [records.find(connection, VOLUMES, row.id)], whole=False)[0]

        return Answer(body={"volume": await service.write(work)})

    async def remove(self, call: Call) -> Answer:
        """A volume begins to go."""
        call.check_read()
        cascade = entry.asked_flag(call.first("cascade"), "cascade")
        force = has(call, 23) and entry.asked_flag(call.first("force"), "force")
        service = self._service

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            call.check_write()
            if force:
                call.check_admin()
            begin_deletion(connection, service, row, cascade=cascade, force=force)

        await service.write(work)
        return Answer(202)


def begin_deletion(connection: Connection, service: VolumeService, row: Row, *, cascade: bool = False, force: bool = False) -> None:
    """A volume begins to go, with `cascade` its snapshots too.  Raises 400."""
    snapshots = records.snapshots_of(connection, row.id)
    attachments = records.attachments_of(connection, (row.id,))[row.id]
    made_from = select(VOLUMES.c.id).where(VOLUMES.c.source_volid == row.id, VOLUMES.c.status == CREATING).limit(1)
    busy = connection.execute(made_from).first() is not None
    held = [one for one in attachments if one.owner == records.COMPUTE or not force]
    if (row.status not in REMOVABLE and not force) or held or busy or (snapshots and not cascade):
        raise bad_request(
            "Invalid volume: Volume status must be available or error or error_restoring or error_extending or error_managing and must not be "
            "migrating, attached, belong to a group, have snapshots, awaiting a transfer, or be disassociated from snapshots after volume transfer."
        )
    records.change(connection, VOLUMES, row.id, status_=DELETING, updated_us=service.now_us())
    for snapshot in snapshots:
        write_deletion(connection, service, snapshot, force=force)
    service.enqueue(connection, DELETE, row.id, details={"force": "yes" if force else ""})


def views(connection: Connection, call: Call, rows: Sequence[Row], *, whole: bool = True) -> list[View]:
    """Volumes as they are shown."""
    ids = [row.id for row in rows]
    metadata, image = records.properties(connection, "volume", ids), records.properties(connection, "image", ids)
    attachments = records.attachments_of(connection, ids)
    names = {row.id: row.name for row in connection.execute(select(TYPES.c.id, TYPES.c.name))}
    return [
        volume_view(
            call, row, metadata=metadata[row.id], image=image[row.id], attachments=attachments[row.id], type_name=names.get(row.volume_type), whole=whole
        )
        for row in rows
    ]  # fmt: skip


def _wanted(call: Call, fields: dict[str, Any]) -> Wanted:
    if not call.project:
        raise bad_request("A volume belongs to a project: use a token for one.")
    if fields.get("consistencygroup_id") or fields.get("group_id"):
        raise not_found("Group could not be found: groups of volumes are not built.")
    image = "imageRef" if fields.get("imageRef") is not None else "image_id"
    size = fields.get("size")
    return Wanted(
        call.project, call.who.user.id,
        None if size is None else entry.whole("size", size, least=1),
        entry.text(fields, "name") if "name" in fields else entry.text(fields, "display_name"),
        entry.text(fields, "description") if "description" in fields else entry.text(fields, "display_description"),
        image=_image(fields, image), snapshot=entry.uuid(fields, "snapshot_id"), source=entry.uuid(fields, "source_volid"),
        backup=entry.uuid(fields, "backup_id") if has(call, 47) else "", volume_type=entry.text(fields, "volume_type") or "",
        availability_zone=entry.text(fields, "availability_zone") or "", metadata=entry.metadata(fields), is_admin=call.is_admin,
        request_id=call.request_id,
    )  # fmt: skip


def _image(fields: dict[str, Any], name: str) -> str:
    """An image by its id, or by an address that ends in it."""
    value = fields.get(name)
    if value in (None, ""):
        return ""
    id_ = value.rsplit("/", 1)[-1] if isinstance(value, str) else value
    if not entry.is_uuid(id_):
        raise bad_request("Invalid image identifier or unable to access requested image.")
    return str(id_).lower()


def _more(call: Call) -> dict[str, ColumnElement[bool] | None]:
    """Filters that are no columns."""
    found: dict[str, ColumnElement[bool] | None] = {}
    for name in ("glance_metadata", "image_metadata"):
        value = call.first(name)
        if value is not None:
            found[name] = VOLUMES.c.id.is_not(None)
            for number, (key, each) in enumerate(literal(name, value).items()):
                found[f"{name}{number}"] = has_property(LISTED, "image", key, each)
    group = call.first("group_id")
    if group is not None:
        found["group_id"] = None if group == "None" else VOLUMES.c.id.is_(None)
    status = call.first("attach_status")
    if status is not None:
        attached = exists().where(and_(ATTACHMENTS.c.volume == VOLUMES.c.id, ATTACHMENTS.c.status == ATTACHED))
        found["attach_status"] = attached if status == "attached" else not_(attached)
    for name, all_have in (("host", HOST), ("replication_status", "disabled"), ("consumes_quota", "true")):
        value = call.first(name)
        if value is not None:
            found[name] = None if value.lower() == all_have else VOLUMES.c.id.is_(None)
    return found
