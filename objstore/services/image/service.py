"""What the image service's calls work on: the database, the bucket, the settings; and how it starts and ends."""

from collections.abc import Callable
from typing import Any, TypeVar

from sqlalchemy import Connection

from objstore.objects.api import ObjectStoreApi
from objstore.runtime.download import Allowed
from objstore.runtime.sql import Sql
from objstore.runtime.world import World
from objstore.services.calls.call import Call
from objstore.services.image import records
from objstore.services.image.content import Bodies
from objstore.services.image.records import Image
from objstore.services.image.rights import check_change, may_see, unknown
from objstore.services.image.settings import ImageSettings
from objstore.services.image.tables import SCHEMA
from objstore.services.image.uploads import Uploads
from objstore.services.tables import jobs
from objstore.services.tables.migrations import migrate

T = TypeVar("T")
HASH_THREADS = 2


class ImageService:
    """One process's part of the service."""

    def __init__(self, sql: Sql, store: ObjectStoreApi, world: World, settings: ImageSettings, region: str = "") -> None:
        self.sql = sql
        self.world = world
        self.settings = settings
        self.region = region
        self._threads = world.new_threads("image-hash", HASH_THREADS)
        self.bodies = Bodies(store, self._threads)
        self.uploads = Uploads(sql, self.bodies, world, settings)
        self.allowed = Allowed(settings.web_download_hosts, settings.web_download_private, settings.web_download_ca_file)

    async def start(self) -> None:
        """Bring tables and bucket up to date, begin to look after uploads.  Raises Unavailable, SchemaAhead."""
        now_us = self.now_us()
        for schema in (jobs.SCHEMA, SCHEMA):
            await migrate(self.sql, schema, now_us)
        await self.bodies.start()
        self.uploads.start()

    async def aclose(self) -> None:
        """Stop."""
        await self.uploads.aclose()
        self._threads.close()

    def now_us(self) -> int:
        """The time."""
        return self.world.clock.wall_us()

    @property
    def import_methods(self) -> tuple[str, ...]:
        """Ways to import that work here."""
        web = ("web-download",) if self.settings.web_download_hosts else ()
        return ("glance-direct", *web, "glance-download")

    async def read(self, work: Callable[[Connection], T]) -> T:
        """A transaction that changes nothing."""
        return await self.sql.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """A transaction."""
        return await self.sql.write(work)

    async def image(self, call: Call) -> Image:
        """The image that a call's path names.  Raises 403, 404."""
        call.check_read()
        return await self.read(lambda connection: seen_image(connection, call, call.parameters["image_id"]))

    async def own_image(self, call: Call) -> Image:
        """The same for a caller who may change it.  Raises 403, 404."""
        image = await self.image(call)
        check_change(call, image)
        return image


def seen_image(connection: Connection, call: Call, id_: str) -> Image:
    """An image that the caller sees.  Raises 404."""
    image = records.find_image(connection, id_)
    if image is None or not may_see(call, image, records.member_status(connection, id_, call.project)):
        raise unknown(id_)
    return image


Row = Any
