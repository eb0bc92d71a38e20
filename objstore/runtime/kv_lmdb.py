"""The ordered key-value store on LMDB.

Default durability (`sync`, `metasync`, no `writemap`): what is weaker lost acknowledged transactions, or the whole
database, in power cuts.  LMDB has no checksum on its pages: whoever stores values here seals them.  What LMDB itself
finds wrong comes out as DamagedFile.  Python's binding opens with MDB_NOTLS, so a read transaction may move between
threads; `get` shares one under a lock and renews it after each commit.
"""

import ctypes
import errno
import os
import threading
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from operator import ge, itemgetter

import lmdb

from objstore.errors import DamagedFile, DeviceFull
from objstore.runtime.kv import Change

FIRST_MAP_BYTES = 64 * 1024 * 1024
GROW_WAIT_S = 60.0  # how long growing the map waits for views to close; they are open for milliseconds
NO_ROOM_BYTES = 1024 * 1024  # a full tmpfs answers a commit with EIO: below this much free space it means "full"
# A scan takes so many pairs from LMDB at once: few at first, since many scans end soon; each time four times as many, up to what stays in
# the processor's cache.
FIRST_PAIRS = 2
MOST_PAIRS = 64
# Pages of the file that were ever looked at stay in the process's page tables, and count as its memory, until they are let go; above this size
# of the file that is done after each commit.  They stay in the kernel's cache, so looking again costs a microsecond for each 64 KiB.
KEPT_MAPPED_BYTES = 8 * 1024 * 1024
LET_GO_BYTES = 16 * 1024 * 1024  # at once, under the lock that reads take
_MADV_DONTNEED = 4
_key = itemgetter(0)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_libc = ctypes.CDLL(None)


class LmdbSnapshot:
    """One read transaction."""

    def __init__(self, store: "LmdbKv") -> None:
        self._store = store
        self._transaction: lmdb.Transaction[bytes] | None = store.begin_view()

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value, or None.  Raises DamagedFile."""
        assert self._transaction is not None
        try:
            value = self._transaction.get(key, db=self._store.tables[table])
        except lmdb.Error as failure:
            raise DamagedFile(f"LMDB cannot read table {table}: {failure!r}") from failure
        return value

    def scan(self, table: str, start: bytes, end: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Pairs with start <= key < end in order.  Raises DamagedFile, also when keys do not ascend."""
        return chain.from_iterable(self.pages(table, start, end))

    def pages(self, table: str, start: bytes, end: bytes | None = None) -> Iterator[list[tuple[bytes, bytes]]]:
        """The pairs of a scan, some at a time: a step of Python for each would cost as much as LMDB does."""
        assert self._transaction is not None
        try:
            cursor = self._transaction.cursor(db=self._store.tables[table])
            if not (cursor.set_range(start) if start else cursor.first()):
                return
            pairs = iter(cursor)
            last, count = b"", FIRST_PAIRS
            while page := list(islice(pairs, count)):
                keys = [last, *map(_key, page)]
                if any(map(ge, keys, keys[1:])):
                    raise DamagedFile(f"keys of LMDB table {table} do not ascend")
                last, count = keys[-1], min(4 * count, MOST_PAIRS)
                if end is not None and last >= end:
                    page = page[: bisect_left(keys, end, 1) - 1]
                    if page:
                        yield page
                    return
                yield page
        except lmdb.Error as failure:
            raise DamagedFile(f"LMDB cannot scan table {table}: {failure!r}") from failure

    def close(self) -> None:
        """End the view; twice is fine."""
        if self._transaction is not None:
            self._store.end_view(self._transaction)
            self._transaction = None


