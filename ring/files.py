"""Atomic load and save of ring files; the only I/O of this package.

Saving writes a temporary file in the same directory, flushes it, renames it over the old one and flushes the directory,
all under a lock on the directory, so that two commands cannot both see the older epoch.  A crash at any point leaves the
old file or the new one, and at worst a temporary file that the next save removes.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ring.codec import MAX_FILE_BYTES, decode, encode
from ring.lookup import Ring
from ring.model import RingError

_MODE = 0o600  # the file holds the hash seed


def load(path: str | Path) -> Ring:
    """Read a ring file.  Raises RingError when it is not a valid one, OSError when it cannot be read."""
    try:
        return decode(_read(Path(path)))
    except RingError as failure:
        raise RingError(f"{path}: {failure.what}", failure.why, failure.hint) from failure


def save(path: str | Path, ring: Ring, *, replace_damaged: bool = False) -> None:
    """Write a ring file durably.

    Raises RingError when the file there has a higher epoch, or the same epoch and other bytes, or is damaged (unless
    `replace_damaged`: for a node that got its ring anew from a peer).  Same epoch and same bytes: nothing is written.
    """
    target = Path(path)
    data = encode(ring)
    with _locked(target.parent) as directory:
        if _is_there_already(target, ring, data, replace_damaged=replace_damaged):
            return
        _write(target, data, directory)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(MAX_FILE_BYTES + 1)


@contextlib.contextmanager
def _locked(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)  # gives up the lock too


def _is_there_already(target: Path, ring: Ring, data: bytes, *, replace_damaged: bool) -> bool:
    try:
        found = _read(target)
    except FileNotFoundError:
        return False
    if found == data:
        return True
    try:
        epoch = decode(found).epoch
    except RingError as failure:
        if replace_damaged:
            return False
        raise RingError(f"{target}: the file there is damaged, so its epoch is not known", failure.why, "move it away first") from failure
    if epoch >= ring.epoch:
        raise RingError(
            f"{target}: epoch {ring.epoch} cannot replace epoch {epoch}",
            "the epoch of a ring only grows" if epoch > ring.epoch else "it is another ring of the same epoch",
            "somebody else published a change meanwhile; load the file again and repeat yours",
        )
    return False


def _write(target: Path, data: bytes, directory: int) -> None:
    temporary = f".{target.name}.new"  # one name, since the lock lets in one writer; left over from a crash, it is overwritten
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, _MODE, dir_fd=directory)
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # noqa: TID251 this package imports nothing of objstore, so it has its own door to the disk
        os.rename(temporary, target.name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=directory)
        raise
    os.fsync(directory)  # noqa: TID251 rename alone can be lost in a power cut
