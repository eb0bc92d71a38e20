"""Fetches a document of any size over HTTP(S) from a host that the operator has named: what a client asks the service to fetch.

The address comes from outside, so everything about it is checked here, at the moment of connecting: the host must be on the list;
its name is resolved once, every address that it has must be a public one (unless the operator says that this host may be private), and
the connection goes to one of these very addresses, so a name that changes its mind gains nothing.  Redirects are not followed, proxies not
used, credentials in addresses refused, and certificates always checked.
"""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, field

import httptools

from objstore.runtime.dial import LINE_LIMIT_BYTES, Place, place_of, tls_context

PORTS = {"http": 80, "https": 443}
READ_BYTES = 256 * 1024
MAX_HEAD_BYTES = 64 * 1024
IDLE_S = 60.0  # without a byte
Resolve = Callable[[str, int], "asyncio.Future[list[str]]"]


class NotAllowed(ValueError):
    """The address is not one that may be fetched from."""


@dataclass(frozen=True)
class Allowed:
    """Hosts that may be fetched from, as HOST or HOST:PORT; `private` are those of them that may be on private addresses."""

    hosts: Collection[str] = ()
    private: Collection[str] = ()
    ca_file: str = ""

    def check(self, url: str) -> Place:
        """The place of a URL.  Raises NotAllowed."""
        try:
            place = place_of(url, PORTS)
        except ValueError as failure:
            raise NotAllowed(str(failure)) from None
        if place.user or place.password:
            raise NotAllowed("an address to fetch from has no credentials")
        if not _listed(place, self.hosts):
            raise NotAllowed(f"{place.host} is not a host that images may be fetched from")
        return place

    def check_address(self, place: Place, address: str) -> None:
        """Raises NotAllowed for addresses inside of networks."""
        found = ipaddress.ip_address(address.partition("%")[0])
        mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None)
        public = found.is_global and not found.is_multicast and (mapped is None or mapped.is_global)
        if not public and not _listed(place, self.private):
            raise NotAllowed(f"{place.host} has an address that is not a public one")


def _listed(place: Place, hosts: Collection[str]) -> bool:
    host = place.host.lower().rstrip(".")
    return any(entry.lower() in (host, f"{host}:{place.port}", place.bracketed.lower(), place.authority.lower()) for entry in hosts)


@dataclass
class Download:
    """A document that is coming: how long it is, where that is said, and its bytes."""

    size: int | None
    chunks: AsyncIterator[bytes]


@contextlib.asynccontextmanager
async def download(url: str, allowed: Allowed) -> AsyncIterator[Download]:
    """Fetch a document.  The caller has the deadline.  Raises NotAllowed; OSError where there is no such document."""
    place = allowed.check(url)
    address = await _resolve(place, allowed)
    tls = tls_context(allowed.ca_file) if place.scheme == "https" else None
    reader, writer = await asyncio.open_connection(
        address, place.port, ssl=tls, server_hostname=place.host if tls is not None else None, limit=LINE_LIMIT_BYTES
    )
    try:
        host = place.bracketed if place.port == PORTS[place.scheme] else place.authority
        lines = (f"GET {place.target} HTTP/1.1", f"Host: {host}", "Accept-Encoding: identity", "Connection: close", "", "")
        writer.write("\r\n".join(lines).encode())
        await writer.drain()
        answer = _Answer(reader)
        await answer.head()
        if answer.status != 200:
            raise OSError(
                f"{place.host} answered {answer.status}" + (", and redirects are not followed" if 300 <= answer.status < 400 else "")
            )
        yield Download(answer.size, answer.chunks())
    finally:
        writer.transport.abort()


async def _resolve(place: Place, allowed: Allowed) -> str:
    found = await asyncio.get_running_loop().getaddrinfo(place.host, place.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not addresses:
        raise OSError(f"{place.host} has no address")
    for address in addresses:
        allowed.check_address(place, address)
    return addresses[0]


@dataclass
class _Answer:
    reader: asyncio.StreamReader
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    pieces: list[bytes] = field(default_factory=list)
    headed: bool = False
    complete: bool = False

    def __post_init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._head_bytes = 0

    @property
    def size(self) -> int | None:
        text = self.headers.get("content-length", "")
        return int(text) if text.isdigit() and len(text) < 18 and "transfer-encoding" not in self.headers else None

    async def head(self) -> None:
        while not self.headed:
            await self._read()

    async def chunks(self) -> AsyncIterator[bytes]:
        while True:
            while self.pieces:
                yield self.pieces.pop(0)
            if self.complete:
                return
            try:
                await self._read()
            except _Ended:
                if self.size is None and "transfer-encoding" not in self.headers:
                    return
                raise ConnectionError("the connection ended before the document did") from None

    async def _read(self) -> None:
        async with asyncio.timeout(IDLE_S):
            data = await self.reader.read(READ_BYTES)
        if not data:
            raise _Ended("the connection ended before the answer did")
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # which is no HttpParserError
            raise ConnectionError("the answer is a change to another protocol, which nobody asked for") from None
        except httptools.HttpParserError as failure:
            raise ConnectionError(f"the answer is not HTTP: {failure}") from None
        if self._head_bytes > MAX_HEAD_BYTES:
            raise ConnectionError("the head of the answer is too long")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self.headed = self.status >= 200
        if not self.headed:
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = self.headed


class _Ended(ConnectionError):
    pass
