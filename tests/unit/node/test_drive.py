import asyncio
from typing import Any

from objstore.node.drive import Drive
from tests.sim.loop import run


class Told:
    def __init__(self) -> None:
        self.ends: list[tuple[Any, Any]] = []

    def __call__(self, result: Any, failure: BaseException | None) -> None:
        self.ends.append((result, repr(failure) if failure else None))


def test_a_coroutine_that_never_waits_ends_at_once() -> None:
    async def work() -> int:
        return 5

    async def main() -> None:
        told = Told()
        Drive(work(), told).step()
        assert told.ends == [(5, None)]

    run(main())


def test_a_coroutine_goes_on_when_what_it_awaits_is_there() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()

        async def work() -> int:
            await asyncio.sleep(0)
            one: int = await first
            try:
                await second
            except KeyError:
                return one + 1
            return 0

        told = Told()
        Drive(work(), told).step()
        await asyncio.sleep(1)
        first.set_result(41)
        await asyncio.sleep(1)
        assert told.ends == []
        second.set_exception(KeyError("x"))
        await asyncio.sleep(1)
        assert told.ends == [(42, None)]

    run(main())


def test_a_failure_is_told() -> None:
    async def work() -> None:
        await asyncio.sleep(1)
        raise ValueError("x")

    async def main() -> None:
        told = Told()
        Drive(work(), told).step()
        await asyncio.sleep(2)
        assert told.ends == [(None, "ValueError('x')")]

    run(main())


def test_a_cancelled_future_is_told_too() -> None:
    async def main() -> None:
        future = asyncio.get_running_loop().create_future()

        async def work() -> None:
            await future

        told = Told()
        Drive(work(), told).step()
        future.cancel()
        await asyncio.sleep(0.1)
        assert told.ends == [(None, "CancelledError()")]

    run(main())
