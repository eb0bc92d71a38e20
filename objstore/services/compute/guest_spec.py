"""A server as its host's agent is told of it.  Pure."""

from collections.abc import Mapping
from typing import Any

from objstore.services.compute.agent_api import Disk, Nic, ServerSpec
from objstore.services.compute.desks import Flavor
from objstore.services.compute.records import ATTACHING, READY, Server
from objstore.services.compute.records import Disk as DiskRecord
from objstore.services.compute.records import Nic as NicRecord

_MACHINES = ("pc", "q35")
_MODELS = ("virtio", "e1000", "e1000e", "rtl8139", "ne2k_pci", "pcnet", "vmxnet3")


def disk_of(disk: DiskRecord) -> Disk:
    """A disk as the guest sees it."""
    return Disk(disk.volume, disk.device, disk.boot_index, disk.bus, disk.api_volume or disk.id, bool(disk.read_only))


def nic_of(server: Server, nic: NicRecord) -> Nic:
    """A network card as the guest sees it."""
    model = server.properties.get("hw_vif_model", "virtio")
    return Nic(nic.port, nic.mac, nic.network, model if model in _MODELS else "virtio", nic.tag)


def spec_of(
    server: Server, *, zone: str, network_data: Mapping[str, object], flavor: Flavor | None = None, password: str = ""
) -> ServerSpec:
    """The whole guest."""
    properties = server.properties
    size = flavor or server.as_flavor
    machine = properties.get("hw_machine_type", "")
    return ServerSpec(
        id=server.id, name=server.name, project=server.project, vcpus=size.vcpus, memory_mb=size.memory_mb,
        disks=tuple(disk_of(disk) for disk in server.disks if disk.volume and disk.state in (READY, ATTACHING)),
        nics=tuple(nic_of(server, nic) for nic in server.nics if nic.port and nic.mac and nic.state in (READY, ATTACHING)),
        machine=machine if machine in _MACHINES else "", firmware="uefi" if properties.get("hw_firmware_type") == "uefi" else "bios",
        config_drive=bool(server.config_drive) or properties.get("img_config_drive") == "mandatory", metadata=metadata_of(server, zone, password),
        user_data=server.user_data, network_data=dict(network_data), kernel=properties.get("kernel_id", ""), ramdisk=properties.get("ramdisk_id", ""),
    )  # fmt: skip


def metadata_of(server: Server, zone: str, password: str = "") -> dict[str, object]:
    """openstack/latest/meta_data.json."""
    found: dict[str, Any] = {
        "uuid": server.id, "name": server.name, "hostname": server.hostname, "launch_index": server.launch_index, "availability_zone": zone,
        "project_id": server.project, "meta": dict(server.metadata), "devices": _devices(server), "dedicated_cpus": [],
    }  # fmt: skip
    key = server.key
    if key is not None:
        found["public_keys"] = {key.name: key.data}
        found["keys"] = [{"name": key.name, "type": key.type, "data": key.data}]
    if password:
        found["admin_pass"] = password
    return found


def _devices(server: Server) -> list[dict[str, Any]]:
    """Disks and cards that have tags, which is how guests tell them apart."""
    disks = [
        {"type": "disk", "bus": disk.bus, "serial": disk.api_volume or disk.id, "tags": [disk.tag]} for disk in server.disks if disk.tag
    ]
    nics = [{"type": "nic", "bus": "pci", "mac": nic.mac, "tags": [nic.tag]} for nic in server.nics if nic.tag and nic.mac]
    return [*disks, *nics]
