"""One step at a time, sooner when woken, slower after failures."""

import asyncio
from collections.abc import Callable

import pytest

from objstore.daemons.worker import STALE_AT_ONCE, STALE_PAUSE_S, Worker
from objstore.errors import QuorumLost, StaleEpoch
from objstore.runtime.tasks import TaskOwner
from ring.model import RingError
from tests.support.memory_fleet import world


def test_a_woken_worker_does_not_wait_for_its_interval() -> None:
    steps: list[int] = []

    async def story() -> None:
        done = asyncio.Event()

        async def step() -> None:
            steps.append(1)
            done.set()

        owner = TaskOwner("test")
        worker = Worker(world(), owner, name="w", interval_s=3600.0, step=step)
        worker.start()
        worker.wake()
        async with asyncio.timeout(5):
            await done.wait()
        await owner.aclose()

    asyncio.run(story())
    assert steps == [1]


def test_the_first_step_may_come_sooner_than_the_interval() -> None:
    async def story() -> None:
        done = asyncio.Event()

        async def step() -> None:
            done.set()

        owner = TaskOwner("test")
        Worker(world(), owner, name="w", interval_s=7 * 86_400.0, step=step, first_s=0.02).start()
        Worker(world(), owner, name="w", interval_s=0.01, step=step, first_s=3600.0).start()
        async with asyncio.timeout(5):
            await done.wait()
            done.clear()
            await done.wait()
        await owner.aclose()

    asyncio.run(story())


def test_two_callers_never_run_the_step_at_once() -> None:
    running = most = 0

    async def story() -> None:
        async def step() -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.001)
            running -= 1

        worker = Worker(world(), TaskOwner("test"), name="w", interval_s=3600.0, step=step)
        await asyncio.gather(*(worker.run_once() for _ in range(5)))

    asyncio.run(story())
    assert most == 1


def test_a_failing_step_is_counted_and_the_loop_goes_on() -> None:
    async def story() -> Worker:
        calls = 0
        again = asyncio.Event()

        async def step() -> None:
            nonlocal calls
            calls += 1
            if calls > 1:
                again.set()
                return
            raise QuorumLost

        owner = TaskOwner("test")
        worker = Worker(world(), owner, name="w", interval_s=0.01, step=step)
        worker.start()
        async with asyncio.timeout(10):
            await again.wait()
        await owner.aclose()
        return worker

    assert asyncio.run(story()).failures == 1


def run_until(step: Callable[[int], object], calls: int, *, limit_s: float = 10.0) -> Worker:
    """A worker whose step has come to its end so many times, with an interval of an hour after it was woken once."""

    async def story() -> Worker:
        done = asyncio.Event()
        begun = 0

        async def counted() -> object:
            nonlocal begun
            begun += 1
            if begun == calls:
                done.set()
            return step(begun)

        owner = TaskOwner("test")
        worker = Worker(world(), owner, name="w", interval_s=3600.0, step=counted)
        worker.start()
        worker.wake()
        async with asyncio.timeout(limit_s):
            await done.wait()
        await owner.aclose()
        return worker

    return asyncio.run(story())


def test_an_error_that_nobody_thought_of_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> Worker:
        again = asyncio.Event()
        calls = 0

        async def step() -> None:
            nonlocal calls
            calls += 1
            if calls > 2:
                again.set()
            raise RingError("the ring file is damaged")

        owner = TaskOwner("test")
        worker = Worker(world(), owner, name="w", interval_s=0.01, step=step)
        worker.start()
        for _ in range(3):
            worker.wake()
            await asyncio.sleep(0.01)
        async with asyncio.timeout(5):
            await again.wait()
        await owner.aclose()
        return worker

    assert asyncio.run(story()).failures == 3
    assert [record.exc_info is not None for record in caplog.records] == [True]  # once, with its place


def test_a_step_that_a_change_of_the_ring_broke_off_runs_again_at_once_and_is_no_failure() -> None:
    def step(call: int) -> None:
        if call < 4:
            raise StaleEpoch(epoch=call)

    worker = run_until(step, 4)
    assert (worker.failures, worker.rounds) == (0, 4)


def test_a_ring_that_never_comes_to_rest_does_not_keep_a_worker_running() -> None:
    def step(call: int) -> None:
        raise StaleEpoch(epoch=call)

    with pytest.raises(TimeoutError):
        run_until(step, STALE_AT_ONCE + 3, limit_s=STALE_PAUSE_S * 1.2 * STALE_AT_ONCE + 1.0)
