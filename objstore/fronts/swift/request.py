"""A Swift request: `/v1/ACCOUNT/CONTAINER/OBJECT`, headers and query as text, its body."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from objstore.errors import EntityTooLarge, IncompleteBody
from objstore.fronts.swift.answers import SwiftRefused
from objstore.objects.api import Principal, RequestFacts
from objstore.runtime.clock import Clock

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

NOBODY = Principal(account="", anonymous=True)
_MAX_LENGTH_DIGITS = 15
_MAX_PARAMETERS = 200
_RAW_BASE = 0xEF00  # as S3's front has it: a private-use code point stands for a byte that is not UTF-8
_ONCE = frozenset(("content-length", "content-type", "range", "x-auth-token", "x-storage-token", "etag", "destination", "x-copy-from"))


def header_text(value: str) -> str:
    """A header value (one character a byte) as text: UTF-8 where it is that, else byte for byte."""
    if value.isascii():
        return value
    raw = value.encode("latin-1")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = ""
    if text and not any(_is_raw(char) for char in text):
        return text
    return "".join([chr(byte) if byte < 0x80 else chr(_RAW_BASE + byte) for byte in raw])


def header_bytes(text: str) -> bytes:
    """The header value behind `header_text`."""
    if all(char.isascii() or _is_raw(char) for char in text):  # else it is text of another origin
        return bytes([ord(char) & 0xFF for char in text])
    return text.encode()


def _is_raw(char: str) -> bool:
    return _RAW_BASE + 0x80 <= ord(char) <= _RAW_BASE + 0xFF


def decoded(raw: str) -> str:
    """A percent-encoded name.  Raises SwiftRefused (412) when it is not UTF-8 or holds NUL."""
    try:
        name = unquote_to_bytes(raw.encode("latin-1")).decode()
    except UnicodeDecodeError:
        raise SwiftRefused(412, "Invalid UTF8 or contains NULL") from None
    if "\0" in name:
        raise SwiftRefused(412, "Invalid UTF8 or contains NULL")
    return name


def parse_query(raw: str) -> dict[str, str]:
    """Decoded parameters; of a repeated one the last counts, as WSGI servers have it."""
    table: dict[str, str] = {}
    if not raw:
        return table
    pairs = raw.split("&", _MAX_PARAMETERS + 1)
    if len(pairs) > _MAX_PARAMETERS:
        raise SwiftRefused(400, f"There may be {_MAX_PARAMETERS} query parameters.")
    for pair in pairs:
        name, _, value = pair.partition("=")
        table[decoded(name.replace("+", " "))] = decoded(value.replace("+", " "))
    return table


def header_table(pairs: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name, one character a byte; repeated ones are joined.  Raises SwiftRefused for those of which there must be one."""
    table: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name in table:
            if name in _ONCE:
                raise SwiftRefused(400, f"The header {name} is repeated.")
            value = f"{table[name]},{value}"
        table[name] = value
    return table


