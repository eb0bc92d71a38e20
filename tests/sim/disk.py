"""Disks that forget: files and names survive a power cut only as far as they were flushed, and not always whole.

A `Storage` is all that one host has on disk; it outlives crashes.  It has one `Volume` (file system) for each device and one
for everything else.  `SimDisk` and `SimFile` are the handles of one life of the host: after a crash every call on an old
handle raises PowerLost, which no code under test catches.

What a crash does to a file: bytes written since its last `datasync` survive not at all, all, as a prefix of the writes with
the last one torn at a 512-byte sector, or as random sectors; its length may have grown while the bytes read as zeros.  To a
directory: names changed since the last `sync_directory` are as before, as after, or any mixture, except that a rename inside
one directory happens whole or not.  That is weaker than what any one file system does, on purpose.
"""

import errno
import os
import posixpath
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING

from objstore.runtime.disk import Buffer

if TYPE_CHECKING:
    from tests.sim.kv import KvStore

SECTOR_BYTES = 512
CAPACITY_BYTES = 1 << 40
_ZEROS = bytes(4096)


class PowerLost(BaseException):
    """The host crashed at this point; only the simulator catches it."""


class Inode:
    """One file: what readers see, what is durable, and what lies between."""

    __slots__ = ("data", "durable", "names", "opened", "pending")

    def __init__(self) -> None:
        self.data = bytearray()
        self.durable = bytearray()
        self.pending: list[tuple[int, bytes | None]] = []  # (offset, bytes), or (length, None) for a truncate
        self.names = 0
        self.opened = 0

    def flush(self) -> None:
        """Make everything durable."""
        for offset, data in self.pending:
            _apply(self.durable, offset, data)
        self.pending.clear()

    def crash(self, rng: random.Random) -> None:
        """Keep what a power cut leaves."""
        pending, self.pending = self.pending, []
        self.opened = 0
        if pending:
            self._survive(pending, rng)
        self.data = bytearray(self.durable)

    def _survive(self, pending: list[tuple[int, bytes | None]], rng: random.Random) -> None:
        fate = rng.random()
        if fate < 0.35:
            if rng.random() < 0.2:  # the length grew, the bytes did not come
                _apply(self.durable, max(len(self.durable), len(self.data)), None)
        elif fate < 0.55:
            for offset, data in pending:
                _apply(self.durable, offset, data)
        elif fate < 0.8:
            whole = rng.randrange(len(pending))
            for offset, data in pending[:whole]:
                _apply(self.durable, offset, data)
            offset, data = pending[whole]
            if data is not None:
                end = offset + rng.randrange(len(data) + 1)
                end -= end % SECTOR_BYTES
                if end > offset:
                    _apply(self.durable, offset, data[: end - offset])
        else:
            for offset, data in pending:
                if data is None:
                    if rng.random() < 0.5:
                        _apply(self.durable, offset, None)
                    continue
                for start, end in _sectors(offset, len(data)):
                    if rng.random() < 0.5:
                        _apply(self.durable, start, data[start - offset : end - offset])


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    """Write `data` at `offset`, or with None make the length `offset`."""
    if data is None:
        if offset < len(content):
            del content[offset:]
        else:
            content.extend(bytes(offset - len(content)))
        return
    if offset > len(content):
        content.extend(bytes(offset - len(content)))
    content[offset : offset + len(data)] = data


def _sectors(offset: int, length: int) -> list[tuple[int, int]]:
    pieces = []
    start, stop = offset, offset + length
    while start < stop:
        end = min(stop, start - start % SECTOR_BYTES + SECTOR_BYTES)
        pieces.append((start, end))
        start = end
    return pieces


NameChange = tuple[str, str, Inode | None]  # directory, name, what it names from now on


