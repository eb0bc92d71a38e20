"""The block storage service with the image service over a cluster and a database in memory, asked in the same process.

With OBJSTORE_TEST_DATABASE set to the URL of an empty PostgreSQL database the same tests run on that, in real time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import text

from objstore.runtime.sql import MEMORY
from objstore.services.volume.api.app import VolumeApp
from objstore.services.volume.api.service import ImageService, VolumeService
from objstore.services.volume.api.settings import BlockStorageSettings
from objstore.services.volume.api.tables import TABLES
from objstore.services.volume.attach import view
from objstore.services.volume.base_disks import BlankDisk, ImageUnusable
from objstore.services.volume.objects import VolumeObjects
from objstore.services.volume.operations import Volumes
from objstore.services.volume.settings import VolumeSettings
from objstore.services.volume.sweep import Sweeper
from objstore.services.volume.transfer import fill
from tests.support.image_rig import ALICE, DATABASE, PROJECTS, ImageRig, Reply, run_rig

GIB = 1024**3
in_virtual_time = pytest.mark.skipif(DATABASE != MEMORY, reason="it waits for long, which costs nothing on virtual time alone")
BLOCK_URL = "http://volume.test/volume"


class CopyingConverter:
    """The disk is what the bytes are after a first line that says their length; what it has not is refused."""

    async def convert(self, chunks: AsyncIterator[bytes | memoryview], format_: str, disk: BlankDisk) -> None:
        data = b"".join([bytes(chunk) async for chunk in chunks])
        length, _, rest = data.partition(b"\n")
        if not length.isdigit():
            raise ImageUnusable(f"it is not {format_}")

        async def pieces() -> AsyncIterator[bytes]:
            yield rest

        async with disk.open(int(length)) as device:
            await fill(device, pieces())


class BlockRig(ImageRig):
    """One process of the services."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(enforce_format=False)
        objects = VolumeObjects(self.store, self.world.clock, self.world.rng)
        self.volumes = Volumes(objects)
        images = ImageService(self.service.bodies, self.service.uploads, self.service.settings)
        self.block = VolumeService(
            self.sql, self.store, self.world, self.volumes, images, CopyingConverter(), BlockStorageSettings(**settings), VolumeSettings()
        )
        self.block_app = VolumeApp(self.block, self.registry, BLOCK_URL)
        self.running, self.desk = self.block_app.running, self.block_app.desk

    async def start(self) -> None:
        await self.sql.write(lambda connection: [connection.execute(text(f"DROP TABLE IF EXISTS {name}")) for name in TABLES.tables])
        await super().start()
        await self.block_app.start()

    async def aclose(self) -> None:
        await self.block_app.aclose()
        await super().aclose()

    async def api(
        self, method: str, path: str, body: Any = None, *, who: str = ALICE, version: str = "3.71", project: str | None = None, **rest: Any
    ) -> Reply:  # fmt: skip
        """One request to the block storage service, in a microversion ("" for none)."""
        headers = {"openstack-api-version": f"volume {version}"} if version else {}
        prefix = f"/volume/v3/{PROJECTS[who] if project is None else project}"
        image_app, self.app = self.app, self.block_app  # type: ignore[assignment]  # requests are told apart by who serves them
        try:
            return await self.ask(method, path, body, who=who, headers=headers, prefix=prefix, **rest)
        finally:
            self.app = image_app

    async def got(self, method: str, path: str, body: Any = None, status: int = 200, **rest: Any) -> Any:
        """The document of an answer that must have this status."""
        reply = await self.api(method, path, body, **rest)
        assert reply.status == status, (reply.status, reply.raw)
        return reply.body

    async def act(self, id_: str, action: str, fields: Any = None, status: int = 202, **rest: Any) -> Any:
        """An action on a volume."""
        return await self.got("POST", f"/volumes/{id_}/action", {action: fields}, status, **rest)

    async def volume(self, who: str = ALICE, size_gb: int | None = 1, **rest: Any) -> str:
        """The id of a new volume that is available."""
        id_ = await self.desk.create(PROJECTS[who], who, size_gb=size_gb, **rest)
        return (await self.becomes(id_, "available", who)).id

    async def becomes(self, id_: str, status: str, who: str = ALICE) -> Any:
        """The volume once it has this state."""
        for _ in range(2000):
            found = await self.desk.find(PROJECTS[who], id_)
            if found.status == status:
                return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"still {found.status}")

    async def image(self, data: bytes, **fields: Any) -> str:
        return await self.active(data, **fields)

    async def bytes_of(self, data_hex: str, length: int = 0) -> bytes:
        """What the store has of a volume."""
        objects = self.volumes.objects
        device = view(objects, self.world, await objects.head(bytes.fromhex(data_hex)), VolumeSettings())
        try:
            return b"".join([bytes(piece) for piece in await device.read(0, length or device.size_bytes)])
        finally:
            await device.aclose()

    async def stored(self) -> list[str]:
        """All volumes of the store, once no job is left."""
        for _ in range(2000):
            count = await self.sql.read(lambda connection: connection.execute(text("SELECT count(*) FROM jobs")).scalar_one())
            if not count:
                break
            await asyncio.sleep(0.05)
        return sorted(head.volume.hex() for head in await self.volumes.list())

    async def pieces(self) -> int:
        """Chunks and nodes that are left when what nobody names was swept."""
        await Sweeper(self.volumes.objects, grace_s=-1.0).run()
        objects = self.volumes.objects
        return sum([len([info async for info in objects.listed(prefix)]) for prefix in ("chunk/", "node/")])


def on_block_rig(test: Callable[[BlockRig], Awaitable[None]], **settings: Any) -> None:
    """Run a test on a rig of its own."""

    async def main() -> None:
        rig = BlockRig(**settings)
        await rig.start()
        try:
            await test(rig)
        finally:
            await rig.aclose()

    run_rig(main())
