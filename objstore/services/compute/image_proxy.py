"""Images as the compute API showed them before 2.36: asked of the image service, told in Nova's words."""

import re
from collections.abc import Mapping

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.comparing import time_text, time_us
from objstore.services.calls.microversions import Version
from objstore.services.calls.paging import limit_of
from objstore.services.calls.problems import CallRefused, bad_request, not_found
from objstore.services.compute import fields
from objstore.services.compute.fields import member, only
from objstore.services.compute.neighbours import Neighbour
from objstore.services.compute.service import ComputeService
from objstore.services.compute.views import View, next_links

GONE: Version = (2, 36)
METADATA_GONE: Version = (2, 39)
PATCH = "application/openstack-images-v2.1-json-patch"
PAGE = 1000
_BASE = frozenset((
    "id", "name", "status", "visibility", "owner", "protected", "os_hidden", "container_format", "disk_format", "min_disk", "min_ram", "size",
    "virtual_size", "checksum", "os_hash_algo", "os_hash_value", "created_at", "updated_at", "tags", "self", "file", "schema", "stores",
))  # fmt: skip
_STATUS = {
    "active": ("ACTIVE", 100),
    "saving": ("SAVING", 50),
    "queued": ("SAVING", 25),
    "uploading": ("SAVING", 25),
    "importing": ("SAVING", 50),
}
_FILTERS = {"name": "name", "type": "image_type", "minRam": "min_ram", "minDisk": "min_disk"}
_SERVER = re.compile(r"[0-9a-fA-F-]{32,36}$")


