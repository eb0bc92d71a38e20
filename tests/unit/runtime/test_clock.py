"""The machine's clocks, and the simulator's beside them."""

import asyncio
import time

from objstore.runtime.clock import SystemClock
from tests.sim import loop as virtual
from tests.sim.clock import SimClock


def test_wall_time_is_the_machines_in_microseconds() -> None:
    before = time.time_ns() // 1000
    assert before <= SystemClock().wall_us() <= time.time_ns() // 1000


def test_monotonic_time_goes_on_while_sleeping() -> None:
    clock = SystemClock()
    before = clock.monotonic()
    asyncio.run(clock.sleep(0.01))
    assert clock.monotonic() - before >= 0.009


def test_simulated_time_passes_without_waiting() -> None:
    scheduler = virtual.Scheduler()
    loop = virtual.HostLoop(scheduler, "host")
    clock = SimClock(scheduler)
    wall, monotonic, began = clock.wall_us(), clock.monotonic(), time.monotonic()
    loop.run_until_complete(clock.sleep(3600))
    assert clock.wall_us() - wall == 3_600_000_000
    assert clock.monotonic() - monotonic == 3600
    assert time.monotonic() - began < 1


def test_a_jump_of_the_wall_clock_leaves_monotonic_time_alone() -> None:
    clock = SimClock(virtual.Scheduler())
    wall, monotonic = clock.wall_us(), clock.monotonic()
    clock.skew_us = -86_400_000_000
    assert clock.wall_us() == wall - 86_400_000_000
    assert clock.monotonic() == monotonic
