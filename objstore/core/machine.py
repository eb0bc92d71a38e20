"""What all of the register's state machines share: rounds, verdicts, the feeding of answers.

The machines themselves are in agreement.py (writes) and reads.py.  A machine holds one client operation from its first round to its
end; it knows no clock and no network.  The shell sends `machine.round` to the devices in it, feeds what comes back, and sends the
next round whenever a feeding method returns True, until `verdict` is no longer PENDING.  Answers to a round that is over must not
be fed.
"""

from collections.abc import Callable, Sequence
from enum import Enum, IntEnum
from typing import ClassVar, NamedTuple

from objstore.core.quorum import Quorum, Tally
from objstore.core.rows import EMPTY, Register, Row
from objstore.core.timestamp import ZERO, Ballot

IssueBallot = Callable[[Ballot], Ballot]
"""A new ballot above the given one, unlike any other ballot."""

ATTEMPTS = 8  # prepared attempts of one operation; each lost one means a rival got in between or a majority went silent


class Step(IntEnum):
    """What a round asks."""

    QUERY = 1
    PREPARE = 2
    ACCEPT = 3
    NEWEST = 4  # the newest noncurrent versions, of devices that promised


class Verdict(Enum):
    """Where an operation stands."""

    PENDING = "pending"
    DONE = "done"  # it took effect (reads: the row is chosen)
    REFUSED = "refused"  # the judge refused a state that a majority holds
    LOST = "lost"  # too few answers; nothing was ever proposed
    UNKNOWN = "unknown"  # proposed, and it cannot be told whether it took effect: too few answers
    CONFLICT = "conflict"  # proposed, and another row lies above where it would be
    UNSETTLED = "unsettled"  # reads of a version: no quorum agrees, it must be read under a promise of the head


class Round:
    """One question to many: the same message for every device in `to`."""

    __slots__ = ("ballot", "own", "row", "sources", "step", "to", "version")

    def __init__(
        self, step: Step, to: tuple[int, ...], ballot: Ballot = ZERO, row: bytes = b"", *, own: bool = False, sources: tuple[int, ...] = (),
        version: str | None = None,
    ) -> None:  # fmt: skip
        self.step = step
        self.to = to
        self.ballot = ballot
        self.row = row  # ACCEPT: encoded
        self.own = own  # ACCEPT: the client's own row, whose bytes the shell has
        self.sources = sources  # ACCEPT of another row, or of one made of a version: devices that hold its bytes
        self.version = version  # not None: about this noncurrent version; NEWEST: only what is below it, "" for all

    def __repr__(self) -> str:
        return f"Round({self.step.name}, {self.ballot.hex()}, to={self.to}, own={self.own})"


_ABOUT_THE_HEAD = (Step.QUERY, Step.PREPARE)


class Answer(NamedTuple):
    """What one device answered to QUERY or PREPARE."""

    device: int
    register: Register
    voting: bool


class Machine:
    """What all of them share: the round in hand, its tally, and the registers that answered it."""

    __slots__ = ("_attempts", "_floor", "_quorum", "_seen", "_tally", "_top", "accepted", "answers", "first", "round", "row", "verdict")

    everyone: ClassVar[bool] = False
    """Whether a round of registers ends only when every member has answered or failed, rather than at the first quorum."""

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
            return self._without_it()
        if voting or self._quorum.seats(device, voting=False):
            self.answers.append(Answer(device, register, voting))
            self._floor = max(self._floor, floor)
            # Not from a device without a vote: it may hold what it got long ago as a handoff, deleted and forgotten since
            # by all others.  Whatever was chosen is held by a quorum of the previous set too.
            if voting and register.accepted > self._top.accepted:
                self._top = register
        tally.yes(device, voting=voting)
        if tally.reached and not (self.everyone and not tally.complete):
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

    def listed(self, device: int, rows: Sequence[Row], *, more: bool, voting: bool = True) -> bool:
        """An answer to NEWEST: noncurrent versions, `more`: there are others below.  True as above."""
        raise NotImplementedError

    def failed(self, device: int) -> bool:
        """No answer, or one that is no vote (wrong incarnation, damaged, full, unreachable).  True as above."""
        self._tally.no(device)
        return self._without_it()

    def expire(self) -> bool:
        """The round ran out of time: who has not answered has failed.  True as above."""
        for device in self.round.to:
            self._tally.no(device)
        return self._without_it()

    @property
    def only_waits(self) -> bool:
        """Whether a quorum has answered, and the others are waited for as long as that is cheap."""
        return self.everyone and self.round.step in _ABOUT_THE_HEAD and self._tally.reached

    def _without_it(self) -> bool:
        if self._tally.lost:
            return self._end_lost()
        return self.only_waits and self._tally.complete and self._end_registers()

    # -- rounds -------------------------------------------------------------------------------------------

    def _begin(self, round_: Round) -> bool:
        self.round = round_
        self._tally = Tally(self._quorum)
        self._seen = max(self._seen, round_.ballot)
        if round_.step in _ABOUT_THE_HEAD and round_.version is None:
            self.answers = []
            self._top = EMPTY
        return True

    def _prepare(self, issue: IssueBallot) -> bool:
        return self._begin(Round(Step.PREPARE, self._quorum.members, issue(self._seen)))

    def _accept(self, ballot: Ballot, row: bytes, *, own: bool, sources: tuple[int, ...] = ()) -> bool:
        assert row
        if row is self._top.row:
            sources = self.holders(self._top.accepted)
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