class Volume:
    """One file system: directories of names, with those not yet flushed."""

    def __init__(self, storage: "Storage", root: str, capacity_bytes: int) -> None:
        self.storage = storage
        self.root = root
        self.capacity_bytes = capacity_bytes
        self.used_bytes = 0
        self.directories: dict[str, dict[str, Inode]] = {"": {}}
        self._durable: dict[str, dict[str, Inode]] = {"": {}}
        self._pending: list[list[NameChange]] = []  # each list survives whole or not at all
        self.refusals = 0  # times that it was full
        self.datasync_failures = 0  # so many of the next flushes fail
        self.read_failures = 0
        self.slow_s = 0.0  # added to every call in a thread
        self.kv_stores: dict[str, KvStore] = {}  # by directory
        self.locked: dict[str, SimDisk] = {}  # by directory; one of an earlier life holds nothing

    def step(self) -> None:
        """Count one operation against the fuse of a crash in progress."""
        storage = self.storage
        if storage.fuse is not None:
            if storage.fuse <= 0:
                raise PowerLost
            storage.fuse -= 1

    def grow(self, count: int) -> None:
        """Take room.  Raises OSError ENOSPC."""
        if count > 0 and self.used_bytes + count > self.capacity_bytes:
            self.refusals += 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.used_bytes += count

    def change(self, *changes: NameChange) -> None:
        """Change names in memory and remember that nobody flushed them."""
        for directory, name, inode in changes:
            names = self.directories[directory]
            before = names.pop(name, None)
            if before is not None:
                before.names -= 1
            if inode is not None:
                names[name] = inode
                inode.names += 1
            if before is not None:
                self.release(before)
        self._pending.append(list(changes))

    def release(self, inode: Inode) -> None:
        """Give the room back once a file has neither a name nor a handle."""
        if not inode.names and not inode.opened:
            self.used_bytes -= len(inode.data)
            inode.data = bytearray()

    def flush_names(self, directory: str) -> None:
        """Make the names in one directory durable."""
        rest = []
        for group in self._pending:
            here = [change for change in group if change[0] == directory]
            _set_names(self._durable, here)
            others = [change for change in group if change[0] != directory]
            if others:
                rest.append(others)
        self._pending = rest

    def add_directory(self, path: str) -> None:
        """A new directory is durable at once: make_directory flushes its parent."""
        self.directories[path] = {}
        self._durable[path] = {}

    def inodes(self) -> list[Inode]:
        """Every named file, in a stable order."""
        return [names[name] for _, names in sorted(self.directories.items()) for name in sorted(names)]

    def files(self) -> list[tuple[str, Inode]]:
        """(path, file) of every named file, sorted."""
        return [(posixpath.join(d, name), names[name]) for d, names in sorted(self.directories.items()) for name in sorted(names)]

    def crash(self, rng: random.Random) -> None:
        """Forget what was not flushed."""
        pending, self._pending = self._pending, []
        fate = rng.random()
        if fate < 0.4:
            survivors = pending if fate < 0.1 else pending[: rng.randrange(len(pending) + 1)]
        elif fate < 0.6:
            survivors = []
        else:
            survivors = [group for group in pending if rng.random() < 0.5]
        for group in survivors:
            _set_names(self._durable, group)
        seen: dict[int, Inode] = {}
        for names in (*self.directories.values(), *self._durable.values()):
            for inode in names.values():
                seen.setdefault(id(inode), inode)
        for inode in seen.values():
            inode.names = 0
            inode.crash(rng)
        self.directories = {path: dict(names) for path, names in self._durable.items()}
        for inode in self.inodes():
            inode.names += 1
        self._count_used()

    def _count_used(self) -> None:
        distinct = {id(inode): len(inode.data) for inode in self.inodes()}
        self.used_bytes = sum(distinct.values()) + sum(store.used_bytes for store in self.kv_stores.values())

    def drop_handles(self) -> None:
        """No file is open any more."""
        for inode in self.inodes():
            inode.opened = 0
        self._count_used()

    def wipe(self) -> None:
        """An empty disk was put in its place."""
        self.directories = {"": {}}
        self._durable = {"": {}}
        self._pending = []
        self.used_bytes = 0
        self.kv_stores = {}

    def rot(self, rng: random.Random, *, under: str = "") -> str:
        """Flip one bit of durable file content below the directory `under`; returns where, or "" if there is none."""
        candidates = [(path, inode) for path, inode in self.files() if path.startswith(under) and inode.durable and inode.data]
        if not candidates:
            return ""
        path, inode = rng.choice(candidates)
        offset = rng.randrange(min(len(inode.data), len(inode.durable)))
        bit = 1 << rng.randrange(8)
        inode.data[offset] ^= bit
        inode.durable[offset] ^= bit
        return f"{path}@{offset}"


def _set_names(tables: dict[str, dict[str, Inode]], changes: Sequence[NameChange]) -> None:
    for directory, name, inode in changes:
        if inode is None:
            tables[directory].pop(name, None)
        else:
            tables[directory][name] = inode


