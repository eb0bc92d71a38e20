"""Whole volumes as streams of bytes: import, export, and volumes from images."""

from collections.abc import AsyncIterator

from objstore.errors import InvalidArgument
from objstore.services.volume.device import Device

ZEROS_BYTES = 64 * 1024
_ZEROS = bytes(ZEROS_BYTES)


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
