"""The register's rules, proposer's side: state machines that are fed answers and say what to send next.

One key is one register of N replicas (architecture.md section 5, docs/adr/0001-agreement-per-key.md).  A machine holds one
client operation from its first round to its end; it knows no clock and no network.  The shell sends `machine.round` to the
devices in it, feeds what comes back, and sends the next round whenever a feeding method returns True, until `verdict` is
no longer PENDING.  Answers to a round that is over must not be fed.

What a machine must never do: take silence or an error for a vote; send a row at a ballot that may have carried another row;
propose the client's row afresh once an earlier proposal of it may have taken effect (it would take effect twice).  The
last is why a machine outlives a change of the ring: `restart` goes on with what it knows of its own proposals.
"""

from collections.abc import Callable
from enum import Enum, IntEnum
from typing import NamedTuple

import msgspec

from objstore.core.quorum import Quorum, Tally
from objstore.core.rows import EMPTY, Kind, Register, Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot
from objstore.errors import Refused

ATTEMPTS = 8  # prepared attempts of one operation; each lost one means a rival got in between or a majority went silent

IssueBallot = Callable[[Ballot], Ballot]
"""A new ballot above the given one, unlike any other ballot."""

JudgeRow = Callable[[Row | None], Row | None]
"""The row to propose given the current one, or None to leave it; raises Refused.  Must be pure."""


class Step(IntEnum):
    """What a round asks."""

    QUERY = 1
    PREPARE = 2
    ACCEPT = 3


class Verdict(Enum):
    """Where an operation stands."""

    PENDING = "pending"
    DONE = "done"  # it took effect (reads: the row is chosen)
    REFUSED = "refused"  # the judge refused a state that a majority holds
    LOST = "lost"  # too few answers; nothing was ever proposed
    UNKNOWN = "unknown"  # proposed, and it cannot be told whether it took effect: too few answers
    CONFLICT = "conflict"  # proposed, and another row lies above where it would be


class Round:
    """One question to many: the same message for every device in `to`."""

    __slots__ = ("ballot", "own", "row", "sources", "step", "to")

    def __init__(
        self, step: Step, to: tuple[int, ...], ballot: Ballot = ZERO, row: bytes = b"", *, own: bool = False, sources: tuple[int, ...] = ()
    ) -> None:
        self.step = step
        self.to = to
        self.ballot = ballot
        self.row = row  # ACCEPT: encoded
        self.own = own  # ACCEPT: the client's own row, whose bytes the shell has
        self.sources = sources  # ACCEPT of another row: devices that hold its bytes

    def __repr__(self) -> str:
        return f"Round({self.step.name}, {self.ballot.hex()}, to={self.to}, own={self.own})"


class Answer(NamedTuple):
    """What one device answered to QUERY or PREPARE."""

    device: int
    register: Register
    voting: bool


