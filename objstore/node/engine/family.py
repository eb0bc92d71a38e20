"""The noncurrent versions of one object on one device: looked up for the rules in core/replica.py, and stored as these say.

A version is stored before the head that causes it, in the same batch and tied to it: a flush that is cut short leaves both or
neither (pack_format.TIED), since the version's entry says whether it is the head, by which bucket counters count it.  Bytes that
are here already are not written again: the version's record names the place where they lie (pack_format.RecordType.MOVED).
"""

from objstore.core.replica import Kept
from objstore.core.rows import BodyKind, Kind, RowKey, decode_row
from objstore.core.timestamp import ZERO
from objstore.core.versions import VERSION_KINDS, version_key
from objstore.errors import DamagedRow
from objstore.node.engine.commit import Batch
from objstore.node.engine.keys import encode_key
from objstore.node.engine.pack_format import TIED
from objstore.node.engine.records import SHADOWED, Entry, RowHead, head_of
from objstore.node.engine.state import State


def kept_of(entry: Entry | None) -> Kept | None:
    """An entry as the rules see it; None for nothing accepted."""
    if entry is None or not entry.row:
        return None
    return Kept(entry.accepted, decode_row(entry.row), entry.row)


def has_bytes_of(entry: Entry | None, head: RowHead) -> bool:
    """Whether an entry is of the same version and names the very bytes that its row needs.

    Of the same version, since compaction looks for who lives off a payload by version only.
    """
    if entry is None or entry.flags >> 4 & 15 != head.body or entry.kind not in VERSION_KINDS:
        return False
    mine = head_of(entry.row)
    if mine.version != head.version:
        return False
    if head.body == BodyKind.BLOB:
        return mine.blob == head.blob
    return bool(head.digest) and mine.digest == head.digest


def is_head_too(head: Entry | None, version: str) -> bool:
    """Whether the head held here is that version (`Row.version`): then bucket counters count the head, and not the entry under its own key."""
    return head is not None and head.kind in VERSION_KINDS and head_of(head.row).version == version


def is_miscounted(entry: Entry, head: Entry | None, version: str) -> bool:
    """Whether an entry under a version key says otherwise."""
    return entry.kind in VERSION_KINDS and bool(entry.flags & SHADOWED) is not is_head_too(head, version)


class Family:
    """The versions of one object, as one operation of a batch sees them.  Methods raise DamagedRow.

    It is made anew for each operation, and whatever the operation does to a version goes through `store`: so each is looked up once.
    """

    def __init__(self, state: State, batch: Batch, head: RowKey, partition: int) -> None:
        self._state = state
        self._batch = batch
        self._head = head
        self._partition = partition
        self._entries: dict[str, Entry | None] = {}
        self._keys: dict[str, tuple[RowKey, bytes]] = {}

    def _key(self, version: str) -> tuple[RowKey, bytes]:
        """A version's key, and its index key."""
        keys = self._keys.get(version)
        if keys is None:
            key = version_key(self._head, version)
            keys = self._keys[version] = key, encode_key(key)
        return keys

    def entry(self, version: str) -> Entry | None:
        """What is stored under a version key."""
        if version not in self._entries:
            self._entries[version] = self._batch.get(self._key(version)[1], self._partition)
        return self._entries[version]

    def held(self, version: str) -> Kept | None:
        """The same for the rules."""
        return kept_of(self.entry(version))

    def keep(self, versions: dict[str, Kept], head: Entry | None) -> None:
        """Store versions; `head` is the entry of the head that is replaced."""
        for version, kept in versions.items():
            stored = self.entry(version)
            self.store(version, stored, kept, donor=head if kept.of_head else stored, tied=True)

    def note_head(self, version: str | None, before: str | None) -> None:
        """The head becomes this version (None: none), and was `before`: bucket counters count a version that is the head once.

        A version that is written for the first time has nothing under its key, and need not be given here.
        """
        for name, shadowed in ((before, False), (version, True)):
            if name is None or (not shadowed and name == version):
                continue
            try:
                stored = self.entry(name)
            except DamagedRow:
                continue  # what heals it counts it
            if stored is None or stored.kind not in VERSION_KINDS or bool(stored.flags & SHADOWED) is shadowed:
                continue
            kept = kept_of(stored)
            assert kept is not None
            self.store(name, stored, kept, donor=stored, shadowed=shadowed, tied=True)

    def recount(self, version: str) -> bool:
        """Mend what the entry of a version says of being the head; whether it was wrong."""
        stored, head = self.entry(version), self._batch.get(encode_key(self._head), self._partition)
        kept = kept_of(stored)
        if stored is None or kept is None or not is_miscounted(stored, head, version):
            return False
        self.store(version, stored, kept, donor=stored, shadowed=not stored.flags & SHADOWED)
        return True

    def store(
        self, version: str, stored: Entry | None, kept: Kept, *, donor: Entry | None, payload: bytes | memoryview = b"",
        shadowed: bool = False, tied: bool = False,
    ) -> None:  # fmt: skip
        """Store one version, with a payload or with the bytes of `donor`; `tied`: to what is stored next."""
        key, index_key = self._key(version)
        row = kept.row
        self._batch.flags = TIED if tied else 0
        if row.body == BodyKind.INLINE and not payload and donor is not None and donor.length:
            self._entries[version] = self._batch.set_moved(
                index_key, key, stored, donor, promised=ZERO, accepted=kept.accepted, row=kept.encoded, head=row, shadowed=shadowed
            )
        else:
            self._entries[version] = self._batch.set_state(
                index_key, key, stored, partition=self._partition, promised=ZERO, accepted=kept.accepted,
                row=kept.encoded, head=row, payload=payload, shadowed=shadowed,
            )  # fmt: skip
        self._batch.flags = 0
        if row.kind == Kind.TOMBSTONE or payload:
            self._state.healed(index_key)
        elif kept.of_head and self._state.suspects and encode_key(self._head) in self._state.suspects:
            self._state.suspect(index_key, self._partition)  # its bytes may be damaged: that is not forgotten with the head
