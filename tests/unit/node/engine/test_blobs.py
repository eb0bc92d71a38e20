"""Blobs: written as they come, durable when finished, verified when read, removed only when nobody names them."""

import asyncio
import dataclasses
import random
from typing import Any

import pytest
import xxhash

from objstore.errors import DamagedBody, DeviceFull, DeviceOffline, IncompleteBody, NoSuchVersion, TooBusy
from objstore.node.engine.api import BodyMissing
from objstore.node.engine.blobs import blob_name, blob_of_name
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, delete, key, put, put_blob, read, row

BLOB = b"b" * 16
DATA = random.Random(5).randbytes(20_000)


@pytest.fixture
def rig() -> SimRig:
    return SimRig()


def volume(rig: SimRig) -> Any:
    return rig.host.storage.volume(DIRECTORY)[0]


def file_of(rig: SimRig, blob: bytes = BLOB) -> Any:
    directory, _, name = blob_name(blob).rpartition("/")
    return volume(rig).directories.get(directory, {}).get(name)


async def stage(rig: SimRig, data: bytes = DATA, blob: bytes = BLOB, piece: int = 777, size: int | None = None) -> Any:
    writer = await rig.engine.stage(blob, size=len(data) if size is None else size)
    for start in range(0, len(data), piece):
        await writer.write(memoryview(data)[start : start + piece])
    return await writer.finish()


@pytest.mark.parametrize("size", [0, 1, 1023, 1024, 1025, 20_000])
@pytest.mark.parametrize("piece", [1, 700, 1024, 5000, 100_000])
def test_what_was_staged_is_read_whatever_the_pieces(rig: SimRig, size: int, piece: int) -> None:
    if piece == 1 and size > 2000:
        return
    data = DATA[:size]
    staged = rig.run(lambda: stage(rig, data, piece=piece))
    assert (staged.size, staged.digest) == (size, xxhash.xxh3_128_digest(data))
    rig.run(lambda: rig.engine.accept(key("k"), partition=0, ballot=ballot(1), row=row(ballot(1), blob=BLOB, size=size)))
    assert rig.run(lambda: read(rig.engine, "k", 1)) == data
    assert bytes(file_of(rig).data[:size]) == data


def test_any_range_is_read(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    for offset, length in (
        (0, 1),
        (1023, 2),
        (1024, 1024),
        (5000, -1),
        (19_999, 1),
        (19_999, 100),
        (20_000, -1),
        (30_000, 5),
        (0, 0),
        (100, 9000),
    ):
        end = None if length < 0 else offset + length
        assert rig.run(lambda offset=offset, length=length: read(rig.engine, "k", 1, offset, length)) == DATA[offset:end]


def test_inline_bytes_are_read_in_ranges_too(rig: SimRig) -> None:
    rig.run(lambda: put(rig.engine, "k", 1, DATA[:500]))
    for offset, length in ((0, -1), (10, 20), (490, 100), (500, -1), (600, 1)):
        end = None if length < 0 else offset + length
        assert rig.run(lambda offset=offset, length=length: read(rig.engine, "k", 1, offset, length)) == DATA[:500][offset:end]


def test_another_write_of_the_key_is_not_what_was_asked_for(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    for name, number in (("k", 2), ("absent", 1)):
        with pytest.raises(NoSuchVersion):
            rig.run(lambda name=name, number=number: read(rig.engine, name, number))
    rig.run(lambda: delete(rig.engine, "k", 3))
    with pytest.raises(NoSuchVersion):
        rig.run(lambda: read(rig.engine, "k", 3))


def test_a_stream_that_began_goes_on_after_the_blob_was_purged(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))

    async def body() -> bytes:
        stream = await rig.engine.read_body(key("k"), origin=ballot(1), offset=0, length=-1)
        chunks = aiter(stream.chunks)
        pieces = [bytes(await anext(chunks))]
        await put(rig.engine, "k", 2, b"new")
        counts, more = await rig.engine.maintain("purge")
        assert (counts["blobs"], more) == (1, False)
        assert file_of(rig) is None
        pieces += [bytes(chunk) async for chunk in chunks]
        return b"".join(pieces)

    assert rig.run(body) == DATA


def test_a_stream_that_is_given_up_gives_its_file_back_although_somebody_still_holds_the_reader(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))

    async def body() -> None:
        blobs = rig.engine._device.blobs
        for started in (False, True):
            reader = await blobs.open(BLOB, 0, -1)
            chunks = blobs.chunks(reader, 0, len(DATA))
            await anext(chunks)
            if started:
                await anext(chunks)
            await chunks.aclose()
            with pytest.raises(TooBusy):
                reader.read(0, 0)
        assert await read(rig.engine, "k", 1) == DATA

    rig.run(body)


