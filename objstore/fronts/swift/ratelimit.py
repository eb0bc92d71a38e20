"""Limits on how often an account and a container are asked: requests that come too fast wait, those that would wait too long get 498.

As in Swift, containers are made and removed at a rate for each account; objects are written, and containers listed, at a rate for each
container that may depend on how many objects that has: {"1000" = 50.0, "100000" = 10.0} leaves containers below 1,000 objects alone, and
between two sizes takes the rate that lies between theirs.  What is counted is counted by each proxy for itself: divide the rates by
their number.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from objstore.errors import ObjstoreError
from objstore.fronts.swift.answers import TEXT, Answer
from objstore.fronts.swift.context import SwiftFront, SwiftSettings
from objstore.fronts.swift.request import SwiftRequest
from objstore.objects.api import Principal
from objstore.runtime.clock import Clock
from objstore.runtime.config import ConfigError

Steps = Sequence[tuple[int, float]]
_KEPT = 100_000
_SIZE_FRESH_S = 60.0
_WRITES = frozenset(("PUT", "POST", "DELETE", "COPY"))


class Paces:
    """When each name may be used again.  A name that was not used for `buffer_s` has that long a burst."""

    def __init__(self, buffer_s: float) -> None:
        self._buffer_s = buffer_s
        self._free: OrderedDict[str, float] = OrderedDict()

    def wait_s(self, name: str, rate: float, now: float, most_s: float) -> float | None:
        """How long to wait for a turn, which is then taken; None: longer than `most_s`, and none is taken."""
        free = max(self._free.pop(name, 0.0), now - self._buffer_s)
        wait = max(0.0, free - now)
        taken = wait <= most_s
        self._free[name] = free + 1.0 / rate if taken else free
        if len(self._free) > _KEPT:
            self._free.popitem(last=False)
        return wait if taken else None


class RateLimits:
    """The limits of one proxy."""

    def __init__(self, settings: SwiftSettings, clock: Clock) -> None:
        """Raises ConfigError for sizes and rates that are none."""
        self._settings = settings
        self._clock = clock
        self._writes = steps_of(settings.container_ratelimit)
        self._listings = steps_of(settings.container_listing_ratelimit)
        self._paces = Paces(settings.rate_buffer_s)
        self._sizes: OrderedDict[tuple[str, str], tuple[float, int]] = OrderedDict()
        blocked = settings.account_blacklist
        self.on = bool(settings.account_ratelimit > 0 or self._writes or self._listings or blocked)

    async def admit(self, front: SwiftFront, request: SwiftRequest) -> Answer | None:
        """Wait for the request's turn; the refusal where that would take too long."""
        settings = self._settings
        if request.account in settings.account_blacklist:
            return Answer(497, [TEXT], b"Your account has been blacklisted")
        if request.account in settings.account_whitelist:
            return None
        name, rate = await self._rate_of(front, request)
        if rate <= 0:
            return None
        if request.who.account != request.who.home and not request.who.levels:
            name += "/others"  # who come too often, and perhaps are refused in the end, take no turn of the account's own
        wait = self._paces.wait_s(name, rate, self._clock.monotonic(), settings.max_sleep_s)
        if wait is None:
            return Answer(498, [TEXT], b"Slow down")
        if wait > 0:
            await self._clock.sleep(wait)
        return None

    async def _rate_of(self, front: SwiftFront, request: SwiftRequest) -> tuple[str, float]:
        method = request.method
        if not request.container:
            return "", 0.0
        if not request.key and method in ("PUT", "DELETE"):
            return request.account, self._settings.account_ratelimit
        steps = self._writes if request.key and method in _WRITES else self._listings if not request.key and method == "GET" else ()
        if not steps:
            return "", 0.0
        # Containers' names hold no slash, so names of the three kinds differ.
        kind = "write" if request.key else "list"
        return f"{kind}/{request.account}/{request.container}", rate_at(steps, await self._size(front, request))

    async def _size(self, front: SwiftFront, request: SwiftRequest) -> int:
        """How many objects the container holds, a minute old at most; 0 where that cannot be told."""
        where, now = (request.who.home, request.container), self._clock.monotonic()
        known = self._sizes.get(where)
        if known is not None and now - known[0] < _SIZE_FRESH_S:
            return known[1]
        owner = Principal(account=request.who.home).at(request.who.home)
        try:
            size = (await front.store.container_usage(owner, request.container)).objects
        except ObjstoreError:
            return 0
        self._sizes[where] = (now, size)
        if len(self._sizes) > _KEPT:
            self._sizes.popitem(last=False)
        return size


def steps_of(settings: Mapping[str, float]) -> Steps:
    """(objects, requests a second), by size.  Raises ConfigError."""
    try:
        steps = sorted((int(size), float(rate)) for size, rate in settings.items())
    except ValueError:
        raise ConfigError(f"rate limits are numbers of objects with rates, not {dict(settings)!r}") from None
    if any(size < 0 or rate <= 0 for size, rate in steps):
        raise ConfigError("rate limits: sizes are not negative, and rates above 0")
    return steps


def rate_at(steps: Steps, size: int) -> float:
    """Requests a second for a container of `size` objects; 0: no limit."""
    if not steps or size < steps[0][0]:
        return 0.0
    for (low, rate), (high, following) in pairwise(steps):
        if size < high:
            return rate + (following - rate) * (size - low) / (high - low)
    return steps[-1][1]
