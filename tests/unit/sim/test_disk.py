"""What a simulated power cut may and may not take."""

import errno
import random
from collections import Counter

import pytest

from tests.sim.disk import SECTOR_BYTES, PowerLost, SimDisk, Storage


def crash_many(prepare, look, seeds: int = 200) -> Counter:  # type: ignore[no-untyped-def,type-arg]
    """Outcomes of `look` after a crash that follows `prepare`, over many seeds."""
    outcomes: Counter[object] = Counter()
    for seed in range(seeds):
        storage = Storage(random.Random(seed))
        prepare(storage.disk("/dev"))
        storage.crash()
        outcomes[look(storage.disk("/dev"))] += 1
    return outcomes


def content(disk: SimDisk, path: str) -> bytes | None:
    return disk.open(path).pread(1 << 20, 0) if disk.exists(path) else None


def test_flushed_bytes_under_a_flushed_name_always_survive() -> None:
    def prepare(disk: SimDisk) -> None:
        file = disk.open("f", create=True, write=True)
        file.pwrite([b"flushed"], 0)
        file.datasync()
        disk.sync_directory(".")
        file.pwrite([b"FLUSHED"], 100)

    outcomes = crash_many(prepare, lambda disk: content(disk, "f")[:7])  # type: ignore[index]
    assert outcomes == {b"flushed": 200}


def test_a_name_that_was_not_flushed_may_go_though_its_bytes_were() -> None:
    def prepare(disk: SimDisk) -> None:
        file = disk.create_unlinked(".")
        file.pwrite([b"body"], 0)
        file.datasync()
        disk.link(file, "f")

    outcomes = crash_many(prepare, lambda disk: content(disk, "f"))
    assert set(outcomes) == {None, b"body"}
    assert min(outcomes.values()) > 20


def test_unflushed_bytes_survive_whole_torn_or_not_at_all() -> None:
    old, new = b"o" * 2048, b"n" * 2048

    def prepare(disk: SimDisk) -> None:
        file = disk.open("f", create=True, write=True)
        file.pwrite([old], 0)
        file.datasync()
        disk.sync_directory(".")
        file.pwrite([new], 0)

    outcomes = crash_many(prepare, lambda disk: content(disk, "f"))
    assert {old, new} <= set(outcomes)
    torn = [data for data in outcomes if data not in (old, new)]
    assert torn
    for data in torn:
        for start in range(0, 2048, SECTOR_BYTES):
            assert data[start : start + SECTOR_BYTES] in (old[:SECTOR_BYTES], new[:SECTOR_BYTES])


def test_the_length_can_grow_while_the_bytes_do_not_come() -> None:
    def prepare(disk: SimDisk) -> None:
        file = disk.open("f", create=True, write=True)
        disk.sync_directory(".")
        file.pwrite([b"x" * 700], 0)

    outcomes = crash_many(prepare, lambda disk: content(disk, "f"))
    assert {b"", bytes(700), b"x" * 700, b"x" * 512} <= set(outcomes)


def test_a_rename_in_one_directory_happens_whole_or_not() -> None:
    def prepare(disk: SimDisk) -> None:
        for name in ("old", "new"):
            file = disk.open(name, create=True, write=True)
            file.pwrite([name.encode()], 0)
            file.datasync()
        disk.sync_directory(".")
        disk.rename("new", "old")

    outcomes = crash_many(prepare, lambda disk: (content(disk, "old"), content(disk, "new")))
    assert set(outcomes) == {(b"old", b"new"), (b"new", None)}


def test_an_unlinked_name_can_come_back() -> None:
    def prepare(disk: SimDisk) -> None:
        file = disk.open("f", create=True, write=True)
        file.pwrite([b"x"], 0)
        file.datasync()
        disk.sync_directory(".")
        disk.unlink("f")

    assert set(crash_many(prepare, lambda disk: content(disk, "f"))) == {None, b"x"}


def test_handles_of_an_earlier_life_are_dead() -> None:
    storage = Storage(random.Random(1))
    disk = storage.disk("/dev")
    file = disk.open("f", create=True, write=True)
    storage.crash()
    with pytest.raises(PowerLost):
        file.pread(1, 0)
    with pytest.raises(PowerLost):
        disk.list(".")
    file.close()


def test_a_failed_flush_loses_the_bytes_for_good() -> None:
    storage = Storage(random.Random(3))
    volume = storage.mount("/dev")
    disk = storage.disk("/dev")
    file = disk.open("f", create=True, write=True)
    disk.sync_directory(".")
    file.pwrite([b"lost"], 0)
    volume.datasync_failures = 1
    with pytest.raises(OSError) as failure:
        file.datasync()
    assert failure.value.errno == errno.EIO
    file.datasync()  # Linux reports the failure once; the bytes are gone all the same
    storage.crash()
    assert content(storage.disk("/dev"), "f") == b""


def test_a_full_disk_refuses_and_has_room_again_after_an_unlink() -> None:
    storage = Storage(random.Random(1))
    storage.mount("/dev", capacity_bytes=1000)
    disk = storage.disk("/dev")
    first = disk.open("a", create=True, write=True)
    first.pwrite([bytes(800)], 0)
    second = disk.open("b", create=True, write=True)
    with pytest.raises(OSError) as failure:
        second.pwrite([bytes(300)], 0)
    assert failure.value.errno == errno.ENOSPC
    assert disk.usage() == (1000, 0)
    first.close()
    disk.unlink("a")
    assert disk.usage() == (200, 800)
    second.pwrite([bytes(300)], 0)
    assert disk.usage() == (300, 700)


def test_rot_changes_one_bit_of_what_is_durable() -> None:
    storage = Storage(random.Random(1))
    volume = storage.mount("/dev")
    disk = storage.disk("/dev")
    file = disk.open("f", create=True, write=True)
    file.pwrite([bytes(1000)], 0)
    file.datasync()
    assert volume.rot(random.Random(5)).startswith("f@")
    assert sum(bin(byte).count("1") for byte in file.pread(1000, 0)) == 1


def test_a_wiped_volume_is_empty_and_others_are_not() -> None:
    storage = Storage(random.Random(1))
    first = storage.mount("/dev/1")
    storage.mount("/dev/2")
    for root in ("/dev/1", "/dev/2"):
        storage.disk(root).open("f", create=True, write=True).close()
    first.wipe()
    assert storage.disk("/dev/1").list(".") == []
    assert storage.disk("/dev/2").list(".") == ["f"]
