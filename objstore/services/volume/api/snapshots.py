"""Calls on snapshots."""

from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, not_found
from objstore.services.volume.api import entry, listing, records
from objstore.services.volume.api.listing import Listed
from objstore.services.volume.api.records import AVAILABLE, CREATING, DELETING, ERROR, ERROR_DELETING
from objstore.services.volume.api.service import VolumeService, snapshot_of, volume_of
from objstore.services.volume.api.snapshotting import write_deletion, write_snapshot
from objstore.services.volume.api.tables import SNAPSHOTS
from objstore.services.volume.api.versions import has, not_built
from objstore.services.volume.api.views import View, snapshot_view

Row = Any
LISTED = Listed(
    SNAPSHOTS, "snapshot", "snapshots",
    {
        "id": SNAPSHOTS.c.id, "name": SNAPSHOTS.c.name, "status": SNAPSHOTS.c.status, "volume_id": SNAPSHOTS.c.volume,
        "created_at": SNAPSHOTS.c.created_us, "updated_at": SNAPSHOTS.c.updated_us, "user_id": SNAPSHOTS.c.user_id, "size": SNAPSHOTS.c.size_gb,
        "project_id": SNAPSHOTS.c.project, "progress": SNAPSHOTS.c.progress, "description": SNAPSHOTS.c.description,
    },
    times=(),
)  # fmt: skip
STATUSES = (CREATING, AVAILABLE, DELETING, ERROR, ERROR_DELETING)
STEPS = {CREATING: (CREATING, AVAILABLE, ERROR), DELETING: (DELETING, ERROR_DELETING)}  # which os-update_snapshot_status takes


class SnapshotCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/snapshots/{snapshot_id}"
        return {
            ("POST", "/snapshots"): self.create,
            ("GET", "/snapshots"): self.list_brief,
            ("GET", "/snapshots/detail"): self.list_whole,
            ("GET", one): self.show,
            ("PUT", one): self.update,
            ("DELETE", one): self.remove,
            ("POST", f"{one}/action"): self.act,
        }

    async def create(self, call: Call) -> Answer:
        """A new snapshot; it is being taken when this is answered."""
        service, id_ = self._service, self._service.new_id()
        call.check_write()
        fields = entry.part(await call.document(), "snapshot")
        volume_id = entry.uuid(fields, "volume_id")
        if not volume_id:
            raise (
                not_found("Volume None could not be found.") if "volume_id" in fields else bad_request("'volume_id' is a required property")
            )
        name, description = entry.text(fields, "name"), entry.text(fields, "description")
        metadata = entry.metadata(fields)
        force = entry.flag(fields, "force", default=False)
        if has(call, 66):
            if not force and "force" in fields:
                raise bad_request("Invalid input received: the parameter 'force' is not supported from version 3.66 on.")
            force = True

        def work(connection: Connection) -> View:
            volume = volume_of(connection, call.project, volume_id, is_admin=call.is_admin)
            write_snapshot(
                connection, service, id_, volume, user=call.who.user.id, name=name, description=description, force=force, metadata=metadata,
                request_id=call.request_id,
            )  # fmt: skip
            return snapshot_view(call, records.find(connection, SNAPSHOTS, id_), metadata, whole=False)

        return Answer(202, {"snapshot": await service.write(work)})

    async def list_brief(self, call: Call) -> Answer:
        """Without details."""
        return await self._list(call, whole=False)

    async def list_whole(self, call: Call) -> Answer:
        """All of it."""
        return await self._list(call, whole=True)

    async def _list(self, call: Call, *, whole: bool) -> Answer:
        call.check_read()
        conditions = [*listing.seen(call, SNAPSHOTS), *listing.filters(call, LISTED, {"consumes_quota": None})]

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            metadata = records.properties(connection, "snapshot", [row.id for row in found.rows])
            return listing.answer(call, LISTED, found, [snapshot_view(call, row, metadata[row.id], whole=whole) for row in found.rows])

        return Answer(body=await self._service.read(work))

    async def show(self, call: Call) -> Answer:
        """One snapshot."""
        call.check_read()

        def work(connection: Connection) -> View:
            row = self._called(connection, call)
            return snapshot_view(call, row, records.properties_of(connection, "snapshot", row.id))

        return Answer(body={"snapshot": await self._service.read(work)})

    def _called(self, connection: Connection, call: Call) -> Row:
        return snapshot_of(connection, call.project, call.parameters["snapshot_id"], is_admin=call.is_admin)

    async def update(self, call: Call) -> Answer:
        """Name and description."""
        service = self._service
        call.check_read()
        fields = entry.part(await call.document(), "snapshot")
        values = {name: entry.text(fields, name) for name in ("name", "description") if name in fields}
        if not values:
            raise bad_request("Invalid input received: Must specify 'name' or 'description' for update.")

        def work(connection: Connection) -> View:
            row = self._called(connection, call)
            call.check_write()
            records.change(connection, SNAPSHOTS, row.id, updated_us=service.now_us(), **values)
            metadata = records.properties_of(connection, "snapshot", row.id)
            return snapshot_view(call, records.find(connection, SNAPSHOTS, row.id), metadata, whole=False)

        return Answer(body={"snapshot": await service.write(work)})

    async def remove(self, call: Call) -> Answer:
        """A snapshot begins to go."""
        call.check_read()

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            call.check_write()
            write_deletion(connection, self._service, row)

        await self._service.write(work)
        return Answer(202)

    async def act(self, call: Call) -> Answer:
        """os-reset_status, os-update_snapshot_status, os-force_delete."""
        call.check_read()
        document = await call.document()
        name = next(iter(document), "")
        if name not in ("os-reset_status", "os-update_snapshot_status", "os-force_delete", "os-unmanage"):
            raise bad_request(f"There is no such action: {name[:64]}")
        if name == "os-unmanage":
            raise not_built("os-unmanage")
        if name != "os-update_snapshot_status":
            call.check_admin()
        fields = {} if name == "os-force_delete" else entry.part(document, name)

        def work(connection: Connection) -> None:
            row = self._called(connection, call)
            call.check_write()
            if name == "os-force_delete":
                write_deletion(connection, self._service, row, force=True)
                return
            status = entry.needed(fields, "status")
            if status not in STATUSES:
                raise entry.wrong("status", status, f"It must be one of {', '.join(STATUSES)}.")
            if name == "os-update_snapshot_status" and status not in STEPS.get(row.status, ()):
                raise bad_request(f"Invalid snapshot: Provided snapshot status {status} not allowed for snapshot with status {row.status}.")
            values: dict[str, Any] = {"status_": status, "updated_us": self._service.now_us()}
            if fields.get("progress") is not None:
                values["progress"] = _progress(fields["progress"])
            records.change(connection, SNAPSHOTS, row.id, **values)

        await self._service.write(work)
        return Answer(202)


def _progress(value: Any) -> str:
    if (
        not isinstance(value, str)
        or len(value) > len("100%")
        or not value.endswith("%")
        or not value[:-1].isdigit()
        or not value.isascii()
        or int(value.rstrip("%")) > 100
    ):
        raise entry.wrong("progress", value, "It must be a percentage from 0% to 100%.")
    return value
