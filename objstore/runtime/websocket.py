"""WebSockets to services outside of this process: one address of the caller's choice, no redirects, no proxies, no compression, bounded messages.

The rules are those of `runtime/dial.py`.
"""

import contextlib
import logging
from collections.abc import AsyncIterator, Mapping

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidURI

from objstore.runtime.dial import check_text, place_of, tls_context

PORTS = {"ws": 80, "wss": 443}
MAX_MESSAGE_BYTES = 1024 * 1024
# The library tells headers, credentials among them, to whoever listens for details.
_QUIET = logging.getLogger("objstore.websocket")
_QUIET.setLevel(logging.WARNING)


class _Straight(connect):
    """Goes where it was sent and nowhere else."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Never follow."""
        return exc


class Wire:
    """An open WebSocket."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection

    async def receive(self) -> bytes | None:
        """The next message; None at the end."""
        try:
            found = await self._connection.recv()
        except ConnectionClosed:
            return None
        return found.encode() if isinstance(found, str) else found

    async def send(self, data: bytes) -> None:
        """Raises ConnectionError at the end."""
        try:
            await self._connection.send(data)
        except ConnectionClosed as failure:
            raise ConnectionError("the other side closed the WebSocket") from failure


@contextlib.asynccontextmanager
async def websocket(url: str, *, headers: Mapping[str, str], timeout_s: float, ca_file: str = "") -> AsyncIterator[Wire]:
    """A WebSocket at a ws:// or wss:// address, closed afterwards; the handshake has a deadline.  Raises OSError, ValueError."""
    place = place_of(url, PORTS)
    check_text("a header", [f"{name}: {value}" for name, value in headers.items()])
    tls = tls_context(ca_file) if place.scheme == "wss" else None
    opening = _Straight(
        url, additional_headers=dict(headers), user_agent_header=None, ssl=tls, proxy=None, compression=None, open_timeout=timeout_s,
        max_size=MAX_MESSAGE_BYTES, logger=_QUIET,
    )  # fmt: skip
    try:
        connection = await opening.__aenter__()
    except (InvalidHandshake, InvalidURI) as failure:
        raise ConnectionError(f"{place} does not open a WebSocket: {failure}") from None
    try:
        yield Wire(connection)
    finally:
        await connection.close()
