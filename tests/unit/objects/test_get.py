import asyncio

import pytest

from objstore.core.rows import RowKey, Space
from objstore.errors import (
    DamagedBody,
    InvalidPartNumber,
    InvalidRange,
    NoSuchKey,
    NoSuchVersion,
    NotModified,
    PreconditionFailed,
    QuorumLost,
)
from objstore.objects.api import ByteRange, Conditions
from objstore.objects.buckets import tombstone_row
from tests.support.bodies import content
from tests.support.store_rig import ALICE, Rig, noise, with_rig


@pytest.mark.parametrize("size", [0, 1, 4096, 4097, 300_000])
def test_a_body_comes_back_whole_and_in_ranges(size: int) -> None:
    async def test(rig: Rig) -> None:
        data = noise(size)
        await rig.put("k", data)
        reading = await rig.store.get(ALICE, "photos", "k")
        assert (reading.offset, reading.length, reading.info.size) == (0, size, size)
        assert await content(reading) == data
        if size:
            middle = await rig.store.get(ALICE, "photos", "k", range_=ByteRange(size // 2, None))
            assert (middle.offset, middle.length, middle.info.size) == (size // 2, size - size // 2, size)
            assert await content(middle) == data[size // 2 :]
            assert await rig.get("k", range_=ByteRange(None, 1)) == data[-1:]
        with pytest.raises(InvalidRange):
            await rig.get("k", range_=ByteRange(size, None))

    with_rig(test)


def test_what_is_not_there_is_told_apart() -> None:
    async def test(rig: Rig) -> None:
        for call in (rig.store.head, rig.store.get):
            with pytest.raises(NoSuchKey):
                await call(ALICE, "photos", "k")
            with pytest.raises(NoSuchVersion):
                await call(ALICE, "photos", "k", version_id="null")
        await rig.put("k", b"x")
        assert await rig.get("k", version_id="null") == b"x"
        with pytest.raises(NoSuchVersion):
            await rig.get("k", version_id="0" * 24)

    with_rig(test)


def test_conditions_of_reads_are_judged_before_ranges() -> None:
    async def test(rig: Rig) -> None:
        info = await rig.put("k", b"x")
        with pytest.raises(PreconditionFailed):
            await rig.get("k", conditions=Conditions(if_match=("y",)), range_=ByteRange(5, None))
        with pytest.raises(NotModified) as refusal:
            await rig.store.head(ALICE, "photos", "k", conditions=Conditions(if_none_match=(info.etag,)))
        assert refusal.value.facts == {"etag": info.etag, "modified_us": info.modified_us}

    with_rig(test)


def test_an_object_in_one_piece_has_one_part() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"abc")
        assert await rig.get("k", part_number=1) == b"abc"
        with pytest.raises(InvalidPartNumber):
            await rig.get("k", part_number=2)

    with_rig(test)


def test_a_read_that_comes_too_late_for_its_version_gives_the_next_one_whole() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"a" * 10_000)
        races = 2

        async def overwrite(what: str, key: RowKey) -> None:
            nonlocal races
            if what == "read_body" and races:
                races -= 1
                await rig.peer().put("k", b"b" * (20_000 + races))

        rig.cluster.before = overwrite
        assert await rig.get("k") == b"b" * 20_000

    with_rig(test)


def test_a_body_that_cannot_be_read_fails_before_the_answer_begins() -> None:
    async def test(rig: Rig) -> None:
        await rig.put("k", b"a" * 10_000)

        async def fail(what: str, key: RowKey) -> None:
            if what == "read_body":
                raise QuorumLost("no device answers")

        rig.cluster.before = fail
        with pytest.raises(QuorumLost):
            await rig.store.get(ALICE, "photos", "k")

    with_rig(test)


def test_a_slow_reader_gets_one_version_whole_while_others_overwrite() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", [b"1" * 200_000, b"2" * 200_000, b"3"])
        await rig.complete("k", upload_id, parts)
        reading = await rig.store.get(ALICE, "photos", "k")
        got = [bytes(await anext(reading.chunks))]
        for i in range(5):
            await rig.put("k", b"%d" % i * 10_000)
        async for chunk in reading.chunks:
            got.append(bytes(chunk))
            await asyncio.sleep(1)
        assert b"".join(got) == b"1" * 200_000 + b"2" * 200_000 + b"3"

    with_rig(test)


def test_a_part_that_is_gone_is_damage_and_never_other_bytes() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", [b"1" * 5000, b"2" * 5000])
        await rig.complete("k", upload_id, parts)
        row = await rig.row("k")
        assert row is not None
        second = RowKey(await rig.id(), row.parts[1].space, row.parts[1].name)
        await rig.cluster.write(second, tombstone_row())
        with pytest.raises(DamagedBody):
            await rig.store.get(ALICE, "photos", "k", range_=ByteRange(5000, None))
        assert await rig.get("k", range_=ByteRange(0, 4999)) == b"1" * 5000
        with pytest.raises(DamagedBody):
            await rig.get("k")

    with_rig(test)


def test_a_reading_can_be_closed_at_any_point() -> None:
    async def test(rig: Rig) -> None:
        for key, size in (("small", 100), ("large", 300_000)):
            await rig.put(key, noise(size))
            for taken in (0, 1):
                reading = await rig.store.get(ALICE, "photos", key)
                for _ in range(taken):
                    await anext(reading.chunks)
                await reading.chunks.aclose()  # type: ignore[attr-defined]
                with pytest.raises(StopAsyncIteration):
                    await anext(reading.chunks)

    with_rig(test)


def test_the_next_part_is_looked_up_while_one_streams_and_no_look_up_outlives_its_reader() -> None:
    async def test(rig: Rig) -> None:
        upload_id, parts = await rig.upload("k", [b"1" * 5000, b"2" * 5000, b"3" * 5000])
        await rig.complete("k", upload_id, parts)

        async def slow(what: str, key: RowKey) -> None:
            if what == "read" and key.space == Space.PARTS:
                await asyncio.sleep(1)

        rig.cluster.before = slow
        reading = await rig.store.get(ALICE, "photos", "k")
        await anext(reading.chunks)
        await asyncio.sleep(5)
        began = rig.clock.monotonic()
        await anext(reading.chunks)
        assert rig.clock.monotonic() == began
        assert len(rig.store.tasks) == 1
        await reading.chunks.aclose()  # type: ignore[attr-defined]
        await asyncio.sleep(0.1)
        assert len(rig.store.tasks) == 0

    with_rig(test)
