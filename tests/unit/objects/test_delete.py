import asyncio

import pytest

from objstore.core.rows import Kind, RowKey
from objstore.errors import InvalidArgument, KeyTooLong, NoSuchKey, PreconditionFailed, QuorumLost
from objstore.objects.api import Attributes, Conditions, DeleteTarget
from tests.support.store_rig import ALICE, Rig, with_rig


def test_a_deleted_object_is_gone_and_deleting_it_again_is_fine() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"x" * 9000)
        for _ in range(2):
            outcome = await rig.store.delete(ALICE, "photos", "k")
            assert (outcome.key, outcome.delete_marker, outcome.error) == ("k", False, None)
        with pytest.raises(NoSuchKey):
            await rig.get("k")
        row = await rig.row("k")
        assert row is not None
        assert row.kind == Kind.TOMBSTONE
        assert rig.registers.blobs == {}

    with_rig(test)


def test_deleting_what_never_was_writes_nothing() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.delete(ALICE, "photos", "never")
        assert "write" not in rig.cluster.counts

    with_rig(test)


def test_versions_that_are_not_there_are_left_alone_and_null_is_the_object() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        await rig.store.delete(ALICE, "photos", "k", version_id="0" * 24)
        assert await rig.get("k") == b"data"
        with pytest.raises(InvalidArgument):
            await rig.store.delete(ALICE, "photos", "k", version_id="nonsense")
        await rig.store.delete(ALICE, "photos", "k", version_id="null")
        with pytest.raises(NoSuchKey):
            await rig.get("k")

    with_rig(test)


def test_conditional_deletes_are_judged_atomically() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(NoSuchKey):
            await rig.store.delete(ALICE, "photos", "k", conditions=Conditions(if_match=("*",)))
        info = await rig.put("k")
        with pytest.raises(PreconditionFailed):
            await rig.store.delete(ALICE, "photos", "k", conditions=Conditions(if_match=("other",)))
        await rig.store.delete(ALICE, "photos", "k", conditions=Conditions(if_match=(info.etag,)))
        with pytest.raises(NoSuchKey):
            await rig.get("k")
        await rig.store.delete(ALICE, "photos", "never", conditions=Conditions(if_none_match=("x",)))

    with_rig(test)


def test_many_are_deleted_at_once_and_each_has_its_own_outcome() -> None:
    async def test(rig: Rig) -> None:
        keys = [f"k{i}" for i in range(50)]
        for key in keys:
            await rig.put(key)

        async def fail(what: str, key: RowKey) -> None:
            if what == "write" and key.name == b"k7":
                raise QuorumLost("too few")

        rig.cluster.before = fail
        asked = [DeleteTarget(key) for key in [*keys, "never", "x" * 2000]] + [DeleteTarget("k1", "null")]
        outcomes = await rig.store.delete_many(ALICE, "photos", asked)
        assert [o.key for o in outcomes] == [target.key for target in asked]
        failed = {o.key: type(o.error) for o in outcomes if o.error is not None}
        assert failed == {"k7": QuorumLost, "x" * 2000: KeyTooLong}
        assert rig.registers.live_names(await rig.id(), 0) == [b"k7"]
        assert await rig.store.delete_many(ALICE, "photos", []) == []

    with_rig(test)


def test_what_has_expired_is_not_there_to_be_matched() -> None:
    async def test(rig: Rig) -> None:
        soon = Attributes(headers={"x-delete-at": str(rig.clock.wall_us() // 1_000_000 + 5)})
        for versioning in ("", "Enabled"):
            if versioning:
                await rig.store.set_versioning(ALICE, "photos", versioning)
            await rig.put(f"k{versioning}", attributes=soon)
        await asyncio.sleep(6)
        for key in ("k", "kEnabled"):
            with pytest.raises(NoSuchKey):
                await rig.store.delete(ALICE, "photos", key, conditions=Conditions(if_match=("*",)))

    with_rig(test)


def test_a_removal_of_an_earlier_time_takes_nothing_newer_and_stands_against_what_is_older() -> None:
    async def test(rig: Rig) -> None:
        for versioning in ("", "Enabled"):
            if versioning:
                await rig.store.set_versioning(ALICE, "photos", versioning)
            key = f"k{versioning}"
            info = await rig.put(key)
            for older_us in (info.modified_us, info.modified_us - 1000):
                with pytest.raises(PreconditionFailed):
                    await rig.store.delete(ALICE, "photos", key, conditions=Conditions(as_of_us=older_us))
            await rig.store.delete(ALICE, "photos", key, conditions=Conditions(as_of_us=info.modified_us + 100))
            with pytest.raises(PreconditionFailed):
                await rig.put(key, conditions=Conditions(as_of_us=info.modified_us + 50))
            written = await rig.put(key, conditions=Conditions(as_of_us=info.modified_us + 200))
            assert written.modified_us == info.modified_us + 200
        await rig.store.delete(ALICE, "photos", "never", conditions=Conditions(as_of_us=1000))
        assert (await rig.row("never")).kind == Kind.DELETE_MARKER  # type: ignore[union-attr] # there is one

    with_rig(test)
