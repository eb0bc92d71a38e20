"""Calls on what there is besides volumes: zones, services, pools, extensions, messages; and what is not built."""

from typing import Any

from sqlalchemy import Connection, Table, delete, func, select

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import bad_request, not_found
from objstore.services.volume.api import entry, listing, records
from objstore.services.volume.api.listing import Listed
from objstore.services.volume.api.service import CAPABILITIES, VolumeService
from objstore.services.volume.api.tables import MESSAGES, SNAPSHOTS, VOLUMES
from objstore.services.volume.api.versions import has, not_built, since
from objstore.services.volume.api.views import HOST, View, links, time

Row = Any
BACKEND = HOST.partition("#")[0]
PROCESSES = (("cinder-scheduler", "objstore"), ("cinder-volume", BACKEND), ("cinder-backup", "objstore"))
LISTED = Listed(
    MESSAGES, "message", "messages",
    {
        "id": MESSAGES.c.id, "event_id": MESSAGES.c.event, "resource_type": MESSAGES.c.resource_type, "resource_uuid": MESSAGES.c.resource,
        "request_id": MESSAGES.c.request_id, "created_at": MESSAGES.c.created_us,
    },
    times=(),
)  # fmt: skip
# What queries may filter by, as GET /resource_filters tells it.
FILTERS = {
    "volume": ["name", "status", "metadata", "bootable", "migration_status", "availability_zone", "size", "created_at", "updated_at", "glance_metadata"],
    "backup": ["name", "status", "volume_id"],
    "snapshot": ["name", "status", "volume_id", "metadata"],
    "attachment": ["volume_id", "status", "instance_id", "attach_status"],
    "message": ["resource_uuid", "resource_type", "event_id", "request_id"],
    "pool": ["name"],
    "volume_type": ["name", "is_public"],
}  # fmt: skip
EXTENSIONS = {
    "os-hosts": "Hosts", "os-quota-sets": "Quotas", "os-quota-class-sets": "QuotaClasses", "os-volume-transfer": "VolumeTransfer",
    "os-volume-type-access": "VolumeTypeAccess", "os-types-extra-specs": "TypesExtraSpecs", "backups": "Backups", "qos-specs": "Qos_specs_manage",
    "os-availability-zone": "AvailabilityZones", "os-services": "Services", "os-volume-actions": "VolumeActions", "os-admin-actions": "AdminActions",
    "os-snapshot-actions": "SnapshotActions", "os-vol-image-meta": "VolumeImageMetadata", "scheduler-stats": "Scheduler_stats", "capabilities": "Capabilities",
}  # fmt: skip
# Parts of the API that are not here, with what they are called.
MISSING = {
    "/groups": "groups of volumes", "/groups/detail": "groups of volumes", "/groups/{id}": "groups of volumes", "/groups/{id}/action": "groups of volumes",
    "/groups/action": "groups of volumes", "/group_types": "types of groups", "/group_types/{id}": "types of groups",
    "/group_types/{id}/group_specs": "types of groups", "/group_types/{id}/group_specs/{key}": "types of groups", "/group_snapshots": "groups of volumes",
    "/group_snapshots/detail": "groups of volumes", "/group_snapshots/{id}": "groups of volumes", "/group_snapshots/{id}/action": "groups of volumes",
    "/consistencygroups": "consistency groups", "/consistencygroups/detail": "consistency groups", "/consistencygroups/{id}": "consistency groups",
    "/cgsnapshots": "consistency groups", "/cgsnapshots/detail": "consistency groups", "/cgsnapshots/{id}": "consistency groups",
    "/types/{id}/encryption": "encrypted volume types", "/types/{id}/encryption/{key}": "encrypted volume types",
    "/os-volume-manage": "taking over volumes of other systems", "/manageable_volumes": "taking over volumes of other systems",
    "/manageable_volumes/detail": "taking over volumes of other systems", "/os-snapshot-manage": "taking over snapshots of other systems",
    "/manageable_snapshots": "taking over snapshots of other systems", "/manageable_snapshots/detail": "taking over snapshots of other systems",
    "/clusters": "clusters of volume services", "/clusters/{id}": "clusters of volume services", "/workers/cleanup": "clusters of volume services",
 "/backups/{id}/export_record": "records of backups for other clouds",
    "/backups/import_record": "records of backups for other clouds",
}  # fmt: skip


