"""What a device holds, as far as it is flushed: the index, the memtables before it, and the totals over both.

`put` and its companions are called in the order of the records in the packs, by the commit loop after a flush and by
recovery, and nowhere else; so a replay ends in the same state.  Totals (partition digests, bucket counters, floors,
notes, live bytes per pack, purge queue) are kept in memory and go to the index in the transaction of the rows that
they count (index.py).
"""

from collections.abc import Callable

import msgspec

from objstore.core.digests import contribution
from objstore.core.rows import BodyKind, Kind, Space
from objstore.core.timestamp import ZERO, Ballot
from objstore.errors import DamagedFile, DamagedRow
from objstore.node.engine.memtable import Memtable
from objstore.node.engine.pack_format import RECORD_HEADER_BYTES
from objstore.node.engine.records import (
    LIVE_KINDS,
    Entry,
    Shadow,
    blob_of,
    counts_as_version,
    decode_entry,
    decode_shadow,
    reference_key,
    shadow_key,
)
from objstore.runtime.kv import Kv

_MARKER = int(Kind.DELETE_MARKER)
_FORESEEN = 256  # registers remembered from a query to the change that follows it; a few milliseconds' worth
_META_BYTES = 96  # of a STATE record besides row and payload, roughly: live bytes are an estimate, used the same both ways


class Position(msgspec.Struct, frozen=True, array_like=True):
    """Everything before it in the packs is in the index."""

    pack: int = 0
    offset: int = 0
    sequence: int = 0


class Totals(msgspec.Struct, array_like=True):
    """Sums over the device."""

    registers: int = 0
    inline_bytes: int = 0
    blob_bytes: int = 0
    highest: Ballot = ZERO  # above or equal to every ballot promised or accepted here


def weight(entry: Entry) -> int:
    """Bytes of the pack of its payload that an entry keeps alive."""
    return entry.length if entry.record_pack else RECORD_HEADER_BYTES + _META_BYTES + entry.length + len(entry.row)


def record_weight(entry: Entry) -> int:
    """The same of the pack of its record, where that is a record of its own."""
    return RECORD_HEADER_BYTES + _META_BYTES + len(entry.row)


