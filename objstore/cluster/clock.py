"""The clock that a proxy issues ballots from: its own, held steady, and set back when nodes say that it is ahead of them.

Correctness never depends on it.  But nodes refuse ballots more than a minute ahead of their clocks, so a proxy whose clock is
wrong by more could not write at all.  Two things are done about it.  The wall clock is read once and carried on by the monotonic
clock, so that one that jumps while the proxy runs is not noticed.  And when so many devices refuse ballots as too far ahead that
an operation failed of it, the clock is set back to theirs.

A register that holds a ballot from the far future (a node whose clock is wrong took it) needs ballots above that one.  They come
from a clock of their own: a hybrid clock never goes back, and one such key must not push the ballots of all others ahead.
"""

from collections.abc import Iterable

from objstore.core.machine import IssueBallot
from objstore.core.quorum import Quorum, Tally
from objstore.core.timestamp import MAX_AHEAD_US, ZERO, Ballot, HybridClock, wall_us_of
from objstore.errors import BallotTooFarAhead, ObjstoreError
from objstore.runtime.clock import Clock
from objstore.runtime.rng import Rng

PROXY_ID_BYTES = 4


class BallotClock:
    """Issues the ballots of one proxy."""

    def __init__(self, clock: Clock, rng: Rng, proxy_id: int) -> None:
        self._clock = clock
        self._rng = rng
        self._hybrid = HybridClock(proxy_id)
        self._far = self._another()
        self._started_us = clock.wall_us()
        self._started_s = clock.monotonic()
        self.corrections = 0

    def now_us(self) -> int:
        """Microseconds since 1970, as far as is known."""
        return self._started_us + int((self._clock.monotonic() - self._started_s) * 1_000_000)

    def issue(self, above: Ballot) -> Ballot:
        """A new ballot above the given one, unlike any other."""
        now_us = self.now_us()
        if wall_us_of(above) > now_us + MAX_AHEAD_US:
            return self._far.issue(now_us, above)
        return self._hybrid.issue(now_us, above)

    def rising(self) -> IssueBallot:
        """`issue` for one operation: each ballot lies above the one before, also when the clock is set back in between.

        An operation that went below an earlier proposal of its own could take effect twice.
        """
        last = ZERO

        def issue(above: Ballot) -> Ballot:
            nonlocal last
            last = self.issue(max(above, last))
            return last

        return issue

    def heed(self, quorum: Quorum, failures: Iterable[tuple[int, ObjstoreError]]) -> bool:
        """After an operation failed: set the clock back if the devices that found its ballots too far ahead were enough to stop it.

        True when it was set back; trying again may then do better.  One node whose own clock is late changes nothing.
        """
        tally = Tally(quorum)
        theirs_us = []
        for device, failure in failures:
            told = failure.facts.get("wall_us") if isinstance(failure, BallotTooFarAhead) else None
            if isinstance(told, int) and device in quorum:
                tally.no(device)
                theirs_us.append(told)
        if not tally.lost or max(theirs_us) >= self.now_us():
            return False
        self._started_us = max(theirs_us)
        self._started_s = self._clock.monotonic()
        self._hybrid = self._another()
        self.corrections += 1
        return True

    def _another(self) -> HybridClock:
        # Another proxy id, since it may issue clock values that the first one has issued already.
        return HybridClock(int.from_bytes(self._rng.token(PROXY_ID_BYTES), "big"))
