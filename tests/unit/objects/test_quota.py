"""Quotas through one proxy and through two."""

import asyncio

import pytest

from objstore.core import quota
from objstore.core.quota import QuotaConfig
from objstore.errors import ObjstoreError, QuotaExceeded
from objstore.objects import quota as quota_module
from tests.support.store_rig import ALICE, Rig, noise, with_rig


async def limit(rig: Rig, *, size: int | None = None, objects: int | None = None) -> None:
    await rig.store.set_config(ALICE, rig.bucket, "quota", quota.encode(QuotaConfig(1, size, objects)))


def test_a_quota_is_met_exactly_and_room_comes_back() -> None:
    async def test(rig: Rig) -> None:
        await limit(rig, size=100, objects=4)
        for key in "abcd":
            await rig.put(key, b"x" * 20)
        with pytest.raises(QuotaExceeded):
            await rig.put("e", b"")
        with pytest.raises(QuotaExceeded):
            await rig.put("a", b"x" * 41)
        await rig.put("a", b"x" * 40)  # 100 bytes in 4 objects
        with pytest.raises(QuotaExceeded):
            await rig.put("b", b"x" * 21)
        await rig.put("b", b"x" * 10)
        await rig.store.delete(ALICE, rig.bucket, "c")
        await rig.put("e", b"x" * 30)
        with pytest.raises(QuotaExceeded):
            await rig.put("f", b"")
        assert await rig.get("a") == b"x" * 40
        await rig.store.set_config(ALICE, rig.bucket, "quota", None)
        await rig.put("f", b"x" * 1000)

    with_rig(test)


def test_writes_at_once_do_not_pass_it_together() -> None:
    async def test(rig: Rig) -> None:
        await limit(rig, objects=5)

        async def put(number: int) -> bool:
            try:
                await rig.put(f"k{number}", b"data")
            except QuotaExceeded:
                return False
            return True

        assert sum(await asyncio.gather(*[put(number) for number in range(30)])) == 5

    with_rig(test)


def test_versions_uploads_and_large_bodies_count() -> None:
    async def test(rig: Rig) -> None:
        await limit(rig, size=10_000)
        upload_id, parts = await rig.upload("big", [noise(6000)])
        await rig.complete("big", upload_id, parts)
        with pytest.raises(QuotaExceeded):
            await rig.put("more", noise(5000))
        upload_id, parts = await rig.upload("second", [noise(6000)])
        with pytest.raises(QuotaExceeded):
            await rig.complete("second", upload_id, parts)
        await rig.store.delete(ALICE, rig.bucket, "big")
        await rig.complete("second", upload_id, parts)
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        await rig.put("second", noise(3000))
        with pytest.raises(QuotaExceeded):
            await rig.put("second", noise(3000))

    with_rig(test)


def test_another_proxys_writes_show_within_a_second() -> None:
    async def test(rig: Rig) -> None:
        await limit(rig, objects=3)
        peer = rig.peer()
        await rig.put("a")
        await peer.put("b")
        await peer.put("c")
        await asyncio.sleep(1.1)
        with pytest.raises(QuotaExceeded):
            await rig.put("d")
        await peer.store.aclose()

    with_rig(test)


def test_a_write_that_fails_gives_its_room_back() -> None:
    async def test(rig: Rig) -> None:
        await limit(rig, objects=1)
        from objstore.objects.api import Conditions

        with pytest.raises(ObjstoreError):
            await rig.put("a", conditions=Conditions(if_match=("x",)))
        await rig.put("a")

    with_rig(test)


def test_what_a_bucket_counts_against_is_kept_until_the_bucket_or_a_budget_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(rig: Rig) -> None:
        await limit(rig, objects=5)
        quotas, bucket = rig.store.quotas, await rig.store.directory.find(ALICE, rig.bucket)
        first = quotas._scopes(bucket)
        assert quotas._scopes(bucket) is first
        await limit(rig, objects=7)
        changed = quotas._scopes(await rig.store.directory.find(ALICE, rig.bucket))
        assert (first[0].config.max_objects, changed[0].config.max_objects) == (5, 7)
        assert changed[0].budget is first[0].budget
        monkeypatch.setattr(quota_module, "_KEPT", 1)
        quotas._budget("another", lambda: rig.store.cluster.usage(bucket.id))  # drops the idle ones
        again = quotas._scopes(bucket)
        assert again[0].budget is not first[0].budget
        assert again[0].budget is quotas._budgets[bucket.id.hex()]

    with_rig(test)
