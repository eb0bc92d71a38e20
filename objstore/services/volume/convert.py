"""Disks out of images that are not raw, by qemu-img in a jail.

The image's bytes lie in a file without a name; qemu-img is told their format and that there is nothing behind them, and writes what is not
zero over NBD into a volume that this process serves on a socket of its own.  What it complains about is the image's fault.
"""

import dataclasses
import json
from collections.abc import AsyncIterator

import msgspec

from objstore.errors import Unavailable
from objstore.runtime.commands import CommandFailed, ProgramMissing, find
from objstore.runtime.jail import Bounds, give, run_jailed, socket_directory, spooled
from objstore.runtime.world import World
from objstore.services.volume.api.settings import BlockStorageSettings
from objstore.services.volume.base_disks import BlankDisk, ImageUnusable
from objstore.services.volume.nbd.server import NbdServer

EXPORT = "disk"
SPARSE_BYTES = 65_536  # zeros of this length are not written
INFO_S = 60.0
SHOWN_CHARS = 300


class QemuConverter:
    """base_disks.Converter."""

    def __init__(self, world: World, directory: str, settings: BlockStorageSettings) -> None:
        self._world = world
        self._directory = directory  # on this host's disk; an image has room in it
        self._threads = world.new_threads("convert", 1)
        self._settings = settings
        self._bounds = Bounds(settings.convert_memory_bytes, settings.convert_timeout_s, settings.convert_uid)

    def close(self) -> None:
        """End its thread."""
        self._threads.close()

    async def convert(self, chunks: AsyncIterator[bytes | memoryview], format_: str, disk: BlankDisk) -> None:
        """Write the disk that an image holds.  Raises ImageUnusable, ProgramMissing, Unavailable."""
        find("qemu-img")
        try:
            async with spooled(chunks, self._directory, self._threads) as descriptor:
                source = _source(format_, descriptor)
                size = await self._size(source, descriptor)
                async with disk.open(size) as device:
                    server = NbdServer(self._world.net)
                    server.add(EXPORT, device)
                    try:
                        with socket_directory(self._bounds) as directory:
                            path = f"{directory}/nbd"
                            await server.listen(f"unix:{path}")
                            give(path, self._bounds)
                            target = f"driver=raw,file.driver=nbd,file.server.type=unix,file.server.path={path},file.export={EXPORT}"
                            await self._run(
                                "convert", "-n", "--target-is-zero", "-S", str(SPARSE_BYTES), "--target-image-opts", source, target,
                                descriptor=descriptor, bounds=self._bounds,
                            )  # fmt: skip
                    finally:
                        await server.aclose()
        except OSError as failure:
            raise Unavailable(f"an image cannot be converted on this host now: {failure.strerror}") from failure

    async def _size(self, source: str, descriptor: int) -> int:
        bounds = dataclasses.replace(self._bounds, timeout_s=INFO_S)
        answer = await self._run("info", "--output=json", source, descriptor=descriptor, bounds=bounds)
        try:
            return int(msgspec.json.decode(answer)["virtual-size"])
        except (msgspec.DecodeError, KeyError, TypeError, ValueError):
            raise ImageUnusable("qemu-img does not tell the size of its disk") from None

    async def _run(self, *arguments: str, descriptor: int, bounds: Bounds) -> bytes:
        try:
            output = await run_jailed("qemu-img", *arguments, bounds=bounds, pass_fds=(descriptor,))
        except ProgramMissing:
            raise
        except CommandFailed as failure:
            raise ImageUnusable("qemu-img used more time or wrote more than it may") from failure
        if output.code:
            raise ImageUnusable(f"qemu-img: {output.stderr.strip()[-SHOWN_CHARS:] or f'status {output.code}'}")
        return output.stdout


def _source(format_: str, descriptor: int) -> str:
    """The image as QEMU is told of it: its format is not guessed, and no other file is opened for it."""
    file = {"driver": "file", "filename": f"/proc/self/fd/{descriptor}", "locking": "off"}
    node: dict[str, object] = {"driver": format_, "file": file}
    if format_ == "qcow2":
        node["backing"] = None
    return "json:" + json.dumps(node)