class Storage:
    """Everything that one host keeps; it outlives the host's crashes."""

    def __init__(self, rng: random.Random, *, capacity_bytes: int = CAPACITY_BYTES) -> None:
        self.rng = rng
        self.life = 0
        self.fuse: int | None = None
        self.call_s = 0.0002  # the usual duration of a blocking call
        self.volumes: list[Volume] = [Volume(self, "", capacity_bytes)]

    def mount(self, root: str, *, capacity_bytes: int = CAPACITY_BYTES) -> Volume:
        """Give `root` a file system of its own."""
        volume = Volume(self, posixpath.normpath(root), capacity_bytes)
        self.volumes.append(volume)
        self.volumes.sort(key=lambda v: -len(v.root))
        return volume

    def volume(self, path: str) -> tuple[Volume, str]:
        """The file system that holds `path`, and the path inside it ("" for its root)."""
        path = posixpath.normpath(path)
        for volume in self.volumes:
            if path == volume.root:
                return volume, ""
            if not volume.root or path.startswith(volume.root + "/"):
                return volume, path[len(volume.root) :].strip("/")
        raise AssertionError(path)

    def disk(self, root: str) -> "SimDisk":
        """World.open_disk."""
        return SimDisk(self, root)

    def call_duration_s(self) -> float:
        """How long the next blocking call takes: mostly short, now and then not, longer on a slow volume."""
        draw = self.rng.random()
        usual = self.call_s * (0.5 + draw) if draw < 0.97 else self.call_s * 50 * draw
        return usual + sum(volume.slow_s for volume in self.volumes if volume.slow_s)

    def crash(self) -> None:
        """Cut the power: old handles die and unflushed things are forgotten."""
        self.life += 1
        for volume in self.volumes:
            volume.crash(self.rng)

    def process_died(self) -> None:
        """The process was killed, the machine runs on: old handles die, what was written stays (and stays unflushed)."""
        self.life += 1
        for volume in self.volumes:
            volume.drop_handles()


class SimFile:
    """runtime.disk.File."""

    __slots__ = ("_closed", "_life", "_volume", "_writable", "inode")

    def __init__(self, volume: Volume, inode: Inode, *, writable: bool) -> None:
        self.inode = inode
        self._volume = volume
        self._writable = writable
        self._life = volume.storage.life
        self._closed = False
        inode.opened += 1

    def _check(self) -> None:
        if self._life != self._volume.storage.life:
            raise PowerLost
        if self._closed:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        self._volume.step()

    def pread(self, length: int, offset: int) -> bytes:
        """Up to `length` bytes; fewer only at the end."""
        self._check()
        if self._volume.read_failures:
            self._volume.read_failures -= 1
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return bytes(self.inode.data[offset : offset + length])

    def pwrite(self, buffers: Sequence[Buffer], offset: int) -> int:
        """Write all buffers at `offset`; when the disk is full, a part of them before raising."""
        self._check()
        if not self._writable:
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))
        data = b"".join(buffers)
        inode = self.inode
        growth = offset + len(data) - len(inode.data)
        try:
            self._volume.grow(max(growth, 0))
        except OSError:
            room = max(0, self._volume.capacity_bytes - self._volume.used_bytes)
            fits = data[: max(0, len(data) - growth + room)]
            if fits:
                self._volume.used_bytes += max(0, offset + len(fits) - len(inode.data))
                self._write(fits, offset)
            raise
        if data:
            self._write(data, offset)
        return len(data)

    def _write(self, data: bytes, offset: int) -> None:
        _apply(self.inode.data, offset, data)
        self.inode.pending.append((offset, data))

    def datasync(self) -> None:
        """Make the bytes durable.  A failure drops them: a later flush finds nothing to do and succeeds, as Linux does."""
        self._check()
        inode = self.inode
        volume = self._volume
        if volume.datasync_failures:
            volume.datasync_failures -= 1
            lost, inode.pending = inode.pending, []
            if lost and volume.storage.rng.random() < 0.5:
                volume.used_bytes += len(inode.durable) - len(inode.data)
                inode.data = bytearray(inode.durable)
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        if inode.pending:
            inode.flush()

    def size(self) -> int:
        """Length in bytes."""
        self._check()
        return len(self.inode.data)

    def truncate(self, size: int) -> None:
        """Cut or extend."""
        self._check()
        if not self._writable:
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        self._volume.grow(size - len(self.inode.data))
        _apply(self.inode.data, size, None)
        self.inode.pending.append((size, None))

    def fileno(self) -> int:
        """There is none."""
        return -1

    def close(self) -> None:
        """Close; closing twice is fine."""
        if not self._closed and self._life == self._volume.storage.life:
            self._closed = True
            self.inode.opened -= 1
            self._volume.release(self.inode)

    def __del__(self) -> None:
        self.close()


