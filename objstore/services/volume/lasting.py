"""A host's volumes that stay attached while the process that serves them is stopped, killed and started again.

A compute agent's guests run on meanwhile; QEMU connects again by itself.  Which volumes those are is noted in files named after them:
written before an attach is answered, removed after a volume was let go of.  Snapshots are not noted: who reads them asks again.
"""

import asyncio
import logging

from objstore.errors import DamagedFile, NoSuchKey, ObjstoreError, PreconditionFailed
from objstore.runtime.disk import Disk
from objstore.runtime.tasks import Threads
from objstore.runtime.world import World
from objstore.services.volume.attach import VolumeInUse
from objstore.services.volume.device import Fenced
from objstore.services.volume.host import HostPlace, VolumeHost
from objstore.services.volume.layout import VOLUME_ID_BYTES
from objstore.services.volume.operations import Volumes
from objstore.services.volume.settings import VolumeSettings

log = logging.getLogger(__name__)

DIRECTORY = "attached"
AGAIN_S = 1.0  # between attempts to attach what the store could not give at the start


class LastingHost(VolumeHost):
    """A VolumeHost that remembers, in a directory of its own, what it has attached."""

    def __init__(
        self, volumes: Volumes, world: World, settings: VolumeSettings, place: HostPlace, *, notes: Disk, threads: Threads
    ) -> None:
        super().__init__(volumes, world, settings, place)
        self._clock = world.clock
        self._notes = notes
        self._threads = threads

    async def attach(self, volume: bytes, *, force: bool = False, again: bool = False) -> str:
        """As VolumeHost's, and noted when it returns."""
        name = await super().attach(volume, force=force, again=again)
        await self._threads.run(_note, self._notes, name)
        return name

    async def detach(self, name: str) -> None:
        """As VolumeHost's, and the note is gone when it returns, also where the volume is another's by now."""
        try:
            await super().detach(name)
        except Fenced:
            await self._threads.run(_forget, self._notes, name)
            raise
        await self._threads.run(_forget, self._notes, name)

    async def take_up(self) -> list[str]:
        """Attach what was attached when the last process ended; the ids of those that the store cannot give now (see `keep_taking_up`)."""
        return await self._take_up(await self._threads.run(_noted, self._notes))

    async def keep_taking_up(self, missing: list[str]) -> None:
        """Go on until all are attached."""
        while missing:
            await self._clock.sleep(AGAIN_S)
            missing = await self._take_up(missing)

    async def _take_up(self, names: list[str]) -> list[str]:
        done = await asyncio.gather(*map(self._take_up_one, names))
        return [name for name, attached in zip(names, done, strict=True) if not attached]

    async def _take_up_one(self, name: str) -> bool:
        try:
            await self.attach(bytes.fromhex(name), again=True)
        except (VolumeInUse, NoSuchKey, PreconditionFailed) as lost:
            log.error("volume %s was attached here and is not any more: %s", name, lost)  # noqa: TRY400 the message says all there is
            await self._threads.run(_forget, self._notes, name)
        except DamagedFile as damaged:
            log.error("volume %s cannot be attached again: %s", name, damaged)  # noqa: TRY400 the message says all there is
        except (ObjstoreError, OSError) as failure:
            log.warning("volume %s cannot be attached now: %s", name, failure)
            return False
        return True

    async def leave(self, *, patience_s: float) -> None:
        """Stop serving and stay attached.  What was written is brought into the store, as far as that can be done in time."""
        await self.server.aclose()
        try:
            async with asyncio.timeout(patience_s):
                await asyncio.gather(
                    *(device.commit() for device in self.served().values() if not device.read_only), return_exceptions=True
                )
        except TimeoutError:
            log.warning("not everything is in the store; the journals have it")
        for name in list(self.served()):
            await self._drop(name)


def _noted(disk: Disk) -> list[str]:
    disk.make_directory(DIRECTORY)
    return [name for name in disk.list(DIRECTORY) if len(name) == 2 * VOLUME_ID_BYTES and all(c in "0123456789abcdef" for c in name)]


def _note(disk: Disk, name: str) -> None:
    disk.make_directory(DIRECTORY)
    if not disk.exists(f"{DIRECTORY}/{name}"):
        disk.open(f"{DIRECTORY}/{name}", create=True, write=True).close()
        disk.sync_directory(DIRECTORY)


def _forget(disk: Disk, name: str) -> None:
    if disk.exists(f"{DIRECTORY}/{name}"):
        disk.unlink(f"{DIRECTORY}/{name}")
        disk.sync_directory(DIRECTORY)
