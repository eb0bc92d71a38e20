"""How servers and what belongs to them are shown, by microversion.  Pure."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from objstore.services.calls.comparing import time_text
from objstore.services.calls.microversions import Version
from objstore.services.compute.desks import Port
from objstore.services.compute.records import Disk, Server
from objstore.services.compute.states import DELETED, status_of
from objstore.services.compute.views import View, links, time_of

_WITH_PROGRESS = ("ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING")
_WITH_FAULT = ("ERROR", "DELETED")


@dataclass(frozen=True)
class Around:
    """What is shown with servers and comes from elsewhere."""

    url: str
    version: Version
    is_admin: bool
    addresses: Mapping[str, Mapping[str, list[View]]] = field(default_factory=dict)  # server -> network's label -> addresses
    groups: Mapping[str, Sequence[str]] = field(default_factory=dict)  # server -> names of security groups
    zones: Mapping[str, str] = field(default_factory=dict)  # host -> availability zone
    alive: Mapping[str, bool] = field(default_factory=dict)  # host -> whether it was heard of


def host_id(server: Server) -> str:
    """A name of its host that other projects cannot compare."""
    return hashlib.sha224((server.project + server.host).encode()).hexdigest() if server.host else ""


def brief_view(server: Server, around: Around) -> View:
    """A server in a list without details."""
    return {"id": server.id, "name": server.name, "links": links(around.url, "servers", server.id)}


def _basic(server: Server, around: Around) -> View:
    status = status_of(server.vm_state, server.task_state)
    view: View = {
        "id": server.id, "name": server.name, "status": status, "tenant_id": server.project, "user_id": server.user_id,
        "metadata": dict(server.metadata), "hostId": host_id(server), "image": _image(server, around.url), "flavor": _flavor(server, around),
        "created": time_text(server.created_us), "updated": time_text(server.updated_us),
        "addresses": _addresses(server, around), "accessIPv4": server.access_v4, "accessIPv6": server.access_v6,
        "links": links(around.url, "servers", server.id), "OS-DCF:diskConfig": server.disk_config,
    }  # fmt: skip
    if status in _WITH_PROGRESS:
        view["progress"] = server.progress
    if status in _WITH_FAULT and server.fault is not None:
        view["fault"] = _fault(server.fault, is_admin=around.is_admin)
    return view


def _image(server: Server, url: str) -> Any:
    return {"id": server.image, "links": links(url, "images", server.image)[1:]} if server.image else ""


def _flavor(server: Server, around: Around) -> View:
    flavor = server.as_flavor
    if around.version < (2, 47):
        return {"id": flavor.id, "links": links(around.url, "flavors", flavor.id)[1:]}
    return {
        "vcpus": flavor.vcpus, "ram": flavor.memory_mb, "disk": flavor.root_gb, "ephemeral": flavor.ephemeral_gb, "swap": flavor.swap_mb,
        "original_name": flavor.name, "extra_specs": dict(flavor.extra_specs),
    }  # fmt: skip


def _addresses(server: Server, around: Around) -> View:
    return {label: list(found) for label, found in around.addresses.get(server.id, {}).items()}


def _fault(row: Any, *, is_admin: bool) -> View:
    view: View = {"code": row.code, "created": time_text(row.created_us), "message": row.message}
    if is_admin and row.details:
        view["details"] = row.details
    return view


def server_view(server: Server, around: Around, *, in_list: bool = False) -> View:
    """A server as it is shown alone, or in a list with details."""
    version = around.version
    view = _basic(server, around)
    view |= {
        "key_name": server.key_name or None, "config_drive": "True" if server.config_drive else "",
        "OS-EXT-AZ:availability_zone": around.zones.get(server.host, "") if server.host else "",
        "OS-SRV-USG:launched_at": time_of(server.launched_us), "OS-SRV-USG:terminated_at": time_of(server.terminated_us),
        "OS-EXT-STS:task_state": server.task_state or None, "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [_attached(disk, version) for disk in server.disks if disk.is_volume and disk.api_volume],
    }  # fmt: skip
    groups = around.groups.get(server.id, ())
    if groups:
        view["security_groups"] = [{"name": name} for name in groups]
    if around.is_admin:
        view |= _for_admins(server, around)
    if version >= (2, 9):
        view["locked"] = bool(server.locked_by)
    if version >= (2, 19):
        view["description"] = server.description
    if version >= (2, 26):
        view["tags"] = list(server.tags)
    if version >= (2, 63):
        view["trusted_image_certificates"] = None
    if version >= (2, 71) and not in_list:
        view["server_groups"] = [server.group_id] if server.group_id else []
    if version >= (2, 73):
        view["locked_reason"] = server.locked_reason or None
    if version >= (2, 90):
        view["OS-EXT-SRV-ATTR:hostname"] = server.hostname
    if version >= (2, 96):
        view["pinned_availability_zone"] = server.zone or None
    return view


def _attached(disk: Disk, version: Version) -> View:
    view: View = {"id": disk.api_volume}
    if version >= (2, 3):
        view["delete_on_termination"] = bool(disk.delete_on_termination)
    return view


def _for_admins(server: Server, around: Around) -> View:
    view: View = {
        "OS-EXT-SRV-ATTR:host": server.host or None, "OS-EXT-SRV-ATTR:hypervisor_hostname": server.host or None,
        "OS-EXT-SRV-ATTR:instance_name": f"instance-{server.id[:8]}",
    }  # fmt: skip
    if around.version >= (2, 3):
        properties = server.properties
        view |= {
            "OS-EXT-SRV-ATTR:reservation_id": server.reservation, "OS-EXT-SRV-ATTR:launch_index": server.launch_index,
            "OS-EXT-SRV-ATTR:hostname": server.hostname, "OS-EXT-SRV-ATTR:kernel_id": properties.get("kernel_id", ""),
            "OS-EXT-SRV-ATTR:ramdisk_id": properties.get("ramdisk_id", ""), "OS-EXT-SRV-ATTR:root_device_name": f"/dev/{server.root_device}",
            "OS-EXT-SRV-ATTR:user_data": server.user_data or None,
        }  # fmt: skip
    if around.version >= (2, 16):
        view["host_status"] = "" if not server.host else "UP" if around.alive.get(server.host) else "DOWN"
    return view


def updated_view(server: Server, around: Around) -> View:
    """A server as the answer to a change of it."""
    version = around.version
    if version >= (2, 75):
        return server_view(server, around)
    view = _basic(server, around)
    view["addresses"] = plain_addresses(around.addresses.get(server.id, {}))
    if version >= (2, 9):
        view["locked"] = bool(server.locked_by)
    if version >= (2, 19):
        view["description"] = server.description
    if version >= (2, 26):
        view["tags"] = list(server.tags)
    if version >= (2, 63):
        view["trusted_image_certificates"] = None
    if version >= (2, 71):
        view["server_groups"] = [server.group_id] if server.group_id else []
    if version >= (2, 73):
        view["locked_reason"] = server.locked_reason or None
    return view


def rebuilt_view(server: Server, around: Around, password: str) -> View:
    """A server as the answer to a rebuild."""
    view = updated_view(server, around)
    view["adminPass"] = password
    if around.version >= (2, 54):
        view["key_name"] = server.key_name or None
    if around.version >= (2, 57):
        view["user_data"] = server.user_data or None
    if around.version >= (2, 75):
        view.pop("OS-EXT-SRV-ATTR:user_data", None)
    return view


def made_view(server: Server, around: Around, password: str, groups: Sequence[str]) -> View:
    """A server as the answer to the request that made it."""
    return {
        "id": server.id, "links": links(around.url, "servers", server.id), "OS-DCF:diskConfig": server.disk_config,
        "security_groups": [{"name": name} for name in groups], "adminPass": password,
    }  # fmt: skip


def addresses_of(ports: Sequence[Port]) -> dict[str, list[View]]:
    """Network's label -> addresses, of a server's ports (network/desk.py: PortView)."""
    found: dict[str, list[View]] = {}
    for port in ports:
        shown = found.setdefault(port.network_name or port.network_id, [])
        for _, address, version in port.addresses:
            shown.append({"version": version, "addr": address, "OS-EXT-IPS:type": "fixed", "OS-EXT-IPS-MAC:mac_addr": port.mac})
            shown += [
                {"version": 4, "addr": outside, "OS-EXT-IPS:type": "floating", "OS-EXT-IPS-MAC:mac_addr": port.mac}
                for inside, outside in port.floating
                if inside == address
            ]
    return found


def plain_addresses(found: Mapping[str, list[View]]) -> View:
    """Addresses without what extensions tell of them."""
    return {label: [{"version": one["version"], "addr": one["addr"]} for one in shown] for label, shown in found.items()}


def attachment_view(disk: Disk, version: Version, *, made: bool = False) -> View:
    """A volume of a server; `made` for the answer to the request that attached it."""
    view: View = {"id": disk.api_volume, "volumeId": disk.api_volume, "serverId": disk.server, "device": f"/dev/{disk.device}"}
    if version >= (2, 70):
        view["tag"] = disk.tag or None
    if version >= (2, 79):
        view["delete_on_termination"] = bool(disk.delete_on_termination)
    if version >= (2, 89) and not made:
        del view["id"]
        view["attachment_id"] = disk.attachment or None
        view["bdm_uuid"] = disk.id
    return view


def action_view(row: Any, version: Version) -> View:
    """Something that was done to a server."""
    view: View = {
        "action": row.action, "instance_uuid": row.server, "request_id": row.request_id, "user_id": row.user_id, "project_id": row.project,
        "start_time": time_of(row.started_us), "message": row.message or None,
    }  # fmt: skip
    if version >= (2, 58):
        view["updated_at"] = time_of(row.updated_us)
    return view


def event_view(row: Any, server: Server, version: Version, *, is_admin: bool) -> View:
    """A step of that."""
    view: View = {
        "event": row.name,
        "start_time": time_of(row.started_us),
        "finish_time": time_of(row.finished_us),
        "result": row.result or None,
    }
    if is_admin:
        view["traceback"] = row.details or None
    if version >= (2, 62):
        view["hostId"] = host_id(server) if server.vm_state != DELETED else ""
        if is_admin:
            view["host"] = row.host or None
    if version >= (2, 84):
        view["details"] = row.details or None
    return view
