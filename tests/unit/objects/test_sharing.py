import asyncio

from objstore.core.rows import RowKey, Space
from objstore.objects.api import CopySource
from objstore.objects.reclaim import PartReclaimer
from tests.support.store_rig import ALICE, Rig, with_rig


async def of_parts(rig: Rig, key: str, count: int = 20) -> bytes:
    """An object of so many parts that a copy shares them."""
    upload_id, parts = await rig.upload(key, [bytes([number]) * 1000 for number in range(count)])
    await rig.complete(key, upload_id, parts)
    return await rig.get(key)


async def look(rig: Rig, reclaimer: PartReclaimer, times: int) -> None:
    for _ in range(times):
        await asyncio.sleep(901)
        await reclaimer.step(await rig.id(), 0)


async def shares(rig: Rig) -> int:
    return len(rig.registers.live_names(await rig.id(), Space.UPLOADS))


def test_any_number_of_names_may_share_parts_and_the_last_one_takes_them_along() -> None:
    async def test(rig: Rig) -> None:
        data = await of_parts(rig, "from")
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=900)
        for turn in range(300):
            await rig.store.copy(
                ALICE, CopySource("photos", "from" if turn % 2 else f"c{turn - 2}" if turn else "from"), "photos", f"c{turn}"
            )
        assert (await rig.live_parts(), await shares(rig)) == (20, 300)
        for key in ("from", *(f"c{turn}" for turn in range(299))):
            await rig.store.delete(ALICE, "photos", key)
        await look(rig, reclaimer, 3)
        assert await rig.get("c299") == data
        await rig.store.delete(ALICE, "photos", "c299")
        await look(rig, reclaimer, 3)
        assert (await rig.live_parts(), await shares(rig)) == (0, 0)

    with_rig(test)


def test_parts_that_go_from_name_to_name_while_reclaiming_looks_are_kept() -> None:
    async def test(rig: Rig) -> None:
        data = await of_parts(rig, "owner")
        await rig.store.rename(ALICE, "photos", "owner", "n0")
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=900)
        name = 0

        async def move_on(what: str, key: RowKey) -> None:
            # Just when the present name is asked for, the parts go to the next one, and back to their owner in the end.
            nonlocal name
            if what == "read" and key.name == b"n%d" % name:
                name, before = name + 1, name
                rig.cluster.before = None
                await rig.store.rename(ALICE, "photos", f"n{before}", "owner" if name == 4 else f"n{name}")

        for _ in range(4):
            await asyncio.sleep(901)
            rig.cluster.before = move_on
            await reclaimer.step(await rig.id(), 0)
            rig.cluster.before = None
        assert await rig.get("owner" if name == 4 else f"n{name}") == data

    with_rig(test)


def test_parts_are_not_reclaimed_while_somebody_is_about_to_name_them() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("old", [b"x" * 1000])
        await rig.complete("old", upload_id, parts)
        row = await rig.row("old")
        assert row is not None
        reclaimer = PartReclaimer(rig.cluster, rig.clock, grace_s=900)
        await rig.store.delete(ALICE, "photos", "old")
        await asyncio.sleep(901)
        await reclaimer.step(await rig.id(), 0)
        bucket = await rig.store.directory.find(ALICE, "photos")
        await rig.store.share_parts(bucket, row, b"old", b"new")
        await asyncio.sleep(500)
        await reclaimer.step(await rig.id(), 0)
        assert await rig.live_parts() == 1
        for _ in range(3):
            await asyncio.sleep(901)
            await reclaimer.step(await rig.id(), 0)
        assert await rig.live_parts() == 0

    with_rig(test)
