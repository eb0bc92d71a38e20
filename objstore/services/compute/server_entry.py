"""The document that asks for new servers, checked as far as it says everything itself.  Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from objstore.services.calls.call import parse_json
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import CallRefused, bad_request, forbidden
from objstore.services.compute import fields
from objstore.services.compute.fields import Check, only, parsed, wrong

MAX_COUNT = 100  # servers of one request
MAX_DISKS = 26
MAX_NICS = 16
MAX_GB = 2**20
MAX_HINTS_BYTES = 16 * 1024  # which are kept with each of the servers
FIRST: Version = (2, 1)
GONE = "This cloud does not do that: "


@dataclass(frozen=True)
class WantedDisk:
    """A disk as it was asked for."""

    source: str
    destination: str
    id: str = ""  # of the image, volume or snapshot
    size_gb: int = 0
    boot_index: int = -1
    device: str = ""
    bus: str = ""
    delete_on_termination: bool = False
    tag: str = ""
    volume_type: str = ""
    swap: bool = False


@dataclass(frozen=True)
class WantedNic:
    """A network card as it was asked for: a network or a port."""

    network: str = ""
    port: str = ""
    fixed_ip: str = ""
    tag: str = ""


@dataclass(frozen=True)
class NewServer:
    """What was asked for."""

    name: str
    flavor: str
    image: str = ""
    disks: Sequence[WantedDisk] = ()
    nics: Sequence[WantedNic] | None = None  # None: whatever network there is
    no_network: bool = False
    auto_network: bool = False
    security_groups: Sequence[str] = ()
    key_name: str = ""
    user_data: str = ""
    config_drive: bool = False
    metadata: Mapping[str, str] = field(default_factory=dict)
    tags: Sequence[str] = ()
    description: str | None = None
    zone: str = ""
    host: str = ""
    admin_pass: str = ""
    access_v4: str = ""
    access_v6: str = ""
    disk_config: str = "MANUAL"
    hostname: str = ""
    least: int = 1
    most: int = 1
    reservation_wanted: bool = False
    hints: Mapping[str, Any] = field(default_factory=dict)


def _anything(_: str, value: Any) -> Any:
    return value


def _flavor(name: str, value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or not 1 <= len(str(value)) <= fields.MAX_NAME_CHARS:
        raise wrong(name, value, "It is not the id of a flavor")
    return str(value).rsplit("/", 1)[-1]


def image_ref(name: str, value: Any) -> str:
    """An image's id, bare or at the end of its address; "" for none."""
    if value == "":
        return ""
    return fields.uuid(name, value.rsplit("/", 1)[-1] if isinstance(value, str) else value)


def _config_drive(name: str, value: Any) -> bool:
    return value is not None and fields.flag(name, value)


def _groups(name: str, value: Any) -> list[str]:
    if not isinstance(value, list):
        raise wrong(name, value, "It is not of type 'array'")
    check = fields.text(fields.MAX_NAME_CHARS, 1)
    return list(dict.fromkeys(check("name", only(item, ("name",), name).get("name", "default")) for item in value))


def _personality(name: str, value: Any) -> None:
    if value:
        raise bad_request(f"{GONE}files are not put into guests (personality); use user_data, metadata or a config drive.")


def _certificates(name: str, value: Any) -> None:
    if value:
        raise bad_request(f"{GONE}image signatures are not checked, so {name} cannot be honoured.")


_NULL_TEXT: Check = fields.nullable(fields.text())
_SERVER: dict[str, tuple[Version, Check]] = {
    "name": (FIRST, fields.server_name), "imageRef": (FIRST, image_ref), "flavorRef": (FIRST, _flavor),
    "adminPass": (FIRST, fields.text()), "metadata": (FIRST, fields.metadata), "networks": (FIRST, _anything),
    "OS-DCF:diskConfig": (FIRST, fields.one_of("AUTO", "MANUAL")), "accessIPv4": (FIRST, fields.address(4)),
    "accessIPv6": (FIRST, fields.address(6)), "personality": (FIRST, _personality), "availability_zone": (FIRST, fields.text(255, 1)),
    "block_device_mapping": (FIRST, _anything), "block_device_mapping_v2": (FIRST, _anything), "config_drive": (FIRST, _config_drive),
    "key_name": (FIRST, fields.text(255, 1)), "min_count": (FIRST, fields.integer(1)), "max_count": (FIRST, fields.integer(1)),
    "return_reservation_id": (FIRST, fields.flag), "security_groups": (FIRST, _groups), "user_data": (FIRST, fields.user_data),
    "description": ((2, 19), _NULL_TEXT), "tags": ((2, 52), fields.tags), "trusted_image_certificates": ((2, 63), _certificates),
    "host": ((2, 74), fields.text(255, 1)), "hypervisor_hostname": ((2, 74), fields.text(255, 1)), "hostname": ((2, 90), fields.host_name),
}  # fmt: skip
_HINTS = ("os:scheduler_hints", "OS-SCH-HNT:scheduler_hints")


