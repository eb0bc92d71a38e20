"""Volume transfers: a project offers a volume, whoever has the key takes it.  The key is told once; its digest is kept."""

import hashlib
import hmac
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, not_found
from objstore.services.volume.api import entry, limits, listing, records
from objstore.services.volume.api.listing import Listed
from objstore.services.volume.api.records import AVAILABLE, AWAITING_TRANSFER
from objstore.services.volume.api.service import VolumeService, volume_of
from objstore.services.volume.api.tables import SNAPSHOTS, TRANSFERS, TYPES, VOLUMES
from objstore.services.volume.api.versions import has
from objstore.services.volume.api.views import View, links, time

Row = Any
KEY_BYTES = 16
SALT_BYTES = 8
LISTED = Listed(
    TRANSFERS, "transfer", "transfers",
    {"id": TRANSFERS.c.id, "name": TRANSFERS.c.name, "volume_id": TRANSFERS.c.volume, "created_at": TRANSFERS.c.created_us}, times=(),
)  # fmt: skip


class TransferCalls:
    """The handlers, under the old name and the one of 3.55."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        found: dict[tuple[str, str], Handler] = {}
        for where in ("/os-volume-transfer", "/volume-transfers"):
            one = f"{where}/{{transfer_id}}"
            found |= {
                ("POST", where): self.create, ("GET", where): self.list_brief, ("GET", f"{where}/detail"): self.list_whole, ("GET", one): self.show,
                ("DELETE", one): self.remove, ("POST", f"{one}/accept"): self.accept,
            }  # fmt: skip
        return found

    async def create(self, call: Call) -> Answer:
        """Offer a volume."""
        call.check_write()
        fields = entry.part(await call.document(), "transfer")
        volume_id, name = entry.uuid(fields, "volume_id"), entry.text(fields, "name")
        if not volume_id:
            raise bad_request("'volume_id' is a required property")
        no_snapshots = entry.flag(fields, "no_snapshots", default=False) if has(call, 55) else False
        service, id_ = self._service, self._service.new_id()
        key, salt = service.world.rng.token(KEY_BYTES).hex(), service.world.rng.token(SALT_BYTES).hex()

        def work(connection: Connection) -> View:
            volume = volume_of(connection, call.project, volume_id, is_admin=call.is_admin)
            now_us = service.now_us()
            if not records.change(connection, VOLUMES, volume_id, status=(AVAILABLE,), status_=AWAITING_TRANSFER, updated_us=now_us):
                raise bad_request("Invalid volume: status must be available")
            snapshots = records.snapshots_of(connection, volume_id)
            if any(one.status != AVAILABLE for one in snapshots):
                raise bad_request("Invalid snapshot: a snapshot of the volume is busy.")
            # Offers that were accepted are shown until the next one: a volume that goes to and fro leaves one record.
            connection.execute(delete(TRANSFERS).where(TRANSFERS.c.volume == volume_id))
            connection.execute(
                insert(TRANSFERS).values(
                    id=id_, volume=volume_id, project=volume.project, name=name or "", salt=salt, digest=_digest(salt, key), no_snapshots=no_snapshots,
                    destination="", accepted=False, created_us=now_us,
                )
            )  # fmt: skip
            return _view(call, records.find(connection, TRANSFERS, id_)) | {"auth_key": key}

        return Answer(202, {"transfer": await service.write(work)})

    async def list_brief(self, call: Call) -> Answer:
        """Without details."""
        return await self._list(call, whole=False)

    async def list_whole(self, call: Call) -> Answer:
        """All of it."""
        return await self._list(call, whole=True)

    async def _list(self, call: Call, *, whole: bool) -> Answer:
        call.check_read()
        conditions = [*listing.seen(call, TRANSFERS), TRANSFERS.c.accepted.is_(False), *listing.filters(call, LISTED)]

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            return listing.answer(call, LISTED, found, [_view(call, row, whole=whole) for row in found.rows], links=has(call, 59))

        return Answer(body=await self._service.read(work))

    async def show(self, call: Call) -> Answer:
        """One."""
        call.check_read()
        row = await self._service.read(lambda connection: _own(connection, call))
        return Answer(body={"transfer": _view(call, row)})

    async def remove(self, call: Call) -> Answer:
        """Take an offer back."""
        call.check_read()

        def work(connection: Connection) -> None:
            row = _own(connection, call)
            call.check_write()
            connection.execute(delete(TRANSFERS).where(TRANSFERS.c.id == row.id))
            now_us = self._service.now_us()
            records.change(connection, VOLUMES, row.volume, status=(AWAITING_TRANSFER,), status_=AVAILABLE, updated_us=now_us)

        await self._service.write(work)
        return Answer(202)

    async def accept(self, call: Call) -> Answer:
        """The volume becomes the caller's project's, with its snapshots where they were offered."""
        call.check_write()
        call.need_project()
        key = entry.needed(entry.part(await call.document(), "accept"), "auth_key")
        service = self._service

        def work(connection: Connection) -> View:
            row = records.find(connection, TRANSFERS, call.parameters["transfer_id"])
            if row is None or row.accepted:
                raise _unknown(call)
            if not hmac.compare_digest(_digest(row.salt, key), row.digest):
                raise bad_request(f"Invalid auth key: Attempt to transfer {row.id} with invalid auth key.")
            volume = records.find(connection, VOLUMES, row.volume)
            if volume is None or volume.status != AWAITING_TRANSFER:
                raise bad_request(f"Invalid volume: Volume {row.volume} is not awaiting a transfer.")
            self._move(connection, call, row, volume)
            return {"id": row.id, "volume_id": row.volume, "name": row.name, "links": links(call, "os-volume-transfer", row.id)}

        return Answer(202, {"transfer": await service.write(work)})

    def _move(self, connection: Connection, call: Call, row: Row, volume: Row) -> None:
        service, now_us = self._service, self._service.now_us()
        snapshots = [] if row.no_snapshots else records.snapshots_of(connection, volume.id)
        if row.no_snapshots and records.snapshots_of(connection, volume.id):
            raise bad_request("Invalid volume: the volume has snapshots that were not offered; they depend on it.")
        size_gb = volume.size_gb + sum(one.size_gb for one in snapshots)
        type_ = records.find(connection, TYPES, volume.volume_type)
        wanted = {"volumes": 1, "gigabytes": size_gb, "snapshots": len(snapshots)}
        limits.check(connection, service.settings, call.project, wanted, type_name=type_.name if type_ is not None else "")
        values = {"project": call.project, "user_id": call.who.user.id, "updated_us": now_us}
        records.change(connection, VOLUMES, volume.id, status=(AWAITING_TRANSFER,), status_=AVAILABLE, **values)
        for one in snapshots:
            connection.execute(update(SNAPSHOTS).where(SNAPSHOTS.c.id == one.id).values(**values))
        connection.execute(update(TRANSFERS).where(TRANSFERS.c.id == row.id).values(accepted=True, destination=call.project))


def _digest(salt: str, key: str) -> str:
    return hashlib.sha256(f"{salt}:{key}".encode()).hexdigest()


def _own(connection: Connection, call: Call) -> Row:
    query = select(TRANSFERS).where(TRANSFERS.c.id == call.parameters["transfer_id"])
    row = connection.execute(query).one_or_none()
    if row is None or not (call.is_admin or row.project == call.project):
        raise _unknown(call)
    return row


def _unknown(call: Call) -> Exception:
    return not_found(f"Transfer {call.parameters['transfer_id'][:64]} could not be found.")


def _view(call: Call, row: Row, *, whole: bool = True) -> View:
    view: View = {"id": row.id, "volume_id": row.volume, "name": row.name, "links": links(call, "os-volume-transfer", row.id)}
    if whole:
        view["created_at"] = time(row.created_us)
        if has(call, 55):
            view["no_snapshots"] = bool(row.no_snapshots)
        if has(call, 57):
            view |= {"source_project_id": row.project, "destination_project_id": row.destination or None, "accepted": bool(row.accepted)}
    return view
