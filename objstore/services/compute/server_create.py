"""New servers: what was asked for is compared with flavors, images, volumes, networks and quotas, then written with the jobs that build it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import CallRefused, bad_request, forbidden
from objstore.services.compute import fields, records
from objstore.services.compute.context import Context
from objstore.services.compute.desks import Flavor, Key
from objstore.services.compute.records import WANTED, Disk, Nic, Server, json_text
from objstore.services.compute.server_entry import NewServer, WantedDisk, WantedNic, check_sources, disks_of_image, parse_new
from objstore.services.compute.server_views import Around, made_view
from objstore.services.compute.states import BUILDING, SCHEDULING
from objstore.services.image import records as images
from objstore.services.image.records import ACTIVE as IMAGE_ACTIVE
from objstore.services.image.records import Image
from objstore.services.image.rights import may_see
from objstore.services.network.desk import Requested

GIBIBYTE = 1024**3
BUILD = "build"
_PREFIX = {"": "vd", "virtio": "vd", "scsi": "sd", "sata": "sd", "usb": "sd", "ide": "hd"}
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
# What of an image's properties is kept with the server: what guests and hosts are chosen and made by.
_KEPT = ("hw_", "os_", "trait:", "kernel_id", "ramdisk_id", "img_", "architecture")
_MAX_PROPERTIES = 64


@dataclass(frozen=True)
class _Plan:
    """What was found of what was asked for."""

    wanted: NewServer
    flavor: Flavor
    image: Image | None
    properties: dict[str, str]
    disks: Sequence[WantedDisk]
    nics: Sequence[WantedNic]
    groups: Sequence[str]


async def create(context: Context, call: Call) -> Answer:
    """Begin to build servers."""
    call.check_write()
    if not call.project:
        raise bad_request("A server belongs to a project: use a token for one.")
    wanted = parse_new(await call.document(), call.version, is_admin=call.is_admin)
    plan = await _plan(context, call, wanted)
    reservation = f"r-{context.world.rng.token(4).hex()}"
    ids = [context.new_id() for _ in range(wanted.most)]
    password = wanted.admin_pass or context.world.rng.token(6).hex()
    now_us = context.now_us()

    def work(connection: Connection) -> list[Server]:
        key = _key(context, connection, call, wanted)
        count = _room(context, connection, call, plan)
        if len(wanted.metadata) > (limit := context.catalog.metadata_limit(connection, call.project)) >= 0:
            raise forbidden(f"Maximum number of metadata items exceeds {limit}")
        group = str(wanted.hints.get("group", ""))
        if group:
            context.catalog.check_group(connection, call.project, group, adding=count)
        made = [_server(context, call, plan, key, id_, number, count, reservation, now_us) for number, id_ in enumerate(ids[:count])]
        for server in made:
            records.add(connection, server)
            records.begin_action(connection, server.id, call.request_id, "create", call.project, call.who.user.id, now_us=now_us)
            details = {"request": call.request_id, "event": "compute__do_build_and_run_instance", "password": password}
            details["admin"] = "1" if call.is_admin else ""
            context.enqueue(connection, BUILD, server.id, details)
        return made

    servers = await context.write(work)
    if wanted.reservation_wanted:
        return Answer(202, {"reservation_id": reservation})
    around = Around(context.url, call.version, call.is_admin)
    view = made_view(servers[0], around, password, wanted.security_groups or ["default"])
    return Answer(202, {"server": view}, [(b"location", f"{context.url}/v2.1/servers/{servers[0].id}".encode())])


async def _plan(context: Context, call: Call, wanted: NewServer) -> _Plan:
    def work(connection: Connection) -> tuple[Flavor, Image | None]:
        flavor = context.catalog.flavor(connection, call.project, wanted.flavor, is_admin=call.is_admin)
        if flavor is None:
            raise bad_request(f"Flavor {wanted.flavor} could not be found.")
        if wanted.zone and not context.places.zone_exists(connection, wanted.zone):
            raise bad_request("The requested availability zone is not available")
        if wanted.host and not context.places.host_exists(connection, wanted.host):
            raise bad_request(f"Compute host {wanted.host} could not be found.")
        image = seen_image(connection, call, wanted.image) if wanted.image else None
        for disk in wanted.disks:
            if disk.source == "image" and disk.id != wanted.image:
                seen_image(connection, call, disk.id)
        return flavor, image

    flavor, image = await context.read(work)
    properties = kept_properties(image)
    asked = of_image(image, wanted.disks, servers=wanted.most)
    first = next(disk for disk in asked if disk.boot_index == 0)
    if image is not None:
        check_image(image, flavor, root_local=first.destination == "local")
    if first.destination == "volume":
        properties = {**await _boot_volume(context, call, first, flavor), **properties}
    for disk in asked:
        if disk is not first:
            await _check_disk(context, call, disk)
    disks = [*asked, *_of_flavor(asked, flavor)]
    nics = await _nics(context, call, wanted)
    return _Plan(wanted, flavor, image, properties, disks, nics, await _groups(context, call, wanted))


def seen_image(connection: Connection, call: Call, id_: str) -> Image:
    """An active image that the caller sees.  Raises 400."""
    image = images.find_image(connection, id_)
    if image is None or not may_see(call, image, images.member_status(connection, id_, call.project)):
        raise bad_request(f"Image {id_} could not be found.")
    if image.status != IMAGE_ACTIVE:
        raise bad_request(f"Image {id_} is not active.")
    return image


def check_image(image: Image, flavor: Flavor, *, root_local: bool) -> None:
    """Raises 400 where a flavor is too small for an image."""
    if flavor.memory_mb < image.min_ram:
        raise bad_request("Flavor's memory is too small for requested image.")
    if not root_local or not flavor.root_gb:
        return
    if max(image.size or 0, image.virtual_size or 0) > flavor.root_gb * GIBIBYTE or image.min_disk > flavor.root_gb:
        raise bad_request(
            "Flavor's disk is too small for requested image. Flavor disk is "
            f"{flavor.root_gb * GIBIBYTE} bytes, image is {max(image.min_disk * GIBIBYTE, image.virtual_size or image.size or 0)} bytes."
        )


def kept_properties(image: Image | None) -> dict[str, str]:
    """Of an image's properties those that a server keeps."""
    if image is None:
        return {}
    found = {name: value for name, value in image.properties.items() if value is not None and name.startswith(_KEPT)}
    return dict(list(found.items())[:_MAX_PROPERTIES])


