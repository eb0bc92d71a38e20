"""The machine's file system: what only it has; what both disks share is in tests/conformance/test_disk.py."""

import gc
import os
import socket
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from objstore.runtime.disk import KEPT_DIRECTORIES, RealDisk


def test_a_planted_symbolic_link_is_an_error_and_no_way_out(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "root"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (tmp_path / "root" / "file").symlink_to(outside / "secret")
    (tmp_path / "root" / "directory").symlink_to(outside)
    with pytest.raises(OSError):
        disk.open("file")
    with pytest.raises(OSError):
        disk.open("file", create=True, write=True)
    with pytest.raises(OSError):
        disk.list("directory")
    assert disk.exists("file")


def test_a_planted_directory_leads_nowhere_whatever_is_asked(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "root"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (tmp_path / "root" / "d").symlink_to(outside)
    mine = disk.open("mine", create=True, write=True)
    unlinked = disk.create_unlinked(".")
    attempts: list[Callable[[], object]] = [
        lambda: disk.open("d/secret"),
        lambda: disk.open("d/new", create=True, write=True),
        lambda: disk.create_unlinked("d"),
        lambda: disk.link(unlinked, "d/new"),
        lambda: disk.rename("mine", "d/new"),
        lambda: disk.rename("d/secret", "taken"),
        lambda: disk.unlink("d/secret"),
        lambda: disk.list("d"),
        lambda: disk.exists("d/secret"),
        lambda: disk.make_directory("d/new"),
        lambda: disk.sync_directory("d"),
    ]
    for attempt in attempts:
        with pytest.raises(OSError):
            attempt()
    assert sorted(path.name for path in outside.iterdir()) == ["secret"]
    mine.close()
    unlinked.close()


def test_what_is_no_plain_file_is_neither_read_nor_waited_for(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path))
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "directory").mkdir()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        before = len(os.listdir("/proc/self/fd"))
        for name in ("pipe", "directory", "socket"):
            for write in (False, True):
                with pytest.raises(OSError):
                    disk.open(name, write=write)
        assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make files of other owners")
def test_a_file_of_somebody_else_is_refused_and_root_may_look_at_a_users_device(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "root"))
    for name in ("planted", "mine"):
        disk.open(name, create=True, write=True).close()
    os.chown(tmp_path / "root" / "planted", 65534, -1)
    with pytest.raises(PermissionError, match="65534"):
        disk.open("planted")
    disk.open("mine").close()
    os.chown(tmp_path / "root", 65534, -1)
    RealDisk(str(tmp_path / "root")).open("planted").close()


def test_directories_and_files_are_the_owners_alone(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "root"))
    disk.make_directory("a/b")
    disk.open("a/b/f", create=True, write=True).close()
    for path, mode in (("", 0o700), ("a", 0o700), ("a/b", 0o700), ("a/b/f", 0o600)):
        assert stat.S_IMODE((tmp_path / "root" / path).stat().st_mode) == mode


def test_a_forgotten_file_is_closed(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "root"))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(50):
        disk.open(f"f{number}", create=True, write=True)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_descriptors_are_real_so_that_bytes_can_be_sent_from_them(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "root"))
    file = disk.open("f", create=True, write=True)
    file.pwrite([b"abc"], 0)
    assert os.pread(file.fileno(), 3, 0) == b"abc"
    file.close()


def test_usage_is_the_file_systems(tmp_path: Path) -> None:
    used, free = RealDisk(str(tmp_path / "root")).usage()
    facts = os.statvfs(tmp_path)
    assert free <= facts.f_blocks * facts.f_frsize
    assert used > 0


def test_a_directory_made_anew_is_found_and_one_replaced_by_a_link_leads_nowhere(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    disk = RealDisk(str(root))
    disk.make_directory("a/b")
    disk.open("a/b/one", create=True, write=True).close()
    disk.unlink("a/b/one")
    (root / "a" / "b").rmdir()
    assert not disk.exists("a/b/one")
    for attempt in (
        lambda: disk.open("a/b/one"),
        lambda: disk.create_unlinked("a/b"),
        lambda: disk.unlink("a/b/one"),
        lambda: disk.sync_directory("a/b"),
    ):
        with pytest.raises(FileNotFoundError):
            attempt()
    (root / "a").rmdir()
    disk.make_directory("a/b")
    disk.open("a/b/two", create=True, write=True).close()
    assert disk.list("a/b") == ["two"] == os.listdir(root / "a" / "b")
    disk.link(disk.create_unlinked("a/b"), "a/b/three")
    assert sorted(os.listdir(root / "a" / "b")) == ["three", "two"]
    (root / "a").rename(tmp_path / "moved")
    (root / "a").symlink_to(outside)
    disk.open("a/b/four", create=True, write=True).close()  # still where it was found
    assert not os.listdir(outside)
    with pytest.raises(OSError):
        RealDisk(str(root)).open("a/five", create=True, write=True)


def test_no_more_directories_are_kept_open_than_are_meant_to(tmp_path: Path) -> None:
    disk = RealDisk(str(tmp_path / "root"))
    before = len(os.listdir("/proc/self/fd"))
    for number in range(KEPT_DIRECTORIES + 20):
        disk.make_directory(f"d{number}")
        disk.open(f"d{number}/f", create=True, write=True).close()
    assert len(os.listdir("/proc/self/fd")) <= before + KEPT_DIRECTORIES + 2
    for number in range(KEPT_DIRECTORIES + 20):
        assert disk.list(f"d{number}") == ["f"]
    del disk
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) < before + 2


def test_directories_are_kept_and_dropped_while_many_threads_use_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("objstore.runtime.disk.KEPT_DIRECTORIES", 3)
    disk = RealDisk(str(tmp_path / "root"))
    for number in range(8):
        disk.make_directory(f"d{number}")

    def work(mine: int) -> None:
        for turn in range(200):
            name = f"d{(turn * 7 + mine) % 8}/{mine}-{turn}"
            file = disk.open(name, create=True, write=True)
            file.pwrite([name.encode()], 0)
            file.close()

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(work, range(6)))
    for number in range(8):
        for name in os.listdir(tmp_path / "root" / f"d{number}"):
            assert (tmp_path / "root" / f"d{number}" / name).read_text() == f"d{number}/{name}"


def test_a_root_that_is_made_survives_a_power_cut_with_what_is_flushed_below_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        flushed.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    root = tmp_path / "a" / "b" / "c"
    RealDisk(str(root))
    assert flushed == [path.stat().st_ino for path in (tmp_path, tmp_path / "a", tmp_path / "a" / "b")]
    assert stat.S_IMODE(root.stat().st_mode) == 0o700
    flushed.clear()
    RealDisk(str(root))
    assert flushed == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OSError):
        RealDisk(str(tmp_path / "file"))
