"""Builds the image "mini": a small Linux guest with a network, SSH, a web server and what cloud-init does first, out of Debian's packages.

Nothing is installed and nobody needs to be root: packages are fetched and unpacked (`apt-get download`, `dpkg-deb -x`), the ramdisk is an archive
that is written here, file systems are made in files (`mke2fs -d`, mtools, syslinux).  Kernel and programs are Debian's own, so an image is
built where it is used and never shipped.  It takes some seconds; a build is kept by the versions of its packages.

    disk: | table, boot code | 1 MiB: FAT (syslinux, kernel, ramdisk) | ext4, labelled "mini": the root |
"""

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from objstore.cli.mini_parts import BOOT_START, FAT, LINUX, MIB, Entry, cpio, load_order, module_of, partition_table

SOURCES = Path(__file__).with_name("mini_guest")
KERNEL = "linux-image-cloud-amd64"  # names the kernel's package of the day
# What the guest has, then what is needed here to make it bootable.
PACKAGES = (
    "busybox-static", "dropbear-bin", "libtomcrypt1", "libtommath1", "libgmp10", "libcrypt1", "zlib1g", "libc6", "syslinux", "syslinux-common", "mtools",
)  # fmt: skip
MODULES = (
    "virtio_pci", "virtio_blk", "virtio_net", "virtio_rng", "virtio_scsi", "virtio_balloon", "sr_mod", "sd_mod", "ata_piix", "isofs", "vfat",
    "nls_ascii", "nls_cp437", "button", "evdev",
)  # fmt: skip
LIBRARIES = ("libtomcrypt.so.1", "libtommath.so.1", "libgmp.so.10", "libcrypt.so.1", "libz.so.1", "libc.so.6", "ld-linux-x86-64.so.2")
BOOT_BYTES = 24 * MIB
ROOT_BYTES = 32 * MIB
TIMEOUT_S = 300
NEEDED = ("apt-get", "apt-cache", "dpkg-deb", "mke2fs")
SBIN = "/usr/sbin:/sbin"


class CannotBuild(Exception):
    """The image cannot be made here; the message says what to do."""


def build_mini(cache: Path) -> Path:
    """The file of the image, made unless the cache has it.  Raises CannotBuild, OSError."""
    missing = [program for program in NEEDED if shutil.which(program, path=_path()) is None]
    if missing:
        raise CannotBuild(f"it is made of Debian's packages with Debian's programs, and {', '.join(missing)} is not here")
    packages = [*_kernel(), *PACKAGES]
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    image = cache / f"mini-{_key(packages)}.raw"
    if image.exists():
        return image
    with tempfile.TemporaryDirectory(prefix="mini-", dir=cache) as directory:
        work = Path(directory)
        _fetch(packages, work / "packages", work / "x")
        disk = work / "disk"
        _assemble(work, disk)
        disk.replace(image)
    return image


def _kernel() -> list[str]:
    """The package of the kernel that Debian means today."""
    lines = _run(["apt-cache", "depends", KERNEL], "find the kernel's package").splitlines()
    found = [line.split()[-1] for line in lines if "Depends: linux-image-" in line]
    if not found:
        raise CannotBuild(f"the package {KERNEL} is not known here; bring the lists up to date: apt-get update")
    return found[:1]


