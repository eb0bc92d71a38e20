import asyncio

import pytest

from objstore.objects.turns import WAIT_S, Turns
from tests.sim.loop import run


def test_one_at_a_time_by_key_and_nothing_stays_behind() -> None:
    async def main() -> None:
        turns = Turns()
        inside: dict[str, int] = {"a": 0, "b": 0}
        most = dict(inside)

        async def work(key: str) -> None:
            async with turns.of(key):
                inside[key] += 1
                most[key] = max(most[key], inside[key])
                most["both"] = max(most.get("both", 0), sum(inside.values()))
                await asyncio.sleep(1)
                inside[key] -= 1

        await asyncio.gather(*(work(key) for key in "aabba"))
        assert (most["a"], most["b"], most["both"]) == (1, 1, 2)
        assert len(turns) == 0

    run(main(), limit_s=1e5)


def test_nobody_waits_long_for_one_who_hangs() -> None:
    async def main() -> None:
        turns = Turns()
        loop = asyncio.get_running_loop()
        ended: list[float] = []

        async def work(hangs_s: float) -> None:
            async with turns.of("a"):
                await asyncio.sleep(hangs_s)
            ended.append(loop.time() - began)

        began = loop.time()
        await asyncio.gather(work(100), work(0), work(0), work(0))
        assert ended == pytest.approx([WAIT_S, WAIT_S, WAIT_S, 100])
        assert len(turns) == 0

    run(main(), limit_s=1e5)


def test_who_fails_or_gives_up_lets_the_next_one_in() -> None:
    async def main() -> None:
        turns = Turns()

        async def fail() -> None:
            async with turns.of("a"):
                await asyncio.sleep(1)
                raise ValueError("no")

        failing = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        waiting = asyncio.ensure_future(fail())
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(ValueError, match="no"):
            await failing
        async with turns.of("a"):
            assert len(turns) == 1
        assert len(turns) == 0

    run(main(), limit_s=1e5)
