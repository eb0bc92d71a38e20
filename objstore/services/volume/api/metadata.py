"""Calls on the metadata of volumes and snapshots, which are alike."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import CallRefused, bad_request, not_found
from objstore.services.volume.api import entry, records
from objstore.services.volume.api.service import VolumeService, called_volume, snapshot_of

Row = Any
Metadata = dict[str, str]


class MetadataCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        found: dict[tuple[str, str], Handler] = {}
        for kind, where, find in (
            ("volume", "/volumes/{volume_id}/metadata", called_volume),
            ("snapshot", "/snapshots/{snapshot_id}/metadata", _called_snapshot),
        ):
            part = _Part(self._service, kind, find)
            found |= {
                ("GET", where): part.show, ("POST", where): part.add, ("PUT", where): part.replace, ("GET", f"{where}/{{key}}"): part.show_one,
                ("PUT", f"{where}/{{key}}"): part.set_one, ("DELETE", f"{where}/{{key}}"): part.remove_one,
            }  # fmt: skip
        return found


def _called_snapshot(connection: Connection, call: Call) -> Row:
    return snapshot_of(connection, call.project, call.parameters["snapshot_id"], is_admin=call.is_admin)


class _Part:
    def __init__(self, service: VolumeService, kind: str, find: Callable[[Connection, Call], Row]) -> None:
        self._service = service
        self._kind = kind
        self._find = find

    async def show(self, call: Call) -> Answer:
        """All."""
        return Answer(body={"metadata": await self._read(call)})

    async def show_one(self, call: Call) -> Answer:
        """One item."""
        key = call.parameters["key"]
        found = await self._read(call)
        if key not in found:
            raise self._unknown(key)
        return Answer(body={"meta": {key: found[key]}})

    async def add(self, call: Call) -> Answer:
        """Items are added, or changed."""
        given = self._given(await call.document())
        return Answer(body={"metadata": await self._change(call, lambda before: before | given)})

    async def replace(self, call: Call) -> Answer:
        """These items and no others."""
        given = self._given(await call.document())
        return Answer(body={"metadata": await self._change(call, lambda _: given)})

    async def set_one(self, call: Call) -> Answer:
        """One item."""
        key = call.parameters["key"]
        document = await call.document()
        given = entry.metadata(document, "meta")
        if set(given) != {key}:
            raise bad_request("Request body contains too many items" if len(given) > 1 else "Request body and URI mismatch")
        await self._change(call, lambda before: before | given)
        return Answer(body={"meta": given})

    async def remove_one(self, call: Call) -> Answer:
        """One item goes."""
        key = call.parameters["key"]

        def without(before: Metadata) -> Metadata:
            if key not in before:
                raise self._unknown(key)
            return {name: value for name, value in before.items() if name != key}

        await self._change(call, without)
        return Answer(200)

    def _given(self, document: dict[str, Any]) -> Metadata:
        if not isinstance(document.get("metadata"), dict):
            raise bad_request("Missing required element 'metadata' in request body.")
        return entry.metadata(document)

    def _unknown(self, key: str) -> CallRefused:
        return not_found(f"Volume metadata key {key[:64]} could not be found.")

    async def _read(self, call: Call) -> Metadata:
        call.check_read()
        return await self._service.read(lambda connection: records.properties_of(connection, self._kind, self._find(connection, call).id))

    async def _change(self, call: Call, change: Callable[[Metadata], Metadata]) -> Metadata:
        call.check_read()

        def work(connection: Connection) -> Metadata:
            id_ = self._find(connection, call).id
            call.check_write()
            changed = change(records.properties_of(connection, self._kind, id_))
            if len(changed) > entry.MAX_PROPERTIES:
                raise CallRefused(413, f"Maximum number of metadata items exceeds {entry.MAX_PROPERTIES}")
            records.set_properties(connection, self._kind, id_, changed)
            return changed

        return await self._service.write(work)
