"""Time: the only door to clocks and sleeping."""

import asyncio
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time orders nothing that matters; monotonic time measures waits."""

    def wall_us(self) -> int:
        """Microseconds since 1970; may jump either way."""

    def monotonic(self) -> float:
        """Seconds since some start; never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Wait; other tasks run meanwhile."""


class SystemClock:
    """The machine's clocks."""

    monotonic = staticmethod(time.monotonic)  # not called through a function of ours: a request asks ten times

    def wall_us(self) -> int:
        """Microseconds since 1970."""
        return time.time_ns() // 1000

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)
