"""createImage: an image of a server's root disk; of a server that boots from a volume, snapshots of its volumes and an image that names them."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import conflict, forbidden
from objstore.services.compute import fields, records
from objstore.services.compute.context import Context, check_may, seen_server
from objstore.services.compute.records import HIDDEN, Disk, Server, json_text
from objstore.services.image import records as images
from objstore.services.image.records import ACTIVE, PRIVATE, QUEUED, Image

NO_SUMS = {"checksum": "d41d8cd98f00b204e9800998ecf8427e"}  # MD5 of nothing


async def create_image(context: Context, call: Call, given: Any) -> Answer:
    """Begin it.  Raises 400, 403, 404, 409."""
    document = fields.only(given, ("name", "metadata"), "createImage")
    name = fields.server_name("name", document.get("name"))
    metadata = fields.metadata("metadata", document.get("metadata", {}))
    server = await context.own_server(call)
    check_may(call, server, "createImage")
    root = next((disk for disk in server.disks if disk.boot_index == 0), None)
    if root is None or root.is_volume:
        image_id = context.new_id()
        await _of_volumes(context, call, server, image_id, name, metadata)
    else:
        image_id = await make_image(context, call, root, name, metadata)
    return image_answer(context, call, image_id)


def image_answer(context: Context, call: Call, image_id: str) -> Answer:
    """What is answered when an image of a server was begun."""
    location = [(b"location", f"{context.url}/images/{image_id}".encode())]
    return Answer(202, {"image_id": image_id}, location) if call.version >= (2, 45) else Answer(202, headers=location)


def _image(
    context: Context, connection: Connection, call: Call, server: Server, id_: str, name: str, metadata: Mapping[str, str], **values: Any
) -> Image:  # fmt: skip
    limit = context.catalog.metadata_limit(connection, call.project)
    if 0 <= limit < len(metadata):
        raise forbidden(f"Maximum number of metadata items exceeds {limit}")
    context.bases.check_count(connection, server.project)
    now_us = context.now_us()
    base = images.find_image(connection, server.image) if server.image else None
    properties: dict[str, str | None] = {
        **server.properties, "image_type": "snapshot", **metadata, "base_image_ref": server.image, "instance_uuid": server.id, "user_id": server.user_id,
        "owner_id": server.project, "owner_project_id": server.project, **values.pop("properties", {}),
    }  # fmt: skip
    return Image(
        id_, server.project, values.pop("status", QUEUED), PRIVATE, now_us, now_us, name=name, container_format="bare", disk_format="raw",
        min_ram=base.min_ram if base is not None else 0, properties=properties, **values,
    )  # fmt: skip


async def make_image(
    context: Context, call: Call, root: Disk, name: str, metadata: Mapping[str, str], details: Mapping[str, str] | None = None
) -> str:  # fmt: skip
    """Begin an image of a server's own root disk; the image's id.  Raises 403, 404, 409."""
    image_id = context.new_id()

    def check(connection: Connection, server: Server) -> None:
        images.add_image(connection, _image(context, connection, call, server, image_id, name, metadata, min_disk=root.size_gb))

    told = {"image": image_id, "snapshot": context.world.rng.token(16).hex(), **(details or {})}
    await context.begin(call, "createImage", job="snapshot", details=told, check=check)
    return image_id


async def _of_volumes(context: Context, call: Call, server: Server, image_id: str, name: str, metadata: Mapping[str, str]) -> None:
    disks = [disk for disk in server.disks if disk.is_volume and disk.api_volume and disk.state not in HIDDEN]
    root = next((disk for disk in disks if disk.boot_index == 0), None)
    if root is None:
        raise conflict(f"Instance {server.id} has no disk to boot from yet.")
    now_us = context.now_us()

    def also(connection: Connection, snapshots: Sequence[str]) -> None:
        check_may(call, seen_server(connection, call), "createImage")
        properties = {
            "block_device_mapping": json_text([_mapped(disk, made) for disk, made in zip(disks, snapshots, strict=True)]),
            "bdm_v2": "True",
            "root_device_name": f"/dev/{server.root_device}",
        }
        image = _image(
            context, connection, call, server, image_id, name, metadata, status=ACTIVE, size=0, min_disk=root.size_gb, properties=properties, **NO_SUMS
        )  # fmt: skip
        images.add_image(connection, image)
        records.begin_action(connection, server.id, call.request_id, "createImage", call.project, call.who.user.id, now_us=now_us)

    volumes = [disk.api_volume for disk in disks]
    await context.volumes.create_snapshots(server.project, call.who.user.id, volumes, name=f"snapshot for {name}", also=also)


def _mapped(disk: Disk, snapshot: str) -> dict[str, Any]:
    return {
        "source_type": "snapshot", "destination_type": "volume", "snapshot_id": snapshot, "volume_size": disk.size_gb,
        "boot_index": disk.boot_index if disk.boot_index >= 0 else None, "device_name": f"/dev/{disk.device}", "disk_bus": disk.bus,
        "device_type": "disk", "delete_on_termination": bool(disk.delete_on_termination), "tag": disk.tag or None,
    }  # fmt: skip
