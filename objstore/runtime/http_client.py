"""One HTTP request to a service outside of the cluster, with a deadline; over TLS where the address says https.

For calls that are rare and small (a key service): one connection each, no redirects, no proxies, no compression, and an
answer that is bounded.
"""

import asyncio
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import httptools

MAX_ANSWER_BYTES = 1024 * 1024


@dataclass
class Answer:
    """What came back; names of headers in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Http:
    """Sends requests to addresses below one base URL."""

    def __init__(self, base_url: str, *, timeout_s: float, ca_file: str = "") -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
            raise ValueError(f"{base_url!r} is not an http or https address of a host")
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._authority = parts.netloc
        self._path = parts.path.rstrip("/")
        self._tls = ssl.create_default_context(cafile=ca_file or None) if parts.scheme == "https" else None
        self._timeout_s = timeout_s

    async def request(self, method: str, path: str, *, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        """The answer, whatever its status.  Raises OSError (TimeoutError too) when there is none; `path` begins with a slash."""
        head = [f"{method} {self._path}{path} HTTP/1.1", f"Host: {self._authority}", "Connection: close", f"Content-Length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if any(char in line for line in head for char in "\r\n\0"):
            raise ValueError("a header or path holds control characters")
        async with asyncio.timeout(self._timeout_s):
            reader, writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
            try:
                writer.write("\r\n".join([*head, "", ""]).encode() + body)
                await writer.drain()
                return await _read(reader)
            finally:
                writer.transport.abort()  # the answer is here; a polite end of TLS could take its time


async def _read(reader: asyncio.StreamReader) -> Answer:
    collector = _Collector()
    parser = httptools.HttpResponseParser(collector)
    while not collector.complete:
        data = await reader.read(65536)
        if not data:
            break
        try:
            parser.feed_data(data)
        except httptools.HttpParserError as failure:
            raise ConnectionError(f"the answer is not HTTP: {failure}") from None
        if collector.size > MAX_ANSWER_BYTES:
            raise ConnectionError(f"the answer is larger than {MAX_ANSWER_BYTES} bytes")
    if not collector.complete and not collector.ends_with_connection:
        raise ConnectionError("the connection ended before the answer did")
    return Answer(parser.get_status_code(), collector.headers, b"".join(collector.pieces))


class _Collector:
    def __init__(self) -> None:
        self.headers: dict[str, str] = {}
        self.pieces: list[bytes] = []
        self.size = 0
        self.complete = False
        self._headed = False

    @property
    def ends_with_connection(self) -> bool:
        return self._headed and "content-length" not in self.headers and "transfer-encoding" not in self.headers

    def on_header(self, name: bytes, value: bytes) -> None:
        self.size += len(name) + len(value)
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self._headed = True

    def on_body(self, body: bytes) -> None:
        self.size += len(body)
        self.pieces.append(body)

    def on_message_complete(self) -> None:
        self.complete = True