class _Machine:
    """What all three share: the round in hand, its tally, and the registers that answered it."""

    __slots__ = ("_attempts", "_floor", "_quorum", "_seen", "_tally", "_top", "accepted", "answers", "first", "round", "row", "verdict")

    def __init__(self, quorum: Quorum) -> None:
        self._quorum = quorum
        self._attempts = 0
        self._seen = ZERO  # the highest ballot that stands in the way anywhere, our own included
        self._floor = ZERO  # the highest ballot up to which an answering device has forgotten tombstones
        self.verdict = Verdict.PENDING
        self.accepted = ZERO  # DONE: the ballot at which `row` was chosen
        self.row = b""  # DONE: the chosen row (encoded), empty for nothing
        self.first = ZERO  # writes: the ballot of our first proposal; ZERO while nothing was proposed
        self.answers: list[Answer] = []  # to the last query or prepare
        self._top = EMPTY  # the highest of them
        self._begin(Round(Step.QUERY, quorum.members))

    # -- feeding ------------------------------------------------------------------------------------------

    def registered(self, device: int, register: Register, *, granted: bool = True, voting: bool = True, floor: Ballot = ZERO) -> bool:
        """An answer to QUERY or PREPARE.  True: the round is over, look at `verdict` and `round`.

        `floor`: tombstones up to this ballot may be gone from the device, whatever their key.
        """
        self._seen = max(self._seen, register.promised, register.accepted, floor)
        tally = self._tally
        if not granted:
            tally.no(device)
            return tally.lost and self._end_lost()
        if voting or self._quorum.seats(device, voting=False):
            self.answers.append(Answer(device, register, voting))
            self._floor = max(self._floor, floor)
            # Not from a device without a vote: it may hold what it got long ago as a handoff, deleted and forgotten since
            # by all others.  Whatever was chosen is held by a quorum of the previous set too.
            if voting and register.accepted > self._top.accepted:
                self._top = register
        tally.yes(device, voting=voting)
        if tally.reached:
            return self._end_registers()
        return tally.lost and self._end_lost()

    def answered(self, device: int, verdict: str, highest: Ballot = ZERO, base: Ballot = ZERO, *, voting: bool = True) -> bool:
        """An answer to ACCEPT.  True as above."""
        self._seen = max(self._seen, highest)
        tally = self._tally
        if self._confirms(verdict, base):
            tally.yes(device, voting=voting)
            if tally.reached:
                return self._end_accepted()
        else:
            tally.no(device)
        return tally.lost and self._end_lost()

    def failed(self, device: int) -> bool:
        """No answer, or one that is no vote (wrong incarnation, damaged, full, unreachable).  True as above."""
        self._tally.no(device)
        return self._tally.lost and self._end_lost()

    def expire(self) -> bool:
        """The round ran out of time: who has not answered has failed.  True as above."""
        for device in self.round.to:
            self._tally.no(device)
        return self._tally.lost and self._end_lost()

    # -- rounds -------------------------------------------------------------------------------------------

    def _begin(self, round_: Round) -> bool:
        self.round = round_
        self._tally = Tally(self._quorum)
        self._seen = max(self._seen, round_.ballot)
        if round_.step is not Step.ACCEPT:
            self.answers = []
            self._top = EMPTY
        return True

    def _prepare(self, issue: IssueBallot) -> bool:
        return self._begin(Round(Step.PREPARE, self._quorum.members, issue(self._seen)))

    def _accept(self, ballot: Ballot, row: bytes, *, own: bool) -> bool:
        assert row
        sources = self.holders(self._top.accepted) if row is self._top.row else ()
        return self._begin(Round(Step.ACCEPT, self._quorum.members, ballot, row, own=own, sources=sources))

    def holders(self, accepted: Ballot) -> tuple[int, ...]:
        """Devices that answered the last query or prepare with this accepted ballot, in the order they answered."""
        return tuple(answer.device for answer in self.answers if answer.register.accepted == accepted)

    def _agreed(self, accepted: Ballot) -> bool:
        """Whether a quorum (of both sets, in a change) answered that it holds the row of this ballot: it is chosen.

        Where no device with a vote holds anything there is nothing that a quorum would have to hold.
        """
        if self._top.accepted == ZERO:
            return accepted == ZERO
        return self._tally_of(accepted).reached

    def _tally_of(self, accepted: Ballot) -> Tally:
        tally = Tally(self._quorum)
        for device, register, voting in self.answers:
            if register.accepted == accepted:
                tally.yes(device, voting=voting)
        return tally

    def _forgotten(self) -> bool:
        """Whether our proposal may have been deleted again, and the tombstone reclaimed, so that no trace of it is left."""
        return self.first != ZERO and self._floor >= self.first

    def _finish(self, verdict: Verdict, accepted: Ballot = ZERO, row: bytes = b"") -> bool:
        self.verdict = verdict
        self.accepted = accepted
        self.row = row
        return True

    def _confirms(self, verdict: str, base: Ballot) -> bool:
        return verdict == "yes"

    def _end_registers(self) -> bool:
        raise NotImplementedError

    def _end_accepted(self) -> bool:
        raise NotImplementedError

    def _end_lost(self) -> bool:
        raise NotImplementedError