class State:
    """Flushed state of one device."""

    def __init__(self, kv: Kv) -> None:
        self.kv = kv
        self.active = Memtable()
        self.frozen: Memtable | None = None
        self.position = Position()  # as of the last finished checkpoint
        self.totals = Totals()
        self.partitions: dict[int, tuple[int, int, int]] = {}  # digest, rows accepted, registers
        self.buckets: dict[bytes, tuple[int, int]] = {}  # live objects, their bytes
        self.versions: dict[bytes, tuple[int, int]] = {}  # the same of noncurrent versions, delete markers included
        self.markers: dict[bytes, tuple[int, int]] = {}  # delete markers: current, noncurrent
        self.floors: dict[int, Ballot] = {}
        self.notes: dict[str, bytes] = {}
        self.purge: dict[bytes, None] = {}
        self.live: dict[int, int] = {}  # pack -> bytes alive
        self.changed: dict[tuple[str, int | bytes | str], None] = {}  # totals that the next checkpoint writes
        self.restated = False  # the next checkpoint writes all of them
        self.suspects: dict[bytes, int | None] = {}  # index key -> partition if known: found damaged, not yet healed
        self.lost: dict[bytes, None] = {}  # suspects of which neither index nor journal knows anything: take what others hold
        self.noticed: Callable[[bytes], None] = lambda _: None  # told of each new suspect
        self.foreseen: dict[bytes, tuple[int, Entry | None]] = {}  # index key -> partition, what `get` said; true until a checkpoint ends

    def restart(self, fresh: "State") -> None:
        """Become another state, while everybody who holds this one goes on holding it."""
        noticed = self.noticed
        self.__dict__.update(fresh.__dict__)
        self.noticed = noticed

    # -- reading -----------------------------------------------------------------------------------------------

    def get(self, index_key: bytes, partition: int | None = None) -> Entry | None:
        """The flushed entry.  Raises DamagedRow when it is damaged, or missing from one of the two tables only."""
        found = self.active.entries.get(index_key)
        if found is None and self.frozen is not None:
            found = self.frozen.entries.get(index_key)
        if found is not None:
            return None if isinstance(found, int) else found
        return self.get_from_index(index_key, partition)

    def foresee(self, index_key: bytes, partition: int) -> Entry | None:
        """As `get`, for a register that is likely to be changed next: `recall` then need not look into the index again."""
        entry = self.get(index_key, partition)
        if len(self.foreseen) >= _FORESEEN:
            self.foreseen.clear()
        self.foreseen[index_key] = partition, entry
        return entry

    def recall(self, index_key: bytes, partition: int) -> Entry | None:
        """As `get`, from what was foreseen where it was: whatever was put since is in a memtable, which is asked first."""
        foreseen = self.foreseen.pop(index_key, None)
        if foreseen is None or foreseen[0] != partition or self.is_newer(index_key):
            return self.get(index_key, partition)
        return foreseen[1]

    def get_from_index(self, index_key: bytes, partition: int | None) -> Entry | None:
        """The entry as of the last checkpoint.  Raises DamagedRow."""
        try:
            value = self.kv.get("rows", index_key)
            if value is not None:
                return decode_entry(index_key, value)
            if partition is None or self.kv.get("partitions", shadow_key(partition, index_key)) is None:
                return None
        except (DamagedRow, DamagedFile, msgspec.DecodeError) as failure:
            self.suspect(index_key, partition)
            raise DamagedRow("a stored row is damaged", key=index_key) from failure
        # The table by partition lies on other pages: a row that only it knows was lost, not deleted.
        self.suspect(index_key, partition)
        raise DamagedRow("a stored row is missing from the index", key=index_key)

    def suspect(self, index_key: bytes, partition: int | None = None) -> None:
        """A register is damaged, in its row or in its bytes: it may be healed at the ballot that it has."""
        if index_key not in self.suspects or (partition is not None and self.suspects[index_key] is None):
            self.suspects[index_key] = partition
            self.foreseen.pop(index_key, None)
            self.noticed(index_key)

    def healed(self, index_key: bytes) -> None:
        """A register was stored anew."""
        self.suspects.pop(index_key, None)
        self.lost.pop(index_key, None)

    def is_newer(self, index_key: bytes) -> bool:
        """Whether a memtable holds the register, so that what the index says of it does not count."""
        return index_key in self.active.entries or (self.frozen is not None and index_key in self.frozen.entries)

    def shadow(self, index_key: bytes, partition: int) -> Shadow | None:
        """What the second table knows of a damaged register; None when that is damaged too."""
        key = shadow_key(partition, index_key)
        try:
            value = self.kv.get("partitions", key)
            return None if value is None else decode_shadow(key, value)
        except (DamagedRow, DamagedFile, msgspec.DecodeError):
            return None

    def is_named(self, blob: bytes) -> bool:
        """Whether any flushed register names the blob.  Raises DamagedFile."""
        changes = dict(self.frozen.references.get(blob, {})) if self.frozen is not None else {}
        changes.update(self.active.references.get(blob, {}))
        if any(changes.values()):
            return True
        gone = {reference_key(blob, index_key) for index_key in changes}
        snapshot = self.kv.snapshot()
        try:
            return any(reference not in gone for reference, _ in snapshot.scan("blobs", blob, blob + b"\xff" * 17))
        finally:
            snapshot.close()

    # -- changing, in record order ------------------------------------------------------------------------------

    def put(self, index_key: bytes, old: Entry | None, new: Entry | None, *, counted: bool) -> None:
        """Replace an entry.  `counted`: the key is a head in the OBJECTS space, which bucket counters count."""
        table = self.active
        if new is not None:
            table.put(index_key, new)
        else:
            assert old is not None
            table.put(index_key, old.partition)
        if old is not None:
            self._remove(index_key, old, counted=counted)
            if new is not None and new.partition != old.partition:
                table.orphans[old.partition, index_key] = None
        if new is not None:
            self._add(index_key, new, counted=counted)
            self.totals.highest = max(self.totals.highest, new.promised, new.accepted)
        if BodyKind.BLOB in (old.flags >> 4 & 15 if old is not None else 0, new.flags >> 4 & 15 if new is not None else 0):
            self._refer(index_key, blob_of(old), blob_of(new))

    def _add(self, index_key: bytes, entry: Entry, *, counted: bool) -> None:
        partition = entry.partition
        digest, rows, registers = self.partitions.get(partition, (0, 0, 0))
        accepted = entry.accepted
        self.partitions[partition] = (digest ^ contribution(index_key, accepted), rows + (accepted != ZERO), registers + 1)
        changed = self.changed
        changed["p", partition] = None
        totals = self.totals
        totals.registers += 1
        totals.inline_bytes += entry.length
        self.live[entry.pack] = self.live.get(entry.pack, 0) + weight(entry)
        changed["k", entry.pack] = None
        if entry.record_pack:
            self.live[entry.record_pack] = self.live.get(entry.record_pack, 0) + record_weight(entry)
            changed["k", entry.record_pack] = None
        if entry.flags >> 4 & 15 == BodyKind.BLOB:
            totals.blob_bytes += entry.size
        if counted:
            if entry.flags & 15 in LIVE_KINDS:
                bucket = index_key[:8]
                objects, size = self.buckets.get(bucket, (0, 0))
                self.buckets[bucket] = (objects + 1, size + entry.size)
                changed["b", bucket] = None
            elif entry.flags & 15 == _MARKER:
                self.count_marker(index_key[:8], 1, 0)
        elif index_key[8] == Space.VERSIONS and counts_as_version(entry):
            bucket = index_key[:8]
            versions, size = self.versions.get(bucket, (0, 0))
            self.versions[bucket] = (versions + 1, size + entry.size)
            changed["v", bucket] = None
            if entry.flags & 15 == _MARKER:
                self.count_marker(bucket, 0, 1)

    def _remove(self, index_key: bytes, entry: Entry, *, counted: bool) -> None:
        partition = entry.partition
        digest, rows, registers = self.partitions.get(partition, (0, 0, 0))
        accepted = entry.accepted
        if registers > 1:
            self.partitions[partition] = (digest ^ contribution(index_key, accepted), rows - (accepted != ZERO), registers - 1)
        else:
            self.partitions.pop(partition, None)
        changed = self.changed
        changed["p", partition] = None
        totals = self.totals
        totals.registers -= 1
        totals.inline_bytes -= entry.length
        self.live[entry.pack] = self.live.get(entry.pack, 0) - weight(entry)
        changed["k", entry.pack] = None
        if entry.record_pack:
            self.live[entry.record_pack] = self.live.get(entry.record_pack, 0) - record_weight(entry)
            changed["k", entry.record_pack] = None
        if entry.flags >> 4 & 15 == BodyKind.BLOB:
            totals.blob_bytes -= entry.size
        if counted:
            if entry.flags & 15 in LIVE_KINDS:
                bucket = index_key[:8]
                _take_one(self.buckets, bucket, entry.size)
                changed["b", bucket] = None
            elif entry.flags & 15 == _MARKER:
                self.count_marker(index_key[:8], -1, 0)
        elif index_key[8] == Space.VERSIONS and counts_as_version(entry):
            bucket = index_key[:8]
            _take_one(self.versions, bucket, entry.size)
            changed["v", bucket] = None
            if entry.flags & 15 == _MARKER:
                self.count_marker(bucket, 0, -1)

    def count_marker(self, bucket: bytes, current: int, noncurrent: int) -> None:
        """Delete markers came or went."""
        held = self.markers.get(bucket, (0, 0))
        total = (held[0] + current, held[1] + noncurrent)
        if total == (0, 0):
            self.markers.pop(bucket, None)
        else:
            self.markers[bucket] = total
        self.changed["m", bucket] = None

    def _refer(self, index_key: bytes, old: bytes, new: bytes) -> None:
        if old == new:
            return
        if old:
            self.active.references.setdefault(old, {})[index_key] = False
            self.purge[old] = None
            self.changed["q", old] = None
        if new:
            self.active.references.setdefault(new, {})[index_key] = True

    def set_floor(self, partition: int, ballot: Ballot) -> None:
        """Raise a partition's reclaim floor."""
        if ballot > self.floors.get(partition, ZERO):
            self.floors[partition] = ballot
            self.changed["f", partition] = None

    def set_note(self, name: str, value: bytes | None) -> None:
        """Change a note."""
        if value is None:
            self.notes.pop(name, None)
        else:
            self.notes[name] = value
        self.changed["n", name] = None

    def purged(self, blob: bytes) -> None:
        """A blob of the purge queue is gone, or was named again."""
        if self.purge.pop(blob, 0) is None:
            self.changed["q", blob] = None

    def restate(self) -> None:
        """Have the next checkpoint write every total anew and drop what belongs to none.

        They are read when the device opens and never before, so that nobody would notice damage to them in between.
        """
        totals = (
            ("p", self.partitions), ("b", self.buckets), ("v", self.versions), ("m", self.markers), ("f", self.floors), ("n", self.notes),
            ("k", self.live), ("q", self.purge),
        )  # fmt: skip
        for kind, names in totals:
            for name in names:
                self.changed[kind, name] = None
        self.restated = True

    def forget_pack(self, pack: int) -> None:
        """A pack was deleted."""
        self.live.pop(pack, None)
        self.changed["k", pack] = None


def _take_one(sums: dict[bytes, tuple[int, int]], bucket: bytes, size_bytes: int) -> None:
    count, size = sums.get(bucket, (0, 0))
    if count > 1:
        sums[bucket] = (count - 1, size - size_bytes)
    else:
        sums.pop(bucket, None)
