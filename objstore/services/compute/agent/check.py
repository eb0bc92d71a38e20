"""Which guests can be: everything that is sent to an agent is looked at here before it comes near a file name or a command line.  Pure."""

import base64
import binascii
import re

import msgspec

from objstore.errors import InvalidArgument
from objstore.services.compute.agent_api import Disk, Nic, ServerSpec

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_HEX_ID = re.compile(r"[0-9a-f]{32}")
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_DEVICE = re.compile(r"[a-z]{2,4}")
_SERIAL = re.compile(r"[A-Za-z0-9_.-]{0,36}")
_WORD = re.compile(r"[A-Za-z0-9_.:-]{1,64}")
MACHINES = ("", "q35", "pc")
FIRMWARES = ("", "bios", "uefi")
BUSES = ("virtio", "scsi", "ide")
NIC_MODELS = {"virtio": "virtio-net-pci", "e1000": "e1000", "e1000e": "e1000e", "rtl8139": "rtl8139", "ne2k_pci": "ne2k_pci"}
VCPUS_LIMIT = 255
MEMORY_LIMIT_MB = 4 * 1024 * 1024
DEVICES_LIMIT = 24  # disks and network cards of one guest: as many as there are slots to plug them into
IDE_LIMIT = 2  # the other two places are for CD-ROMs
NAME_LIMIT = 255
USER_DATA_LIMIT_BYTES = 65535
DOCUMENT_LIMIT_BYTES = 1024 * 1024


def check_server_id(server: str) -> str:
    """The id.  Raises InvalidArgument."""
    if _UUID.fullmatch(server) is None:
        raise InvalidArgument(f"{server[:64]!r} is no server's id: it is a UUID in small letters")
    return server


def check_volume_id(volume: str) -> str:
    """The id.  Raises InvalidArgument."""
    if _HEX_ID.fullmatch(volume) is None:
        raise InvalidArgument(f"{volume[:64]!r} is no volume's id: it has 32 hexadecimal digits")
    return volume


def check_spec(spec: ServerSpec) -> None:
    """Raises InvalidArgument for what cannot be a guest."""
    check_server_id(spec.id)
    _check("name", len(spec.name) <= NAME_LIMIT and spec.name.isprintable(), f"of at most {NAME_LIMIT} printable characters")
    _check("vcpus", 1 <= spec.vcpus <= VCPUS_LIMIT, f"1 to {VCPUS_LIMIT}")
    _check("memory_mb", 1 <= spec.memory_mb <= MEMORY_LIMIT_MB, f"1 to {MEMORY_LIMIT_MB}")
    _check("machine", spec.machine in MACHINES, "q35 or pc")
    _check("firmware", spec.firmware in FIRMWARES, "bios or uefi")
    if spec.kernel or spec.ramdisk:
        raise InvalidArgument("a kernel and a ramdisk from images of their own are not supported; boot from a disk that has them")
    check_user_data(spec.user_data)
    for document in (spec.metadata, spec.network_data):
        _check("metadata", len(msgspec.json.encode(document)) <= DOCUMENT_LIMIT_BYTES, "a document of 1 MiB at most")
    _check("disks and nics", len(spec.disks) + len(spec.nics) <= DEVICES_LIMIT, f"at most {DEVICES_LIMIT} together")
    for disk in spec.disks:
        check_disk(disk)
    for nic in spec.nics:
        check_nic(nic)
    _check("disks", len({disk.volume for disk in spec.disks}) == len(spec.disks), "volumes that differ")
    _check("disks", len({disk.device for disk in spec.disks}) == len(spec.disks), "devices that differ")
    _check("nics", len({nic.port for nic in spec.nics}) == len(spec.nics), "ports that differ")
    ide = sum(disk.bus == "ide" for disk in spec.disks)
    _check("disks", ide <= IDE_LIMIT, f"{IDE_LIMIT} at most on an IDE bus")


def check_disk(disk: Disk) -> None:
    """Raises InvalidArgument."""
    check_volume_id(disk.volume)
    _check("device", _DEVICE.fullmatch(disk.device) is not None, 'a name such as "vda"')
    _check("bus", disk.bus in BUSES, f"one of {', '.join(BUSES)}")
    _check("serial", _SERIAL.fullmatch(disk.serial) is not None, "at most 36 letters, digits, dots, hyphens and underscores")
    _check("boot_index", -1 <= disk.boot_index < 1000, "-1, for never, or 0 to 999")
    _check("bus", not (disk.bus == "ide" and disk.read_only), "another than ide for a disk that is read only")


def check_nic(nic: Nic) -> None:
    """Raises InvalidArgument."""
    _check("port", _WORD.fullmatch(nic.port) is not None, "an id")
    _check("mac", _MAC.fullmatch(nic.mac) is not None, "six pairs of hexadecimal digits")
    _check("model", nic.model in NIC_MODELS, f"one of {', '.join(NIC_MODELS)}")


def check_user_data(text: str) -> bytes:
    """The bytes behind the base64.  Raises InvalidArgument."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise InvalidArgument("user_data is not base64") from None
    _check("user_data", len(data) <= USER_DATA_LIMIT_BYTES, f"{USER_DATA_LIMIT_BYTES} bytes at most")
    return data


def _check(what: str, holds: bool, wanted: str) -> None:  # noqa: FBT001 the outcome of the check is what it is about
    if not holds:
        raise InvalidArgument(f"{what}: it must be {wanted}")
