"""Some at a time, all of them, or none that still runs."""

import asyncio

import pytest

from objstore.runtime.tasks import TaskOwner
from objstore.services.volume.parallel import each


def test_every_item_is_worked_on_once_and_no_more_than_so_many_at_once() -> None:
    async def main() -> None:
        seen: list[int] = []
        running = most = 0

        async def work(item: int) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            seen.append(item)

        await each(TaskOwner("t"), range(50), work, at_once=4)
        assert sorted(seen) == list(range(50))
        assert most == 4
        await each(TaskOwner("t"), [], work, at_once=4)

    asyncio.run(main())


def test_after_a_failure_nothing_runs_any_more() -> None:
    async def main() -> None:
        owner = TaskOwner("t")

        async def work(item: int) -> None:
            await asyncio.sleep(0.001 * item)
            if item == 3:
                raise ValueError(item)

        with pytest.raises(ValueError, match="3"):
            await each(owner, range(100), work, at_once=8)
        assert len(owner) == 0

    asyncio.run(main())
