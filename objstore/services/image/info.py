"""Calls on the service itself: its versions, ways to import, stores, and what a project uses."""

from objstore.services.calls.call import Answer, Call, Handler
from objstore.services.calls.problems import not_found
from objstore.services.image import records
from objstore.services.image.service import ImageService

# Of these minor versions everything is served but what docs/reference/image.md leaves out.
CURRENT = 16
LOWEST = 0
_LEFT_OUT = (8, 14)  # several stores; the cache


class InfoCalls:
    """The handlers."""

    def __init__(self, service: ImageService) -> None:
        self._service = service

    def routes(self) -> dict[tuple[str, str], Handler]:
        """(method, template) -> handler."""
        return {
            ("GET", "/"): self.choices, ("GET", "/versions"): self.versions, ("GET", "/v2"): self.choices,
            ("GET", "/v2/info/import"): self.imports, ("GET", "/v2/info/stores"): self.stores, ("GET", "/v2/info/stores/detail"): self.stores,
            ("GET", "/v2/info/usage"): self.usage,
        }  # fmt: skip

    async def choices(self, call: Call) -> Answer:
        """The versions, to whoever did not say which."""
        return Answer(300, _versions(call))

    async def versions(self, call: Call) -> Answer:
        """The versions."""
        return Answer(200, _versions(call))

    async def imports(self, call: Call) -> Answer:
        """Ways to import."""
        return Answer(
            body={
                "import-methods": {"description": "Import methods available.", "type": "array", "value": list(self._service.import_methods)}
            }
        )

    async def stores(self, call: Call) -> Answer:
        """There is no choice of stores, which services without one say so."""
        raise not_found("Multi backend is not supported at this site.")

    async def usage(self, call: Call) -> Answer:
        """What the caller's project has and may have."""
        call.check_read()
        project, settings = call.project, self._service.settings
        used = await self._service.read(lambda connection: records.usage_of(connection, project))
        mebibytes = 1024 * 1024
        limit = settings.quota_bytes // mebibytes if settings.quota_bytes else -1
        rows = {
            "image_size_total": (limit, used.size_bytes // mebibytes), "image_stage_total": (limit, used.staged_bytes // mebibytes),
            "image_count_total": (settings.quota_images or -1, used.images), "image_count_uploading": (-1, used.uploading),
        }  # fmt: skip
        return Answer(body={"usage": {name: {"limit": most, "usage": have} for name, (most, have) in rows.items()}})


def _versions(call: Call) -> dict[str, object]:
    numbers = [number for number in range(CURRENT, LOWEST - 1, -1) if number not in _LEFT_OUT]
    return {
        "versions": [
            {
                "id": f"v2.{number}", "status": "CURRENT" if number == CURRENT else "SUPPORTED",
                "links": [{"rel": "self", "href": f"{call.base_url}/v2/"}],
            }
            for number in numbers
        ]
    }  # fmt: skip
