"""What was decoded once, kept for as long as there is room: a cache with a limit of entries and one of bytes.

Keys and sizes are chosen by clients (every bucket may have a policy of 20 KB), so a limit of entries alone would be none.  It begins
afresh when it is full: what is in use comes back at once, and a hit costs one look into a dictionary.
"""

from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

MAX_BYTES = 4 * 1024 * 1024  # of encoded documents of one kind; decoded they take some ten times that


class Kept(Generic[K, V]):
    """Values by key."""

    def __init__(self, entries: int, size_bytes: int = MAX_BYTES) -> None:
        self._entries = entries
        self._most_bytes = size_bytes
        self._bytes = 0
        self._held: dict[K, V] = {}
        self.get = self._held.get

    def __len__(self) -> int:
        return len(self._held)

    def put(self, key: K, value: V, size: int) -> None:
        """Keep a value that was not there; `size` bytes are what it was decoded from."""
        if len(self._held) >= self._entries or self._bytes + size > self._most_bytes:
            self._held.clear()
            self._bytes = 0
        self._held[key] = value
        self._bytes += size
