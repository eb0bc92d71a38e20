"""What the compute service asks of volumes, in the same process: find, make, reserve, attach, detach, remove.

An attachment that compute made is ended by compute alone, which does so once the host has let go of the volume: no client can free a
volume that a guest still writes to.  Calls that change something can be made again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from objstore.services.calls.problems import bad_request, conflict, not_found
from objstore.services.volume.api import making, records
from objstore.services.volume.api.making import Wanted
from objstore.services.volume.api.records import (
    ATTACHED,
    ATTACHING,
    AVAILABLE,
    COMPUTE,
    DELETING,
    DETACHING,
    DOWNLOADING,
    IN_USE,
    REMOVABLE,
    RESERVED,
)
from objstore.services.volume.api.service import AttachedHosts, VolumeService, snapshot_of, volume_of
from objstore.services.volume.api.snapshotting import write_snapshot
from objstore.services.volume.api.tables import ATTACHMENTS, VOLUMES
from objstore.services.volume.api.work import DELETE
from objstore.services.volume.base_disks import BaseDisks
from objstore.services.volume.operations import Volumes

Row = Any
__all__ = ["AttachedHosts", "SnapshotView", "VolumeDesk", "VolumeView"]


@dataclass(frozen=True)
class VolumeView:
    """A volume as compute sees it."""

    id: str
    name: str
    status: str
    size_gb: int
    bootable: bool
    multiattach: bool
    read_only: bool
    data: str  # 32 hexadecimal digits: the volume in the store
    image_metadata: dict[str, str]
    project: str = ""
    availability_zone: str = ""
    volume_type: str = ""  # id
    attachments: tuple[str, ...] = ()  # ids of servers


@dataclass(frozen=True)
class SnapshotView:
    """A snapshot as compute sees it."""

    id: str
    volume_id: str
    status: str
    size_gb: int


class VolumeDesk:
    """The interface for compute."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    @property
    def bases(self) -> BaseDisks:
        """Images as volumes of the store, to clone root disks from."""
        return self._service.bases

    @property
    def store(self) -> Volumes:
        """Volumes of the store, for disks of servers that are nobody's volumes."""
        return self._service.volumes

    def serve_hosts(self, hosts: AttachedHosts) -> None:
        """Compute hands in how hosts are reached."""
        self._service.hosts = hosts

    async def find(self, project_id: str, volume_id: str, *, is_admin: bool = False) -> VolumeView:
        """A volume that a project sees.  Raises 404."""
        return await self._service.read(
            lambda connection: _view(connection, volume_of(connection, project_id, volume_id, is_admin=is_admin))
        )

    async def find_snapshot(self, project_id: str, snapshot_id: str, *, is_admin: bool = False) -> SnapshotView:
        """A snapshot that a project sees.  Raises 404."""
        row = await self._service.read(lambda connection: snapshot_of(connection, project_id, snapshot_id, is_admin=is_admin))
        return SnapshotView(row.id, row.volume, row.status, row.size_gb)

    async def create(
        self, project_id: str, user_id: str, *, size_gb: int | None, name: str = "", image_id: str | None = None, snapshot_id: str | None = None,
        source_volume_id: str | None = None, volume_type: str | None = None, is_admin: bool = False,
        volume_id: str = "",
    ) -> str:  # fmt: skip
        """A new volume's id; `find` tells when it is available, or error.  With an id that the caller drew it is made once.  Raises 400, 404, 413."""
        # Zones of servers are not zones of volumes, which are reached from everywhere: the default one.
        wanted = Wanted(
            project_id, user_id, size_gb, name, image=image_id or "", snapshot=snapshot_id or "", source=source_volume_id or "",
            volume_type=volume_type or "", is_admin=is_admin,
        )  # fmt: skip
        service, id_ = self._service, volume_id or self._service.new_id()

        def work(connection: Connection) -> None:
            if records.find(connection, VOLUMES, id_) is None:
                making.write_volume(connection, service, id_, wanted)

        await service.write(work)
        return id_

    async def create_snapshot(self, project_id: str, user_id: str, volume_id: str, *, name: str = "", description: str = "") -> str:
        """A snapshot of a volume, in use or not; `find_snapshot` tells when it is available.  Raises 400, 404, 413."""
        (id_,) = await self.create_snapshots(project_id, user_id, (volume_id,), name=name, description=description)
        return id_

    async def create_snapshots(
        self, project_id: str, user_id: str, volume_ids: Sequence[str], *, name: str = "", description: str = "",
        also: Callable[[Connection, Sequence[str]], None] | None = None,
    ) -> list[str]:  # fmt: skip
        """Snapshots of all these volumes and what is to be written with them, or nothing.  Raises 400, 404, 413, and what `also` raises."""
        service, ids = self._service, [self._service.new_id() for _ in volume_ids]

        def work(connection: Connection) -> None:
            for id_, volume_id in zip(ids, volume_ids, strict=True):
                volume = volume_of(connection, project_id, volume_id)
                write_snapshot(connection, service, id_, volume, user=user_id, name=name, description=description, force=True)
            if also is not None:
                also(connection, ids)

        await service.write(work)
        return ids

    async def reserve(self, project_id: str, volume_id: str, server_id: str, *, read_only: bool = False, is_admin: bool = False) -> str:
        """An attachment of an available volume (or of one that several may attach) to a server; again the same one.  Raises 400, 404."""
        service, id_, now_us = self._service, self._service.new_id(), self._service.now_us()

        def work(connection: Connection) -> str:
            volume = volume_of(connection, project_id, volume_id, is_admin=is_admin)
            there = records.attachments_of(connection, (volume_id,))[volume_id]
            for row in there:
                if row.server == server_id and row.owner == COMPUTE:
                    return str(row.id)
            expected = (AVAILABLE, DOWNLOADING, RESERVED, ATTACHING, IN_USE) if volume.multiattach else (AVAILABLE, DOWNLOADING)
            after = volume.status if volume.status in (IN_USE, DOWNLOADING) else RESERVED
            # Whatever somebody set its status to; and a volume that is to have another image's data has not got it yet.
            busy = (bool(there) and not volume.multiattach) or records.is_exchanged(volume) or len(there) >= records.MAX_ATTACHMENTS
            if busy or not records.change(connection, VOLUMES, volume_id, status=expected, status_=after, updated_us=now_us):
                raise bad_request(
                    f"Invalid volume: Volume {volume_id} status must be available or downloading to reserve, but the current status is {volume.status}."
                )
            mode = "ro" if read_only or volume.read_only else "rw"
            connection.execute(
                insert(ATTACHMENTS).values(
                    id=id_, volume=volume_id, project=volume.project, server=server_id, host="", device="", mode=mode, status=RESERVED, connector="{}",
                    owner=COMPUTE, attached_us=0, created_us=now_us, updated_us=now_us,
                )
            )  # fmt: skip
            return id_

        return await service.write(work)

    async def attached(self, attachment_id: str, host: str, device: str) -> None:
        """The server has it.  Raises 404."""
        now_us = self._service.now_us()
        await self._change(attachment_id, status_=ATTACHED, host=host, device=device, attached_us=now_us)

    async def begin_detach(self, attachment_id: str) -> None:
        """It is being taken from the server.  Raises 404, 409 where it is not attached."""
        await self._change(attachment_id, status=(ATTACHED, DETACHING), status_=DETACHING)

    async def roll_detach(self, attachment_id: str) -> None:
        """It stays after all.  Raises 404."""
        await self._change(attachment_id, status=(ATTACHED, DETACHING), status_=ATTACHED)

    async def end(self, attachment_id: str) -> None:
        """The host has let go of it.  Nothing happens when it was ended before."""
        service, now_us = self._service, self._service.now_us()

        def work(connection: Connection) -> None:
            row = records.find(connection, ATTACHMENTS, attachment_id)
            if row is not None:
                records.forget(connection, ATTACHMENTS, attachment_id)
                records.settle(connection, row.volume, now_us=now_us)

        await service.write(work)

    async def end_all(self, server_id: str) -> None:
        """The same for all that compute made for a server, which is on no host any more."""
        service, now_us = self._service, self._service.now_us()

        def work(connection: Connection) -> None:
            query = select(ATTACHMENTS).where(ATTACHMENTS.c.server == server_id, ATTACHMENTS.c.owner == COMPUTE)
            for row in connection.execute(query).all():
                records.forget(connection, ATTACHMENTS, row.id)
                records.settle(connection, row.volume, now_us=now_us)

        await service.write(work)

    async def delete(self, project_id: str, volume_id: str) -> None:
        """Remove a volume that nothing is attached to.  Nothing happens when it is gone, or another project's by now.  Raises 409."""
        service, now_us = self._service, self._service.now_us()

        def work(connection: Connection) -> None:
            row = records.find(connection, VOLUMES, volume_id)
            if row is None or row.project != project_id or row.status == DELETING:
                return
            if records.attachments_of(connection, (volume_id,))[volume_id] or records.snapshots_of(connection, volume_id):
                raise conflict(f"Volume {volume_id} has attachments or snapshots.")
            if not records.change(connection, VOLUMES, volume_id, status=REMOVABLE, status_=DELETING, updated_us=now_us):
                raise conflict(f"Volume {volume_id} is {row.status}.")
            service.enqueue(connection, DELETE, volume_id)

        await service.write(work)

    async def _change(self, attachment_id: str, *, status: tuple[str, ...] | None = None, **values: Any) -> None:
        now_us = self._service.now_us()

        def work(connection: Connection) -> None:
            row = records.find(connection, ATTACHMENTS, attachment_id)
            if row is None:
                raise not_found(f"Volume attachment could not be found with filter: attachment_id = {attachment_id}.")
            if not records.change(connection, ATTACHMENTS, attachment_id, status=status, updated_us=now_us, **values):
                raise conflict(f"The attachment {attachment_id} is {row.status}.")
            records.settle(connection, row.volume, now_us=now_us)

        await self._service.write(work)


def _view(connection: Connection, row: Row) -> VolumeView:
    servers = tuple(str(one.server) for one in records.attachments_of(connection, (row.id,))[row.id] if one.server)
    return VolumeView(
        row.id, row.name or "", row.status, row.size_gb, bool(row.bootable), bool(row.multiattach), bool(row.read_only), row.data,
        records.properties_of(connection, "image", row.id), row.project, row.availability_zone, row.volume_type, servers,
    )  # fmt: skip
