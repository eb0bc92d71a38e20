"""Whole volumes as streams of bytes: import, export, and volumes from images."""

import dataclasses
from collections.abc import AsyncIterator

from objstore.errors import InvalidArgument
from objstore.objects.api import Principal
from objstore.runtime.world import World
from objstore.services.volume.attach import attach
from objstore.services.volume.device import Device
from objstore.services.volume.objects import VolumeObjects, close
from objstore.services.volume.settings import VolumeSettings

ZEROS_BYTES = 64 * 1024
_ZEROS = bytes(ZEROS_BYTES)


async def load(
    objects: VolumeObjects, world: World, volume: bytes, settings: VolumeSettings, pieces: AsyncIterator[bytes | memoryview], *, holder: str
) -> int:  # fmt: skip
    """Attach a blank volume, fill it from a stream, let go of it; how many bytes came.  Nothing is kept on this host.

    A load that broke off leaves the volume attached to `holder`, who may load it anew.  Raises VolumeInUse, InvalidArgument.
    """
    changes = dataclasses.replace(settings, durability="store")
    attached = await attach(objects, world, volume, changes, holder=holder, directory="")
    try:
        written = await fill(attached.device, pieces)
        await attached.detach()
    finally:
        await attached.aclose()
    return written


async def load_object(
    objects: VolumeObjects, world: World, volume: bytes, settings: VolumeSettings, source: tuple[Principal, str, str], *, holder: str
) -> int:  # fmt: skip
    """Fill a blank volume from an object that holds a raw image: `source` is who may read it, its bucket and its key.

    Raises what `load` and reading the object raise; InvalidArgument for an object longer than the volume, before anything is written.
    """
    who, bucket, key = source
    size, chunks = await objects.read_object(who, bucket, key)
    room = (await objects.head(volume)).head.size_bytes
    if size > room:
        await close(chunks)
        raise InvalidArgument(f"the image has {size} bytes, the volume {room}")
    try:
        return await load(objects, world, volume, settings, chunks, holder=holder)
    finally:
        await close(chunks)


async def fill(device: Device, pieces: AsyncIterator[bytes | memoryview], *, offset: int = 0) -> int:
    """Write a stream to an attached volume, whose zeros take no room; where it ended.  It is in the store when this returns.

    The volume must be blank from `offset` on.  Raises InvalidArgument when there is more than the volume takes.
    """
    at = offset
    async for piece in pieces:
        if at + len(piece) > device.size_bytes:
            raise InvalidArgument(f"the stream is longer than the volume, which has {device.size_bytes} bytes")
        view = memoryview(piece)
        for start in range(0, len(view), ZEROS_BYTES):
            part = view[start : start + ZEROS_BYTES]
            if part != _ZEROS[: len(part)]:
                await device.write(at + start, part)
        at += len(view)
    await device.commit()
    return at


async def pour(device: Device, *, offset: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
    """The bytes of a volume, in order, a chunk at a time; those of a chunk are of one moment."""
    end = device.size_bytes if length is None else min(device.size_bytes, offset + length)
    while offset < end:
        size = min(device.chunk_bytes - offset % device.chunk_bytes, end - offset)
        yield b"".join(await device.read(offset, size))
        offset += size
