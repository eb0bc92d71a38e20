"""What is done to volumes as a whole: create, resize, snapshot, clone, delete; none of it touches a chunk.

References to chunks that exist enter a volume at its creation only, while the volume they come from has pinned them: it is what lets
sweep.py find everything that is named by looking at the heads one by one.  So a clone goes:

1. Pin at the source, under an id that its maker drew.
2. Create the clone's head, which names its maker.
3. Look whether the pin is still there: then all that the clone names was there when its head was.
4. Take the maker out of the clone's head: from now on it is a volume like any other.
5. Unpin.

Whoever finds a head with a maker does 3 to 5 for him; where the pin is gone, the head goes, for what it names may have been swept before it
was there.  Both are swaps of that one head, so that one of them happens.  A cut anywhere leaves a pin at most, which the next to make the
clone, to delete the source, or to sweep takes back.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from objstore.errors import ConditionalConflict, InvalidArgument, NoSuchKey, PreconditionFailed, TooBusy, Unavailable
from objstore.services.volume.attach import VolumeInUse
from objstore.services.volume.layout import (
    CLONE,
    DEFAULT_CHUNK_BYTES,
    HOLE,
    SNAPSHOT,
    VOLUME_ID_BYTES,
    Head,
    Pin,
    Tree,
    check_shape,
    levels_for,
    volume_id,
)
from objstore.services.volume.objects import Swapped, VolumeObjects

SWAP_ATTEMPTS = 32  # each has another's success before it
# A clone takes milliseconds; its pin is taken back after this.  Below the minutes for which a job that deletes the source is tried again.
CLONE_PATIENCE_S = 120.0


class HasSnapshots(ConditionalConflict):
    """The volume has snapshots, or is being cloned."""


class NoSuchSnapshot(NoSuchKey):
    """The volume has no such snapshot."""


@dataclass(frozen=True)
class Volumes:
    """Operations on volumes that no process of this host needs to serve."""

    objects: VolumeObjects

    async def create(self, size_bytes: int, *, chunk_bytes: int = DEFAULT_CHUNK_BYTES, name: str = "", volume: bytes = b"") -> Head:
        """A volume of zeros, which takes no room.  `volume` chooses its id, never used before.  Raises InvalidArgument, PreconditionFailed."""
        check_shape(size_bytes, chunk_bytes)
        tree = Tree(size_bytes, levels_for(size_bytes, chunk_bytes), HOLE)
        return (await self._create(tree, chunk_bytes, name, volume or self._new_id())).head

    async def head(self, volume: bytes) -> Head:
        """Raises NoSuchKey."""
        return (await self.objects.head(volume)).head

    async def list(self) -> list[Head]:
        """All volumes."""
        found = []
        async for volume in self.objects.volumes():
            with contextlib.suppress(NoSuchKey):
                found.append((await self.objects.head(volume)).head)
        return found

    async def resize(self, volume: bytes, size_bytes: int) -> Head:
        """Make a volume that nobody has attached longer.  Raises VolumeInUse, InvalidArgument."""

        def change(head: Head) -> Head:
            if head.holder:
                raise VolumeInUse(f"volume {volume.hex()} is attached to {head.holder!r}: the process that serves it must resize it")
            return resized(head, size_bytes)

        return await self._change(volume, change)

    async def snapshot(self, volume: bytes, *, name: str = "", snapshot: bytes = b"") -> Pin:
        """Keep the tree that the store has of a volume now; of an attached one that is its last commit.  Raises InvalidArgument."""
        pin_id = snapshot or self._new_id()
        created_us = self.objects.clock.wall_us()

        def change(head: Head) -> Head:
            if head.pin(SNAPSHOT, pin_id) is not None:
                return head
            return msgspec.structs.replace(head, pins=(*head.pins, Pin(SNAPSHOT, pin_id, head.tree, created_us, name)))

        pin = (await self._change(volume, change)).pin(SNAPSHOT, pin_id)
        assert pin is not None
        return pin

    async def drop_snapshot(self, volume: bytes, snapshot: bytes) -> None:
        """Let go of a snapshot; its chunks go with the next sweep.  Raises NoSuchSnapshot."""

        def change(head: Head) -> Head:
            pin = pin_of(head, snapshot)
            return msgspec.structs.replace(head, pins=tuple(other for other in head.pins if other != pin))

        await self._change(volume, change)

    async def clone(self, volume: bytes, *, snapshot: bytes = b"", size_bytes: int = 0, name: str = "", clone: bytes = b"") -> Head:
        """A new volume that begins with what a snapshot keeps, or the store has of a volume now.  No chunk is copied.

        `size_bytes` makes it longer.  Raises NoSuchKey, NoSuchSnapshot, InvalidArgument, PreconditionFailed (it is there), Unavailable.
        """
        clone_id, maker = clone or self._new_id(), self._new_id()
        created_us = self.objects.clock.wall_us()

        def pin(head: Head) -> Head:
            if head.pin(CLONE, maker) is not None:
                return head
            tree = pin_of(head, snapshot).tree if snapshot else head.tree
            return msgspec.structs.replace(head, pins=(*head.pins, Pin(CLONE, maker, tree, created_us, clone_id.hex())))

        source = await self._change(volume, pin)
        kept = source.pin(CLONE, maker)
        assert kept is not None
        try:
            made = await self._create(grown(kept.tree, size_bytes, source.chunk_bytes), source.chunk_bytes, name, clone_id, maker)
        except (InvalidArgument, PreconditionFailed):
            await self._unpin(volume, lambda pin: pin.id == maker)
            raise
        settled = await self._settle(volume, made)
        if settled is None:
            raise Unavailable(f"making a clone of volume {volume.hex()} took so long that it was given up; make it anew")
        return settled

    async def clone_once(self, volume: bytes, clone: bytes, *, snapshot: bytes = b"", size_bytes: int = 0, name: str = "") -> Head:
        """The same; where the clone is there already, by whomever it was begun, it is completed and nothing else happens."""
        for _ in range(SWAP_ATTEMPTS):
            with contextlib.suppress(NoSuchKey):
                there = await self._settle(volume, await self.objects.head(clone))
                if there is not None:
                    return there
            with contextlib.suppress(PreconditionFailed):
                return await self.clone(volume, snapshot=snapshot, size_bytes=size_bytes, name=name, clone=clone)
        raise TooBusy(f"volume {clone.hex()} is being made and removed without pause")

    async def _settle(self, volume: bytes, at: Swapped) -> Head | None:
        """A clone of `volume` whose head is there becomes a volume like any other; None where it had to be removed."""
        clone, maker = at.head.volume, at.head.maker
        while at.head.maker:
            pin = None
            with contextlib.suppress(NoSuchKey):  # a source that is gone has no pins
                pin = (await self.objects.head(volume)).head.pin(CLONE, maker)
            try:
                if pin is None:
                    await self.objects.remove(at)
                    return None
                at = await self.objects.swap(msgspec.structs.replace(at.head, maker=b""), at)
            except PreconditionFailed:
                try:
                    at = await self.objects.head(clone)  # settled by another, or removed
                except NoSuchKey:
                    return None
        with contextlib.suppress(NoSuchKey):
            await self._unpin(volume, lambda pin: _is_for(pin, clone))
        return at.head

    async def delete(self, volume: bytes, *, force: bool = False) -> None:
        """Remove a volume; its chunks go with the next sweep.  Raises NoSuchKey, HasSnapshots, VolumeInUse (unless `force`)."""
        await self.end_clones(await self.head(volume))
        for _ in range(SWAP_ATTEMPTS):
            at = await self.objects.head(volume)
            if at.head.pins:
                raise HasSnapshots(f"volume {volume.hex()} has {len(at.head.pins)} snapshots or clones in the making; delete them first")
            if at.head.holder and not force:
                raise VolumeInUse(f"volume {volume.hex()} is attached to {at.head.holder!r}")
            try:
                await self.objects.remove(at)
            except PreconditionFailed:
                continue
            return
        raise TooBusy(f"volume {volume.hex()} is being changed without pause")

    async def free(self, volume: bytes) -> Head:
        """Take a volume away from a host that is dead: its commits are refused from now on, what only its journal has is given up.

        Nothing happens where nobody has it.  Raises NoSuchKey.
        """
        dead = (await self.head(volume)).holder

        def change(head: Head) -> Head:
            if not head.holder or head.holder != dead:  # after a swap whose answer was lost it may be the next one's by now
                return head
            return msgspec.structs.replace(head, epoch=head.epoch + 1, generation=head.generation + 1, holder="", journal=b"", position=0)

        return await self._change(volume, change)

    async def end_clones(self, head: Head) -> int:
        """Take back the pins of clones that are made, and of those whose makers seem to have died; how many.

        Should such a maker live, his clone fails.
        """
        ended, now_us = 0, self.objects.clock.wall_us()
        for pin in head.pins:
            if pin.kind != CLONE:
                continue
            clone, made = _clone_of(pin), None
            with contextlib.suppress(NoSuchKey):
                made = await self.objects.head(clone)
            if made is not None and (not made.head.maker or pin.created_us < now_us - int(CLONE_PATIENCE_S * 1e6)):
                await self._settle(head.volume, made)
            elif made is None and pin.created_us < now_us - int(CLONE_PATIENCE_S * 1e6):
                await self.end_clone(head.volume, clone)
            else:
                continue
            ended += 1
        return ended

    async def end_orphan(self, clone: Head) -> bool:
        """Remove a clone whose head names a maker who has no pin any more, and may be dead; whether it was.

        Who saw the pin before it went completes the clone by a swap of this head, or finds it gone and makes it anew.
        """
        if clone.created_us > self.objects.clock.wall_us() - int(CLONE_PATIENCE_S * 1e6):
            return False
        with contextlib.suppress(NoSuchKey, PreconditionFailed):
            at = await self.objects.head(clone.volume)
            if at.head.maker == clone.maker:
                await self.objects.remove(at)
                return True
        return False

    async def end_clone(self, volume: bytes, clone: bytes) -> None:
        """Take back the pins of a clone whose makers seem to have died; should one live, his clone fails.  Nothing raises where `volume` is gone."""
        with contextlib.suppress(NoSuchKey):
            await self._unpin(volume, lambda pin: _is_for(pin, clone))

    async def _unpin(self, volume: bytes, ends: Callable[[Pin], bool]) -> None:
        def change(head: Head) -> Head:
            kept = tuple(pin for pin in head.pins if pin.kind != CLONE or not ends(pin))
            return head if len(kept) == len(head.pins) else msgspec.structs.replace(head, pins=kept)

        await self._change(volume, change)

    async def _create(self, tree: Tree, chunk_bytes: int, name: str, volume: bytes, maker: bytes = b"") -> Swapped:
        created_us = self.objects.clock.wall_us()
        return await self.objects.create(Head(volume, chunk_bytes, tree, b"", created_us, name=name, maker=maker))

    async def _change(self, volume: bytes, change: Callable[[Head], Head]) -> Head:
        """Swap the head for what `change` makes of it, which may run more than once."""
        for _ in range(SWAP_ATTEMPTS):
            at = await self.objects.head(volume)
            wanted = change(at.head)
            if wanted is at.head:
                return wanted
            try:
                return (await self.objects.swap(wanted, at)).head
            except PreconditionFailed:
                continue
        raise TooBusy(f"volume {volume.hex()} is being changed without pause")

    def _new_id(self) -> bytes:
        return self.objects.rng.token(VOLUME_ID_BYTES)


def pin_of(head: Head, snapshot: bytes) -> Pin:
    """A snapshot of a volume.  Raises NoSuchSnapshot."""
    pin = head.pin(SNAPSHOT, snapshot)
    if pin is None:
        raise NoSuchSnapshot(f"volume {head.volume.hex()} has no snapshot {snapshot.hex()}")
    return pin


def _clone_of(pin: Pin) -> bytes:
    """The volume that a pin is for.  Pins of older versions have the id of the clone, and its name."""
    try:
        return volume_id(pin.name)
    except InvalidArgument:
        return pin.id


def _is_for(pin: Pin, clone: bytes) -> bool:
    return clone in (pin.id, _clone_of(pin))


def grown(tree: Tree, size_bytes: int, chunk_bytes: int) -> Tree:
    """The tree at least this long; levels that it then needs are added by who next writes nodes.  Raises InvalidArgument."""
    if size_bytes and size_bytes < tree.size_bytes:
        raise InvalidArgument(f"a volume of {tree.size_bytes} bytes cannot be made shorter: {size_bytes}")
    return msgspec.structs.replace(tree, size_bytes=max(size_bytes, tree.size_bytes))


def resized(head: Head, size_bytes: int) -> Head:
    """The head of a longer volume.  Raises InvalidArgument."""
    check_shape(size_bytes, head.chunk_bytes)
    return msgspec.structs.replace(head, tree=grown(head.tree, size_bytes, head.chunk_bytes))
