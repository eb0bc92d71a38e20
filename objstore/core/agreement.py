"""The register's rules, proposer's side: writes.  State machines that are fed answers and say what to send next.

One key is one register of N replicas (architecture.md section 5, docs/adr/0001-agreement-per-key.md).  A machine holds one
client operation from its first round to its end; it knows no clock and no network.  The shell sends `machine.round` to the
devices in it, feeds what comes back, and sends the next round whenever a feeding method returns True, until `verdict` is
no longer PENDING.  Answers to a round that is over must not be fed.

What a machine must never do: take silence or an error for a vote; send a row at a ballot that may have carried another row;
propose the client's row afresh once an earlier proposal of it may have taken effect (it would take effect twice).  The
last is why a machine outlives a change of the ring: `restart` goes on with what it knows of its own proposals.

Reads are in core/reads.py, what all machines share in core/machine.py.
"""

from collections.abc import Callable

import msgspec

from objstore.core.inquiry import Inquirer, Unread, Versions
from objstore.core.machine import ATTEMPTS, IssueBallot, Machine, Round, Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.rows import NEW_VERSION, Kind, Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot, version_id
from objstore.core.versions import is_version, rank, removed_at
from objstore.errors import Refused

JudgeRow = Callable[[Row | None], Row | None]
"""The row to propose given the current one, or None to leave it; raises Refused.  Must be pure."""

JudgeFamily = Callable[[Row | None, Versions], Row | None]
"""The same, with noncurrent versions on demand."""


class PlainWrite(Inquirer):
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
        if self.first == ZERO:
            self.first = ballot
        self._mine = _proposal(self._draft, self._operation, ballot, base=ballot, first=self.first)
        return self._accept(ballot, encode_row(self._mine), own=True)

    def _end_registers(self) -> bool:
        top = self._top
        if self.round.step is Step.QUERY and self.round.version is None:
            self.previous = top.row
            return self._propose(self._issue(self._seen))
        row = decode_row(top.row) if top.row else None
        if is_version(self._mine) and (_in_family(self._mine) or (row is not None and _in_family(row))):
            return self._end_prepared(row)
        if row is not None and self._took_effect(row):
            return self._accept(self._granted, top.row, own=row.operation == self._operation)
        if self._forgotten():
            return self._finish(Verdict.UNKNOWN)
        return self._propose(self._granted)

    def _end_prepared(self, row: Row | None) -> bool:
        """Go on above `row` where there are versions: ours must be on a quorum, be it as one that was overwritten."""
        mine = self._mine
        if row is not None:
            if row.operation == self._operation:
                return self._accept(self._granted, self._top.row, own=True)
            if is_version(row) and row.version == mine.version and (mine.version or self._took_effect(row)):
                return self._accept(self._granted, self._top.row, own=False)
        if self._forgotten():
            return self._finish(Verdict.UNKNOWN)
        overwritten = row is not None and self._took_effect(row)
        if row is not None and is_version(row) and row.version == mine.version:
            return self._propose(self._granted)
        if mine.version not in self._read:
            return self._ask_version(mine.version, self._end_registers)
        found = self._read[mine.version]
        if found is not None and self._is_ours_or_later(found):
            if overwritten or not is_version(found):
                return self._accept(self._granted, self._top.row, own=False) if row is not None else self._finish(Verdict.UNKNOWN)
        elif overwritten and (found is None or rank(found) < rank(mine)):
            return self._begin(Round(Step.ACCEPT, self._quorum.members, self._granted, encode_row(mine), own=True, version=mine.version))
        return self._propose(self._granted)

    def _is_ours_or_later(self, found: Row) -> bool:
        """Whether what is held under our version id is our row, or came after it."""
        # By base: the origin of an older null version rises with each change of its metadata.
        return found.base >= self.first if is_version(found) else removed_at(found) >= self.first

    def _took_effect(self, top: Row) -> bool:
        # Compared with the ballot of our *first* proposal: one of several may have been carried on by another proposer.
        return top.base >= self.first

    def _confirms(self, verdict: str, base: Ballot) -> bool:
        # Superseded by a plain write whose base lies above ours: it came after ours.  A row that was judged against what
        # stood before ours has a lower base, and then ours did not take effect there.
        if verdict != "superseded":
            return verdict == "yes"
        if self.round.version is not None:
            return self.round.own  # what is held under the same version id has come after ours
        return self._own_at_own_ballot() and base > self.round.ballot

    def _own_at_own_ballot(self) -> bool:
        return self.round.own and self._mine.base == self.round.ballot

    def _end_accepted(self) -> bool:
        if self.round.version is not None:
            return self._accept(self._granted, self._top.row, own=False) if self.round.own else self._resume()
        if self.round.own:
            self._mine = decode_row(self.round.row) if not self._own_at_own_ballot() else self._mine
        return self._finish(Verdict.DONE, self.round.ballot, self.round.row)

    def _end_lost(self) -> bool:
        if self.first == ZERO:
            return self._finish(Verdict.LOST)
        self._attempts += 1
        if self._attempts > ATTEMPTS:
            return self._finish(Verdict.UNKNOWN)
        return self._prepare(self._issue)


