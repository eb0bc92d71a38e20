"""Ballots: hybrid logical clock timestamps that order writes and name versions.

A ballot is 12 bytes, compared as bytes: 8 bytes big-endian hybrid clock, then 4 bytes big-endian proxy id.  The hybrid
clock's upper 52 bits are microseconds since 1970, its lower 12 bits a counter.  Unique because a proxy never issues the
same clock value twice; a proxy advances its clock past every ballot it sees (Kulkarni et al. 2014, "Logical Physical
Clocks").  Correctness never depends on the wall clock: a bad clock costs a retry.
"""

from typing import NewType

Ballot = NewType("Ballot", bytes)

BALLOT_BYTES = 12
ZERO = Ballot(bytes(BALLOT_BYTES))
COUNTER_BITS = 12
MAX_AHEAD_US = 60_000_000  # a ballot further ahead than this is refused, so that one broken clock cannot push the rest
# What is dated further ahead was dated by a clock that was wrong, and must not bind anybody until that time comes.
CLOCKS_APART_US = 3_600_000_000


def ballot_at(hybrid: int, proxy_id: int) -> Ballot:
    """Pack a hybrid clock value (64 bits) and a proxy id (32 bits)."""
    return Ballot(hybrid.to_bytes(8, "big") + proxy_id.to_bytes(4, "big"))


def hybrid_of(ballot: Ballot) -> int:
    """The hybrid clock value of a ballot."""
    return int.from_bytes(ballot[:8], "big")


def wall_us_of(ballot: Ballot) -> int:
    """Microseconds since 1970 at which the ballot was issued, as its issuer's clock saw it."""
    return int.from_bytes(ballot[:8], "big") >> COUNTER_BITS


def version_id(ballot: Ballot) -> str:
    """The ballot as an S3 version id: 24 hexadecimal digits."""
    return ballot.hex()


def parse_version_id(text: str) -> Ballot | None:
    """The ballot behind a version id, or None when the text is not one."""
    if len(text) != 2 * BALLOT_BYTES or text.strip("0123456789abcdef"):
        return None  # (a strip that leaves nothing is a test of each character in C: a generator took 2 us)
    return Ballot(bytes.fromhex(text))


class HybridClock:
    """Issues ballots for one proxy; the caller passes the wall clock, so this stays pure."""

    def __init__(self, proxy_id: int) -> None:
        assert 0 <= proxy_id < 1 << 32
        self._proxy_id = proxy_id
        self._last = 0

    def observe(self, ballot: Ballot) -> None:
        """Advance past a ballot seen in an answer."""
        self._last = max(self._last, hybrid_of(ballot))

    def issue(self, wall_us: int, above: Ballot = ZERO) -> Ballot:
        """A new ballot, higher than every one issued or observed here and than `above`."""
        self._last = max(wall_us << COUNTER_BITS, self._last + 1, hybrid_of(above) + 1)
        return ballot_at(self._last, self._proxy_id)