def test_a_finished_blob_survives_a_power_cut_and_an_unfinished_one_leaves_nothing(rig: SimRig) -> None:
    async def body() -> None:
        await stage(rig)
        unfinished = await rig.engine.stage(b"u" * 16, size=-1)
        await unfinished.write(DATA)

    rig.run(body)
    rig.crash()
    assert file_of(rig) is not None
    assert file_of(rig, b"u" * 16) is None


def test_an_announced_size_must_come(rig: SimRig) -> None:
    for size in (len(DATA) - 1, len(DATA) + 1):
        with pytest.raises(IncompleteBody):
            rig.run(lambda size=size: stage(rig, size=size))
    assert file_of(rig) is None
    assert rig.run(lambda: stage(rig, size=-1)).size == len(DATA)


def test_an_aborted_blob_is_gone(rig: SimRig) -> None:
    async def body() -> None:
        writer = await rig.engine.stage(BLOB, size=-1)
        await writer.write(DATA)
        await writer.abort()
        again = await rig.engine.stage(BLOB, size=-1)
        await again.abort()

    used = volume(rig).used_bytes
    rig.run(body)
    assert volume(rig).used_bytes == used


def test_a_sender_waits_while_too_much_is_unwritten(rig: SimRig) -> None:
    async def body() -> int:
        writer = await rig.engine.stage(BLOB, size=-1)
        volume(rig).slow_s = 1.0
        for _ in range(40):
            await writer.write(bytes(1000))
            assert writer._waiting_bytes < SMALL.stage_waiting_bytes
        return (await writer.finish()).size

    assert rig.run(body) == 40_000


def test_staging_a_blob_again_with_the_same_bytes_is_fine(rig: SimRig) -> None:
    rig.run(lambda: stage(rig))
    assert rig.run(lambda: stage(rig)).size == len(DATA)
    assert rig.engine.stats().quarantined == 0