def _key(packages: Sequence[str]) -> str:
    """What a build depends on: the files of the packages, and what is in this directory."""
    uris = _run(["apt-get", "download", "--print-uris", *packages], "look packages up")
    digest = hashlib.sha256("\n".join(sorted(line.split()[1] for line in uris.splitlines() if line.startswith("'"))).encode())
    for path in (*sorted(SOURCES.iterdir()), Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def _fetch(packages: Sequence[str], into: Path, unpacked: Path) -> None:
    into.mkdir()
    _run(["apt-get", "-q", "download", *packages], "fetch packages", cwd=into)
    for package in sorted(into.glob("*.deb")):
        _run(["dpkg-deb", "-x", str(package), str(unpacked)], f"unpack {package.name}")


def _assemble(work: Path, disk: Path) -> None:
    unpacked = work / "x"
    kernel = _one(unpacked, "vmlinuz-*")
    ramdisk, root = work / "initrd", work / "root"
    ramdisk.write_bytes(gzip.compress(cpio(_ramdisk(unpacked)), 6, mtime=0))
    _root(unpacked, root)
    file_system = work / "root.img"
    features = "^has_journal,^metadata_csum,^resize_inode"
    owner = "root_owner=0:0,lazy_itable_init=0"
    _run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-L", "mini", "-m0", "-O", features, "-E", owner, "-d", str(root), str(file_system), f"{ROOT_BYTES // 1024}k"],
        "make the root's file system",
    )  # fmt: skip
    code = (unpacked / "usr/lib/syslinux/mbr/mbr.bin").read_bytes()
    with disk.open("wb") as file:
        file.write(partition_table(code, [(FAT, BOOT_START, BOOT_BYTES), (LINUX, BOOT_START + BOOT_BYTES, ROOT_BYTES)]))
        file.seek(BOOT_START + BOOT_BYTES)
        with file_system.open("rb") as content:
            shutil.copyfileobj(content, file, MIB)
    at = f"{disk}@@{BOOT_START}"
    tools = unpacked / "usr/bin"
    _run(
        [str(tools / "mformat"), "-i", at, "-v", "BOOT", "-T", str(BOOT_BYTES // 512), "-h", "16", "-s", "63", "-H", "2048", "::"],
        "format",
        tools=tools,
    )
    for source, name in ((kernel, "vmlinuz"), (ramdisk, "initrd"), (SOURCES / "syslinux.cfg", "syslinux.cfg")):
        _run([str(tools / "mcopy"), "-i", at, str(source), f"::/{name}"], f"copy {name}", tools=tools)
    _run([str(tools / "syslinux"), "--offset", str(BOOT_START), "--install", str(disk)], "make it bootable", tools=tools)


def _ramdisk(unpacked: Path) -> list[Entry]:
    files = {path.name: path for path in (unpacked / "lib/modules").rglob("*.ko*")}
    modules = dict(module_of(name, path.read_bytes()) for name, path in files.items() if module_of_interest(name))
    order = load_order(MODULES, modules)
    return [
        Entry("bin", None), Entry("modules", None),
        Entry("bin/busybox", (unpacked / "bin/busybox").read_bytes()),
        Entry("init", (SOURCES / "init").read_bytes()),
        Entry("modules/order", "".join(f"{name}.ko\n" for name in order).encode()),
        *(Entry(f"modules/{name}.ko", modules[name]) for name in order),
    ]  # fmt: skip


def module_of_interest(file_name: str) -> bool:
    """Whether a module's file may be among those that are loaded: none of the hundreds of others needs to be read."""
    words = ("virtio", "failover", "cdrom", "sr_mod", "sd_mod", "scsi", "ata", "crc", "t10", "isofs", "fat", "nls_", "button", "evdev")
    return any(word in file_name for word in words)


def _root(unpacked: Path, root: Path) -> None:
    for name in ("bin", "sbin", "usr/bin", "usr/sbin", "lib64", "lib/x86_64-linux-gnu", "etc/acpi/PWRF", "etc/dropbear", "dev", "proc", "sys", "run",
                 "tmp", "var/log", "root", "www", "mnt"):  # fmt: skip
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "root").chmod(0o700)
    shutil.copy(unpacked / "bin/busybox", root / "bin/busybox")
    for applet in _run([str(root / "bin/busybox"), "--list-full"], "ask busybox for its programs").split():
        path = root / applet
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.symlink_to("/bin/busybox")
    for program in ("usr/sbin/dropbear", "usr/bin/dropbearkey", "usr/bin/dbclient"):
        shutil.copy(unpacked / program, root / program)
    for library in LIBRARIES:
        shutil.copy(_one(unpacked, library), root / ("lib64" if library.startswith("ld-") else "lib/x86_64-linux-gnu") / library)
    for name, place in (
        ("inittab", "etc/inittab"),
        ("rc", "etc/rc"),
        ("dhcp", "etc/dhcp"),
        ("power", "etc/acpi/PWRF/00000080"),
        ("cloud-lite", "sbin/cloud-lite"),
    ):
        shutil.copy(SOURCES / name, root / place)
        (root / place).chmod(0o755)
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "etc/shells").write_text("/bin/sh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")


def _one(directory: Path, pattern: str) -> Path:
    found = sorted(directory.rglob(pattern))
    if not found:
        raise CannotBuild(f"Debian's packages have no {pattern} any more")
    return found[0]


def _path(tools: Path | None = None) -> str:
    return ":".join(filter(None, (str(tools) if tools else "", os.environ.get("PATH", ""), SBIN)))


def _run(command: Sequence[str], what: str, *, cwd: Path | None = None, tools: Path | None = None) -> str:
    environment = {**os.environ, "PATH": _path(tools), "LC_ALL": "C.UTF-8", "MTOOLS_SKIP_CHECK": "1", "SOURCE_DATE_EPOCH": "1700000000"}
    try:
        done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as failure:
        raise CannotBuild(f"cannot {what}: {failure}") from failure
    if done.returncode:
        raise CannotBuild(f"cannot {what}: {(done.stderr or done.stdout).strip()[-500:]}")
    return done.stdout
