"""Rows newer than the checkpoint.

A put is a dict store; keys are sorted only when a scan asks for them, so that a device that is only written to never
pays for order.  A deleted register is its partition number in place of an entry: it hides what the index still holds.
"""

from collections.abc import Iterator

from sortedcontainers import SortedList

from objstore.node.engine.records import Entry

_BULK = 64  # sorting so many new keys at once is cheaper than inserting them one by one
_ENTRY_OVERHEAD_BYTES = 450  # of the objects that hold an entry, measured


class Memtable:
    """A sorted map from index key to Entry, or to the partition of a deleted register."""

    def __init__(self) -> None:
        self.entries: dict[bytes, Entry | int] = {}
        self.references: dict[bytes, dict[bytes, bool]] = {}  # blob -> index key -> named or no longer named
        self.orphans: dict[tuple[int, bytes], None] = {}  # (partition, index key) of registers that changed partition
        self.bytes = 0
        self._by_partition: dict[int, list[bytes]] = {}
        self._sorted: SortedList = SortedList()
        self._unsorted: list[bytes] = []

    def __len__(self) -> int:
        return len(self.entries)

    def put(self, index_key: bytes, entry: Entry | int) -> None:
        """Store an entry, or a deletion."""
        entries = self.entries
        partition = entry if isinstance(entry, int) else entry.partition
        if index_key not in entries:
            self._unsorted.append(index_key)
            self.bytes += _ENTRY_OVERHEAD_BYTES + 2 * len(index_key)
            self._by_partition.setdefault(partition, []).append(index_key)
        entries[index_key] = entry
        if not isinstance(entry, int):
            self.bytes += len(entry.row)

    def keys_between(self, start: bytes, end: bytes) -> Iterator[bytes]:
        """Index keys with start <= key < end, in order.  No put may happen while it is used."""
        unsorted = self._unsorted
        if unsorted:
            if len(unsorted) > _BULK:
                self._sorted.update(unsorted)
            else:
                for index_key in unsorted:
                    self._sorted.add(index_key)
            self._unsorted = []
        keys: Iterator[bytes] = self._sorted.irange(start, end, inclusive=(True, False))
        return keys

    def keys_of_partition(self, partition: int) -> list[bytes]:
        """Index keys of a partition, in no order; some may be deletions or have moved to another partition."""
        return self._by_partition.get(partition, [])
