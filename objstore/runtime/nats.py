"""One message to a NATS server: connect, publish, and wait until the server says that it took it.

A connection each, since messages are few.  TLS begins after the server's INFO, as its protocol has it.
"""

import asyncio
import ssl

import msgspec

from objstore.runtime.dial import connected, place_of, tls_context

PORTS = {"nats": 4222, "tls": 4222}


class _Info(msgspec.Struct):
    tls_required: bool = False
    max_payload: int = 1 << 20


class Nats:
    """Publishes under one subject: nats://HOST:PORT/SUBJECT, tls:// where it must be encrypted; slashes stand for dots."""

    def __init__(self, url: str, token: str, ca_file: str) -> None:
        self._place = place_of(url, PORTS)
        self._subject = self._place.path.strip("/").replace("/", ".")
        if not self._subject:
            raise ValueError(f"{self._place} names no subject: nats://HOST:PORT/SUBJECT")
        self._ca_file = ca_file
        self._tls = tls_context(ca_file) if self._place.scheme == "tls" else None
        self._options: dict[str, str | bool | int] = {
            "verbose": False, "pedantic": False, "name": "objstore", "lang": "python", "version": "1", "protocol": 0,
        }  # fmt: skip
        if token:
            self._options["auth_token"] = token
        elif self._place.user:
            self._options |= {"user": self._place.user, "pass": self._place.password}

    async def send(self, body: bytes) -> None:
        """Returns when the server took it; the caller has the deadline.  Raises OSError."""
        async with connected(self._place, None) as (reader, writer):
            line = await reader.readuntil(b"\r\n")
            if not line.startswith(b"INFO "):
                raise OSError(f"{self._place} does not speak NATS")
            info = msgspec.json.decode(line[5:], type=_Info)  # a ValueError is no answer as it should be
            if len(body) > info.max_payload:
                raise OSError(f"{self._place} takes no more than {info.max_payload} bytes, the message has {len(body)}")
            if self._tls is not None or info.tls_required:
                await writer.start_tls(self._context(), server_hostname=self._place.host)
            writer.write(b"CONNECT " + msgspec.json.encode(self._options) + b"\r\n")
            writer.write(f"PUB {self._subject} {len(body)}\r\n".encode() + body + b"\r\nPING\r\n")
            await writer.drain()
            await self._taken(reader)

    def close(self) -> None:
        """Nothing is kept."""

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = tls_context(self._ca_file)
        return self._tls

    async def _taken(self, reader: asyncio.StreamReader) -> None:
        # The server works in order: its PONG says that it took what came before.
        while True:
            line = await reader.readuntil(b"\r\n")
            if line.startswith(b"PONG"):
                return
            if line.startswith(b"-ERR"):
                raise OSError(f"{self._place} refused: {line!r}")
