"""The machine's file system: what only it has; what both disks share is in tests/conformance/test_disk.py."""

import gc
import os
import stat
from pathlib import Path

import pytest

from objstore.runtime.disk import RealDisk


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
