"""How volumes, snapshots and attachments are shown, by microversion.  Pure."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from objstore.services.calls.call import Call
from objstore.services.volume.api.records import ATTACHED, DETACHING
from objstore.services.volume.api.versions import has

View = dict[str, Any]
Row = Any
HOST = "objstore@objects#objects"  # one backend, which is everywhere


def time(us: int) -> str | None:
    """2026-11-23T01:02:03.000000; None for never."""
    return datetime.fromtimestamp(us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f") if us else None


def links(call: Call, kind: str, id_: str) -> list[View]:
    """Where a thing is."""
    return [
        {"rel": "self", "href": f"{call.base_url}/v3/{call.project}/{kind}/{id_}"},
        {"rel": "bookmark", "href": f"{call.base_url}/{call.project}/{kind}/{id_}"},
    ]


def brief(call: Call, kind: str, row: Row) -> View:
    """A thing in a list without details."""
    return {"id": row.id, "name": row.name, "links": links(call, kind, row.id)}


def volume_view(
    call: Call, row: Row, *, metadata: Mapping[str, str], image: Mapping[str, str], attachments: Sequence[Row], type_name: str | None,
    whole: bool = True,
) -> View:  # fmt: skip
    """A volume; `whole`: with what is not told when it is made or changed."""
    attached = [one for one in attachments if one.status in (ATTACHED, DETACHING)]
    view: View = {
        "id": row.id, "status": row.status, "size": row.size_gb, "availability_zone": row.availability_zone, "created_at": time(row.created_us),
        "updated_at": time(row.updated_us), "name": row.name, "description": row.description, "volume_type": type_name,
        "snapshot_id": row.snapshot_id or None, "source_volid": row.source_volid or None, "metadata": dict(metadata), "links": links(call, "volumes", row.id),
        "user_id": row.user_id, "bootable": "true" if row.bootable else "false", "encrypted": False, "replication_status": None,
        "consistencygroup_id": None, "multiattach": bool(row.multiattach), "migration_status": row.migration_status or None,
        "attachments": [attached_view(one) for one in attached],
    }  # fmt: skip
    later: tuple[tuple[int, str, Any, bool], ...] = (
        (13, "group_id", None, False), (21, "provider_id", None, True), (48, "service_uuid", None, False), (48, "shared_targets", False, False),
        (61, "cluster_name", None, True), (63, "volume_type_id", row.volume_type or None, False), (65, "consumes_quota", True, False),
    )  # fmt: skip
    view |= {name: value for minor, name, value, admin in later if has(call, minor) and (call.is_admin or not admin)}
    if has(call, 69) and "shared_targets" in view:
        view["shared_targets"] = None
    if whole:
        view["os-vol-tenant-attr:tenant_id"] = row.project
        if image:
            view["volume_image_metadata"] = dict(image)
        if call.is_admin:
            view |= {
                "os-vol-host-attr:host": HOST, "os-vol-mig-status-attr:migstat": row.migration_status or None, "os-vol-mig-status-attr:name_id": None,
            }  # fmt: skip
    return view


def attached_view(row: Row) -> View:
    """An attachment inside its volume."""
    return {
        "id": row.volume, "attachment_id": row.id, "volume_id": row.volume, "server_id": row.server or None, "host_name": row.host or None,
        "device": row.device or None, "attached_at": time(row.attached_us),
    }  # fmt: skip


def attachment_view(call: Call, row: Row, *, detail: bool = True) -> View:
    """An attachment by itself."""
    view: View = {"id": row.id, "volume_id": row.volume, "instance": row.server or None, "status": row.status}
    if detail:
        connector = msgspec.json.decode(row.connector)
        view |= {
            "attach_mode": row.mode, "attached_at": time(row.attached_us) or "", "detached_at": "",
            "connection_info": _connection(row) if connector or row.owner else {},
        }  # fmt: skip
    return view


def _connection(row: Row) -> View:
    """What a host needs: the volume's id in the store, which its own process serves."""
    return {"driver_volume_type": "objstore", "volume_id": row.volume, "attachment_id": row.id, "access_mode": row.mode, "encrypted": False}


def snapshot_view(call: Call, row: Row, metadata: Mapping[str, str], *, whole: bool = True) -> View:
    """A snapshot."""
    view: View = {
        "id": row.id, "created_at": time(row.created_us), "updated_at": time(row.updated_us), "name": row.name, "description": row.description,
        "volume_id": row.volume, "status": row.status, "size": row.size_gb, "metadata": dict(metadata),
    }  # fmt: skip
    if whole:
        view |= {"os-extended-snapshot-attributes:progress": row.progress, "os-extended-snapshot-attributes:project_id": row.project}
    later = ((14, "group_snapshot_id", None), (41, "user_id", row.user_id), (65, "consumes_quota", True))
    return view | {name: value for minor, name, value in later if has(call, minor)}
