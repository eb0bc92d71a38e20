"""Jobs: claimed once, tried again, taken over from the dead."""

import asyncio
from collections.abc import Awaitable, Callable

from sqlalchemy import Connection, text

from objstore.errors import Unavailable
from objstore.runtime.sql import Sql, open_sql
from objstore.services.tables.jobs import ATTEMPTS, BACK_OFF_LIMIT_S, LEASE_S, SCHEMA, Job, Worker, enqueue, is_there, others_of
from objstore.services.tables.migrations import migrate
from tests.support.block_rig import in_virtual_time
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


class Slow(Bench):
    """Jobs that end when they are told to."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()
        self.begun = self.cancelled = 0

    async def _work(self, job: Job) -> None:
        self.begun += 1
        try:
            await self.go_on.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        await super()._work(job)

    async def until(self, done: Callable[[], bool]) -> None:
        for _ in range(2000):
            if done():
                return
            await asyncio.sleep(0.02)
        raise AssertionError("it does not come")

    async def holder_of(self, subject: str) -> str:
        query = text(f"SELECT holder FROM jobs WHERE subject = '{subject}'")
        return str(await self.sql.read(lambda c: c.execute(query).scalar_one()))


def on_slow_bench(test: Callable[[Slow], Awaitable[None]]) -> None:
    async def main() -> None:
        bench = Slow()
        await fresh(bench.sql)
        await migrate(bench.sql, SCHEMA, 1)
        await test(bench)
        await bench.sql.aclose()

    run_rig(main())


def test_who_lost_the_lease_neither_ends_nor_moves_the_job() -> None:
    async def test(bench: Slow) -> None:
        slow, other = bench.worker(), bench.worker()
        await bench.add("a", "b")
        slow.nudge()
        await bench.until(lambda: bench.begun == 2)
        bench.clock.skew_us += int(LEASE_S * 1e6) + 1
        assert len(await other.claim(5)) == 2  # and dies
        before = await bench.sql.read(lambda c: c.execute(text("SELECT id, due_us, holder FROM jobs ORDER BY id")).all())
        bench.fail = 1
        bench.go_on.set()
        await bench.until(lambda: not slow._running)
        assert bench.done or slow.failures
        assert await bench.sql.read(lambda c: c.execute(text("SELECT id, due_us, holder FROM jobs ORDER BY id")).all()) == before
        await slow.aclose()
        await other.aclose()

    on_slow_bench(test)


@in_virtual_time
def test_a_run_that_finds_its_lease_with_another_ends() -> None:
    async def test(bench: Slow) -> None:
        slow, other = bench.worker(), bench.worker()
        await bench.add("a")
        slow.nudge()
        await bench.until(lambda: bench.begun == 1)
        bench.clock.skew_us += int(LEASE_S * 1e6) + 1
        assert len(await other.claim(5)) == 1
        await bench.until(lambda: bench.cancelled == 1)
        assert (bench.done, await bench.left(), slow.failures) == ([], 1, 0)
        await slow.aclose()
        await other.aclose()

    on_slow_bench(test)


@in_virtual_time
def test_a_run_goes_on_whose_lease_ran_out_and_that_nobody_else_took() -> None:
    async def test(bench: Slow) -> None:
        worker = bench.worker()
        await bench.add("a")
        worker.nudge()
        await bench.until(lambda: bench.begun == 1)
        bench.clock.skew_us += int(LEASE_S * 1e6) + 1
        worker.nudge()  # it claims the job that it runs
        await asyncio.sleep(25)
        assert (bench.begun, bench.cancelled) == (1, 0)
        bench.go_on.set()
        await bench.until(lambda: not worker._running)
        assert (bench.done, await bench.left()) == (["a"], 0)
        await worker.aclose()

    on_slow_bench(test)


def test_who_stops_takes_no_more_jobs() -> None:
    async def test(bench: Slow) -> None:
        worker = bench.worker(limit=1)
        await bench.add("a", "b")
        worker.nudge()
        await bench.until(lambda: bench.begun == 1)
        waiting = {"a", "b"} - {subject for subject in "ab" if await bench.holder_of(subject)}
        async with asyncio.timeout(5):
            await worker.aclose()
        assert bench.begun == 1
        assert {subject for subject in "ab" if not await bench.holder_of(subject)} == waiting

    on_slow_bench(test)


@in_virtual_time
def test_what_cannot_even_be_given_up_is_tried_again_within_minutes() -> None:
    async def test(bench: Bench) -> None:
        async def no(job: Job) -> None:
            raise Unavailable("not now")

        worker = bench.worker()
        worker.give_up = no
        await bench.add("a")
        await bench.sql.write(lambda c: c.execute(text(f"UPDATE jobs SET attempts = {ATTEMPTS + 10}")).rowcount)
        await bench.rest(worker)
        due_us = int(await bench.sql.read(lambda c: c.execute(text("SELECT due_us FROM jobs")).scalar_one()))
        assert due_us - bench.clock.wall_us() <= BACK_OFF_LIMIT_S * 1e6
        await worker.aclose()

    on_bench(test)


def test_jobs_are_found_by_what_they_are_about() -> None:
    async def test(bench: Bench) -> None:
        await bench.add("a")
        (row,) = await bench.sql.read(lambda c: c.execute(text("SELECT id FROM jobs")).all())

        def look(connection: Connection) -> list[bool]:
            found = [others_of(connection, ("svc",), ("work",), subject) for subject in ("a", "b")]
            found += [others_of(connection, ("svc",), ("work",), "a", but=row.id), others_of(connection, ("svc",), ("rest",), "a")]
            return [*found, is_there(connection, row.id), is_there(connection, "x")]

        assert await bench.sql.read(look) == [True, False, False, False, True, False]

    on_bench(test)


def test_one_subject_has_one_job_at_a_time_whichever_processes_do_them() -> None:
    async def test(bench: Bench) -> None:
        one, other = (Worker(bench.sql, bench.world, "svc", {}, bench._give_up, one_by_one=True) for _ in range(2))
        await bench.add("a", "a", "b")
        first = await one.claim(5)
        assert [job.subject for job in first] == ["a", "b"]
        assert await other.claim(5) == []
        await one._ended(first[0], failed=True)  # it waits for its time: nobody has to wait for that
        assert [job.subject for job in await other.claim(5)] == ["a"]
        bench.clock.skew_us += int(LEASE_S * 1e6) + 1
        assert sorted(job.subject for job in await one.claim(5)) == ["a", "b"]
        await one.aclose()
        await other.aclose()

    on_bench(test)
