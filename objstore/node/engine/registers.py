"""The replica's rules applied to what is held: what each operation appends to a batch (core/replica.py decides).

Every function here runs inside the commit loop's decision phase: it sees all that was decided before it, raises before
it appends, and never waits.  A store that lacks bytes answers NEED_BODY; its caller finds them and asks again.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from objstore.core.replica import Kept, decide_accept, decide_prepare, is_stored_below, stored_with
from objstore.core.rows import BodyKind, Kind, Register, RowKey, Space, decode_row
from objstore.core.timestamp import ZERO, Ballot
from objstore.core.versions import VERSION_KINDS, head_key, rank, speaks_of
from objstore.errors import DamagedRow, DeviceFull
from objstore.node.engine.ballast import Ballast
from objstore.node.engine.commit import Batch
from objstore.node.engine.family import Family, has_bytes_of, kept_of
from objstore.node.engine.keys import encode_key
from objstore.node.engine.records import IN_FAMILY, SHADOWED, Entry, RowHead, flags_of, head_of
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


_NO_VERSIONS: dict[str, Kept] = {}


def is_version_kind(head: RowHead) -> bool:
    """Whether a row is what a client sees as a version."""
    return head.kind in VERSION_KINDS


def _in_family(proposal: "Proposal", held: "Held") -> bool:
    """Whether noncurrent versions are concerned when a head is replaced by the proposal; never in a bucket that had none."""
    head = proposal.head
    if head.version or head.effects:
        return proposal.key.space == Space.OBJECTS
    return held.entry is not None and held.entry.flags & IN_FAMILY != 0 and proposal.key.space == Space.OBJECTS


def _shadowing(head: RowHead) -> str | None:
    """The version of a new head, unless it is written for the first time: then nothing lies under its key."""
    if not is_version_kind(head) or head.version == head.origin.hex():
        return None
    return head.version


def _version_in(entry: Entry | None) -> str | None:
    """The version that a head was."""
    if entry is None or entry.kind not in VERSION_KINDS:
        return None
    return head_of(entry.row).version if entry.flags & IN_FAMILY else ""


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
            assert key.space != Space.VERSIONS
            if old is None:
                # In full, not as a PROMISE: on replay it must also overwrite what an earlier life of the key left.
                batch.set_state(index_key, key, None, partition=partition, promised=ballot, accepted=ZERO, row=b"", head=_NO_HEAD)
            else:
                batch.set_promise(index_key, key, old, ballot)
        return granted, new

    def accept(self, batch: Batch, proposal: Proposal, ballot: Ballot) -> AcceptAnswer | NeedBody:
        """Accept.  Raises DeviceFull, DamagedRow."""
        held = self.held(batch, proposal.index_key, proposal.partition)
        register = held.register
        verdict, new = decide_accept(register, ballot, proposal.row)
        if new is register and not (verdict == "yes" and self.may_heal(held, proposal.index_key)):
            if verdict != "superseded":
                return AcceptAnswer(verdict, register.highest)
            if held.damaged:
                raise DamagedRow("a row that supersedes the proposal is damaged", key=proposal.index_key)
            if _in_family(proposal, held) and is_version_kind(proposal.head):
                return self._accept_below(batch, proposal, register, ballot)
            return AcceptAnswer(verdict, register.highest, head_of(register.row).base)
        family = self._family(batch, proposal) if _in_family(proposal, held) else None
        versions = self._versions_with(batch, family, proposal, held, ballot) if family is not None else _NO_VERSIONS
        if versions is None:
            return AcceptAnswer("no", max(register.highest, batch.floor(proposal.partition)))
        if not self._has_body(proposal, held, family):
            return NEED_BODY
        self.check_room(batch, proposal)
        if family is not None:
            family.keep(versions, held.entry)
        self._store(batch, proposal, held, family, promised=register.promised, accepted=ballot)
        return AcceptAnswer("yes", max(ballot, register.promised))

    def _accept_below(self, batch: Batch, proposal: Proposal, register: Register, ballot: Ballot) -> AcceptAnswer | NeedBody:
        """A superseded row of an object with versions: stored as a noncurrent one where it counts as done."""
        old, new = decode_row(register.row), decode_row(proposal.row)
        superseded = AcceptAnswer("superseded", register.highest, old.base)
        if not is_stored_below(register, old, ballot, new):
            open_promise = register.promised > register.accepted
            return AcceptAnswer("no", register.highest) if open_promise and new.version != old.version else superseded
        family = self._family(batch, proposal)
        stored = family.entry(new.version)
        kept = kept_of(stored)
        if kept is not None and rank(kept.row) >= rank(new):
            return superseded
        floor = batch.floor(proposal.partition)
        if kept is None and ballot <= floor:
            return AcceptAnswer("no", max(register.highest, floor))
        head = proposal.head
        if head.body == BodyKind.INLINE and head.size and proposal.payload is None:
            return NEED_BODY
        if head.body == BodyKind.BLOB and head.blob not in self._present:
            return NEED_BODY
        self.check_room(batch, proposal)
        family.store(new.version, stored, Kept(ballot, new, proposal.row), donor=None, payload=proposal.payload or b"")
        self._present.pop(head.blob, None)
        return superseded

    def merge(self, batch: Batch, proposal: Proposal, incoming: Register, floor: Ballot) -> bool | NeedBody:
        """Take over another replica's row under the accept rule, then its promise and floor.

        A damaged register takes them as they come, but nothing below what it is known to have accepted: an older row would pass
        for healed.  Raises DeviceFull, DamagedRow.
        """
        self._state.foreseen.pop(proposal.index_key, None)  # who repairs wants to know what is on the disk
        held = self.held(batch, proposal.index_key, proposal.partition)
        register = held.register
        promised = max(incoming.promised, register.promised)
        verdict, new = decide_accept(register, incoming.accepted, incoming.row)
        heals = incoming.accepted == register.accepted != ZERO and self.may_heal(held, proposal.index_key)
        if held.damaged and incoming.accepted < register.accepted and proposal.index_key not in self._state.lost:
            raise DamagedRow("a damaged row is not healed by one below it", key=proposal.index_key)
        changed = False
        takes = (verdict == "yes" and new is not register) or heals or held.damaged
        family = self._family(batch, proposal) if takes and _in_family(proposal, held) else None
        versions = self._versions_with(batch, family, proposal, held, incoming.accepted) if family is not None else _NO_VERSIONS
        if takes and versions is not None:
            if not self._has_body(proposal, held, family):
                return NEED_BODY
            self.check_room(batch, proposal)
            if family is not None:
                family.keep(versions, held.entry)
            self._store(batch, proposal, held, family, promised=promised, accepted=incoming.accepted)
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
        if key.space == Space.VERSIONS and self._speaks_of(batch, key, partition):
            return False  # it would be stored again with the next head
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
            held = self.held(batch, index_key, partition)
            if held.register.accepted != item.register.accepted or (held.entry is None and not held.damaged):
                continue
            old = held.entry or self.stand_in(index_key, partition, _NO_HEAD, b"", 0)
            if old is not None:
                batch.drop(index_key, item.key, old, floor=ZERO)
                dropped += 1
        return dropped

    def set_notes(self, batch: Batch, notes: dict[str, bytes | None]) -> None:
        """Change notes."""
        for name, value in notes.items():
            if self._state.notes.get(name) != value or name in batch.notes:
                batch.set_note(name, value)

    def _speaks_of(self, batch: Batch, key: RowKey, partition: int) -> bool:
        """Whether the head held here tells what becomes of the version of this key (core.versions.speaks_of)."""
        entry = batch.get(encode_key(head_key(key)), partition)
        return entry is not None and bool(entry.row) and speaks_of(decode_row(entry.row), key.version.hex())

    # -- helpers -------------------------------------------------------------------------------------------------------

    def held(self, batch: Batch, index_key: bytes, partition: int) -> Held:
        """What is held before an operation.  Raises DamagedRow while the journal may still know more than the index."""
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

    def may_heal(self, held: Held, index_key: bytes) -> bool:
        """Whether a row may be stored at the ballot that it has already."""
        return held.damaged or index_key in self._state.suspects

    def _family(self, batch: Batch, proposal: Proposal) -> Family:
        return Family(self._state, batch, proposal.key, proposal.partition)

    def _versions_with(self, batch: Batch, family: Family, proposal: Proposal, held: Held, accepted: Ballot) -> dict[str, Kept] | None:
        """Versions to store together with a head; None: it cannot be taken here, or not at this ballot.  Raises DamagedRow."""
        if held.damaged and proposal.index_key not in self._state.lost:
            # It may be a version that has to be kept: the journal, or else other replicas, will tell (repair.py).
            raise DamagedRow("a damaged row is not overwritten while it may be a version", key=proposal.index_key)
        floor = batch.floor(proposal.partition)
        if held.entry is not None and held.register.accepted < accepted <= floor:
            # So late a head may be a version that was removed since, and whose tombstone is gone.
            return None
        return stored_with(kept_of(held.entry), accepted, proposal.head, family.held, floor)

    def _has_body(self, proposal: Proposal, held: Held, family: Family | None = None) -> bool:
        head = proposal.head
        if head.body not in (BodyKind.INLINE, BodyKind.BLOB) or proposal.payload is not None:
            return True
        if family is not None and has_bytes_of(family.entry(head.version), head):
            return True  # a version that becomes the head again
        if head.body == BodyKind.INLINE:
            return head.size == 0
        if head.blob in self._present:
            return True
        if held.entry is None or held.entry.body != BodyKind.BLOB or proposal.index_key in self._state.suspects:
            return False
        return head_of(held.entry.row).blob == head.blob  # a blob that a row names is never purged

    def check_room(self, batch: Batch, proposal: Proposal) -> None:
        """Raises DeviceFull."""
        length = len(proposal.payload or b"")
        if length and batch.free_bytes - batch.size_bytes - length < self._ballast.reserve_bytes:
            batch.refused_for_room = True
            raise DeviceFull("the device has no room left for payloads", free_bytes=batch.free_bytes)
        active = self._state.active
        if proposal.head.kind != Kind.TOMBSTONE and (len(active.entries) > self._memtable_rows or active.bytes > self._memtable_bytes):
            raise DeviceFull("the index cannot take what waits in memory; it is full or too slow")

    def _store(self, batch: Batch, proposal: Proposal, held: Held, family: Family | None, *, promised: Ballot, accepted: Ballot) -> None:
        payload = (proposal.payload or b"") if proposal.head.body == BodyKind.INLINE else b""
        old = held.entry
        if held.damaged:
            old = self.stand_in(proposal.index_key, proposal.partition, proposal.head, proposal.row, len(payload))
        if family is not None:
            family.note_head(_shadowing(proposal.head), _version_in(old))
        donor = None
        if family is not None and proposal.head.body == BodyKind.INLINE and proposal.payload is None:
            donor = family.entry(proposal.head.version)
        if donor is not None and donor.length and has_bytes_of(donor, proposal.head):
            batch.set_moved(
                proposal.index_key, proposal.key, old, donor, promised=promised, accepted=accepted, row=proposal.row, head=proposal.head
            )
        else:
            batch.set_state(
                proposal.index_key, proposal.key, old, partition=proposal.partition, promised=promised, accepted=accepted,
                row=proposal.row, head=proposal.head, payload=payload,
            )  # fmt: skip
        self._state.healed(proposal.index_key)
        if proposal.head.body == BodyKind.BLOB:
            self._present.pop(proposal.head.blob, None)

    def stand_in(self, index_key: bytes, partition: int, head: RowHead, row: bytes, length: int, *, shadowed: bool = False) -> Entry | None:
        """An entry for a damaged one, so that totals stay right when the row that heals it is the row it was."""
        shadow = self._state.shadow(index_key, partition)
        if shadow is None:
            return None
        return Entry(
            partition, flags_of(head) | shadowed * SHADOWED, shadow.promised, shadow.accepted, head.size, shadow.pack, shadow.offset, length, 0,
            1, shadow.long_name, row,
        )  # fmt: skip