class LmdbKv:
    """An LMDB environment in one directory with a fixed set of named tables."""

    def __init__(self, directory: str, tables: Sequence[str], *, map_bytes: int = FIRST_MAP_BYTES) -> None:
        """Open or create.  Raises DamagedFile, OSError."""
        os.makedirs(directory, mode=0o700, exist_ok=True)
        _refuse_links(directory)
        self._directory = directory
        self._lock = threading.Lock()
        self._gate = threading.Condition(self._lock)  # a Condition enters and leaves in Python; reads use the bare lock
        self._views = 0
        data = os.path.join(directory, "data.mdb")
        size = os.path.getsize(data) if os.path.exists(data) else 0
        try:
            self._env = lmdb.open(directory, map_size=max(map_bytes, size), max_dbs=len(tables), readahead=False, max_spare_txns=8)
            # A map beyond the end of the file is SIGBUS when it is touched: refuse a file that was cut.
            info = self._env.info()
            if size and (info["last_pgno"] + 1) * self._env.stat()["psize"] > size:
                self._env.close()
                raise DamagedFile(f"{data} is shorter than its last page")
            # Only an environment without any: made anew beside others, a table whose name rotted would seem to be empty.
            create = self._env.stat()["entries"] == 0
            with self._env.begin(write=True) as transaction:
                self.tables = {name: self._env.open_db(name.encode(), txn=transaction, create=create) for name in tables}
            self._reader = self._env.begin()
        except lmdb.Error as failure:
            raise DamagedFile(f"LMDB cannot open {directory}: {failure!r}") from failure
        self._stale = False
        self._moves = 0  # how often the map was moved
        if not size:
            # LMDB flushes the file and nobody its name.
            for path in (directory, os.path.dirname(os.path.abspath(directory))):
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def get(self, table: str, key: bytes) -> bytes | None:
        """The value in the last committed transaction, or None.  Raises DamagedFile."""
        with self._lock:
            try:
                if self._stale:
                    self._reader.abort()
                    self._reader = self._env.begin()
                    self._stale = False
                value: bytes | None = self._reader.get(key, db=self.tables[table])
            except lmdb.Error as failure:
                raise DamagedFile(f"LMDB cannot read table {table}: {failure!r}") from failure
            return value

    def snapshot(self) -> LmdbSnapshot:
        """Open a view."""
        return LmdbSnapshot(self)

    def begin_view(self) -> "lmdb.Transaction[bytes]":
        """A read transaction that growing the map waits for."""
        with self._gate:
            try:
                transaction = self._env.begin()
            except lmdb.Error as failure:
                raise DamagedFile(f"LMDB cannot begin a view: {failure!r}") from failure
            self._views += 1
            return transaction

    def end_view(self, transaction: "lmdb.Transaction[bytes]") -> None:
        """End it."""
        transaction.abort()
        with self._gate:
            self._views -= 1
            self._gate.notify_all()

    def apply(self, changes: Sequence[Change]) -> None:
        """Commit all changes in one durable transaction; of several for one key the last counts."""
        tables: dict[str, dict[bytes, bytes | None]] = {}
        for table, key, value in changes:
            tables.setdefault(table, {})[key] = value
        # In order of key: LMDB then finds each leaf once.
        work = [
            (table, [k for k, v in pairs.items() if v is None], sorted((k, v) for k, v in pairs.items() if v is not None))
            for table, pairs in tables.items()
        ]
        while True:
            try:
                self._commit(work)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.Error as failure:
                raise self._disk_failure(failure) from failure
            else:
                break
        with self._gate:
            self._stale = True
        self._let_go()

    def _commit(self, work: Sequence[tuple[str, Sequence[bytes], Sequence[tuple[bytes, bytes]]]]) -> None:
        with self._env.begin(write=True) as transaction:
            for table, deletes, puts in work:
                for key in deletes:
                    transaction.delete(key, db=self.tables[table])
                if puts:
                    transaction.cursor(db=self.tables[table]).putmulti(puts)

    def _disk_failure(self, failure: lmdb.Error) -> Exception:
        stat = os.statvfs(self._directory)
        text = str(failure)
        if stat.f_bavail * stat.f_frsize < NO_ROOM_BYTES or any(os.strerror(code) in text for code in _FULL):
            return DeviceFull(f"no room for the index in {self._directory}: {failure!r}")
        if isinstance(failure, lmdb.DiskError) or "Input/output" in text:
            return OSError(errno.EIO, f"LMDB in {self._directory}: {failure!r}")
        return DamagedFile(f"LMDB cannot write in {self._directory}: {failure!r}")

    def _grow(self) -> None:
        with self._gate:
            # set_mapsize moves the map: nobody may be looking at it.
            if not self._gate.wait_for(lambda: self._views == 0, GROW_WAIT_S):
                raise DeviceFull(f"the index in {self._directory} must grow, but a view of it stays open")
            self._reader.abort()
            self._moves += 1
            self._env.set_mapsize(self._env.info()["map_size"] * 2)
            self._reader = self._env.begin()

    def used_bytes(self) -> int:
        """Length of the data file."""
        return os.path.getsize(os.path.join(self._directory, "data.mdb"))

    def upkeep(self) -> None:
        """Clear the slots of killed readers, which keep freed pages from being reused, and let go of pages that were looked at."""
        self._env.reader_check()
        self._let_go()

    def _let_go(self) -> None:
        """Take the file's pages out of this process's page tables; nothing is written through the map, so nothing is lost."""
        size = self.used_bytes()
        if size < KEPT_MAPPED_BYTES:
            return
        with self._gate:
            moves, start, end = self._moves, *_mapped(os.path.join(self._directory, "data.mdb"))
        for at in range(start, min(end, start + size), LET_GO_BYTES):
            with self._gate:
                if self._moves != moves:  # what is there now may be anything
                    return
                _libc.madvise(ctypes.c_void_p(at), ctypes.c_size_t(min(LET_GO_BYTES, end - at)), _MADV_DONTNEED)

    def close(self) -> None:
        """Close."""
        with self._gate:
            assert self._views == 0
            self._reader.abort()
            self._env.close()


def _mapped(path: str) -> tuple[int, int]:
    """Where a file is mapped, to be shared; an empty range where the machine does not say."""
    try:
        facts = os.stat(path)
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                addresses, rights, _, device, inode, *_ = line.split(maxsplit=5)
                if (
                    int(inode) == facts.st_ino
                    and rights[3] == "s"
                    and device == f"{os.major(facts.st_dev):02x}:{os.minor(facts.st_dev):02x}"
                ):
                    start, _, end = addresses.partition("-")
                    return int(start, 16), int(end, 16)
    except OSError:
        pass
    return 0, 0


def _refuse_links(directory: str) -> None:
    """LMDB opens by name and would follow a planted link.  Raises OSError."""
    for path in (directory, *(os.path.join(directory, name) for name in ("data.mdb", "lock.mdb"))):
        if os.path.islink(path):
            raise OSError(errno.ELOOP, "an index is in no linked file or directory", path)
