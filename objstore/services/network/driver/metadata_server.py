"""HTTP in each network's namespace, for its guests: one listener a network, all in the agent's process.

A guest is known by the network that its connection came in by and its source address, which the network's rules keep honest.  What comes is hostile: a
request has a deadline and a limit, a guest so many connections and requests a second; whoever is unknown is told 404.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import cast
from urllib.parse import unquote

from objstore.errors import ObjstoreError, TooBusy
from objstore.runtime.clock import Clock
from objstore.runtime.tasks import TaskOwner
from objstore.services.network.driver.api import Lookup
from objstore.services.network.driver.metadata import Found, answer

log = logging.getLogger(__name__)

MAX_HEAD_BYTES = 8192
HEAD_TIMEOUT_S = 5.0
LOOKUP_TIMEOUT_S = 10.0
GUEST_CONNECTIONS = 16  # at once
GUEST_REQUESTS_PER_S, GUEST_BURST = 20.0, 100.0
CONNECTIONS = 1024
MAX_GUESTS_REMEMBERED = 10_000
_REASONS = {
    200: "OK",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    429: "Too Many Requests",
    503: "Service Unavailable",
}

Guest = tuple[str, str]  # (namespace, address)


class MetadataServer:
    """Answers for all networks."""

    def __init__(self, clock: Clock, guest: Callable[[Guest], tuple[str, str] | None], lookup: Lookup) -> None:
        self._clock = clock
        self._guest = guest  # -> (port, server)
        self._lookup = lookup
        self._tasks = TaskOwner("metadata", limit=CONNECTIONS)
        self._open: dict[Guest, int] = {}
        self._spent: dict[Guest, tuple[float, float]] = {}  # guest -> (requests to its credit, when)

    def connection(self, space: str) -> "Connection":
        """What serves a connection into a namespace."""
        return Connection(self, space)

    def enter(self, guest: Guest) -> bool:
        """Count a connection; False when it is one too many."""
        if self._open.get(guest, 0) >= GUEST_CONNECTIONS or len(self._tasks) >= CONNECTIONS:
            return False
        self._open[guest] = self._open.get(guest, 0) + 1
        return True

    def leave(self, guest: Guest) -> None:
        """A connection that was counted has ended."""
        self._open[guest] -= 1
        if not self._open[guest]:
            del self._open[guest]

    def spawn(self, connection: "Connection", head: bytes) -> None:
        """Answer a request in its own time."""
        self._tasks.spawn(connection.serve(head))

    async def respond(self, guest: Guest, head: bytes) -> Found:
        """To the head of a request."""
        words = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1.") or not words[1].startswith("/"):
            return Found(400, b"this is no request of HTTP\n")
        if not self._may(guest):
            return Found(429, b"too many requests: wait a second\n")
        known = self._guest(guest)
        if known is None:
            return Found(404, b"no server has this address\n")
        try:
            async with asyncio.timeout(LOOKUP_TIMEOUT_S):
                metadata = await self._lookup(*known)
        except (ObjstoreError, TimeoutError, OSError) as failure:
            log.warning("metadata of port %s: %r", known[0], failure)
            return Found(503, b"try again\n")
        if metadata is None:
            return Found(404, b"nothing is known of this server\n")
        return answer(words[0], unquote(words[1]), metadata, guest[1])

    def _may(self, guest: Guest) -> bool:
        now = self._clock.monotonic()
        credit, then = self._spent.get(guest, (GUEST_BURST, now))
        credit = min(GUEST_BURST, credit + (now - then) * GUEST_REQUESTS_PER_S) - 1
        if len(self._spent) >= MAX_GUESTS_REMEMBERED:
            self._spent.clear()
        self._spent[guest] = (max(credit, -1.0), now)
        return credit >= 0

    async def aclose(self) -> None:
        """End all connections."""
        await self._tasks.aclose()


class Connection(asyncio.Protocol):
    """One request, then it is closed: no guest gains from more, and none holds on to anything."""

    def __init__(self, server: MetadataServer, space: str) -> None:
        self._server = server
        self._space = space
        self._transport: asyncio.Transport | None = None
        self._guest: Guest | None = None
        self._head = bytearray()
        self._asked = False
        self._deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Counted from the first moment."""
        stream = cast("asyncio.Transport", transport)  # uvloop's is one, and does not say so
        self._transport = stream
        peer = transport.get_extra_info("peername")
        guest = (self._space, str(peer[0]).partition("%")[0] if peer else "")
        if not self._server.enter(guest):
            stream.abort()
            return
        self._guest = guest
        self._deadline = asyncio.get_running_loop().call_later(HEAD_TIMEOUT_S, stream.abort)

    def data_received(self, data: bytes) -> None:
        """What follows a request's head is not looked at."""
        if self._asked or self._guest is None or self._transport is None:
            return
        self._head += data
        if len(self._head) > MAX_HEAD_BYTES:
            self._transport.abort()
        elif b"\r\n\r\n" in self._head:
            self._asked = True
            try:
                self._server.spawn(self, bytes(self._head))
            except TooBusy:
                self._transport.abort()

    async def serve(self, head: bytes) -> None:
        """Answer, and close."""
        assert self._guest is not None
        assert self._transport is not None
        if self._deadline is not None:
            self._deadline.cancel()
        found = await self._server.respond(self._guest, head)
        lines = (
            f"HTTP/1.1 {found.status} {_REASONS[found.status]}\r\nContent-Type: {found.kind}\r\n"
            f"Content-Length: {len(found.body)}\r\nConnection: close\r\n\r\n"
        )
        self._transport.write(lines.encode() + (b"" if head.startswith(b"HEAD ") else found.body))
        self._transport.close()
        # A guest that does not take its answer must not keep the connection for ever.
        self._deadline = asyncio.get_running_loop().call_later(HEAD_TIMEOUT_S, self._transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        """Given back."""
        if self._deadline is not None:
            self._deadline.cancel()
        if self._guest is not None:
            self._server.leave(self._guest)
            self._guest = None
