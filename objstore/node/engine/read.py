"""Reading many registers: scans by name and by partition, over the index and the memtables before it.

Synchronous on purpose: a page is one consistent view of flushed state, and at one to two microseconds a row it is
shorter than a turn through a thread.
"""

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import msgspec

from objstore.core.rows import Kind, Register, RowKey, Space
from objstore.core.versions import VERSION_KINDS
from objstore.errors import DamagedFile, DamagedRow
from objstore.node.engine.api import EnginePage
from objstore.node.engine.keys import (
    NAME_AT,
    decode_key,
    encode_key,
    end_of_prefix,
    group_of,
    is_cut,
    lower_bound,
    successor_of_prefix,
)
from objstore.node.engine.records import LIVE_KINDS, Entry, decode_entries, decode_shadow
from objstore.node.engine.state import State
from objstore.runtime.kv import Snapshot
from objstore.wire.messages import PartitionRow, ScanRow

_WHOLE_HEAD = b"\x00\x00"  # what follows the name in the index key of a head whose name was not cut
_BATCH = 128  # entries of the memtable handled at once
_VERSIONS_BEFORE_SEEK = 8  # noncurrent versions stepped over before it is cheaper to seek to the next name
_DAMAGE = (DamagedRow, DamagedFile, msgspec.DecodeError)
_ROWS_WITH_VERSIONS = LIVE_KINDS | {int(Kind.DELETE_MARKER)}


@dataclass(frozen=True)
class ScanRange:
    """What to list; see wire.messages.Scan."""

    bucket: bytes
    space: int
    prefix: bytes
    start: bytes
    limit: int
    delimiter: bytes
    partitions: bytes
    versions: bool
    start_version: bytes = b""
    torn: bool = False


def scan(state: State, what: ScanRange, *, examined: int) -> EnginePage:
    """One page.  It ends after `limit` rows or `examined` index entries, between two names unless it may be `torn`.

    Delete markers are listed only with `versions`.
    Raises DamagedRow.
    """
    snapshot = state.kv.snapshot()
    try:
        return _Scan(state, snapshot, what, examined).run()
    finally:
        snapshot.close()