class InfoCalls:
    """The handlers."""

    def __init__(self, service: VolumeService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        found: dict[tuple[str, str], Handler] = {
            ("GET", "/os-availability-zone"): self.zones,
            ("GET", "/os-services"): self.services,
            ("PUT", "/os-services/{action}"): self.change_service,
            ("GET", "/os-hosts"): self.hosts,
            ("GET", "/os-hosts/{host}"): self.host,
            ("GET", "/scheduler-stats/get_pools"): self.pools,
            ("GET", "/capabilities/{host}"): self.capabilities,
            ("GET", "/extensions"): self.extensions,
            ("GET", "/resource_filters"): self.resource_filters,
            ("GET", "/messages"): self.messages,
            ("GET", "/messages/{message_id}"): self.message,
            ("DELETE", "/messages/{message_id}"): self.remove_message,
        }
        for where, what in MISSING.items():
            for method in ("GET", "POST", "PUT", "DELETE"):
                found[method, where] = _missing(what)
        return found

    async def zones(self, call: Call) -> Answer:
        """One zone: volumes are reached from everywhere."""
        call.check_read()
        zone = {"zoneName": self._service.settings.availability_zone, "zoneState": {"available": True}}
        return Answer(body={"availabilityZoneInfo": [zone]})

    async def services(self, call: Call) -> Answer:
        """What answers: this process, under the names that Cinder's parts have."""
        call.check_admin()
        now = time(self._service.now_us())
        binary, host = call.first("binary"), call.first("host")
        found: list[View] = []
        for name, where in PROCESSES:
            if binary in (None, name) and host in (None, where, where.partition("@")[0]):
                view: View = {
                    "binary": name, "host": where, "zone": self._service.settings.availability_zone, "status": "enabled", "state": "up",
                    "updated_at": now, "disabled_reason": None,
                }  # fmt: skip
                if has(call, 7):
                    view["cluster"] = None
                if name == "cinder-volume":
                    view |= {"replication_status": "disabled", "active_backend_id": None, "frozen": False}
                    if has(call, 49):
                        view["backend_state"] = "up"
                found.append(view)
        return Answer(body={"services": found})

    async def change_service(self, call: Call) -> Answer:
        """Services are stopped by stopping their process."""
        call.check_admin()
        action, document = call.parameters["action"], await call.document()
        if action not in ("enable", "disable", "disable-log-reason", "freeze", "thaw", "failover_host", "get-log", "set-log", "failover"):
            raise not_found("Unknown action")
        known = any(
            where == document.get("host") and name == document.get("binary", name) for name, where in PROCESSES if document.get("host")
        )
        if action in ("enable", "disable", "disable-log-reason"):
            if action == "disable-log-reason" and not entry.text(document, "disabled_reason"):
                raise bad_request("Disabled reason contains invalid characters or is too long.")
            if not document.get("host") or not isinstance(document.get("host"), str):
                raise bad_request("Missing required element 'host' in request body.")
            if not known:
                raise not_found(f"Service {str(document.get('binary'))[:64]} could not be found on host {str(document.get('host'))[:64]}.")
        if action in ("freeze", "thaw", "failover_host", "failover") and document.get("host") != BACKEND:
            raise bad_request(f"Service could not be found on host {str(document.get('host'))[:64]}.")
        raise not_built(f"os-services/{action}")

    async def hosts(self, call: Call) -> Answer:
        """The same as hosts."""
        call.check_admin()
        zone = self._service.settings.availability_zone
        hosts = [
            {"host_name": where, "service": name, "zone": zone, "service-status": "available", "service-state": "enabled", "last-update": time(self._service.now_us())}
            for name, where in PROCESSES
        ]  # fmt: skip
        return Answer(body={"hosts": hosts})

    async def host(self, call: Call) -> Answer:
        """What all volumes take together."""
        call.check_admin()
        if call.parameters["host"] != BACKEND:
            raise not_found(f"Host {call.parameters['host'][:64]} could not be found.")

        def work(connection: Connection) -> list[View]:
            found: list[View] = []
            for project, volumes, size in connection.execute(_totals(VOLUMES)).all():
                found.append({"host": BACKEND, "project": project, "volume_count": str(volumes), "total_volume_gb": str(size)})
            taken = {project: (count, size) for project, count, size in connection.execute(_totals(SNAPSHOTS)).all()}
            for one in found:
                count, size = taken.get(one["project"], (0, 0))
                one |= {"snapshot_count": str(count), "total_snapshot_gb": str(size)}
            names = ("volume_count", "total_volume_gb", "snapshot_count", "total_snapshot_gb")
            total: View = {"host": BACKEND, "project": "(total)", **{name: str(sum(int(one[name]) for one in found)) for name in names}}
            return [total, *found]

        return Answer(body={"host": [{"resource": one} for one in await self._service.read(work)]})

    async def capabilities(self, call: Call) -> Answer:
        """What types can ask of the one backend."""
        call.check_admin()
        if call.parameters["host"] not in (HOST, BACKEND):
            raise not_found(f"Service objstore could not be found on host {call.parameters['host'][:64]}.")
        return Answer(
            body={
                "namespace": f"OS::Storage::Capabilities::{BACKEND}", "vendor_name": CAPABILITIES["vendor_name"], "visibility": None,
                "volume_backend_name": CAPABILITIES["volume_backend_name"], "pool_name": None, "driver_version": "1", "display_name": None,
                "storage_protocol": CAPABILITIES["storage_protocol"], "description": None, "replication_targets": [],
                "properties": {"multiattach": {"title": "Multiattach", "description": "Several servers may have a volume.", "type": "boolean"}},
            }
        )  # fmt: skip

    async def pools(self, call: Call) -> Answer:
        """One pool: the store."""
        call.check_admin()
        detail = entry.asked_flag(call.first("detail"), "detail")
        name = call.first("name")
        pool: View = {"name": HOST}
        if detail:
            pool["capabilities"] = {
                **CAPABILITIES, "driver_version": "1", "total_capacity_gb": "unknown",
                "free_capacity_gb": "unknown", "reserved_percentage": 0, "multiattach": True, "QoS_support": False, "timestamp": time(self._service.now_us()),
            }  # fmt: skip
        return Answer(body={"pools": [pool] if name in (None, HOST) else []})

    async def extensions(self, call: Call) -> Answer:
        """Extensions are part of the API."""
        call.check_read()
        found = [
            {"alias": alias, "name": name, "description": name, "links": [], "updated": "2026-11-23T00:00:00+00:00"} for alias, name in EXTENSIONS.items()
        ]  # fmt: skip
        return Answer(body={"extensions": found})

    async def resource_filters(self, call: Call) -> Answer:
        """What lists can be filtered by."""
        since(call, 33)
        call.check_read()
        asked = call.first("resource")
        return Answer(
            body={"resource_filters": [{"resource": name, "filters": names} for name, names in FILTERS.items() if asked in (None, name)]}
        )

    # -- messages -------------------------------------------------------------------------------------------------

    async def messages(self, call: Call) -> Answer:
        """What became of the project's requests."""
        since(call, 3)
        call.check_read()
        conditions = [*listing.seen(call, MESSAGES), *listing.filters(call, LISTED)]

        def work(connection: Connection) -> View:
            found = listing.page(connection, call, LISTED, conditions, most=self._service.settings.page_limit)
            return listing.answer(call, LISTED, found, [_message(call, row) for row in found.rows], links=has(call, 5))

        return Answer(body=await self._service.read(work))

    async def message(self, call: Call) -> Answer:
        """One."""
        since(call, 3)
        call.check_read()
        row = await self._service.read(lambda connection: _own(connection, call))
        return Answer(body={"message": _message(call, row)})

    async def remove_message(self, call: Call) -> Answer:
        """It was read."""
        since(call, 3)
        call.check_write()

        def work(connection: Connection) -> None:
            connection.execute(delete(MESSAGES).where(MESSAGES.c.id == _own(connection, call).id))

        await self._service.write(work)
        return Answer(204)


def _totals(table: Table) -> Any:
    return (
        select(table.c.project, func.count(), func.coalesce(func.sum(table.c.size_gb), 0))
        .group_by(table.c.project)
        .order_by(table.c.project)
    )


def _missing(what: str) -> Handler:
    async def refuse(call: Call) -> Answer:
        call.check_read()
        raise not_built(what)

    return refuse


def _own(connection: Connection, call: Call) -> Row:
    row = records.find(connection, MESSAGES, call.parameters["message_id"])
    if row is None or not (call.is_admin or row.project == call.project):
        raise not_found(f"Message {call.parameters['message_id'][:64]} could not be found.")
    return row


def _message(call: Call, row: Row) -> View:
    return {
        "id": row.id, "event_id": f"VOLUME_{row.event.upper()}", "user_message": row.text, "message_level": "ERROR", "created_at": time(row.created_us),
        "guaranteed_until": time(row.expires_us), "request_id": row.request_id, "links": links(call, "messages", row.id),
        "resource_type": row.resource_type, "resource_uuid": row.resource,
    }  # fmt: skip
