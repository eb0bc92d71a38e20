"""Parts of the mini image: archives as the kernel reads them, modules in their order, partitions as firmware reads them."""

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

from objstore.cli.mini_parts import BOOT_START, FAT, LINUX, MIB, Entry, cpio, depends, load_order, module_of, partition_table

ENTRIES = [Entry("bin", None), Entry("bin/sh", b"#!", 0o755), Entry("five", b"12345", 0o644)]


def test_an_archive_begins_and_ends_as_the_kernel_wants_it() -> None:
    archive = cpio(ENTRIES)
    assert archive.startswith(b"070701")
    assert b"TRAILER!!!" in archive
    assert len(archive) % 4 == 0


@pytest.mark.skipif(shutil.which("busybox") is None and shutil.which("cpio") is None, reason="no program here reads archives")
def test_others_read_the_archive(tmp_path: Path) -> None:
    command = ["cpio"] if shutil.which("cpio") else ["busybox", "cpio"]
    subprocess.run([*command, "-i", "-d"], input=cpio(ENTRIES), cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "bin" / "sh").read_bytes() == b"#!"
    assert (tmp_path / "five").read_bytes() == b"12345"
    assert (tmp_path / "bin" / "sh").stat().st_mode & 0o111


def module(*needs: str) -> bytes:
    return b"\x7fELF\0license=GPL\0depends=" + ",".join(needs).encode() + b"\0name=x\0"


def test_modules_come_after_what_they_need_and_once() -> None:
    modules = {
        "net": module("failover", "virtio"),
        "failover": module(),
        "virtio": module("ring"),
        "ring": module(),
        "blk": module("virtio"),
    }
    assert load_order(["blk", "net", "built-in"], modules) == ["ring", "virtio", "blk", "failover", "net"]
    assert depends(module()) == []
    assert depends(b"no description") == []


def test_names_of_modules_are_those_of_the_kernel_whatever_their_files_are_called() -> None:
    assert module_of("virtio-rng.ko", b"x") == ("virtio_rng", b"x")
    assert module_of("virtio_net.ko.xz", lzma.compress(b"x")) == ("virtio_net", b"x")


def test_a_table_of_partitions_has_them_in_sectors_and_boots_the_first() -> None:
    sector = partition_table(b"\xeb\xfe", [(FAT, BOOT_START, 24 * MIB), (LINUX, 25 * MIB, 32 * MIB)])
    assert (len(sector), sector[:2], sector[510:]) == (512, b"\xeb\xfe", b"\x55\xaa")
    first, second = sector[446:462], sector[462:478]
    assert (first[0], first[4], int.from_bytes(first[8:12], "little"), int.from_bytes(first[12:], "little")) == (0x80, FAT, 2048, 49152)
    assert (second[0], second[4], int.from_bytes(second[8:12], "little")) == (0, LINUX, 51200)
    assert sector[478:510] == bytes(32)
