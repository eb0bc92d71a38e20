"""Clocks of a simulated host: monotonic time is the scheduler's, wall time is off by a skew that can jump and drift."""

import asyncio

from tests.sim.loop import Scheduler

EPOCH_US = 1_800_000_000_000_000  # the wall time at which every simulation begins


class SimClock:
    """runtime.clock.Clock on virtual time."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self.skew_us = 0
        self.drift = 0.0  # microseconds gained per microsecond

    def wall_us(self) -> int:
        """Microseconds since 1970 as this host believes."""
        elapsed_us = self._scheduler.now_s * 1e6
        return EPOCH_US + int(elapsed_us * (1.0 + self.drift)) + self.skew_us

    def monotonic(self) -> float:
        """Seconds since the host's start, which is taken to be long ago."""
        return 1_000.0 + self._scheduler.now_s

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
