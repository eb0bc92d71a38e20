"""Variants of the register's rules that look right and are not; the model must catch each of them."""

import msgspec

from objstore.core.agreement import ConditionalWrite, PlainWrite
from objstore.core.machine import IssueBallot, Round, Step, Verdict
from objstore.core.quorum import Quorum
from objstore.core.reads import ReadDecision
from objstore.core.rows import Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot
from tests.support.register_model import Replica, Rules


class EverySupersededCounts(PlainWrite):
    def _confirms(self, verdict: str, base: Ballot) -> bool:
        return verdict in ("yes", "superseded")


class OriginForBase(PlainWrite):
    def _took_effect(self, top: Row) -> bool:
        return top.origin >= self.first


class OriginReplica(Replica):
    def base_of(self, row: bytes) -> Ballot:
        return decode_row(row).origin


class NoQuery(PlainWrite):
    def __init__(self, quorum: Quorum, draft: Row, operation: bytes, issue: IssueBallot) -> None:
        super().__init__(quorum, draft, operation, issue)
        self._propose(issue(ZERO))


class NoWriteBack(ReadDecision):
    def _end_registers(self) -> bool:
        return self._finish(Verdict.DONE, self._top.accepted, self._top.row)


class SupersededWriteBackCounts(ReadDecision):
    def _confirms(self, verdict: str, base: Ballot) -> bool:
        return verdict in ("yes", "superseded")


class OneVote(Quorum):
    def __init__(self, sets: object) -> None:
        super().__init__(sets)  # type: ignore[arg-type]
        self.needs = tuple(1 for _ in self.sets)


class JudgesAgain(ConditionalWrite):
    """After a lost accept: never mind that something was written above it."""

    def _end_registers(self) -> bool:
        if self._top.row and decode_row(self._top.row).operation != self._operation:
            self.first = ZERO
        return super()._end_registers()


class RefusesUnsettled(ConditionalWrite):
    def _settle(self, verdict: Verdict, *, own: bool) -> bool:
        return self._finish(verdict, self._top.accepted, self._top.row)


class OwnBallotAsBase(ConditionalWrite):
    """A row judged against nothing takes its own ballot as base, as a plain write does."""

    def _accept(self, ballot: Ballot, row: bytes, *, own: bool, sources: tuple[int, ...] = ()) -> bool:
        if own and self._mine is not None and self._mine.base == ZERO:
            self._mine = msgspec.structs.replace(self._mine, base=self._mine.origin)
            row = encode_row(self._mine)
        return super()._accept(ballot, row, own=own, sources=sources)


class ReadsPreviousSetOnly(ReadDecision):
    """During a change, a quorum of the previous set is enough to read."""

    def __init__(self, quorum: Quorum, issue: IssueBallot) -> None:
        self._both = quorum
        super().__init__(Quorum(quorum.sets[:1]), issue)

    def restart(self, quorum: Quorum) -> bool:
        self._both = quorum
        return super().restart(Quorum(quorum.sets[:1]))

    def _begin(self, round_: Round) -> bool:
        if round_.step is not Step.QUERY:
            self._quorum = self._both
        return super()._begin(round_)


BROKEN: dict[str, tuple[str, int, Rules]] = {
    # name: (the ring layout that shows it, a seed shortly before the first that does, the rules)
    "every superseded counts as success": ("three", 170, Rules(plain=EverySupersededCounts)),
    "origin in place of base": ("three", 280, Rules(plain=OriginForBase, replica=OriginReplica)),
    "no query phase": ("three", 0, Rules(plain=NoQuery)),
    "reads without write-back": ("three", 0, Rules(read=NoWriteBack)),
    "a superseded write-back counts": ("three", 190, Rules(read=SupersededWriteBackCounts)),
    "one vote is a quorum": ("three", 0, Rules(quorum=OneVote)),
    "a conditional write judges again whatever lies above it": ("three", 0, Rules(conditional=JudgesAgain)),
    "a refusal of a state that no majority holds": ("three", 0, Rules(conditional=RefusesUnsettled)),
    "own ballot as base of a row judged against nothing": ("three", 730, Rules(conditional=OwnBallotAsBase)),
    "devices do not say that they forgot tombstones": ("three", 350, Rules(floors=False)),
    "reads of the previous set only": ("flee", 50, Rules(read=ReadsPreviousSetOnly)),
    "a write starts afresh when the ring changes": ("flee", 0, Rules(fresh_on_restart=True)),
}
