"""The key-value store of a simulated host: atomic, durable when `apply` returns, in memory.

A crash during `apply` finds all of it or nothing, as LMDB in its default mode (nothing lost in 25 power cuts).  LMDB has no
page checksums, so `rot` changes a stored value silently, and now and then loses a key.
"""

import random
from collections.abc import Iterator, Sequence
from itertools import islice

from sortedcontainers import SortedDict

from objstore.errors import DeviceFull
from objstore.runtime.kv import MAX_KEY_BYTES, Change
from tests.sim.disk import PowerLost, Storage, Volume

_OVERHEAD_BYTES = 16  # of an entry, so that empty values fill a disk too


class KvStore:
    """What is on disk."""

    def __init__(self, volume: Volume) -> None:
        self.volume = volume
        self.tables: dict[str, SortedDict] = {}
        self.used_bytes = 0
        self.shared = 0  # open snapshots of the current tables

    def apply(self, changes: Sequence[Change]) -> None:
        """Commit.  Raises DeviceFull; then nothing changed."""
        growth = 0
        latest: dict[tuple[str, bytes], int] = {}
        for table, key, value in changes:
            if not 1 <= len(key) <= MAX_KEY_BYTES:
                raise ValueError(f"key of {len(key)} bytes")
            before = latest.get((table, key))
            if before is None:
                old = self.tables.get(table, {}).get(key)
                before = 0 if old is None else len(key) + len(old) + _OVERHEAD_BYTES
            after = 0 if value is None else len(key) + len(value) + _OVERHEAD_BYTES
            growth += after - before
            latest[table, key] = after
        if growth > 0 and self.volume.used_bytes + growth > self.volume.capacity_bytes:
            self.volume.refusals += 1
            raise DeviceFull("the index is full")
        if self.shared:  # an open snapshot keeps the old tables
            self.tables = {name: table.copy() for name, table in self.tables.items()}
            self.shared = 0
        for table, key, value in changes:
            entries = self.tables.get(table)
            if entries is None:
                entries = self.tables[table] = SortedDict()
            if value is None:
                entries.pop(key, None)
            else:
                entries[key] = bytes(value)
        self.used_bytes += growth
        self.volume.used_bytes += growth

    def rot(self, rng: random.Random) -> str:
        """Damage one entry; returns which, or "" when the store is empty."""
        tables = [name for name in sorted(self.tables) if self.tables[name]]
        if not tables:
            return ""
        name = rng.choice(tables)
        entries = self.tables[name]
        key = entries.peekitem(rng.randrange(len(entries)))[0]
        value = bytearray(entries[key])
        if not value:
            return ""
        value[rng.randrange(len(value))] ^= 1 << rng.randrange(8)
        entries[key] = bytes(value)
        return f"{name}/{key.hex()}"


class SimSnapshot:
    """runtime.kv.Snapshot."""

    def __init__(self, store: KvStore) -> None:
        self._store: KvStore | None = store
        self._tables = store.tables
        store.shared += 1

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""
        found: bytes | None = self._tables.get(table, {}).get(key)
        return found

    def scan(self, table: str, start: bytes, end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Pairs in order."""
        entries = self._tables.get(table)
        if entries is None:
            return
        for key in entries.irange(start, end, inclusive=(True, False)):
            yield key, entries[key]

    def pages(self, table: str, start: bytes, end: bytes | None = None) -> Iterator[list[tuple[bytes, bytes]]]:
        """The same, a few at a time."""
        pairs = self.scan(table, start, end)
        while page := list(islice(pairs, 3)):
            yield page

    def close(self) -> None:
        """End the view."""
        store, self._store = self._store, None
        if store is not None and store.tables is self._tables and store.shared:
            store.shared -= 1


class SimKv:
    """runtime.kv.Kv: the handle of one life of the host."""

    def __init__(self, storage: Storage, directory: str) -> None:
        self._storage = storage
        self._life = storage.life
        volume, inside = storage.volume(directory)
        self._volume = volume
        store = volume.kv_stores.get(inside)
        if store is None:
            store = volume.kv_stores[inside] = KvStore(volume)
        self._store = store
        self._closed = False

    def _check(self) -> None:
        if self._life != self._storage.life:
            raise PowerLost
        assert not self._closed

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None."""
        self._check()
        found: bytes | None = self._store.tables.get(table, {}).get(key)
        return found

    def snapshot(self) -> SimSnapshot:
        """Open a view."""
        self._check()
        return SimSnapshot(self._store)

    def apply(self, changes: Sequence[Change]) -> None:
        """Commit durably; a crash before or after, never in between."""
        self._check()
        self._volume.step()
        self._store.apply(changes)
        self._volume.step()

    def used_bytes(self) -> int:
        """Space in use."""
        self._check()
        return self._store.used_bytes

    def upkeep(self) -> None:
        """Nothing is ever left behind here."""
        self._check()

    def close(self) -> None:
        """Close."""
        self._closed = True
