"""Connections: the only door to sockets between our own processes.

An address is "tcp:HOST:PORT" or "unix:/PATH".  Both sides are plain asyncio protocols over reliable ordered byte
streams, so the wire code runs unchanged on the simulator's network (tests/sim).
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from objstore.errors import NodeUnreachable

LOCAL_SEND_BYTES = 2 * 1024 * 1024  # the kernel takes as much of it as net.core.wmem_max allows
LOOPBACK = ("127.0.0.1", "::1", "localhost")

ProtocolFactory = Callable[[], asyncio.BaseProtocol]


class Listener(Protocol):
    """A listening socket."""

    async def aclose(self) -> None:
        """Stop listening; connections that are open stay."""


class Net(Protocol):
    """Opens and accepts connections."""

    async def connect(self, address: str, factory: ProtocolFactory, *, timeout_s: float) -> asyncio.BaseProtocol:
        """Connect and return the protocol.  Raises NodeUnreachable."""

    async def listen(self, address: str, factory: ProtocolFactory) -> Listener:
        """Accept connections.  Raises OSError when the address is taken."""


def split_address(address: str) -> tuple[str, str, int]:
    """("tcp", host, port) or ("unix", path, 0).  Raises ValueError."""
    kind, _, rest = address.partition(":")
    if kind == "unix" and rest:
        return "unix", rest, 0
    host, _, port = rest.rpartition(":")
    if kind != "tcp" or not host or not port.isdigit():
        raise ValueError(f"address {address!r} is neither tcp:HOST:PORT nor unix:/PATH")
    return "tcp", host, int(port)


def local_socket(directory: str, address: str) -> str:
    """The Unix socket beside a TCP address of this machine, "" where there can be none.  Raises ValueError.

    Bodies cost a third of the CPU there, small messages half of it.
    """
    kind, host, port = split_address(address)
    return f"unix:{directory}/{port}.sock" if directory and kind == "tcp" and host in LOOPBACK else ""


def widen(transport: asyncio.BaseTransport) -> None:
    """Let a Unix socket hold as much on its way as TCP does: by default a body of a megabyte would stop and go five times."""
    sock = transport.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, LOCAL_SEND_BYTES)


def free_port(protocol: str, preferred: int = 0) -> int:
    """A port of the loopback address that nobody has now: the preferred one where it is free.  `protocol` is "tcp" or "udp".  Raises OSError: there is none."""
    kind = socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM
    for wanted in (preferred, 0) if preferred else (0,):
        with socket.socket(socket.AF_INET, kind) as tried:
            try:
                tried.bind(("127.0.0.1", wanted))
            except OSError:
                if not wanted:
                    raise
            else:
                found: int = tried.getsockname()[1]
                return found
    raise AssertionError("the last one is any")


def send_descriptor(transport: asyncio.BaseTransport, data: bytes, descriptor: int) -> None:
    """Write `data` on a connection over a Unix socket, and with it an open file.  Raises OSError; the peer takes so little at once always."""
    own = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
    with own:
        sent = own.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", descriptor))])
    if sent != len(data):
        raise OSError("a Unix socket took a part of a short message only")


class SocketListener:
    """A server of asyncio's."""

    def __init__(self, server: asyncio.Server) -> None:
        self._server = server

    async def aclose(self) -> None:
        """Stop listening."""
        self._server.close()


class SocketNet:
    """Real sockets; TCP_NODELAY everywhere, since Nagle with delayed acknowledgements costs 40 ms an answer.

    With a directory of local sockets a process of this machine that listens there too is spoken to over its Unix socket.
    """

    def __init__(self, local_sockets: str = "") -> None:
        self._local_sockets = local_sockets

    async def connect(self, address: str, factory: ProtocolFactory, *, timeout_s: float) -> asyncio.BaseProtocol:
        """Connect.  Raises NodeUnreachable."""
        local = local_socket(self._local_sockets, address)
        if local:
            with contextlib.suppress(NodeUnreachable):
                return await self._connect(local, factory, timeout_s)
        return await self._connect(address, factory, timeout_s)

    async def _connect(self, address: str, factory: ProtocolFactory, timeout_s: float) -> asyncio.BaseProtocol:
        kind, host, port = split_address(address)
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout_s):
                if kind == "unix":
                    return (await loop.create_unix_connection(factory, host))[1]
                transport, protocol = await loop.create_connection(factory, host, port)
        except (OSError, TimeoutError) as failure:
            raise NodeUnreachable(f"cannot connect to {address}: {failure!r}") from failure
        sock = transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return protocol

    async def listen(self, address: str, factory: ProtocolFactory) -> Listener:
        """Accept connections."""
        kind, host, port = split_address(address)
        loop = asyncio.get_running_loop()
        if kind == "unix":
            with contextlib.suppress(FileNotFoundError):
                Path(host).unlink()
            return SocketListener(await loop.create_unix_server(factory, host, backlog=1024))
        return SocketListener(await loop.create_server(factory, host, port, backlog=1024))