class _Scan:
    def __init__(self, state: State, snapshot: Snapshot, what: ScanRange, examined: int) -> None:
        self._state = state
        self._snapshot = snapshot
        self._what = what
        self._examined = examined
        self._rows: list[ScanRow] = []
        self._plain = not what.versions  # so far there are only heads with whole names, as nearly everywhere

    def run(self) -> EnginePage:
        what = self._what
        name = max(what.start, what.prefix)
        if what.torn:
            return self._run_torn(name)
        while True:
            seek = self._run_plain(name) if self._plain else self._run_from(name)
            if seek is None:
                return EnginePage(self._rows, None)
            name, more = seek
            if not name.startswith(what.prefix):
                return EnginePage(self._rows, None)
            if not more or len(self._rows) >= what.limit or self._examined < 0:
                return EnginePage(self._rows, name)

    def _run_torn(self, start: bytes) -> EnginePage:
        """A page that ends where it is full, be it between two versions of a name."""
        what, rows = self._what, self._rows
        wanted = _ROWS_WITH_VERSIONS if what.versions else LIVE_KINDS
        found = self._named(start, what.start_version if start == what.start else b"")
        for examined, (name, version, entry) in enumerate(found):
            if examined and (len(rows) >= what.limit or examined >= self._examined):
                return EnginePage(rows, name, version)
            if entry.flags & 15 in wanted and what.partitions[entry.partition] and (what.versions or not version):
                rows.append(ScanRow(name, version, entry.partition, entry.accepted, entry.row))
        return EnginePage(rows, None)

    def _run_plain(self, start: bytes) -> tuple[bytes, bool] | None:
        """As `_run_from`, many entries at a time, half the work a row; at a version or a name that was cut it leaves the rest to that."""
        what = self._what
        first = lower_bound(what.bucket, what.space, start)
        end = end_of_prefix(what.bucket, what.space, what.prefix)
        behind: bytes | None = None  # the last name that was looked at
        try:
            for keys, entries in _batches(self._state, self._snapshot, first, end):
                at = 0
                while at < len(keys):
                    room = min(what.limit - len(self._rows), self._examined)
                    if room <= 0 and behind is not None:
                        self._examined -= 1
                        return behind + b"\x00", False
                    portion = keys[at : at + max(room, 1)]
                    names = _whole_names(portion)
                    jump = self._show(names, entries[at : at + len(names)])
                    if jump is not None:
                        return (jump, True) if jump else None
                    behind = names[-1] if names else behind
                    if len(names) < len(portion):
                        self._plain = False
                        return (start if behind is None else behind + b"\x00"), True
                    at += len(portion)
        except _DAMAGE as failure:
            raise _damaged(self._state, failure) from failure
        return None

    def _show(self, names: Sequence[bytes], entries: Sequence[Entry]) -> bytes | None:
        """Take heads; with a delimiter those up to the first group, and where to go on behind it (empty: nowhere)."""
        what = self._what
        delimiter, partitions = what.delimiter, what.partitions
        if not delimiter:
            self._examined -= len(names)
            self._rows += [
                ScanRow(name, b"", entry.partition, entry.accepted, entry.row)
                for name, entry in zip(names, entries, strict=True)
                if entry.flags & 15 in LIVE_KINDS and partitions[entry.partition]
            ]
            return None
        for name, entry in zip(names, entries, strict=True):
            self._examined -= 1
            if entry.flags & 15 in LIVE_KINDS and partitions[entry.partition]:
                self._rows.append(ScanRow(name, b"", entry.partition, entry.accepted, entry.row))
                cut = name.find(delimiter, len(what.prefix))
                if cut >= 0:
                    return successor_of_prefix(name[: cut + len(delimiter)]) or b""
        return None

    def _run_from(self, start: bytes) -> tuple[bytes, bool] | None:
        """Scan until the end (None), the end of the page (name to go on at, False) or a jump (name, True)."""
        what = self._what
        rows, partitions, delimiter = self._rows, what.partitions, what.delimiter
        limit, versions = what.limit, what.versions
        skip_prefix = len(what.prefix)
        wanted = _ROWS_WITH_VERSIONS if versions else LIVE_KINDS
        last_name: bytes | None = None
        stepped = 0
        examined = self._examined
        for name, version, entry in self._named(start):
            self._examined = examined = examined - 1
            if name != last_name:
                if (len(rows) >= limit or examined < 0) and last_name is not None:
                    return last_name + b"\x00", False
                last_name = name
                stepped = 0
            elif version and not versions:
                stepped += 1
                if stepped > _VERSIONS_BEFORE_SEEK:
                    return name + b"\x00", True
                continue
            if (version and not versions) or entry.flags & 15 not in wanted or not partitions[entry.partition]:
                continue
            rows.append(ScanRow(name, version, entry.partition, entry.accepted, entry.row))
            if delimiter:
                at = name.find(delimiter, skip_prefix)
                if at >= 0:
                    beyond = successor_of_prefix(name[: at + len(delimiter)])
                    return None if beyond is None else (beyond, True)
        return None

    def _named(self, start: bytes, start_version: bytes = b"") -> Iterator[tuple[bytes, bytes, Entry]]:
        """(name, version, entry) in order of name from `start` on; groups of cut names are put in order here."""
        what = self._what
        first: bytes | None = lower_bound(what.bucket, what.space, start)
        if start_version:
            exact = encode_key(RowKey(what.bucket, what.space, start, start_version))
            first = first if is_cut(exact) else exact
        end = end_of_prefix(what.bucket, what.space, what.prefix)
        while first is not None and first < end:
            group = b""
            for index_key, entry in merged_entries(self._state, self._snapshot, first, end):
                at = index_key.find(b"\x00", NAME_AT)
                if index_key[at:] == _WHOLE_HEAD:  # as nearly all are
                    yield index_key[NAME_AT:at], b"", entry
                elif not entry.long_name:
                    key = decode_key(index_key)
                    yield key.name, key.version, entry
                else:
                    group = group_of(index_key)
                    break
            first = None
            if group:
                yield from self._group(group, start, start_version)
                first = successor_of_prefix(group)

    def _group(self, group: bytes, start: bytes, start_version: bytes) -> Iterator[tuple[bytes, bytes, Entry]]:
        """Of the names that share a cut beginning all from `start` on, in order.

        They lie here by their digests, each with its versions.  Of a name with many versions these are stepped over first, and read
        when it is its turn, so that they need not all be in memory.
        """
        behind = successor_of_prefix(group)
        assert behind is not None
        found: dict[bytes, list[tuple[bytes, bytes, Entry]]] = {}  # name -> its first versions as (index key, version, entry)
        first: bytes | None = group
        while first is not None:
            step, first = first, None
            for index_key, entry in merged_entries(self._state, self._snapshot, step, behind):
                key = decode_key(index_key, entry.long_name)
                entries = found.setdefault(key.name, [])
                if len(entries) > _VERSIONS_BEFORE_SEEK:
                    first = _behind_versions(key)
                    break
                entries.append((index_key, key.version, entry))
        for name in sorted(found):
            if name < start or not name.startswith(self._what.prefix):
                continue
            begin = encode_key(RowKey(self._what.bucket, self._what.space, name, start_version if name == start else b""))
            entries = found[name]
            if len(entries) <= _VERSIONS_BEFORE_SEEK:
                yield from ((name, version, entry) for index_key, version, entry in entries if index_key >= begin)
                continue
            end = _behind_versions(RowKey(self._what.bucket, self._what.space, name))
            for index_key, entry in merged_entries(self._state, self._snapshot, begin, end):
                yield name, decode_key(index_key, name).version, entry