def parse_new(document: Mapping[str, Any], version: Version, *, is_admin: bool) -> NewServer:
    """The whole document of a request.  Raises 400, 403."""
    only(document, ("server", *_HINTS))
    given = fields.member(document, "server")
    found = parsed(given, _SERVER, version, "server")
    for name in ("name", "flavorRef"):
        if name not in found:
            raise bad_request(f"Invalid input for field/attribute server. '{name}' is a required property")
    if "personality" in found and version >= (2, 57):
        raise bad_request("Invalid input for field/attribute server. Additional properties are not allowed ('personality' was unexpected)")
    least = found.get("min_count", 1)
    most = found.get("max_count", least)
    if least > most:
        raise bad_request("min_count must be <= max_count")
    if most > MAX_COUNT:
        raise forbidden(f"A request makes {MAX_COUNT} servers at most.")
    zone, host = _where(found, is_admin=is_admin)
    nics, no_network, auto = _networks(found.get("networks"), version, given="networks" in found)
    hints: Any = next((document[name] for name in _HINTS if document.get(name) is not None), {})
    image = found.get("imageRef", "")
    disks = _disks(found, image, version)
    if most > 1 and any(disk.source == "volume" for disk in disks):
        raise bad_request("Cannot attach one or more volumes to multiple instances")
    if most > 1 and any(nic.port or nic.fixed_ip for nic in nics or ()):
        raise bad_request("Unable to launch multiple instances with a single configured port ID or fixed IP.")
    return NewServer(
        name=found["name"], flavor=found["flavorRef"], image=image, disks=disks, nics=nics, no_network=no_network, auto_network=auto,
        security_groups=found.get("security_groups", ()), key_name=found.get("key_name", ""), user_data=found.get("user_data", ""),
        config_drive=found.get("config_drive", False), metadata=found.get("metadata", {}), tags=found.get("tags", ()),
        description=found.get("description"), zone=zone, host=host, admin_pass=found.get("adminPass", ""), access_v4=found.get("accessIPv4", ""),
        access_v6=found.get("accessIPv6", ""), disk_config=found.get("OS-DCF:diskConfig", "MANUAL"), hostname=found.get("hostname", ""), least=least,
        most=most, reservation_wanted=found.get("return_reservation_id", False), hints=_hints(hints),
    )  # fmt: skip


def _where(found: Mapping[str, Any], *, is_admin: bool) -> tuple[str, str]:
    zone, _, host = found.get("availability_zone", "").partition(":")
    host = host.partition(":")[0]
    named = found.get("host") or found.get("hypervisor_hostname") or ""
    if (host or named) and not is_admin:
        raise forbidden("Policy doesn't allow os_compute_api:servers:create:forced_host to be performed.")
    if host and named:
        raise bad_request("A host is named twice: in the availability zone and for itself.")
    if found.get("host") and found.get("hypervisor_hostname") not in (None, found.get("host")):
        raise bad_request("host and hypervisor_hostname are the same here, and differ.")
    return zone, host or named


def _networks(value: Any, version: Version, *, given: bool) -> tuple[Sequence[WantedNic] | None, bool, bool]:
    """(cards; None for whatever there is, none wanted, made if need be)"""
    if not given or value is None:
        if version >= (2, 37):
            raise bad_request("Invalid input for field/attribute server. 'networks' is a required property")
        return None, False, False
    if value in ("auto", "none") and version >= (2, 37):
        return (None, False, True) if value == "auto" else ((), True, False)
    if not isinstance(value, list) or len(value) > MAX_NICS:
        raise wrong("networks", value, f"It is not a list of at most {MAX_NICS} networks")
    known = ("uuid", "port", "fixed_ip", *(("tag",) if version == (2, 32) or version >= (2, 42) else ()))
    found: list[WantedNic] = []
    for item in value:
        only(item, known, "networks")
        nic = WantedNic(
            fields.uuid("uuid", item["uuid"]) if item.get("uuid") is not None else "",
            fields.uuid("port", item["port"]) if item.get("port") is not None else "",
            fields.any_address("fixed_ip", item["fixed_ip"]) if item.get("fixed_ip") is not None else "",
            fields.tag("tag", item["tag"]) if "tag" in item else "",
        )
        if not nic.network and not nic.port:
            raise bad_request("Bad network format: missing 'uuid'")
        if nic.port and nic.fixed_ip:
            raise bad_request(
                f"Specified Fixed IP '{nic.fixed_ip}' cannot be used with port '{nic.port}': the two cannot be specified together."
            )
        if nic.port and any(other.port == nic.port for other in found):
            raise bad_request(f"Port {nic.port} is given twice.")
        found.append(WantedNic(port=nic.port, tag=nic.tag) if nic.port else nic)
    return (found if found else None), False, False


