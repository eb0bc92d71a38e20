"""Where an agent keeps what of a guest, and what it remembers between its runs.

    DIRECTORY/servers/ID/record.json   the guest as it should be, and the process that it is (written whole, flushed, renamed)
    DIRECTORY/servers/ID/config.iso    the config drive
    DIRECTORY/servers/ID/qemu.log      what QEMU itself complains about
    DIRECTORY/servers/ID/qemu.log.1    the same before what is in qemu.log
    DIRECTORY/servers/ID/console.log.1 what the guest wrote to its serial line before what is in console.log
    DIRECTORY/servers/ID/run/          QEMU's own, where it runs: qmp.sock, its monitor; ser.sock, vnc.sock: serial line and screen; console.log: what
                                       the guest writes; firmware.fd: variables of UEFI; migrate.sock: while a guest comes or goes

QEMU is told names without directories: a Unix socket's path has 107 bytes at most.  What lies in run/ may be anything, once a guest broke out
of QEMU: nothing there is opened through a link (see doors.py).
"""

import os
import stat
from pathlib import Path

import msgspec

from objstore.errors import DamagedFile, InvalidArgument
from objstore.runtime.commands import Running
from objstore.runtime.disk import Disk
from objstore.services.compute.agent_api import ServerSpec

QMP, SERIAL, VNC, MIGRATION = "qmp.sock", "ser.sock", "vnc.sock", "migrate.sock"
CONSOLE, CONSOLE_OLD, QEMU_LOG, CONFIG_DRIVE, FIRMWARE = "console.log", "console.log.1", "qemu.log", "config.iso", "firmware.fd"
RUN = "run"
RECORD, RECORD_NEW = "record.json", "record.json.new"
SOCKET_PATH_LIMIT = 107
SERVERS = "servers"
NETWORKS = "networks"  # beside it: what carries out networks keeps its files there
RECORD_VERSION = 1


class Record(msgspec.Struct, frozen=True):
    """A guest between two runs of the agent."""

    version: int
    spec: ServerSpec
    on: bool = False  # whether it should run
    pid: int = 0
    started: int = 0  # of that process, in clock ticks since boot
    boot_id: str = ""  # of the machine when it was started
    why: str = ""  # why it is off, as reports tell it
    nbd: str = ""  # the disks' socket as that process reaches it; "": as the host's facts say
    halted: bool = False  # the agent has it stand still, or is about to, and lets it go on: nobody asked for it to be paused
    coming: bool = False  # from another host, and not seen whole yet
    slots: dict[str, int] = {}  # device -> the slot that it is plugged into, as long as it is the guest's

    @property
    def process(self) -> Running:
        """The process that it was when this was written."""
        return Running(self.pid, self.started)


def disk_name(volume: str) -> str:
    """The id of a disk's device in QEMU; its block nodes are named alike."""
    return f"d-{volume[:26]}"  # a node's name has 31 characters at most


def nic_name(port: str) -> str:
    """The id of a network card in QEMU."""
    return f"n-{port}"


def with_slots(slots: dict[str, int], names: list[str], most: int) -> dict[str, int]:
    """`slots` for exactly these devices: who has one keeps it.  Raises InvalidArgument when there are not enough."""
    kept = {name: slots[name] for name in names if name in slots}
    free = (number for number in range(1, most + 1) if number not in kept.values())
    for name in names:
        if name not in kept:
            number = next(free, None)
            if number is None:
                raise InvalidArgument(f"a guest has at most {most} disks and network cards")
            kept[name] = number
    return kept


def short(path: str) -> str:
    """The same file by the shorter of its names, for a socket that is to be made there.  Raises InvalidArgument where neither fits a Unix socket."""
    absolute = str(Path(path).absolute())
    best = min(absolute, os.path.relpath(absolute), key=len)
    if len(os.fsencode(best)) > SOCKET_PATH_LIMIT:
        raise InvalidArgument(
            f"{best} is longer than the {SOCKET_PATH_LIMIT} bytes that a Unix socket's path may have: keep the agent's data elsewhere"
        )
    return best


def save(disk: Disk, server: str, data: bytes) -> None:
    """Write a record down, so that it survives a power cut."""
    disk.make_directory(f"{SERVERS}/{server}")
    new = f"{SERVERS}/{server}/{RECORD_NEW}"
    if disk.exists(new):
        disk.unlink(new)
    file = disk.open(new, create=True, write=True)
    try:
        file.pwrite([data], 0)
        file.datasync()
    finally:
        file.close()
    disk.rename(new, f"{SERVERS}/{server}/{RECORD}")
    disk.sync_directory(f"{SERVERS}/{server}")
    disk.sync_directory(SERVERS)


def load(disk: Disk, server: str) -> Record:
    """Raises FileNotFoundError; DamagedFile."""
    file = disk.open(f"{SERVERS}/{server}/{RECORD}")
    try:
        data = file.pread(file.size(), 0)
    finally:
        file.close()
    try:
        record = msgspec.json.decode(data, type=Record)
    except msgspec.DecodeError as failure:
        raise DamagedFile(f"the record of server {server} cannot be read: {failure}") from failure
    if record.version != RECORD_VERSION:
        raise DamagedFile(f"the record of server {server} is of version {record.version}; this agent knows {RECORD_VERSION}")
    return record


def forget(disk: Disk, directory: str, server: str) -> None:
    """Remove all that is kept of a guest; its record first, so that a guest that is half removed is none."""
    place = f"{SERVERS}/{server}"
    if not disk.exists(place):
        return
    if disk.exists(f"{place}/{RECORD}"):
        disk.unlink(f"{place}/{RECORD}")
        disk.sync_directory(place)
    remove(f"{directory}/{place}")  # sockets too, which are nothing that a Disk lists or reads


def is_recorded(disk: Disk, server: str) -> bool:
    """Whether there is a record of a guest, so that another run of the agent would find it."""
    return disk.exists(f"{SERVERS}/{server}/{RECORD}")


def remove(directory: str) -> None:
    """Remove a directory with all that is in it, however deep and without following links.  Raises OSError.

    Directories in directories are first moved up to this one, so neither paths nor calls nor open descriptors get deeper.
    """
    top = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        number = 0
        while inner := _without_files(top):
            for name in inner:
                number = _flatten(top, name, number)
    finally:
        os.close(top)
    os.rmdir(directory)


def _without_files(descriptor: int) -> list[str]:
    """Remove what is no directory; the directories that remain."""
    inner = []
    for name in os.listdir(descriptor):
        if stat.S_ISDIR(os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode):
            inner.append(name)
        else:
            os.unlink(name, dir_fd=descriptor)
    return inner


def _flatten(top: int, name: str, number: int) -> int:
    """Move the directories of one below `top` into that, and remove it; `number` is of the last that was moved."""
    descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=top)
    try:
        for inner in _without_files(descriptor):
            number += 1
            while _is_there(top, f"moved-{number}"):
                number += 1
            os.rename(inner, f"moved-{number}", src_dir_fd=descriptor, dst_dir_fd=top)
    finally:
        os.close(descriptor)
    os.rmdir(name, dir_fd=top)
    return number


def _is_there(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def kept(disk: Disk) -> list[str]:
    """The servers that something is kept of."""
    disk.make_directory(SERVERS)
    return disk.list(SERVERS)
