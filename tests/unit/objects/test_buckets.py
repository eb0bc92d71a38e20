import asyncio

import msgspec
import pytest

from objstore.core import names
from objstore.core.rows import SYSTEM_BUCKET, RowKey, Space
from objstore.errors import (
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    ConditionalConflict,
    InvalidBucketName,
    NoSuchBucket,
    OutcomeUnknown,
)
from objstore.objects import buckets
from objstore.objects.access import Action
from objstore.objects.api import Principal
from objstore.objects.buckets import ABANDONED_AFTER_US, BucketRecord, ClaimRecord, GoneRecord, all_buckets, record_row
from tests.support.store_rig import ALICE, BOB, Rig, with_rig

ELSEWHERE = Principal(account="carol", tenant="elsewhere")


def key_of(name: bytes) -> RowKey:
    return RowKey(SYSTEM_BUCKET, Space.OBJECTS, name)


async def plant_claim(rig: Rig, account: str, name: str) -> None:
    """What a creator leaves that died between its two writes."""
    claim = ClaimRecord(record_version=1, account=account, bucket_id=b"deadbeef", claimed_us=rig.clock.wall_us())
    await rig.cluster.write(key_of(names.claim_name("default", name)), record_row(msgspec.msgpack.encode(claim)))


def test_a_bucket_is_found_by_its_account_and_by_others_of_the_tenant() -> None:
    async def test(rig: Rig) -> None:
        found = await rig.store.directory.find(ALICE, "photos")
        assert (await rig.store.directory.find(BOB, "photos")).id == found.id
        with pytest.raises(NoSuchBucket):
            await rig.store.directory.find(ELSEWHERE, "photos")

    with_rig(test)


def test_making_it_again_tells_whose_it_is() -> None:
    async def test(rig: Rig) -> None:
        with pytest.raises(BucketAlreadyOwnedByYou):
            await rig.store.create_bucket(ALICE, "photos")
        with pytest.raises(BucketAlreadyExists):
            await rig.store.create_bucket(BOB, "photos")
        with pytest.raises(InvalidBucketName):
            await rig.store.create_bucket(ALICE, "No")
        assert (await rig.store.create_bucket(ELSEWHERE, "photos")).account == "carol"

    with_rig(test)


def test_of_many_racing_for_a_name_one_account_gets_it() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()
        racers = [Principal(account=f"acct{i}") for i in range(6)]
        outcomes = await asyncio.gather(
            *((rig if i % 2 else peer).store.create_bucket(who, "wanted") for i, who in enumerate(racers)), return_exceptions=True
        )
        won = [o for o in outcomes if not isinstance(o, BaseException)]
        assert len(won) == 1
        assert all(isinstance(o, BucketAlreadyExists) for o in outcomes if isinstance(o, BaseException))
        for who in racers:
            assert (await rig.store.directory.find(who, "wanted")).id == won[0].id

    with_rig(test)


def test_of_one_account_racing_with_itself_all_end_with_one_bucket() -> None:
    async def test(rig: Rig) -> None:
        outcomes = await asyncio.gather(*(rig.peer().store.create_bucket(ALICE, "wanted") for _ in range(5)), return_exceptions=True)
        assert sum(not isinstance(o, BaseException) for o in outcomes) == 1
        assert sum(isinstance(o, BucketAlreadyOwnedByYou) for o in outcomes) == 4

    with_rig(test)


def test_a_claim_without_a_bucket_serves_its_account_at_once_and_others_after_a_minute() -> None:
    async def test(rig: Rig) -> None:
        await plant_claim(rig, "alice", "left")
        with pytest.raises(NoSuchBucket):
            await rig.store.directory.find(BOB, "left")
        with pytest.raises(BucketAlreadyExists):
            await rig.store.create_bucket(BOB, "left")
        assert (await rig.store.create_bucket(ALICE, "left")).account == "alice"

        await plant_claim(rig, "alice", "left2")
        await rig.clock.sleep(ABANDONED_AFTER_US / 1e6 + 1)
        assert (await rig.store.create_bucket(BOB, "left2")).account == "bob"
        with pytest.raises(BucketAlreadyExists):
            await rig.store.create_bucket(ALICE, "left2")

    with_rig(test)


