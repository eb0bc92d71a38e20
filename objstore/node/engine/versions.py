"""Registers of noncurrent versions: what is accepted and merged under a version key (docs/adr/0006-versions.md).

Nothing is promised here; the row of higher rank wins (core/replica.py decides).  While the head held here is the version in
question it stands for it as well: see `seen`.
"""

from collections.abc import Callable

from objstore.core.replica import Kept, accepted_above, decide_version, is_promised_above
from objstore.core.rows import EMPTY, BodyKind, Kind, Register, Row, RowKey, decode_row
from objstore.core.timestamp import ZERO, Ballot
from objstore.core.versions import VERSION_KINDS, head_key, rank, speaks_of
from objstore.errors import DamagedRow
from objstore.node.engine.commit import Batch
from objstore.node.engine.family import Family, has_bytes_of, is_head_too, kept_of
from objstore.node.engine.keys import encode_key
from objstore.node.engine.records import Entry, head_of
from objstore.node.engine.registers import NEED_BODY, Held, NeedBody, Proposal, Registers, register_of
from objstore.node.engine.state import State
from objstore.wire.messages import AcceptAnswer

Get = Callable[[bytes, int], Entry | None]
_SPEAKING = (*VERSION_KINDS, int(Kind.TOMBSTONE))  # kinds of heads that tell what becomes of a version


def seen(get: Get, key: RowKey, partition: int, floor: Ballot) -> tuple[Register, Entry | None, bytes]:
    """What a replica answers for a version key: (register, the entry that it is made of, its index key).

    The head when that is the version, whatever is stored: what ranks higher is then the effect of a head that was not chosen, or
    that has not come here yet, and the reader will see that others differ.  An open promise of the head counts as one of the version: a row that
    is to be stored here must lie above it.  Raises DamagedRow.
    """
    index_key, head_index = encode_key(key), encode_key(head_key(key))
    stored, head = get(index_key, partition), get(head_index, partition)
    entry, at = stored, index_key
    if head is not None and _stands_for(head, stored, key):
        entry, at = head, head_index
    register = register_of(entry, floor)
    promised = register.promised if entry is None else ZERO
    if head is not None and head.promised > head.accepted:
        promised = max(promised, head.promised)
    return Register(promised, register.accepted, register.row), entry, at


def _stands_for(head: Entry, stored: Entry | None, key: RowKey) -> bool:
    """Whether the head answers for a version: it is that version, or it is what says that the null version is gone."""
    version = key.version.hex()
    if head.kind in VERSION_KINDS:
        return head_of(head.row).version == version
    if head.kind != Kind.TOMBSTONE or version:
        return False
    row = decode_row(head.row)
    return speaks_of(row, version) and (stored is None or not stored.row or rank(row) >= rank(decode_row(stored.row)))