def of_image(image: Image | None, asked: Sequence[WantedDisk], *, servers: int = 1) -> Sequence[WantedDisk]:
    """The disks with those that an image of a server with volumes names, in place of the image itself.  Raises 400."""
    text = image.properties.get("block_device_mapping") if image is not None else None
    if not text or not any(disk.source == "image" and disk.destination == "local" for disk in asked):
        return asked
    named = disks_of_image(text)
    taken = {disk.device for disk in asked if disk.device}
    others = [disk for disk in asked if not (disk.source == "image" and disk.destination == "local")]
    found = [disk for disk in named if not disk.device or disk.device not in taken] + others
    if sum(disk.boot_index == 0 for disk in found) != 1:
        raise bad_request(
            "Block Device Mapping is Invalid: the image's block_device_mapping and the request do not name one disk to boot from."
        )
    check_sources(found)
    if servers > 1 and any(disk.source == "volume" for disk in found):
        raise bad_request("Cannot attach one or more volumes to multiple instances")
    return found


async def _boot_volume(context: Context, call: Call, disk: WantedDisk, flavor: Flavor) -> dict[str, str]:
    await _check_disk(context, call, disk)
    if disk.source != "volume":
        return {}
    volume = await context.volumes.find(call.project, disk.id, is_admin=call.is_admin)
    if not volume.bootable:
        raise bad_request(f"Block Device {disk.id} is not bootable.")
    least = str(volume.image_metadata.get("min_ram", "0"))
    if least.isascii() and least.isdigit() and len(least) < 10 and flavor.memory_mb < int(least):
        raise bad_request("Flavor's memory is too small for requested image.")
    return {name: value for name, value in volume.image_metadata.items() if name.startswith(_KEPT)}


