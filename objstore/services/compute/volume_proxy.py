"""Volumes and their snapshots as the compute API showed them before 2.36: asked of the block storage service, told in Nova's words."""

from collections.abc import Sequence
from typing import Any

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import not_found
from objstore.services.compute import fields
from objstore.services.compute.fields import Check, member, only
from objstore.services.compute.neighbours import Neighbour
from objstore.services.compute.views import View

GONE: Version = (2, 36)
_TEXT = fields.nullable(fields.text())
_VOLUME: dict[str, Check] = {
    "size": fields.integer(1), "display_name": _TEXT, "display_description": _TEXT, "volume_type": _TEXT, "metadata": fields.nullable(fields.metadata),
    "snapshot_id": _TEXT, "availability_zone": _TEXT,
}  # fmt: skip
_SNAPSHOT: dict[str, Check] = {"volume_id": fields.text(least=1), "display_name": _TEXT, "display_description": _TEXT, "force": fields.flag}
_NAMES = {"display_name": "name", "display_description": "description"}


class VolumeProxy:
    """The handlers."""

    def __init__(self, volumes: Neighbour) -> None:
        self._volumes = volumes

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        table: dict[tuple[str, str], Handler] = {}
        for kind, checks, view in (("volume", _VOLUME, _volume_view), ("snapshot", _SNAPSHOT, _snapshot_view)):
            part = _Kind(self._volumes, kind, checks, view)
            path = f"/v2.1/os-{kind}s"
            table |= {
                ("GET", path): part.list_all, ("GET", f"{path}/detail"): part.list_all, ("POST", path): part.create, ("GET", path + "/{id}"): part.show,
                ("DELETE", path + "/{id}"): part.remove,
            }  # fmt: skip
        return table


class _Kind:
    def __init__(self, volumes: Neighbour, kind: str, checks: dict[str, Check], view: Any) -> None:
        self._volumes = volumes
        self._kind = kind
        self._checks = checks
        self._view = view

    async def list_all(self, call: Call) -> Answer:
        query = [(name, value) for name, value in call.query if name in ("limit", "offset")]
        found = await self._ask(call, "GET", "detail", query=query)
        return Answer(body={f"{self._kind}s": [self._view(one) for one in found[f"{self._kind}s"]]})

    async def show(self, call: Call) -> Answer:
        found = await self._ask(call, "GET", call.parameters["id"])
        return Answer(body={self._kind: self._view(found[self._kind])})

    async def create(self, call: Call) -> Answer:
        document = only(member(only(await call.document(), (self._kind,)), self._kind), self._checks, self._kind)
        given = {_NAMES.get(name, name): self._checks[name](name, value) for name, value in document.items()}
        member(given, "size" if self._kind == "volume" else "volume_id")
        made = await self._ask(call, "POST", body={self._kind: {name: value for name, value in given.items() if value is not None}})
        return Answer(body={self._kind: self._view(made[self._kind])})

    async def remove(self, call: Call) -> Answer:
        await self._ask(call, "DELETE", call.parameters["id"])
        return Answer(202)

    async def _ask(self, call: Call, method: str, *path: str, body: Any = None, query: Sequence[tuple[str, str]] = ()) -> Any:
        if call.version >= GONE:
            raise not_found()
        return await self._volumes.ask(call, method, ("v3", call.project, f"{self._kind}s", *path), body, query=query)


def _volume_view(volume: View) -> View:
    attachments = [
        {"id": one["volume_id"], "volumeId": one["volume_id"], "serverId": one["server_id"], "device": one.get("device") or ""}
        for one in volume.get("attachments", ())
    ]
    return {
        "id": volume["id"], "displayName": volume.get("name"), "displayDescription": volume.get("description"), "size": volume["size"],
        "status": volume["status"], "availabilityZone": volume.get("availability_zone") or "", "createdAt": volume["created_at"],
        "volumeType": volume.get("volume_type"), "snapshotId": volume.get("snapshot_id"), "metadata": volume.get("metadata") or {},
        "attachments": attachments or [{}],
    }  # fmt: skip


def _snapshot_view(snapshot: View) -> View:
    return {
        "id": snapshot["id"], "volumeId": snapshot["volume_id"], "displayName": snapshot.get("name"), "status": snapshot["status"],
        "displayDescription": snapshot.get("description"), "size": snapshot["size"], "createdAt": snapshot["created_at"],
    }  # fmt: skip
