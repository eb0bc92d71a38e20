"""What is left of guests that were forgotten: files that could not be removed at once are tried again, as long as no guest of that id is wanted."""

import asyncio
import logging

from objstore.runtime.disk import Disk
from objstore.runtime.tasks import Threads
from objstore.services.compute.agent import layout

log = logging.getLogger(__name__)


class Leftovers:
    """Of one agent."""

    def __init__(self, threads: Threads, kept: Disk, directory: str) -> None:
        self._threads = threads
        self._kept = kept
        self._directory = directory
        self._left: dict[str, asyncio.Lock] = {}

    async def forget(self, server: str) -> None:
        """Remove all that is kept of a guest.  Raises OSError: its record is still there.  Whatever remains is tried again by `again`."""
        async with self._left.setdefault(server, asyncio.Lock()):
            failure = await self._try(server)
            if failure is None:
                return
            log.error("what is left of server %s cannot be removed yet: %s", server, failure)
            if await self._threads.run(layout.is_recorded, self._kept, server):
                raise failure

    async def keep(self, server: str) -> None:
        """There is to be a guest of this id again: nothing is removed from now on."""
        if (lock := self._left.get(server)) is not None:
            async with lock:
                self._left.pop(server, None)

    async def again(self) -> None:
        """Try once more with all that is left."""
        for server, lock in list(self._left.items()):
            async with lock:
                if server in self._left and await self._try(server) is None:
                    log.info("what was left of server %s is removed", server)

    async def _try(self, server: str) -> OSError | None:
        try:
            await self._threads.run(layout.forget, self._kept, self._directory, server)
        except OSError as failure:
            return failure
        self._left.pop(server, None)
        return None
