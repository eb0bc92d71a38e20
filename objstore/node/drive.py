"""Running a coroutine without a task, for the requests that come by the thousand.

Most of a task's price is being scheduled before its first step and waking those who wait for it afterwards.  Here the
first step happens at once, and the end is told to a callback.  The coroutine may await futures; it must not need to know
its task (`asyncio.timeout` does), and it is never cancelled: a change that was handed to the engine comes to its end.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Drive(Generic[T]):
    """Steps one coroutine; `told(result, None)` or `told(None, failure)` is called once, perhaps before `start` returns."""

    __slots__ = ("_coroutine", "_told")

    def __init__(self, coroutine: Coroutine[Any, Any, T], told: Callable[[T | None, BaseException | None], None]) -> None:
        self._coroutine = coroutine
        self._told = told

    def step(self, _: object = None) -> None:
        """Go on until the coroutine waits or ends."""
        try:
            awaited = self._coroutine.send(None)
        except StopIteration as end:
            self._told(end.value, None)
        except BaseException as failure:  # noqa: BLE001 whatever it is, it belongs to `told`
            self._told(None, failure)
        else:
            if awaited is None:  # asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(self.step)
            else:
                # What a task does with the future that its coroutine yields (asyncio/tasks.py, Task.__step).
                awaited._asyncio_future_blocking = False
                awaited.add_done_callback(self.step)
