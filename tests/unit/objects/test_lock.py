import asyncio

import pytest

from objstore.core.locks import LockConfig, ObjectLock
from objstore.core.rows import RowKey
from objstore.errors import AccessDenied, InvalidBucketState, InvalidRequest
from objstore.objects.api import Attributes, CopySource, DeleteTarget
from tests.support.store_rig import ALICE, Rig, with_rig

DAY_S = 86_400


async def lock(rig: Rig, config: LockConfig | None = None) -> None:
    await rig.store.set_versioning(ALICE, "photos", "Enabled")
    await rig.store.set_lock_config(ALICE, "photos", config or LockConfig())


def test_only_versioned_buckets_are_locked_and_locked_ones_stay_versioned() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(InvalidBucketState):
            await rig.store.set_lock_config(ALICE, "photos", LockConfig())
        await lock(rig)
        with pytest.raises(InvalidBucketState):
            await rig.store.set_versioning(ALICE, "photos", "Suspended")
        info = await rig.store.create_bucket(ALICE, "other", object_lock=True)
        assert info.versioning == "Enabled"
        with pytest.raises(InvalidBucketState):
            await rig.store.set_versioning(ALICE, "other", "Suspended")

    with_rig(test)


def test_locks_on_a_bucket_without_object_lock_are_refused() -> None:
    async def test(rig: Rig) -> None:
        for _ in range(2):
            with pytest.raises(InvalidRequest):
                await rig.put("k", attributes=Attributes(lock=ObjectLock(legal_hold=True)))
            with pytest.raises(InvalidRequest):
                await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(lock=ObjectLock(legal_hold=True)))
            await rig.put("k")
            with pytest.raises(InvalidRequest):
                await rig.store.set_legal_hold(ALICE, "photos", "k", on=True)
            with pytest.raises(InvalidRequest):
                await rig.store.retention_of(ALICE, "photos", "k")
            await rig.store.set_versioning(ALICE, "photos", "Enabled")

    with_rig(test)


@pytest.mark.parametrize("how", ["put", "copy", "multipart"])
def test_every_new_version_gets_the_default_retention(how: str) -> None:
    async def test(rig: Rig) -> None:
        await rig.put("source")
        await lock(rig, LockConfig(mode="GOVERNANCE", days=1))
        if how == "put":
            info = await rig.put("k")
        elif how == "copy":
            info = await rig.store.copy(ALICE, CopySource("photos", "source"), "photos", "k")
        else:
            upload_id, parts = await rig.upload("k", [b"part"])
            info = await rig.complete("k", upload_id, parts)
        assert info.lock_mode == "GOVERNANCE"
        assert info.retain_until_us == pytest.approx(info.modified_us + DAY_S * 10**6, abs=10**6)
        with pytest.raises(AccessDenied):
            await rig.store.delete(ALICE, "photos", "k", version_id=info.version_id)
        assert (await rig.store.delete(ALICE, "photos", "k")).delete_marker
        await asyncio.sleep(DAY_S + 1)
        await rig.store.delete(ALICE, "photos", "k", version_id=info.version_id)

    with_rig(test)


def test_an_upload_brings_its_own_lock() -> None:
    async def test(rig: Rig) -> None:
        await lock(rig, LockConfig(mode="GOVERNANCE", days=1))
        until = rig.clock.wall_us() + 5 * 10**6
        for asked in (ObjectLock("COMPLIANCE", until, legal_hold=True), ObjectLock(legal_hold=True)):
            upload = await rig.store.create_upload(ALICE, "photos", "k", attributes=Attributes(lock=asked))
            info = await rig.complete("k", upload.upload_id, [await rig.part("k", upload.upload_id, 1, b"part")])
            assert info.legal_hold
            assert info.lock_mode == (asked.mode or "GOVERNANCE")

    with_rig(test)


def test_governance_is_lifted_by_those_who_say_so_and_a_legal_hold_by_nobody() -> None:
    async def test(rig: Rig) -> None:
        await lock(rig)
        until = rig.clock.wall_us() + DAY_S * 10**6
        one = await rig.put("k", attributes=Attributes(lock=ObjectLock("GOVERNANCE", until)))
        two = await rig.put("k", attributes=Attributes(lock=ObjectLock("COMPLIANCE", until)))
        targets = [DeleteTarget("k", one.version_id), DeleteTarget("k", two.version_id)]
        assert [type(o.error) for o in await rig.store.delete_many(ALICE, "photos", targets)] == [AccessDenied, AccessDenied]
        await rig.store.set_legal_hold(ALICE, "photos", "k", on=True, version_id=one.version_id)
        assert (await rig.store.legal_hold_of(ALICE, "photos", "k", version_id=one.version_id)).legal_hold
        with pytest.raises(AccessDenied):
            await rig.store.delete(ALICE, "photos", "k", version_id=one.version_id, bypass=True)
        await rig.store.set_legal_hold(ALICE, "photos", "k", on=False, version_id=one.version_id)
        targets = [DeleteTarget("k", one.version_id, bypass=True), DeleteTarget("k", two.version_id, bypass=True)]
        assert [type(o.error) for o in await rig.store.delete_many(ALICE, "photos", targets)] == [type(None), AccessDenied]

    with_rig(test)


def test_a_retention_grows_and_shrinks_only_by_bypass() -> None:
    async def test(rig: Rig) -> None:
        await lock(rig)
        info = await rig.put("k")
        now = rig.clock.wall_us()
        store = rig.store
        await store.set_retention(ALICE, "photos", "k", "GOVERNANCE", now + 10**8)
        assert (await store.retention_of(ALICE, "photos", "k")).retain_until_us == now + 10**8
        with pytest.raises(AccessDenied):
            await store.set_retention(ALICE, "photos", "k", "GOVERNANCE", now + 10**7, version_id=info.version_id)
        await store.set_retention(ALICE, "photos", "k", "GOVERNANCE", now + 10**7, version_id=info.version_id, bypass=True)
        await store.set_retention(ALICE, "photos", "k", "", 0, bypass=True)
        assert (await store.retention_of(ALICE, "photos", "k")).lock_mode == ""

    with_rig(test)


def test_a_lock_set_while_its_version_is_being_removed_is_either_refused_or_holds() -> None:
    async def test(rig: Rig) -> None:
        await lock(rig)
        info = await rig.put("k")
        await rig.put("k")

        async def hold(what: str, key: RowKey) -> None:
            if what == "conditional":
                rig.cluster.before = None
                await rig.peer().store.set_legal_hold(ALICE, "photos", "k", on=True, version_id=info.version_id)

        rig.cluster.before = hold
        with pytest.raises(AccessDenied):
            await rig.store.delete(ALICE, "photos", "k", version_id=info.version_id)

    with_rig(test)
