import asyncio
from collections.abc import Awaitable, Callable

import pytest
from msgspec.structs import replace

from objstore.core.locks import LockConfig, ObjectLock
from objstore.core.rows import RowKey, Space
from objstore.core.versions import again
from objstore.errors import AccessDenied, InvalidBucketState, InvalidRequest
from objstore.objects.api import Attributes, Conditions, CopySource, DeleteTarget, Expected, ListQuery
from tests.support.bodies import SlowBody
from tests.support.store_rig import ALICE, SETTINGS, Rig, noise, with_rig

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


async def lock_null_versions(rig: Rig, *keys: str) -> None:
    """Turn versioning and object lock on, from another proxy, and put what is there under legal hold."""
    peer = rig.peer()
    await peer.store.set_versioning(ALICE, "photos", "Enabled")
    await peer.store.set_lock_config(ALICE, "photos", LockConfig(mode="COMPLIANCE", days=10))
    for key in keys:
        await peer.store.set_legal_hold(ALICE, "photos", key, on=True, version_id="null")


async def begin_put(rig: Rig, size: int) -> None:
    await rig.store.put(ALICE, "photos", "k", SlowBody(noise(size), 100), attributes=Attributes(), expected=Expected())


async def begin_conditional_put(rig: Rig) -> None:
    body, conditions = SlowBody(noise(20_000), 100), Conditions(if_match=("*",))
    await rig.store.put(ALICE, "photos", "k", body, attributes=Attributes(), expected=Expected(), conditions=conditions)


async def begin_append(rig: Rig) -> None:
    body = SlowBody(noise(100), 100)
    await rig.store.append(ALICE, "photos", "k", body, offset=4, attributes=Attributes(), expected=Expected())


def slow_at(rig: Rig, kind: str, space: Space, name: bytes = b"") -> None:
    """The next such operation takes half a minute."""

    async def nap(what: str, key: RowKey) -> None:
        if what == kind and key.space == space and key.name.startswith(name):
            rig.cluster.before = None
            await asyncio.sleep(30)

    rig.cluster.before = nap


async def begin_copy(rig: Rig, size: int) -> None:
    await rig.put("from", noise(size))
    if size > SETTINGS.inline_limit_bytes:
        slow_at(rig, "write", Space.PARTS)
    else:
        slow_at(rig, "read", Space.OBJECTS, b"from")
    await rig.store.copy(ALICE, CopySource("photos", "from"), "photos", "k")


async def begin_completion(rig: Rig) -> None:
    upload_id, parts = await rig.upload("k", [noise(5000)])
    slow_at(rig, "conditional", Space.UPLOADS)
    await rig.complete("k", upload_id, parts)


async def begin_rename(rig: Rig) -> None:
    await rig.put("from", noise(20_000))
    slow_at(rig, "write", Space.PARTS)
    await rig.store.rename(ALICE, "photos", "from", "k")


LATE: dict[str, Callable[[Rig], Awaitable[None]]] = {
    "put small": lambda rig: begin_put(rig, 10),
    "put large": lambda rig: begin_put(rig, 20_000),
    "put if": begin_conditional_put,
    "append": begin_append,
    "copy bytes": lambda rig: begin_copy(rig, 100),
    "copy by reference": lambda rig: begin_copy(rig, 20_000),
    "complete": begin_completion,
    "rename": begin_rename,
}


@pytest.mark.parametrize("how", LATE)
def test_a_write_that_began_before_versions_were_kept_keeps_the_null_version(how: str) -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"null")
        late = asyncio.ensure_future(LATE[how](rig))
        await asyncio.sleep(10)
        await lock_null_versions(rig, "k")
        assert not late.done()
        await late
        assert await rig.get("k", version_id="null") == b"null"
        listed = (await rig.store.list_versions(ALICE, "photos", ListQuery())).objects
        newest = next(info for info in listed if info.key == "k")
        assert (newest.version_id != "null", newest.lock_mode) == (True, "COMPLIANCE")

    with_rig(test)


def test_of_many_deletions_those_that_come_after_versions_are_kept_keep_the_null_version() -> None:
    async def test(rig: Rig) -> None:
        keys = [f"k{number:02}" for number in range(40)]
        for key in keys:
            await rig.put(key)
        hold = asyncio.Event()
        begun = 0

        async def wait(what: str, key: RowKey) -> None:
            nonlocal begun
            if what == "write" and key.space == Space.OBJECTS:
                begun += 1
                if begun <= 16:
                    await hold.wait()

        rig.cluster.before = wait
        deletion = asyncio.ensure_future(rig.store.delete_many(ALICE, "photos", [DeleteTarget(key) for key in keys]))
        await asyncio.sleep(1)
        await lock_null_versions(rig, *keys[16:])
        hold.set()
        outcomes = await deletion
        assert [outcome.delete_marker for outcome in outcomes] == [False] * 16 + [True] * 24
        for key in keys[16:]:
            assert await rig.get(key, version_id="null") == b"data"

    with_rig(test)


def test_a_conditional_write_never_takes_the_place_of_a_null_version_that_is_locked() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"null")

        async def nap(what: str, key: RowKey) -> None:
            if what == "conditional" and key.space == Space.OBJECTS:
                rig.cluster.before = None
                await asyncio.sleep(10)

        for call in (
            rig.put("k", conditions=Conditions(if_match=("*",))),
            rig.store.delete(ALICE, "photos", "k", conditions=Conditions(if_match=("*",))),
        ):
            rig.cluster.before = nap
            late = asyncio.ensure_future(call)
            await asyncio.sleep(1)
            row = await rig.row("k")
            assert row is not None
            await rig.peer().cluster.write(
                RowKey(await rig.id(), Space.OBJECTS, b"k"), replace(again(row), legal_hold=True), payload=b"null"
            )
            with pytest.raises(AccessDenied):
                await late
        assert await rig.get("k") == b"null"

    with_rig(test)
