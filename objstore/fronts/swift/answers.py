"""Answers of the Swift front: how refusals and errors look on the wire."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from html import escape
from http import HTTPStatus

from objstore import errors
from objstore.errors import ObjstoreError, Refused

Header = tuple[bytes, bytes]
Headers = list[Header]
HTML = (b"content-type", b"text/html; charset=UTF-8")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json; charset=utf-8")
XML = (b"content-type", b"application/xml; charset=utf-8")


class SwiftRefused(Refused):
    """A refusal in Swift's own words."""

    def __init__(self, status: int, message: str = "", headers: Headers | None = None) -> None:
        super().__init__(message or HTTPStatus(status).phrase)
        self.status = status
        self.headers = headers or []


@dataclass(slots=True)
class Answer:
    """An answer.  `body` goes out with the head; `rest`, when there is any, streams behind it."""

    status: int = 200
    headers: Headers = field(default_factory=list)
    body: bytes | memoryview = b""
    rest: AsyncIterator[bytes | memoryview] | None = None
    length: int | None = None  # of body and rest together; None: the length of `body`, -1: unknown


# What Swift's own servers say; a text of an error's own goes in its place where that tells more.
_TEXTS = {
    400: "The server could not comply with the request since it is either malformed or otherwise incorrect.",
    401: "This server could not verify that you are authorized to access the document you requested.",
    403: "Access was denied to this resource.",
    404: "The resource could not be found.",
    405: "The method is not allowed for this resource.",
    409: "There was a conflict when trying to complete your request.",
    411: "Content-Length is required.",
    412: "A precondition for this request was not met.",
    413: "The body of your request was too large for this server.",
    416: "The Range requested is not available.",
    422: "Unable to process the contained instructions.",
    500: "The server has either erred or is incapable of performing the requested operation.",
    501: "The requested method is not implemented by this server.",
    503: "The server is currently unavailable. Please try again at a later time.",
}

STATUSES: Mapping[type[ObjstoreError], int] = {
    errors.NoSuchBucket: 404,
    errors.NoSuchKey: 404,
    errors.NoSuchVersion: 404,
    errors.VersionIsMarker: 404,
    errors.NoSuchUpload: 404,
    errors.BucketAlreadyExists: 409,
    errors.BucketAlreadyOwnedByYou: 202,
    errors.BucketNotEmpty: 409,
    errors.InvalidBucketName: 400,
    errors.KeyTooLong: 400,
    errors.InvalidKey: 412,
    errors.MetadataTooLarge: 400,
    errors.EntityTooLarge: 413,
    errors.EntityTooSmall: 400,
    errors.QuotaExceeded: 413,
    errors.InvalidArgument: 400,
    errors.InvalidRequest: 400,
    errors.InvalidRange: 416,
    errors.PreconditionFailed: 412,
    errors.ConditionalConflict: 409,
    errors.InvalidBucketState: 409,
    errors.IncompleteBody: 499,
    errors.BadDigest: 422,
    errors.InvalidDigest: 422,
    errors.NotImplementedHere: 501,
    errors.KeyServiceUnavailable: 503,
}
# Whose own words are for clients.
_SPEAKS = (
    SwiftRefused, errors.InvalidArgument, errors.InvalidRequest, errors.InvalidBucketName, errors.KeyTooLong, errors.MetadataTooLarge,
    errors.QuotaExceeded, errors.NotImplementedHere,
)  # fmt: skip


def refusal(error: ObjstoreError, *, known: bool, realm: str) -> Answer:
    """The answer to what went wrong.  `known`: the caller has shown a token, so what he may not is forbidden rather than unauthorised."""
    if isinstance(error, SwiftRefused):
        return page(error.status, error.message, list(error.headers))
    if isinstance(error, errors.AccessDenied):
        return page(403) if known else unauthorized(realm)
    if isinstance(error, errors.InvalidRange):
        size = error.facts.get("size_bytes")
        return page(416, headers=[] if size is None else [(b"content-range", f"bytes */{size}".encode())])
    status = next((status for kind, status in STATUSES.items() if isinstance(error, kind)), 0)
    if status == 0:
        status = 503 if isinstance(error, errors.Unavailable) else 400 if isinstance(error, Refused) else 500
    return page(status, error.message if isinstance(error, _SPEAKS) else "", [(b"retry-after", b"1")] if status == 503 else [])


def unauthorized(realm: str) -> Answer:
    """401, as Swift's clients want it before they ask for a token."""
    safe = "".join(char if char.isalnum() or char in "_-." else "_" for char in realm) or "unknown"
    return page(401, headers=[(b"www-authenticate", f'Swift realm="{safe}"'.encode())])


def status_line(status: int) -> str:
    """A status with its words, as reports of bulk operations have it."""
    return f"{status} {HTTPStatus(status).phrase}"


def page(status: int, text: str = "", headers: Headers | None = None) -> Answer:
    """A short page of HTML."""
    phrase = HTTPStatus(status).phrase if status != 499 else "Client Disconnect"
    body = f"<html><h1>{phrase}</h1><p>{escape(text or _TEXTS.get(status, phrase))}</p></html>".encode("utf-8", "backslashreplace")
    return Answer(400 if status == 499 else status, [HTML, *(headers or [])], body)


def empty(status: int, headers: Headers | None = None) -> Answer:
    """An answer without a body."""
    return Answer(status, headers or [])
