"""Writing an image's bytes: from the first byte to the moment at which the image is what was uploaded, or as it was before.

An upload holds the image by an id of its own and a lease that it renews.  Whoever finds that it no longer holds the image (deleted, or
taken back because the lease had run out) throws away what it wrote.  An upload that dies is ended by `sweep`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, and_, select, update

from objstore.errors import Unavailable
from objstore.runtime.sql import Sql
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.services.calls.problems import CallRefused, bad_request, conflict, too_large
from objstore.services.image import records
from objstore.services.image.content import Bodies, Stored
from objstore.services.image.formats import FormatRefused, Inspection
from objstore.services.image.records import ACTIVE, COMING, GOING, IMPORTING, QUEUED, SAVING, UPLOADING, WHOLE, Image
from objstore.services.image.settings import ImageSettings
from objstore.services.image.tables import BODIES, IMAGES, SERVICE
from objstore.services.tables.jobs import enqueue

log = logging.getLogger(__name__)

DROP = "drop-body"
HASH = "sha512"
SWEEP_S = 10.0
ORPHANS_EVERY_S = 3600.0
ORPHAN_AGE_US = 86_400_000_000  # objects that no record names are removed when they are this old


@dataclass(frozen=True)
class Held:
    """An upload that may go on."""

    image: Image
    operation: str  # its own id, and the body's
    room_bytes: int


@dataclass
class _Coming:
    """What an upload has brought by now, and may bring in all, which becomes less when others of the project bring more."""

    room_bytes: int
    got_bytes: int = 0

    async def counted(self, source: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for piece in source:
            self.got_bytes += len(piece)
            yield piece


class Uploads:
    """Uploads of one process."""

    def __init__(self, sql: Sql, bodies: Bodies, world: World, settings: ImageSettings) -> None:
        self._sql = sql
        self._bodies = bodies
        self._world = world
        self._settings = settings
        self._tasks = TaskOwner("image uploads")
        self._swept_orphans = 0.0

    def start(self) -> None:
        """Begin to look for uploads that died."""
        self._tasks.spawn(self._keep_sweeping(), name="sweep images")

    async def aclose(self) -> None:
        """Stop."""
        await self._tasks.aclose()

    def now_us(self) -> int:
        """The time."""
        return self._world.clock.wall_us()

    def check_count(self, connection: Connection, project: str) -> None:
        """Whether a project may have one more image.  Raises 413."""
        if 0 < self._settings.quota_images <= records.usage_of(connection, project).images:
            raise too_large(f"The project may have {self._settings.quota_images} images.")

    # -- one upload -----------------------------------------------------------------------------------------------

    async def receive(
        self, image_id: str, source: AsyncIterator[bytes], *, size: int | None, before: tuple[str, ...], during: str, staged: bool = False
    ) -> Stored:  # fmt: skip
        """Write bytes into an image that is in one of the states `before`; it is in the state `during` while they come.

        Afterwards it is active, or for `staged` still in the state `during`.  Raises 400, 404, 409, 413, Unavailable; then the image is
        queued again, or where it was importing still importing: its job says what becomes of it.
        """
        held = await self._begin(image_id, size, before, during)
        coming = _Coming(held.room_bytes)
        renewing = self._tasks.spawn(self._renew(held, coming), name="renew upload")
        try:
            assert held.image.disk_format is not None
            assert held.image.container_format is not None
            inspection = Inspection(held.image.disk_format, held.image.container_format, enforce=self._settings.enforce_format)
            stored = await self._bodies.write(
                held.operation, coming.counted(source), inspection, size=size, limit=lambda: coming.room_bytes
            )
            await self._finish(held, stored, staged=staged)
        except BaseException as failure:
            # Shielded: a client that goes away cancels this, and the image must not be left to its lease.
            await asyncio.shield(self._tasks.spawn(self._fail(held), name="give an image back"))
            if isinstance(failure, FormatRefused):
                raise bad_request(failure.message) from None
            raise
        finally:
            renewing.cancel()
        return stored

    async def _begin(self, image_id: str, size: int | None, before: tuple[str, ...], during: str) -> Held:
        settings, now_us = self._settings, self.now_us()
        operation = self._world.rng.token(16).hex()
        until_us = now_us + int(settings.lease_s * 1e6)

        def work(connection: Connection) -> Held:
            image = records.find_image(connection, image_id)
            if image is None:
                raise CallRefused(404, f"No image found with ID {image_id}")
            if image.status not in before or image.operation:
                raise conflict(f"Image status transition from {image.status} to {during} is not allowed")
            if image.disk_format is None or image.container_format is None:
                raise bad_request("Properties disk_format, container_format must be set prior to saving data.")
            room = room_for(settings, records.usage_of(connection, image.owner), size)
            records.new_body(connection, operation, image.owner, size=size or 0, until_us=until_us, now_us=now_us)
            records.change(
                connection, image_id, status=before, status_=during, operation_=operation, operation_until_us=until_us, updated_us=now_us
            )
            return Held(image, operation, room)

        return await self._sql.write(work)

    async def _renew(self, held: Held, coming: _Coming) -> None:
        """Keep the lease, and tell of what came so far: uploads that run at once share the project's quota, also where none said how long it is."""
        while True:
            await self._world.clock.sleep(self._settings.lease_s / 4)
            until_us = self.now_us() + int(self._settings.lease_s * 1e6)

            def work(connection: Connection, until_us: int = until_us, got: int = coming.got_bytes) -> int:
                connection.execute(update(IMAGES).where(IMAGES.c.operation == held.operation).values(operation_until_us=until_us))
                mine, row = and_(BODIES.c.id == held.operation, BODIES.c.status == COMING), records.body_of(connection, held.operation)
                size = max(got, int(row.size) if row is not None else 0)
                taken = connection.execute(update(BODIES).where(mine).values(until_us=until_us, size=size)).rowcount * size
                return _room(self._settings, records.usage_of(connection, held.image.owner).total_bytes - taken)

            try:
                coming.room_bytes = await self._sql.write(work)
            except Unavailable as failure:
                log.warning("the lease of an upload is not renewed now: %s", failure)

    async def _finish(self, held: Held, stored: Stored, *, staged: bool) -> None:
        now_us, rng, operation = self.now_us(), self._world.rng, held.operation
        if 0 < self._settings.max_virtual_bytes < (stored.found.virtual_size or 0):
            raise too_large("The disk in the image is larger than images may be.")

        def work(connection: Connection) -> None:
            usage = records.usage_of(connection, held.image.owner)
            announced = records.body_of(connection, operation)
            others = usage.total_bytes - (int(announced.size) if announced is not None else 0)
            if 0 < self._settings.quota_bytes < others + stored.size:
                raise too_large(f"The project may have {self._settings.quota_bytes} bytes of images.")
            connection.execute(
                update(BODIES).where(and_(BODIES.c.id == operation, BODIES.c.status == COMING)).values(
                    status=WHOLE, size=stored.size, checksum=stored.checksum, sha512=stored.sha512, format=stored.found.format,
                    virtual_size=stored.found.virtual_size,
                )
            )  # fmt: skip
            if staged:
                done = records.change(
                    connection,
                    held.image.id,
                    status=(UPLOADING,),
                    operation=operation,
                    staged=operation,
                    operation_="",
                    operation_until_us=0,
                )
            else:
                done = activate(
                    connection, held.image.id, operation, stored, now_us=now_us, before=(SAVING, IMPORTING), operation=operation
                )
            if not done:
                raise CallRefused(
                    410, f"Image {held.image.id} could not be found after upload. It may have been deleted during the upload."
                )
            if not staged and records.release(connection, operation):
                enqueue(connection, rng, SERVICE, DROP, operation, now_us=now_us)  # the same bytes were there before

        await self._sql.write(work)

    async def _fail(self, held: Held) -> None:
        now_us, rng = self.now_us(), self._world.rng
        # Queued by now, an import would be anybody's to begin anew, and this one's job would do its work on that one's image.
        after = IMPORTING if held.image.status == IMPORTING else QUEUED

        def work(connection: Connection) -> None:
            records.change(
                connection, held.image.id, status=(SAVING, UPLOADING, IMPORTING), operation=held.operation, status_=after, operation_="",
                operation_until_us=0, updated_us=now_us,
            )  # fmt: skip
            if records.release(connection, held.operation):
                enqueue(connection, rng, SERVICE, DROP, held.operation, now_us=now_us)

        try:
            await self._sql.write(work)
        except Unavailable as failure:
            log.warning("an upload that failed is left to its lease: %s", failure)

    # -- what others left -----------------------------------------------------------------------------------------

    async def drop(self, body: str) -> None:
        """Job: remove a body that no image names."""
        row = await self._sql.read(lambda connection: records.body_of(connection, body))
        if row is not None and row.status != GOING:
            return
        await self._bodies.drop(body)
        await self._sql.write(lambda connection: records.forget_body(connection, body))

    async def _keep_sweeping(self) -> None:
        clock = self._world.clock
        while True:
            try:
                await self.sweep()
                if clock.monotonic() - self._swept_orphans > ORPHANS_EVERY_S:
                    self._swept_orphans = clock.monotonic()
                    await self.sweep_orphans()
            except Unavailable as failure:
                log.warning("images are not swept now: %s", failure)
            except Exception:  # without this loop what died in the middle stays for ever
                log.exception("images are not swept now")
            await clock.sleep(SWEEP_S)

    async def sweep(self) -> int:
        """End uploads whose lease has run out; how many bodies go."""
        now_us, rng = self.now_us(), self._world.rng

        def work(connection: Connection) -> int:
            dead = and_(IMAGES.c.operation != "", IMAGES.c.operation_until_us < now_us, IMAGES.c.status.in_((SAVING, UPLOADING, IMPORTING)))
            for id_, status in connection.execute(select(IMAGES.c.id, IMAGES.c.status).where(dead)).all():
                # An import goes on with its job, which begins its upload again.
                after = IMPORTING if status == IMPORTING else QUEUED
                records.change(connection, id_, status=(status,), status_=after, operation_="", operation_until_us=0, updated_us=now_us)
            bodies = select(BODIES.c.id).where(and_(BODIES.c.status == COMING, BODIES.c.until_us < now_us))
            gone = [row.id for row in connection.execute(bodies)]
            for body in gone:
                if records.release(connection, body):
                    enqueue(connection, rng, SERVICE, DROP, body, now_us=now_us)
            return len(gone)

        return await self._sql.write(work)

    async def sweep_orphans(self) -> int:
        """Remove old objects that no record names; how many."""
        removed = 0
        async for body in self._bodies.ids(before_us=self.now_us() - ORPHAN_AGE_US):
            if await self._sql.read(partial(records.body_of, id_=body)) is None:
                await self._bodies.drop(body)
                removed += 1
        return removed


