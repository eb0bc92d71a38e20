"""Turns at a key: operations of one proxy that would only get into each other's way go one after the other.

Nothing depends on it but time: what is right is decided by the key's register, where other proxies take part.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable

WAIT_S = 3.0


class Turns:
    """A queue for each key that somebody waits for."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._queues)

    @contextlib.asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Wait until it is one's turn at the key, but not for long: who is at it may be waiting for nodes that are away.

        The turn ends with the block.
        """
        lock, count = self._queues.get(key) or (asyncio.Lock(), 0)
        self._queues[key] = (lock, count + 1)
        mine = False
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(WAIT_S):
                    mine = await lock.acquire()
            yield
        finally:
            if mine:
                lock.release()
            lock, count = self._queues.pop(key)
            if count > 1:
                self._queues[key] = (lock, count - 1)