class ImageProxy:
    """The handlers."""

    def __init__(self, service: ComputeService, images: Neighbour) -> None:
        self._service = service
        self._images = images

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        one = "/v2.1/images/{image_id}"
        items = one + "/metadata"
        return {
            ("GET", "/v2.1/images"): self.list_short, ("GET", "/v2.1/images/detail"): self.list_detail, ("GET", one): self.show,
            ("DELETE", one): self.remove, ("GET", items): self.metadata, ("PUT", items): self.set_metadata, ("POST", items): self.add_metadata,
            ("GET", items + "/{key}"): self.item, ("PUT", items + "/{key}"): self.set_item, ("DELETE", items + "/{key}"): self.remove_item,
        }  # fmt: skip

    async def list_short(self, call: Call) -> Answer:
        """Names and ids."""
        return await self._list(call, "images", detail=False)

    async def list_detail(self, call: Call) -> Answer:
        """All of each."""
        return await self._list(call, "images/detail", detail=True)

    async def show(self, call: Call) -> Answer:
        """One."""
        _check(call, GONE)
        return Answer(body={"image": self._view(await self._image(call))})

    async def remove(self, call: Call) -> Answer:
        """One less."""
        _check(call, GONE)
        await self._images.ask(call, "DELETE", ("v2", "images", call.parameters["image_id"]))
        return Answer(204)

    async def metadata(self, call: Call) -> Answer:
        """All items."""
        _check(call, METADATA_GONE)
        return Answer(body={"metadata": _items(await self._image(call))})

    async def set_metadata(self, call: Call) -> Answer:
        """These and no others."""
        return await self._change(call, _given(await call.document()), rest=False)

    async def add_metadata(self, call: Call) -> Answer:
        """These too."""
        return await self._change(call, _given(await call.document()), rest=True)

    async def item(self, call: Call) -> Answer:
        """One."""
        _check(call, METADATA_GONE)
        key, items = call.parameters["key"], _items(await self._image(call))
        if key not in items:
            raise not_found(f"Metadata item {key[:64]} was not found.")
        return Answer(body={"meta": {key: items[key]}})

    async def set_item(self, call: Call) -> Answer:
        """One."""
        key = call.parameters["key"]
        given = fields.metadata("meta", member(only(await call.document(), ("meta",)), "meta"))
        if set(given) != {key}:
            raise bad_request("Request body and URI mismatch")
        await self._change(call, given, rest=True)
        return Answer(body={"meta": given})

    async def remove_item(self, call: Call) -> Answer:
        """One less."""
        _check(call, METADATA_GONE)
        key, items = call.parameters["key"], _items(await self._image(call))
        if key not in items:
            raise not_found(f"Image does not have the metadata item {key[:64]}.")
        await self._patch(call, [{"op": "remove", "path": "/" + _pointer(key)}])
        return Answer(204)

    async def _change(self, call: Call, given: Mapping[str, str], *, rest: bool) -> Answer:
        _check(call, METADATA_GONE)
        have = _items(await self._image(call))
        operations: list[View] = []
        if not rest:
            operations += [{"op": "remove", "path": "/" + _pointer(name)} for name in have if name not in given]
        for name, value in given.items():
            operations.append({"op": "replace" if name in have else "add", "path": "/" + _pointer(name), "value": value})
        changed = _items(await self._patch(call, operations)) if operations else have
        return Answer(body={"metadata": changed})

    async def _patch(self, call: Call, operations: list[View]) -> View:
        path = ("v2", "images", call.parameters["image_id"])
        found: View = await self._images.ask(call, "PATCH", path, operations, content_type=PATCH)
        return found

    async def _image(self, call: Call) -> View:
        try:
            found: View = await self._images.ask(call, "GET", ("v2", "images", call.parameters["image_id"]))
        except CallRefused as refused:
            if refused.status == 404:
                raise not_found("Image not found.") from None
            raise
        return found

    async def _list(self, call: Call, path: str, *, detail: bool) -> Answer:
        _check(call, GONE)
        limit = limit_of(call, default=0, most=PAGE) or PAGE
        query = [("limit", str(limit))]
        status = None
        for name, value in call.query:
            if name in _FILTERS:
                query.append((_FILTERS[name], value))
            elif name == "status":
                status = value.upper()
                query += [("status", "active")] if status == "ACTIVE" else []
            elif name == "changes-since":
                query.append(("updated_at", "gte:" + time_text(time_us(value))))
            elif name == "server":
                found = _SERVER.search(value)
                query.append(("instance_uuid", found.group(0) if found else value))
            elif name.startswith("property-"):
                query.append((name.removeprefix("property-"), value))
            elif name == "marker":
                query.append((name, value))
        images: list[View] = (await self._images.ask(call, "GET", ("v2", "images"), query=query))["images"]
        views = [self._view(image) for image in images]
        views = [view for view in views if status in (None, view["status"])]
        shown = views if detail else [{name: view[name] for name in ("id", "name", "links")} for view in views]
        body: View = {"images": shown}
        if call.first("limit") is not None and images:
            body |= next_links(call, path, "images", limit, [image["id"] for image in images])
        return Answer(body=body)

    def _view(self, image: View) -> View:
        url, id_ = self._service.url, image["id"]
        status, progress = _STATUS.get(image["status"], ("UNKNOWN", 0))
        origin = url.removesuffix("/compute")
        view: View = {
            "id": id_, "name": image["name"], "status": status, "progress": progress, "created": image["created_at"], "updated": image["updated_at"],
            "minDisk": image["min_disk"], "minRam": image["min_ram"], "metadata": _items(image), "OS-EXT-IMG-SIZE:size": image["size"],
            "links": [
                {"rel": "self", "href": f"{url}/v2.1/images/{id_}"}, {"rel": "bookmark", "href": f"{url}/images/{id_}"},
                {"rel": "alternate", "type": "application/vnd.openstack.image", "href": f"{origin}/image/images/{id_}"},
            ],
        }  # fmt: skip
        server = image.get("instance_uuid")
        if server:
            view["server"] = {
                "id": server,
                "links": [{"rel": "self", "href": f"{url}/v2.1/servers/{server}"}, {"rel": "bookmark", "href": f"{url}/servers/{server}"}],
            }
        return view


def _check(call: Call, gone: Version) -> None:
    """Raises 404 in the versions that know nothing of images any more."""
    if call.version >= gone:
        raise not_found()


def _items(image: View) -> dict[str, str]:
    return {name: str(value) for name, value in image.items() if name not in _BASE and value is not None}


def _given(document: View) -> dict[str, str]:
    return fields.metadata("metadata", member(only(document, ("metadata",)), "metadata"))


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
