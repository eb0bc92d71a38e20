"""The loop that all daemons share: a step now and then, never two at once, errors counted and backed off.

A step is one bounded piece of work that says whether more is waiting; `run_once` is what `ctl repair --wait` and the
simulator call.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from objstore.errors import ObjstoreError
from objstore.runtime.tasks import TaskOwner
from objstore.runtime.world import World

log = logging.getLogger(__name__)

BACK_OFF_LIMIT_S = 30.0


class Worker:
    """Runs `step` every `interval_s` (sooner when woken), with jitter so that hosts do not march in step."""

    def __init__(self, world: World, owner: TaskOwner, *, name: str, interval_s: float, step: Callable[[], Awaitable[object]]) -> None:
        self.name = name
        self.interval_s = interval_s
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
        pause_s = self.interval_s
        while True:
            try:
                async with asyncio.timeout(pause_s * self._world.rng.uniform(0.8, 1.2)):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()
            try:
                await self.run_once()
            except (ObjstoreError, OSError) as failure:
                self.failures += 1
                pause_s = min(BACK_OFF_LIMIT_S, max(pause_s, 0.5) * 2)
                self._complain(repr(failure))
            else:
                pause_s = self.interval_s

    def _complain(self, what: str) -> None:
        # A cluster with a dead node fails the same way every round: say so once, not for ever.
        if what != self._last_complaint:
            self._last_complaint = what
            log.warning("%s: %s; will try again", self.name, what)
