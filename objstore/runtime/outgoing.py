"""Messages to foreign servers: webhooks over HTTP or HTTPS, and NATS.  The only door to connections that leave the cluster.

One connection a message, since there are few; each has one deadline for all of it.  Whatever goes wrong is an OSError.
"""

import asyncio
import json
import ssl
from typing import NamedTuple, Protocol
from urllib.parse import urlsplit

ANSWER_LIMIT_BYTES = 65_536


class Message(NamedTuple):
    """What is to be sent where; `token` authorises."""

    url: str
    body: bytes
    token: str = ""


class Outgoing(Protocol):
    """Sends messages."""

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Returns when the server took it.  Raises OSError."""


class SocketOutgoing:
    """Real connections."""

    async def send(self, message: Message, *, timeout_s: float) -> None:
        """Returns when the server took it.  Raises OSError."""
        parts = urlsplit(message.url)
        send = _nats if parts.scheme in ("nats", "tls") else _webhook
        secure = parts.scheme in ("https", "tls")
        default = {"http": 80, "https": 443}.get(parts.scheme, 4222)
        try:
            async with asyncio.timeout(timeout_s):
                reader, writer = await asyncio.open_connection(
                    parts.hostname or "",
                    parts.port or default,
                    ssl=ssl.create_default_context() if secure else None,
                    limit=ANSWER_LIMIT_BYTES,
                )
                try:
                    await send(reader, writer, message)
                finally:
                    writer.close()
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as failure:
            raise OSError(f"{parts.hostname} does not answer as it should: {failure!r}") from failure


def check_url(url: str) -> None:
    """Raises ValueError for an address that nothing can be sent to."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https", "nats", "tls") or not parts.hostname or not url.isascii() or " " in url:
        raise ValueError(f"{url!r} is not an address of the form http://, https://, nats:// or tls://")
    if parts.scheme in ("nats", "tls") and not parts.path.strip("/"):
        raise ValueError(f"{url!r} names no subject: nats://HOST:PORT/SUBJECT")


async def _webhook(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: Message) -> None:
    parts = urlsplit(message.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    host = parts.netloc.rpartition("@")[2]
    authorization = f"Authorization: Bearer {message.token}\r\n" if message.token else ""
    writer.write(
        f"POST {target} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{authorization}"
        f"Content-Length: {len(message.body)}\r\nConnection: close\r\n\r\n".encode()
    )
    writer.write(message.body)
    await writer.drain()
    words = (await reader.readuntil(b"\r\n")).split(b" ")
    if len(words) < 2 or len(words[1].strip()) != 3 or not words[1].startswith(b"2"):
        raise OSError(f"{host} answered {words[1:2]}")


async def _nats(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, message: Message) -> None:
    parts = urlsplit(message.url)
    if not (await reader.readuntil(b"\r\n")).startswith(b"INFO "):
        raise OSError(f"{parts.hostname} does not speak NATS")
    options = {"verbose": False, "pedantic": False, "name": "objstore", "lang": "python", "version": "1", "protocol": 0}
    if message.token:
        options["auth_token"] = message.token
    subject = parts.path.strip("/").replace("/", ".")
    writer.write(b"CONNECT " + json.dumps(options).encode() + b"\r\n")
    writer.write(f"PUB {subject} {len(message.body)}\r\n".encode() + message.body + b"\r\nPING\r\n")
    await writer.drain()
    # The server works in order: its PONG says that it took what came before.
    while True:
        line = await reader.readuntil(b"\r\n")
        if line.startswith(b"PONG"):
            return
        if line.startswith(b"-ERR"):
            raise OSError(f"{parts.hostname} refused: {line!r}")
