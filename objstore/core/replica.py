"""The replica's side of the register rules: may it promise, may it accept (architecture.md section 5).

Pure: given what is held and what is asked, what to answer and what to hold then.  The engine makes the new register
durable before it sends the answer.  Both functions return the very same register object when nothing changes, so that
the caller sees by identity whether there is something to flush.

Noncurrent versions (docs/adr/0006-versions.md) are rows that a replica makes of the heads that it stores; `stored_with` and
`stored_below` say which.  Under a version key the row of higher rank wins (core/versions.py), and nothing is promised there.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, Protocol

from objstore.core.rows import BodyKind, Kind, Register, Row, decode_row, encode_row
from objstore.core.timestamp import BALLOT_BYTES, Ballot
from objstore.core.versions import VERSION_KINDS, is_version, raised, rank, speaks_of

Verdict = Literal["yes", "superseded", "no"]


def decide_prepare(register: Register, ballot: Ballot) -> tuple[bool, Register]:
    """Promise `ballot` when it is above everything promised and accepted here; (granted, register to hold)."""
    if ballot <= register.promised or ballot <= register.accepted:
        return False, register
    return True, Register(ballot, register.accepted, register.row)


def decide_accept(register: Register, ballot: Ballot, row_bytes: bytes) -> tuple[Verdict, Register]:
    """Store `row_bytes` at `ballot` unless a higher ballot was accepted ("superseded") or promised ("no").

    A ballot names one proposal, so a repeated accept at the accepted ballot is the same row: "yes", nothing to store.
    """
    accepted = register.accepted
    if ballot > accepted:
        if ballot >= register.promised:
            return "yes", Register(register.promised, ballot, row_bytes)
        return "no", register
    if ballot == accepted:
        return "yes", register
    return "superseded", register


class Kept(NamedTuple):
    """A row under a version key as a replica holds it, or is to hold it."""

    accepted: Ballot
    row: Row
    encoded: bytes
    of_head: bool = False  # its bytes are those of the head that is being replaced; else those held for the version


class NewHead(Protocol):
    """What of a new head says which versions are stored with it: a Row, or as much of one as the engine decodes."""

    @property
    def kind(self) -> int:
        """Row.kind."""

    @property
    def version(self) -> str:
        """Row.version."""

    @property
    def effects(self) -> tuple[bytes, ...]:
        """Row.effects."""


Held = Callable[[str], Kept | None]
"""What a replica has stored under a version key (by `Row.version`)."""


def stored_with(old: Kept | None, ballot: Ballot, new: NewHead, held: Held, floor: Ballot) -> dict[str, Kept] | None:
    """Versions to store in the batch of a head: `new`, accepted at `ballot`, over `old`.  None: bytes are lacking, answer "no".

    First the head that is replaced, unless the new one is of the same version; then the effects of the new one.  A tombstone is kept
    like a version: a replica that missed it may yet make a noncurrent version of the object that it buried.  `floor`: tombstones
    up to there may be gone from here, so that one at or below it need not be stored, and what it removed is not brought back.
    """
    found: dict[str, Kept] = {}
    if old is not None and speaks_of(old.row, old.row.version) and old.row.version != new.version:
        before = held(old.row.version)
        if before is None or rank(before.row) < rank(old.row):
            found[old.row.version] = Kept(accepted_above(old.accepted, before, old.row), old.row, old.encoded, of_head=True)
    for effect in new.effects:
        row, encoded = _at(ballot, effect)
        version = row.version
        if version == new.version and new.kind in VERSION_KINDS:
            continue  # the head stands above it
        before = found.get(version) or held(version)
        if before is not None and rank(before.row) >= rank(row):
            continue
        if row.kind == Kind.TOMBSTONE:
            if before is None and row.origin <= floor:
                continue
            found[version] = Kept(accepted_above(ballot, before, row), row, encoded)
        elif before is None or before.row.kind != row.kind or not _has_bytes_of(before.row, row):
            return None
        else:
            found[version] = Kept(accepted_above(ballot, before, row), row, encoded, before.of_head)
    return found


def _has_bytes_of(held: Row, row: Row) -> bool:
    """Whether the bytes that a changed row needs are those of the row held.

    Always for a version with an id.  The null version is overwritten in place: a replica that missed that holds others under the same key.
    """
    if row.body not in (BodyKind.INLINE, BodyKind.BLOB):
        return True
    return (held.body, held.blob, held.digest) == (row.body, row.blob, row.digest)


def _at(ballot: Ballot, effect: bytes) -> tuple[Row, bytes]:
    """An effect of a head that is accepted at a ballot.

    One that is proposed again outranks whatever heads between the two ballots did that nobody chose.
    """
    row = decode_row(effect)
    if row.origin >= ballot:
        return row, effect
    row = raised(row, ballot)
    return row, encode_row(row)


def accepted_above(ballot: Ballot, before: Kept | None, row: Row) -> Ballot:
    """At which ballot a version is stored over what there was: replicas that hold different rows must differ in this too."""
    if before is None or before.accepted < ballot:
        return ballot
    if rank(before.row) == rank(row):
        return before.accepted
    return Ballot((int.from_bytes(before.accepted, "big") + 1).to_bytes(BALLOT_BYTES, "big"))


def is_stored_below(register: Register, old: Row, ballot: Ballot, new: Row) -> bool:
    """Whether a superseded row is stored as a noncurrent version: a plain write, which counts as done before the head `old`.

    Not while a promise is open: whoever holds it may have read the versions of this replica already.
    """
    return (
        is_version(new)
        and new.version != old.version
        and new.base == ballot
        and old.base > ballot
        and register.promised <= register.accepted
    )


def decide_version(stored: Kept | None, head: Register, above: Row | None, ballot: Ballot, new: Row, floor: Ballot) -> tuple[Verdict, bool]:
    """An accept under a version key: (verdict, whether to store the row at `ballot`).

    `stored` is what the key holds, `head` the register of the object's head, `above` its row when that is the version in question.
    A ballot that is to be stored while a promise of the head is open must not be below it, and the promise is then raised to it: who
    was promised may have read the versions already, and must read them again.
    """
    order = rank(new)
    if (above is not None and rank(above) > order) or (stored is not None and rank(stored.row) > order):
        return "superseded", False
    if stored is not None and rank(stored.row) == order and stored.accepted >= ballot:
        return "yes", False
    if (stored is None and ballot <= floor) or is_promised_above(head, ballot):
        return "no", False
    return "yes", True


def is_promised_above(head: Register, ballot: Ballot) -> bool:
    """Whether a proposer of the head was promised more than `ballot` and has not been heard of since."""
    return head.promised > head.accepted and ballot < head.promised
