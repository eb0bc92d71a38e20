"""Reading a volume that somebody else may write to, or remove: exports, backups, images of volumes, snapshots that are served.

What is read is a tree of one moment.  A head's next commit, or the end of a snapshot, may leave its chunks without a name, so that the sweep
removes them; a reader therefore writes an object that names the tree (`layout.Reader`), and writes it anew while it reads.  The sweep keeps what
it names.  A reader that dies is forgotten after `READER_PATIENCE_S`.  One that could not write for so long may find chunks gone: then it
fails, for references say what bytes must be.

The tree was read from the head before the reader was written, so the head is read again afterwards: where it still has the tree, a sweep that
read the head earlier keeps these chunks because of the head, and one that read it later finds the reader.  See ADR 16.
"""

import contextlib
import logging
from collections.abc import AsyncIterator
from hashlib import blake2b

import msgspec

from objstore.errors import ObjstoreError, Unavailable
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World
from objstore.services.volume.attach import view
from objstore.services.volume.device import Device
from objstore.services.volume.layout import HOLE, VOLUME_ID_BYTES, Head, Reader, Tree
from objstore.services.volume.objects import VolumeObjects
from objstore.services.volume.operations import pin_of
from objstore.services.volume.settings import VolumeSettings

log = logging.getLogger(__name__)

READER_PATIENCE_S = 900.0  # without a sign of life; nothing waits for readers, so that it may be long
RENEW_S = 120.0
ATTEMPTS = 16  # each has a commit of the volume's between two reads of its head


class Reading:
    """A device that shows one tree, which stays in the store until `aclose`."""

    def __init__(self, objects: VolumeObjects, device: Device, tree: Tree, reader: Reader | None) -> None:
        self.device = device
        self.tree = tree
        self._objects = objects
        self._reader = reader
        self._tasks = TaskOwner("reader of a volume")
        if reader is not None:
            self._tasks.spawn(self._renew(reader), name="renew")

    async def _renew(self, reader: Reader) -> None:
        clock = self._objects.clock
        while True:
            await clock.sleep(RENEW_S)
            try:
                await self._objects.put_reader(msgspec.structs.replace(reader, seen_us=clock.wall_us()))
            except ObjstoreError as failure:  # the next one may still be in time
                log.warning("volume %s is read, which cannot be told now: %s", reader.volume.hex(), failure)

    async def aclose(self) -> None:
        """Stop."""
        await self._tasks.aclose()
        await self.device.aclose()
        if self._reader is not None:
            with contextlib.suppress(ObjstoreError):  # it is forgotten in time
                await self._objects.drop_reader(self._reader.id)


async def open_reading(
    objects: VolumeObjects, world: World, volume: bytes, settings: VolumeSettings, *, snapshot: bytes = b"", who: str, is_one: bool = False
) -> Reading:  # fmt: skip
    """What a snapshot keeps, or without one what the store has of a volume now.  Raises NoSuchKey, NoSuchSnapshot, Unavailable.

    With `is_one` there is one reader of that name: it takes the place of one that died.
    """
    reader_id = _id_of(who) if is_one else world.rng.token(VOLUME_ID_BYTES)
    for attempt in range(ATTEMPTS):
        at = await objects.head(volume)
        tree = _tree(at.head, snapshot)
        reader = Reader(reader_id, volume, tree, objects.clock.wall_us(), who)
        if tree.root != HOLE:
            await objects.put_reader(reader)
            try:
                still = _tree((await objects.head(volume)).head, snapshot)
            except ObjstoreError:
                await _forget(objects, reader_id)
                raise
            if still != tree:
                continue  # a commit came between
        elif attempt:
            await _forget(objects, reader_id)
        return Reading(objects, view(objects, world, at, settings, tree), tree, reader if tree.root != HOLE else None)
    await _forget(objects, reader_id)
    raise Unavailable(f"volume {volume.hex()} is being changed without pause")


@contextlib.asynccontextmanager
async def reading(
    objects: VolumeObjects, world: World, volume: bytes, settings: VolumeSettings, *, snapshot: bytes = b"", who: str, is_one: bool = False
) -> AsyncIterator[Reading]:  # fmt: skip
    """The same, ended with the context."""
    opened = await open_reading(objects, world, volume, settings, snapshot=snapshot, who=who, is_one=is_one)
    try:
        yield opened
    finally:
        await opened.aclose()


async def forget(objects: VolumeObjects, *names: str) -> None:
    """Readers of these names, each one of its name, are dead: what they read goes, where nothing else names it."""
    for who in names:
        await _forget(objects, _id_of(who))


def _id_of(who: str) -> bytes:
    return blake2b(who.encode(), digest_size=VOLUME_ID_BYTES).digest()


async def _forget(objects: VolumeObjects, reader: bytes) -> None:
    with contextlib.suppress(ObjstoreError):  # it is forgotten in time
        await objects.drop_reader(reader)


def _tree(head: Head, snapshot: bytes) -> Tree:
    return pin_of(head, snapshot).tree if snapshot else head.tree