def test_staging_again_replaces_a_damaged_blob_and_keeps_it_aside(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    file_of(rig).data[5000] ^= 1
    rig.run(lambda: stage(rig))
    assert rig.run(lambda: read(rig.engine, "k", 1)) == DATA
    assert list(volume(rig).directories["quarantine"]) == [BLOB.hex() + ".0"]


def test_a_damaged_block_is_never_served_and_the_file_goes_to_quarantine(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    file_of(rig).data[15_000] ^= 1

    got: list[bytes] = []

    async def body() -> None:
        stream = await rig.engine.read_body(key("k"), origin=ballot(1), offset=0, length=-1)
        async for chunk in stream.chunks:
            got.append(bytes(chunk))

    with pytest.raises(DamagedBody):
        rig.run(body)
    assert DATA.startswith(b"".join(got))
    assert sum(map(len, got)) <= 15_000
    assert file_of(rig) is None
    assert rig.engine.stats().quarantined == 2  # the file, and the register that waits to be healed
    with pytest.raises(DamagedBody):
        rig.run(lambda: read(rig.engine, "k", 1))


def test_a_damaged_footer_is_found_when_the_blob_is_opened(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    file_of(rig).data[-3] ^= 1
    with pytest.raises(DamagedBody):
        rig.run(lambda: read(rig.engine, "k", 1))
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.accept(key("l"), partition=0, ballot=ballot(1), row=row(ballot(1), blob=BLOB, size=len(DATA))))


def test_a_full_disk_refuses_blobs_and_goes_on(rig: SimRig) -> None:
    disk = volume(rig)
    room = disk.capacity_bytes
    disk.capacity_bytes = disk.used_bytes + 10_000
    with pytest.raises(DeviceFull):
        rig.run(lambda: stage(rig, size=-1))
    with pytest.raises(DeviceFull):
        rig.run(lambda: stage(rig))
    assert rig.run(lambda: put(rig.engine, "k", 1, b"small")) == "yes"
    disk.capacity_bytes = room
    assert rig.run(lambda: stage(rig)).size == len(DATA)


def test_a_failed_flush_of_a_blob_takes_the_device_offline(rig: SimRig) -> None:
    volume(rig).datasync_failures = 1
    with pytest.raises(DeviceOffline):
        rig.run(lambda: stage(rig))
    with pytest.raises(DeviceOffline):
        rig.run(lambda: put(rig.engine, "k", 1, b"x"))


# -- purge and sweep -------------------------------------------------------------------------------------------------


def test_a_blob_is_purged_only_when_no_register_names_it(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    version = key("k", ballot(1))
    rig.run(lambda: rig.engine.accept(version, partition=0, ballot=ballot(2), row=row(ballot(1), blob=BLOB, size=len(DATA))))
    rig.run(lambda: put(rig.engine, "k", 3, b"new"))
    assert rig.run(lambda: rig.engine.maintain("purge"))[0]["blobs"] == 1
    assert rig.run(lambda: read(rig.engine, version, 1)) == DATA
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    rig.run(lambda: rig.engine.accept(version, partition=0, ballot=ballot(4), row=row(ballot(4), kind=3)))
    assert rig.engine.stats().purge_queue == 1
    rig.run(lambda: rig.engine.maintain("purge"))
    assert file_of(rig) is None


@pytest.mark.parametrize("checkpoint", [False, True])
def test_the_purge_queue_survives_a_power_cut(rig: SimRig, checkpoint: bool) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    rig.run(lambda: delete(rig.engine, "k", 2))
    if checkpoint:
        rig.run(lambda: rig.engine.maintain("checkpoint"))
    rig.crash()
    assert rig.engine.stats().purge_queue == 1
    assert rig.run(lambda: rig.engine.maintain("purge")) == ({"blobs": 1, "bytes": file_bytes(len(DATA))}, False)
    rig.reopen()
    assert rig.engine.stats().purge_queue == 0


def file_bytes(size: int) -> int:
    return size + 8 * -(-size // SMALL.block_size_bytes) + 72


def test_an_accept_that_races_a_purge_either_keeps_the_blob_or_misses_it(rig: SimRig) -> None:
    for delay_us in range(0, 1000, 50):
        blob = delay_us.to_bytes(16, "big")
        rig.run(lambda blob=blob: put_blob(rig.engine, "k", delay_us + 1, blob, DATA))  # noqa: B023 run at once
        rig.run(lambda: put(rig.engine, "k", delay_us + 2, b"new"))  # noqa: B023 run at once

        async def race(blob: bytes = blob, delay_us: int = delay_us) -> Any:
            purge = asyncio.ensure_future(rig.engine.maintain("purge"))
            await asyncio.sleep(delay_us / 1e6)
            encoded = row(ballot(1), blob=blob, size=len(DATA))
            answer = await asyncio.gather(
                rig.engine.accept(key(f"other{delay_us}"), partition=0, ballot=ballot(1), row=encoded), return_exceptions=True
            )
            await purge
            return answer[0]

        answer = rig.run(race)
        if isinstance(answer, BodyMissing):
            continue
        assert answer.verdict == "yes"
        assert rig.run(lambda delay_us=delay_us: read(rig.engine, f"other{delay_us}", 1)) == DATA


def test_a_row_of_the_same_batch_keeps_a_blob_from_being_purged(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    rig.run(lambda: put(rig.engine, "k", 2, b"new"))
    rig.run(lambda: stage(rig))

    async def body() -> None:
        encoded = row(ballot(1), blob=BLOB, size=len(DATA))
        flushes = rig.engine._device.packs.sequence
        await asyncio.gather(
            rig.engine.accept(key("other"), partition=0, ballot=ballot(1), row=encoded),
            rig.engine.maintain("purge"),
        )
        assert rig.engine._device.packs.sequence == flushes + 1

    rig.run(body)
    assert rig.run(lambda: read(rig.engine, "other", 1)) == DATA


def test_a_blob_staged_again_while_it_is_purged_stays(rig: SimRig) -> None:
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, DATA))
    rig.run(lambda: put(rig.engine, "k", 2, b"new"))
    for delay_us in range(0, 1500, 100):

        async def race(delay_us: int = delay_us) -> None:
            purge = asyncio.ensure_future(rig.engine.maintain("purge"))
            await asyncio.sleep(delay_us / 1e6)
            await stage(rig)
            await purge
            await rig.engine.accept(key("k"), partition=0, ballot=ballot(delay_us + 3), row=row(ballot(1), blob=BLOB, size=len(DATA)))

        rig.run(race)
        assert rig.run(lambda: read(rig.engine, "k", 1)) == DATA
        rig.run(lambda delay_us=delay_us: put(rig.engine, "k", delay_us + 4, b"new"))


def sweep(rig: SimRig) -> int:
    swept, more = 0, True
    while more:
        counts, more = rig.run(lambda: rig.engine.maintain("sweep_staged"))
        swept += counts["blobs"]
    return swept


def test_a_staged_blob_that_no_row_names_is_swept_after_an_hour() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, staged_max_age_s=3600))
    rig.run(lambda: stage(rig))
    rig.run(lambda: put_blob(rig.engine, "k", 1, b"k" * 16, DATA))
    rig.reopen()
    assert sweep(rig) == 0
    rig.run(lambda: asyncio.sleep(3700))
    assert sweep(rig) == 1
    assert file_of(rig) is None
    assert file_of(rig, b"k" * 16) is not None
    with pytest.raises(BodyMissing):
        rig.run(lambda: rig.engine.accept(key("l"), partition=0, ballot=ballot(1), row=row(ballot(1), blob=BLOB, size=len(DATA))))


def test_names_that_are_none_of_ours_are_no_blobs() -> None:
    assert blob_of_name("0123456789abcdef" * 2) == bytes.fromhex("0123456789abcdef" * 2)
    for name in ("z" * 32, "0" * 31, "0" * 33, "A" * 32, "../" + "0" * 29, " " * 32, ""):
        assert blob_of_name(name) is None
