"""POST /volumes/ID/action: what is done to a volume by name."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, conflict, not_found, too_large
from objstore.services.image.records import ACTIVE, Image
from objstore.services.volume.api import attaching, entry, limits, records, uploading
from objstore.services.volume.api.attaching import check_free
from objstore.services.volume.api.making import find_type, image_least_gb, image_metadata, is_yes
from objstore.services.volume.api.records import (
    AVAILABLE,
    CREATING,
    DOWNLOADING,
    ERROR,
    EXTENDING,
    IN_USE,
    RESERVED,
    REVERTING,
    VOLUME_STATUSES,
)
from objstore.services.volume.api.service import VolumeService, called_volume, image_of, snapshot_of
from objstore.services.volume.api.tables import SNAPSHOTS, TYPES, VOLUMES
from objstore.services.volume.api.versions import has, not_built, since
from objstore.services.volume.api.volumes import begin_deletion
from objstore.services.volume.api.work import EXTEND, REIMAGE, REVERT

Row = Any
Action = Callable[[Call, dict[str, Any]], Awaitable[Answer]]
NOT_BUILT = (
    "os-migrate_volume",
    "os-migrate_volume_completion",
    "os-unmanage",
    "os-initialize_connection",
    "os-promote-replica",
    "os-reenable-replica",
)


class ActionCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service
        self._actions: dict[str, Action] = {
            "os-extend": self._extend,
            "os-reset_status": self._reset_status,
            "os-set_bootable": self._set_bootable,
            "os-update_readonly_flag": self._set_read_only,
            "os-retype": self._retype,
            "os-force_delete": self._force_delete,
            "os-volume_upload_image": self._upload,
            "os-set_image_metadata": self._set_image_metadata,
            "os-unset_image_metadata": self._unset_image_metadata,
            "os-show_image_metadata": self._show_image_metadata,
            "os-extend_volume_completion": self._extended,
            "os-reimage": self._reimage,
            "revert": self._revert,
            **attaching.actions(service),
        }

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {("POST", "/volumes/{volume_id}/action"): self.act}

    async def act(self, call: Call) -> Answer:
        """One action."""
        call.check_read()
        document = await call.document()
        name = next(iter(document), "")
        if len(document) != 1 or (name not in self._actions and name not in NOT_BUILT):
            raise bad_request(f"There is no such action: {name[:64]}")
        await self._service.read(lambda connection: called_volume(connection, call))
        call.check_write()
        if name in NOT_BUILT:
            raise not_built(name)
        given = document[name]
        if given is not None and not isinstance(given, dict):
            raise entry.wrong(name, given, "It must be an object.")
        return await self._actions[name](call, given or {})

    async def _extend(self, call: Call, fields: dict[str, Any]) -> Answer:
        service = self._service
        size_gb = entry.whole("new_size", fields.get("new_size"), least=1)

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            expected = (AVAILABLE, IN_USE) if has(call, 42) else (AVAILABLE,)
            if row.status not in expected:
                raise bad_request(f"Invalid volume: Volume {row.id} status must be {' or '.join(expected)} to extend, it is {row.status}.")
            if row.status == IN_USE and row.multiattach:
                raise bad_request("Invalid volume: a volume that several servers may have is extended while none has.")
            if size_gb <= row.size_gb:
                raise bad_request(
                    "Invalid input received: New size for extend must be greater than current size. "
                    f"(current: {row.size_gb}, extended: {size_gb})."
                )
            type_name = connection.execute(select(TYPES.c.name).where(TYPES.c.id == row.volume_type)).scalar_one_or_none()
            more = {"gigabytes": size_gb - row.size_gb}
            limits.check(connection, service.settings, row.project, more, type_name=str(type_name or ""), each_gb=size_gb)
            records.change(
                connection, VOLUMES, row.id, status=(row.status,), status_=EXTENDING, size_gb=size_gb, updated_us=service.now_us()
            )
            details = {"size_gb": str(size_gb), "old_gb": str(row.size_gb), "before": row.status, "request": call.request_id}
            service.enqueue(connection, EXTEND, row.id, details=details)

        await service.write(work)
        return Answer(202)

    async def _extended(self, call: Call, fields: dict[str, Any]) -> Answer:
        """Hosts that extend a volume tell their own service; nobody else has something to complete."""
        since(call, 71)
        call.check_admin()
        entry.flag(fields, "error", default=False)
        raise bad_request("Invalid volume: no volume waits for its extension to be completed from outside.")

    async def _reset_status(self, call: Call, fields: dict[str, Any]) -> Answer:
        call.check_admin()
        status, attach = entry.text(fields, "status"), entry.text(fields, "attach_status")
        migration = entry.text(fields, "migration_status")
        if status is not None:
            status = status.lower()
            if status not in VOLUME_STATUSES:
                raise entry.wrong("status", status, f"It must be one of {', '.join(VOLUME_STATUSES)}.")
        if attach is not None and attach not in ("attached", "detached"):
            raise entry.wrong("attach_status", attach, "It must be attached or detached.")
        if status is None and attach is None and migration is None:
            raise bad_request("Must specify 'status', 'attach_status' or 'migration_status' in request body.")

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            if attach == "detached":
                attaching.forget_clients(connection, row.id)
            values: dict[str, Any] = {"status_": status} if status is not None else {}
            if migration is not None:
                values["migration_status"] = "" if migration == "none" else migration
            records.change(connection, VOLUMES, row.id, updated_us=self._service.now_us(), **values)

        await self._service.write(work)
        return Answer(202)

    async def _set_bootable(self, call: Call, fields: dict[str, Any]) -> Answer:
        if "bootable" not in fields:
            raise bad_request("Missing required element 'bootable' in request body.")
        await self._set(call, bootable=entry.flag(fields, "bootable", default=False))
        return Answer(200)

    async def _set_read_only(self, call: Call, fields: dict[str, Any]) -> Answer:
        if "readonly" not in fields:
            raise bad_request("Missing required element 'readonly' in request body.")
        value = entry.flag(fields, "readonly", default=False)

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            if not records.change(connection, VOLUMES, row.id, status=(AVAILABLE,), read_only=value, updated_us=self._service.now_us()):
                raise bad_request(f"Invalid volume: Volume {row.id} status must be available to update readonly flag, it is {row.status}.")
            metadata = records.properties_of(connection, "volume", row.id) | {"readonly": str(value)}
            records.set_properties(connection, "volume", row.id, metadata)

        await self._service.write(work)
        return Answer(202)

    async def _set(self, call: Call, **values: Any) -> None:
        now_us = self._service.now_us()
        await self._service.write(
            lambda connection: records.change(connection, VOLUMES, called_volume(connection, call).id, updated_us=now_us, **values)
        )

    async def _retype(self, call: Call, fields: dict[str, Any]) -> Answer:
        """Types are served by the same store, so that no byte moves."""
        service = self._service
        wanted = entry.needed(fields, "new_type")
        policy = entry.text(fields, "migration_policy")
        if policy not in (None, "never", "on-demand"):
            raise entry.wrong("migration_policy", policy, "It must be never or on-demand.")

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            if row.status not in (AVAILABLE, IN_USE):
                raise bad_request(f"Invalid volume: Volume {row.id} status must be available or in-use to retype, it is {row.status}.")
            type_ = find_type(connection, call.project, wanted, is_admin=call.is_admin)
            if type_.id == row.volume_type:
                raise bad_request(f"Invalid volume type: New volume type and current volume type are the same: {type_.name}.")
            several = is_yes(records.properties_of(connection, "extra", type_.id).get("multiattach", ""))
            if row.status == IN_USE and several != bool(row.multiattach):
                raise bad_request("Invalid input received: the type of a volume that is in use cannot become one with another multiattach.")
            more = {"volumes": 1, "gigabytes": row.size_gb}
            limits.check_type(connection, service.settings, row.project, more, type_.name)
            values = {"volume_type": type_.id, "multiattach": several, "updated_us": service.now_us()}
            records.change(connection, VOLUMES, row.id, status=(row.status,), **values)

        await service.write(work)
        return Answer(202)

    async def _force_delete(self, call: Call, _: dict[str, Any]) -> Answer:
        call.check_admin()
        await self._service.write(
            lambda connection: begin_deletion(connection, self._service, called_volume(connection, call), cascade=False, force=True)
        )
        return Answer(202)

    async def _upload(self, call: Call, fields: dict[str, Any]) -> Answer:
        return await uploading.upload(self._service, call, fields)

    # -- what a volume keeps of its image -------------------------------------------------------------------------

    async def _set_image_metadata(self, call: Call, fields: dict[str, Any]) -> Answer:
        if not isinstance(fields.get("metadata"), dict):
            raise bad_request("Missing required element 'metadata' in request body.")
        given = entry.metadata(fields)

        def work(connection: Connection) -> dict[str, str]:
            id_ = called_volume(connection, call).id
            found = records.properties_of(connection, "image", id_) | given
            if len(found) > entry.MAX_PROPERTIES:
                raise too_large(f"Maximum number of metadata items exceeds {entry.MAX_PROPERTIES}")
            records.set_properties(connection, "image", id_, found)
            return found

        return Answer(body={"metadata": await self._service.write(work)})

    async def _unset_image_metadata(self, call: Call, fields: dict[str, Any]) -> Answer:
        key = entry.needed(fields, "key")

        def work(connection: Connection) -> None:
            id_ = called_volume(connection, call).id
            found = records.properties_of(connection, "image", id_)
            if key not in found:
                raise not_found("Metadata item was not found.")
            del found[key]
            records.set_properties(connection, "image", id_, found)

        await self._service.write(work)
        return Answer(200)

    async def _show_image_metadata(self, call: Call, _: dict[str, Any]) -> Answer:
        found = await self._service.read(lambda connection: records.properties_of(connection, "image", called_volume(connection, call).id))
        return Answer(body={"metadata": found})

    # -- other bytes ----------------------------------------------------------------------------------------------

    async def _revert(self, call: Call, fields: dict[str, Any]) -> Answer:
        """Back to the newest snapshot."""
        since(call, 40)
        service, id_ = self._service, entry.uuid(fields, "snapshot_id")

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            snapshot = snapshot_of(connection, call.project, id_, is_admin=call.is_admin)
            all_ = records.snapshots_of(connection, row.id)
            if snapshot.volume != row.id or all_[-1].id != id_:
                raise bad_request(f"Specified snapshot id {id_} isn't the latest one of volume {row.id}.")
            if row.size_gb != snapshot.size_gb:
                raise bad_request(f"Can't revert volume {row.id} to its latest snapshot: the volume was extended since.")
            if any(one.status == CREATING for one in all_) or snapshot.status != AVAILABLE:
                raise conflict(f"Invalid snapshot: Snapshot {id_} must be available to revert to it.")
            if records.attachments_of(connection, (row.id,))[row.id] or row.status != AVAILABLE:
                raise conflict(f"Invalid volume: Volume {row.id} must be available to revert it.")
            now_us = service.now_us()
            records.change(connection, VOLUMES, row.id, status=(AVAILABLE,), status_=REVERTING, updated_us=now_us)
            records.change(connection, SNAPSHOTS, id_, status=(AVAILABLE,), status_="restoring", updated_us=now_us)
            service.enqueue(connection, REVERT, row.id, details={"snapshot": id_, "before": AVAILABLE, "request": call.request_id})

        await service.write(work)
        return Answer(202)

    async def _reimage(self, call: Call, fields: dict[str, Any]) -> Answer:
        """What an image holds instead of what the volume has."""
        since(call, 68)
        service, image_id = self._service, entry.uuid(fields, "image_id")
        reserved = entry.flag(fields, "reimage_reserved", default=False)
        if not image_id:
            raise bad_request("'image_id' is a required property")

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            image = image_of(connection, call.project, image_id, is_admin=call.is_admin)
            expected = (AVAILABLE, ERROR, RESERVED) if reserved else (AVAILABLE, ERROR)
            if row.status not in expected:
                raise conflict(f"Invalid volume: Volume {row.id} status must be {' or '.join(expected)} to reimage, it is {row.status}.")
            begin_reimage(connection, service, row, image, request_id=call.request_id)

        await service.write(work)
        return Answer(202)


def begin_reimage(connection: Connection, service: VolumeService, row: Row, image: Image, *, request_id: str = "") -> None:
    """A volume begins to become what an image holds.  Raises 400, 409."""
    if image.status != ACTIVE:
        raise bad_request(f"Invalid input received: Image {image.id} is not active.")
    if image_least_gb(image) > row.size_gb:
        raise bad_request(f"Invalid input received: the image {image.id} needs {image_least_gb(image)} GB, the volume has {row.size_gb}.")
    check_free(connection, row.id)  # a server's host goes by the data that the volume had when it was reserved
    before = row.status if row.status != ERROR else AVAILABLE
    records.change(connection, VOLUMES, row.id, status_=DOWNLOADING, before=before, bootable=True, updated_us=service.now_us())
    records.set_properties(connection, "image", row.id, image_metadata(image))
    service.enqueue(connection, REIMAGE, row.id, details={"image": image.id, "before": before, "request": request_id})
