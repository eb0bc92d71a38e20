"""Owned tasks, and threads real and simulated."""

import asyncio
import random
import threading
from collections.abc import Callable

import pytest

from objstore.errors import TooBusy
from objstore.runtime.tasks import TaskOwner, ThreadPool, Threads
from tests.sim import loop as virtual
from tests.sim.disk import Storage
from tests.sim.threads import SimThreads


def test_tasks_beyond_the_limit_are_refused_and_room_comes_back() -> None:
    async def main() -> None:
        owner = TaskOwner("test", limit=2)
        gate = asyncio.Event()
        owner.spawn(gate.wait())
        owner.spawn(gate.wait())
        with pytest.raises(TooBusy):
            owner.spawn(gate.wait())
        assert len(owner) == 2
        gate.set()
        await owner.drain()
        assert len(owner) == 0
        await owner.spawn(gate.wait())

    virtual.run(main())


def test_a_task_that_fails_is_counted_and_disturbs_nobody(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("broken")

    async def main() -> None:
        owner = TaskOwner("test")
        owner.spawn(fail(), name="the-one")
        other = owner.spawn(asyncio.sleep(1, "fine"))
        await owner.drain()
        assert other.result() == "fine"
        assert owner.failures == 1

    virtual.run(main())
    assert "the-one" in caplog.text
    assert "broken" in caplog.text


def test_closing_cancels_what_runs_and_waits_for_its_end() -> None:
    async def main() -> list[str]:
        ended = []

        async def work() -> None:
            try:
                await asyncio.sleep(1000)
            finally:
                await asyncio.sleep(1)
                ended.append("cleaned up")

        owner = TaskOwner("test")
        task = owner.spawn(work())
        await asyncio.sleep(0)
        await owner.aclose()
        assert task.cancelled()
        assert owner.failures == 0
        return ended

    assert virtual.run(main()) == ["cleaned up"]


def test_drain_waits_for_tasks_that_tasks_start() -> None:
    async def main() -> float:
        owner = TaskOwner("test")

        async def first() -> None:
            await asyncio.sleep(1)
            owner.spawn(asyncio.sleep(2))

        owner.spawn(first())
        await owner.drain()
        return asyncio.get_running_loop().time()

    assert virtual.run(main()) == 3.0


def in_real_threads(main: Callable[[Threads], object]) -> None:
    pool = ThreadPool("test", 2)
    asyncio.run(main(pool))  # type: ignore[arg-type]
    pool.close()


def in_simulated_threads(main: Callable[[Threads], object]) -> None:
    pool = SimThreads(Storage(random.Random(1)), random.Random(1), 2)
    virtual.run(main(pool))  # type: ignore[arg-type]
    pool.close()


either = pytest.mark.parametrize("play", [in_real_threads, in_simulated_threads], ids=["real", "simulated"])


@either
def test_a_call_returns_its_result_or_raises_its_exception(play: Callable[[Callable[[Threads], object]], None]) -> None:
    async def main(threads: Threads) -> None:
        assert await threads.run(lambda a, b: a + b, 1, 2) == 3
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)

    play(main)


@either
def test_more_calls_than_threads_all_end(play: Callable[[Callable[[Threads], object]], None]) -> None:
    async def main(threads: Threads) -> None:
        done: list[int] = []
        await asyncio.gather(*(threads.run(done.append, i) for i in range(20)))
        assert sorted(done) == list(range(20))

    play(main)


@either
def test_a_call_goes_on_after_its_waiter_was_cancelled(play: Callable[[Callable[[Threads], object]], None]) -> None:
    async def main(threads: Threads) -> None:
        done = threading.Event()
        waiter = asyncio.ensure_future(threads.run(done.set))
        await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        async with asyncio.timeout(5):
            while not done.is_set():
                await asyncio.sleep(0.001)

    play(main)


def test_real_calls_leave_the_loops_thread() -> None:
    async def main(threads: Threads) -> None:
        assert await threads.run(threading.get_ident) != threading.get_ident()

    in_real_threads(main)