async def _check_disk(context: Context, call: Call, disk: WantedDisk) -> None:
    try:
        if disk.source == "volume":
            volume = await context.volumes.find(call.project, disk.id, is_admin=call.is_admin)
            if volume.status != "available" and not (volume.multiattach and volume.status == "in-use"):
                raise bad_request(f"Invalid volume: volume '{disk.id}' status must be 'available'. Currently in '{volume.status}'")
        elif disk.source == "snapshot":
            snapshot = await context.volumes.find_snapshot(call.project, disk.id, is_admin=call.is_admin)
            if snapshot.status != "available":
                raise bad_request(f"Invalid snapshot: snapshot '{disk.id}' is {snapshot.status}.")
    except CallRefused as refused:
        if refused.status == 404:
            raise bad_request(f"Block Device Mapping is Invalid: failed to get {disk.source} {disk.id}.") from None
        raise


def _of_flavor(given: Sequence[WantedDisk], flavor: Flavor) -> list[WantedDisk]:
    """The blank disks that a flavor gives; what was asked for must fit into them."""
    blank = [disk for disk in given if disk.source == "blank" and disk.destination == "local"]
    swaps = [disk for disk in blank if disk.swap]
    if sum(disk.size_gb for disk in blank if not disk.swap) > flavor.ephemeral_gb:
        raise bad_request("Block Device Mapping is Invalid: Ephemeral disks requested are larger than the instance type allows.")
    if len(swaps) > 1 or any(not flavor.swap_mb for _ in swaps):
        raise bad_request("Block Device Mapping is Invalid: Swap drive requested is larger than instance type allows.")
    found: list[WantedDisk] = []
    if flavor.ephemeral_gb and len(blank) == len(swaps):
        found.append(WantedDisk("blank", "local", size_gb=flavor.ephemeral_gb, delete_on_termination=True))
    if flavor.swap_mb and not swaps:
        found.append(WantedDisk("blank", "local", delete_on_termination=True, swap=True))
    return found


async def _nics(context: Context, call: Call, wanted: NewServer) -> list[WantedNic]:
    if wanted.no_network:
        return []
    if wanted.nics is None:
        there = await context.networks.networks_for(call.who)
        if len(there) > 1:
            raise CallRefused(409, "Multiple possible networks found, use a Network ID to be more specific.")
        if not there and wanted.auto_network:
            raise bad_request("Unable to automatically allocate a network for the project: there is none that it may use; make one first.")
        return [WantedNic(network=network.id) for network in there]
    asked = [Requested(nic.network, nic.port, nic.fixed_ip, nic.tag) for nic in wanted.nics]
    found = await context.networks.check(call.who, asked, servers=wanted.most)
    return [replace(nic, network=one.network_id) for nic, one in zip(wanted.nics, found, strict=True)]


async def _groups(context: Context, call: Call, wanted: NewServer) -> Sequence[str]:
    try:
        return await context.networks.check_groups(call.who, wanted.security_groups) if wanted.security_groups else ()
    except CallRefused as refused:
        if refused.status == 404:
            raise bad_request(refused.message) from None
        raise


def _key(context: Context, connection: Connection, call: Call, wanted: NewServer) -> Key | None:
    if not wanted.key_name:
        return None
    key = context.catalog.key(connection, call.who.user.id, wanted.key_name)
    if key is None:
        raise bad_request("Invalid key_name provided.")
    return key


