import asyncio
import dataclasses
import json

import pytest

from objstore.core.policy import Kind, parse_policy
from objstore.core.rows import SYSTEM_BUCKET, RowKey, Space
from objstore.errors import AccessDenied, BucketNotEmpty, NoSuchBucket, ObjstoreError, OutcomeUnknown, QuorumLost
from objstore.objects.api import Attributes, Expected, ListQuery, ObjectStoreApi, Principal
from tests.support.bodies import SentBody, sent
from tests.support.store_rig import ALICE, BOB, Rig, with_rig


def test_it_is_an_object_store_and_an_empty_bucket_can_be_deleted() -> None:
    async def test(rig: Rig) -> None:
        store: ObjectStoreApi = rig.store
        await store.delete_bucket(ALICE, "photos")
        with pytest.raises(NoSuchBucket):
            await store.bucket(ALICE, "photos")
        with pytest.raises(NoSuchBucket):
            await store.delete_bucket(ALICE, "photos")
        assert [name for name in rig.registers.live_names(SYSTEM_BUCKET, Space.OBJECTS) if not name.startswith(b"gone/")] == []

    with_rig(test)


def test_a_bucket_made_again_starts_empty_and_anyone_may_make_it() -> None:
    async def test(rig: Rig) -> None:
        old = await rig.store.bucket(ALICE, "photos")
        await rig.put("k")
        await rig.store.delete(ALICE, "photos", "k")
        await rig.store.delete_bucket(ALICE, "photos")
        new = await rig.store.create_bucket(BOB, "photos")
        assert new.id != old.id
        assert not (await rig.store.list(BOB, "photos", ListQuery())).objects

    with_rig(test)


def test_a_bucket_with_objects_is_refused_without_being_marked() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        before = rig.cluster.counts["conditional"]
        with pytest.raises(BucketNotEmpty):
            await rig.store.delete_bucket(ALICE, "photos")
        assert rig.cluster.counts["conditional"] == before

    with_rig(test)


def test_pending_uploads_do_not_keep_a_bucket_and_go_with_it() -> None:
    async def test(rig: Rig) -> None:
        bucket = await rig.id()
        await rig.upload("k", [b"x" * 9000, b"y"])
        await rig.store.delete_bucket(ALICE, "photos")
        assert rig.registers.live_names(bucket, Space.UPLOADS) == []
        assert rig.registers.live_names(bucket, Space.PARTS) == []
        assert rig.registers.blobs == {}

    with_rig(test)


def test_other_accounts_and_anonymous_callers_are_denied_what_exists() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        for who in (BOB, Principal(account="", anonymous=True)):
            for call in (
                rig.store.bucket(who, "photos"),
                rig.store.get(who, "photos", "k"),
                rig.store.head(who, "photos", "k"),
                rig.store.delete(who, "photos", "k"),
                rig.store.list(who, "photos", ListQuery()),
                rig.store.put(who, "photos", "k", sent(b"x"), attributes=Attributes(), expected=Expected()),
                rig.store.delete_bucket(who, "photos"),
                rig.store.list_uploads(who, "photos"),
                rig.store.set_tags(who, "photos", "k", {}),
                rig.store.create_upload(who, "photos", "k", attributes=Attributes()),
            ):
                with pytest.raises(AccessDenied):
                    await call
            with pytest.raises(NoSuchBucket):
                await rig.store.get(who, "nothing-here", "k")
        with pytest.raises(AccessDenied):
            await rig.store.create_bucket(Principal(account="", anonymous=True), "mine")
        with pytest.raises(AccessDenied):
            await rig.store.list_buckets(Principal(account="", anonymous=True))
        assert (await rig.store.head(Principal(account="root", admin=True), "photos", "k")).key == "k"

    with_rig(test)


def test_a_deletion_whose_scan_fails_takes_its_mark_back() -> None:
    async def test(rig: Rig) -> None:
        scans = 0

        async def fail(what: str, key: RowKey) -> None:
            nonlocal scans
            if what == "scan":
                scans += 1
                if scans == 2:
                    raise QuorumLost("too few")

        rig.cluster.before = fail
        with pytest.raises(QuorumLost):
            await rig.store.delete_bucket(ALICE, "photos")
        rig.cluster.before = None
        assert (await rig.put("k")).size == 4

    with_rig(test)


