import asyncio

import pytest

from objstore.errors import DamagedBody, InvalidArgument, KeyNotFound, KeyServiceUnavailable
from objstore.identity.kms import (
    CachedKeys,
    KmsSettings,
    LocalKeys,
    Secrets,
    derived_key,
    key_name,
    parse_keys,
    render_keys,
    rotated,
    with_names,
)
from objstore.runtime.rng import SystemRng
from tests.sim.loop import run
from tests.support.memory_cluster import LoopClock

CLUSTER_KEY = b"c" * 32
KEYS: Secrets = {"a": {1: b"1" * 32}, "b-2": {1: b"2" * 32, 2: b"3" * 32}}


def local(keys: Secrets = KEYS) -> LocalKeys:
    return LocalKeys(lambda: keys, SystemRng(), LoopClock())


def test_the_file_comes_back_and_refuses_what_it_cannot_be() -> None:
    assert parse_keys(render_keys(KEYS)) == KEYS
    good = '[[key]]\nid = "a"\nversion = 1\nsecret = "' + "ab" * 32 + '"\n'
    assert parse_keys(good) == {"a": {1: b"\xab" * 32}}
    for bad in (
        "not toml", "[key]\nid=1", good.replace("version = 1", "version = 0"), good.replace('"a"', '"a/b"'), good.replace("ab", "a", 1), good + good,
        good.replace("ab" * 32, "zz" * 32), good.replace("secret", "secrets"),
    ):  # fmt: skip
        with pytest.raises(InvalidArgument) as refusal:
            parse_keys(bad)
        assert "abab" not in str(refusal.value)


@pytest.mark.parametrize(
    ("key_id", "name"),
    [
        ("testkey-1", "testkey-1"),
        ("alias/mine", "mine"),
        ("arn:aws:kms:us-east-1:123456789012:key/testkey-1", "testkey-1"),
        ("arn:aws:kms:us-east-1:123456789012:alias/mine", "mine"),
        ("arn:aws:kms:my-minio-key", "my-minio-key"),
    ],
)
def test_keys_are_named_as_on_amazon(key_id: str, name: str) -> None:
    assert key_name(key_id) == name


@pytest.mark.parametrize("key_id", ["", "..%2f", "a/b", "x" * 129, "ключ", "a b", "arn:aws:s3:::bucket", "arn:aws:kms:"])
def test_what_is_no_name_is_not_found(key_id: str) -> None:
    with pytest.raises(KeyNotFound):
        key_name(key_id)


def test_names_that_are_missing_come_from_the_cluster_key_and_none_is_replaced() -> None:
    completed = with_names(KEYS, ["a", "new"], CLUSTER_KEY)
    assert completed["a"] == KEYS["a"]
    assert completed["new"] == {1: derived_key(CLUSTER_KEY, "new")}
    assert completed == with_names(KEYS, ["new", "a"], CLUSTER_KEY)
    assert derived_key(CLUSTER_KEY, "new") != derived_key(CLUSTER_KEY, "a") != derived_key(b"d" * 32, "a")


def test_a_data_key_opens_only_under_its_name_and_context() -> None:
    async def main() -> None:
        keys = local()
        wrapped = await keys.wrap("a", b"d" * 32, "ctx")
        assert b"d" * 32 not in wrapped
        assert await keys.unwrap("a", wrapped, "ctx") == b"d" * 32
        assert wrapped != await keys.wrap("a", b"d" * 32, "ctx")
        for name, data, context in (
            ("a", wrapped, "other"), ("b-2", wrapped, "ctx"), ("a", wrapped[:-1], "ctx"), ("a", wrapped[:-1] + b"?", "ctx"), ("a", wrapped[:20], "ctx"),
        ):  # fmt: skip
            with pytest.raises(DamagedBody):
                await keys.unwrap(name, data, context)
        with pytest.raises(KeyNotFound):
            await keys.wrap("nobody", b"d" * 32, "")
        for data in (b"", b"\x02" + wrapped[1:], b"\x01\0\0\0\x09" + wrapped[5:]):
            with pytest.raises(KeyNotFound):
                await keys.unwrap("a", data, "ctx")

    asyncio.run(main())


