"""Connections that leave the cluster: the one door to foreign hosts, whatever is spoken through it.

The rules that keep it from being turned against the network it stands in: addresses come from the operator's configuration
alone, never from what a client sent; an answer never leads to another address (no redirects, no proxies from the environment);
over TLS the certificate and its name are always checked, and nothing switches that off; every call has a deadline and every
answer a limit.  What goes wrong is an OSError whose text names the host and never what stands before the `@`.
"""

import asyncio
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

LINE_LIMIT_BYTES = 65_536
MAX_URL_CHARS = 4096


@dataclass(frozen=True)
class Place:
    """Where to connect to and as whom: a URL taken apart."""

    scheme: str
    host: str
    port: int
    path: str  # as it stands in the URL, without the query
    query: str
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def authority(self) -> str:
        """Host and port as a Host header names them."""
        return f"{self.bracketed}:{self.port}"

    @property
    def bracketed(self) -> str:
        """The host; an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def target(self) -> str:
        """Path and query, as HTTP asks for them."""
        return (self.path or "/") + (f"?{self.query}" if self.query else "")

    def parameter(self, name: str) -> str:
        """A parameter of the query, decoded; empty when there is none.  Raises ValueError when it is given twice."""
        values = parse_qs(self.query, keep_blank_values=True).get(name, [""])
        if len(values) > 1:
            raise ValueError(f"{name} is given {len(values)} times")
        return values[0]

    def __str__(self) -> str:
        return f"{self.scheme}://{self.authority}"


def place_of(url: str, ports: dict[str, int]) -> Place:
    """A URL whose scheme is one of `ports` (scheme -> default port).  Raises ValueError, which does not repeat credentials."""
    if len(url) > MAX_URL_CHARS or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError(f"an address is printable ASCII of at most {MAX_URL_CHARS} characters, without blanks")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("an address of the form SCHEME://HOST:PORT/PATH is needed") from None
    if parts.scheme not in ports or not parts.hostname:
        raise ValueError(f"{_shown(parts)!r} is not an address of the form {'://, '.join(ports)}://HOST:PORT/PATH")
    if parts.fragment:
        raise ValueError(f"{_shown(parts)!r}: an address has no fragment")
    return Place(
        parts.scheme, parts.hostname, port or ports[parts.scheme], parts.path, parts.query,
        unquote(parts.username or ""), unquote(parts.password or ""),
    )  # fmt: skip


def _shown(parts: SplitResult) -> str:
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def tls_context(ca_file: str = "") -> ssl.SSLContext:
    """Checks certificates against those in `ca_file`, or the system's, and their names.  Raises OSError."""
    return ssl.create_default_context(cafile=ca_file or None)


@asynccontextmanager
async def connected(place: Place, tls: ssl.SSLContext | None) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection that is gone afterwards.  Raises OSError; what else a protocol's reader raises becomes one, naming the place."""
    try:
        reader, writer = await dial(place, tls)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()  # the answer is here, or there is none; a polite end of TLS could take its time
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ValueError) as failure:
        raise OSError(f"{place} does not answer as it should: {failure!r}") from failure


async def dial(place: Place, tls: ssl.SSLContext | None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A connection that its caller aborts; the caller has the deadline.  Raises OSError."""
    return await asyncio.open_connection(place.host, place.port, ssl=tls, limit=LINE_LIMIT_BYTES)


def check_text(what: str, texts: Collection[str]) -> None:
    """Raises ValueError for text that would break out of its line."""
    if any(char in text for text in texts for char in "\r\n\0"):
        raise ValueError(f"{what} holds control characters")
