"""One suite for every Disk: the machine's file system and the simulator's must answer alike."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from objstore.runtime.disk import Disk, RealDisk
from tests.sim.disk import SimDisk, Storage


@pytest.fixture(params=["real", "simulated"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    makers: dict[str, Callable[[], Disk]] = {
        "real": lambda: RealDisk(str(tmp_path / "root")),
        "simulated": lambda: Storage(random.Random(1)).disk("/dev/root"),
    }
    return makers[request.param]()


@pytest.fixture
def another(disk: Disk) -> Disk:
    """One of the same root, as another process would have it."""
    if isinstance(disk, SimDisk):
        return disk._storage.disk(disk.root)
    assert isinstance(disk, RealDisk)
    return RealDisk(disk.root)


def write(disk: Disk, path: str, data: bytes) -> None:
    file = disk.open(path, create=True, write=True)
    file.pwrite([data], 0)
    file.datasync()
    file.close()


def read(disk: Disk, path: str) -> bytes:
    file = disk.open(path)
    try:
        return file.pread(1 << 20, 0)
    finally:
        file.close()


def test_bytes_written_in_pieces_are_read_back_whole(disk: Disk) -> None:
    file = disk.open("f", create=True, write=True)
    assert file.pwrite([b"abc", bytearray(b"def"), memoryview(b"xghix")[1:4]], 0) == 9
    assert file.pread(100, 0) == b"abcdefghi"
    assert file.pread(3, 2) == b"cde"
    assert file.pread(5, 9) == b""
    assert file.size() == 9
    file.close()


def test_a_write_of_many_buffers_is_not_cut_short(disk: Disk) -> None:
    file = disk.open("f", create=True, write=True)
    pieces = [bytes([i % 251]) * 7 for i in range(3000)]
    assert file.pwrite(pieces, 5) == 21_000
    assert file.pread(21_000, 5) == b"".join(pieces)
    file.close()


def test_a_gap_reads_as_zeros(disk: Disk) -> None:
    file = disk.open("f", create=True, write=True)
    file.pwrite([b"end"], 1000)
    assert file.pread(2000, 0) == bytes(1000) + b"end"
    file.close()


def test_truncate_cuts_and_extends(disk: Disk) -> None:
    file = disk.open("f", create=True, write=True)
    file.pwrite([b"0123456789"], 0)
    file.truncate(4)
    assert file.pread(100, 0) == b"0123"
    file.truncate(6)
    assert file.pread(100, 0) == b"0123\0\0"
    file.close()


def test_an_overwrite_in_the_middle_keeps_the_rest(disk: Disk) -> None:
    file = disk.open("f", create=True, write=True)
    file.pwrite([b"0123456789"], 0)
    file.pwrite([b"ab"], 3)
    file.datasync()
    assert file.pread(100, 0) == b"012ab56789"
    file.close()


def test_a_missing_file_is_not_found(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        disk.open("missing")
    with pytest.raises(FileNotFoundError):
        disk.open("no/such/directory", create=True)
    with pytest.raises(FileNotFoundError):
        disk.unlink("missing")
    with pytest.raises(FileNotFoundError):
        disk.rename("missing", "other")
    with pytest.raises(FileNotFoundError):
        disk.list("missing")
    assert not disk.exists("missing")
    assert not disk.exists("no/such/directory")


def test_exclusive_creation_refuses_what_exists(disk: Disk) -> None:
    write(disk, "f", b"x")
    with pytest.raises(FileExistsError):
        disk.open("f", create=True, exclusive=True)
    disk.open("g", create=True, exclusive=True).close()


def test_a_file_opened_for_reading_cannot_be_written(disk: Disk) -> None:
    write(disk, "f", b"x")
    file = disk.open("f")
    with pytest.raises(OSError):
        file.pwrite([b"y"], 0)
    with pytest.raises(OSError):
        file.truncate(0)
    file.close()
    assert read(disk, "f") == b"x"


def test_a_closed_file_may_be_closed_again_but_not_read(disk: Disk) -> None:
    file = disk.open("f", create=True, write=True)
    file.close()
    file.close()
    with pytest.raises(OSError):
        file.pread(1, 0)


def test_an_unlinked_file_gets_its_name_once(disk: Disk) -> None:
    disk.make_directory("blobs")
    file = disk.create_unlinked("blobs")
    file.pwrite([b"body"], 0)
    file.datasync()
    assert disk.list("blobs") == []
    disk.link(file, "blobs/a")
    disk.sync_directory("blobs")
    assert disk.list("blobs") == ["a"]
    assert read(disk, "blobs/a") == b"body"
    other = disk.create_unlinked("blobs")
    with pytest.raises(FileExistsError):
        disk.link(other, "blobs/a")
    file.close()
    other.close()
    assert read(disk, "blobs/a") == b"body"


def test_rename_replaces(disk: Disk) -> None:
    write(disk, "old", b"old")
    write(disk, "new", b"new")
    disk.rename("new", "old")
    disk.sync_directory(".")
    assert disk.list(".") == ["old"]
    assert read(disk, "old") == b"new"


def test_rename_moves_between_directories(disk: Disk) -> None:
    disk.make_directory("a")
    disk.make_directory("b")
    write(disk, "a/f", b"x")
    disk.rename("a/f", "b/g")
    assert disk.list("a") == []
    assert disk.list("b") == ["g"]


def test_an_open_file_outlives_its_name(disk: Disk) -> None:
    write(disk, "f", b"still here")
    file = disk.open("f")
    disk.unlink("f")
    assert not disk.exists("f")
    assert file.pread(100, 0) == b"still here"
    write(disk, "f", b"another")
    assert file.pread(100, 0) == b"still here"
    file.close()


def test_directories_are_made_with_their_parents_and_listed_sorted(disk: Disk) -> None:
    disk.make_directory("a/b/c")
    disk.make_directory("a/b/c")
    disk.make_directory("a/a")
    write(disk, "a/f", b"")
    assert disk.list("a") == ["a", "b", "f"]
    assert disk.list("a/b") == ["c"]
    assert disk.exists("a/b/c")
    assert disk.exists("a/f")


def test_usage_grows_with_what_is_written(disk: Disk) -> None:
    used, free = disk.usage()
    assert used >= 0
    assert free > 0
    write(disk, "f", bytes(100_000))
    after, _ = disk.usage()
    assert after >= used


def test_a_root_is_locked_by_one_at_a_time(disk: Disk, another: Disk) -> None:
    disk.lock()
    with pytest.raises(BlockingIOError):
        another.lock()
    disk.unlock()
    disk.unlock()
    another.lock()
    with pytest.raises(BlockingIOError):
        disk.lock()
    another.unlock()


def test_flushing_a_missing_directory_is_an_error(disk: Disk) -> None:
    with pytest.raises(FileNotFoundError):
        disk.sync_directory("missing")
