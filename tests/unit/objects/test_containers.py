"""Containers and accounts in the object model."""

import pytest

from objstore.core.container import ContainerChange
from objstore.core.locks import ObjectLock
from objstore.core.policy import Kind, parse_policy
from objstore.errors import AccessDenied, BucketAlreadyOwnedByYou, InvalidBucketName, InvalidRequest, NoSuchBucket, NoSuchKey
from objstore.objects.api import Attributes, Principal
from objstore.objects.context import EXPIRES
from tests.support.policies import identity_policy
from tests.support.store_rig import ALICE, BOB, Rig, with_rig

HOME = ALICE.at("alice")
ADMIN = Principal(account="root", user="root", admin=True)
MEMBER = Principal(account="alice", user="member", policies=())


def test_a_container_is_known_by_its_name_in_its_own_account_alone() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.create_bucket(HOME, "Any Name")
        with pytest.raises(BucketAlreadyOwnedByYou):
            await rig.store.create_bucket(HOME, "Any Name")
        assert (await rig.store.find_bucket(ALICE, "Any Name")).account == "alice"
        for stranger in (BOB, BOB.at("bob"), ALICE.at("bob")):
            with pytest.raises(NoSuchBucket):
                await rig.store.find_bucket(stranger, "Any Name")
        assert (await rig.store.find_bucket(BOB.at("alice"), "Any Name")).account == "alice"
        with pytest.raises(InvalidBucketName):
            await rig.store.create_bucket(HOME, "a/b")
        await rig.store.delete_bucket(HOME, "Any Name")

    with_rig(test)


def test_nobody_makes_or_lists_containers_of_another_account_but_an_administrator() -> None:
    async def test(rig: Rig) -> None:
        for call in (
            rig.store.create_bucket(BOB.at("alice"), "c"),
            rig.store.list_buckets(BOB.at("alice")),
            rig.store.account(BOB.at("alice")),
        ):
            with pytest.raises(AccessDenied):
                await call
        assert (await rig.store.create_bucket(ADMIN.at("alice"), "c")).account == "alice"
        assert [info.name for info in (await rig.store.list_buckets(ADMIN.at("alice"))).buckets] == ["c", "photos"]

    with_rig(test)


def test_lists_let_in_whom_they_name() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k")
        member, bob = MEMBER.at("alice"), BOB.at("alice")
        for who in (member, bob):
            with pytest.raises(AccessDenied):
                await rig.store.head(who, "photos", "k")
        await rig.store.set_container(HOME, "photos", ContainerChange(read="alice:member", write="bob:*"))
        await rig.store.head(member, "photos", "k")
        with pytest.raises(AccessDenied):
            await rig.store.head(bob, "photos", "k")
        with pytest.raises(AccessDenied):
            await rig.store.delete(member, "photos", "k")
        with pytest.raises(AccessDenied):
            await rig.store.set_container(bob, "photos", ContainerChange(read="bob:*"))
        await rig.store.delete(bob, "photos", "k")
        with pytest.raises(NoSuchKey):
            await rig.store.head(member, "photos", "k")

    with_rig(test)


def test_a_public_list_is_refused_while_public_access_is_blocked() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(AccessDenied):
            await rig.store.set_container(HOME, "photos", ContainerChange(read=".r:*"))
        await rig.store.set_config(ALICE, "photos", "publicAccessBlock", None)
        await rig.store.set_container(HOME, "photos", ContainerChange(read=".r:*"))
        await rig.put("k")
        anybody = Principal(account="", anonymous=True).at("alice")
        await rig.store.head(anybody, "photos", "k")
        with pytest.raises(AccessDenied):
            await rig.store.bucket(anybody, "photos")

    with_rig(test)


def test_metadata_is_merged_and_bounded() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_account(HOME, {"a": "1", "b": "2"})
        await rig.store.set_account(HOME, {"b": "", "c": "3"})
        info = await rig.store.account(HOME)
        assert (info.metadata, info.containers) == ({"a": "1", "c": "3"}, 1)
        with pytest.raises(InvalidRequest):
            await rig.store.set_account(HOME, {f"n{number}": "v" for number in range(100)})
        with pytest.raises(InvalidRequest):
            await rig.store.set_container(HOME, "photos", ContainerChange(metadata={"n": "v" * 5000}))
        with pytest.raises(AccessDenied):
            await rig.store.set_account(MEMBER.at("alice"), {"a": "2"})
        assert (await rig.store.account_metadata("alice"))["a"] == "1"

    with_rig(test)


def test_an_accounts_totals_are_those_of_its_containers() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.create_bucket(HOME, "second")
        await rig.put("k", b"12345")
        info = await rig.store.account(HOME)
        assert (info.containers, info.usage.objects, info.usage.bytes) == (2, 1, 5)
        assert (await rig.store.container_usage(HOME, "photos")).bytes == 5

    with_rig(test)