class Survey(Machine):
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


class ConditionalWrite(Inquirer):
    """CASPaxos: prepare, judge the highest row, accept what the judge wrote.

    Where there are versions, a row is made sure of on a quorum before another is put above it that was judged by it: it becomes a
    version then, which whoever reads later must find.
    """

    __slots__ = ("_chosen_at", "_deciding", "_issue", "_judge", "_last", "_mine", "_operation", "judged", "left_alone", "refusal")

    def __init__(self, quorum: Quorum, judge: JudgeRow, operation: bytes, issue: IssueBallot) -> None:
        super().__init__(quorum)
        self._judge = judge
        self._operation = operation
        self._issue = issue
        self._mine: Row | None = None
        self._deciding = Verdict.DONE  # what the accept in hand leads to; PENDING: to another look
        self._chosen_at = ZERO  # the ballot at which we know the top row to be chosen
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
            draft = self._ask_judge(row)
        except Unread as wanted:
            if not self._is_chosen():
                return self._choose_top()
            if wanted.version is None:
                return self._ask_newest(self._end_registers)
            return self._ask_version(wanted.version, self._end_registers)
        except Refused as refusal:
            self.refusal = refusal
            return self._end_unchanged(Verdict.REFUSED)
        self.left_alone = draft is None
        if draft is None:
            return self._end_unchanged(Verdict.DONE)
        if (_in_family(draft) or (row is not None and _in_family(row))) and not self._is_chosen():
            return self._choose_top()
        if row is not None and _hides_null(draft, row) and "" not in self._read:
            return self._ask_version("", self._end_registers)
        return self._propose(draft, row)

    def _ask_judge(self, row: Row | None) -> Row | None:
        return self._judge(row)

    def _propose(self, draft: Row, row: Row | None) -> bool:
        ballot = self._granted
        self._last = ballot
        if self.first == ZERO:
            self.first = ballot
        base = ZERO if row is None else row.base  # its own ballot would hide a plain write that it was judged without
        if row is not None and _removes(draft, row):
            # A plain write that the removed head had overwritten, and that was not among the versions yet, comes after it now.
            base = draft.base
        hidden = self._read.get("") if row is not None and _hides_null(draft, row) else None
        if hidden is not None:
            # Nothing but this row will tell the writer of a null version that his has been overwritten or removed.
            base = max(base, hidden.base if is_version(hidden) else removed_at(hidden))
        self._mine = _proposal(draft, self._operation, ballot, base=base, first=self.first)
        self._deciding = Verdict.DONE
        return self._accept(ballot, encode_row(self._mine), own=True, sources=self._sources.get(self._mine.version, ()))

    def _end_unchanged(self, verdict: Verdict) -> bool:
        if self._mine is not None and _in_family(self._mine):
            # Proposed once, and perhaps kept somewhere as a version: nobody can say that it will not be found.
            return self._finish(Verdict.CONFLICT)
        return self._settle(verdict, own=False)

    def _is_chosen(self) -> bool:
        top = self._top.accepted
        return self._agreed(top) or (top == self._chosen_at and top != ZERO)

    def _choose_top(self) -> bool:
        self._attempts += 1
        if self._attempts > ATTEMPTS:
            return self._finish(Verdict.LOST if self.first == ZERO else Verdict.UNKNOWN)
        self._deciding = Verdict.PENDING
        return self._accept(self._granted, self._top.row, own=False)

    def _settle(self, verdict: Verdict, *, own: bool) -> bool:
        """End with the top row, after making sure that a quorum holds it above every proposal of ours.

        A proposal of ours that a minority accepted at a higher ballot could still be carried on by another proposer, after we
        have said that it was refused.
        """
        top = self._top
        if self._agreed(top.accepted) and (self._last == ZERO or top.accepted > self._last) and not (self._buried and top.row):
            return self._finish(verdict, top.accepted, top.row)
        if not top.row:
            return self._finish(Verdict.CONFLICT)  # there is no row to put above our proposal
        self._deciding = verdict
        return self._accept(self._granted, top.row, own=own)

    def _end_accepted(self) -> bool:
        if self.round.version is not None:
            return self._resume()
        if self._deciding is Verdict.PENDING:
            self._chosen_at = self.round.ballot
            return self._prepare(self._issue)
        return self._finish(self._deciding, self.round.ballot, self.round.row)

    def _end_lost(self) -> bool:
        self._attempts += 1
        if self._attempts <= ATTEMPTS:
            return self._prepare(self._issue)
        return self._finish(Verdict.LOST if self.first == ZERO else Verdict.UNKNOWN)


