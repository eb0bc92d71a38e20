"""The replica's side of the register rules: may it promise, may it accept (architecture.md section 5).

Pure: given what is held and what is asked, what to answer and what to hold then.  The engine makes the new register
durable before it sends the answer.  Both functions return the very same register object when nothing changes, so that
the caller sees by identity whether there is something to flush.
"""

from typing import Literal

from objstore.core.rows import Register
from objstore.core.timestamp import Ballot

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
