"""Calls on images themselves: make, list, show, change, remove, tags, deactivate."""

from collections.abc import Callable
from dataclasses import replace

from sqlalchemy import Connection, delete

from objstore.runtime.rng import Rng
from objstore.runtime.sql import IntegrityError
from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.paging import link, query_without
from objstore.services.calls.problems import bad_request, conflict, forbidden, not_found
from objstore.services.image import entry, listing, records
from objstore.services.image.records import ACTIVE, DEACTIVATED, DELETED, QUEUED, SHARED, STATUSES, Image
from objstore.services.image.rights import check_change, check_visibility
from objstore.services.image.service import ImageService, seen_image
from objstore.services.image.tables import MEMBERS, SERVICE
from objstore.services.image.uploads import DROP
from objstore.services.image.views import image_view
from objstore.services.tables.jobs import enqueue

MAX_TAG_CHARS = 255
Tags = Callable[[list[str]], list[str]]


class ImageCalls:
    """The handlers."""

    def __init__(self, service: ImageService, jobs_wait: Callable[[], None]) -> None:
        self._service = service
        self._jobs_wait = jobs_wait  # told when there may be bytes to remove

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/v2/images/{image_id}"
        return {
            ("POST", "/v2/images"): self.create,
            ("GET", "/v2/images"): self.list_images,
            ("GET", one): self.show,
            ("PATCH", one): self.update,
            ("DELETE", one): self.remove,
            ("PUT", f"{one}/tags/{{tag}}"): self.add_tag,
            ("DELETE", f"{one}/tags/{{tag}}"): self.remove_tag,
            ("POST", f"{one}/actions/deactivate"): self.deactivate,
            ("POST", f"{one}/actions/reactivate"): self.reactivate,
        }

    async def create(self, call: Call) -> Answer:
        """A new image without bytes."""
        service, settings = self._service, self._service.settings
        call.check_write()
        given, attributes, properties = entry.parse_new(await call.document())
        owner = attributes.pop("owner", None) or call.project
        if owner != call.project and not call.is_admin:
            raise forbidden("You are not permitted to create images owned by others.")
        if not owner:
            raise bad_request("An image belongs to a project: use a token for one, or name the owner.")
        check_visibility(call, attributes.get("visibility", SHARED))
        now_us = service.now_us()
        base = Image(given or _uuid(service), owner, QUEUED, SHARED, now_us, now_us)
        image = replace(base, **attributes, properties=properties)
        entry.check_image(image, settings)

        def work(connection: Connection) -> Image:
            service.uploads.check_count(connection, owner)
            records.add_image(connection, image)
            found = records.find_image(connection, image.id)
            assert found is not None
            return found

        try:
            made = await service.write(work)
        except IntegrityError:
            raise conflict(f"Image ID {image.id} already exists!") from None
        headers = [
            (b"location", f"{call.base_url}/v2/images/{made.id}".encode()),
            (b"openstack-image-import-methods", ",".join(service.import_methods).encode()),
        ]
        return Answer(201, image_view(made), headers)

    async def list_images(self, call: Call) -> Answer:
        """A page of the images that the caller sees."""
        call.check_read()
        asked = listing.wanted(call, page_limit=self._service.settings.page_limit)
        images, more = await self._service.read(lambda connection: listing.page(connection, asked))
        first = query_without(call, "marker")
        body = {"images": [image_view(image) for image in images], "first": link("/v2/images", first), "schema": "/v2/schemas/images"}
        if more and images:
            body["next"] = link("/v2/images", [*first, ("marker", images[-1].id)])
        return Answer(body=body)

    async def show(self, call: Call) -> Answer:
        """One image."""
        return Answer(body=image_view(await self._service.image(call)))

    async def update(self, call: Call) -> Answer:
        """A json-patch."""
        service = self._service
        call.check_read()
        operations = entry.parse_patch(await call.json(), call.headers.get("content-type", ""))
        now_us = service.now_us()

        def work(connection: Connection) -> Image:
            image = seen_image(connection, call, call.parameters["image_id"])
            check_change(call, image)
            changed = entry.apply(image, operations, is_admin=call.is_admin)
            if changed.visibility != image.visibility:
                check_visibility(call, changed.visibility)
            if changed != image:
                entry.check_image(changed, service.settings)
                values = {name: getattr(changed, name) for name in entry.BASE if name != "tags"}
                records.change(connection, image.id, status=(image.status,), **values, updated_us=now_us)
                records.set_properties(connection, image.id, changed.properties)
                records.set_tags(connection, image.id, changed.tags)
            found = records.find_image(connection, image.id)
            assert found is not None
            return found

        return Answer(body=image_view(await service.write(work)))

    async def remove(self, call: Call) -> Answer:
        """Remove an image; its bytes go when no other image has them."""
        service = self._service
        call.check_read()
        now_us, rng = service.now_us(), service.world.rng

        def work(connection: Connection) -> None:
            image = seen_image(connection, call, call.parameters["image_id"])
            check_change(call, image)
            if image.protected:
                raise forbidden(f"Image {image.id} is protected and cannot be deleted.")
            remove_image(connection, rng, image, now_us=now_us)

        await service.write(work)
        self._jobs_wait()
        return Answer(204)

    async def add_tag(self, call: Call) -> Answer:
        """Give an image a tag."""
        tag = call.parameters["tag"]
        if len(tag) > MAX_TAG_CHARS:
            raise bad_request(f"A tag has {MAX_TAG_CHARS} characters at most.")
        await self._change_tags(call, lambda tags: [*tags, tag])
        return Answer(204)

    async def remove_tag(self, call: Call) -> Answer:
        """Take a tag away."""
        tag = call.parameters["tag"]

        def without(tags: list[str]) -> list[str]:
            if tag not in tags:
                raise not_found("Failed to find tag.")
            return [other for other in tags if other != tag]

        await self._change_tags(call, without)
        return Answer(204)

    async def _change_tags(self, call: Call, change: Tags) -> None:
        service = self._service
        call.check_read()
        now_us = service.now_us()

        def work(connection: Connection) -> None:
            image = seen_image(connection, call, call.parameters["image_id"])
            check_change(call, image)
            changed = replace(image, tags=list(dict.fromkeys(change(list(image.tags)))))
            entry.check_image(changed, service.settings)
            records.set_tags(connection, image.id, changed.tags)
            records.change(connection, image.id, status=(image.status,), updated_us=now_us)

        await service.write(work)

    async def deactivate(self, call: Call) -> Answer:
        """Nobody but the administrator may read the bytes any more."""
        return await self._switch(call, ACTIVE, DEACTIVATED)

    async def reactivate(self, call: Call) -> Answer:
        """The bytes may be read again."""
        return await self._switch(call, DEACTIVATED, ACTIVE)

    async def _switch(self, call: Call, before: str, after: str) -> Answer:
        image = await self._service.own_image(call)
        now_us = self._service.now_us()
        if image.status != after:
            done = await self._service.write(
                lambda connection: records.change(connection, image.id, status=(before,), status_=after, updated_us=now_us)
            )
            if not done:
                raise forbidden(f"Not allowed to change the image from '{image.status}' to '{after}'.")
        return Answer(204)


def remove_image(connection: Connection, rng: Rng, image: Image, *, now_us: int) -> None:
    """An image becomes a deleted one; its bytes go when no other image has them."""
    records.change(
        connection, image.id, status=STATUSES, status_=DELETED, deleted_us=now_us, updated_us=now_us, body=None, staged=None,
        operation_="", operation_until_us=0,
    )  # fmt: skip
    records.set_properties(connection, image.id, {})
    records.set_tags(connection, image.id, ())
    connection.execute(delete(MEMBERS).where(MEMBERS.c.image == image.id))
    for body in (image.body, image.staged):
        if records.release(connection, body):
            enqueue(connection, rng, SERVICE, DROP, str(body), now_us=now_us)


def _uuid(service: ImageService) -> str:
    text = service.world.rng.token(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:]}"
