"""Files: the only door to the file system for stored data.  All calls block; the engine makes them in its threads.

Paths are relative to one root (a device's directory) and never come from clients.  Every part of a path is opened relative to the
descriptor of the one before it, with O_NOFOLLOW, so that a planted symbolic link is an error and not a way out, as a directory too.
Directories once found are kept open: what they are found to be cannot change any more, and looking costs four system calls a time.
What is opened must be a plain file (a planted pipe would be waited for, for ever) of an owner who may be there: whoever else can
write to the directory could link a file of others into it.
"""

import ctypes
import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

Buffer = bytes | bytearray | memoryview
T = TypeVar("T")

KEPT_DIRECTORIES = 300  # of each root; all that a device's blobs lie in are 256

_FALLOC_KEEP_SIZE = 1


class File(Protocol):
    """An open file."""

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end of the file."""

    def pwrite(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write all buffers at `offset`; returns their total length.  Raises OSError, nothing partial is reported."""

    def datasync(self) -> None:
        """Make the bytes durable.  After an OSError the file's state is unknown: never retry and acknowledge."""

    def size(self) -> int:
        """Length in bytes."""

    def truncate(self, size: int) -> None:
        """Cut or extend."""

    def fileno(self) -> int:
        """Descriptor for sendfile; -1 where there is none (simulator)."""

    def close(self) -> None:
        """Close; closing twice is fine."""


class Disk(Protocol):
    """One root directory."""

    def open(self, path: str, *, create: bool = False, exclusive: bool = False, write: bool = False) -> File:
        """Open for reading, or for reading and writing."""

    def create_unlinked(self, directory: str) -> File:
        """A new file without a name in `directory`; `link` gives it one, a crash before that leaves nothing."""

    def link(self, file: File, path: str) -> None:
        """Name a file made by create_unlinked.  Raises FileExistsError.  Durable after sync_directory."""

    def rename(self, old: str, new: str) -> None:
        """Replace `new`.  Durable after sync_directory."""

    def unlink(self, path: str) -> None:
        """Remove.  Raises FileNotFoundError."""

    def list(self, directory: str) -> list[str]:
        """Names in a directory, sorted."""

    def exists(self, path: str) -> bool:
        """Whether a file or directory is there."""

    def make_directory(self, path: str) -> None:
        """Create with parents, mode 0700; nothing happens where it exists."""

    def sync_directory(self, path: str) -> None:
        """Make names in it durable: rename or link alone can be lost in a power cut."""

    def usage(self) -> tuple[int, int]:
        """(used, free) bytes of the file system, as an unprivileged writer sees it."""

    def lock(self) -> None:
        """Keep everybody else from locking this root, until `unlock` or the end of the process.  Raises BlockingIOError: somebody has it."""

    def unlock(self) -> None:
        """Let go of it; twice is fine."""


class RealFile:
    """A file descriptor."""

    __slots__ = ("_fd",)

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end."""
        data = os.pread(self._fd, length, offset)
        if len(data) == length or not data:
            return data
        pieces = [data]
        got = len(data)
        while got < length:
            data = os.pread(self._fd, length - got, offset + got)
            if not data:
                break
            pieces.append(data)
            got += len(data)
        return b"".join(pieces)

    def pread_cached(self, length: int, offset: int) -> bytes | None:
        """The bytes if all of them are in the page cache, else None: never waits for the disk.

        Not part of `File`: a caller asks whether a file has it, and otherwise reads in a thread.
        """
        buffer = bytearray(length)
        try:
            got = os.preadv(self._fd, [buffer], offset, os.RWF_NOWAIT)
        except OSError as failure:
            if failure.errno in (errno.EAGAIN, errno.EOPNOTSUPP):
                return None
            raise
        return bytes(buffer) if got == length else None

    def pwrite(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write all buffers at `offset`."""
        total = sum(len(b) for b in buffers)
        pending = list(buffers)
        written = 0
        while written < total:
            step = os.pwritev(self._fd, pending[:1024], offset + written)
            written += step
            while pending and step >= len(pending[0]):
                step -= len(pending[0])
                pending.pop(0)
            if step:
                pending[0] = memoryview(pending[0])[step:]
        return total

    def datasync(self) -> None:
        """Make the bytes durable."""
        os.fdatasync(self._fd)

    def size(self) -> int:
        """Length in bytes."""
        return os.fstat(self._fd).st_size

    def truncate(self, size: int) -> None:
        """Cut or extend."""
        os.ftruncate(self._fd, size)

    def fileno(self) -> int:
        """The descriptor."""
        return self._fd

    def close(self) -> None:
        """Close."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def __del__(self) -> None:
        self.close()


_libc = ctypes.CDLL(None, use_errno=True)
_AT_FDCWD = -100
_AT_SYMLINK_FOLLOW = 0x400


class _Directory:
    """A directory's descriptor, closed when nobody holds it any more: not while another thread is about to use it."""

    __slots__ = ("fd",)

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