def test_a_creator_that_slept_past_its_claim_takes_its_record_back() -> None:
    async def test(rig: Rig) -> None:
        slow = rig.peer()

        async def nap(what: str, key: RowKey) -> None:
            if what == "conditional" and key.name == names.bucket_record_name("alice", "slow"):
                slow.cluster.before = None
                await asyncio.sleep(120)

        slow.cluster.before = nap
        late = asyncio.ensure_future(slow.store.create_bucket(ALICE, "slow"))
        await asyncio.sleep(90)
        await rig.store.create_bucket(BOB, "slow")
        with pytest.raises(BucketAlreadyExists):
            await late
        assert (await slow.store.directory.find(ALICE, "slow")).account == "bob"

    with_rig(test)


def test_look_ups_at_the_same_time_share_one_and_the_result_is_kept_for_a_moment() -> None:
    async def test(rig: Rig) -> None:
        rig = rig.peer()
        await asyncio.gather(*(rig.store.directory.find(ALICE, "photos") for _ in range(20)))
        assert rig.cluster.counts == {"read": 1}
        await rig.store.directory.find(ALICE, "photos")
        assert rig.cluster.counts == {"read": 1}
        await asyncio.sleep(rig.settings.bucket_cache_s)
        await rig.store.directory.find(ALICE, "photos")
        assert rig.cluster.counts == {"read": 2}

    with_rig(test)


def test_a_look_up_under_way_does_not_hide_a_bucket_made_meanwhile() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()

        async def slow_claims(what: str, key: RowKey) -> None:
            if what == "read" and key.name.startswith(b"claim/"):
                await asyncio.sleep(1)

        peer.cluster.after = slow_claims
        early = asyncio.ensure_future(peer.store.directory.find(ALICE, "fresh"))
        await asyncio.sleep(0.5)
        await rig.store.create_bucket(ALICE, "fresh")
        assert (await peer.store.directory.find(ALICE, "fresh")).info.name == "fresh"  # joins the early look-up, then looks itself
        with pytest.raises(NoSuchBucket):
            await early

    with_rig(test)


def test_names_that_cannot_be_are_not_looked_up() -> None:
    async def test(rig: Rig) -> None:
        before = dict(rig.cluster.counts)
        for name in ("", "a/b", "x" * 300, "\ud800"):
            with pytest.raises(NoSuchBucket):
                await rig.store.directory.find(ALICE, name)
        assert rig.cluster.counts == before

    with_rig(test)


def test_a_writer_that_took_long_looks_again_before_it_acknowledges() -> None:
    async def test(rig: Rig) -> None:
        bucket = await rig.store.open_bucket(ALICE, "photos", Action.WRITE_OBJECT)
        peer = rig.peer()
        await asyncio.sleep(1)
        await rig.store.directory.confirm(bucket)  # it is still there
        marked = await peer.store.directory.begin_delete(bucket)
        with pytest.raises(OutcomeUnknown):
            await rig.store.directory.confirm(bucket)
        await peer.store.directory.finish_delete("default", marked)
        with pytest.raises(NoSuchBucket):
            await rig.store.directory.confirm(bucket)
        await rig.store.create_bucket(ALICE, "photos")
        with pytest.raises(NoSuchBucket):
            await rig.store.directory.confirm(bucket)  # of that name there is another one now

    with_rig(test)


def test_an_abandoned_mark_is_taken_back_after_a_minute_and_its_owner_cannot_finish_then() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()
        marked = await rig.store.directory.begin_delete(await rig.store.directory.find(ALICE, "photos"))
        with pytest.raises(NoSuchBucket):
            await peer.store.directory.find(ALICE, "photos")
        with pytest.raises(ConditionalConflict):
            await peer.store.create_bucket(ALICE, "photos")
        assert not (await peer.store.list_buckets(ALICE)).buckets
        await asyncio.sleep(ABANDONED_AFTER_US / 1e6 + 1)
        assert (await peer.store.directory.find(ALICE, "photos")).id == marked.id
        with pytest.raises(ConditionalConflict):
            await rig.store.directory.finish_delete("default", marked)
        assert (await rig.store.directory.find(ALICE, "photos")).id == marked.id

    with_rig(test)


def test_a_mark_of_a_proxy_whose_clock_was_far_ahead_is_taken_back_at_once() -> None:
    async def test(rig: Rig) -> None:
        rig.clock.skew_us = 365 * 86_400 * 1_000_000
        marked = await rig.store.directory.begin_delete(await rig.store.directory.find(ALICE, "photos"))
        rig.clock.skew_us = 0
        assert (await rig.peer().store.directory.find(ALICE, "photos")).id == marked.id

    with_rig(test)


