"""Turns at a key: operations of one proxy that would only get into each other's way go one after the other.

Nothing depends on it but time: what is right is decided by the key's register, where other proxies take part.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Hashable


class Turns:
    """A queue for each key that somebody waits for."""

    def __init__(self) -> None:
        self._queues: dict[Hashable, tuple[asyncio.Lock, int]] = {}

    def __len__(self) -> int:
        return len(self._queues)

    @contextlib.asynccontextmanager
    async def of(self, key: Hashable) -> AsyncIterator[None]:
        """Wait until it is one's turn at the key; it ends with the block."""
        lock, count = self._queues.get(key) or (asyncio.Lock(), 0)
        self._queues[key] = (lock, count + 1)
        try:
            async with lock:
                yield
        finally:
            lock, count = self._queues.pop(key)
            if count > 1:
                self._queues[key] = (lock, count - 1)
