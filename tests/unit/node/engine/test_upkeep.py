import asyncio
import dataclasses

import pytest

from objstore.errors import DeviceFull, InvalidArgument
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, put, put_blob, read


def test_unknown_upkeep_is_refused() -> None:
    rig = SimRig()
    with pytest.raises(InvalidArgument):
        rig.run(lambda: rig.engine.maintain("dance"))


def test_each_piece_of_upkeep_tells_what_it_did() -> None:
    rig = SimRig()
    rig.run(lambda: put(rig.engine, "k", 1, b"x"))
    assert rig.run(lambda: rig.engine.maintain("checkpoint")) == ({"rows": 1}, False)
    assert rig.run(lambda: rig.engine.maintain("purge")) == ({"blobs": 0, "bytes": 0}, False)
    assert rig.run(lambda: rig.engine.maintain("compact")) == ({"packs": 0, "records": 0, "bytes": 0}, False)


def test_a_purge_is_bounded_and_says_that_more_waits() -> None:
    rig = SimRig(settings=dataclasses.replace(SMALL, purge_blobs=2))
    for i in range(5):
        rig.run(lambda i=i: put_blob(rig.engine, "k", i + 1, bytes((i,)) * 16, b"x"))
    rig.run(lambda: put(rig.engine, "k", 9, b""))
    done = [rig.run(lambda: rig.engine.maintain("purge")) for _ in range(3)]
    assert [(counts["blobs"], more) for counts, more in done] == [(2, True), (2, True), (1, False)]


def test_a_sweep_goes_through_all_directories_and_then_rests() -> None:
    rig = SimRig()
    more = [rig.run(lambda: rig.engine.maintain("sweep_staged"))[1] for _ in range(257)]
    assert more == [True] * 255 + [False, True]


def test_two_purges_at_once_take_each_blob_once() -> None:
    """The daemons ask again when they were restarted, or when a slow disk made them wait too long."""
    rig = SimRig()
    for i in range(3):
        rig.run(lambda i=i: put_blob(rig.engine, "k", i + 1, bytes((i,)) * 16, b"x"))
    rig.run(lambda: put(rig.engine, "k", 9, b""))

    async def both() -> list[tuple[dict[str, int], bool]]:
        return list(await asyncio.gather(rig.engine.maintain("purge"), rig.engine.maintain("purge")))

    done = rig.run(both)
    assert sum(counts["bytes"] > 0 for counts, _ in done) == 1
    assert rig.engine.stats().purge_queue == 0
    rig.run(lambda: put_blob(rig.engine, "k", 10, bytes(16), b"x"))  # and nobody waits for them for ever


BLOB = b"B" * 16


def unnamed(seed: int = 1) -> SimRig:
    """One blob that is in the purge queue."""
    rig = SimRig(seed)
    rig.run(lambda: put_blob(rig.engine, "k", 1, BLOB, b"x" * 3000))
    rig.run(lambda: put(rig.engine, "k", 2, b""))
    return rig


def test_a_purge_whose_batch_found_no_room_is_done_by_the_next_one() -> None:
    rig = unnamed()
    disk = rig.host.storage.volume(DIRECTORY)[0]
    room = disk.capacity_bytes
    disk.capacity_bytes = disk.used_bytes + 300

    async def put_soon() -> str:
        await asyncio.sleep(0)  # then both are decided in one batch
        return await put(rig.engine, "n", 1, b"n" * 1000)

    async def together() -> list[object]:
        return list(await asyncio.gather(rig.engine.maintain("purge"), put_soon(), return_exceptions=True))

    assert [type(failure) for failure in rig.run(together)] == [DeviceFull, DeviceFull]
    disk.capacity_bytes = room
    assert rig.run(lambda: rig.engine.maintain("purge"))[0]["bytes"] > 3000
    assert rig.run(lambda: put_blob(rig.engine, "k", 3, BLOB, b"y" * 2000), limit_s=60) == "yes"
    assert rig.run(lambda: read(rig.engine, "k", 3)) == b"y" * 2000


@pytest.mark.parametrize("delay_ms", [0.0, 0.1, 0.3, 0.6, 1.0, 1.5, 2.0, 3.0])
def test_a_purge_whose_caller_goes_comes_to_its_end(delay_ms: float) -> None:
    """Nobody waits for ever for a blob that nobody removes, and nothing is removed that is there anew."""
    for seed in range(5):
        rig = unnamed(seed)

        async def broken_off(rig: SimRig = rig) -> str:
            purge = asyncio.ensure_future(rig.engine.maintain("purge"))
            await asyncio.sleep(delay_ms / 1000)
            purge.cancel()
            await asyncio.gather(purge, return_exceptions=True)
            return await put_blob(rig.engine, "k", 3, BLOB, b"y" * 2000)

        assert rig.run(broken_off, limit_s=60) == "yes"
        rig.run(lambda: asyncio.sleep(1))
        assert rig.run(lambda rig=rig: read(rig.engine, "k", 3)) == b"y" * 2000
        rig.run(lambda rig=rig: rig.engine.maintain("purge"))
        assert rig.engine.stats().purge_queue == 0


def test_a_blob_that_loses_its_last_name_while_a_purge_ends_stays_in_the_queue() -> None:
    rig = unnamed()
    rig.run(lambda: put_blob(rig.engine, "other", 1, b"o" * 16, b"x" * 3000))
    state = rig.engine._device.state
    state.purge[b"o" * 16] = None  # it lost a name before
    blobs = rig.engine._device.blobs
    remove = blobs.remove_doomed

    async def overwritten_meanwhile(doomed: list[bytes]) -> int:
        await put(rig.engine, "other", 2, b"")
        return await remove(doomed)

    blobs.remove_doomed = overwritten_meanwhile  # type: ignore[method-assign, assignment]
    rig.run(lambda: rig.engine.maintain("purge"))
    blobs.remove_doomed = remove  # type: ignore[method-assign]
    assert list(state.purge) == [b"o" * 16]
    assert rig.run(lambda: rig.engine.maintain("purge"))[0]["bytes"] > 3000
