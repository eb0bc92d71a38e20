"""The loop that all daemons share: a step now and then, never two at once, errors counted and backed off.

A step is one bounded piece of work that says whether more is waiting; `run_once` is what `ctl repair --wait` and the
simulator call.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable

from objstore.errors import ObjstoreError, StaleEpoch
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

log = logging.getLogger(__name__)

BACK_OFF_LIMIT_S = 30.0
STALE_PAUSE_S = 0.1  # before a step that a change of the ring broke off runs again
STALE_AT_ONCE = 10  # so often in a row; then after the interval, as always


class Worker:
    """Runs `step` every `interval_s` (sooner when woken), with jitter so that hosts do not march in step; the first time after `first_s`, where that is less."""

    def __init__(
        self, world: World, owner: TaskOwner, *, name: str, interval_s: float, step: Callable[[], Awaitable[object]], first_s: float = math.inf
    ) -> None:  # fmt: skip
        self.name = name
        self.interval_s = interval_s
        self.first_s = min(first_s, interval_s)
        self.failures = 0
        self.rounds = 0
        self._world = world
        self._owner = owner
        self._step = step
        self._lock = asyncio.Lock()
        self._wake = asyncio.Event()
        self._last_complaint = ""

    def start(self) -> None:
        """Begin the loop in the owner's care."""
        self._owner.spawn(self._loop(), name=self.name)

    def wake(self) -> None:
        """Run a step as soon as possible."""
        self._wake.set()

    async def run_once(self) -> object:
        """One step now, after the one that may be running; its result, or its error."""
        async with self._lock:
            self.rounds += 1
            return await self._step()

    async def _loop(self) -> None:
        pause_s = self.first_s
        stale = 0
        while True:
            try:
                async with asyncio.timeout(pause_s * self._world.rng.uniform(0.8, 1.2)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.run_once()
            except StaleEpoch:
                # The ring changed under it: nothing is wrong, and what it had to do is still to be done.
                stale += 1
                pause_s = STALE_PAUSE_S if stale <= STALE_AT_ONCE else self.interval_s
                continue
            except Exception as failure:  # noqa: BLE001 whatever it was: without this loop nothing is repaired any more
                self.failures += 1
                pause_s = min(BACK_OFF_LIMIT_S, max(pause_s, 0.5) * 2)
                self._complain(failure)
            else:
                pause_s = self.interval_s
            stale = 0

    def _complain(self, failure: Exception) -> None:
        # A cluster with a dead node fails the same way every round: say so once, not for ever.
        what = repr(failure)
        if what != self._last_complaint:
            self._last_complaint = what
            expected = isinstance(failure, (ObjstoreError, OSError))
            log.warning("%s: %s; will try again", self.name, what, exc_info=None if expected else failure)
