"""Volumes of servers: list, attach, detach, and what becomes of them with their server."""

import contextlib
from typing import Any

from sqlalchemy import Connection, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.paging import limit_of
from objstore.services.calls.problems import CallRefused, bad_request, conflict, forbidden, not_found
from objstore.services.compute import fields, records
from objstore.services.compute.context import Context, check_may, seen_server
from objstore.services.compute.records import ATTACHING, DETACHING, HIDDEN, READY, RESERVING, Disk, Server
from objstore.services.compute.server_create import free_device
from objstore.services.compute.server_views import attachment_view
from objstore.services.compute.states import ACTIONS, DELETING
from objstore.services.compute.tables import DISKS

RESERVE_S = 60.0  # an attachment that was begun and is not written down by then is taken back
MAX_DISKS = 26


class AttachmentCalls:
    """The handlers."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        all_ = "/v2.1/servers/{server_id}/os-volume_attachments"
        return {
            ("GET", all_): self.list_attachments,
            ("POST", all_): self.attach,
            ("GET", f"{all_}/{{volume_id}}"): self.show,
            ("PUT", f"{all_}/{{volume_id}}"): self.update,
            ("DELETE", f"{all_}/{{volume_id}}"): self.detach,
        }

    async def list_attachments(self, call: Call) -> Answer:
        """All volumes of a server."""
        server = await self._context.server(call)
        limit = limit_of(call, default=self._context.page_limit, most=self._context.page_limit)
        text = call.first("offset") or "0"
        if not text.isascii() or not text.isdigit() or len(text) > 9:
            raise bad_request("offset param must be an integer")
        shown = [disk for disk in server.disks if disk.is_volume and disk.api_volume and disk.state not in HIDDEN]
        return Answer(body={"volumeAttachments": [attachment_view(disk, call.version) for disk in shown[int(text) :][:limit]]})

    async def show(self, call: Call) -> Answer:
        """One of them."""
        server = await self._context.server(call)
        return Answer(body={"volumeAttachment": attachment_view(_disk_of(server, call.parameters["volume_id"]), call.version)})

    async def attach(self, call: Call) -> Answer:
        """Begin to attach a volume: it is reserved when this returns."""
        context = self._context
        call.check_read()
        document = fields.only(await call.document(), ("volumeAttachment",))
        known = (
            "volumeId",
            "device",
            *(("tag",) if call.version >= (2, 49) else ()),
            *(("delete_on_termination",) if call.version >= (2, 79) else ()),
        )
        given = fields.only(fields.member(document, "volumeAttachment"), known, "volumeAttachment")
        volume_id = fields.uuid("volumeId", given.get("volumeId"))
        device = fields.device("device", given.get("device"))
        tag = fields.tag("tag", given["tag"]) if "tag" in given else ""
        drop = fields.flag("delete_on_termination", given.get("delete_on_termination", False))
        server = await context.own_server(call)
        check_may(call, server, "attach_volume")
        volume = await context.volumes.find(call.project, volume_id, is_admin=call.is_admin)
        if volume.multiattach and call.version < (2, 60):
            raise bad_request("Multiattach volumes are only supported starting with compute API version 2.60.")
        disk = await self._reserve_row(call, volume_id, device, tag, drop=drop)
        try:
            attachment = await context.volumes.reserve(server.project, volume_id, server.id, is_admin=call.is_admin)
        except CallRefused:
            await context.write(lambda connection: records.drop_disk(connection, disk.id))
            raise
        made = await self._begin(call, disk, attachment, volume)
        return Answer(body={"volumeAttachment": attachment_view(made, call.version, made=True)})

    async def _reserve_row(self, call: Call, volume_id: str, device: str, tag: str, *, drop: bool) -> Disk:
        """A row that says that somebody is about to reserve a volume; with a job that takes it back should he die."""
        context, now_us = self._context, self._context.now_us()
        id_ = context.new_id()

        def work(connection: Connection) -> Disk:
            server = seen_server(connection, call)
            check_may(call, server, "attach_volume")
            used = {disk.device for disk in server.disks}
            if any(disk.api_volume == volume_id for disk in server.disks):
                raise bad_request(f"Invalid volume: volume {volume_id} is already attached to instance {server.id}")
            if len(server.disks) >= MAX_DISKS:
                raise forbidden(f"A server has {MAX_DISKS} disks at most.")
            if device and device in used:
                raise conflict(f"The supplied device path (/dev/{device}) is in use.")
            # As with Nova over QEMU the guest chooses the name; what is asked for is a wish.
            name = device if device.startswith("vd") else free_device(used, "")
            disk = Disk(
                id_, server.id, 1 + max((other.position for other in server.disks), default=0), RESERVING, "", volume_id, "", "volume", "volume",
                volume_id, 0, "", name, "virtio", -1, drop, tag=tag, created_us=now_us,
            )  # fmt: skip
            records.add_disk(connection, disk)
            context.enqueue(connection, "unreserve", server.id, {"disk": id_}, delay_s=RESERVE_S)
            return disk

        return await context.write(work)

    async def _begin(self, call: Call, disk: Disk, attachment: str, volume: Any) -> Disk:
        context, now_us = self._context, self._context.now_us()
        details = {"request": call.request_id, "event": ACTIONS["attach_volume"].event, "disk": disk.id}

        def work(connection: Connection) -> Disk | None:
            server = records.living(connection, disk.server)
            if server is None or server.task_state == DELETING or not records.change_disk(
                connection, disk.id, states=(RESERVING,), state=ATTACHING, attachment=attachment, volume=volume.data, size_gb=volume.size_gb,
                read_only=bool(volume.read_only),
            ):  # fmt: skip
                return None
            records.begin_action(connection, server.id, call.request_id, "attach_volume", call.project, call.who.user.id, now_us=now_us)
            context.enqueue(connection, "attach-disk", server.id, details)
            row = connection.execute(select(DISKS).where(DISKS.c.id == disk.id)).one()
            return Disk(**row._mapping)

        made = await context.write(work)
        if made is None:
            await context.volumes.end(attachment)
            raise not_found(f"Instance {disk.server} could not be found.")
        return made

    async def update(self, call: Call) -> Answer:
        """Whether the volume goes with the server.  A server's volume is not swapped for another."""
        context = self._context
        call.check_read()
        document = fields.only(await call.document(), ("volumeAttachment",))
        known = (
            "volumeId",
            *(("id", "serverId", "device", "tag", "delete_on_termination", "attachment_id", "bdm_uuid") if call.version >= (2, 85) else ()),
        )
        given = fields.only(fields.member(document, "volumeAttachment"), known, "volumeAttachment")
        wanted = fields.uuid("volumeId", given.get("volumeId"))
        server = await context.own_server(call)
        disk = _disk_of(server, call.parameters["volume_id"])
        if wanted != disk.api_volume:
            call.check_admin()
            raise CallRefused(501, "The volume of a running server cannot be swapped for another: detach it and attach the other.")
        if "delete_on_termination" not in given:
            raise bad_request("Invalid input for field/attribute volumeAttachment. 'delete_on_termination' is a required property")
        drop = fields.flag("delete_on_termination", given["delete_on_termination"])
        await context.write(lambda connection: records.change_disk(connection, disk.id, delete_on_termination=drop))
        return Answer(202)

    async def detach(self, call: Call) -> Answer:
        """Begin to take a volume from its server."""
        context, now_us = self._context, self._context.now_us()
        server = await context.own_server(call)
        disk = _disk_of(server, call.parameters["volume_id"])
        check_may(call, server, "detach_volume")
        if disk.boot_index == 0:
            raise forbidden("Cannot detach a root device volume")
        details = {"request": call.request_id, "event": ACTIONS["detach_volume"].event, "disk": disk.id}

        def work(connection: Connection) -> bool:
            again = seen_server(connection, call)
            check_may(call, again, "detach_volume")
            if not records.change_disk(connection, disk.id, states=(READY,), state=DETACHING):
                return False
            records.begin_action(connection, again.id, call.request_id, "detach_volume", call.project, call.who.user.id, now_us=now_us)
            context.enqueue(connection, "detach-disk", again.id, details)
            return True

        if not await context.write(work):
            raise bad_request(f"Invalid volume: Invalid input received: volume {disk.api_volume} is {disk.state}, not attached.")
        await self._show(disk)
        return Answer(202)

    async def _show(self, disk: Disk) -> None:
        """Whoever looks at the volume from now on is to see that it is being detached.  The job says so too, and may have come to its end by now."""
        context, kept = self._context, select(DISKS.c.id).where(DISKS.c.id == disk.id, DISKS.c.state == READY)
        with contextlib.suppress(CallRefused):
            await context.volumes.begin_detach(disk.attachment)
            if await context.read(lambda connection: connection.execute(kept).one_or_none()) is not None:
                await context.volumes.roll_detach(disk.attachment)


def _disk_of(server: Server, volume_id: str) -> Disk:
    found = next((disk for disk in server.disks if disk.is_volume and disk.api_volume == volume_id and disk.state not in HIDDEN), None)
    if found is None:
        raise not_found(f"Instance {server.id} is not attached to volume {volume_id[:64]}")
    return found
