"""Room that is kept for what makes room."""

import dataclasses
from typing import Any

import pytest

from objstore.errors import DeviceFull
from objstore.node.engine.ballast import NAME, Ballast
from tests.support.engine_rig import DIRECTORY, SMALL, SimRig, ballot, delete, key, put, read

BALLAST = 500_000


@pytest.fixture
def rig() -> SimRig:
    rig = SimRig(settings=dataclasses.replace(SMALL, ballast_bytes=BALLAST))
    for i in range(20):
        rig.run(lambda i=i: put(rig.engine, f"k{i}", 1, b"x" * 1000))
    return rig


def disk(rig: SimRig) -> Any:
    return rig.host.storage.volume(DIRECTORY)[0]


def ballast_bytes(rig: SimRig) -> int:
    file = disk(rig).directories[""].get(NAME)
    return len(file.data) if file is not None else 0


def fill(rig: SimRig) -> int:
    """Somebody else takes all the room that is left."""
    volume = disk(rig)
    left: int = volume.capacity_bytes - volume.used_bytes
    volume.used_bytes += left
    return left


def test_a_device_holds_its_ballast(rig: SimRig) -> None:
    assert ballast_bytes(rig) == BALLAST
    rig.reopen()
    assert ballast_bytes(rig) == BALLAST


def test_a_disk_that_others_filled_still_takes_deletes_and_a_checkpoint(rig: SimRig) -> None:
    others = fill(rig)
    with pytest.raises(DeviceFull):
        rig.run(lambda: delete(rig.engine, "k0", 2))
    assert ballast_bytes(rig) == 0
    for i in range(20):
        assert rig.run(lambda i=i: delete(rig.engine, f"k{i}", 2)) == "yes"
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    with pytest.raises(DeviceFull):  # what was given up is not for payloads
        rig.run(lambda: put(rig.engine, "new", 1, b"x" * 1000))
    with pytest.raises(DeviceFull):
        rig.run(lambda: rig.engine.stage(bytes(16), size=1000))
    for i in range(20):
        assert rig.run(lambda i=i: rig.engine.reclaim(key(f"k{i}"), partition=0, ballot=ballot(2)))
    disk(rig).used_bytes -= others
    rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert ballast_bytes(rig) == BALLAST
    rig.run(lambda: put(rig.engine, "new", 9, b"x" * 1000))
    assert rig.run(lambda: read(rig.engine, "new", 9)) == b"x" * 1000


def test_a_checkpoint_without_room_gives_the_ballast_up_for_the_next_one(rig: SimRig) -> None:
    fill(rig)
    with pytest.raises(DeviceFull):
        rig.run(lambda: rig.engine.maintain("checkpoint"))
    assert rig.run(lambda: rig.engine.maintain("checkpoint"))[0]["rows"] > 0


def test_a_small_device_keeps_less_and_a_full_one_none(rig: SimRig) -> None:
    files = rig.host.storage.disk(DIRECTORY)
    files.unlink(NAME)
    disk(rig).capacity_bytes = 640_000
    small = Ballast(files, BALLAST, 0)
    assert small.is_wanted
    small.restore()
    assert ballast_bytes(rig) == 10_000
    assert not small.is_wanted
    small.release()
    small.release()
    assert small.is_wanted
    reserved = Ballast(files, BALLAST, files.usage()[1] - 19_000)
    reserved.restore()
    assert reserved.is_wanted
    assert ballast_bytes(rig) == 0


def test_no_ballast_is_kept_where_none_is_wanted() -> None:
    rig = SimRig()
    assert ballast_bytes(rig) == 0
    assert rig.run(lambda: put(rig.engine, "k", 1, b"x")) == "yes"
