"""Images as volumes: made once, cloned without copying, gone with their image."""

import asyncio

import pytest
from sqlalchemy import Connection, select, update

from objstore.runtime.sql import IntegrityError
from objstore.services.tables.jobs import Job
from objstore.services.volume.api.tables import BASES
from objstore.services.volume.base_disks import MAKE, ImageUnusable, whole_sectors
from tests.support.block_rig import GIB, BlockRig, in_virtual_time, on_block_rig
from tests.support.image_rig import ALICE


async def bases_of(rig: BlockRig) -> list[tuple[str, str]]:
    def work(connection: Connection) -> list[tuple[str, str]]:
        return [(row.image, row.status) for row in connection.execute(select(BASES)).all()]

    return await rig.sql.read(work)


def test_many_who_need_an_image_get_one_volume() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"a" * 200_000 + bytes(300_000))
        found = await asyncio.gather(*(rig.desk.bases.ensure(image) for _ in range(5)))
        assert len({base.volume for base in found}) == 1
        assert found[0].size_bytes == whole_sectors(500_000)
        assert len(await rig.stored()) == 1
        assert await rig.bytes_of(found[0].volume.hex(), 500_000) == b"a" * 200_000 + bytes(300_000)

    on_block_rig(test)


def test_a_clone_is_as_long_as_asked_and_can_be_asked_for_twice() -> None:
    async def test(rig: BlockRig) -> None:
        image, disk = await rig.image(b"disk"), bytes(range(16))
        for _ in range(2):
            await rig.desk.bases.clone(image, disk, 2 * GIB)
        assert (await rig.volumes.head(disk)).size_bytes == 2 * GIB
        with pytest.raises(ImageUnusable, match="which is more than"):
            await rig.desk.bases.clone(image, bytes(16), 100)

    on_block_rig(test)


def test_an_active_image_gets_its_base_before_anybody_asks_and_loses_it_when_it_goes() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"disk")
        archive = await rig.image(b"archive", container_format="ova")
        await asyncio.sleep(6)
        await rig.stored()
        assert sorted(await bases_of(rig)) == sorted([(image, "ready"), (archive, "error")])
        clone = await rig.volume(image_id=image)
        for id_ in (image, archive):
            assert (await rig.ask("DELETE", f"/v2/images/{id_}", who=ALICE)).status == 204
        await asyncio.sleep(6)
        assert await rig.stored() == [clone.replace("-", "")]
        assert await bases_of(rig) == []
        assert await rig.bytes_of(clone.replace("-", ""), 4) == b"disk"

    on_block_rig(test)


@in_virtual_time
def test_lazily_nothing_is_made_before_it_is_needed() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"disk")
        await asyncio.sleep(20)
        assert await rig.stored() == []
        assert (await rig.desk.bases.ensure(image)).size_bytes == 512

    on_block_rig(test, convert="lazy")


def test_a_run_that_died_is_begun_anew_and_leaves_nothing() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"disk")
        half = (await rig.volumes.create(512, name="base of image")).volume
        await rig.desk.bases.ensure(image)

        def died(connection: Connection) -> None:
            connection.execute(update(BASES).values(status="coming", data=half.hex()))

        before = await rig.stored()
        await rig.sql.write(died)
        await rig.desk.bases.make(Job("j", MAKE, image, {}, 1))
        base = await rig.desk.bases.ensure(image)
        assert half.hex() not in await rig.stored()
        assert base.volume.hex() not in before

    on_block_rig(test, convert="lazy")


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"garbage", {"disk_format": "qcow2"}), (b"%d\n" % (8 * GIB), {"disk_format": "vhd"}), (b"0\n", {"disk_format": "vdi"}),
        (b"10\n" + bytes(range(1, 200)) * 20, {"disk_format": "vmdk"}), (b"kernel", {"disk_format": "aki", "container_format": "aki"}),
        (b"", {"disk_format": "raw"}),
    ],
)  # fmt: skip
def test_what_is_no_disk_is_refused_at_every_try_and_leaves_nothing(data: bytes, fields: dict[str, str]) -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(data, **fields)
        for _ in range(2):
            with pytest.raises(ImageUnusable):
                await rig.desk.bases.ensure(image)
        assert await rig.stored() == []
        with pytest.raises(ImageUnusable):
            await rig.desk.bases.ensure("no-such-image")

    on_block_rig(test, convert_max_bytes=4 * GIB)


def test_a_volume_becomes_an_image_again() -> None:
    async def test(rig: BlockRig) -> None:
        image = await rig.image(b"disk" + bytes(508))
        base = await rig.desk.bases.ensure(image)
        copy = await rig.made()
        await rig.desk.bases.to_image(base.volume, copy)
        shown = await rig.show(copy)
        assert (shown["status"], shown["size"]) == ("active", 512)
        assert shown["checksum"] == (await rig.show(image))["checksum"]

    on_block_rig(test)


@in_virtual_time
def test_two_processes_that_write_the_same_record_both_go_on() -> None:
    async def test(rig: BlockRig) -> None:
        bases, met = rig.block.bases, []
        real = bases._compare

        def meet(connection: Connection) -> int:
            if not met:
                met.append(1)
                raise IntegrityError("INSERT", {}, Exception("another process was faster"))
            return real(connection)

        bases._compare = meet  # type: ignore[method-assign]
        image = await rig.image(b"disk")
        await asyncio.sleep(20)
        assert met
        assert await bases_of(rig) == [(image, "ready")]

    on_block_rig(test)
