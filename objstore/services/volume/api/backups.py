"""Calls on backups, and the jobs that follow from them."""

from typing import Any

from sqlalchemy import Connection, insert, select, update

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, not_found
from objstore.services.volume.api import entry, limits, listing, making, records
from objstore.services.volume.api.backup_jobs import BACKUP, DROP_BACKUP
from objstore.services.volume.api.listing import Listed
from objstore.services.volume.api.making import RESTORE, Wanted
from objstore.services.volume.api.records import AVAILABLE, BACKING_UP, CREATING, DELETING, ERROR, ERROR_DELETING, IN_USE, RESTORING
from objstore.services.volume.api.service import VolumeService, snapshot_of, volume_of
from objstore.services.volume.api.tables import BACKUPS, VOLUMES
from objstore.services.volume.api.versions import has, since
from objstore.services.volume.api.views import View, brief, links, time

Row = Any
DEFAULT_CONTAINER = "volumebackups"
STATUSES = (AVAILABLE, ERROR, CREATING, DELETING, "restoring", "error_deleting")
LISTED = Listed(
    BACKUPS, "backup", "backups",
    {
        "id": BACKUPS.c.id, "name": BACKUPS.c.name, "status": BACKUPS.c.status, "volume_id": BACKUPS.c.volume, "size": BACKUPS.c.size_gb,
        "created_at": BACKUPS.c.created_us, "updated_at": BACKUPS.c.updated_us, "snapshot_id": BACKUPS.c.snapshot, "container": BACKUPS.c.container,
    },
    times=(),
)  # fmt: skip


class BackupCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/backups/{backup_id}"
        return {
            ("POST", "/backups"): self.create,
            ("GET", "/backups"): self.list_brief,
            ("GET", "/backups/detail"): self.list_whole,
            ("GET", one): self.show,
            ("PUT", one): self.update,
            ("DELETE", one): self.remove,
            ("POST", f"{one}/restore"): self.restore,
            ("POST", f"{one}/action"): self.act,
        }

    async def create(self, call: Call) -> Answer:
        """A new backup; it is being written when this is answered."""
        call.check_write()
        service, id_ = self._service, self._service.new_id()
        fields = entry.part(await call.document(), "backup")
        volume_id, snapshot_id = entry.uuid(fields, "volume_id"), entry.uuid(fields, "snapshot_id")
        name, description = entry.text(fields, "name"), entry.text(fields, "description")
        container = entry.text(fields, "container", least=1) or DEFAULT_CONTAINER
        if "/" in container:
            raise entry.wrong("container", container, "The name of a container has no slash.")
        incremental = entry.flag(fields, "incremental", default=False)
        force = entry.flag(fields, "force", default=False)
        metadata = entry.metadata(fields) if has(call, 43) else {}
        zone = entry.text(fields, "availability_zone") if has(call, 51) else None
        if zone not in (None, "", service.settings.availability_zone):
            raise bad_request(f"Invalid input received: Availability zone '{zone}' is invalid.")
        if not volume_id:
            raise bad_request("'volume_id' is a required property")

        def work(connection: Connection) -> View:
            volume = volume_of(connection, call.project, volume_id, is_admin=call.is_admin)
            snapshot_us = self._check_snapshot(connection, call, volume, snapshot_id)
            if not snapshot_id and volume.status not in ((AVAILABLE, IN_USE) if force else (AVAILABLE,)):
                why = "Backing up an in-use volume must use the force flag." if volume.status == IN_USE else f"Volume is {volume.status}."
                raise bad_request(f"Invalid volume: Volume to be backed up must be available. {why}")
            wanted = {"backups": 1, "backup_gigabytes": volume.size_gb}
            limits.check(connection, service.settings, volume.project, wanted)
            parent = _newest(connection, volume, container) if incremental else ""
            now_us = service.now_us()
            connection.execute(
                insert(BACKUPS).values(
                    id=id_, project=volume.project, user_id=call.who.user.id, volume=volume.id, snapshot=snapshot_id, parent=parent, status=CREATING,
                    name=name, description=description, size_gb=volume.size_gb, container=container, object_count=0, fail_reason="",
                    availability_zone=service.settings.availability_zone, data_us=snapshot_us or now_us, restoring="", created_us=now_us, updated_us=0,
                )
            )  # fmt: skip
            records.set_properties(connection, "backup", id_, metadata)
            if not snapshot_id:
                records.change(connection, VOLUMES, volume.id, status=(volume.status,), status_=BACKING_UP, updated_us=now_us)
            before = "" if snapshot_id else volume.status
            service.enqueue(connection, BACKUP, id_, details={"before": before, "volume": volume.id, "request": call.request_id})
            return _short(call, records.find(connection, BACKUPS, id_))

        return Answer(202, {"backup": await service.write(work)})

    def _check_snapshot(self, connection: Connection, call: Call, volume: Row, snapshot_id: str) -> int:
        if not snapshot_id:
            return 0
        snapshot = snapshot_of(connection, call.project, snapshot_id, is_admin=call.is_admin)
        if snapshot.volume != volume.id:
            raise bad_request(f"Invalid snapshot: the snapshot {snapshot_id} is of another volume.")
        if snapshot.status != AVAILABLE:
            raise bad_request(f"Invalid snapshot: Snapshot to be backed up must be available, but the current status is {snapshot.status}.")
        return int(snapshot.created_us)

    async def list_brief(self, call: Call) -> Answer:
        """Ids and names."""
        return await self._list(call, whole=False)

    async def list_whole(self, call: Call) -> Answer:
        """All of it."""
        return await self._list(call, whole=True)

    async def _list(self, call: Call, *, whole: bool) -> Answer:
        call.check_read()
        conditions = [*listing.seen(call, BACKUPS), *listing.filters(call, LISTED)]

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            shown = [_view(connection, call, row) if whole else brief(call, "backups", row) for row in found.rows]
            return listing.answer(call, LISTED, found, shown)

        return Answer(body=await self._service.read(work))

    async def show(self, call: Call) -> Answer:
        """One."""
        call.check_read()
        view = await self._service.read(lambda connection: _view(connection, call, _called(connection, call)))
        return Answer(body={"backup": view})

    async def update(self, call: Call) -> Answer:
        """Name, description, metadata."""
        since(call, 9)
        call.check_read()
        fields = entry.part(await call.document(), "backup")
        values: dict[str, Any] = {name: entry.text(fields, name) for name in ("name", "description") if name in fields}
        metadata = entry.metadata(fields) if has(call, 43) and fields.get("metadata") is not None else None
        if not values and metadata is None:
            raise bad_request("Must specify 'name', 'description' or 'metadata' for update.")

        def work(connection: Connection) -> View:
            row = _called(connection, call)
            call.check_write()
            connection.execute(update(BACKUPS).where(BACKUPS.c.id == row.id).values(updated_us=self._service.now_us(), **values))
            if metadata is not None:
                records.set_properties(connection, "backup", row.id, metadata)
            return _short(call, records.find(connection, BACKUPS, row.id))

        return Answer(body={"backup": await self._service.write(work)})

    async def remove(self, call: Call) -> Answer:
        """A backup begins to go that no other goes on from."""
        call.check_read()

        def work(connection: Connection) -> None:
            row = _called(connection, call)
            call.check_write()
            self._begin_removal(connection, row, (AVAILABLE, ERROR, ERROR_DELETING))

        await self._service.write(work)
        return Answer(202)

    def _begin_removal(self, connection: Connection, row: Row, expected: tuple[str, ...] | None) -> None:
        if records.dependents_of(connection, row.id):
            raise bad_request("Invalid backup: Incremental backups exist for this backup.")
        if not records.change(connection, BACKUPS, row.id, status=expected, status_=DELETING, updated_us=self._service.now_us()):
            raise bad_request(f"Invalid backup: Backup status must be available or error, it is {row.status}.")
        self._service.enqueue(connection, DROP_BACKUP, row.id)

    async def restore(self, call: Call) -> Answer:
        """To a volume that is there, or to a new one."""
        call.check_write()
        service = self._service
        fields = entry.part(await call.document(), "restore")
        volume_id, name = entry.uuid(fields, "volume_id"), entry.text(fields, "name")
        new_id = service.new_id()

        def work(connection: Connection) -> View:
            row = _called(connection, call)
            if row.status != AVAILABLE:
                raise bad_request("Invalid backup: Backup status must be available")
            if volume_id:
                volume = volume_of(connection, call.project, volume_id, is_admin=call.is_admin)
                if volume.status != AVAILABLE or records.attachments_of(connection, (volume_id,))[volume_id]:
                    raise bad_request("Invalid volume: Volume to be restored to must be available")
                if volume.size_gb < row.size_gb:
                    raise bad_request(f"Invalid volume: volume size {volume.size_gb} is too small to restore backup of size {row.size_gb}.")
            else:
                words = name or f"restore_backup_{row.id}"
                making.write_volume(
                    connection, service, new_id, Wanted(call.need_project(), call.who.user.id, row.size_gb, words), begin=False
                )
                volume = records.find(connection, VOLUMES, new_id)
            now_us = service.now_us()
            records.change(connection, VOLUMES, volume.id, status=(volume.status,), status_=RESTORING, updated_us=now_us)
            records.change(connection, BACKUPS, row.id, status=(AVAILABLE,), status_="restoring", restoring=volume.id, updated_us=now_us)
            details = {"volume": volume.id, "request": call.request_id}
            service.enqueue(connection, RESTORE, row.id, details=details)
            return {"backup_id": row.id, "volume_id": volume.id, "volume_name": volume.name or ""}

        return Answer(202, {"restore": await service.write(work)})

    async def act(self, call: Call) -> Answer:
        """os-reset_status, os-force_delete."""
        call.check_admin()
        document = await call.document()
        name = next(iter(document), "")
        if name not in ("os-reset_status", "os-force_delete"):
            raise bad_request(f"There is no such action: {name[:64]}")
        status = entry.needed(entry.part(document, name), "status") if name == "os-reset_status" else ""
        if status and status not in (AVAILABLE, ERROR):
            raise entry.wrong("status", status, "It must be available or error.")

        def work(connection: Connection) -> None:
            row = _called(connection, call)
            if status:
                records.change(connection, BACKUPS, row.id, status_=status, updated_us=self._service.now_us())
            else:
                self._begin_removal(connection, row, None)

        await self._service.write(work)
        return Answer(202)