class SwiftRequest:
    """One request, parsed once; `who` is set by the authenticator."""

    __slots__ = (
        "account",
        "as_of_us",
        "bytes_in",
        "container",
        "facts",
        "headers",
        "id",
        "key",
        "method",
        "path",
        "query",
        "receive",
        "scheme",
        "scope",
        "temp_url",
        "temp_url_container",
        "token_groups",
        "who",
    )

    def __init__(self, scope: Scope, receive: Receive, request_id: str, clock: Clock) -> None:
        self.id = request_id
        self.scope = scope
        self.receive = receive
        self.method: str = scope["method"]
        self.scheme: str = scope.get("scheme", "http")
        raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        self.path = raw_path.decode("latin-1")
        self.headers: dict[str, str] = {}
        self.query: dict[str, str] = {}
        self.account = ""
        self.container = ""
        self.key = ""
        self.who = NOBODY
        self.bytes_in = 0
        self.temp_url_container = ""  # where a signed address ends that the key of a container alone signed
        self.temp_url: str | None = None  # the method that a signed address allows, once it is verified
        self.token_groups: tuple[str, ...] = ()
        self.as_of_us: int | None = None  # of another cluster's request, verified: when what it tells was done there
        self.facts = SwiftFacts(self, clock)

    def parse(self) -> None:
        """Fill in what the head says.  Raises SwiftRefused."""
        self.headers = header_table(self.scope["headers"])
        self.query = parse_query(self.scope["query_string"].decode("latin-1"))
        parts = self.path.split("/", 4)  # "", "v1", account, container, object
        if len(parts) > 2:
            self.account = decoded(parts[2])
        if len(parts) > 3:
            self.container = decoded(parts[3])
        if len(parts) > 4:
            self.key = decoded(parts[4])
            if self.key and not self.container:
                raise SwiftRefused(412, "Bad URL")

    @property
    def origin(self) -> str:
        """Scheme and host as the client wrote them."""
        return f"{self.scheme}://{self.headers.get('host', 'localhost')}"

    def flag(self, name: str) -> bool:
        """Whether a header says yes."""
        return is_true(self.headers.get(name, ""))

    def body(self, limit_bytes: int, *, must_be_announced: bool = True) -> "SwiftBody":
        """The request's body.  Raises SwiftRefused (411), EntityTooLarge."""
        return SwiftBody(self, limit_bytes, must_be_announced=must_be_announced)

    async def document(self, limit_bytes: int) -> bytes:
        """A small body, whole.  Raises EntityTooLarge, IncompleteBody."""
        body = SwiftBody(self, limit_bytes, must_be_announced=False)
        return b"".join([bytes(piece) async for piece in body])


def is_true(text: str) -> bool:
    """Swift's idea of yes."""
    return text.strip().lower() in ("true", "1", "yes", "on", "t", "y")


class SwiftBody:
    """Implements `objects.api.Body` over ASGI's `receive`."""

    __slots__ = ("_limit", "_more", "_request", "_seen", "size")

    def __init__(self, request: SwiftRequest, limit_bytes: int, *, must_be_announced: bool) -> None:
        self._request = request
        self._limit = limit_bytes
        self._more = True
        self._seen = 0
        self.size: int | None = None
        length = request.headers.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdigit()) or len(length) > _MAX_LENGTH_DIGITS:
                raise SwiftRefused(400, "Invalid Content-Length header value")
            self.size = int(length)
            if self.size > limit_bytes:
                raise EntityTooLarge
        elif "transfer-encoding" not in request.headers:
            if must_be_announced:
                raise SwiftRefused(411, "Content-Length or Transfer-Encoding: chunked is needed.")
            self.size = 0
            self._more = False

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        while self._more:
            message = await self._request.receive()
            if message["type"] != "http.request":
                raise IncompleteBody("the client went away before the body's end")
            self._more = message.get("more_body", False)
            body: bytes = message.get("body", b"")
            self._seen += len(body)
            self._request.bytes_in += len(body)
            if self._seen > self._limit:
                raise EntityTooLarge
            if body:
                return body
        raise StopAsyncIteration

    async def finish(self) -> Mapping[str, bytes]:
        """Nothing follows the bytes."""
        return {}


class Bytes:
    """objects.api.Body over bytes that are all here."""

    def __init__(self, data: bytes) -> None:
        self._pieces = iter((data,))
        self.size: int | None = len(data)

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        for piece in self._pieces:
            return piece
        raise StopAsyncIteration

    async def finish(self) -> Mapping[str, bytes]:
        """Nothing follows the bytes."""
        return {}


class SwiftFacts(RequestFacts):
    """What a request says of itself, for the conditions of policies and the referrers of lists."""

    __slots__ = ("_clock", "_request")

    def __init__(self, request: SwiftRequest, clock: Clock) -> None:
        self._request = request
        self._clock = clock

    @property
    def source_ip(self) -> str:
        """The other end of the connection; empty on a Unix socket."""
        client = self._request.scope.get("client")
        return str(client[0]) if client else ""

    @property
    def secure(self) -> bool:
        """Whether it came over TLS."""
        return self._request.scheme == "https"

    @property
    def now_us(self) -> int:
        """The time."""
        return self._clock.wall_us()

    def header(self, name: str) -> str | None:
        """A header by its lower-case name."""
        return self._request.headers.get(name)

    def parameter(self, name: str) -> str | None:
        """A query parameter."""
        return self._request.query.get(name)
