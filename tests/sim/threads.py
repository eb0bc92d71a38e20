"""Simulated threads: a call takes a time drawn from the seed and then runs, whole, at the end of it.

A crash does not let every call end: of those that were running, some had done nothing yet, some everything, and some stop
between two of their disk operations.  `crash` plays that out with the disk's `fuse`, before the disk forgets what was not
flushed.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from tests.sim.disk import PowerLost, Storage

T = TypeVar("T")


class _Call:
    __slots__ = ("args", "call", "future", "started")

    def __init__(self, call: Callable[..., Any], args: tuple[Any, ...], future: "asyncio.Future[Any]") -> None:
        self.call = call
        self.args = args
        self.future = future
        self.started = False


class SimThreads:
    """runtime.tasks.Threads: at most `size` calls at once, the rest in order behind them."""

    def __init__(self, storage: Storage, rng: random.Random, size: int) -> None:
        self._storage = storage
        self._rng = rng
        self._size = size
        self._running: list[_Call] = []
        self._waiting: deque[_Call] = deque()
        self._closed = False

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """The call's result, or its exception."""
        if self._closed:
            raise RuntimeError("cannot schedule new calls after close")
        entry = _Call(call, args, asyncio.get_running_loop().create_future())
        if len(self._running) < self._size:
            self._start(entry)
        else:
            self._waiting.append(entry)
        result: T = await entry.future
        return result

    def close(self) -> None:
        """Finish what runs and what waits, as a real pool's shutdown does."""
        self._closed = True
        for entry in [*self._running, *self._waiting]:
            self._perform(entry)
        self._running.clear()
        self._waiting.clear()

    def crash(self) -> None:
        """Play out what running calls had done when the power went; call before Storage.crash."""
        running = list(self._running)
        self._rng.shuffle(running)
        for entry in running:
            if entry.started and not self._closed:
                self._storage.fuse = int(self._rng.expovariate(0.3))
                try:
                    entry.call(*entry.args)
                except PowerLost:
                    pass
                except Exception:  # noqa: BLE001 its caller is gone, so nobody will ever see it
                    pass
        self._storage.fuse = None
        self._closed = True

    def _start(self, entry: _Call) -> None:
        entry.started = True
        self._running.append(entry)
        loop = asyncio.get_running_loop()
        loop.call_later(self._storage.call_duration_s(), self._end, entry)

    def _end(self, entry: _Call) -> None:
        if self._closed:
            return
        self._running.remove(entry)
        self._perform(entry)
        while self._waiting and len(self._running) < self._size:
            following = self._waiting.popleft()
            if not following.future.cancelled():
                self._start(following)

    @staticmethod
    def _perform(entry: _Call) -> None:
        # A started call goes on after its waiter was cancelled, as a thread does; one that never started does not run.
        if not entry.started and entry.future.cancelled():
            return
        try:
            result = entry.call(*entry.args)
        except Exception as failure:  # noqa: BLE001 the exception belongs to the waiter
            if not entry.future.done():
                entry.future.set_exception(failure)
        else:
            if not entry.future.done():
                entry.future.set_result(result)