class PlainWrite(_Machine):
    """PUT, DELETE of a key, delete marker: multi-writer ABD, with a prepared attempt when a promise stands in the way."""

    __slots__ = ("_draft", "_issue", "_mine", "_operation", "previous")

    def __init__(self, quorum: Quorum, draft: Row, operation: bytes, issue: IssueBallot, *, survey: "Survey | None" = None) -> None:
        """With a `survey` of the same quorum that is DONE the write begins with its proposal."""
        super().__init__(quorum)
        self._draft = draft
        self._operation = operation
        self._issue = issue
        self._mine = draft
        self.previous = b""  # the highest row (encoded) that the query saw
        if survey is not None:
            assert survey.verdict is Verdict.DONE
            self._seen = survey.seen
            self.previous = survey.row
            self._propose(issue(self._seen))

    @property
    def mine(self) -> Row:
        """The row as proposed last."""
        return self._mine

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed: go on in the new one."""
        self._quorum = quorum
        if self.first == ZERO:
            return self._begin(Round(Step.QUERY, quorum.members))
        return self._prepare(self._issue)

    def _propose(self, ballot: Ballot) -> bool:
        self._mine = msgspec.structs.replace(self._draft, operation=self._operation, origin=ballot, base=ballot)
        if self.first == ZERO:
            self.first = ballot
        return self._accept(ballot, encode_row(self._mine), own=True)

    def _end_registers(self) -> bool:
        top = self._top
        if self.round.step is Step.QUERY:
            self.previous = top.row
            return self._propose(self._issue(self._seen))
        if top.row:
            row = decode_row(top.row)
            if self._took_effect(row):
                return self._accept(self.round.ballot, top.row, own=row.operation == self._operation)
        if self._forgotten():
            return self._finish(Verdict.UNKNOWN)
        return self._propose(self.round.ballot)

    def _took_effect(self, top: Row) -> bool:
        # Compared with the ballot of our *first* proposal: one of several may have been carried on by another proposer.
        return top.base >= self.first

    def _confirms(self, verdict: str, base: Ballot) -> bool:
        # Superseded by a plain write whose base lies above ours: it came after ours.  A row that was judged against what
        # stood before ours has a lower base, and then ours did not take effect there.
        return verdict == "yes" or (verdict == "superseded" and self._own_at_own_ballot() and base > self.round.ballot)

    def _own_at_own_ballot(self) -> bool:
        return self.round.own and self._mine.base == self.round.ballot

    def _end_accepted(self) -> bool:
        if self.round.own:
            self._mine = decode_row(self.round.row) if not self._own_at_own_ballot() else self._mine
        return self._finish(Verdict.DONE, self.round.ballot, self.round.row)

    def _end_lost(self) -> bool:
        if self.round.step is Step.QUERY:
            return self._finish(Verdict.LOST)
        self._attempts += 1
        if self._attempts > ATTEMPTS:
            return self._finish(Verdict.UNKNOWN)
        return self._prepare(self._issue)


class Survey(_Machine):
    """The query of a plain write, sent before the row to be written is known."""

    __slots__ = ()

    @property
    def seen(self) -> Ballot:
        """DONE: what the proposal must lie above."""
        return self._seen

    @property
    def is_empty(self) -> bool:
        """DONE: whether a quorum agrees that nothing is there, or a tombstone.

        A tombstone that fewer hold is no answer: what it was to bury may yet be read.
        """
        return self._agreed(self._top.accepted) and (not self.row or decode_row(self.row).kind == Kind.TOMBSTONE)

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed: go on in the new one."""
        self._quorum = quorum
        return self._begin(Round(Step.QUERY, quorum.members))

    def _end_registers(self) -> bool:
        return self._finish(Verdict.DONE, self._top.accepted, self._top.row)

    def _end_lost(self) -> bool:
        return self._finish(Verdict.LOST)