def _disks(found: Mapping[str, Any], image: str, version: Version) -> list[WantedDisk]:
    old, new = found.get("block_device_mapping"), found.get("block_device_mapping_v2")
    if old and new:
        raise bad_request("Using different block_device_mapping syntaxes is not allowed in the same request.")
    given = old or new or []
    if not isinstance(given, list) or len(given) > MAX_DISKS:
        raise wrong("block_device_mapping", given, f"It is not a list of at most {MAX_DISKS} disks")
    disks = [disk for item in given if (disk := _old_disk(item, image) if old else _disk(item, version)) is not None]
    if image and not any(disk.boot_index == 0 for disk in disks):
        disks.insert(0, WantedDisk("image", "local", image, boot_index=0, delete_on_termination=True))
    _check_disks(disks, image)
    return disks


def _check_disks(disks: Sequence[WantedDisk], image: str) -> None:
    boots = sorted(disk.boot_index for disk in disks if disk.boot_index >= 0)
    if 0 not in boots:
        raise bad_request(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid."
            if disks
            else "Invalid imageRef provided."
        )
    if len(set(boots)) != len(boots) or boots != list(range(len(boots))):
        raise bad_request(
            "Block Device Mapping is Invalid: Boot sequence for the instance and image/block device mapping combination is not valid."
        )
    first = next(disk for disk in disks if disk.boot_index == 0)
    if image and first.source == "image" and first.id != image:
        raise bad_request("Block Device Mapping is Invalid: the image of the root disk is not the server's.")
    check_sources(disks)


def check_sources(disks: Sequence[WantedDisk]) -> None:
    """Whether disks can be made of what they name, whoever names it.  Raises 400."""
    volumes = [disk.id for disk in disks if disk.source == "volume"]
    if len(set(volumes)) != len(volumes):
        raise bad_request("Block Device Mapping is Invalid: a volume is given twice.")
    devices = [disk.device for disk in disks if disk.device]
    if len(set(devices)) != len(devices):
        raise bad_request("Block Device Mapping is Invalid: The device name is given twice.")
    for disk in disks:
        if disk.destination == "local" and disk.source in ("volume", "snapshot"):
            raise bad_request("Block Device Mapping is Invalid: Mapping volume to local is not supported.")
        if disk.source == "blank" and disk.boot_index >= 0:
            raise bad_request("Block Device Mapping is Invalid: a blank disk cannot be booted from.")
        if disk.source in ("image", "blank") and disk.destination == "volume" and disk.size_gb < 1:
            raise bad_request(
                "Block Device Mapping is Invalid: Images with destination_type 'volume' need to have a non-zero size specified"
            )
        if disk.source == "image" and disk.destination == "local" and disk.boot_index != 0:
            raise bad_request("Block Device Mapping is Invalid: Mapping image to local is not supported.")


_DISK: dict[str, tuple[Version, Check]] = {
    "source_type": (FIRST, fields.one_of("volume", "image", "snapshot", "blank")), "destination_type": (FIRST, fields.one_of("local", "volume")),
    "uuid": (FIRST, fields.nullable(fields.uuid)), "volume_size": (FIRST, fields.nullable(fields.integer(1, MAX_GB))),
    "boot_index": (FIRST, fields.nullable(fields.integer(-(2**15), 2**15))), "device_name": (FIRST, fields.device),
    "delete_on_termination": (FIRST, fields.flag), "disk_bus": (FIRST, _NULL_TEXT), "device_type": (FIRST, _NULL_TEXT),
    "guest_format": (FIRST, _NULL_TEXT), "no_device": (FIRST, _anything), "virtual_name": (FIRST, _NULL_TEXT),
    "volume_id": (FIRST, fields.nullable(fields.uuid)), "snapshot_id": (FIRST, fields.nullable(fields.uuid)), "tag": ((2, 32), fields.tag),
    "volume_type": ((2, 67), fields.nullable(fields.text(255))),
}  # fmt: skip
BUSES = ("virtio", "scsi", "ide", "usb", "sata")
DEVICE_TYPES = ("disk",)