def make_root(root: str) -> None:
    """Create a directory, mode 0700, with parents, durably: what is flushed below it would be lost with its name.  Nothing happens where it is there."""
    missing = []
    path = os.path.abspath(root)
    while not os.path.isdir(path):
        missing.append(path)
        path = os.path.dirname(path)
    os.makedirs(root, mode=0o700, exist_ok=True)
    for made in reversed(missing):
        fd = os.open(os.path.dirname(made), os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


class RealDisk:
    """A directory on the machine's file system."""

    def __init__(self, root: str) -> None:
        self.root = root
        make_root(root)
        self._root = _Directory(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        # Root, who may repair a device of the service's user, finds the files of that user; nobody else is at home here.
        self._owners = frozenset((os.geteuid(), 0, os.fstat(self._root.fd).st_uid))
        self._directories: dict[str, _Directory] = {}
        self._lock = threading.Lock()  # of changes; a look into the dictionary needs none
        self._locked: _Directory | None = None

    def _at(self, path: str, act: Callable[[int, str], T]) -> T:
        """What `act` does with the descriptor of the directory and the name in it; no part of the way is a link."""
        way, _, name = path.rpartition("/")
        directory = self._directory(way)  # held here, so that nobody closes it meanwhile
        try:
            return act(directory.fd, name)
        except FileNotFoundError:
            if not way or os.fstat(directory.fd).st_nlink:
                raise
        self._forget(way)  # it was removed; there may be another one of its name
        directory = self._directory(way)
        return act(directory.fd, name)

    def _directory(self, path: str) -> "_Directory":
        if not path:
            return self._root
        known = self._directories.get(path)
        if known is not None:
            return known
        way, _, name = path.rpartition("/")
        above = self._directory(way)
        found = _Directory(os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=above.fd))
        with self._lock:
            if len(self._directories) >= KEPT_DIRECTORIES:
                del self._directories[next(iter(self._directories))]
            self._directories[path] = found
        return found

    def _forget(self, path: str) -> None:
        with self._lock:
            for known in [
                known for known in self._directories if known == path or known.startswith(f"{path}/") or path.startswith(f"{known}/")
            ]:
                del self._directories[known]

    def open(self, path: str, *, create: bool = False, exclusive: bool = False, write: bool = False) -> File:
        """Open below the root.  Raises OSError also for what is no plain file, or somebody else's."""
        # Without O_NONBLOCK opening a pipe waits for whoever writes to it; to plain files it makes no difference.
        flags = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | (os.O_RDWR if write or create else os.O_RDONLY)
        if create:
            flags |= os.O_CREAT
        if exclusive:
            flags |= os.O_EXCL
        file = RealFile(self._at(path, lambda fd, name: os.open(name, flags, 0o600, dir_fd=fd)))
        facts = os.fstat(file.fileno())
        if not stat.S_ISREG(facts.st_mode):
            file.close()
            raise OSError(errno.ELOOP, "not a plain file", path)
        if facts.st_uid not in self._owners:
            file.close()
            raise PermissionError(errno.EPERM, f"a file of user {facts.st_uid}, who has no business here", path)
        return file

    def create_unlinked(self, directory: str) -> File:
        """O_TMPFILE: a crash before `link` leaves nothing behind."""
        return RealFile(
            self._at(f"{directory}/.", lambda fd, name: os.open(name, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=fd))
        )

    def link(self, file: File, path: str) -> None:
        """linkat through /proc/self/fd; os.link cannot pass AT_SYMLINK_FOLLOW with a directory descriptor everywhere."""
        source = f"/proc/self/fd/{file.fileno()}".encode()

        def act(fd: int, name: str) -> None:
            if _libc.linkat(_AT_FDCWD, source, fd, os.fsencode(name), _AT_SYMLINK_FOLLOW) != 0:
                code = ctypes.get_errno()
                raise OSError(code, os.strerror(code), path)

        self._at(path, act)

    def rename(self, old: str, new: str) -> None:
        """Replace `new`."""
        self._at(
            old,
            lambda old_fd, old_name: self._at(
                new, lambda new_fd, new_name: os.rename(old_name, new_name, src_dir_fd=old_fd, dst_dir_fd=new_fd)
            ),
        )

    def unlink(self, path: str) -> None:
        """Remove."""
        self._at(path, lambda fd, name: os.unlink(name, dir_fd=fd))

    def list(self, directory: str) -> list[str]:
        """Names, sorted."""
        fd = self._open_directory(directory)
        try:
            return sorted(os.listdir(fd))
        finally:
            os.close(fd)

    def exists(self, path: str) -> bool:
        """Whether it is there."""
        try:
            self._at(path, lambda fd, name: os.stat(name, dir_fd=fd, follow_symlinks=False))
        except FileNotFoundError:
            return False
        return True

    def make_directory(self, path: str) -> None:
        """Create with parents."""
        done = ""
        for part in path.split("/"):
            done = f"{done}/{part}" if done else part
            try:
                self._at(done, lambda fd, name: os.mkdir(name, 0o700, dir_fd=fd))
            except FileExistsError:
                continue
            self.sync_directory(os.path.dirname(done) or ".")

    def sync_directory(self, path: str) -> None:
        """Make names in it durable."""
        fd = self._open_directory(path)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _open_directory(self, path: str) -> int:
        return self._at(path, lambda fd, name: os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=fd))

    def usage(self) -> tuple[int, int]:
        """(used, free) bytes."""
        stat = os.statvfs(self._root.fd)
        return (stat.f_blocks - stat.f_bfree) * stat.f_frsize, stat.f_bavail * stat.f_frsize

    def lock(self) -> None:
        """Lock the root's directory itself: no file in it could be replaced by another one of its name meanwhile."""
        # A descriptor of its own: the lock goes with it, and with the process.
        locked = _Directory(os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=self._root.fd))
        fcntl.flock(locked.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._locked = locked

    def unlock(self) -> None:
        """Let go of it."""
        self._locked = None
