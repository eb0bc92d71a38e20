"""Imports: bytes that are staged, fetched from the web, or another image's, become an image's by a job.

The task and the job are written with the state `importing`; the job moves the image on by compare-and-set, so that running it twice
does no more than running it once.  When it fails for good the image is queued again, and the task says why.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection

from objstore.errors import ObjstoreError, Unavailable
from objstore.runtime.download import NotAllowed, download
from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import CallRefused, bad_request, conflict, not_found
from objstore.services.image import records
from objstore.services.image.content import Stored
from objstore.services.image.entry import is_uuid
from objstore.services.image.formats import Found
from objstore.services.image.records import ACTIVE, IMPORTING, QUEUED, UPLOADING, Image
from objstore.services.image.rights import check_change, unknown
from objstore.services.image.service import ImageService, seen_image
from objstore.services.image.tables import SERVICE
from objstore.services.image.tasks import FAILURE, PROCESSING, SUCCESS, add_task, is_over, set_task
from objstore.services.image.uploads import DROP, activate, room_for
from objstore.services.image.views import STORE
from objstore.services.tables.jobs import Job, Worker, enqueue

JOB = "import"
COPY = "copy-image"  # to other stores, of which there are none
COPIED = ("hw_", "trait:", "os_distro", "os_secure_boot", "os_type")  # beginnings of properties that an image from another one takes over
MAX_MESSAGE_CHARS = 500
GONE = "The image was deleted before it was imported."
MAX_IMPORT_BYTES = 16 * 1024  # of a request, which its task keeps for days


class ImportCalls:
    """The handlers, and the jobs that follow from them."""

    def __init__(self, service: ImageService) -> None:
        self._service = service
        handlers = {JOB: self.run, DROP: self._drop}
        self.worker = Worker(service.sql, service.world, SERVICE, handlers, self.give_up)

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {("POST", "/v2/images/{image_id}/import"): self.ask}

    async def ask(self, call: Call) -> Answer:
        """Begin an import."""
        service = self._service
        call.check_read()
        document = await call.document(limit=MAX_IMPORT_BYTES)
        method = _method(document, service)
        name = str(method["name"])
        _check_stores(document)
        now_us, task, rng = service.now_us(), service.world.rng.token(16).hex(), service.world.rng

        def work(connection: Connection) -> None:
            image = seen_image(connection, call, call.parameters["image_id"])
            check_change(call, image)
            details = self._accept(connection, call, image, name, method)
            add_task(
                connection, service.settings, task, call, image.id, image.owner,
                {"image_id": image.id, "import_req": document, "backend": [STORE]}, now_us=now_us,
            )  # fmt: skip
            if not records.change(connection, image.id, status=(image.status,), operation="", status_=IMPORTING, updated_us=now_us):
                raise conflict("Others changed the image at this moment.")
            enqueue(connection, rng, SERVICE, JOB, image.id, now_us=now_us, details={"method": name, "task": task, **details})

        await service.write(work)
        self.worker.nudge()
        return Answer(202)

    def _accept(self, connection: Connection, call: Call, image: Image, name: str, method: Mapping[str, Any]) -> dict[str, str]:
        """What the job has to know.  Raises 400, 403, 404, 409."""
        if name == COPY:
            if image.status != ACTIVE:
                raise conflict("Only images with status active can be targeted for copying.")
            raise conflict(f"Image is already present at store '{STORE}'.")
        if name != "glance-download" and (image.disk_format is None or image.container_format is None):
            raise bad_request("'container_format' and 'disk_format' need to be set before import.")
        needed = UPLOADING if name == "glance-direct" else QUEUED
        if image.status != needed or image.operation:
            raise conflict(f"Image needs to be in {needed} state to use {name} method.")
        if name == "web-download":
            return {"uri": _uri(method, self._service)}
        if name == "glance-download":
            return {"source": _source(method), "region": str(method.get("glance_region", "")), "project": call.project, **_admin(call)}
        return {}

    # -- jobs ---------------------------------------------------------------------------------------------------------

    async def _drop(self, job: Job) -> None:
        await self._service.uploads.drop(job.subject)

    async def run(self, job: Job) -> None:
        """Carry an import out.  Raises Unavailable where it is worth another try."""
        service = self._service
        image = await service.write(lambda connection: self._begun(connection, job))
        if image is None:
            return
        if image.operation:
            raise Unavailable("an earlier run of the import still holds the image")
        task = job.details["task"]
        try:
            if job.details["method"] == "web-download":
                await self._fetch(image, job.details["uri"])
            elif job.details["method"] == "glance-download":
                await self._take_over(image, job.details)
            else:
                await self._take_staged(image)
        except Unavailable:
            raise
        except (ObjstoreError, NotAllowed, OSError) as failure:
            await self._failed(job, _words(failure))
        else:
            done_us = service.now_us()
            await service.write(lambda connection: set_task(connection, task, SUCCESS, now_us=done_us, result={"image_id": image.id}))

    def _begun(self, connection: Connection, job: Job) -> Image | None:
        """The image, if it is still to be imported by this job; otherwise its task says how it ended, if no run has come to say so."""
        now_us, task = self._service.now_us(), job.details["task"]
        if is_over(connection, task):
            return None  # the image may be another import's by now
        image = records.find_image(connection, job.subject)
        if image is not None and image.status == IMPORTING:
            set_task(connection, task, PROCESSING, now_us=now_us)
            return image
        if image is not None and image.body is not None:
            set_task(connection, task, SUCCESS, now_us=now_us, result={"image_id": image.id})
        else:
            set_task(connection, task, FAILURE, now_us=now_us, message=GONE)
        return None

    async def give_up(self, job: Job) -> None:
        """The import has failed too often."""
        if job.kind == JOB:
            await self._failed(job, "The store or what was to be imported could not be reached.")
        else:
            await self._drop(job)

    async def _failed(self, job: Job, message: str) -> None:
        service, now_us, rng = self._service, self._service.now_us(), self._service.world.rng

        def work(connection: Connection) -> None:
            image = records.find_image(connection, job.subject)
            set_task(connection, job.details["task"], FAILURE, now_us=now_us, message=message[:MAX_MESSAGE_CHARS])
            if image is None:
                return
            records.change(
                connection,
                image.id,
                status=(IMPORTING,),
                status_=QUEUED,
                staged=None,
                operation_="",
                operation_until_us=0,
                updated_us=now_us,
            )
            if records.release(connection, image.staged):
                enqueue(connection, rng, SERVICE, DROP, str(image.staged), now_us=now_us)

        await service.write(work)

    async def _take_staged(self, image: Image) -> None:
        service, now_us, rng = self._service, self._service.now_us(), self._service.world.rng

        def work(connection: Connection) -> None:
            row = records.body_of(connection, str(image.staged))
            if row is None:
                raise not_found("The staged data is gone; stage it again.")
            stored = Stored(row.size, row.checksum, row.sha512, Found(row.format, row.virtual_size))
            if not activate(connection, image.id, row.id, stored, now_us=now_us, before=(IMPORTING,), operation=""):
                raise not_found(GONE)
            if records.release(connection, row.id):
                enqueue(connection, rng, SERVICE, DROP, row.id, now_us=now_us)

        await service.write(work)

    async def _fetch(self, image: Image, uri: str) -> None:
        service = self._service
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(asyncio.timeout(service.settings.web_download_timeout_s))
            coming = await stack.enter_async_context(download(uri, service.allowed))
            await service.uploads.receive(image.id, coming.chunks, size=coming.size, before=(IMPORTING,), during=IMPORTING)

    async def _take_over(self, image: Image, details: Mapping[str, str]) -> None:
        """The bytes of another image that the asking project saw; no byte is copied."""
        service, now_us = self._service, self._service.now_us()
        if details["region"] not in ("", service.region):
            raise bad_request(f"There is no image service in a region {details['region'][:64]!r}.")

        def work(connection: Connection) -> None:
            source = records.find_image(connection, details["source"])
            status = records.member_status(connection, details["source"], details["project"])
            if source is None or not _visible(source, details, status):
                raise unknown(details["source"])
            if source.status != ACTIVE or source.body is None:
                raise conflict("The image to take over is not active.")
            room_for(service.settings, records.usage_of(connection, image.owner), int(source.size or 0))
            stored = Stored(int(source.size or 0), str(source.checksum), str(source.os_hash_value), Found("", source.virtual_size))
            copied = {name: value for name, value in source.properties.items() if name.startswith(COPIED)}
            if not activate(connection, image.id, source.body, stored, now_us=now_us, before=(IMPORTING,), operation=""):
                raise not_found(GONE)
            formats = {"disk_format": source.disk_format, "container_format": source.container_format}
            records.change(connection, image.id, status=(ACTIVE,), body=source.body, **formats)
            records.set_properties(connection, image.id, {**image.properties, **copied})

        await service.write(work)


def _visible(source: Image, details: Mapping[str, str], member: str | None) -> bool:
    if details.get("admin") or source.owner == details["project"] or source.visibility in (records.PUBLIC, records.COMMUNITY):
        return True
    return source.visibility == records.SHARED and member is not None


def _admin(call: Call) -> dict[str, str]:
    return {"admin": "yes"} if call.is_admin else {}


def _method(document: Mapping[str, Any], service: ImageService) -> Mapping[str, Any]:
    method = document.get("method")
    if not isinstance(method, dict) or not isinstance(method.get("name"), str):
        raise bad_request("Import request requires a 'name' field in 'method'.")
    if method["name"] not in (*service.import_methods, COPY):
        raise bad_request(f"Unknown import method name '{method['name'][:64]}'.")
    return method


def _check_stores(document: Mapping[str, Any]) -> None:
    stores: Sequence[Any] = document.get("stores") or ()
    for name in ("all_stores", "all_stores_must_succeed"):
        if not isinstance(document.get(name, False), bool):
            raise bad_request(f"'{name}' must be boolean value only")
    if not isinstance(stores, list | tuple):
        raise bad_request("'stores' must be a list.")
    if stores and document.get("all_stores"):
        raise bad_request("'stores' and 'all_stores' cannot be used together.")
    if any(store != STORE for store in stores):
        raise conflict("There is no such store; see /v2/info/stores.")


def _uri(method: Mapping[str, Any], service: ImageService) -> str:
    uri = method.get("uri")
    if not isinstance(uri, str):
        raise bad_request("URI is required if using 'web-download' import method")
    try:
        service.allowed.check(uri)
    except NotAllowed as failure:
        raise bad_request(f"URI for web-download does not pass filtering: {failure}") from None
    return uri


def _source(method: Mapping[str, Any]) -> str:
    source = method.get("glance_image_id")
    if not isinstance(source, str) or not is_uuid(source):
        raise bad_request("Import request requires a 'glance_image_id' field: image id does not look like a UUID")
    return source.lower()


def _words(failure: Exception) -> str:
    if isinstance(failure, CallRefused | NotAllowed):
        return str(failure)
    return (
        str(failure)
        if isinstance(failure, OSError) and failure.errno is None and str(failure)
        else "What was to be imported cannot be read."
    )
