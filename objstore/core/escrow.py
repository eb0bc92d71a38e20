"""How the writers of a bucket share the room that its quota leaves; pure (ADR 10).

Every writer (a proxy) holds a portion in one ledger.  A portion covers what its holder has let in but may not show in the
devices' counters yet, and what it may still let in without asking.  So at any time

    what is held  <=  the counters  +  the sum of all portions  <=  the limit

and a portion may grow only by what the limit leaves.
"""

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from objstore.core.quota import QuotaConfig, Usage

RECORD_VERSION = 1
UNLIMITED = 1 << 62
NOTHING = Usage(0, 0)
AHEAD_S = 2.0  # for how long a portion should last at the rate of the last writes
AHEAD_WRITES = 16  # and for how many more like those that wait


class Portion(msgspec.Struct, frozen=True, array_like=True):
    """What one holder may have let in, or may yet."""

    objects: int
    bytes: int
    beat: int  # changes whenever the holder writes: one that stands still belongs to a process that is gone
    wants: bool = False  # the holder's writes wait for what others hold

    @property
    def size(self) -> Usage:
        """As a sum."""
        return Usage(self.objects, self.bytes)


class Ledger(msgspec.Struct, frozen=True, array_like=True):
    """All portions of one quota, by holder."""

    record_version: int
    portions: dict[str, Portion]


EMPTY = Ledger(RECORD_VERSION, {})
encode = msgspec.msgpack.Encoder(order="deterministic").encode
decode = msgspec.msgpack.Decoder(Ledger).decode


class Standing(NamedTuple):
    """What one holder knows when it asks for room."""

    limit: Usage
    held: Usage  # by the counters, asked for after the ledger was read
    others: Usage  # the sum of everybody else's portions
    holders: int  # how many there are, oneself included
    pending: Usage  # let in by oneself and perhaps not in `held`
    unspent: Usage  # of one's own portion
    wanted: bool  # somebody else waits for room


class Plan(NamedTuple):
    """How much of one's portion is to be unspent from now on; `short`: not all that wait could be covered."""

    unspent: Usage
    short: bool


def limit_of(config: QuotaConfig) -> Usage:
    """The limits as numbers."""
    return Usage(
        UNLIMITED if config.max_objects is None else config.max_objects, UNLIMITED if config.max_bytes is None else config.max_bytes
    )


def growth(config: QuotaConfig, objects: int, size: int) -> Usage:
    """What of a write counts: what is not limited does not, and what shrinks makes room only when the counters show it."""
    return Usage(0 if config.max_objects is None else max(0, objects), 0 if config.max_bytes is None else max(0, size))


def plan(standing: Standing, waiting: Sequence[Usage], spent_each_s: Usage) -> Plan:
    """How much to hold: what waits as far as it fits, and ahead of that a share of the rest that shrinks with it."""
    free = standing.limit.minus(standing.held).minus(standing.others).minus(standing.pending)
    granted, short = NOTHING, False
    for need in waiting:
        if free.covers(granted.plus(need)):
            granted = granted.plus(need)
        else:
            short = True
    if standing.wanted:
        return Plan(granted, short)
    rest = free.minus(granted)
    ahead = Usage(
        *(
            max(0, min(int(AHEAD_S * rate) + AHEAD_WRITES * need, left // (2 * standing.holders)))
            for rate, need, left in zip(spent_each_s, granted, rest, strict=True)
        )
    )
    # What is unspent already is covered by the ledger, and stays.
    return Plan(Usage(*map(max, granted.plus(ahead), standing.unspent)), short)


def never_fits(limit: Usage, held: Usage, need: Usage) -> bool:
    """Whether a write must be refused, whatever becomes of the portions."""
    return not limit.minus(held).covers(need)
