"""Answers to what may take long: blanks keep the connection alive while the work goes on.

The answer's status is 200 (or 202) before anybody knows how the work ends; how it ended stands in the body.  What is done within the time of one
blank is answered in one piece.
"""

import asyncio
from collections.abc import AsyncIterator, Coroutine

from objstore.fronts.swift.answers import Answer, Headers
from objstore.runtime.tasks import TaskOwner

SEPARATOR = b"\r\n\r\n"  # between the blanks and the body


async def kept_alive(
    work: Coroutine[None, None, bytes], headers: Headers, *, every_s: float, begin: bytes = b"", status: int = 200
) -> Answer:
    """The answer whose body is what `work` returns, behind `begin`.  When the client goes away the work is cancelled."""
    owner = TaskOwner("long answer")
    task = owner.spawn(work)
    try:
        done, _ = await asyncio.wait({task}, timeout=every_s)
        if done:
            return Answer(status, headers, begin + task.result())
    except BaseException:
        await owner.aclose()
        raise
    return Answer(status, headers, begin + b" ", _Beating(owner, task, every_s), -1)


class _Beating:
    """The blanks, then the body; closed also when nobody ever asked for the first of them."""

    def __init__(self, owner: TaskOwner, task: "asyncio.Task[bytes]", every_s: float) -> None:
        self._owner = owner
        self._task: asyncio.Task[bytes] | None = task
        self._every_s = every_s

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        if self._task is None:
            raise StopAsyncIteration
        done, _ = await asyncio.wait({self._task}, timeout=self._every_s)
        if not done:
            return b" "
        result, self._task = self._task.result(), None
        return SEPARATOR + result

    async def aclose(self) -> None:
        """Cancel what still runs."""
        await self._owner.aclose()