def test_only_one_of_two_deletions_goes_on() -> None:
    async def test(rig: Rig) -> None:
        peer = rig.peer()
        bucket = await rig.store.directory.find(ALICE, "photos")
        outcomes = await asyncio.gather(
            rig.store.directory.begin_delete(bucket), peer.store.directory.begin_delete(bucket), return_exceptions=True
        )
        assert sum(isinstance(o, ConditionalConflict) for o in outcomes) == 1

    with_rig(test)


def test_a_claim_made_anew_during_the_deletion_is_not_removed_with_it() -> None:
    async def test(rig: Rig) -> None:
        directory = rig.store.directory
        marked = await directory.begin_delete(await directory.find(ALICE, "photos"))

        async def remake(what: str, key: RowKey) -> None:
            if what == "conditional" and key.name.startswith(b"bucket/"):
                rig.cluster.after = None
                await rig.peer().store.create_bucket(ALICE, "photos")

        rig.cluster.after = remake
        await directory.finish_delete("default", marked)
        with pytest.raises(BucketAlreadyExists):
            await rig.store.create_bucket(BOB, "photos")

    with_rig(test)


def test_buckets_list_by_name_in_pages() -> None:
    async def test(rig: Rig) -> None:
        for name in ("zebra", "apple", "apricot", "banana"):
            await rig.store.create_bucket(ALICE, name)
        await rig.store.create_bucket(BOB, "avocado")
        rig.cluster.page_limit = 2
        everything = await rig.store.list_buckets(ALICE)
        assert [b.name for b in everything.buckets] == ["apple", "apricot", "banana", "photos", "zebra"]
        assert not everything.truncated
        page = await rig.store.list_buckets(ALICE, limit=2)
        assert ([b.name for b in page.buckets], page.truncated, page.next_after) == (["apple", "apricot"], True, "apricot")
        page = await rig.store.list_buckets(ALICE, limit=3, after=page.next_after)
        assert ([b.name for b in page.buckets], page.truncated, page.next_after) == (["banana", "photos", "zebra"], False, "")
        assert [b.name for b in (await rig.store.list_buckets(ALICE, prefix="ap")).buckets] == ["apple", "apricot"]
        assert (await rig.store.list_buckets(ALICE, limit=0)).buckets == []
        assert {(r.account, r.name) async for r in all_buckets(rig.cluster)} == {
            ("alice", "apple"), ("alice", "apricot"), ("alice", "banana"), ("alice", "photos"), ("alice", "zebra"), ("bob", "avocado")
        }  # fmt: skip

    with_rig(test)


def test_records_of_the_first_version_still_decode() -> None:
    bucket = bytes.fromhex("9b01c4086269646269646269a670686f746f73a5616c696365cf0006651728988000a8726567696f6e2d31a000a46c697665c40000")
    assert msgspec.msgpack.decode(bucket, type=BucketRecord) == BucketRecord(
        record_version=1, id=b"bidbidbi", name="photos", account="alice", created_us=1_800_000_000_000_000, region="region-1"
    )
    claim = bytes.fromhex("9401a5616c696365c4086269646269646269cf0006651728988000")
    assert msgspec.msgpack.decode(claim, type=ClaimRecord) == ClaimRecord(1, "alice", b"bidbidbi", 1_800_000_000_000_000)
    gone = bytes.fromhex("9601c4086269646269646269a5616c696365a66275636b657405cf0006651728988000")
    assert msgspec.msgpack.decode(gone, type=GoneRecord) == GoneRecord(1, b"bidbidbi", "alice", "bucket", 5, 1_800_000_000_000_000)


def test_the_cache_of_buckets_is_bounded_by_the_bytes_of_their_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account with 20,000 buckets of 190 KB of configuration must not fill the memory of every proxy."""
    monkeypatch.setattr(buckets, "CACHE_LIMIT_BYTES", 25_000)

    async def test(rig: Rig) -> None:
        directory = rig.store.directory
        for number in range(10):
            name = f"large-{number}"
            await rig.store.create_bucket(ALICE, name)
            await rig.store.set_config(ALICE, name, "cors", bytes(10_000))
            await rig.store.find_bucket(ALICE, name)
            await rig.store.find_bucket(BOB, name)
            held = sum(len(value) for bucket in directory._cache.values() for value in bucket.info.config.values())
            assert held == directory._cached_bytes <= 25_000
            assert directory.known(BOB, name) is not None

    with_rig(test)
