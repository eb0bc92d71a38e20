"""Reading noncurrent versions under a proposer's own promise (docs/adr/0006-versions.md).

Whoever changes a head because of its other versions must know them as they are when the head is written.  A replica that promised
a ballot takes no head below it any more, and so no change of any version: what a quorum *of those that promised* shows cannot be
overtaken.  A version that fewer than a quorum hold is stored on one first, at the promised ballot, so that nobody who reads later
can miss what was judged.
"""

from collections.abc import Callable, Sequence

from objstore.core.machine import Machine, Round, Step
from objstore.core.quorum import Tally
from objstore.core.rows import Kind, Register, Row, decode_row, encode_row
from objstore.core.timestamp import ZERO, Ballot
from objstore.core.versions import age_key, is_version, kept, raised, rank

_NO_HORIZON = (0, "")


class Unread(Exception):
    """A judge asked for what was not read yet; `version` None: for the newest."""

    def __init__(self, version: str | None) -> None:
        super().__init__()
        self.version = version


class Versions:
    """What was read of the noncurrent versions; see cluster.api.Versions."""

    def __init__(self, current: Row | None, read: dict[str, Row | None], newest: "tuple[Row | None] | None") -> None:
        self._current = current
        self._read = read
        self._newest = newest

    def get(self, version: str) -> Row | None:
        """The row of a version, None when there is none."""
        current = self._current
        if current is not None and is_version(current) and current.version == version:
            return current
        if version not in self._read:
            raise Unread(version)
        row = self._read[version]
        return row if is_version(row) else None

    def newest(self) -> Row | None:
        """The newest version besides the current one."""
        if self._newest is None:
            raise Unread(None)
        return self._newest[0]


