"""The durable index behind the packs: what a checkpoint writes and what opening reads.

One checkpoint is one transaction: rows, their shadows, blob references, purge queue, every total that changed, and the
position in the packs up to which all that is true.  So the index is always the exact state at some record boundary.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import msgspec

from objstore.core.rows import Kind, Space
from objstore.core.timestamp import Ballot
from objstore.errors import DamagedFile, DamagedRow
from objstore.node.engine.keys import decode_key
from objstore.node.engine.memtable import Memtable
from objstore.node.engine.records import Entry, Table, decode_entry, reference_key, seal_value, shadow_key, shadow_of, unseal
from objstore.node.engine.state import Position, State, Totals
from objstore.runtime.kv import Change, Kv

SLICE = 64  # entries encoded between two turns of the event loop: a fraction of a millisecond

_POSITION = b"position"
_TOTALS = b"totals"
_CENSUS = b"census"  # how many of each kind of total there are: LMDB can lose keys without a word
_PARTITION, _BUCKET, _FLOOR, _NOTE, _PACK, _VERSIONS, _MARKERS = b"p", b"b", b"f", b"n", b"k", b"v", b"m"


class Frozen:
    """The state at one record boundary, while it is on its way into the index."""

    def __init__(self, state: State, position: Position) -> None:
        """Freeze: from here on new rows go to a new memtable."""
        assert state.frozen is None
        self.position = position
        self.memtable = state.active
        self.changed = state.changed
        self.meta = [
            *self._meta_of(state),
            (_POSITION, position),
            (_TOTALS, msgspec.structs.replace(state.totals)),
            (_CENSUS, _census(state)),
        ]
        self.purge = {blob: blob in state.purge for kind, blob in state.changed if kind == "q" and isinstance(blob, bytes)}
        self.strays = self._find_strays(state) if state.restated else []
        self.restated = state.restated
        state.frozen = self.memtable
        state.active = Memtable()
        state.changed = {}
        state.restated = False

    def _find_strays(self, state: State) -> list[Change]:
        """Deletions of what the tables hold besides: keys that rotted into others.  Raises DamagedFile."""
        known = {key for key, _ in self.meta}
        snapshot = state.kv.snapshot()
        try:
            strays: list[Change] = [("meta", key, None) for key, _ in snapshot.scan("meta", b"") if key not in known]
            return strays + [("purge", blob, None) for blob, _ in snapshot.scan("purge", b"") if blob not in state.purge]
        finally:
            snapshot.close()

    def _meta_of(self, state: State) -> Iterator[tuple[bytes, Any]]:
        for kind, name in state.changed:
            match kind, name:
                case "p", int():
                    total = state.partitions.get(name)
                    yield _PARTITION + name.to_bytes(4, "big"), (total[0].to_bytes(16, "big"), *total[1:]) if total else None
                case "b", bytes():
                    yield _BUCKET + name, state.buckets.get(name)
                case "v", bytes():
                    yield _VERSIONS + name, state.versions.get(name)
                case "m", bytes():
                    yield _MARKERS + name, state.markers.get(name)
                case "f", int():
                    yield _FLOOR + name.to_bytes(4, "big"), state.floors[name]
                case "n", str():
                    yield _NOTE + name.encode(), state.notes.get(name)
                case "k", int():
                    yield _PACK + name.to_bytes(8, "big"), state.live.get(name)
                case "q", _:
                    pass  # the purge queue is a table of its own
                case _:
                    raise AssertionError(kind)

    def changes(self) -> Iterator[list[Change]]:
        """The transaction, in slices of SLICE registers."""
        memtable = self.memtable
        yield [("partitions", shadow_key(*orphan), None) for orphan in memtable.orphans]
        slice_: list[Change] = []
        for count, (index_key, entry) in enumerate(memtable.entries.items(), 1):
            if isinstance(entry, Entry):
                slice_.append(("rows", index_key, seal_value(Table.ROWS, index_key, entry)))
                key = shadow_key(entry.partition, index_key)
                slice_.append(("partitions", key, seal_value(Table.PARTITIONS, key, shadow_of(entry))))
            else:
                slice_.append(("rows", index_key, None))
                slice_.append(("partitions", shadow_key(entry, index_key), None))
            if count % SLICE == 0:
                yield slice_
                slice_ = []
        yield slice_
        slice_ = [("purge", blob, seal_value(Table.PURGE, blob, None) if queued else None) for blob, queued in self.purge.items()]
        for blob, keys in memtable.references.items():
            for index_key, named in keys.items():
                key = reference_key(blob, index_key)
                slice_.append(("blobs", key, seal_value(Table.BLOBS, key, index_key) if named else None))
        for key, value in self.meta:
            slice_.append(("meta", key, None if value is None else seal_value(Table.META, key, value)))
        yield slice_
        yield self.strays

    def done(self, state: State) -> None:
        """The transaction is durable."""
        state.frozen = None
        state.foreseen.clear()  # what was in the frozen table is in the index now, and was not when it was looked at
        state.position = self.position

    def failed(self, state: State) -> None:
        """Nothing changed in the index: what was frozen thaws under what came since."""
        newer = state.active
        state.active = self.memtable
        state.frozen = None
        for index_key, entry in newer.entries.items():
            state.active.put(index_key, entry)
        for blob, keys in newer.references.items():
            state.active.references.setdefault(blob, {}).update(keys)
        state.active.orphans.update(newer.orphans)
        state.changed = {**self.changed, **state.changed}
        state.restated |= self.restated


def _census(state: State) -> list[int]:
    sums = (state.partitions, state.buckets, state.floors, state.notes, state.live, state.purge, state.versions, state.markers)
    return [len(x) for x in sums]


def load(kv: Kv) -> State:
    """The state as of the last checkpoint; empty when there was none.  Raises DamagedFile: the index must be rebuilt."""
    state = State(kv)
    census = _census(state)
    snapshot = kv.snapshot()
    try:
        for key, value in snapshot.scan("meta", b""):
            body = unseal(Table.META, key, value)
            if key == _CENSUS:
                census = msgspec.msgpack.decode(body, type=list[int])
            else:
                _load_meta(state, key, body)
        for blob, value in snapshot.scan("purge", b""):
            unseal(Table.PURGE, blob, value)
            state.purge[blob] = None
    except (DamagedRow, msgspec.DecodeError, UnicodeDecodeError) as failure:
        raise DamagedFile("the index is damaged; rebuild it from the packs") from failure
    finally:
        snapshot.close()
    if len(census) < len(_census(state)):
        _count_markers(state)
        # One from before versions were counted is shorter still, and there were none.
        census = [*census, *[0] * (len(_census(state)) - 1 - len(census)), len(state.markers)]
    if census != _census(state) or (state.position.pack == 0 and any(census)):
        raise DamagedFile("the index has lost some of its totals; rebuild it from the packs")
    return state


def _count_markers(state: State) -> None:
    """An index from before delete markers were counted: once, by looking at every row.  Rows that are damaged are healed elsewhere."""
    snapshot = state.kv.snapshot()
    try:
        for index_key, value in snapshot.scan("rows", b""):
            with contextlib.suppress(DamagedRow):
                entry = decode_entry(index_key, value)
                if entry.kind == Kind.DELETE_MARKER:
                    noncurrent = decode_key(index_key, entry.long_name).space == Space.VERSIONS
                    state.count_marker(index_key[:8], 1 - noncurrent, int(noncurrent))
    finally:
        snapshot.close()


def _load_meta(state: State, key: bytes, body: bytes) -> None:
    kind, name = key[:1], key[1:]
    if key == _POSITION:
        state.position = msgspec.msgpack.decode(body, type=Position)
    elif key == _TOTALS:
        state.totals = msgspec.msgpack.decode(body, type=Totals)
    elif kind == _PARTITION:
        digest, rows, registers = msgspec.msgpack.decode(body, type=tuple[bytes, int, int])
        state.partitions[int.from_bytes(name, "big")] = (int.from_bytes(digest, "big"), rows, registers)
    elif kind == _BUCKET:
        state.buckets[name] = msgspec.msgpack.decode(body, type=tuple[int, int])
    elif kind == _VERSIONS:
        state.versions[name] = msgspec.msgpack.decode(body, type=tuple[int, int])
    elif kind == _MARKERS:
        state.markers[name] = msgspec.msgpack.decode(body, type=tuple[int, int])
    elif kind == _FLOOR:
        state.floors[int.from_bytes(name, "big")] = Ballot(msgspec.msgpack.decode(body, type=bytes))
    elif kind == _NOTE:
        state.notes[name.decode()] = msgspec.msgpack.decode(body, type=bytes)
    elif kind == _PACK:
        state.live[int.from_bytes(name, "big")] = msgspec.msgpack.decode(body, type=int)