def test_after_a_rotation_new_keys_wrap_and_old_ones_still_open() -> None:
    async def main() -> None:
        held: list[Secrets] = [KEYS]
        clock = LoopClock()
        keys = LocalKeys(lambda: held[0], SystemRng(), clock)
        old = await keys.wrap("a", b"d" * 32, "")
        held[0] = rotated(rotated(KEYS, "a", b"n" * 32), "brand-new", b"m" * 32)
        other = LocalKeys(lambda: held[0], SystemRng(), clock)
        new = await other.wrap("a", b"e" * 32, "")
        assert (old[1:5], new[1:5]) == (b"\0\0\0\1", b"\0\0\0\2")
        assert await other.unwrap("a", old, "") == b"d" * 32
        await clock.sleep(2)
        assert await keys.unwrap("a", new, "") == b"e" * 32  # a version that is not known is looked for in the file
        assert await keys.wrap("brand-new", b"d" * 32, "")
        held[0] = rotated(held[0], "a", b"z" * 32)
        assert (await keys.wrap("a", b"d" * 32, ""))[4] == 2
        await clock.sleep(10)
        assert (await keys.wrap("a", b"d" * 32, ""))[4] == 3

    run(main(), limit_s=100)


def test_a_file_that_cannot_be_read_again_is_an_outage() -> None:
    async def main() -> None:
        clock, broken = LoopClock(), False

        def load() -> Secrets:
            if broken:
                raise OSError("gone")
            return KEYS

        keys = LocalKeys(load, SystemRng(), clock)
        broken = True
        await clock.sleep(2)
        with pytest.raises(KeyServiceUnavailable):
            await keys.wrap("nobody", b"d" * 32, "")
        assert await keys.wrap("a", b"d" * 32, "")
        await clock.sleep(11)
        assert await keys.wrap("a", b"d" * 32, "")  # a key that is known stays in use

    run(main(), limit_s=100)


class Counted:
    """Master keys that count what they are asked for."""

    def __init__(self) -> None:
        self.inner = local()
        self.calls: list[str] = []

    async def wrap(self, name: str, data_key: bytes, context: str) -> bytes:
        self.calls.append("wrap")
        return await self.inner.wrap(name, data_key, context)

    async def unwrap(self, name: str, wrapped: bytes, context: str) -> bytes:
        self.calls.append("unwrap")
        return await self.inner.unwrap(name, wrapped, context)


@pytest.mark.parametrize("key_id", ["alias/objstore-s3", "arn:aws:kms:us-east-1:1:key/objstore-s3", "arn:aws:kms:::alias/objstore-s3"])
def test_the_stores_own_key_is_not_for_clients_whatever_they_call_it(key_id: str) -> None:
    async def main() -> None:
        keys = CachedKeys(Counted(), KmsSettings(), SystemRng(), LoopClock())
        with pytest.raises(KeyNotFound):
            await keys.new_key(key_id, "")

    run(main(), limit_s=1000)


def test_data_keys_are_remembered_for_a_while_and_bucket_keys_shared() -> None:
    async def main() -> None:
        masters, clock = Counted(), LoopClock()
        keys = CachedKeys(masters, KmsSettings(cache_s=60), SystemRng(), clock)
        one, wrapped = await keys.new_key("a", "", scope=b"bucket")
        assert await keys.new_key("a", "", scope=b"bucket") == (one, wrapped)
        assert (await keys.new_key("a", "", scope=b"other"))[0] != one
        assert (await keys.new_key("a", ""))[0] != (await keys.new_key("a", ""))[0]
        assert masters.calls == ["wrap"] * 4
        for _ in range(3):
            assert await keys.open_key("alias/a", "", wrapped) == one
        assert masters.calls.count("unwrap") == 1
        await clock.sleep(61)
        assert await keys.open_key("a", "", wrapped) == one
        assert (await keys.new_key("a", "", scope=b"bucket"))[0] != one
        assert masters.calls.count("unwrap") == 2
        with pytest.raises(DamagedBody):
            await keys.open_key("a", "other", wrapped)

    run(main(), limit_s=1000)


def test_a_data_key_of_the_wrong_length_is_refused() -> None:
    async def main() -> None:
        keys = CachedKeys(local(), KmsSettings(), SystemRng(), LoopClock())
        with pytest.raises(DamagedBody):
            await keys.open_key("a", "", await local().wrap("a", b"short", ""))

    asyncio.run(main())