class Inquirer(Machine):
    """A machine that has prepared a ballot and may look at noncurrent versions before it goes on."""

    __slots__ = ("_buried", "_candidates", "_granted", "_heard", "_horizon", "_newest", "_read", "_resume", "_sources")

    # -- what is known ----------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        """A new promise is asked for: what was read under the last one counts no more.

        Before the first there is nothing: a plain write seldom prepares, and does not pay for this.
        """
        self._resume: Callable[[], bool] = self._end_registers
        self._read: dict[str, Row | None] = {}
        self._sources: dict[str, tuple[int, ...]] = {}  # version -> devices that hold its bytes
        self._newest: tuple[Row | None] | None = None
        self._candidates: dict[str, Row] | None = None
        self._horizon: tuple[int, str] = _NO_HORIZON  # versions older than this have not been listed by all
        self._heard: list[tuple[int, Row | None, bytes, bool]] = []  # device, row, encoded, voting
        self._buried = False  # a version that we read is gone: what we say next must stand above every head below our promise

    def _begin(self, round_: Round) -> bool:
        if round_.step is Step.PREPARE:
            self._forget()
            self._granted: Ballot = round_.ballot  # once the round has succeeded, and until the next one
        return super()._begin(round_)

    def _versions(self) -> Versions:
        return Versions(decode_row(self._top.row) if self._top.row else None, self._read, self._newest)

    def _ask_promised(self, step: Step, version: str) -> bool:
        """Ask those that promised, and nobody else: the others cannot make up for one that is silent."""
        promised = tuple(answer.device for answer in self.answers)
        self._begin(Round(step, promised, version=version))
        for device in self._quorum.members:
            if device not in promised:
                self._tally.no(device)
        return True

    # -- one version ------------------------------------------------------------------------------------------------------

    def _ask_version(self, version: str, resume: Callable[[], bool]) -> bool:
        """Read one version, then go on with `resume`."""
        self._resume = resume
        self._heard = []
        return self._ask_promised(Step.QUERY, version)

    def registered(self, device: int, register: Register, *, granted: bool = True, voting: bool = True, floor: Ballot = ZERO) -> bool:
        """As of every machine; an answer about a version is weighed by rank."""
        if self.round.version is None:
            return super().registered(device, register, granted=granted, voting=voting, floor=floor)
        self._seen = max(self._seen, register.promised, register.accepted, floor)
        if voting or self._quorum.seats(device, voting=False):
            self._heard.append((device, decode_row(register.row) if register.row else None, register.row, voting))
        self._tally.yes(device, voting=voting)
        if self._tally.reached:
            return self._end_version()
        return self._tally.lost and self._end_lost()

    def _end_version(self) -> bool:
        version = self.round.version
        assert version is not None
        top: Row | None = None
        encoded = b""
        for _, row, raw, voting in self._heard:
            if voting and row is not None and (top is None or rank(row) > rank(top)):
                top, encoded = row, raw
        self._read[version] = top
        if top is None:
            return self._resume()
        if top.origin > self._granted:
            return self._end_lost()  # somebody was faster: whatever we proposed now would rank below what we have just read
        if top.kind == Kind.TOMBSTONE:
            return self._bury(version, top)
        holding = Tally(self._quorum)
        holders = [(device, voting) for device, row, _, voting in self._heard if row is not None and rank(row) == rank(top)]
        for device, voting in holders:
            holding.yes(device, voting=voting)
        self._sources[version] = tuple(device for device, _ in holders)
        if holding.reached:
            return self._resume()
        missing = tuple(device for device in self._quorum.members if device not in self._sources[version])
        self._begin(Round(Step.ACCEPT, missing, self._granted, encoded, sources=self._sources[version], version=version))
        self._tally = holding
        return True

    def _bury(self, version: str, tombstone: Row) -> bool:
        """Make sure of a tombstone before anybody is told that the version is gone, at the rank of our own promise.

        It may be the effect of a head that nobody chose, and somebody who had not seen it may since have written a head that changes the
        version or promotes it, at a higher ballot than the tombstone's and below ours.  That head must not bring the version back.
        """
        self._buried = True
        row = raised(kept(tombstone), self._granted)
        self._read[version] = row
        return self._begin(Round(Step.ACCEPT, self._quorum.members, self._granted, encode_row(row), version=version))

    # -- the newest -------------------------------------------------------------------------------------------------------

    def _ask_newest(self, resume: Callable[[], bool], below: str = "") -> bool:
        """Find the newest version besides the current one, then go on with `resume`."""
        self._resume = resume
        if self._candidates is None:
            self._candidates = {}
            for answer in self.answers:
                # The head of one that has not heard of the current one is a version for the others.
                if answer.voting and answer.register.row:
                    self._add_candidate(decode_row(answer.register.row))
        self._horizon = _NO_HORIZON
        return self._ask_promised(Step.NEWEST, below)

    def _add_candidate(self, row: Row) -> None:
        assert self._candidates is not None
        known = self._candidates.get(row.version)
        if is_version(row) and (known is None or rank(row) > rank(known)):
            self._candidates[row.version] = row

    def listed(self, device: int, rows: Sequence[Row], *, more: bool, voting: bool = True) -> bool:
        """As of every machine."""
        assert self._candidates is not None
        if voting:
            for row in rows:
                self._add_candidate(row)
            versioned = [age_key(row) for row in rows if row.version]
            if more and versioned:
                self._horizon = max(self._horizon, min(versioned))
        self._tally.yes(device, voting=voting)
        if self._tally.reached:
            return self._choose_newest()
        return self._tally.lost and self._end_lost()

    def _choose_newest(self) -> bool:
        assert self._candidates is not None
        resume = self._resume
        current = decode_row(self._top.row) if self._top.row else None
        if current is not None and is_version(current):
            self._candidates.pop(current.version, None)
        while True:
            best = max(self._candidates.values(), key=age_key, default=None)
            if self._horizon != _NO_HORIZON and (best is None or age_key(best) < self._horizon):
                return self._ask_newest(resume, below=self._horizon[1])
            if best is None:
                self._newest = (None,)
                return resume()
            if best.version not in self._read:
                self._ask_version(best.version, resume)
                self._resume = lambda: self._chosen(resume)
                return True
            del self._candidates[best.version]
            row = self._read[best.version]
            if row is not None and is_version(row):
                self._newest = (row,)
                return resume()

    def _chosen(self, resume: Callable[[], bool]) -> bool:
        """A candidate was read; it may have been removed where others have not heard of it."""
        self._resume = resume
        return self._choose_newest()
