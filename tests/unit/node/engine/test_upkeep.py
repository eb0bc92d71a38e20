import asyncio
import dataclasses

import pytest

from objstore.errors import InvalidArgument
from tests.support.engine_rig import SMALL, SimRig, put, put_blob


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