def _whole_names(keys: Sequence[bytes]) -> list[bytes]:
    """The names in index keys, up to the first key that is not a head's with its whole name."""
    names = [key[NAME_AT:-2] for key in keys]
    if b"\x00" not in b"".join(names) and {key[-2:] for key in keys} == {_WHOLE_HEAD}:
        return names
    for index, key in enumerate(keys):
        if key[key.find(b"\x00", NAME_AT) :] != _WHOLE_HEAD:
            return names[:index]
    return names


def _behind_versions(key: RowKey) -> bytes:
    """An index key above those of all versions of a name, and below that of every other name."""
    return encode_key(RowKey(key.bucket, key.space, key.name)) + b"\x02"


def newest(state: State, head: RowKey, partition: int, *, below: bytes, limit: int) -> list[ScanRow]:
    """The noncurrent versions of one object, tombstones left out: the null version, then the newest others below a version id.

    At most `limit` besides the null version; `below` empty: from the newest on.  Raises DamagedRow.
    """
    null = encode_key(RowKey(head.bucket, Space.VERSIONS, head.name))
    first = encode_key(RowKey(head.bucket, Space.VERSIONS, head.name, below)) + b"\x00" if below else null + b"\x00"
    found: list[ScanRow] = []
    snapshot = state.kv.snapshot()
    try:
        for start, end in ((null, null + b"\x00"), (first, null + b"\x02")):
            for index_key, entry in merged_entries(state, snapshot, start, end):
                if entry.kind not in VERSION_KINDS or entry.partition != partition:
                    continue
                version = decode_key(index_key, entry.long_name).version
                found.append(ScanRow(head.name, version, partition, entry.accepted, entry.row))
                if len(found) > limit:
                    return found
    finally:
        snapshot.close()
    return found


def merged_entries(state: State, snapshot: Snapshot, first: bytes, end: bytes) -> Iterator[tuple[bytes, Entry]]:
    """Entries with first <= index key < end in order.  Raises DamagedRow."""
    try:
        for keys, entries in _batches(state, snapshot, first, end):
            yield from zip(keys, entries, strict=True)
    except _DAMAGE as failure:
        raise _damaged(state, failure) from failure


def _batches(state: State, snapshot: Snapshot, first: bytes, end: bytes) -> Iterator[tuple[list[bytes], list[Entry]]]:
    """The same, many at a time: index keys and their entries.  Raises DamagedRow, DamagedFile, msgspec.DecodeError."""
    newer = _newer(state, first, end)
    waiting = next(newer, None)
    for page in snapshot.pages("rows", first, end):
        last = page[-1][0]
        if waiting is None or waiting[0] > last:  # as after a checkpoint: nothing to merge with
            yield decode_entries(page)
            continue
        fresh: dict[bytes, Entry | int] = {}
        while waiting is not None and waiting[0] <= last:
            fresh[waiting[0]] = waiting[1]
            waiting = next(newer, None)
        keys, entries = decode_entries([pair for pair in page if pair[0] not in fresh])
        for index_key, entry in fresh.items():
            if isinstance(entry, Entry):  # else the memtable says that it is gone
                at = bisect_left(keys, index_key)
                keys.insert(at, index_key)
                entries.insert(at, entry)
        yield keys, entries
    while waiting is not None:
        found = [waiting, *islice(newer, _BATCH - 1)]
        waiting = next(newer, None)
        there = [(index_key, entry) for index_key, entry in found if isinstance(entry, Entry)]
        yield [index_key for index_key, _ in there], [entry for _, entry in there]


