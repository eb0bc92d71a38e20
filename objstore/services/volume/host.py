"""What one host's process does with volumes: attaches them, serves them over NBD, takes snapshots of what is being written, lets go.

The process that a compute agent (or a person) asks; it knows neither tenants nor users.  Calls for one volume run one after the other.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from objstore.errors import InvalidArgument, NoSuchKey, ObjstoreError, PreconditionFailed
from objstore.runtime.world import World
from objstore.services.volume.attach import Attached, VolumeInUse, attach
from objstore.services.volume.device import Device, Fenced
from objstore.services.volume.layout import Head, Pin, volume_id
from objstore.services.volume.nbd.server import NbdServer
from objstore.services.volume.operations import Volumes
from objstore.services.volume.readers import Reading, open_reading
from objstore.services.volume.settings import VolumeSettings

log = logging.getLogger(__name__)

EXPORTS_LIMIT = 256  # of one process


class NotServed(NoSuchKey):
    """This process does not serve that volume."""


@dataclass(frozen=True)
class HostPlace:
    """Who this host is, and where its journals lie."""

    holder: str  # its name, for ever
    directory_of: Callable[[bytes], str]  # volume -> the journal's directory
    alone: Callable[[bytes], AbstractContextManager[None]]  # keeps other processes of this host away from a volume's journal


@dataclass
class _Served:
    device: Device
    attached: Attached | None  # None: a snapshot
    stack: contextlib.ExitStack
    reading: Reading | None = None


class VolumeHost:
    """The volumes that this process serves, by the names of their exports."""

    def __init__(self, volumes: Volumes, world: World, settings: VolumeSettings, place: HostPlace) -> None:
        self.server = NbdServer(world.net)
        self._volumes = volumes
        self._world = world
        self._settings = settings
        self._place = place
        self._served: dict[str, _Served] = {}
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}  # and how many wait or are at it

    async def attach(self, volume: bytes, *, force: bool = False, again: bool = False) -> str:
        """Attach a volume and export it; the export's name.  Nothing happens when it is served already.

        With `again` it was attached here, and must not have been let go of or taken away since.

        Raises NoSuchKey, VolumeInUse, PreconditionFailed, ConditionalConflict, DamagedFile, OSError.
        """
        name = volume.hex()
        async with self._turn(name):
            if name in self._served and not isinstance(self._served[name].device.failure, Fenced):
                return name
            await self._drop(name)
            await self._attach(volume, force=force, again=again)
        return name

    async def attach_snapshot(self, volume: bytes, snapshot: bytes) -> str:
        """Export a snapshot, to be read only; the export's name.  Raises NoSuchKey."""
        name = f"{volume.hex()}@{snapshot.hex()}"
        async with self._turn(name):
            if name not in self._served:
                self._check_room()
                source = await open_reading(
                    self._volumes.objects, self._world, volume, self._settings, snapshot=snapshot, who=self._place.holder
                )
                self._serve(name, _Served(source.device, None, contextlib.ExitStack(), source))
        return name

    async def detach(self, name: str) -> None:
        """Take an export away; of a volume everything is in the store, and it is free for other hosts, when this returns.

        A volume that is not served and yet this host's, as the store has it, is let go of as well.

        Raises Fenced (it is another's by now, and gone from here), Unavailable or ConditionalConflict (it is served on), DamagedFile, OSError.
        """
        async with self._turn(name):
            if name not in self._served:
                await self._pick_up(name)
            served = self._served.get(name)
            if served is None:
                return
            try:
                if served.attached is not None:
                    self.server.remove(name)  # nobody may be told that a write was taken which nobody will commit
                    await served.attached.detach()
            except Fenced:
                await self._drop(name)
                raise
            except BaseException:
                self.server.add(name, served.device)
                raise
            self._forget(name)
            if served.reading is not None:
                await served.reading.aclose()

    async def snapshot(self, volume: bytes, *, name: str = "", snapshot: bytes = b"") -> Pin:
        """A snapshot of everything that was written before the call.  Raises NotServed, Unavailable, InvalidArgument."""
        await self._device(volume).commit()
        return await self._volumes.snapshot(volume, name=name, snapshot=snapshot)

    async def resize(self, volume: bytes, size_bytes: int) -> Head:
        """Make a volume longer; clients see it when they connect anew.  Raises NotServed, InvalidArgument."""
        device = self._device(volume)
        await device.resize(size_bytes)
        return device.at.head

    async def commit(self, volume: bytes) -> Head:
        """Returns when everything written before is in the store.  Raises NotServed, Fenced."""
        device = self._device(volume)
        await device.commit()
        return device.at.head

    def served(self) -> dict[str, Device]:
        """What is served."""
        return {name: served.device for name, served in sorted(self._served.items())}

    async def aclose(self, *, patience_s: float) -> None:
        """Stop serving and let go of everything.  What cannot be let go of in time stays attached; the journal has it."""
        await self.server.aclose()
        for name in list(self._served):
            try:
                async with asyncio.timeout(patience_s):
                    await self.detach(name)
            except (TimeoutError, ObjstoreError, OSError):
                await self._drop(name)

    def _device(self, volume: bytes) -> Device:
        served = self._served.get(volume.hex())
        if served is None:
            raise NotServed(f"volume {volume.hex()} is not attached here")
        return served.device

    async def _attach(self, volume: bytes, *, force: bool = False, again: bool = False) -> None:
        self._check_room()
        with contextlib.ExitStack() as stack:
            stack.enter_context(self._place.alone(volume))
            attached = await attach(
                self._volumes.objects, self._world, volume, self._settings,
                holder=self._place.holder, directory=self._place.directory_of(volume), force=force, again=again,
            )  # fmt: skip
            self._serve(volume.hex(), _Served(attached.device, attached, stack.pop_all()))

    async def _pick_up(self, name: str) -> None:
        """Attach what the store says is attached here: the answer to an attach was lost, or the process before this one ended."""
        try:
            volume = volume_id(name)
        except InvalidArgument:
            return
        try:
            if volume.hex() == name and (await self._volumes.head(volume)).holder == self._place.holder:
                await self._attach(volume, again=True)
        except NoSuchKey:
            return
        except (VolumeInUse, PreconditionFailed) as failure:
            log.warning("volume %s cannot be let go of here: %s", name, failure)

    def _check_room(self) -> None:
        if len(self._served) >= EXPORTS_LIMIT:
            raise InvalidArgument(f"this process serves {EXPORTS_LIMIT} volumes already, and no more")

    def _serve(self, name: str, served: _Served) -> None:
        self._served[name] = served
        self.server.add(name, served.device)

    def _forget(self, name: str) -> None:
        served = self._served.pop(name)
        self.server.remove(name)
        served.stack.close()  # from here on another process may have the journal: nothing of this one may touch it any more

    async def _drop(self, name: str) -> None:
        """Stop serving at once; the volume stays attached to this host, if it still is."""
        served = self._served.get(name)
        if served is None:
            return
        self.server.remove(name)
        try:
            with contextlib.suppress(ObjstoreError):
                await (served.attached or served.reading or served.device).aclose()
        finally:
            self._forget(name)

    @contextlib.asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        lock, waiting = self._turns.get(name) or (asyncio.Lock(), 0)
        self._turns[name] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._turns.pop(name)
            if waiting > 1:
                self._turns[name] = (lock, waiting - 1)
