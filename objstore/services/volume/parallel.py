"""The same for many things, some at a time."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from objstore.runtime.tasks import TaskOwner

T = TypeVar("T")


async def each(tasks: TaskOwner, items: Iterable[T], work: Callable[[T], Awaitable[None]], *, at_once: int) -> None:
    """Call `work` with every item, `at_once` at a time.  Raises what fails first; by then nothing runs any more."""
    waiting = iter(list(items))

    async def worker() -> None:
        for item in waiting:
            await work(item)

    workers = [tasks.spawn(worker(), name="each") for _ in range(at_once)]
    try:
        await asyncio.gather(*workers)
    finally:
        for task in workers:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
