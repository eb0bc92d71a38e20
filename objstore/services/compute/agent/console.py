"""What a guest wrote to its serial line: the end of it is shown, and only so much of it is kept.

QEMU writes the log into its own directory.  Whoever broke out of a guest could put a link in its place: none is followed.
"""

import os
import stat
from pathlib import Path

from objstore.services.compute.agent.layout import CONSOLE, CONSOLE_OLD, RUN


def tail(directory: str, lines: int | None, most_bytes: int) -> str:
    """The last lines (None: all that are kept), of at most `most_bytes`; what is no UTF-8 is shown as such."""
    data = end_of(log_of(directory), most_bytes)
    if len(data) < most_bytes:
        data = end_of(Path(directory, CONSOLE_OLD), most_bytes - len(data)) + data
    text = data.decode(errors="replace")
    if lines is None:
        return text
    pieces = text.split("\n")  # and nothing else: serial lines are full of "\r", which ends none
    return "\n".join(pieces[-lines - (not pieces[-1]) :]) if lines > 0 else ""


def cap(directory: str, most_bytes: int) -> None:
    """Set aside what is there once it is over the limit.  QEMU goes on writing at the end, wherever that is."""
    cap_log(log_of(directory), Path(directory, CONSOLE_OLD), most_bytes)


def cap_log(log: Path, old: Path, most_bytes: int) -> None:
    """The same with any log that a program has open for appending; `old` is where the end of it is kept."""
    try:
        descriptor = plain(log, os.O_RDWR)
    except OSError:
        return
    try:
        size = os.fstat(descriptor).st_size
        if size > most_bytes:
            data = os.pread(descriptor, most_bytes, size - most_bytes)
            os.ftruncate(descriptor, 0)
            old.write_bytes(data)
    finally:
        os.close(descriptor)


def log_of(directory: str) -> Path:
    """Where QEMU writes it."""
    return Path(directory, RUN, CONSOLE)


def end_of(path: Path, size: int) -> bytes:
    """The last bytes of a file; none where there is no such file, or it is none."""
    try:
        descriptor = plain(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.pread(descriptor, size, max(0, os.fstat(descriptor).st_size - size))
    finally:
        os.close(descriptor)


def begin(directory: str, data: bytes = b"") -> None:
    """Have a log, that begins with `data` where it is new.  Raises OSError."""
    descriptor = plain(log_of(directory), os.O_WRONLY | os.O_CREAT)
    try:
        if data and not os.fstat(descriptor).st_size:
            os.write(descriptor, data)
    finally:
        os.close(descriptor)


def plain(path: Path, flags: int) -> int:
    """A descriptor of a file that is no link, no pipe and has no other name.  Raises OSError."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        os.close(descriptor)
        raise OSError(f"{path} is not a plain file")
    return descriptor
