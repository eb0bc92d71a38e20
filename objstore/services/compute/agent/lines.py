"""A guest's serial line and screen, for whoever watches: WebSockets whose binary messages are what the line carries, either way.

QEMU lets one program onto a serial line, so that all who watch one share a connection: each sees everything from when he came, and may type.  A
screen (VNC) has room for several, and each has a connection of its own.  Who does not keep up is hung up on.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

from objstore.errors import Refused
from objstore.runtime.streams import PIECE_BYTES, open_stream
from objstore.runtime.tasks import TaskOwner
from objstore.services.calls.call import Receive, Send
from objstore.services.compute.agent.doors import door
from objstore.services.compute.agent.guest import Guest
from objstore.services.compute.agent.layout import SERIAL, VNC

KINDS = ("serial", "vnc")
WATCHERS_LIMIT = 32  # of one guest
BEHIND_LIMIT = 256  # pieces that a watcher has not taken yet
BEHIND_LIMIT_BYTES = 16 * 1024 * 1024  # and how long they may be together: a screen is shown whole several times by that
CONNECT_S = 5.0


class Watched:
    """One end of a line: what is typed goes into `write`, what is shown comes out of `shown`; None is the end."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.shown: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._behind_bytes = 0
        self._writer = writer

    async def write(self, data: bytes) -> None:
        """Type.  Raises OSError."""
        self._writer.write(data)
        await self._writer.drain()

    def show(self, data: bytes | None) -> bool:
        """Whether it keeps up."""
        self._behind_bytes += len(data or b"")
        if self.shown.qsize() < BEHIND_LIMIT and self._behind_bytes <= BEHIND_LIMIT_BYTES:
            self.shown.put_nowait(data)
            return data is not None
        self.shown.put_nowait(None)
        return False

    async def take(self) -> bytes | None:
        """What is shown next."""
        data = await self.shown.get()
        self._behind_bytes -= len(data or b"")
        return data


class Lines:
    """Lines of all guests of a host that somebody watches."""

    def __init__(self) -> None:
        self._tasks = TaskOwner("lines")
        self._serial: dict[str, list[Watched]] = {}  # who watches a serial line
        self._writers: dict[str, asyncio.StreamWriter] = {}
        self._opening: dict[str, asyncio.Lock] = {}
        self._screens: Counter[str] = Counter()  # connections to a guest's screen

    async def aclose(self) -> None:
        """Hang up on everybody."""
        await self._tasks.aclose()

    @contextlib.asynccontextmanager
    async def watch(self, guest: Guest, kind: str) -> AsyncIterator[Watched]:
        """A line of a guest that runs.  Raises Refused, NodeUnreachable."""
        guest.running()
        if kind == "serial":
            watched = await self._join_serial(guest)
            try:
                yield watched
            finally:
                self._leave_serial(guest.id, watched)
            return
        if self._screens[guest.id] >= WATCHERS_LIMIT:
            raise Refused(f"{WATCHERS_LIMIT} watch this screen already")
        self._screens[guest.id] += 1
        try:
            async with self._screen(guest) as watched:
                yield watched
        finally:
            self._screens[guest.id] -= 1
            self._screens += Counter()  # forgets who has none

    @contextlib.asynccontextmanager
    async def _screen(self, guest: Guest) -> AsyncIterator[Watched]:
        with door(guest.directory, VNC) as path:
            reader, writer = await open_stream(f"unix:{path}", timeout_s=CONNECT_S)
        watched = Watched(writer)
        task = self._tasks.spawn(_pump(reader, [watched]))
        try:
            yield watched
        finally:
            task.cancel()
            writer.close()

    async def _join_serial(self, guest: Guest) -> Watched:
        async with self._opening.setdefault(guest.id, asyncio.Lock()):
            watchers = self._serial.get(guest.id)
            if watchers is None:
                with door(guest.directory, SERIAL) as path:
                    reader, writer = await open_stream(f"unix:{path}", timeout_s=CONNECT_S)
                watchers = self._serial[guest.id] = []
                self._writers[guest.id] = writer
                self._tasks.spawn(self._serve_serial(guest.id, reader, watchers))
            if len(watchers) >= WATCHERS_LIMIT:
                raise Refused(f"{WATCHERS_LIMIT} watch this line already")
            watched = Watched(self._writers[guest.id])
            watchers.append(watched)
            return watched

    async def _serve_serial(self, server: str, reader: asyncio.StreamReader, watchers: list[Watched]) -> None:
        try:
            await _pump(reader, watchers)
        finally:
            if self._serial.get(server) is watchers:
                del self._serial[server]
                self._writers.pop(server).close()

    def _leave_serial(self, server: str, watched: Watched) -> None:
        watchers = self._serial.get(server)
        if watchers is None:
            return
        if watched in watchers:  # who did not keep up is not
            watchers.remove(watched)
        if not watchers:
            self._writers[server].close()  # which ends its task; the line is free for others then
            del self._serial[server], self._writers[server]


async def _pump(reader: asyncio.StreamReader, watchers: list[Watched]) -> None:
    piece: bytes | None = b""
    while piece is not None:
        try:
            piece = await reader.read(PIECE_BYTES) or None
        except OSError:
            piece = None
        for watched in list(watchers):
            if not watched.show(piece) and piece is not None:
                watchers.remove(watched)


async def bridge(watched: Watched, receive: Receive, send: Send, tasks: TaskOwner) -> None:
    """Between a WebSocket that was accepted and a line, until either ends."""

    async def show() -> None:
        while (piece := await watched.take()) is not None:
            await send({"type": "websocket.send", "bytes": piece})

    async def type_in() -> None:
        while (message := await receive())["type"] == "websocket.receive":
            data = message.get("bytes")
            await watched.write(str(message.get("text") or "").encode() if data is None else bytes(data))

    work = [tasks.spawn(show()), tasks.spawn(type_in())]
    try:
        await asyncio.wait(work, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in work:
            task.cancel()
        await asyncio.wait(work)
    if work[1].cancelled() or work[1].exception() is not None:  # the client is there yet
        await send({"type": "websocket.close", "code": 1000})
