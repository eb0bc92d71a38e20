"""The replica's rules applied to what is held: what each operation appends to a batch (core/replica.py decides).

Every function here runs inside the commit loop's decision phase: it sees all that was decided before it, raises before
it appends, and never waits.  A store that lacks bytes answers NEED_BODY; its caller finds them and asks again.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from objstore.core.replica import decide_accept, decide_prepare
from objstore.core.rows import BodyKind, Kind, Register, RowKey
from objstore.core.timestamp import ZERO, Ballot
from objstore.errors import DamagedRow, DeviceFull
from objstore.node.engine.ballast import Ballast
from objstore.node.engine.commit import Batch
from objstore.node.engine.keys import encode_key
from objstore.node.engine.records import Entry, RowHead, flags_of, head_of
from objstore.node.engine.settings import EngineSettings
from objstore.node.engine.state import State
from objstore.wire.messages import AcceptAnswer, PartitionRow


class NeedBody:
    """The type of NEED_BODY."""


NEED_BODY: Final = NeedBody()
_NO_HEAD = head_of(b"")


class Held(msgspec.Struct, frozen=True, gc=False):
    """What a register holds before an operation.  `damaged`: the entry was bad, `register` is what is known of it."""

    entry: Entry | None
    register: Register
    damaged: bool = False


class Proposal(msgspec.Struct, frozen=True, gc=False):
    """A row on its way in, decoded as far as needed."""

    index_key: bytes
    key: RowKey
    partition: int
    row: bytes
    head: RowHead
    payload: bytes | memoryview | None


def register_of(entry: Entry | None, floor: Ballot) -> Register:
    """What a replica answers for an entry; an absent one counts as promised up to the floor."""
    return Register(floor) if entry is None else Register(entry.promised, entry.accepted, entry.row)


class Registers:
    """Decisions of one device."""

    def __init__(self, state: State, present: dict[bytes, None], ballast: Ballast, settings: EngineSettings) -> None:
        self._state = state
        self._present = present
        self._ballast = ballast
        self._memtable_rows = settings.checkpoint_rows * settings.memtable_limit
        self._memtable_bytes = settings.checkpoint_bytes * settings.memtable_limit

    # -- operations --------------------------------------------------------------------------------------------------

    def prepare(self, batch: Batch, index_key: bytes, key: RowKey, partition: int, ballot: Ballot) -> tuple[bool, Register]:
        """Promise.  Raises DamagedRow: what was promised before is not known well enough to vote."""
        old = batch.get(index_key, partition)
        register = register_of(old, batch.floor(partition))
        granted, new = decide_prepare(register, ballot)
        if granted:
            if old is None:
                # In full, not as a PROMISE: on replay it must also overwrite what an earlier life of the key left.
                batch.set_state(index_key, key, None, partition=partition, promised=ballot, accepted=ZERO, row=b"", head=_NO_HEAD)
            else:
                batch.set_promise(index_key, key, old, ballot)
        return granted, new

    def accept(self, batch: Batch, proposal: Proposal, ballot: Ballot) -> AcceptAnswer | NeedBody:
        """Accept.  Raises DeviceFull, DamagedRow."""
        held = self._held(batch, proposal.index_key, proposal.partition)
        register = held.register
        verdict, new = decide_accept(register, ballot, proposal.row)
        if new is register and not (verdict == "yes" and self._may_heal(held, proposal.index_key)):
            if verdict != "superseded":
                return AcceptAnswer(verdict, register.highest)
            if held.damaged:
                raise DamagedRow("a row that supersedes the proposal is damaged", key=proposal.index_key)
            return AcceptAnswer(verdict, register.highest, head_of(register.row).base)
        if not self._has_body(proposal, held):
            return NEED_BODY
        self._check_room(batch, proposal)
        self._store(batch, proposal, held, promised=register.promised, accepted=ballot)
        return AcceptAnswer("yes", max(ballot, register.promised))

    def merge(self, batch: Batch, proposal: Proposal, incoming: Register, floor: Ballot) -> bool | NeedBody:
        """Take over another replica's row under the accept rule, then its promise and floor.

        A damaged register takes them as they come, but nothing below what it is known to have accepted: an older row would pass
        for healed.  Raises DeviceFull, DamagedRow.
        """
        held = self._held(batch, proposal.index_key, proposal.partition)
        register = held.register
        promised = max(incoming.promised, register.promised)
        verdict, new = decide_accept(register, incoming.accepted, incoming.row)
        heals = incoming.accepted == register.accepted != ZERO and self._may_heal(held, proposal.index_key)
        if held.damaged and incoming.accepted < register.accepted and proposal.index_key not in self._state.lost:
            raise DamagedRow("a damaged row is not healed by one below it", key=proposal.index_key)
        changed = False
        if (verdict == "yes" and new is not register) or heals or held.damaged:
            if not self._has_body(proposal, held):
                return NEED_BODY
            self._check_room(batch, proposal)
            self._store(batch, proposal, held, promised=promised, accepted=incoming.accepted)
            changed = True
        elif promised > register.promised:
            changed = True
            if held.entry is None:
                batch.set_state(
                    proposal.index_key, proposal.key, None,
                    partition=proposal.partition, promised=promised, accepted=ZERO, row=b"", head=_NO_HEAD,
                )  # fmt: skip
            else:
                batch.set_promise(proposal.index_key, proposal.key, held.entry, promised)
        if floor > batch.floor(proposal.partition):
            batch.set_floor(proposal.partition, floor)
            changed = True
        return changed

    def reclaim(self, batch: Batch, index_key: bytes, key: RowKey, partition: int, ballot: Ballot) -> bool:
        """Drop a tombstone and raise the floor.  Raises DamagedRow.

        Not while a promise above the tombstone stands: the floor would not keep that promise.
        """
        old = batch.get(index_key, partition)
        if old is None:
            if ballot > batch.floor(partition):
                batch.set_floor(partition, ballot)
            return True
        if old.accepted != ballot or old.kind != Kind.TOMBSTONE or old.promised > ballot:
            return False
        batch.drop(index_key, key, old, floor=ballot)
        return True

    def raise_floor(self, batch: Batch, partition: int, floor: Ballot) -> None:
        """Raise a partition's floor; never lower it."""
        if floor > batch.floor(partition):
            batch.set_floor(partition, floor)

    def drop(self, batch: Batch, items: Sequence[PartitionRow], partition: int) -> int:
        """Forget registers whose accepted ballot still matches; a damaged one counts by what is known of it."""
        dropped = 0
        for item in items:
            index_key = encode_key(item.key)
            held = self._held(batch, index_key, partition)
            if held.register.accepted != item.register.accepted or (held.entry is None and not held.damaged):
                continue
            old = held.entry or self._stand_in(index_key, partition, _NO_HEAD, b"", 0)
            if old is not None:
                batch.drop(index_key, item.key, old, floor=ZERO)
                dropped += 1
        return dropped

    def set_notes(self, batch: Batch, notes: dict[str, bytes | None]) -> None:
        """Change notes."""
        for name, value in notes.items():
            if self._state.notes.get(name) != value or name in batch.notes:
                batch.set_note(name, value)

    # -- helpers -------------------------------------------------------------------------------------------------------

    def _held(self, batch: Batch, index_key: bytes, partition: int) -> Held:
        try:
            entry = batch.get(index_key, partition)
        except DamagedRow:
            shadow = self._state.shadow(index_key, partition)
            if shadow is None:
                if index_key not in self._state.lost:
                    raise  # the journal may still know it: see repair.py
                # No promise given here can be above the highest ballot ever seen here.
                return Held(None, Register(self._state.totals.highest), damaged=True)
            return Held(None, Register(shadow.promised, shadow.accepted), damaged=True)
        return Held(entry, register_of(entry, batch.floor(partition)))

    def _may_heal(self, held: Held, index_key: bytes) -> bool:
        return held.damaged or index_key in self._state.suspects

    def _has_body(self, proposal: Proposal, held: Held) -> bool:
        head = proposal.head
        if head.body == BodyKind.INLINE:
            return proposal.payload is not None or head.size == 0
        if head.body != BodyKind.BLOB or head.blob in self._present:
            return True
        if held.entry is None or held.entry.body != BodyKind.BLOB or proposal.index_key in self._state.suspects:
            return False
        return head_of(held.entry.row).blob == head.blob  # a blob that a row names is never purged

    def _check_room(self, batch: Batch, proposal: Proposal) -> None:
        length = len(proposal.payload or b"")
        if length and batch.free_bytes - batch.size_bytes - length < self._ballast.reserve_bytes:
            batch.refused_for_room = True
            raise DeviceFull("the device has no room left for payloads", free_bytes=batch.free_bytes)
        active = self._state.active
        if proposal.head.kind != Kind.TOMBSTONE and (len(active) > self._memtable_rows or active.bytes > self._memtable_bytes):
            raise DeviceFull("the index cannot take what waits in memory; it is full or too slow")

    def _store(self, batch: Batch, proposal: Proposal, held: Held, *, promised: Ballot, accepted: Ballot) -> None:
        payload = (proposal.payload or b"") if proposal.head.body == BodyKind.INLINE else b""
        old = held.entry
        if held.damaged:
            old = self._stand_in(proposal.index_key, proposal.partition, proposal.head, proposal.row, len(payload))
        batch.set_state(
            proposal.index_key, proposal.key, old, partition=proposal.partition, promised=promised, accepted=accepted,
            row=proposal.row, head=proposal.head, payload=payload,
        )  # fmt: skip
        self._state.healed(proposal.index_key)
        if proposal.head.body == BodyKind.BLOB:
            self._present.pop(proposal.head.blob, None)

    def _stand_in(self, index_key: bytes, partition: int, head: RowHead, row: bytes, length: int) -> Entry | None:
        """An entry for a damaged one, so that totals stay right when the row that heals it is the row it was."""
        shadow = self._state.shadow(index_key, partition)
        if shadow is None:
            return None
        return Entry(
            partition, flags_of(head), shadow.promised, shadow.accepted, head.size, shadow.pack, shadow.offset, length, 0,
            1, shadow.long_name, row,
        )  # fmt: skip
