"""One call to a service: what was asked, by whom; and what its handler answers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from objstore.core.json_depth import check_depth
from objstore.errors import IncompleteBody
from objstore.identity.rules import Access
from objstore.identity.tenancy import ADMIN, MANAGER, MEMBER, READER
from objstore.services.calls.problems import Headers, bad_request, forbidden, too_large, unauthorized

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_BODY_BYTES = 1024 * 1024
MAX_DEPTH = 24
MAX_PARAMETERS = 200
WRITERS = frozenset((ADMIN, MANAGER, MEMBER))


@dataclass
class Answer:
    """What a handler answers: nothing, a document of JSON, bytes, or bytes to come (with `length` where it is known)."""

    status: int = 200
    body: Any = None
    headers: Headers = field(default_factory=list)
    stream: AsyncIterator[bytes | memoryview] | None = None
    length: int | None = None
    content_type: bytes = b"application/json"


@dataclass
class Call:
    """A call.  `access` is None only where a route needs no token."""

    method: str
    path: str  # below the service's own, as it was sent
    parameters: Mapping[str, str]  # of the path
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]  # lower case
    receive: Receive
    access: Access | None
    request_id: str
    base_url: str  # of the service, as clients reach it
    answered: Headers = field(default_factory=list)  # headers for whatever answer comes
    version: tuple[int, int] = (0, 0)  # the microversion, where the service has them and its `before` found it out

    @property
    def who(self) -> Access:
        """Who calls.  Raises 401."""
        if self.access is None:
            raise unauthorized()
        return self.access

    @property
    def is_admin(self) -> bool:
        """Whether the cloud's administrator calls."""
        return self.access is not None and self.access.is_admin

    @property
    def project(self) -> str:
        """The id of the caller's project; empty when the token is for something else."""
        project = self.who.project
        return project.id if project is not None else ""

    def need_project(self) -> str:
        """The id of the caller's project, for what is made to belong to.  Raises 400 where the token is for a domain, the system, or nothing."""
        if not self.project:
            raise bad_request("What is made belongs to a project: use a token for one.")
        return self.project

    def check_admin(self) -> None:
        """Raises 403 unless the cloud's administrator calls."""
        if not self.is_admin:
            raise forbidden()

    def check_read(self) -> None:
        """Raises 403 unless the caller may look at what his project has."""
        if not (self.who.names & WRITERS or READER in self.who.names):
            raise forbidden()

    def check_write(self) -> None:
        """Raises 403 unless the caller may change what his project has."""
        if not self.who.names & WRITERS:
            raise forbidden()

    def first(self, name: str) -> str | None:
        """A parameter of the query, the last of that name."""
        return next((value for key, value in reversed(self.query) if key == name), None)

    async def json(self, *, limit: int = MAX_BODY_BYTES) -> Any:
        """The body as JSON.  Raises 400, 413."""
        return parse_json(await self.small_body(limit=limit))

    async def document(self, *, limit: int = MAX_BODY_BYTES) -> dict[str, Any]:
        """The body, an object of JSON.  Raises 400, 413."""
        found = await self.json(limit=limit)
        if not isinstance(found, dict):
            raise bad_request("The body must be an object of JSON.")
        return found

    async def small_body(self, *, limit: int = MAX_BODY_BYTES) -> bytes:
        """The whole body.  Raises 400, 413."""
        length = self.content_length
        if length is not None and length > limit:
            raise too_large(f"The request may have {limit} bytes.")
        slices: list[bytes] = []
        size = 0
        async for piece in self.body():
            slices.append(bytes(piece))
            size += len(piece)
            if size > limit:
                raise too_large(f"The request may have {limit} bytes.")
        return b"".join(slices)

    @property
    def content_length(self) -> int | None:
        """The announced length of the body; None when it is not known before its end."""
        text = self.headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None

    async def body(self) -> AsyncIterator[bytes]:
        """The body's pieces as they come.  Raises IncompleteBody when the sender goes away."""
        more = True
        while more:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise IncompleteBody("the sender went away before the end of the body")
            more = bool(message.get("more_body", False))
            if message.get("body"):
                yield message["body"]


Handler = Callable[[Call], Awaitable[Answer]]


def parse_json(data: bytes) -> Any:
    """JSON of bounded depth, with numbers of 64 bits.  Raises 400."""
    try:
        check_depth(data, MAX_DEPTH)
        found = msgspec.json.decode(data)
        msgspec.msgpack.encode(found)  # refuses numbers beyond 64 bits, which no column keeps
    except (msgspec.DecodeError, UnicodeError, RecursionError, OverflowError, ValueError):
        raise bad_request("Malformed JSON in request body.") from None
    return found


def parse_query(raw: bytes) -> list[tuple[str, str]]:
    """Parameters of a query in order.  Raises 400."""
    try:
        found = parse_qsl(raw.decode("ascii"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict")
    except ValueError:
        raise bad_request("The query cannot be read.") from None
    if any("\0" in name or "\0" in value for name, value in found):
        raise bad_request("The query holds a character that no value has.")
    return found
