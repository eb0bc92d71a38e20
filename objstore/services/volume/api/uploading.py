"""os-volume_upload_image: the image is written with the state of the volume; the bytes follow by a job."""

from typing import Any

from sqlalchemy import Connection, select

from objstore.services.calls.call import Answer, Call
from objstore.services.calls.problems import bad_request, forbidden
from objstore.services.image import records as image_records
from objstore.services.image.records import PRIVATE, PUBLIC, QUEUED, VISIBILITIES, Image
from objstore.services.volume.api import entry, records
from objstore.services.volume.api.records import AVAILABLE, IN_USE, UPLOADING
from objstore.services.volume.api.service import VolumeService, called_volume
from objstore.services.volume.api.tables import TYPES, VOLUMES
from objstore.services.volume.api.views import View, time
from objstore.services.volume.api.work import UPLOAD

# Of what a volume keeps of its image, that which belongs to the image and not to its bytes.
_OWN = ("image_id", "image_name", "checksum", "container_format", "disk_format", "min_disk", "min_ram", "size")
_SIGNATURES = "img_signature"


async def upload(service: VolumeService, call: Call, fields: dict[str, Any]) -> Answer:
    """Raises 400, 403, 413."""
    name = entry.needed(fields, "image_name")
    force = entry.flag(fields, "force", default=False)
    disk_format = entry.text(fields, "disk_format", default="raw")
    container_format = entry.text(fields, "container_format", default="bare")
    visibility = entry.text(fields, "visibility", default=PRIVATE)
    protected = entry.flag(fields, "protected", default=False)
    if disk_format != "raw" or container_format != "bare":
        raise bad_request(
            "Invalid input received: volumes become images of disk_format raw in container_format bare; others are not built."
        )
    if visibility not in VISIBILITIES:
        raise entry.wrong("visibility", visibility, f"It must be one of {', '.join(VISIBILITIES)}.")
    if visibility == PUBLIC and not call.is_admin:
        raise forbidden("Making an image public is the administrator's.")
    image_id = service.new_id()

    def work(connection: Connection) -> View:
        row = called_volume(connection, call)
        expected = (AVAILABLE, IN_USE) if force else (AVAILABLE,)
        if row.status not in expected:
            raise bad_request(f"Invalid volume: Volume {row.id} status must be {' or '.join(expected)} to upload it, it is {row.status}.")
        service.images.uploads.check_count(connection, row.project)
        now_us = service.now_us()
        known = records.properties_of(connection, "image", row.id)
        image = Image(
            image_id, row.project, QUEUED, visibility, now_us, now_us, name=name, container_format=container_format, disk_format=disk_format,
            protected=protected, min_disk=_number(known, "min_disk"), min_ram=_number(known, "min_ram"),
            properties={key: value for key, value in known.items() if key not in _OWN and not key.startswith(_SIGNATURES)},
        )  # fmt: skip
        image_records.add_image(connection, image)
        records.change(connection, VOLUMES, row.id, status=(row.status,), status_=UPLOADING, updated_us=now_us)
        details = {"image": image_id, "before": row.status, "request": call.request_id}
        service.enqueue(connection, UPLOAD, row.id, details=details)
        type_ = connection.execute(select(TYPES).where(TYPES.c.id == row.volume_type)).one_or_none()
        return {
            "id": row.id, "updated_at": time(row.updated_us), "status": UPLOADING, "display_description": row.description, "size": row.size_gb,
            "volume_type": None if type_ is None else {"id": type_.id, "name": type_.name, "is_public": bool(type_.is_public)},
            "image_id": image_id, "container_format": container_format, "disk_format": disk_format, "image_name": name, "visibility": visibility,
            "protected": protected,
        }  # fmt: skip

    return Answer(202, {"os-volume_upload_image": await service.write(work)})


def _number(known: dict[str, str], name: str) -> int:
    text = known.get(name, "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else 0