def _room(context: Context, connection: Connection, call: Call, plan: _Plan) -> int:
    """How many servers the quota allows, at least those that must be.  Raises 403."""
    flavor = plan.flavor
    for count in range(plan.wanted.most, plan.wanted.least - 1, -1):
        try:
            context.catalog.check_quota(
                connection,
                call.project,
                instances=count,
                cores=count * flavor.vcpus,
                memory_mb=count * flavor.memory_mb,
                user_id=call.who.user.id,
            )
        except CallRefused:
            if count == plan.wanted.least:
                raise
        else:
            return count
    raise AssertionError("unreachable")


def _server(
    context: Context, call: Call, plan: _Plan, key: Key | None, id_: str, number: int, count: int, reservation: str, now_us: int
) -> Server:  # fmt: skip
    wanted, flavor = plan.wanted, plan.flavor
    name = wanted.name if count == 1 else f"{wanted.name[: fields.MAX_NAME_CHARS - 4]}-{number + 1}"
    hostname = wanted.hostname or fields.made_host_name(name, id_)
    disks = _disks(context, plan, id_, now_us)
    return Server(
        id=id_, project=call.project, user_id=call.who.user.id, name=name, vm_state=BUILDING, created_us=now_us, updated_us=now_us, flavor=flavor.id,
        flavor_document=json_text(flavor), vcpus=flavor.vcpus, memory_mb=flavor.memory_mb,
        description=wanted.description if call.version >= (2, 19) else name, hostname=hostname if count == 1 else f"{hostname[:59]}-{number + 1}"
        if wanted.hostname else hostname, task_state=SCHEDULING, task=call.request_id, zone=wanted.zone, wanted_host=wanted.host, image=wanted.image,
        image_document=json_text(plan.properties), key_name=key.name if key else "", key_document=json_text(key) if key else "",
        user_data=wanted.user_data, config_drive=wanted.config_drive, access_v4=wanted.access_v4, access_v6=wanted.access_v6,
        security_groups=json_text(list(plan.groups)), hints=json_text(dict(wanted.hints)), group_id=str(wanted.hints.get("group", "")),
        disk_config=wanted.disk_config, reservation=reservation, launch_index=number,
        root_device=next(disk.device for disk in disks if disk.boot_index == 0), metadata=dict(wanted.metadata), tags=list(wanted.tags), disks=disks,
        nics=[
            Nic(context.new_id(), id_, at, WANTED, nic.port, nic.network, nic.fixed_ip, "", not nic.port, nic.tag, now_us)
            for at, nic in enumerate(plan.nics)
        ],
    )  # fmt: skip


def _disks(context: Context, plan: _Plan, server: str, now_us: int) -> list[Disk]:
    ordered = sorted(plan.disks, key=lambda disk: disk.boot_index if disk.boot_index >= 0 else 999)
    used = {disk.device for disk in ordered if disk.device}
    found: list[Disk] = []
    for position, disk in enumerate(ordered):
        bus = disk.bus or (plan.properties.get("hw_disk_bus", "") if not position else "")
        bus = bus if bus in _PREFIX else ""
        device = disk.device or free_device(used, bus)
        used.add(device)
        local = disk.destination == "local"
        size_gb = plan.flavor.root_gb if local and disk.source == "image" else disk.size_gb
        found.append(
            Disk(
                context.new_id(), server, position, WANTED, context.world.rng.token(16).hex() if local else "",
                disk.id if disk.source == "volume" else "", "", "swap" if disk.swap else disk.source, disk.destination, disk.id, size_gb, disk.volume_type,
                device, bus or "virtio", disk.boot_index, disk.delete_on_termination, tag=disk.tag, created_us=now_us,
            )
        )  # fmt: skip
    return found


def free_device(used: Any, bus: str) -> str:
    """The first name of a disk that nobody has.  Raises 403 when all are taken."""
    prefix = _PREFIX.get(bus, "vd")
    for letter in _LETTERS:
        if f"{prefix}{letter}" not in used:
            return f"{prefix}{letter}"
    raise forbidden(f"A server has {len(_LETTERS)} disks at most.")
