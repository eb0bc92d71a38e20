"""Connections as streams of bytes, where that is all that is wanted: bridges and tunnels between sockets of this machine and others.

Addresses are those of runtime/net.py.  A stream holds a little of what was not read yet, then its peer has to wait.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from objstore.errors import NodeUnreachable
from objstore.runtime.net import split_address

LIMIT_BYTES = 256 * 1024
PIECE_BYTES = 256 * 1024

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def open_stream(address: str, *, timeout_s: float) -> Stream:
    """Connect.  Raises NodeUnreachable."""
    kind, host, port = split_address(address)
    try:
        async with asyncio.timeout(timeout_s):
            if kind == "unix":
                return await asyncio.open_unix_connection(host, limit=LIMIT_BYTES)
            return await asyncio.open_connection(host, port, limit=LIMIT_BYTES)
    except (OSError, TimeoutError) as failure:
        raise NodeUnreachable(f"cannot connect to {address}: {failure!r}") from failure


@contextlib.asynccontextmanager
async def listening(address: str, serve: Serve) -> AsyncIterator[str]:
    """Accept connections until the end of the block; the address, with the port that was found for port 0.  Raises OSError."""
    kind, host, port = split_address(address)
    if kind == "unix":
        server = await asyncio.start_unix_server(serve, host, limit=LIMIT_BYTES)
        found = address
    else:
        server = await asyncio.start_server(serve, host, port, limit=LIMIT_BYTES)
        found = f"tcp:{host}:{server.sockets[0].getsockname()[1]}"
    try:
        yield found
    finally:
        server.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Everything from one to the other, and then its end.  Raises OSError."""
    while piece := await reader.read(PIECE_BYTES):
        writer.write(piece)
        await writer.drain()
    if writer.can_write_eof():
        writer.write_eof()


async def join(one: Stream, other: Stream) -> None:
    """Carry bytes both ways until both sides have ended, or one breaks; both are closed then."""
    try:
        await asyncio.gather(copy(one[0], other[1]), copy(other[0], one[1]))
    except OSError:
        pass  # one side is gone: so is the other
    finally:
        one[1].close()
        other[1].close()
