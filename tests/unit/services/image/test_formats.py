"""What bytes are found to be, and what is refused."""

import random
import struct

import pytest

from objstore.services.image.formats import DISK_FORMATS, FormatRefused, Found, Inspection

MIB = 1024 * 1024


def qcow2(*, size: int = 10 * MIB, backing: bool = False, data_file: bool = False) -> bytes:
    """A header of version 3 and room behind it."""
    features = 4 if data_file else 0
    head = struct.pack(
        ">4sIQIIQIIQQIIQ", b"QFI\xfb", 3, 600 if backing else 0, 11 if backing else 0, 16, size, 0, 1, 65536 * 3, 65536, 1, 0, 0
    )
    return head + struct.pack(">QQQII", features, 0, 0, 4, 104) + bytes(65536 - 104)


def vmdk(kind: str = "monolithicSparse", extent: str = 'RW 20480 SPARSE "d.vmdk"') -> bytes:
    """A sparse extent with its descriptor."""
    descriptor = (
        f'# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\ncreateType="{kind}"\n\n# Extent description\n{extent}\n'.encode()
    )
    head = struct.pack("<4sIIQQQQIQQQ", b"KDMV", 1, 3, 20480, 128, 1, 20, 512, 21, 26, 128)
    return (head + bytes(512 - len(head)) + descriptor).ljust(64 * 1024, b"\0")


def mbr() -> bytes:
    """A disk with one partition."""
    entry = bytes([0x80, 0, 2, 0, 0x83, 0, 0, 0]) + struct.pack("<II", 1, 2047)
    return (bytes(446) + entry + bytes(48) + b"\x55\xaa").ljust(MIB, b"\0")


def verdict(data: bytes, disk_format: str, *, enforce: bool = True, container_format: str = "bare", piece: int = 8192) -> Found:
    inspection = Inspection(disk_format, container_format, enforce=enforce)
    for at in range(0, len(data), piece):
        inspection.feed(data[at : at + piece])
    return inspection.finish()


def noise(size: int = 50_000) -> bytes:
    return random.Random(1).randbytes(size)


def test_each_format_is_known_by_its_bytes() -> None:
    assert verdict(qcow2(), "qcow2") == Found("qcow2", 10 * MIB)
    assert verdict(vmdk(), "vmdk") == Found("vmdk", 20480 * 512)
    assert verdict(noise(), "raw") == Found("raw", 50_000)
    assert verdict(mbr(), "raw").virtual_size == MIB
    assert verdict(mbr(), "gpt").format == "gpt"
    assert verdict(b"", "raw") == Found("raw", 0)


@pytest.mark.parametrize("claimed", [name for name in DISK_FORMATS if name != "qcow2"])
def test_a_qcow2_file_is_nothing_else(claimed: str) -> None:
    with pytest.raises(FormatRefused):
        verdict(qcow2(), claimed)


@pytest.mark.parametrize("claimed", ["qcow2", "vmdk", "vdi", "vhd", "vhdx", "iso", "gpt"])
def test_noise_is_no_format(claimed: str) -> None:
    with pytest.raises(FormatRefused, match="content is raw"):
        verdict(noise(), claimed)
    assert verdict(noise(), claimed, enforce=False).format == "raw"


@pytest.mark.parametrize("claimed", ["qcow2", "raw", "vmdk"])
@pytest.mark.parametrize("enforce", [True, False])
@pytest.mark.parametrize("data", [qcow2(backing=True), qcow2(data_file=True), vmdk("monolithicFlat", 'RW 20480 FLAT "/etc/passwd" 0')])
def test_files_that_name_others_are_refused_whatever_the_settings(claimed: str, enforce: bool, data: bytes) -> None:
    with pytest.raises(FormatRefused, match="fails the check"):
        verdict(data, claimed, enforce=enforce)


def test_where_pieces_end_changes_nothing() -> None:
    for piece in (1, 7, 511, 512, 513, 100_000):
        assert verdict(qcow2()[:4096], "qcow2", piece=piece).format == "qcow2"
        with pytest.raises(FormatRefused):
            verdict(qcow2(backing=True)[:4096], "raw", piece=piece)


def test_archives_are_not_looked_into() -> None:
    assert verdict(qcow2(), "raw", container_format="ova") == Found("", None)


def test_any_header_ends_in_a_verdict() -> None:
    source = random.Random(7)
    for whole in (qcow2(), vmdk(), mbr()):
        for _ in range(60):
            data = bytearray(whole[:2048])
            for _ in range(source.randrange(1, 12)):
                data[source.randrange(0, 512)] = source.randrange(256)
            for claimed in ("raw", "qcow2", "vmdk"):
                try:
                    verdict(bytes(data), claimed)
                except FormatRefused:
                    continue
