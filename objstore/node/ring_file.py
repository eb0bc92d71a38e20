"""A node's own durable copy of the ring: two files in `ring/codec.py` format, so that one damaged block costs nothing.

Write order: the main file, replaced atomically and flushed, then its copy in the same way; only then the node acts on the
ring.  Reading: of those that are whole, the one with the higher epoch.  When only one is whole, it is written twice again
before it is used (see `is_settled`).  So the one that is whole is never older than what the node has acted on.
"""

import contextlib
import posixpath

from objstore.runtime.disk import Disk
from objstore.runtime.world import World
from ring import codec
from ring.model import RingError

COPY_SUFFIX = ".copy"


class RingFile:
    """All calls block."""

    def __init__(self, world: World, path: str) -> None:
        directory, self._name = posixpath.split(path)
        self._directory = directory or "."
        self._open_disk = world.open_disk
        self._disk: Disk | None = None
        self.path = path
        self.is_settled = False  # both files are known to hold what was read or written last

    def load(self) -> bytes:
        """The newest whole ring, empty when there is none.

        Raises RingError when there is something and nothing of it is whole; OSError.
        """
        whole: list[tuple[int, bytes]] = []
        damage: RingError | None = None
        both = [self._read(name) for name in (self._name, self._name + COPY_SUFFIX)]
        for data in both:
            if data:
                try:
                    whole.append((codec.decode(data).epoch, data))
                except RingError as failure:
                    damage = failure
        if not whole:
            if damage is not None:
                raise damage
            return b""
        newest = max(whole)[1]
        self.is_settled = both == [newest, newest]
        return newest

    def save(self, data: bytes) -> None:
        """Replace both files, each atomically and durably.  Raises OSError."""
        self.is_settled = False
        for name in (self._name, self._name + COPY_SUFFIX):
            self._write(name, data)
        self.is_settled = True

    def _read(self, name: str) -> bytes:
        disk = self._opened()
        if not disk.exists(name):
            return b""
        file = disk.open(name)
        try:
            return file.pread(codec.MAX_FILE_BYTES + 1, 0)
        finally:
            file.close()

    def _write(self, name: str, data: bytes) -> None:
        disk = self._opened()
        temporary = f".{name}.new"  # one name: a node is the only writer; left over from a crash, it is replaced
        with contextlib.suppress(FileNotFoundError):
            disk.unlink(temporary)
        file = disk.open(temporary, create=True, exclusive=True, write=True)
        try:
            file.pwrite([data], 0)
            file.datasync()
        finally:
            file.close()
        disk.rename(temporary, name)
        disk.sync_directory(".")

    def _opened(self) -> Disk:
        if self._disk is None:
            self._disk = self._open_disk(self._directory)
        return self._disk
