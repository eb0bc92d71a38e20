"""The attachments API (3.27): how services and hosts attach volumes, by records of their own.

Attachments that compute made are shown here and changed by compute alone.
"""

from typing import Any

import msgspec
from sqlalchemy import Connection, insert

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, conflict, not_found
from objstore.services.volume.api import entry, listing, records
from objstore.services.volume.api.attaching import MODES
from objstore.services.volume.api.listing import Listed
from objstore.services.volume.api.records import ATTACHED, ATTACHING, AVAILABLE, COMPUTE, DOWNLOADING, IN_USE, RESERVED
from objstore.services.volume.api.service import VolumeService, volume_of
from objstore.services.volume.api.tables import ATTACHMENTS
from objstore.services.volume.api.versions import has, since
from objstore.services.volume.api.views import View, attachment_view

Row = Any
LISTED = Listed(
    ATTACHMENTS, "attachment", "attachments",
    {
        "id": ATTACHMENTS.c.id, "volume_id": ATTACHMENTS.c.volume, "instance_id": ATTACHMENTS.c.server, "instance_uuid": ATTACHMENTS.c.server,
        "status": ATTACHMENTS.c.status, "attach_status": ATTACHMENTS.c.status, "created_at": ATTACHMENTS.c.created_us,
    },
    times=(),
)  # fmt: skip
MAX_CONNECTOR_BYTES = 16_384


class AttachmentCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/attachments/{attachment_id}"
        return {
            ("POST", "/attachments"): self.create,
            ("GET", "/attachments"): self.list_brief,
            ("GET", "/attachments/detail"): self.list_whole,
            ("GET", one): self.show,
            ("PUT", one): self.update,
            ("DELETE", one): self.remove,
            ("POST", f"{one}/action"): self.act,
        }

    async def create(self, call: Call) -> Answer:
        """Reserve a volume, or with a connector begin to attach it."""
        since(call, 27)
        call.check_write()
        fields = entry.part(await call.document(), "attachment")
        volume_id, server = entry.uuid(fields, "volume_uuid"), entry.uuid(fields, "instance_uuid")
        connector = _connector(fields)
        mode = entry.text(fields, "mode", default="rw") if has(call, 54) else "rw"
        if mode not in MODES:
            raise entry.wrong("mode", mode, "It must be rw or ro.")
        if not volume_id:
            raise bad_request("'volume_uuid' is a required property")
        service, id_ = self._service, self._service.new_id()

        def work(connection: Connection) -> View:
            volume = volume_of(connection, call.project, volume_id, is_admin=call.is_admin)
            now_us = service.now_us()
            expected = (AVAILABLE, IN_USE, RESERVED, ATTACHING, DOWNLOADING) if volume.multiattach else (AVAILABLE, DOWNLOADING)
            there = records.attachments_of(connection, (volume_id,))[volume_id]
            if volume.status not in expected or (there and not volume.multiattach) or records.is_exchanged(volume):
                raise bad_request(
                    f"Invalid volume: Volume {volume_id} status must be {' or '.join(expected[:2])} to reserve, but the current status is {volume.status}."
                )
            if len(there) >= records.MAX_ATTACHMENTS:
                raise bad_request(f"Invalid volume: Volume {volume_id} has {len(there)} attachments, and may have no more; end some first.")
            status = ATTACHING if connector else RESERVED
            connection.execute(
                insert(ATTACHMENTS).values(
                    id=id_, volume=volume_id, project=volume.project, server=server, host=entry.text(connector, "host") or "", device="",
                    mode="ro" if volume.read_only else mode, status=status, connector=msgspec.json.encode(connector).decode(), owner="", attached_us=0,
                    created_us=now_us, updated_us=now_us,
                )
            )  # fmt: skip
            records.settle(connection, volume_id, now_us=now_us)
            return attachment_view(call, records.find(connection, ATTACHMENTS, id_))

        return Answer(200, {"attachment": await service.write(work)})

    async def list_brief(self, call: Call) -> Answer:
        """Without details."""
        return await self._list(call, whole=False)

    async def list_whole(self, call: Call) -> Answer:
        """All of it."""
        return await self._list(call, whole=True)

    async def _list(self, call: Call, *, whole: bool) -> Answer:
        since(call, 27)
        call.check_read()
        conditions = [*listing.seen(call, ATTACHMENTS), *listing.filters(call, LISTED)]

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            return listing.answer(call, LISTED, found, [attachment_view(call, row, detail=whole) for row in found.rows])

        return Answer(body=await self._service.read(work))

    async def show(self, call: Call) -> Answer:
        """One attachment."""
        since(call, 27)
        call.check_read()
        row = await self._service.read(lambda connection: _called(connection, call))
        return Answer(body={"attachment": attachment_view(call, row)})

    async def update(self, call: Call) -> Answer:
        """A connector: the volume is being attached."""
        since(call, 27)
        call.check_write()
        connector = _connector(entry.part(await call.document(), "attachment"))
        if not connector:
            raise bad_request("'connector' is a required property")
        service = self._service

        def work(connection: Connection) -> View:
            row = _own(connection, call)
            if row.status not in (RESERVED, ATTACHING):
                raise bad_request(f"Invalid volume: the attachment {row.id} is {row.status}.")
            values = {
                "status_": ATTACHING,
                "host": entry.text(connector, "host") or "",
                "device": entry.text(connector, "mountpoint") or "",
            }
            text = msgspec.json.encode(connector).decode()
            records.change(connection, ATTACHMENTS, row.id, connector=text, updated_us=service.now_us(), **values)
            records.settle(connection, row.volume, now_us=service.now_us())
            return attachment_view(call, records.find(connection, ATTACHMENTS, row.id))

        return Answer(200, {"attachment": await service.write(work)})

    async def act(self, call: Call) -> Answer:
        """os-complete: it is attached."""
        since(call, 44)
        call.check_write()
        document = await call.document()
        if "os-complete" not in document:
            raise bad_request(f"There is no such action: {next(iter(document), '')[:64]}")
        service = self._service

        def work(connection: Connection) -> None:
            row = _own(connection, call)
            if row.status != ATTACHING:
                raise bad_request(f"Invalid volume: Volume {row.volume} status must be attaching, the attachment is {row.status}.")
            now_us = service.now_us()
            records.change(connection, ATTACHMENTS, row.id, status_=ATTACHED, attached_us=now_us, updated_us=now_us)
            records.settle(connection, row.volume, now_us=now_us)

        await service.write(work)
        return Answer(204)

    async def remove(self, call: Call) -> Answer:
        """The volume is free; the answer shows what is left."""
        since(call, 27)
        call.check_write()
        service = self._service

        def work(connection: Connection) -> list[View]:
            row = _own(connection, call)
            records.forget(connection, ATTACHMENTS, row.id)
            records.settle(connection, row.volume, now_us=service.now_us())
            return [attachment_view(call, one, detail=False) for one in records.attachments_of(connection, (row.volume,))[row.volume]]

        return Answer(200, {"attachments": await service.write(work)})


def _called(connection: Connection, call: Call) -> Row:
    id_ = call.parameters["attachment_id"]
    row = records.find(connection, ATTACHMENTS, id_)
    if row is None or not (call.is_admin or row.project == call.project):
        raise not_found(f"Volume attachment could not be found with filter: attachment_id = {id_[:64]}.")
    return row


def _own(connection: Connection, call: Call) -> Row:
    """One that clients may change.  Raises 404, 409."""
    row = _called(connection, call)
    if row.owner == COMPUTE:
        raise conflict(f"Detach volume from instance {row.server} using the Compute API")
    return row


def _connector(fields: dict[str, Any]) -> dict[str, Any]:
    value = fields.get("connector")
    if value is None:
        return {}
    if not isinstance(value, dict) or len(msgspec.json.encode(value)) > MAX_CONNECTOR_BYTES:
        raise entry.wrong("connector", "", f"It must be an object of at most {MAX_CONNECTOR_BYTES} bytes.")
    return value
