"""The register's rules, proposer's side: reads, and settling what replicas disagree on.

A read answers with a row only when a quorum holds it, and makes sure of that first where it does not (architecture.md section 5,
docs/adr/0001-agreement-per-key.md): two readers after each other never see a newer and then an older row.  The machines are
driven as those of core/agreement.py are.
"""

from typing import NamedTuple

from objstore.core.agreement import FamilyWrite
from objstore.core.inquiry import Versions
from objstore.core.machine import ATTEMPTS, IssueBallot, Machine, Round, Step, Verdict
from objstore.core.quorum import Quorum, Tally
from objstore.core.rows import Register, Row, decode_row
from objstore.core.timestamp import ZERO, Ballot
from objstore.core.versions import is_version, rank


class ReadDecision(Machine):
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
    stay behind for ever, since its promise keeps the row out at the ballot that it has.  For the same reason all are heard: two that
    always answer first would never learn what the third holds.
    """

    __slots__ = ()

    everyone = True

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


class VersionRead(Machine):
    """A read of a noncurrent version: what a quorum holds, by rank.

    UNSETTLED when none agrees, and when the version was removed.  A row that fewer hold may be the effect of a head that nobody chose, and
    so may a tombstone that reached a quorum by way of the daemons: only a look under a promise of the head (`LookAtVersion`) can tell,
    or the version would be gone for one reader and the latest for the next.
    """

    __slots__ = ("_best",)

    def __init__(self, quorum: Quorum, _issue: IssueBallot | None = None) -> None:
        self._best: Row | None = None
        super().__init__(quorum)

    def restart(self, quorum: Quorum) -> bool:
        """The ring changed: go on in the new one."""
        self._quorum = quorum
        return self._begin(Round(Step.QUERY, quorum.members))

    def holders(self, accepted: Ballot) -> tuple[int, ...]:
        """Devices that answered with the row that was read, whatever they accepted it at."""
        return tuple(answer.device for answer in self.answers if self._is_best(answer.register.row))

    def _is_best(self, row: bytes) -> bool:
        return self._best is not None and bool(row) and rank(decode_row(row)) == rank(self._best)

    def _end_registers(self) -> bool:
        self._find_best()
        if self._best is None:
            return self._finish(Verdict.DONE)
        return self._end_found()

    def _find_best(self) -> None:
        self._best = None
        for answer in self.answers:
            if answer.voting and answer.register.row:
                self._compare(answer.register)

    def _compare(self, register: Register) -> None:
        row = decode_row(register.row)
        if self._best is None or rank(row) > rank(self._best):
            self._best = row
            self._top = register

    def _end_found(self) -> bool:
        holders = self.holders(ZERO)
        tally = Tally(self._quorum)
        for answer in self.answers:
            if answer.device in holders:
                tally.yes(answer.device, voting=answer.voting)
        if not tally.reached or not is_version(self._best):
            return self._finish(Verdict.UNSETTLED)
        return self._finish(Verdict.DONE, self._top.accepted, self._top.row)

    def _end_accepted(self) -> bool:
        return self._finish(Verdict.DONE, self.round.ballot, self.round.row)

    def _end_lost(self) -> bool:
        return self._finish(Verdict.LOST)


class Offer(NamedTuple):
    """A row of a version that lies on devices which are no members, where it is of no use."""

    register: Register
    devices: tuple[int, ...]


class VersionSettlement(VersionRead):
    """Stores the row of a version that ranks highest anew on every replica that is reached, at one fresh ballot.

    Of the replicas' rows and, where it ranks higher still, of the `offer`.
    """

    __slots__ = ("_issue", "_offer")

    everyone = True

    def __init__(self, quorum: Quorum, issue: IssueBallot, offer: Offer | None = None) -> None:
        super().__init__(quorum)
        self._issue = issue
        self._offer = offer
        if offer is not None:
            self._seen = max(self._seen, offer.register.accepted)

    def holders(self, accepted: Ballot) -> tuple[int, ...]:
        """As of a read, and who offered it."""
        found = super().holders(accepted)
        offer = self._offer
        return found if offer is None or not self._is_best(offer.register.row) else (*found, *offer.devices)

    def _find_best(self) -> None:
        super()._find_best()
        if self._offer is not None:
            self._compare(self._offer.register)

    def _end_found(self) -> bool:
        return self._begin(Round(Step.ACCEPT, self._quorum.members, self._issue(self._seen), self._top.row, sources=self.holders(ZERO)))

    def _end_lost(self) -> bool:
        self._attempts += 1
        if self.round.step is Step.QUERY or self._attempts > ATTEMPTS:
            return self._finish(Verdict.LOST)
        return self._begin(Round(Step.QUERY, self._quorum.members))


class LookAtVersion(FamilyWrite):
    """A read of a version under a promise of the head: a conditional write that leaves everything as it is."""

    __slots__ = ("_version",)

    def __init__(self, quorum: Quorum, version: str, operation: bytes, issue: IssueBallot) -> None:
        self._version = version
        super().__init__(quorum, self._look, operation, issue)

    def _look(self, _: Row | None, versions: Versions) -> Row | None:
        versions.get(self._version)
        return None

    @property
    def found(self) -> Row | None:
        """DONE: the version, None when there is none."""
        return self._versions().get(self._version)

    @property
    def sources(self) -> tuple[int, ...]:
        """DONE: devices that hold its bytes."""
        return self._sources.get(self._version) or self.holders(self._top.accepted)
