import asyncio

import pytest

from objstore.core.lineage import MAX_SHARES
from objstore.errors import InvalidRequest
from objstore.objects.reclaim import PartReclaimer
from tests.support.store_rig import ALICE, Rig, with_rig


def test_only_so_many_names_may_share_parts() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("n0", [b"x" * 1000])
        await rig.complete("n0", upload_id, parts)
        for turn in range(MAX_SHARES):
            await rig.store.rename(ALICE, "photos", f"n{turn}", f"n{turn + 1}")
        with pytest.raises(InvalidRequest):
            await rig.store.rename(ALICE, "photos", f"n{MAX_SHARES}", "one more")
        assert await rig.get(f"n{MAX_SHARES}") == b"x" * 1000

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
        assert await rig.store.share_parts(bucket, row, b"old", b"new")
        await asyncio.sleep(500)
        await reclaimer.step(await rig.id(), 0)
        assert await rig.live_parts() == 1
        for _ in range(3):
            await asyncio.sleep(901)
            await reclaimer.step(await rig.id(), 0)
        assert await rig.live_parts() == 0

    with_rig(test)