class ConditionalWrite(_Machine):
    """CASPaxos: prepare, judge the highest row, accept what the judge wrote."""

    __slots__ = ("_deciding", "_issue", "_judge", "_last", "_mine", "_operation", "judged", "left_alone", "refusal")

    def __init__(self, quorum: Quorum, judge: JudgeRow, operation: bytes, issue: IssueBallot) -> None:
        super().__init__(quorum)
        self._judge = judge
        self._operation = operation
        self._issue = issue
        self._mine: Row | None = None
        self._deciding = Verdict.DONE  # what the accept in hand leads to
        self._last = ZERO  # the ballot of our last proposal
        self.judged: Row | None = None  # what the judge saw last
        self.left_alone = False  # DONE because the judge wanted no change
        self.refusal: Refused | None = None
        self._prepare(issue)

    @property
    def mine(self) -> Row | None:
        """DONE: the agreed row of this operation, or the current one when the judge left it alone."""
        return self.judged if self.left_alone else self._mine

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed: go on in the new one."""
        self._quorum = quorum
        return self._prepare(self._issue)

    def _end_registers(self) -> bool:
        top = self._top
        row = decode_row(top.row) if top.row else None
        if self.first != ZERO and row is not None:
            if row.operation == self._operation:
                self._mine = row
                return self._settle(Verdict.DONE, own=True)
            if row.origin > self.first:
                return self._finish(Verdict.CONFLICT)
        if self._forgotten():
            return self._finish(Verdict.CONFLICT)
        self.judged = row
        try:
            draft = self._judge(row)
        except Refused as refusal:
            self.refusal = refusal
            return self._settle(Verdict.REFUSED, own=False)
        if draft is None:
            self.left_alone = True
            return self._settle(Verdict.DONE, own=False)
        self.left_alone = False
        ballot = self.round.ballot
        base = ZERO if row is None else row.base  # its own ballot would hide a plain write that it was judged without
        self._mine = msgspec.structs.replace(draft, operation=self._operation, origin=ballot, base=base)
        self._last = ballot
        if self.first == ZERO:
            self.first = ballot
        self._deciding = Verdict.DONE
        return self._accept(ballot, encode_row(self._mine), own=True)

    def _settle(self, verdict: Verdict, *, own: bool) -> bool:
        """End with the top row, after making sure that a quorum holds it above every proposal of ours.

        A proposal of ours that a minority accepted at a higher ballot could still be carried on by another proposer, after we
        have said that it was refused.
        """
        top = self._top
        if self._agreed(top.accepted) and (self._last == ZERO or top.accepted > self._last):
            return self._finish(verdict, top.accepted, top.row)
        if not top.row:
            return self._finish(Verdict.CONFLICT)  # there is no row to put above our proposal
        self._deciding = verdict
        return self._accept(self.round.ballot, top.row, own=own)

    def _end_accepted(self) -> bool:
        return self._finish(self._deciding, self.round.ballot, self.round.row)

    def _end_lost(self) -> bool:
        self._attempts += 1
        if self._attempts <= ATTEMPTS:
            return self._prepare(self._issue)
        return self._finish(Verdict.LOST if self.first == ZERO else Verdict.UNKNOWN)


class ReadDecision(_Machine):
    """A read: agreement, or a write-back of the higher row at its own ballot, or one identity round."""

    __slots__ = ("_issue",)

    def __init__(self, quorum: Quorum, issue: IssueBallot) -> None:
        super().__init__(quorum)
        self._issue = issue

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed: go on in the new one."""
        self._quorum = quorum
        return self._begin(Round(Step.QUERY, quorum.members))

    def _end_registers(self) -> bool:
        for _, register, _ in self.answers:
            if self._agreed(register.accepted):
                return self._finish(Verdict.DONE, register.accepted, register.row)
        if self.round.step is Step.PREPARE:
            return self._accept(self.round.ballot, self._top.row, own=False)
        return self._write_back()

    def _write_back(self) -> bool:
        top = self._top
        holders = self.holders(top.accepted)
        missing = tuple(device for device in self._quorum.members if device not in holders)
        self._begin(Round(Step.ACCEPT, missing, top.accepted, top.row, sources=holders))
        self._tally = self._tally_of(top.accepted)
        return True

    def _end_accepted(self) -> bool:
        return self._finish(Verdict.DONE, self.round.ballot, self.round.row)

    def _end_lost(self) -> bool:
        if self.round.step is Step.QUERY:
            return self._finish(Verdict.LOST)
        self._attempts += 1
        if self._attempts > ATTEMPTS:
            return self._finish(Verdict.LOST)
        return self._prepare(self._issue)


class Settlement(ReadDecision):
    """An identity round whatever the replicas answer: every one that is reached holds the chosen row afterwards.

    A read is content with a majority that agrees.  A replica that promised more than what the majority accepted would then
    stay behind for ever, since its promise keeps the row out at the ballot that it has.
    """

    __slots__ = ()

    def __init__(self, quorum: Quorum, issue: IssueBallot) -> None:
        super().__init__(quorum, issue)
        self._prepare(issue)

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed: go on in the new one."""
        self._quorum = quorum
        return self._prepare(self._issue)

    def _end_registers(self) -> bool:
        if self._top.accepted == ZERO:
            return self._finish(Verdict.DONE)
        if self._seen > self.round.ballot and self._attempts < ATTEMPTS:
            self._attempts += 1  # one that promised more refused: at this ballot it would be left out again
            return self._prepare(self._issue)
        return self._accept(self.round.ballot, self._top.row, own=False)
