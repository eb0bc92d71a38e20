"""Owned tasks and blocking work: the only door to `create_task` and to threads.

Every task has an owner that bounds how many run, logs what fails and cancels the rest when it closes.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol, TypeVar

from objstore.errors import TooBusy

T = TypeVar("T")
log = logging.getLogger(__name__)


class TaskOwner:
    """Runs background coroutines for one component; at most `limit` at once."""

    def __init__(self, name: str, *, limit: int = 10_000) -> None:
        self.name = name
        self.limit = limit
        self.failures = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, T], *, name: str = "") -> "asyncio.Task[T]":
        """Start a task.  Raises TooBusy when `limit` run already (the coroutine is closed)."""
        if len(self._tasks) >= self.limit:
            coroutine.close()
            raise TooBusy(f"{self.name}: {self.limit} background tasks are running already")
        task = asyncio.get_running_loop().create_task(coroutine, name=name or None)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failures += 1
            log.warning("%s: task %s failed: %r", self.name, task.get_name(), task.exception())

    async def drain(self) -> None:
        """Wait until all tasks that run now have ended, whatever their outcome."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def aclose(self) -> None:
        """Cancel everything and wait for it to end."""
        for task in list(self._tasks):
            task.cancel()
        await self.drain()


class Threads(Protocol):
    """Runs blocking calls so that the event loop goes on."""

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """The call's result, or its exception."""

    def close(self) -> None:
        """Wait for the running calls and end the threads."""


class ThreadPool:
    """Real threads."""

    def __init__(self, name: str, size: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=size, thread_name_prefix=name)

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run in one of the pool's threads."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, call, *args)

    def close(self) -> None:
        """Wait for running calls and end the threads."""
        self._pool.shutdown(wait=True)