class SimDisk:
    """runtime.disk.Disk rooted at one directory of a host's storage."""

    def __init__(self, storage: Storage, root: str) -> None:
        self.root = root
        self._storage = storage
        self._life = storage.life
        self.volume, self._prefix = storage.volume(root)
        self.make_directory(".")

    def _path(self, path: str) -> str:
        if self._life != self._storage.life:
            raise PowerLost
        self.volume.step()
        joined = posixpath.normpath(posixpath.join(self._prefix, path))
        return "" if joined == "." else joined

    def _split(self, path: str) -> tuple[str, str]:
        directory, name = posixpath.split(self._path(path))
        if directory not in self.volume.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return directory, name

    def open(self, path: str, *, create: bool = False, exclusive: bool = False, write: bool = False) -> SimFile:
        """Open below the root."""
        directory, name = self._split(path)
        inode = self.volume.directories[directory].get(name)
        if inode is not None:
            if create and exclusive:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        elif posixpath.join(directory, name) in self.volume.directories:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        elif create:
            inode = Inode()
            self.volume.change((directory, name, inode))
        else:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return SimFile(self.volume, inode, writable=write or create)

    def create_unlinked(self, directory: str) -> SimFile:
        """A file that no crash leaves behind until it is linked."""
        if self._path(directory) not in self.volume.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
        return SimFile(self.volume, Inode(), writable=True)

    def link(self, file: object, path: str) -> None:
        """Name a file made by create_unlinked."""
        assert isinstance(file, SimFile)
        directory, name = self._split(path)
        if name in self.volume.directories[directory] or posixpath.join(directory, name) in self.volume.directories:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self.volume.change((directory, name, file.inode))

    def rename(self, old: str, new: str) -> None:
        """Replace `new`."""
        old_directory, old_name = self._split(old)
        new_directory, new_name = self._split(new)
        inode = self.volume.directories[old_directory].get(old_name)
        if inode is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), old)
        if (old_directory, old_name) == (new_directory, new_name):
            return
        gained, lost = (new_directory, new_name, inode), (old_directory, old_name, None)
        if old_directory == new_directory:
            self.volume.change(gained, lost)
        else:  # two directories: a crash can leave both names, or, with only the old one flushed, neither
            self.volume.change(gained)
            self.volume.change(lost)

    def unlink(self, path: str) -> None:
        """Remove."""
        directory, name = self._split(path)
        if name not in self.volume.directories[directory]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.volume.change((directory, name, None))

    def list(self, directory: str) -> list[str]:
        """Names, sorted."""
        path = self._path(directory)
        if path not in self.volume.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), directory)
        names = set(self.volume.directories[path])
        for other in self.volume.directories:
            if other and posixpath.dirname(other) == path:
                names.add(posixpath.basename(other))
        return sorted(names)

    def exists(self, path: str) -> bool:
        """Whether it is there."""
        full = self._path(path)
        if full in self.volume.directories:
            return True
        directory, name = posixpath.split(full)
        return name in self.volume.directories.get(directory, ())

    def make_directory(self, path: str) -> None:
        """Create with parents."""
        done = ""
        for name in self._path(path).split("/"):
            done = posixpath.join(done, name)
            if done in self.volume.directories:
                continue
            parent, last = posixpath.split(done)
            if last in self.volume.directories[parent]:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            self.volume.add_directory(done)

    def sync_directory(self, path: str) -> None:
        """Make names in it durable."""
        full = self._path(path)
        if full not in self.volume.directories:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        self.volume.flush_names(full)

    def usage(self) -> tuple[int, int]:
        """(used, free) bytes of the volume."""
        self._path(".")
        return self.volume.used_bytes, max(0, self.volume.capacity_bytes - self.volume.used_bytes)

    def lock(self) -> None:
        """Keep everybody else out."""
        holder = self.volume.locked.get(self._prefix)
        if holder is not None and holder._life == self._storage.life:
            raise BlockingIOError(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), self.root)
        self.volume.locked[self._prefix] = self

    def unlock(self) -> None:
        """Let go of it."""
        if self.volume.locked.get(self._prefix) is self:
            del self.volume.locked[self._prefix]
