"""How images, members and tasks are shown.  Pure."""

from typing import Any

import msgspec

from objstore.services.calls.comparing import time_text
from objstore.services.calls.problems import title
from objstore.services.image.records import Image

View = dict[str, Any]
STORE = "objects"  # the one place where bytes are kept: no choice, so images do not show it and clients see a service without stores


def image_view(image: Image) -> View:
    """An image as clients see it."""
    view: View = {
        "id": image.id, "name": image.name, "status": image.status, "visibility": image.visibility, "owner": image.owner,
        "protected": bool(image.protected), "os_hidden": bool(image.os_hidden), "container_format": image.container_format,
        "disk_format": image.disk_format, "min_disk": image.min_disk, "min_ram": image.min_ram, "size": image.size,
        "virtual_size": image.virtual_size, "checksum": image.checksum, "os_hash_algo": image.os_hash_algo, "os_hash_value": image.os_hash_value,
        "created_at": time_text(image.created_us), "updated_at": time_text(image.updated_us), "tags": list(image.tags),
        "self": f"/v2/images/{image.id}", "file": f"/v2/images/{image.id}/file", "schema": "/v2/schemas/image",
    }  # fmt: skip
    for name, value in image.properties.items():
        view.setdefault(name, value)
    return view


def member_view(row: Any) -> View:
    """A member of an image."""
    return {
        "member_id": row.member, "image_id": row.image, "status": row.status, "created_at": time_text(row.created_us),
        "updated_at": time_text(row.updated_us), "schema": "/v2/schemas/member",
    }  # fmt: skip


def task_view(row: Any, *, whole: bool = True) -> View:
    """A task; in lists without what went in and came out."""
    view: View = {
        "id": row.id, "type": row.type, "status": row.status, "owner": row.owner, "created_at": time_text(row.created_us),
        "updated_at": time_text(row.updated_us), "schema": "/v2/schemas/task", "self": f"/v2/tasks/{row.id}",
    }  # fmt: skip
    if row.status in ("success", "failure"):
        view["expires_at"] = time_text(row.expires_us)
    if whole:
        view |= {
            "input": msgspec.json.decode(row.input), "result": msgspec.json.decode(row.result), "message": row.message, "image_id": row.image,
            "request_id": row.request_id, "user_id": row.user_id,
        }  # fmt: skip
    return view


def refusal(status: int, message: str) -> View:
    """The document of a refusal."""
    return {"message": message, "code": f"{status} {title(status)}", "title": title(status)}
