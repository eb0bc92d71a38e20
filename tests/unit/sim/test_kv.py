"""The simulated key-value store: durable, all or nothing, and it can rot."""

import random

import pytest

from objstore.errors import DeviceFull
from tests.sim.disk import PowerLost, Storage
from tests.sim.kv import SimKv


def test_what_was_applied_survives_a_crash() -> None:
    storage = Storage(random.Random(1))
    SimKv(storage, "/dev/index").apply([("t", b"k", b"v")])
    storage.crash()
    assert SimKv(storage, "/dev/index").get("t", b"k") == b"v"


@pytest.mark.parametrize(("fuse", "expected"), [(0, None), (1, b"v")])
def test_a_crash_during_apply_finds_all_or_nothing(fuse: int, expected: bytes | None) -> None:
    storage = Storage(random.Random(1))
    kv = SimKv(storage, "/dev/index")
    storage.fuse = fuse
    with pytest.raises(PowerLost):
        kv.apply([("t", b"k", b"v"), ("t", b"l", b"v")])
    storage.fuse = None
    storage.crash()
    kv = SimKv(storage, "/dev/index")
    assert kv.get("t", b"k") == kv.get("t", b"l") == expected


def test_a_full_volume_refuses_and_nothing_changed() -> None:
    storage = Storage(random.Random(1))
    volume = storage.mount("/dev", capacity_bytes=1000)
    kv = SimKv(storage, "/dev/index")
    kv.apply([("t", b"k", bytes(900))])
    with pytest.raises(DeviceFull):
        kv.apply([("t", b"k", b"new"), ("t", b"l", bytes(2000))])
    assert kv.get("t", b"k") == bytes(900)
    kv.apply([("t", b"k", None)])
    assert volume.used_bytes == 0


def test_rot_changes_a_value_in_silence() -> None:
    storage = Storage(random.Random(1))
    kv = SimKv(storage, "/dev/index")
    kv.apply([("t", b"k", bytes(100))])
    store = storage.volume("/dev/index")[0].kv_stores["dev/index"]
    assert store.rot(random.Random(1))
    assert kv.get("t", b"k") != bytes(100)
