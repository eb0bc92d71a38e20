"""A file that is given up when the disk is full, so that what makes room can still be written.

`reserve_bytes` keeps our own payloads from filling the disk; somebody else's files heed no reserve.  Deletes, checkpoints and
compaction need a few hundred kilobytes before they free anything.  The ballast is that room: written with bytes, since a
file system may give no blocks to a hole, removed when a write finds no room, and written again when there is plenty.
"""

from objstore.node.engine.faults import is_full
from objstore.runtime.disk import Disk

NAME = "ballast"
_PIECE = bytes(256 * 1024)
_SHARE = 64  # never more than this part of the file system: a tiny one needs its room


class Ballast:
    """The ballast of one device.  All methods block."""

    def __init__(self, disk: Disk, size_bytes: int, reserve_bytes: int) -> None:
        self._disk = disk
        self._size_bytes = size_bytes
        self._reserve_bytes = reserve_bytes
        self._room_bytes = 0  # what it takes, or would
        self.held = False

    @property
    def is_wanted(self) -> bool:
        """Whether it is not there and should be."""
        return bool(self._size_bytes) and not self.held

    @property
    def reserve_bytes(self) -> int:
        """Free space that payloads must leave: what the ballast made room for is not for them."""
        return self._reserve_bytes if self.held else self._reserve_bytes + self._room_bytes

    def restore(self) -> None:
        """Write it if it is not there and there is room for it beyond the reserve.  Raises OSError."""
        self.held = self._disk.exists(NAME)
        if self.held or not self._size_bytes:
            return
        used, free = self._disk.usage()
        size = self._room_bytes = min(self._size_bytes, (used + free) // _SHARE)
        if free < self._reserve_bytes + 2 * size:  # not while it would be given up again at once
            return
        file = self._disk.create_unlinked(".")
        try:
            for start in range(0, size, len(_PIECE)):
                file.pwrite([_PIECE[: size - start]], start)
            file.datasync()
            self._disk.link(file, NAME)
        except OSError as failure:
            if not is_full(failure):
                raise
            return
        finally:
            file.close()
        self.held = True

    def release(self) -> None:
        """Give it up.  Raises OSError."""
        used, free = self._disk.usage()
        self._room_bytes = min(self._size_bytes, (used + free) // _SHARE)
        self.held = False
        if self._disk.exists(NAME):
            self._disk.unlink(NAME)
