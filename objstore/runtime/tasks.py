"""Owned tasks and blocking work: the only door to `create_task` and to threads.

Every task has an owner that bounds how many run, logs what fails and cancels the rest when it closes.
"""

import asyncio
import contextlib
import logging
import queue
import threading
from collections.abc import Callable, Coroutine
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


Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[Any]", Callable[..., Any], tuple[Any, ...]]


class ThreadPool:
    """Real threads, started as they are needed, at most `size`; used from one event loop.

    A queue and a callback of the loop: half of what `run_in_executor` costs, and every flush of a node pays for it.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._pending = 0
        self._closed = False

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Run in one of the pool's threads.  It comes to its end also when its caller is gone."""
        if self._closed:
            raise RuntimeError(f"the threads {self._name} are closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._pending += 1
        if self._pending > len(self._threads) < self._size:
            thread = threading.Thread(target=self._work, name=f"{self._name}-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()
        self._jobs.put((loop, future, call, args))
        return await future

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            loop, future, call, args = job
            result, failure = _outcome(call, args)
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits
                loop.call_soon_threadsafe(self._tell, future, result, failure)
            # Nothing may be kept alive, files least of all, while this thread waits for its next call.
            del job, loop, future, call, args, result, failure

    def _tell(self, future: "asyncio.Future[Any]", result: object, failure: BaseException | None) -> None:
        self._pending -= 1
        if future.done():
            return  # cancelled meanwhile
        if failure is None:
            future.set_result(result)
        else:
            future.set_exception(failure)

    def close(self) -> None:
        """Wait for running calls and end the threads."""
        self._closed = True
        for _ in self._threads:
            self._jobs.put(None)
        for thread in self._threads:
            thread.join()


def _outcome(call: Callable[..., T], args: tuple[Any, ...]) -> tuple[T | None, BaseException | None]:
    try:
        return call(*args), None
    except BaseException as failure:  # noqa: BLE001 it belongs to the caller
        return None, failure
