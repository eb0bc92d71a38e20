"""The parts of the mini image that are made here: the ramdisk's archive, the order of kernel modules, the table of partitions.  Pure."""

import lzma
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

MIB = 1024 * 1024
SECTOR = 512
BOOT_START = MIB  # where everybody lets the first partition begin
FAT, LINUX = 0x0C, 0x83
_BEYOND_CHS = b"\xfe\xff\xff"  # an address in cylinders that says: look at the sectors' numbers


@dataclass(frozen=True)
class Entry:
    """A file of the ramdisk; a directory where `data` is None."""

    name: str
    data: bytes | None
    mode: int = 0o755


def cpio(entries: Iterable[Entry]) -> bytes:
    """An archive as the kernel unpacks it ("newc"); directories must come before what is in them."""
    parts = [_cpio_entry(number, entry.name, entry.data, entry.mode) for number, entry in enumerate(entries, 1)]
    return b"".join([*parts, _cpio_entry(0, "TRAILER!!!", b"", 0)])


def _cpio_entry(number: int, name: str, data: bytes | None, mode: int) -> bytes:
    kind = 0o040000 if data is None else 0o100000
    body, path = data or b"", name.encode() + b"\0"
    # inode, mode, user, group, links, time, size, device (2), device of a special file (2), length of the name, checksum
    fields = (number, kind | mode, 0, 0, 1, 0, len(body), 0, 0, 0, 0, len(path), 0)
    head = b"070701" + b"".join(f"{field:08x}".encode() for field in fields) + path
    return _padded(head) + _padded(body)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def depends(module: bytes) -> list[str]:
    """Names of the modules that a kernel module needs loaded before it, from its own description."""
    at = module.find(b"\0depends=")
    if at < 0:
        return []
    text = module[at + len(b"\0depends=") : module.index(b"\0", at + 1)].decode("ascii")
    return [name for name in text.split(",") if name]


def load_order(wanted: Sequence[str], modules: Mapping[str, bytes]) -> list[str]:
    """The wanted modules and all that they need, each after what it needs.  Modules that are not there are built into the kernel."""
    order: list[str] = []

    def visit(name: str) -> None:
        name = name.replace("-", "_")
        if name in order or name not in modules:
            return
        for other in depends(modules[name]):
            visit(other)
        order.append(name)

    for name in wanted:
        visit(name)
    return order


def module_of(file_name: str, data: bytes) -> tuple[str, bytes]:
    """A module's name and bytes, from its file, which may be compressed."""
    stem = file_name.removesuffix(".xz").removesuffix(".ko")
    return stem.replace("-", "_"), lzma.decompress(data) if file_name.endswith(".xz") else data


def partition_table(code: bytes, partitions: Sequence[tuple[int, int, int]]) -> bytes:
    """The first sector of a disk: boot code and (kind, first byte, length in bytes) of each partition; the first one is booted."""
    assert len(code) <= 440
    assert 1 <= len(partitions) <= 4
    table = b"".join(
        bytes((0x80 if at == 0 else 0,)) + _BEYOND_CHS + bytes((kind,)) + _BEYOND_CHS
        + (start // SECTOR).to_bytes(4, "little") + (length // SECTOR).to_bytes(4, "little")
        for at, (kind, start, length) in enumerate(partitions)
    )  # fmt: skip
    return code.ljust(446, b"\0") + table.ljust(64, b"\0") + b"\x55\xaa"