class FamilyWrite(ConditionalWrite):
    """A conditional write by a judge that looks at noncurrent versions."""

    __slots__ = ("_family_judge",)

    def __init__(self, quorum: Quorum, judge: JudgeFamily, operation: bytes, issue: IssueBallot) -> None:
        self._family_judge = judge
        super().__init__(quorum, _no_judge, operation, issue)

    def _ask_judge(self, row: Row | None) -> Row | None:
        return self._family_judge(row, self._versions())


def _in_family(row: Row) -> bool:
    """Whether the row says that there are, or were, versions of its key."""
    return bool(row.version or row.effects)


def _removes(draft: Row, current: Row) -> bool:
    """Whether the draft takes the current version away, rather than overwriting it in place as a null version does."""
    if not is_version(current) or not draft.effects or (is_version(draft) and draft.version == current.version):
        return False
    return any(row.kind == Kind.TOMBSTONE and row.version == current.version for row in map(decode_row, draft.effects))


def _hides_null(draft: Row, current: Row) -> bool:
    """Whether the draft is a null version above another head: the null version, or what tells that it was removed, is seen no more then."""
    return is_version(draft) and not draft.version and bool(draft.effects) and not (is_version(current) and not current.version)


def _proposal(draft: Row, operation: bytes, ballot: Ballot, *, base: Ballot, first: Ballot) -> Row:
    """A draft as it is proposed at a ballot; `first` is the ballot of the operation's first proposal."""
    if not draft.version and not draft.effects:
        return msgspec.structs.replace(draft, operation=operation, origin=ballot, base=base)
    return msgspec.structs.replace(
        draft,
        operation=operation,
        origin=ballot,
        base=base,
        version=version_id(first) if draft.version == NEW_VERSION else draft.version,
        effects=tuple(encode_row(msgspec.structs.replace(decode_row(e), operation=operation, origin=ballot)) for e in draft.effects),
    )


def _no_judge(_: Row | None) -> Row | None:
    raise AssertionError