def test_attributes_are_replaced_and_bytes_stay() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"data", attributes=Attributes(content_type="a/b", metadata={"x": "1"}, headers={"expires": "never"}))
        info = await rig.store.set_attributes(HOME, "photos", "k", Attributes(metadata={"y": "2"}))
        assert (info.content_type, info.metadata, info.headers) == ("a/b", {"y": "2"}, {})
        assert await rig.get("k") == b"data"
        with pytest.raises(NoSuchKey):
            await rig.store.set_attributes(HOME, "photos", "none", Attributes())

    with_rig(test)


@pytest.mark.parametrize("how", ["GOVERNANCE", "COMPLIANCE", "legal hold"])
def test_what_is_said_of_a_locked_version_stays_as_it_is(how: str) -> None:
    async def test(rig: Rig) -> None:
        await rig.store.create_bucket(ALICE, "locked", object_lock=True)
        rig.bucket = "locked"
        until_us = rig.clock.wall_us() + 100_000_000
        lock = ObjectLock(legal_hold=True) if how == "legal hold" else ObjectLock(mode=how, retain_until_us=until_us)
        await rig.put("k", b"evidence", attributes=Attributes(metadata={"a": "1"}, lock=lock))
        for changes in (Attributes(metadata={"a": "forged"}), Attributes(headers={EXPIRES: str(until_us // 1_000_000 - 50)})):
            with pytest.raises(AccessDenied):
                await rig.store.set_attributes(HOME, "locked", "k", changes)
        await rig.clock.sleep(101)
        assert (await rig.store.head(ALICE, "locked", "k")).metadata == {"a": "1"}
        if how != "legal hold":
            assert (await rig.store.set_attributes(HOME, "locked", "k", Attributes(metadata={"a": "2"}))).metadata == {"a": "2"}

    with_rig(test)


def test_a_quota_is_a_quota_in_either_dialect() -> None:
    async def test(rig: Rig) -> None:
        allow, deny = identity_policy("s3:*"), identity_policy("s3:PutBucketQuota", effect="Deny")
        policies = tuple(parse_policy(text.encode(), Kind.IDENTITY) for text in (allow, deny))
        user = Principal(account="alice", user="user", policies=policies).at("alice")
        await rig.store.set_container(user, "photos", ContainerChange(metadata={"colour": "red"}))
        for value in ("1", ""):
            with pytest.raises(AccessDenied):
                await rig.store.set_container(user, "photos", ContainerChange(metadata={"quota-bytes": value}))
        await rig.store.set_container(HOME, "photos", ContainerChange(metadata={"quota-bytes": "1"}))

    with_rig(test)


@pytest.mark.parametrize("versioned", [False, True])
def test_who_may_only_write_sets_no_time_for_what_others_wrote_to_go(versioned: bool) -> None:
    """The expirer removes the version for good: versions are there to outlive whoever may only put new ones."""

    async def test(rig: Rig) -> None:
        if versioned:
            await rig.store.set_versioning(ALICE, "photos", "Enabled")
        await rig.put("k", b"kept")
        soon = Attributes(headers={EXPIRES: str(rig.clock.wall_us() // 1_000_000 + 1)})
        removal = "s3:DeleteObjectVersion" if versioned else "s3:DeleteObject"
        other = "s3:DeleteObject" if versioned else "s3:DeleteObjectVersion"
        for actions, allowed in ((("s3:PutObject",), False), (("s3:PutObject", other), False), (("s3:PutObject", removal), True)):
            policy = parse_policy(identity_policy(*actions).encode(), Kind.IDENTITY)
            writer = Principal(account="alice", user="writer", policies=(policy,)).at("alice")
            await rig.store.set_attributes(writer, "photos", "k", Attributes())
            if allowed:
                await rig.store.set_attributes(writer, "photos", "k", soon)
            else:
                with pytest.raises(AccessDenied):
                    await rig.store.set_attributes(writer, "photos", "k", soon)

    with_rig(test)


def test_what_has_expired_is_not_found_by_either_dialect() -> None:
    async def test(rig: Rig) -> None:
        expires = rig.clock.wall_us() // 1_000_000 + 10
        await rig.put("k", b"data", attributes=Attributes(headers={EXPIRES: str(expires)}))
        assert await rig.get("k") == b"data"
        await rig.clock.sleep(11)
        for call in (
            rig.store.head(ALICE, "photos", "k"),
            rig.store.get(ALICE, "photos", "k"),
            rig.store.set_attributes(HOME, "photos", "k", Attributes()),
        ):
            with pytest.raises(NoSuchKey):
                await call

    with_rig(test)