def _disk(item: Any, version: Version) -> WantedDisk | None:
    given = parsed(item, _DISK, version, "block_device_mapping_v2")
    if "tag" in given and (2, 32) < version < (2, 42):
        raise bad_request(
            "Invalid input for field/attribute block_device_mapping_v2. Additional properties are not allowed ('tag' was unexpected)"
        )
    if given.get("no_device") not in (None, False, ""):
        return None
    source = given.get("source_type")
    if source is None:
        raise bad_request("Invalid input for field/attribute block_device_mapping_v2. 'source_type' is a required property")
    destination = given.get("destination_type") or ("local" if source == "blank" else "volume")
    uuid = given.get("uuid") or ""
    if (source == "blank") == bool(uuid):
        raise bad_request(
            "Block Device Mapping is Invalid: Missing device UUID." if not uuid else "Block Device Mapping is Invalid: Invalid device UUID."
        )
    if given.get("disk_bus") not in (None, "", *BUSES):
        raise _unbuilt("disk_bus", given["disk_bus"])
    if given.get("device_type") not in (None, "", *DEVICE_TYPES):
        raise _unbuilt("device_type", given["device_type"])
    index = given.get("boot_index")
    return WantedDisk(
        source, destination, uuid, given.get("volume_size") or 0, -1 if index is None or index < 0 else index, given.get("device_name", ""),
        given.get("disk_bus") or "", given.get("delete_on_termination", destination == "local"), given.get("tag", ""),
        given.get("volume_type") or "", given.get("guest_format") == "swap",
    )  # fmt: skip


_MAPPED = (
    "source_type",
    "destination_type",
    "snapshot_id",
    "volume_id",
    "image_id",
    "volume_size",
    "boot_index",
    "device_name",
    "delete_on_termination",
)


def disks_of_image(text: str) -> list[WantedDisk]:
    """The disks that an image's property block_device_mapping names: of snapshots, of volumes, blank ones.  Raises 400.

    Another image is never among them: who may read it is asked of what a client names, and this is the word of whoever wrote the property.
    """
    try:
        given = parse_json(text.encode())
    except CallRefused:
        given = None
    if not isinstance(given, list) or len(given) > MAX_DISKS or not all(isinstance(item, dict) for item in given):
        raise bad_request("Block Device Mapping is Invalid: the image's property block_device_mapping is no list of disks.")
    found: list[WantedDisk] = []
    for item in given:
        known = {name: item[name] for name in _MAPPED if item.get(name) is not None}
        ids = [known.pop(name) for name in ("snapshot_id", "volume_id", "image_id") if name in known]
        disk = _disk({**known, **({"uuid": ids[0]} if ids else {})}, FIRST)
        assert disk is not None
        if disk.source == "image":
            raise bad_request("Block Device Mapping is Invalid: the image's property block_device_mapping names an image.")
        found.append(disk)
    return found


def _unbuilt(name: str, value: str) -> CallRefused:
    return bad_request(f"Block Device Mapping is Invalid: {GONE}{name} {value[:32]!r}.")


def _old_disk(item: Any, image: str) -> WantedDisk | None:
    given = parsed(item, {name: check for name, check in _DISK.items() if check[0] == FIRST}, FIRST, "block_device_mapping")
    if given.get("no_device") not in (None, False, ""):
        return None
    volume, snapshot = given.get("volume_id") or "", given.get("snapshot_id") or ""
    if bool(volume) == bool(snapshot):
        raise bad_request("Block Device Mapping is Invalid: one of volume_id and snapshot_id is needed.")
    device = given.get("device_name", "")
    root = not image and device in ("vda", "sda", "hda", "xvda", "")
    return WantedDisk(
        "volume" if volume else "snapshot", "volume", volume or snapshot, given.get("volume_size") or 0, 0 if root else -1, device,
        delete_on_termination=given.get("delete_on_termination", False),
    )  # fmt: skip


_HINT_LISTS = ("different_host", "same_host")


def _hints(given: Any) -> dict[str, Any]:
    """Hints that the scheduler honours; others are kept and mean nothing, as in Nova."""
    if not isinstance(given, dict) or len(given) > 32:
        raise wrong("os:scheduler_hints", given, "It is not of type 'object'")
    if len(msgspec.json.encode(given)) > MAX_HINTS_BYTES:
        raise wrong("os:scheduler_hints", "", f"They have {MAX_HINTS_BYTES} bytes at most")
    found = dict(given)
    if "group" in found:
        found["group"] = fields.uuid("group", found["group"])
    for name in _HINT_LISTS:
        if name in found:
            items = found[name] if isinstance(found[name], list) else [found[name]]
            found[name] = [fields.uuid(name, item) for item in items]
    return found
