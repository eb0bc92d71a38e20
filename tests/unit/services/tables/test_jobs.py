"""Jobs: claimed once, tried again, taken over from the dead."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import text

from objstore.errors import Unavailable
from objstore.runtime.sql import Sql, open_sql
from objstore.services.tables.jobs import ATTEMPTS, LEASE_S, SCHEMA, Job, Worker, enqueue
from objstore.services.tables.migrations import migrate
from tests.support.image_rig import DATABASE, fresh, run_rig
from tests.support.memory_cluster import LoopClock, memory_world


class Bench:
    """A table of jobs and the means to look at it."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.world = memory_world(self.clock)
        self.sql: Sql = open_sql(DATABASE, self.world)
        self.done: list[str] = []
        self.given_up: list[str] = []
        self.fail = 0

    def worker(self, limit: int = 4) -> Worker:
        return Worker(self.sql, self.world, "svc", {"work": self._work}, self._give_up, limit)

    async def _work(self, job: Job) -> None:
        if self.fail:
            self.fail -= 1
            raise Unavailable("not now")
        await asyncio.sleep(0)
        self.done.append(f"{job.subject}{job.details.get('x', '')}")

    async def _give_up(self, job: Job) -> None:
        self.given_up.append(job.subject)

    async def add(self, *subjects: str, **details: str) -> None:
        now_us = self.clock.wall_us()
        for subject in subjects:
            await self.sql.write(lambda c, s=subject: enqueue(c, self.world.rng, "svc", "work", s, now_us=now_us, details=details))

    async def left(self) -> int:
        return int(await self.sql.read(lambda c: c.execute(text("SELECT count(*) FROM jobs")).scalar_one()))

    async def rest(self, worker: Worker) -> None:
        """Until it has nothing to do."""
        worker.nudge()
        for _ in range(1000):
            await asyncio.sleep(0.01)
            if not (worker._running or worker._looking):
                return


def on_bench(test: Callable[[Bench], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Bench()
        await fresh(bench.sql)
        await migrate(bench.sql, SCHEMA, 1)
        await test(bench)
        await bench.sql.aclose()

    run_rig(main())


def test_every_job_is_done_once_by_however_many_workers() -> None:
    async def test(bench: Bench) -> None:
        workers = [bench.worker() for _ in range(3)]
        await bench.add(*(str(number) for number in range(20)), x="!")
        for _ in range(20):
            await asyncio.gather(*(bench.rest(worker) for worker in workers))
            if not await bench.left():
                break
        assert sorted(bench.done) == sorted(f"{number}!" for number in range(20))
        for worker in workers:
            await worker.aclose()

    on_bench(test)


def test_a_job_that_fails_is_tried_later_and_in_the_end_given_up() -> None:
    async def test(bench: Bench) -> None:
        worker = bench.worker()
        bench.fail = 100
        await bench.add("a")
        for _ in range(ATTEMPTS + 1):
            await bench.rest(worker)
            bench.clock.skew_us += 3_600_000_000
        assert (bench.done, bench.given_up, await bench.left()) == ([], ["a"], 0)
        assert worker.failures == ATTEMPTS
        bench.fail = 1
        await bench.add("b")
        await bench.rest(worker)
        assert await bench.left() == 1
        bench.clock.skew_us += 60_000_000
        await bench.rest(worker)
        assert (bench.done, await bench.left()) == (["b"], 0)
        await worker.aclose()

    on_bench(test)


def test_a_job_of_a_dead_worker_is_taken_over_when_its_lease_has_run_out() -> None:
    async def test(bench: Bench) -> None:
        await bench.add("a")
        dead, alive = bench.worker(), bench.worker()
        assert [job.subject for job in await dead.claim(5)] == ["a"]
        assert await alive.claim(5) == []
        bench.clock.skew_us += int(LEASE_S * 1e6) + 1
        (job,) = await alive.claim(5)
        assert (job.subject, job.attempts) == ("a", 1)
        await dead.aclose()
        await alive.aclose()

    on_bench(test)


def test_a_change_that_is_taken_back_leaves_no_job() -> None:
    async def test(bench: Bench) -> None:
        def work(connection: object) -> None:
            enqueue(connection, bench.world.rng, "svc", "work", "a", now_us=1)  # type: ignore[arg-type]  # a connection it is
            raise ValueError("no")

        try:
            await bench.sql.write(work)
        except ValueError:
            assert await bench.left() == 0

    on_bench(test)
