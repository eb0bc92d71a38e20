"""What is known of accounts, and their quotas: exact over all buckets, through one proxy and two."""

import asyncio

import pytest

from objstore.core import quota
from objstore.core.quota import QuotaConfig
from objstore.errors import AccessDenied, InvalidRequest, QuotaExceeded
from objstore.objects.accounts import FRESH_S
from objstore.objects.api import Attributes, Expected, Principal
from tests.support.bodies import sent
from tests.support.store_rig import ALICE, BOB, Rig, noise, with_rig

HOME = ALICE.at("alice")
RESELLER = Principal(account="root", user="root", admin=True).at("alice")


async def put_in(rig: Rig, bucket: str, key: str, data: bytes) -> None:
    await rig.store.put(ALICE, bucket, key, sent(data), attributes=Attributes(), expected=Expected())


def test_an_accounts_quota_counts_all_its_buckets_whoever_writes() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.create_bucket(ALICE, "second")
        await rig.store.set_account(RESELLER, {"quota-bytes": "100", "quota-count": "3"})
        await rig.put("a", b"x" * 40)
        await put_in(rig, "second", "b", b"x" * 40)
        with pytest.raises(QuotaExceeded):
            await rig.put("c", b"x" * 21)
        await rig.put("c", b"x" * 20)
        with pytest.raises(QuotaExceeded):
            await put_in(rig, "second", "d", b"")
        await rig.put("a", b"x" * 30)  # what goes makes room for what comes
        await rig.store.delete(ALICE, "second", "b")
        await put_in(rig, "second", "big", noise(50))
        await rig.store.set_account(RESELLER, {"quota-bytes": "", "quota-count": ""})
        await rig.put("e", noise(5000))

    with_rig(test)


def test_writes_at_once_into_many_buckets_do_not_pass_it_together() -> None:
    async def test(rig: Rig) -> None:
        buckets = [f"bucket-{number}" for number in range(5)]
        for bucket in buckets:
            await rig.store.create_bucket(ALICE, bucket)
        await rig.store.set_account(RESELLER, {"quota-count": "7"})
        peer = rig.peer()
        await asyncio.sleep(FRESH_S)

        async def put(number: int) -> bool:
            try:
                await put_in(rig if number % 2 else peer, buckets[number % 5], f"k{number}", b"data")
            except QuotaExceeded:
                return False
            return True

        assert sum(await asyncio.gather(*[put(number) for number in range(30)])) == 7
        assert (await rig.store.account(HOME)).usage.objects == 7
        await peer.store.aclose()

    with_rig(test)


def test_both_quotas_must_have_room() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_account(RESELLER, {"quota-bytes": "100"})
        await rig.store.set_config(ALICE, rig.bucket, "quota", quota.encode(QuotaConfig(1, 1000, 2)))
        await rig.put("a", b"x" * 60)
        with pytest.raises(QuotaExceeded, match="account 'alice'"):
            await rig.put("b", b"x" * 60)
        await rig.put("b", b"x" * 40)
        with pytest.raises(QuotaExceeded, match="bucket"):
            await rig.put("c", b"")
        upload_id, parts = await rig.upload("a", [noise(61)])
        with pytest.raises(QuotaExceeded):
            await rig.complete("a", upload_id, parts)

    with_rig(test)


def test_quotas_of_accounts_are_the_resellers() -> None:
    async def test(rig: Rig) -> None:
        for who in (HOME, BOB.at("alice"), BOB.at("alice", "admin")):
            with pytest.raises(AccessDenied):
                await rig.store.set_account(who, {"quota-count": "1"})
        with pytest.raises(InvalidRequest):
            await rig.store.set_account(RESELLER, {"quota-count": "many"})

    with_rig(test)


def test_one_read_serves_all_that_ask_and_a_change_is_known_at_once() -> None:
    async def test(rig: Rig) -> None:
        accounts = rig.store.accounts
        found = await asyncio.gather(*[accounts.get("alice") for _ in range(10)])
        assert all(each is found[0] for each in found)
        await rig.store.set_account(HOME, {"colour": "red"})
        assert (await accounts.get("alice")).metadata == {"colour": "red"}
        peer = rig.peer()
        assert (await peer.store.account_metadata("alice"))["colour"] == "red"
        await rig.store.set_account(HOME, {"colour": "blue"})
        await asyncio.sleep(FRESH_S)
        assert (await peer.store.account_metadata("alice"))["colour"] == "blue"
        await peer.store.aclose()

    with_rig(test)
