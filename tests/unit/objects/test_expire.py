"""What lifecycle rules do, against the very row that was judged."""

import asyncio
import contextlib
import random

import msgspec
import pytest

from objstore.core.locks import is_locked
from objstore.core.rows import Kind, Row, RowKey, Space, encode_row
from objstore.core.timestamp import ZERO, Ballot
from objstore.errors import QuorumLost
from objstore.objects import expire
from objstore.objects.api import Attributes, ListQuery
from objstore.objects.buckets import Bucket
from objstore.objects.expire import Expirer
from objstore.objects.reclaim import PartReclaimer
from tests.support.store_rig import ALICE, Rig, noise, with_rig


async def opened(rig: Rig) -> tuple[Expirer, Bucket]:
    expirer = Expirer(rig.store)
    bucket = await expirer.find("alice", rig.bucket, await rig.id())
    assert bucket is not None
    return expirer, bucket


async def shown(rig: Rig) -> list[tuple[str, bool]]:
    page = await rig.store.list_versions(ALICE, rig.bucket, ListQuery())
    return [(info.key, info.is_delete_marker) for info in page.objects]


def test_a_bucket_is_found_by_its_id_alone() -> None:
    async def test(rig: Rig) -> None:
        expirer = Expirer(rig.store)
        assert await expirer.find("alice", rig.bucket, b"12345678") is None
        assert await expirer.find("alice", "no-such-bucket", b"12345678") is None

    with_rig(test)


def test_an_object_goes_unless_it_was_written_since() -> None:
    async def test(rig: Rig) -> None:
        expirer, bucket = await opened(rig)
        await rig.put("a")
        await rig.put("b")
        page = await expirer.keys(bucket, b"", b"")
        assert ([key.name for key in page.keys], page.next_start, page.rows) == ([b"a", b"b"], None, 2)
        await rig.put("b", b"newer")
        assert await expirer.expire(bucket, b"a", page.keys[0].rows[0])
        assert not await expirer.expire(bucket, b"b", page.keys[1].rows[0])
        assert not await expirer.expire(bucket, b"never", page.keys[1].rows[0])
        assert await rig.get("b") == b"newer"
        assert await shown(rig) == [("b", False)]

    with_rig(test)


def test_in_a_versioned_bucket_the_current_version_hides_behind_a_marker() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        expirer, bucket = await opened(rig)
        await rig.put("a", b"one")
        await rig.put("a", b"two")
        (key,) = (await expirer.keys(bucket, b"", b"")).keys
        assert [row.size for row in key.rows] == [3, 3]
        assert await expirer.expire(bucket, b"a", key.rows[0])
        assert not await expirer.expire(bucket, b"a", key.rows[0])
        assert await shown(rig) == [("a", True), ("a", False), ("a", False)]
        (key,) = (await expirer.keys(bucket, b"", b"")).keys
        assert [row.kind for row in key.rows] == [Kind.DELETE_MARKER, Kind.OBJECT, Kind.OBJECT]
        marker, two, one = key.rows
        assert not await expirer.remove(bucket, b"a", marker, lone=True)  # it hides two versions
        assert not await expirer.remove(bucket, b"a", marker)  # it is current
        assert await expirer.remove(bucket, b"a", one)
        assert not await expirer.remove(bucket, b"a", one)
        assert await expirer.remove(bucket, b"a", two)
        (key,) = (await expirer.keys(bucket, b"", b"")).keys
        assert await expirer.remove(bucket, b"a", key.rows[0], lone=True)
        assert await shown(rig) == []
        assert not await expirer.remove(bucket, b"a", key.rows[0], lone=True)

    with_rig(test)


def test_a_version_that_became_current_again_stays() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        expirer, bucket = await opened(rig)
        await rig.put("a", b"one")
        second = await rig.put("a", b"two")
        (key,) = (await expirer.keys(bucket, b"", b"")).keys
        await rig.store.delete(ALICE, rig.bucket, "a", version_id=second.version_id)
        assert not await expirer.remove(bucket, b"a", key.rows[1])
        assert await rig.get("a") == b"one"

    with_rig(test)


def test_in_a_suspended_bucket_the_null_version_goes() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Suspended")
        expirer, bucket = await opened(rig)
        await rig.put("a")
        (key,) = (await expirer.keys(bucket, b"", b"")).keys
        assert await expirer.expire(bucket, b"a", key.rows[0])
        assert await shown(rig) == [("a", True)]

    with_rig(test)


def lock(rig: Rig, bucket: bytes, name: bytes, **fields: object) -> Row:
    """Lock the head in place, as object lock writes it."""
    key = RowKey(bucket, Space.OBJECTS, name)
    found = rig.registers.get(key)
    assert found is not None
    row = msgspec.structs.replace(msgspec.msgpack.decode(found[1], type=Row), **fields)
    rig.registers.put(key, Ballot(found[0]), row, found[2])
    return row


def test_what_is_locked_stays() -> None:
    row = Row(kind=Kind.OBJECT, operation=b"", origin=ZERO, base=ZERO, modified_us=0)
    assert not is_locked(row, 5)
    assert is_locked(msgspec.structs.replace(row, legal_hold=True), 5)
    assert is_locked(msgspec.structs.replace(row, lock_mode="COMPLIANCE", retain_until_us=6), 5)
    assert not is_locked(msgspec.structs.replace(row, lock_mode="COMPLIANCE", retain_until_us=5), 5)

    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        expirer, bucket = await opened(rig)
        await rig.put("a", b"one")
        row = lock(rig, bucket.id, b"a", legal_hold=True)
        await rig.put("a", b"two")
        assert encode_row(row)
        (key,) = (await expirer.keys(bucket, b"", b"")).keys
        assert key.rows[1].legal_hold
        assert not await expirer.remove(bucket, b"a", key.rows[1])
        assert await expirer.expire(bucket, b"a", key.rows[0])
        assert len(await shown(rig)) == 3

    with_rig(test)