def activate(
    connection: Connection, image_id: str, body: str, stored: Stored, *, now_us: int, before: tuple[str, ...], operation: str | None
) -> bool:
    """Give an image its bytes; those of an earlier body where there is one of the same bytes.  Whether it was in one of the states."""
    same = records.body_like(connection, stored.sha512, stored.size, but=body)
    return records.change(
        connection, image_id, status=before, operation=operation, status_=ACTIVE, body=same or body, staged=None, operation_="",
        operation_until_us=0, size=stored.size, virtual_size=stored.found.virtual_size, checksum=stored.checksum, os_hash_algo=HASH,
        os_hash_value=stored.sha512, updated_us=now_us,
    )  # fmt: skip


def room_for(settings: ImageSettings, usage: records.Usage, size: int | None) -> int:
    """How many bytes an upload may bring.  Raises 413 when those announced are more."""
    room = _room(settings, usage.total_bytes)
    if size is not None and size > room:
        raise too_large(f"The image has {size} bytes; there is room for {room}.")
    if size is None and room == 0:
        raise too_large("The project's quota of bytes of images is used up.")
    return room


def _room(settings: ImageSettings, taken_bytes: int) -> int:
    """What is left of the quota beside what others take, and for one image."""
    return min(settings.max_bytes or 2**62, max(settings.quota_bytes - taken_bytes, 0) if settings.quota_bytes else 2**62)
