"""HTTP requests to services outside of the cluster, each with a deadline; over TLS where the address says https.

For calls that are rare and small (a key service, keys of an issuer, webhooks): one connection each, no redirects, no proxies, no
compression, and an answer that is bounded.  The grammar is httptools'; a client library of the usual size would bring ten
packages and most of a second of imports into the process that holds the keys, for a dozen calls a minute.
"""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

import httptools

from objstore.runtime.dial import Place, check_text, connected, place_of, tls_context

PORTS = {"http": 80, "https": 443}
MAX_ANSWER_BYTES = 1024 * 1024


@dataclass
class Answer:
    """What came back; names of headers in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Http:
    """Sends requests to addresses below one base URL; without `timeout_s` the caller has the deadline."""

    def __init__(self, base_url: str, *, timeout_s: float | None, ca_file: str = "") -> None:
        place = place_of(base_url, PORTS)
        if place.query or place.user or place.password:
            raise ValueError(f"{place} is not an address alone: it has credentials or a query")
        self._place = place
        self._path = place.path.rstrip("/")
        self._tls = tls_context(ca_file) if place.scheme == "https" else None
        self._timeout_s = timeout_s

    async def request(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"", head_only: bool = False) -> Answer:
        """The answer, whatever its status; with `head_only` without its body, as soon as its head is here.

        `path` begins with a slash.  Raises OSError (TimeoutError too) when there is no answer.
        """
        head = self._head(method, path, headers, len(body))
        async with asyncio.timeout(self._timeout_s), connected(self._place, self._tls) as (reader, writer):
            writer.write(head + body)
            await writer.drain()
            return await _read(reader, head_only=head_only)

    async def upload(self, path: str, pieces: AsyncIterator[bytes | memoryview], size: int, *, headers: Mapping[str, str]) -> Answer:
        """PUT a body of `size` bytes piece by piece; the head of the answer.  The deadline begins anew with each piece.

        Raises OSError when there is no answer, and what reading the pieces raises: the connection then ends before the body does.
        """
        head = self._head("PUT", path, headers, size)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(self._timeout_s) as deadline, connected(self._place, self._tls) as (reader, writer):
            writer.write(head)
            try:
                async for piece in pieces:
                    writer.write(piece)
                    await writer.drain()
                    if self._timeout_s is not None:
                        deadline.reschedule(loop.time() + self._timeout_s)
            except ConnectionError:  # whoever refuses does not wait for the rest; his answer may be here
                pass
            return await _read(reader, head_only=True)

    def _head(self, method: str, path: str, headers: Mapping[str, str], length: int) -> bytes:
        place = self._place
        host = place.bracketed if place.port == PORTS[place.scheme] else place.authority
        head = [f"{method} {self._path}{path} HTTP/1.1", f"Host: {host}", "Connection: close", f"Content-Length: {length}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        check_text("a header or path", head)
        return "\r\n".join([*head, "", ""]).encode()


def split_target(url: str) -> tuple[str, str]:
    """(base URL for `Http`, target of the request) of the URL of one thing.  Raises ValueError."""
    place = place_of(url, PORTS)
    return str(place), place.target


def basic_authorization(place: Place) -> str:
    """An Authorization header of the credentials in a URL."""
    return "Basic " + base64.b64encode(f"{place.user}:{place.password}".encode()).decode()


async def _read(reader: asyncio.StreamReader, *, head_only: bool) -> Answer:
    collector = _Collector()
    parser = httptools.HttpResponseParser(collector)
    collector.status_of = parser.get_status_code
    while not (collector.complete or (head_only and collector.headed)):
        data = await reader.read(65536)
        if not data:
            break
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # which is no HttpParserError
            raise ConnectionError("the answer is a change to another protocol, which nobody asked for") from None
        except httptools.HttpParserError as failure:
            raise ConnectionError(f"the answer is not HTTP: {failure}") from None
        if collector.size > MAX_ANSWER_BYTES:
            raise ConnectionError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    if not (collector.complete or (collector.headed and (head_only or collector.ends_with_connection))):
        raise ConnectionError("the connection ended before the answer did")
    return Answer(collector.status, collector.headers, b"" if head_only else b"".join(collector.pieces))


class _Collector:
    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.size = 0
        self.headed = False
        self.complete = False
        self.status_of: Callable[[], int] = int

    @property
    def ends_with_connection(self) -> bool:
        return "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def on_status(self, status: bytes) -> None:
        self.size += len(status)

    def on_header(self, name: bytes, value: bytes) -> None:
        self.size += len(name) + len(value)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self.status_of()
        self.headed = self.status >= 200  # what comes before is news on the way (103 Early Hints), another head follows
        if not self.headed:
            self.headers = {}

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = self.headed
