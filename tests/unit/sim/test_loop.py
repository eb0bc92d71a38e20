"""Virtual time: order, jumps, freezing, death, and the loop's own alarms."""

import asyncio
import gc
import time

import pytest

from tests.sim import loop as virtual
from tests.sim.loop import Deadlock, HostLoop, Runaway, Scheduler, SimulationError, run


def test_hours_pass_in_no_time_and_timers_run_in_order() -> None:
    async def main() -> list[str]:
        seen: list[str] = []
        loop = asyncio.get_running_loop()
        loop.call_later(7200, seen.append, "late")
        loop.call_later(3600, seen.append, "first of two")
        loop.call_later(3600, seen.append, "second of two")
        loop.call_later(10, seen.append, "cancelled").cancel()
        loop.call_soon(seen.append, "soon")
        await asyncio.sleep(10_000)
        assert loop.time() == 10_000
        return seen

    began = time.monotonic()
    assert run(main(), limit_s=20_000) == ["soon", "first of two", "second of two", "late"]
    assert time.monotonic() - began < 1


def test_timeouts_of_asyncio_work() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(5):
                await asyncio.sleep(6)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.sleep(6), 2)
        assert await asyncio.wait_for(asyncio.sleep(1, "in time"), 2) == "in time"
        return asyncio.get_running_loop().time()

    assert run(main()) == 8.0


def test_locks_queues_and_gathering_work() -> None:
    async def main() -> list[int]:
        queue: asyncio.Queue[int] = asyncio.Queue(2)
        lock = asyncio.Lock()

        async def produce(start: int) -> None:
            for i in range(5):
                async with lock:
                    await queue.put(start + i)

        async with asyncio.TaskGroup() as group:
            group.create_task(produce(0))
            group.create_task(produce(100))
            return sorted([await queue.get() for _ in range(10)])

    assert run(main()) == [0, 1, 2, 3, 4, 100, 101, 102, 103, 104]


def test_a_wait_that_nothing_can_end_is_a_deadlock() -> None:
    async def main() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(Deadlock):
        run(main())


def test_a_loop_that_never_lets_time_pass_is_a_runaway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual, "RUNAWAY_STEPS", 1000)

    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Runaway):
        run(main())


def test_the_limit_of_virtual_time_ends_a_run() -> None:
    with pytest.raises(TimeoutError):
        run(asyncio.sleep(100), limit_s=50)


def test_an_exception_in_a_callback_fails_the_run() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 // 0)
        await asyncio.sleep(1)

    with pytest.raises(SimulationError, match="exception in callback"):
        run(main())


def test_executors_are_refused() -> None:
    async def main() -> None:
        await asyncio.to_thread(time.monotonic)

    with pytest.raises(SimulationError, match=r"Threads\.run"):
        run(main())


def test_a_frozen_host_catches_up_when_it_thaws() -> None:
    scheduler = Scheduler()
    harness, host = HostLoop(scheduler, "harness"), HostLoop(scheduler, "host")
    ticks: list[float] = []

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            ticks.append(host.time())

    async def main() -> None:
        task = host.create_task(tick())
        await asyncio.sleep(2.5)
        host.freeze()
        await asyncio.sleep(10)
        assert ticks == [1.0, 2.0]
        host.thaw()
        await asyncio.sleep(2)
        assert ticks == [1.0, 2.0, 12.5, 13.5]
        task.cancel()

    harness.run_until_complete(main())


def test_a_killed_host_stops_without_running_its_cleanup() -> None:
    scheduler = Scheduler()
    harness, host = HostLoop(scheduler, "harness"), HostLoop(scheduler, "host")
    seen: list[str] = []

    async def work() -> None:
        try:
            await asyncio.sleep(5)
            seen.append("went on")
        finally:
            seen.append("cleaned up")

    async def main() -> None:
        host.create_task(work())
        await asyncio.sleep(1)
        host.kill()
        gc.collect()
        await asyncio.sleep(10)
        assert seen == []

    harness.run_until_complete(main())


def test_a_generator_dropped_half_way_is_closed_on_its_loop() -> None:
    closed: list[float] = []

    async def numbers():  # type: ignore[no-untyped-def]
        try:
            yield 1
            yield 2
        finally:
            await asyncio.sleep(1)
            closed.append(asyncio.get_running_loop().time())

    async def main() -> None:
        async for _ in numbers():
            break
        gc.collect()
        await asyncio.sleep(5)

    run(main())
    assert closed == [1.0]


def test_sets_of_tasks_iterate_alike_in_every_run() -> None:
    async def main() -> list[str]:
        async def nothing() -> None:
            return

        loop = asyncio.get_running_loop()
        return [task.get_name() for task in {loop.create_task(nothing(), name=str(i)) for i in range(50)}]

    first = run(main())
    keep = [object() for _ in range(1000)]  # moves what is allocated next
    assert run(main()) == first
    assert keep
