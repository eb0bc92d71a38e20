"""Rebuild: the same server with a new root disk of an image."""

from typing import Any

from sqlalchemy import Connection

from objstore.services.calls.call import Answer, Call
from objstore.services.calls.microversions import Version
from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.compute import fields, records
from objstore.services.compute.context import Context, seen_server
from objstore.services.compute.fields import Check
from objstore.services.compute.records import Server, json_text
from objstore.services.compute.server_create import check_image, kept_properties, seen_image
from objstore.services.compute.server_entry import GONE, image_ref
from objstore.services.compute.server_views import rebuilt_view
from objstore.services.compute.states import STOPPED

FIRST: Version = (2, 1)


def _personality(name: str, value: Any) -> None:
    if value:
        raise bad_request(f"{GONE}files are not put into guests ({name}).")


def _certificates(name: str, value: Any) -> None:
    if value:
        raise bad_request(f"{GONE}image signatures are not checked, so {name} cannot be honoured.")


_FIELDS: dict[str, tuple[Version, Check]] = {
    "imageRef": (FIRST, image_ref), "name": (FIRST, fields.server_name), "adminPass": (FIRST, fields.text()), "metadata": (FIRST, fields.metadata),
    "preserve_ephemeral": (FIRST, fields.flag), "OS-DCF:diskConfig": (FIRST, fields.one_of("AUTO", "MANUAL")),
    "accessIPv4": (FIRST, fields.address(4)), "accessIPv6": (FIRST, fields.address(6)), "personality": (FIRST, _personality),
    "description": ((2, 19), fields.nullable(fields.text())), "key_name": ((2, 54), fields.nullable(fields.text(255, 1))),
    "user_data": ((2, 57), fields.user_data), "trusted_image_certificates": ((2, 63), _certificates), "hostname": ((2, 90), fields.host_name),
}  # fmt: skip
_COLUMNS = {
    "name": "name", "OS-DCF:diskConfig": "disk_config", "accessIPv4": "access_v4", "accessIPv6": "access_v6", "description": "description",
    "user_data": "user_data", "hostname": "hostname",
}  # fmt: skip


async def rebuild(context: Context, call: Call, given: Any) -> Answer:
    """Begin it.  Raises 400, 403, 404, 409."""
    found = fields.parsed(given, _FIELDS, call.version, "rebuild")
    if "personality" in found and call.version >= (2, 57):
        raise bad_request("Invalid input for field/attribute rebuild. Additional properties are not allowed ('personality' was unexpected)")
    if not found.get("imageRef"):
        raise bad_request("Invalid input for field/attribute rebuild. 'imageRef' is a required property")
    password = found.get("adminPass") or context.world.rng.token(6).hex()
    fresh = context.world.rng.token(16).hex()
    server = await context.own_server(call)
    root = next((disk for disk in server.disks if disk.boot_index == 0), None)
    if root is None or root.is_volume:
        if call.version < (2, 93):
            raise bad_request("Unable to rebuild with a different image for a volume-backed server.")
        raise bad_request(f"{GONE}the root volume of a server cannot be made anew; make a volume of the image and a server of it.")
    details = {"volume": fresh, "password": password, "admin": "1" if call.is_admin else ""}
    image_id = found["imageRef"]
    values = {_COLUMNS[name]: value for name, value in found.items() if name in _COLUMNS}

    def check(connection: Connection, before: Server) -> None:
        image = seen_image(connection, call, image_id)
        check_image(image, before.as_flavor, root_local=True)
        details["old"] = next(disk.volume for disk in before.disks if disk.boot_index == 0)
        details["running"] = "0" if before.vm_state == STOPPED else "1"
        changes: dict[str, Any] = {**values, "image": image_id, "image_document": json_text(kept_properties(image))}
        if "metadata" in found:
            limit = context.catalog.metadata_limit(connection, call.project)
            if 0 <= limit < len(found["metadata"]):
                raise forbidden(f"Maximum number of metadata items exceeds {limit}")
            records.set_metadata(connection, before.id, found["metadata"])
        if "key_name" in found:
            changes |= _key(context, connection, before, found["key_name"])
        records.change(connection, before.id, **changes)

    await context.begin(call, "rebuild", job="rebuild", details=details, check=check)
    again = await context.read(lambda connection: seen_server(connection, call))
    return Answer(202, {"server": rebuilt_view(again, await context.around(call, [again]), password)})


def _key(context: Context, connection: Connection, server: Server, name: str | None) -> dict[str, str]:
    if name is None:
        return {"key_name": "", "key_document": ""}
    key = context.catalog.key(connection, server.user_id, name)
    if key is None:
        raise bad_request("Invalid key_name provided.")
    return {"key_name": key.name, "key_document": json_text(key)}
