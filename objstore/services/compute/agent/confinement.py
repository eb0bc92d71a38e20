"""Guests under a user of their own, where the agent is root: QEMU has no rights then, and of the host's files only its own directory.

It cannot even reach that by its path, since the agent's directories are closed to it: it starts there, and is given the directory of the disks'
socket as an open descriptor.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from objstore.services.compute.agent.doors import hand_over
from objstore.services.compute.agent.layout import CONFIG_DRIVE, RUN

KVM = "/dev/kvm"


@dataclass(frozen=True)
class Confined:
    """How a guest's process begins."""

    wrapper: tuple[str, ...] = ()  # the program that becomes QEMU
    nbd: str = ""  # the disks' socket as QEMU reaches it; "": as it is
    descriptor: int | None = None  # to be handed over, and closed


def confine(user: int, directory: str, nbd: str) -> Confined:
    """Make a guest's files its own; `nbd` is relative to the directory that it runs in, or absolute.  Raises OSError."""
    run = Path(directory, RUN)
    if user < 0 or os.geteuid():
        if os.geteuid() == 0 and run.exists() and run.stat().st_uid:
            hand_over(str(run), 0)  # the last time it had a user of its own
        return Confined()
    os.chmod(directory, 0o711)
    hand_over(str(run), user)
    drive = Path(directory, CONFIG_DRIVE)
    if drive.exists():  # the agent's own, which only this guest may read as well
        os.chown(drive, -1, user)
        drive.chmod(0o640)
    socket = Path(os.path.normpath(run / nbd))
    descriptor = os.open(socket.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return Confined(wrapper(user, _group_of(KVM)), f"/proc/self/fd/{descriptor}/{socket.name}", descriptor)


def wrapper(user: int, kvm_group: int | None) -> tuple[str, ...]:
    """The program that gives up all rights and becomes another."""
    groups = ("--clear-groups",) if kvm_group is None else ("--groups", str(kvm_group))
    return ("setpriv", "--reuid", str(user), "--regid", str(user), *groups, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs")


def _group_of(path: str) -> int | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_gid if found.st_gid else None  # root's own group is none to be in
