"""The older actions by which clients attach volumes: records only, since guests are served by the compute service's hosts.

What compute attached it detaches; a client cannot take a volume away from under a guest (CVE-2023-2088).
"""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import Connection, delete, insert

from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import bad_request, conflict, not_found
from objstore.services.volume.api import entry, records
from objstore.services.volume.api.records import ATTACHED, ATTACHING, AVAILABLE, COMPUTE, DETACHING, ERROR, IN_USE
from objstore.services.volume.api.service import VolumeService, called_volume
from objstore.services.volume.api.tables import ATTACHMENTS, VOLUMES

Row = Any
MODES = ("rw", "ro")
Action = Callable[[Call, dict[str, Any]], Awaitable[Answer]]


def actions(service: VolumeService) -> dict[str, Action]:
    """By name."""
    old = _Old(service)
    return {
        "os-reserve": old.reserve, "os-unreserve": old.unreserve, "os-begin_detaching": old.begin_detaching, "os-roll_detaching": old.roll_detaching,
        "os-attach": old.attach, "os-detach": old.detach, "os-force_detach": old.force_detach, "os-terminate_connection": old.terminate,
    }  # fmt: skip


def forget_clients(connection: Connection, volume: str) -> None:
    """Attachments that clients made go; those of compute stay."""
    connection.execute(delete(ATTACHMENTS).where(ATTACHMENTS.c.volume == volume, ATTACHMENTS.c.owner != COMPUTE))


def check_free(connection: Connection, volume: str) -> None:
    """Raises 409 where compute has the volume attached."""
    for row in records.attachments_of(connection, (volume,))[volume]:
        if row.owner == COMPUTE:
            raise conflict(
                f"Detach volume from instance {row.server} using the Compute API: the volume is attached to a server, and compute must let go of it."
            )


class _Old:
    def __init__(self, service: VolumeService) -> None:
        self._service = service

    async def _switch(self, call: Call, before: tuple[str, ...], after: str, *, guarded: bool = True) -> Answer:
        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            if guarded:
                check_free(connection, row.id)
            if not records.change(connection, VOLUMES, row.id, status=before, status_=after, updated_us=self._service.now_us()):
                raise bad_request(f"Invalid volume: Volume {row.id} status must be {' or '.join(before)}, it is {row.status}.")
            records.change_attachments(connection, row.id, (ATTACHED, DETACHING), {DETACHING: DETACHING, IN_USE: ATTACHED}.get(after))

        await self._service.write(work)
        return Answer(202)

    async def reserve(self, call: Call, _: dict[str, Any]) -> Answer:
        """Nobody else may attach it."""
        return await self._switch(call, (AVAILABLE,), ATTACHING)

    async def unreserve(self, call: Call, _: dict[str, Any]) -> Answer:
        """Free again."""
        return await self._switch(call, (ATTACHING,), AVAILABLE)

    async def begin_detaching(self, call: Call, _: dict[str, Any]) -> Answer:
        """It is being taken away."""
        return await self._switch(call, (IN_USE,), DETACHING)

    async def roll_detaching(self, call: Call, _: dict[str, Any]) -> Answer:
        """It stays."""
        return await self._switch(call, (DETACHING,), IN_USE)

    async def attach(self, call: Call, fields: dict[str, Any]) -> Answer:
        """A server or a host has it."""
        server, host = entry.uuid(fields, "instance_uuid"), entry.text(fields, "host_name") or ""
        device, mode = entry.needed(fields, "mountpoint"), entry.text(fields, "mode", default="rw")
        if mode not in MODES:
            raise entry.wrong("mode", mode, "It must be rw or ro.")
        if bool(server) == bool(host):
            raise bad_request("Invalid request to attach volume to an invalid target: name one of instance_uuid and host_name.")
        service, id_ = self._service, self._service.new_id()

        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            check_free(connection, row.id)
            if row.read_only and mode == "rw":
                raise bad_request(f"Invalid volume: the volume {row.id} is read only and cannot be attached as rw.")
            now_us = service.now_us()
            if not records.change(connection, VOLUMES, row.id, status=(AVAILABLE, ATTACHING), status_=IN_USE, updated_us=now_us):
                raise bad_request(f"Invalid volume: Volume {row.id} status must be available or attaching to attach, it is {row.status}.")
            connection.execute(
                insert(ATTACHMENTS).values(
                    id=id_, volume=row.id, project=row.project, server=server, host=host, device=device, mode=mode, status=ATTACHED, connector="{}",
                    owner="", attached_us=now_us, created_us=now_us, updated_us=now_us,
                )
            )  # fmt: skip

        await service.write(work)
        return Answer(202)

    async def detach(self, call: Call, fields: dict[str, Any]) -> Answer:
        """Nobody has it any more."""
        return await self._end(call, entry.uuid(fields, "attachment_id"))

    async def force_detach(self, call: Call, fields: dict[str, Any]) -> Answer:
        """The same by the administrator, whatever state it is in."""
        call.check_admin()
        return await self._end(call, entry.uuid(fields, "attachment_id"), force=True)

    async def _end(self, call: Call, attachment: str, *, force: bool = False) -> Answer:
        def work(connection: Connection) -> None:
            row = called_volume(connection, call)
            check_free(connection, row.id)
            mine = records.attachments_of(connection, (row.id,))[row.id]
            if attachment and attachment not in [one.id for one in mine]:
                raise not_found(f"Volume attachment could not be found with filter: attachment_id = {attachment}.")
            if len(mine) > 1 and not attachment:
                raise bad_request("Invalid volume: it has several attachments, name one of them.")
            if not mine and not attachment and row.status == AVAILABLE:
                return  # as in Cinder: it is so already
            if not mine and row.status not in (IN_USE, DETACHING):
                raise bad_request(f"Invalid volume: Unable to detach volume. Volume status must be 'in-use' and it is {row.status}.")
            for one in mine:
                if attachment in ("", one.id):
                    records.forget(connection, ATTACHMENTS, one.id)
            now_us = self._service.now_us()
            if force and not records.attachments_of(connection, (row.id,))[row.id]:
                records.change(connection, VOLUMES, row.id, status=(ERROR,), status_=AVAILABLE, updated_us=now_us)
            records.settle(connection, row.id, now_us=now_us)

        await self._service.write(work)
        return Answer(202)

    async def terminate(self, call: Call, fields: dict[str, Any]) -> Answer:
        """A host says that it has let go; what compute's hosts have they let go of through compute."""
        if not isinstance(fields.get("connector"), dict):
            raise bad_request("Missing required element 'connector' in request body.")
        await self._service.read(lambda connection: check_free(connection, call.parameters["volume_id"]))
        return Answer(202)
