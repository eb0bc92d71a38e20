"""Images of other formats become disks, by the real qemu-img; hostile ones do not."""

import asyncio
import contextlib
import shutil
import struct
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from objstore.objects.context import ObjectSettings
from objstore.objects.store import ObjectStore
from objstore.services.volume.api.settings import BlockStorageSettings
from objstore.services.volume.attach import attach, view
from objstore.services.volume.base_disks import QEMU_FORMATS, ImageUnusable
from objstore.services.volume.convert import QemuConverter
from objstore.services.volume.device import Device
from objstore.services.volume.objects import VolumeObjects
from objstore.services.volume.operations import Volumes
from objstore.services.volume.settings import VolumeSettings
from tests.support.memory_cluster import MemoryCluster, memory_world
from tests.support.packages import install

MISSING = install(["qemu-utils"], lambda: shutil.which("qemu-img") is not None)
pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)
DISK = b"".join(bytes([number + 1]) * 70_000 + bytes(300_000) for number in range(5))
DISK += bytes(-len(DISK) % 512)
SETTINGS = VolumeSettings(durability="store", clean_bytes=1 << 20, changed_bytes=4 << 20)


class Disk:
    """base_disks.BlankDisk over a store in memory."""

    def __init__(self) -> None:
        self.world = memory_world()
        self.store = ObjectStore(MemoryCluster(), self.world, ObjectSettings())
        self.objects = VolumeObjects(self.store, self.world.clock, self.world.rng)
        self.size_bytes = 0

    @contextlib.asynccontextmanager
    async def open(self, size_bytes: int) -> AsyncIterator[Device]:
        self.size_bytes = size_bytes
        if size_bytes > 1 << 40:
            raise ImageUnusable("it is too long")
        await Volumes(self.objects).create(size_bytes, volume=bytes(16))
        attached = await attach(self.objects, self.world, bytes(16), SETTINGS, holder="h", directory="")
        try:
            yield attached.device
            await attached.detach()
        finally:
            await attached.aclose()

    async def content(self) -> bytes:
        device = view(self.objects, self.world, await self.objects.head(bytes(16)), SETTINGS)
        try:
            return b"".join([bytes(piece) for piece in await device.read(0, device.size_bytes)])
        finally:
            await device.aclose()


def converted(tmp_path: Path, data: bytes, format_: str, **settings: float) -> bytes:
    async def main() -> bytes:
        disk = Disk()
        await disk.store.start()
        await disk.objects.start()
        converter = QemuConverter(disk.world, str(tmp_path / "spool"), BlockStorageSettings(**settings))  # type: ignore[arg-type]

        async def chunks() -> AsyncIterator[bytes]:
            for start in range(0, len(data), 100_000):
                yield data[start : start + 100_000]

        try:
            await converter.convert(chunks(), format_, disk)
            return await disk.content()
        finally:
            converter.close()
            await disk.store.aclose()
            assert list((tmp_path / "spool").iterdir()) == []

    return asyncio.run(main())


def made(tmp_path: Path, format_: str, *options: str) -> bytes:
    (tmp_path / "raw").write_bytes(DISK)
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", format_, *options, str(tmp_path / "raw"), str(tmp_path / "image")], check=True
    )
    return (tmp_path / "image").read_bytes()


@pytest.mark.parametrize("format_", sorted(QEMU_FORMATS.values()))
def test_every_format_becomes_the_same_disk(tmp_path: Path, format_: str) -> None:
    found = converted(tmp_path, made(tmp_path, format_), format_)
    assert found[: len(DISK)] == DISK
    assert not any(found[len(DISK) :])  # some formats round sizes up


def test_compressed_clusters_are_unpacked(tmp_path: Path) -> None:
    assert converted(tmp_path, made(tmp_path, "qcow2", "-c"), "qcow2")[: len(DISK)] == DISK


def test_a_file_behind_an_image_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret" * 1000)
    image = tmp_path / "hostile"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(tmp_path / "secret"), "-F", "raw", str(image), "64K"], check=True)
    assert converted(tmp_path, image.read_bytes(), "qcow2") == bytes(65_536)
    data_file = tmp_path / "data-file"
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={tmp_path / 'secret2'}", str(data_file), "64K"], check=True
    )
    (tmp_path / "secret2").write_bytes(b"secret" * 20_000)
    (tmp_path / "secret2").chmod(0o644)
    with pytest.raises(ImageUnusable):
        converted(tmp_path, data_file.read_bytes(), "qcow2")


@pytest.mark.parametrize("cut", [0, 3, 100])
def test_broken_bytes_are_the_images_fault(tmp_path: Path, cut: int) -> None:
    data = made(tmp_path, "qcow2")
    with pytest.raises(ImageUnusable, match="qemu-img"):
        converted(tmp_path, data[:cut], "qcow2")


def test_a_disk_that_is_too_long_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    header = bytearray(made(tmp_path, "qcow2"))
    struct.pack_into(">Q", header, 24, 1 << 62)
    with pytest.raises(ImageUnusable):
        converted(tmp_path, bytes(header), "qcow2")


def test_a_conversion_has_a_limit_of_memory_and_of_time(tmp_path: Path) -> None:
    data = made(tmp_path, "qcow2")
    with pytest.raises(ImageUnusable):
        converted(tmp_path, data, "qcow2", convert_memory_bytes=1 << 20)
    with pytest.raises(ImageUnusable, match="more time"):
        converted(tmp_path, data, "qcow2", convert_timeout_s=0.001)