def _called(connection: Connection, call: Call) -> Row:
    row = records.find(connection, BACKUPS, call.parameters["backup_id"])
    if row is None or not (call.is_admin or row.project == call.project):
        raise not_found(f"Backup {call.parameters['backup_id'][:64]} could not be found.")
    return row


def _newest(connection: Connection, volume: Row, container: str) -> str:
    # Of the volume's project alone: a project that had it before is to be free to delete what it has.
    mine = (BACKUPS.c.volume == volume.id, BACKUPS.c.project == volume.project)
    query = select(BACKUPS.c.id).where(*mine, BACKUPS.c.status == AVAILABLE, BACKUPS.c.container == container)
    found = connection.execute(query.order_by(BACKUPS.c.data_us.desc(), BACKUPS.c.created_us.desc()).limit(1)).scalar_one_or_none()
    if found is None:
        raise bad_request("Invalid backup: No backups available to do an incremental backup.")
    return str(found)


def _short(call: Call, row: Row) -> View:
    return {"id": row.id, "name": row.name, "links": links(call, "backups", row.id)}


def _view(connection: Connection, call: Call, row: Row) -> View:
    view: View = {
        **_short(call, row), "status": row.status, "size": row.size_gb, "object_count": row.object_count, "availability_zone": row.availability_zone,
        "container": row.container, "created_at": time(row.created_us), "updated_at": time(row.updated_us), "description": row.description,
        "fail_reason": row.fail_reason or None, "volume_id": row.volume, "is_incremental": bool(row.parent),
        "has_dependent_backups": bool(records.dependents_of(connection, row.id)), "snapshot_id": row.snapshot or None, "data_timestamp": time(row.data_us),
    }  # fmt: skip
    if has(call, 18):
        view["os-backup-project-attr:project_id"] = row.project
    if has(call, 43):
        view["metadata"] = records.properties_of(connection, "backup", row.id)
    if has(call, 56):
        view["user_id"] = row.user_id
    return view