def _damaged(state: State, failure: Exception) -> DamagedRow:
    key = failure.facts.get("key") if isinstance(failure, DamagedRow) else None
    if isinstance(key, bytes):
        state.suspect(key)
    return DamagedRow("a row in the scanned range is damaged")


def _newer(state: State, first: bytes, end: bytes) -> Iterator[tuple[bytes, Entry | int]]:
    active = state.active.entries
    if state.frozen is None:
        for index_key in state.active.keys_between(first, end):
            yield index_key, active[index_key]
        return
    frozen = state.frozen.entries
    last = b""
    for index_key in heapq.merge(state.active.keys_between(first, end), state.frozen.keys_between(first, end)):
        if index_key != last:
            last = index_key
            yield index_key, active[index_key] if index_key in active else frozen[index_key]


def partition_rows(
    state: State, partition: int, *, cursor: bytes, limit: int, rows: bool, damaged: list[bytes] | None = None
) -> tuple[list[PartitionRow], bytes | None]:
    """Registers of a partition after `cursor`, in order of index key; damaged ones are left out (audit finds them).

    Their index keys are added to `damaged`.  Raises DamagedFile.
    """
    prefix = partition.to_bytes(4, "big")
    newer: dict[bytes, Entry | None] = {}
    for table in (state.frozen, state.active):
        if table is None:
            continue
        newer.update((index_key, None) for moved_from, index_key in table.orphans if moved_from == partition and index_key > cursor)
        for index_key in table.keys_of_partition(partition):
            entry = table.entries[index_key]
            if index_key > cursor:
                newer[index_key] = entry if isinstance(entry, Entry) and entry.partition == partition else None
    waiting = sorted(newer, reverse=True)
    found: list[PartitionRow] = []
    last = cursor

    def take(index_key: bytes) -> None:
        entry = newer[index_key]
        if entry is not None:
            register = Register(entry.promised, entry.accepted, entry.row if rows else b"")
            found.append(PartitionRow(decode_key(index_key, entry.long_name), register))

    snapshot = state.kv.snapshot()
    try:
        for key, value in snapshot.scan("partitions", prefix + cursor + b"\x00" if cursor else prefix, _end_of(partition)):
            index_key = key[4:]
            while waiting and waiting[-1] <= index_key and len(found) < limit:
                last = waiting.pop()
                take(last)
            if len(found) >= limit:
                return found, last
            last = index_key
            if index_key not in newer:
                item = _stored_row(state, key, value, rows=rows)
                if item is not None:
                    found.append(item)
                elif damaged is not None:
                    damaged.append(index_key)
    finally:
        snapshot.close()
    while waiting and len(found) < limit:
        last = waiting.pop()
        take(last)
    return found, last if waiting else None


def _stored_row(state: State, key: bytes, value: bytes, *, rows: bool) -> PartitionRow | None:
    """A register of the index, None when it is damaged."""
    index_key = key[4:]
    partition = int.from_bytes(key[:4], "big")
    try:
        shadow = decode_shadow(key, value)
        name = decode_key(index_key, shadow.long_name)
        if not rows:
            return PartitionRow(name, Register(shadow.promised, shadow.accepted))
        entry = state.get_from_index(index_key, partition)
    except (DamagedRow, msgspec.DecodeError, ValueError):
        state.suspect(index_key, partition)
        return None
    # A shadow without a row raised DamagedRow above.
    assert entry is not None
    return PartitionRow(name, Register(entry.promised, entry.accepted, entry.row))


def _end_of(partition: int) -> bytes:
    return (partition + 1).to_bytes(4, "big") if partition < 0xFFFFFFFF else b"\xff" * 5
