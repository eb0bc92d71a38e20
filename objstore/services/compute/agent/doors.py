"""Ways to sockets that lie where QEMU may write: whoever broke out of a guest can put there what he likes, at any moment.

So what was looked at is what is used: a descriptor holds on to the very file, and its name below /proc/self/fd leads to that and nowhere else.  It
has to be a socket with one name, and its owner the directory's: neither a link nor another name for what is somebody else's.
"""

import contextlib
import os
import stat
from collections.abc import Iterator

from objstore.errors import NodeUnreachable
from objstore.services.compute.agent.layout import RUN


@contextlib.contextmanager
def door(directory: str, name: str) -> Iterator[str]:
    """The path of a socket in a guest's `run/`, good until the end of the block.  Raises NodeUnreachable: there is none that may be used."""
    try:
        descriptor = _held(f"{directory}/{RUN}", name)
    except OSError as failure:
        raise NodeUnreachable(f"{directory}/{RUN}/{name} cannot be used: {failure}") from failure
    try:
        yield _path(descriptor)
    finally:
        os.close(descriptor)


def give(directory: str, name: str, user: int) -> None:
    """Let a guest that has a user of its own open a socket of the agent.  Raises OSError."""
    if user >= 0 and os.geteuid() == 0:
        descriptor = _held(f"{directory}/{RUN}", name, owner=os.geteuid())
        try:
            os.chown(_path(descriptor), user, user)
        finally:
            os.close(descriptor)


def hand_over(place: str, user: int) -> None:
    """Make a directory, and the files and sockets in it, a user's own; what else is there, or has another name elsewhere, is left as it is.  Raises OSError."""
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.chown(directory, user, user)
        for name in os.listdir(directory):
            try:
                descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            except FileNotFoundError:
                continue
            try:
                found = os.fstat(descriptor)
                if found.st_nlink == 1 and (stat.S_ISREG(found.st_mode) or stat.S_ISSOCK(found.st_mode)):
                    os.chown(_path(descriptor), user, user)
            finally:
                os.close(descriptor)
    finally:
        os.close(directory)


def _held(place: str, name: str, *, owner: int = -1) -> int:
    """A descriptor of a socket of `owner`, -1 for the directory's.  Raises OSError."""
    directory = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        owner = os.fstat(directory).st_uid if owner < 0 else owner
        descriptor = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
    finally:
        os.close(directory)
    found = os.fstat(descriptor)
    if not stat.S_ISSOCK(found.st_mode) or found.st_nlink != 1 or found.st_uid != owner:
        os.close(descriptor)
        raise OSError(f"it is no socket of user {owner} with one name")
    return descriptor


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