class VersionRegisters:
    """Decisions under version keys; see registers.py."""

    def __init__(self, state: State, present: dict[bytes, None], registers: Registers) -> None:
        self._state = state
        self._present = present
        self._registers = registers

    def accept(self, batch: Batch, proposal: Proposal, ballot: Ballot) -> AcceptAnswer | NeedBody:
        """Store a version that a reader found on others, or that its writer brings.  Raises DeviceFull, DamagedRow."""
        held = self._registers.held(batch, proposal.index_key, proposal.partition)
        head, above = self._head(batch, proposal)
        new = decode_row(proposal.row)
        stored = kept_of(held.entry)
        floor = batch.floor(proposal.partition)
        register = register_of(head, floor) if head is not None else EMPTY
        highest = max(held.register.accepted, register.highest, floor)
        if held.damaged and ballot <= held.register.accepted:
            raise DamagedRow("a damaged row is not healed by one below it", key=proposal.index_key)
        verdict, stores = decide_version(stored, register, above, ballot, new, floor)
        if not stores:
            return AcceptAnswer(verdict, highest)
        if not self._has_body(proposal, held, head):
            return NEED_BODY
        self._registers.check_room(batch, proposal)
        if head is not None and head.promised > head.accepted and ballot > head.promised:
            batch.set_promise(encode_key(head_key(proposal.key)), head_key(proposal.key), head, ballot)
            head = batch.get(encode_key(head_key(proposal.key)), proposal.partition)
        self._store(batch, proposal, held, head, Kept(accepted_above(ballot, stored, new), new, proposal.row))
        return AcceptAnswer("yes", max(ballot, highest))

    def merge(self, batch: Batch, proposal: Proposal, incoming: Register, floor: Ballot) -> bool | NeedBody:
        """Take over another replica's row when it ranks higher, and its floor.  Raises DeviceFull, DamagedRow.

        A row that is unknown here and began below the floor is refused: it may have been removed, and the tombstone reclaimed.
        So is any while a promise of the head stands above it.  A read of the version stores it here where it is right.
        """
        changed: bool | NeedBody = False
        if proposal.row:
            changed = self._merge_row(batch, proposal, incoming.accepted)
            if isinstance(changed, NeedBody):
                return changed
        if floor > batch.floor(proposal.partition):
            batch.set_floor(proposal.partition, floor)
            changed = True
        return changed

    def _merge_row(self, batch: Batch, proposal: Proposal, accepted: Ballot) -> bool | NeedBody:
        held = self._registers.held(batch, proposal.index_key, proposal.partition)
        lost = proposal.index_key in self._state.lost
        if held.damaged and accepted < held.register.accepted and not lost:
            raise DamagedRow("a damaged row is not healed by one below it", key=proposal.index_key)
        head, above = self._head(batch, proposal)
        new = decode_row(proposal.row)
        stored = kept_of(held.entry)
        heals = stored is not None and rank(stored.row) == rank(new) and self._registers.may_heal(held, proposal.index_key)
        if not held.damaged and not heals:
            floor = batch.floor(proposal.partition)
            register = register_of(head, floor) if head is not None else EMPTY
            if stored is None and new.origin <= floor:
                return False
            if not decide_version(stored, register, above, accepted, new, floor)[1]:
                return False
        elif head is not None and is_promised_above(register_of(head, batch.floor(proposal.partition)), accepted) and not heals:
            raise DamagedRow("a damaged row is not healed while a promise stands above it", key=proposal.index_key)
        if not self._has_body(proposal, held, head):
            return NEED_BODY
        self._registers.check_room(batch, proposal)
        kept = Kept(accepted_above(accepted, stored, new), new, proposal.row)
        self._store(batch, proposal, held, head, kept)
        return True

    def _head(self, batch: Batch, proposal: Proposal) -> tuple[Entry | None, Row | None]:
        """The entry of the object's head, and its row when that is this version."""
        head = batch.get(encode_key(head_key(proposal.key)), proposal.partition)
        if head is None or head.kind not in _SPEAKING:
            return head, None
        row = decode_row(head.row)
        return head, row if speaks_of(row, proposal.key.version.hex()) else None

    def _has_body(self, proposal: Proposal, held: Held, head: Entry | None) -> bool:
        row = proposal.head
        if row.body == BodyKind.INLINE:
            return row.size == 0 or proposal.payload is not None or self._donor(proposal, held, head) is not None
        if row.body != BodyKind.BLOB or row.blob in self._present:
            return True
        return self._donor(proposal, held, head) is not None

    def _donor(self, proposal: Proposal, held: Held, head: Entry | None) -> Entry | None:
        """Who holds the bytes here: the version as it is stored, or the head."""
        suspects = self._state.suspects
        if proposal.index_key not in suspects and has_bytes_of(held.entry, proposal.head):
            return held.entry
        if encode_key(head_key(proposal.key)) not in suspects and has_bytes_of(head, proposal.head):
            return head
        return None

    def _store(self, batch: Batch, proposal: Proposal, held: Held, head: Entry | None, kept: Kept) -> None:
        family = Family(self._state, batch, head_key(proposal.key), proposal.partition)
        row = proposal.head
        old = held.entry
        payload = (proposal.payload or b"") if row.body == BodyKind.INLINE else b""
        shadowed = is_head_too(head, kept.row.version)
        if held.damaged:
            old = self._registers.stand_in(proposal.index_key, proposal.partition, row, proposal.row, len(payload), shadowed=shadowed)
        donor = None if payload else self._donor(proposal, held, head)
        family.store(kept.row.version, old, kept, donor=donor, payload=payload, shadowed=shadowed)
        self._state.healed(proposal.index_key)
        if row.body == BodyKind.BLOB:
            self._present.pop(row.blob, None)