def test_pages_hold_whole_keys_and_prefixes_narrow_them() -> None:
    async def test(rig: Rig) -> None:
        await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
        expirer, bucket = await opened(rig)
        for number in range(6):
            for _ in range(3):
                await rig.put(f"{'ab'[number % 2]}/{number}", attributes=Attributes(tags={"n": str(number)}))
        found = []
        start: bytes | None = b""
        while start is not None:
            page = await expirer.keys(bucket, start, b"a/")
            found += [(key.name, len(key.rows), key.rows[0].tags["n"]) for key in page.keys]
            start = page.next_start
        assert found == [(b"a/0", 3, "0"), (b"a/2", 3, "2"), (b"a/4", 3, "4")]

    with_rig(test)


@pytest.mark.parametrize("seed", range(4))
def test_keys_with_very_many_versions_come_in_pieces(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expire, "PAGE_KEYS", 2)
    monkeypatch.setattr(expire, "PAGE_VERSIONS", 4)

    async def test(rig: Rig) -> None:
        rng = random.Random(seed)
        for step in range(60):
            if step in (8, 50):
                await rig.store.set_versioning(ALICE, rig.bucket, "Enabled")
            elif step == 40:
                await rig.store.set_versioning(ALICE, rig.bucket, "Suspended")
            key = rng.choice(("a", "a", "b", "c", "d"))
            await (rig.put(key) if rng.random() < 0.8 else rig.store.delete(ALICE, rig.bucket, key))
            await asyncio.sleep(0.001)
        expirer, bucket = await opened(rig)
        found: dict[bytes, list[Row]] = {}
        start: bytes | None = b""
        inside = None
        while start is not None:
            page = await expirer.keys(bucket, start, b"", inside)
            assert page.rows <= 4 + 2
            for key in page.keys:
                rows = found.setdefault(key.name, [])
                assert key.before == len(rows)
                assert not rows or key.rows[0] == rows[-1]
                rows += key.rows[1:] if rows else key.rows
            start, inside = page.next_start, page.inside
        listed = (await rig.store.list_versions(ALICE, rig.bucket, ListQuery())).objects
        assert [(name.decode(), row.version or "null") for name in sorted(found) for row in found[name]] == [
            (info.key, info.version_id or "null") for info in listed
        ]
        assert len(listed) > 30

    with_rig(test)


def test_uploads_are_given_up_with_their_parts() -> None:
    async def test(rig: Rig) -> None:
        expirer, bucket = await opened(rig)
        await rig.upload("a/1", [noise(1000)])
        await rig.upload("b/1", [noise(1000)])
        (upload,) = [upload async for upload in expirer.uploads(bucket, b"a/")]
        assert upload.name == b"a/1"
        assert await expirer.abort(bucket, upload)
        assert await rig.live_parts() == 1
        assert [upload.name async for upload in expirer.uploads(bucket, b"")] == [b"b/1"]

    with_rig(test)


@pytest.mark.parametrize("written", [False, True])
def test_an_upload_whose_completion_was_cut_short_is_given_up_after_the_grace(written: bool) -> None:
    async def test(rig: Rig) -> None:
        expirer, bucket = await opened(rig)
        data = noise(9000)
        upload_id, parts = await rig.upload("k", [data])
        dying = rig.peer()
        marked = False

        async def die(what: str, key: RowKey) -> None:
            nonlocal marked
            if marked and key.space == (Space.UPLOADS if written else Space.OBJECTS):
                raise QuorumLost("the process is gone")
            marked = marked or (key.space == Space.UPLOADS and what == "conditional")

        dying.cluster.before = die
        with contextlib.suppress(QuorumLost):
            await dying.complete("k", upload_id, parts)
        (upload,) = [upload async for upload in expirer.uploads(bucket, b"")]
        assert not await expirer.abort(bucket, upload)
        await asyncio.sleep(901)
        assert await expirer.abort(bucket, upload)
        assert [upload async for upload in expirer.uploads(bucket, b"")] == []
        reclaimer = PartReclaimer(rig.cluster, rig.clock)
        for _ in range(3):
            await reclaimer.step(bucket.id, 0)
            await asyncio.sleep(901)
        assert await rig.live_parts() == (1 if written else 0)
        if written:
            assert await rig.get("k") == data

    with_rig(test)


def test_a_class_is_given_to_the_very_row_that_was_judged() -> None:
    async def test(rig: Rig) -> None:
        expirer, bucket = await opened(rig)
        await rig.put("a")
        await rig.put("b")
        page = await expirer.keys(bucket, b"", b"")
        seen = page.keys[0].rows[0]
        await rig.put("b", b"newer")
        assert await expirer.transition(bucket, b"a", seen, "COLD", current=True)
        assert not await expirer.transition(bucket, b"a", seen, "COLDER", current=True)  # changed since
        assert not await expirer.transition(bucket, b"b", page.keys[1].rows[0], "COLD", current=True)
        assert not await expirer.transition(bucket, b"never", seen, "COLD", current=True)
        classes = [info.storage_class for info in (await rig.store.list(ALICE, rig.bucket, ListQuery())).objects]
        assert (classes, await rig.get("b")) == (["COLD", ""], b"newer")

    with_rig(test)
