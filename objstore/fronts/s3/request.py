"""A request as S3 sees it: bucket, key, sub-resource, headers as text.

Names are taken from the raw target and never normalised: `//`, `./` and `../` are legal in keys.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from objstore.core.sigv4 import PayloadMode, Received, decode_component, split_query
from objstore.errors import InvalidArgument
from objstore.fronts.s3.errors import S3Refused
from objstore.objects.api import Body, Principal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

# Repeated, these could be read as the one or the other; any other header's values are joined.
_ONCE = frozenset(
    (
        "authorization", "content-md5", "content-type", "date", "range", "x-amz-content-sha256", "x-amz-copy-source",
        "x-amz-copy-source-range", "x-amz-date", "x-amz-decoded-content-length", "x-amz-tagging", "x-amz-trailer",
    )
)  # fmt: skip
NOBODY = Principal(account="", anonymous=True)


def header_table(pairs: list[tuple[bytes, bytes]]) -> tuple[dict[str, str], dict[str, str]]:
    """All headers, and the x-amz-* ones alone, by lower-case name, one character a byte.

    Repeated headers are joined by commas.  Raises InvalidArgument for those of which there must be one.
    """
    table: dict[str, str] = {}
    amz: dict[str, str] = {}
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1")
        value = raw_value.decode("latin-1")
        if name in table:
            if name in _ONCE:
                raise InvalidArgument(f"The header {name} is repeated.")
            value = f"{table[name]},{value}"
        table[name] = value
        if name.startswith("x-amz-"):
            amz[name] = value
    return table, amz


def text_of(data: bytes) -> str:
    """A decoded name.  Raises InvalidURI when it is not UTF-8."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise S3Refused(400, "InvalidURI", "Couldn't parse the specified URI.", hint="Names must be percent-encoded UTF-8.") from None


def decoded_pairs(query: str) -> list[tuple[str, str]]:
    """Decoded parameters in the order received.  Raises InvalidURI."""
    return [(text_of(decode_component(name)), text_of(decode_component(value)) if value else "") for name, value in split_query(query)]


def parse_query(query: str) -> dict[str, str]:
    """Decoded parameters by name; of a repeated one the first counts."""
    table: dict[str, str] = {}
    for name, value in decoded_pairs(query):
        table.setdefault(name, value)
    return table


def bucket_of_host(host: str, domains: tuple[str, ...]) -> str:
    """The bucket that a Host header names under one of the domains; empty in path style."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and ":" in host else host
    name = name.lower()
    for domain in domains:
        if name.endswith("." + domain):
            return name[: -len(domain) - 1]
    return ""


class S3Request:
    """One request, parsed once.  `who`, `payload` and the like are set by the authenticator."""

    __slots__ = (
        "amz", "bucket", "bytes_in", "form", "headers", "id", "key", "method", "payload", "payload_mode", "query", "receive", "received", "scheme", "signer", "virtual_bucket", "who",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, request_id: str) -> None:
        self.id = request_id
        self.receive = receive
        self.method: str = scope["method"]
        self.scheme: str = scope.get("scheme", "http")
        self.bucket = ""
        self.key = ""
        self.virtual_bucket = ""  # the bucket, where the host names it
        self.query: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        self.amz: dict[str, str] = {}  # of these, the x-amz-* ones
        self.bytes_in = 0  # of the body, as far as it was read
        self.form: Body | None = None  # the file of a browser's form, in place of the body
        self.who = NOBODY
        self.payload = ""
        self.payload_mode = PayloadMode.UNSIGNED
        self.signer: Any = None  # auth.Signer once the signature is verified

    def parse(self, scope: Scope, domains: tuple[str, ...]) -> None:
        """Fill in everything that the head says.  Raises refusals."""
        raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        raw_query: bytes = scope["query_string"]
        self.headers, self.amz = header_table(scope["headers"])
        headers = self.headers
        path = raw_path.decode("latin-1")
        query = raw_query.decode("latin-1")
        self.received = Received(self.method, path, query, headers)
        if query:
            self.query = parse_query(query)
        bucket = bucket_of_host(headers.get("host", ""), domains) if domains else ""
        self.virtual_bucket = bucket
        if bucket:
            key = path[1:]
        else:
            bucket, _, key = path[1:].partition("/")
            if "%" in bucket or not bucket.isascii():
                bucket = text_of(unquote_to_bytes(bucket.encode("latin-1")))
            if not bucket and len(path) > 1:
                # Of "//key" one half would see a key and the other a request without bucket, which is for other services.
                raise S3Refused(
                    400, "InvalidURI", "Couldn't parse the specified URI.", hint="The path names a key, and no bucket before it."
                )
        self.bucket = bucket
        self.key = key if "%" not in key and key.isascii() else text_of(unquote_to_bytes(key.encode("latin-1")))

    @property
    def resource(self) -> str:
        """What an error names as its resource."""
        return f"/{self.bucket}/{self.key}" if self.key else f"/{self.bucket}" if self.bucket else "/"