def test_a_mark_of_unknown_outcome_is_taken_back() -> None:
    async def test(rig: Rig) -> None:
        async def lose(what: str, key: RowKey) -> None:
            if what == "conditional":
                rig.cluster.after = None
                raise OutcomeUnknown("the answers were lost")

        rig.cluster.after = lose
        with pytest.raises(OutcomeUnknown):
            await rig.store.delete_bucket(ALICE, "photos")
        assert (await rig.put("k")).size == 4

    with_rig(test)


def test_a_deletion_goes_on_when_its_caller_goes_away() -> None:
    async def test(rig: Rig) -> None:
        deleting = asyncio.ensure_future(rig.store.delete_bucket(ALICE, "photos"))
        await asyncio.sleep(rig.settings.bucket_cache_s / 2)
        deleting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await deleting
        await asyncio.sleep(1)
        with pytest.raises(NoSuchBucket):
            await rig.store.bucket(ALICE, "photos")
        assert (await rig.store.create_bucket(BOB, "photos")).account == "bob"

    with_rig(test)


def test_no_object_is_acknowledged_into_a_deleted_bucket() -> None:
    """Writers on another proxy race with the deletion at every distance from it."""

    async def test(rig: Rig) -> None:
        for step in range(0, 60):
            name = f"race-{step}"
            await rig.store.create_bucket(ALICE, name)
            peer = rig.peer()
            await peer.store.bucket(ALICE, name)  # now the peer holds it for a while
            bucket = (await rig.store.bucket(ALICE, name)).id

            async def write(peer: Rig = peer, name: str = name, step: int = step) -> bool:
                await asyncio.sleep(step * 0.01)
                body = SentBody([b"x" * 10], size=10)
                try:
                    await peer.store.put(ALICE, name, "k", body, attributes=Attributes(), expected=Expected())
                except ObjstoreError:
                    return False
                return True

            async def remove(name: str = name) -> bool:
                try:
                    await rig.store.delete_bucket(ALICE, name)
                except BucketNotEmpty:
                    return False
                return True

            acknowledged, removed = await asyncio.gather(write(), remove())
            assert not (acknowledged and removed), step
            if not removed:
                assert rig.registers.live_names(bucket, Space.OBJECTS) == [b"k"]

    with_rig(test)


def test_a_slow_upload_that_ends_after_its_bucket_is_not_acknowledged() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()

        class Slow(SentBody):
            async def finish(self) -> dict[str, bytes]:
                await asyncio.sleep(30)
                return {}

        body = Slow([b"x" * 10000])
        late = asyncio.ensure_future(peer.store.put(ALICE, "photos", "k", body, attributes=Attributes(), expected=Expected()))
        await asyncio.sleep(1)
        await rig.store.delete_bucket(ALICE, "photos")
        with pytest.raises(NoSuchBucket):
            await late

    with_rig(test)


def test_what_a_new_bucket_begins_with_needs_the_rights_to_set_it() -> None:
    """Else who may only make buckets could make one whose list lets others in, or one that is locked."""

    def may(*actions: str) -> Principal:
        text = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": list(actions), "Resource": "*"}})
        return dataclasses.replace(ALICE, policies=(parse_policy(text.encode(), Kind.IDENTITY),))

    async def test(rig: Rig) -> None:
        create, owned = rig.store.create_bucket, {"ownershipControls": b"ObjectWriter"}
        await create(may("s3:CreateBucket"), "plain")
        with pytest.raises(AccessDenied):
            await create(may("s3:CreateBucket"), "owned", config=owned)
        with pytest.raises(AccessDenied):
            await create(may("s3:CreateBucket"), "locked", object_lock=True)
        await create(may("s3:CreateBucket", "s3:PutBucketOwnershipControls"), "owned", config=owned)
        await create(may("s3:CreateBucket", "s3:PutBucketVersioning", "s3:PutBucketObjectLockConfiguration"), "locked", object_lock=True)

    with_rig(test)
