"""Backups' extents: what is written, taken over and read back."""

import msgspec
import pytest

from objstore.errors import DamagedFile
from objstore.objects.api import Attributes, Expected
from objstore.services.volume.api.backup_data import BUCKET, EXTENT_BYTES, WHO, Backups, Listed
from objstore.services.volume.attach import attach, view
from objstore.services.volume.device import Device
from objstore.services.volume.objects import WholeBody
from objstore.services.volume.settings import VolumeSettings
from tests.support.block_rig import BlockRig, on_block_rig

SETTINGS = VolumeSettings(durability="store")
EMPTY = Listed(1, 0, (), {"a": "b"}, {}, bootable=False, name="n", description="")


async def written(rig: BlockRig, volume: bytes, *parts: tuple[int, bytes]) -> None:
    attached = await attach(rig.volumes.objects, rig.world, volume, SETTINGS, holder="h", directory="")
    for offset, data in parts:
        await attached.device.write(offset, memoryview(data))
    await attached.detach()
    await attached.aclose()


async def go_on() -> None:
    """It is wanted still."""


async def backed_up(rig: BlockRig, volume: bytes, prefix: str, parent: tuple[str, Listed] | None = None) -> Listed:
    at = await rig.volumes.objects.head(volume)
    device = view(rig.volumes.objects, rig.world, at, SETTINGS)
    try:
        listed = msgspec.structs.replace(EMPTY, size_bytes=device.size_bytes)
        return await Backups(rig.store, rig.volumes.objects).write(prefix, device, at.head.tree, listed, parent, go_on)
    finally:
        await device.aclose()


async def restored(rig: BlockRig, prefix: str, size_bytes: int) -> bytes:
    volume = (await rig.volumes.create(size_bytes)).volume
    backups = Backups(rig.store, rig.volumes.objects)
    attached = await attach(rig.volumes.objects, rig.world, volume, SETTINGS, holder="h", directory="")
    await backups.restore(prefix, await backups.read_list(prefix), attached.device)
    device: Device = attached.device
    found = b"".join([bytes(piece) for piece in await device.read(0, size_bytes)])
    await attached.aclose()
    return found


@pytest.mark.parametrize("chunk_bytes", [64 * 1024, 16 * 1024 * 1024])
def test_a_backup_that_goes_on_has_only_what_changed_and_reads_as_a_whole(chunk_bytes: int) -> None:
    async def test(rig: BlockRig) -> None:
        size = 5 * EXTENT_BYTES - 512
        volume = (await rig.volumes.create(size, chunk_bytes=chunk_bytes)).volume
        await written(rig, volume, (100, b"a" * 1000), (4 * EXTENT_BYTES + 7, b"b" * 1000))
        first = await backed_up(rig, volume, "c/1")
        expected = bytearray(size)
        expected[100:1100] = b"a" * 1000
        expected[4 * EXTENT_BYTES + 7 : 4 * EXTENT_BYTES + 1007] = b"b" * 1000
        assert await restored(rig, "c/1", size) == expected
        await written(rig, volume, (4 * EXTENT_BYTES, b"c" * 3))
        second = await backed_up(rig, volume, "c/2", ("c/1", first))
        third = await backed_up(rig, volume, "c/3", ("c/2", second))
        expected[4 * EXTENT_BYTES : 4 * EXTENT_BYTES + 3] = b"c" * 3
        assert await restored(rig, "c/3", size) == expected
        assert not any(not extent.prefix for extent in third.extents)
        if chunk_bytes < EXTENT_BYTES:
            assert [extent.number for extent in first.extents] == [0, 4]
            assert [extent.prefix for extent in second.extents] == ["c/1", ""]

    on_block_rig(test)


def test_a_volume_of_zeros_is_a_list_alone() -> None:
    async def test(rig: BlockRig) -> None:
        volume = (await rig.volumes.create(1 << 30)).volume
        assert (await backed_up(rig, volume, "c/1")).extents == ()
        backups = Backups(rig.store, rig.volumes.objects)
        assert (await backups.read_list("c/1")).metadata == {"a": "b"}
        await backups.drop("c/1")
        with pytest.raises(Exception, match="c/1/list"):
            await backups.read_list("c/1")

    on_block_rig(test)


def test_other_bytes_than_were_written_are_damage() -> None:
    async def test(rig: BlockRig) -> None:
        volume = (await rig.volumes.create(EXTENT_BYTES)).volume
        await written(rig, volume, (0, b"a" * 1000))
        await backed_up(rig, volume, "c/1")
        for key in ("extent-00000000", "list"):
            body = WholeBody(b"x" * EXTENT_BYTES)
            await rig.store.put(WHO, BUCKET, f"c/1/{key}", body, attributes=Attributes(content_type="x"), expected=Expected())
            with pytest.raises(DamagedFile):
                await restored(rig, "c/1", EXTENT_BYTES)

    on_block_rig(test)
