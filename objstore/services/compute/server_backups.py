"""createBackup: an image of a server, after which the oldest of its kind go, so that not more of them are left than was asked for."""

from typing import Any

from sqlalchemy import Connection, and_, exists, select

from objstore.runtime.rng import Rng
from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import bad_request
from objstore.services.compute import fields
from objstore.services.compute.context import Context, check_may
from objstore.services.compute.records import Server
from objstore.services.compute.server_images import image_answer, make_image
from objstore.services.image.images import remove_image
from objstore.services.image.records import ACTIVE, images_of
from objstore.services.image.tables import IMAGES, PROPERTIES

MAX_ROTATION = 1000


async def create_backup(context: Context, call: Call, given: Any) -> Answer:
    """Begin it.  Raises 400, 403, 404, 409."""
    document = fields.only(given, ("name", "backup_type", "rotation", "metadata"), "createBackup")
    name = fields.server_name("name", document.get("name"))
    kind = fields.text(255, 1)("backup_type", document.get("backup_type"))
    rotation = fields.integer(0, MAX_ROTATION)("rotation", document.get("rotation"))
    metadata = fields.metadata("metadata", document.get("metadata") or {})
    server = await context.own_server(call)
    check_may(call, server, "createImage")
    root = next((disk for disk in server.disks if disk.boot_index == 0), None)
    if root is None or root.is_volume:
        raise bad_request("It's not supported to backup volume backed instance.")
    if rotation == 0:
        await context.write(lambda connection: rotate(connection, context.world.rng, server, kind, 0, now_us=context.now_us()))
        return Answer(202)
    details = {"backup_type": kind, "rotation": str(rotation)}
    properties = {**metadata, "image_type": "backup", "backup_type": kind}
    image_id = await make_image(context, call, root, name, properties, details)
    return image_answer(context, call, image_id)


def rotate(connection: Connection, rng: Rng, server: Server, kind: str, keep: int, *, now_us: int) -> int:
    """Remove the oldest backups of a kind beyond those that are kept; how many.

    Properties are whatever an image's owner writes there, so only images of the server's project count.
    """

    def has(name: str, value: str) -> Any:
        return exists().where(and_(PROPERTIES.c.image == IMAGES.c.id, PROPERTIES.c.name == name, PROPERTIES.c.value == value))

    query = (
        select(IMAGES)
        .where(
            and_(
                IMAGES.c.status == ACTIVE,
                IMAGES.c.owner == server.project,
                has("instance_uuid", server.id),
                has("image_type", "backup"),
                has("backup_type", kind),
            )
        )
        .order_by(IMAGES.c.created_us.desc(), IMAGES.c.id)
    )
    old = images_of(connection, connection.execute(query).all()[keep:])
    for image in old:
        if not image.protected:
            remove_image(connection, rng, image, now_us=now_us)
    return len(old)
