"""One step at a time, sooner when woken, slower after failures."""

import asyncio

from objstore.daemons.worker import Worker
from objstore.errors import QuorumLost
from objstore.runtime.tasks import TaskOwner
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
