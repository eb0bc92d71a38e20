"""Lists of objects, and what stands before a bucket, through the store."""

import json

import pytest

from objstore.core import acl as lists
from objstore.errors import AccessDenied, AclAgainstOwnership, AclNotSupported, MalformedPolicy, NoSuchKey
from objstore.objects.api import Attributes, DeleteTarget, Principal
from tests.support.store_rig import ALICE, BOB, Rig, with_rig

NOBODY = Principal(account="", anonymous=True)
PUBLIC = lists.canned_acl("public-read")


async def open_up(rig: Rig, ownership: str = "ObjectWriter") -> None:
    await rig.store.set_config(ALICE, rig.bucket, "publicAccessBlock", None)
    await rig.store.set_config(ALICE, rig.bucket, "ownershipControls", ownership.encode())


async def set_policy(rig: Rig, action: object, **more: object) -> None:
    resources = [f"arn:aws:s3:::{rig.bucket}", f"arn:aws:s3:::{rig.bucket}/*"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": action, "Resource": resources, **more}
    await rig.store.set_policy(ALICE, rig.bucket, json.dumps({"Version": "2012-10-17", "Statement": statement}).encode())


def test_lists_are_off_in_a_new_bucket() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        for acl in (lists.PRIVATE, lists.canned_acl("bucket-owner-full-control")):
            await rig.store.set_acl(ALICE, rig.bucket, "k", acl)
        with pytest.raises(AclNotSupported):
            await rig.store.set_acl(ALICE, rig.bucket, "k", PUBLIC)
        with pytest.raises(AclNotSupported):
            await rig.put("k", attributes=Attributes(acl=PUBLIC))
        with pytest.raises(AclNotSupported):
            await rig.store.set_config(ALICE, rig.bucket, "acl", lists.encode_acl(PUBLIC))
        with pytest.raises(AclAgainstOwnership):
            await rig.store.create_bucket(ALICE, "other", config={"acl": lists.encode_acl(PUBLIC)})

    with_rig(test)


def test_a_public_object_is_read_by_anybody_and_another_is_not() -> None:
    async def test(rig: Rig) -> None:
        await open_up(rig)
        await rig.put("open", attributes=Attributes(acl=PUBLIC))
        await rig.put("closed")
        assert (await rig.store.head(NOBODY, rig.bucket, "open")).size == 4
        for key in ("closed", "missing"):
            with pytest.raises(AccessDenied):
                await rig.store.head(NOBODY, rig.bucket, key)
            with pytest.raises(AccessDenied):
                await rig.store.get(NOBODY, rig.bucket, key)
        await rig.store.set_acl(ALICE, rig.bucket, "closed", PUBLIC)
        assert (await rig.store.get_acl(ALICE, rig.bucket, "closed"))[1] == PUBLIC
        assert (await rig.store.head(NOBODY, rig.bucket, "closed")).etag
        await rig.put("closed")  # written anew it is private again
        with pytest.raises(AccessDenied):
            await rig.store.head(NOBODY, rig.bucket, "closed")

    with_rig(test)


def test_only_who_may_list_learns_that_an_object_is_missing() -> None:
    async def test(rig: Rig) -> None:
        await open_up(rig)
        await rig.store.set_config(ALICE, rig.bucket, "acl", lists.encode_acl(PUBLIC))
        with pytest.raises(NoSuchKey):
            await rig.store.head(NOBODY, rig.bucket, "missing")
        await rig.store.set_config(ALICE, rig.bucket, "acl", None)
        await set_policy(rig, "s3:GetObject")
        with pytest.raises(AccessDenied):
            await rig.store.head(NOBODY, rig.bucket, "missing")
        with pytest.raises(AccessDenied):
            await rig.store.set_acl(BOB, rig.bucket, "missing", PUBLIC)
        with pytest.raises(AccessDenied):
            await rig.store.set_tags(BOB, rig.bucket, "missing", {"a": "b"})
        await set_policy(rig, ["s3:GetObject", "s3:ListBucket"])
        with pytest.raises(NoSuchKey):
            await rig.store.head(NOBODY, rig.bucket, "missing")

    with_rig(test)


def test_what_another_account_writes_is_its_own_where_lists_are_on() -> None:
    async def test(rig: Rig) -> None:
        await open_up(rig)
        await set_policy(rig, "s3:PutObject", Principal={"AWS": "bob"})
        await rig.put("theirs", who=BOB)
        assert (await rig.store.head(BOB, rig.bucket, "theirs")).owner == "bob"
        with pytest.raises(AccessDenied):
            await rig.store.head(ALICE, rig.bucket, "theirs")
        await rig.store.set_acl(BOB, rig.bucket, "theirs", lists.canned_acl("bucket-owner-read"))
        assert (await rig.store.head(ALICE, rig.bucket, "theirs")).owner == "bob"
        await rig.store.set_config(ALICE, rig.bucket, "ownershipControls", b"BucketOwnerEnforced")
        assert (await rig.store.head(ALICE, rig.bucket, "theirs")).size == 4
        info, acl = await rig.store.get_acl(ALICE, rig.bucket, "theirs")  # lists are off: the bucket owner's alone
        assert (info.owner, acl) == ("alice", lists.PRIVATE)
        await rig.put("given", who=BOB)
        assert (await rig.store.head(ALICE, rig.bucket, "given")).owner == "alice"

    with_rig(test)


def test_tags_of_an_object_decide_on_every_road_to_it() -> None:
    async def test(rig: Rig) -> None:
        await open_up(rig, "BucketOwnerEnforced")
        await rig.put("open", attributes=Attributes(tags={"level": "public"}))
        await rig.put("closed")
        await set_policy(rig, "s3:*Object*", Condition={"StringEquals": {"s3:ExistingObjectTag/level": "public"}})
        assert (await rig.store.head(BOB, rig.bucket, "open")).size == 4
        await rig.store.set_tags(BOB, rig.bucket, "open", {"level": "public", "a": "b"})
        with pytest.raises(AccessDenied):
            await rig.store.set_tags(BOB, rig.bucket, "closed", {"level": "public"})
        with pytest.raises(AccessDenied):
            await rig.store.delete(BOB, rig.bucket, "closed")
        assert not (await rig.store.delete(BOB, rig.bucket, "open")).delete_marker

    with_rig(test)


def test_uploads_keep_the_list_that_they_began_with() -> None:
    async def test(rig: Rig) -> None:
        await open_up(rig)
        upload = await rig.store.create_upload(ALICE, rig.bucket, "k", attributes=Attributes(acl=PUBLIC))
        part = await rig.part("k", upload.upload_id, 1, b"x")
        await rig.complete("k", upload.upload_id, [part])
        assert (await rig.store.head(NOBODY, rig.bucket, "k")).part_count == 1

    with_rig(test)


def test_the_block_refuses_what_is_public_and_nothing_else() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_config(ALICE, rig.bucket, "ownershipControls", b"ObjectWriter")
        await rig.put("k")
        with pytest.raises(AccessDenied):
            await rig.store.set_acl(ALICE, rig.bucket, "k", PUBLIC)
        with pytest.raises(AccessDenied):
            await rig.store.set_config(ALICE, rig.bucket, "acl", lists.encode_acl(PUBLIC))
        with pytest.raises(AccessDenied):
            await set_policy(rig, "s3:GetObject")
        await set_policy(rig, "s3:GetObject", Principal={"AWS": "bob"})
        assert (await rig.store.head(BOB, rig.bucket, "k")).size == 4
        with pytest.raises(MalformedPolicy):
            await rig.store.set_policy(ALICE, rig.bucket, b"{}")

    with_rig(test)


def test_nobody_may_forbid_himself_the_next_policy_unless_he_says_so() -> None:
    async def test(rig: Rig) -> None:
        await open_up(rig, "BucketOwnerEnforced")
        await set_policy(rig, "s3:*PolicyBucket")
        await set_policy(rig, ["s3:PutBucketPolicy"], Principal={"AWS": "bob"})
        shut = json.dumps(
            {"Statement": {"Effect": "Deny", "Principal": "*", "Action": "s3:*", "Resource": f"arn:aws:s3:::{rig.bucket}"}}
        ).encode()
        with pytest.raises(AccessDenied):
            await rig.store.set_policy(BOB, rig.bucket, shut)
        await rig.store.set_policy(BOB, rig.bucket, shut, may_lock_out=True)
        with pytest.raises(AccessDenied):
            await rig.store.bucket(ALICE, rig.bucket)
        await rig.store.set_config(ALICE, rig.bucket, "policy", None)
        await rig.store.bucket(ALICE, rig.bucket)

    with_rig(test)


def test_many_deletes_are_judged_one_by_one() -> None:
    async def test(rig: Rig) -> None:
        await open_up(rig, "BucketOwnerEnforced")
        await rig.put("a/1")
        await rig.put("b/1")
        targets = [DeleteTarget("a/1"), DeleteTarget("b/1")]
        with pytest.raises(AccessDenied):
            await rig.store.delete_many(NOBODY, rig.bucket, targets)
        await set_policy(rig, "s3:DeleteObject", Resource=f"arn:aws:s3:::{rig.bucket}/a/*")
        outcomes = await rig.store.delete_many(NOBODY, rig.bucket, targets)
        assert [type(outcome.error) for outcome in outcomes] == [type(None), AccessDenied]

    with_rig(test)
