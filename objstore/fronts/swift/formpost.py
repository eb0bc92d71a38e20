"""Uploads from browsers' forms (FormPost): who was given a signed form may put files below a prefix, for a while.

    signature = HMAC(key, path "\n" redirect "\n" max_file_size "\n" max_file_count "\n" expires)

Keys and digests are those of signed addresses (tempurl.py).  The form's fields come before its files; each file becomes an object
as it streams in.  Nothing of a form is believed before its signature is verified, where to send the browser neither.
"""

import hmac
from collections.abc import AsyncIterator, Mapping
from html import escape
from urllib.parse import quote

from objstore.errors import ObjstoreError
from objstore.fronts.multipart_form import FormBroken, FormTooLong, PartHead, Parts, boundary_of, parse_head
from objstore.fronts.swift.answers import Answer, SwiftRefused, page, refusal, status_line
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import attributes_of
from objstore.fronts.swift.request import SwiftRequest, decoded
from objstore.fronts.swift.tempurl import digest_of, keys_of
from objstore.fronts.swift.writing import guessed_type, write
from objstore.objects.api import Expected, Principal

MAX_FIELDS = 100
MAX_FIELD_BYTES = 4096
MAX_FORM_BYTES = 1 << 50  # of all that is sent: files are counted and limited one by one
MAX_AFTER_BYTES = 1024 * 1024  # taken from the sender after a form was refused
_PLAIN = (b"content-type", b"text/plain")
_PAGE = (b"content-type", b"text/html; charset=UTF-8")


class _Invalid(Exception):
    """400: the form is wrong."""


class _Unauthorized(Exception):
    """401: the form is not signed, or no more."""


def is_form(request: SwiftRequest) -> bool:
    """Whether a request is a form."""
    kind = request.headers.get("content-type", "")
    return request.method == "POST" and kind[:19].lower() == "multipart/form-data" and "boundary" in kind


async def post_form(front: SwiftFront, request: SwiftRequest) -> Answer:
    """POST of multipart/form-data to a container or a prefix in it."""
    account = front.account_of(request.account)
    who = Principal(account=account, user="form", arn=f"arn:aws:iam::{account}:root")
    request.who = who.of_request(request.facts).at(account)
    try:
        boundary = boundary_of(request.headers["content-type"])
        assert boundary is not None
        body = request.body(MAX_FORM_BYTES, must_be_announced=False)
        form = _Form(front, request, await keys_of(front, request, account) if request.container else [])
        parts = Parts(body, boundary)
        try:
            return await form.take(parts)
        finally:
            await parts.drain(MAX_AFTER_BYTES)
    except (_Invalid, FormBroken, FormTooLong) as wrong:
        text = wrong.message if isinstance(wrong, ObjstoreError) else str(wrong)
        return Answer(400, [_PLAIN], f"FormPost: {text}".encode())
    except _Unauthorized as wrong:
        refused = page(401)
        return Answer(401, [_PLAIN, *refused.headers[1:]], f"FormPost: {str(wrong).title()}".encode())


class _Form:
    def __init__(self, front: SwiftFront, request: SwiftRequest, keys: list[str]) -> None:
        self._front = front
        self._request = request
        self._keys = keys
        self._fields: dict[str, str] = {}
        self._path = decoded(request.path)

    async def take(self, parts: Parts) -> Answer:
        """Read the form to its end, or to the first file that fails."""
        status, message, files = 0, "", 0
        while (raw := await parts.next()) is not None:
            head = parse_head(raw)
            if not head.filename:
                if not files:  # what comes behind a file was not looked at when that was verified
                    await self._field(head, parts)
                continue
            self._verify()
            files += 1
            if files > self._number("max_file_count"):
                status, message = 400, "max file count exceeded"
                break
            status = await self._file(head, parts)
            if status != 201:
                break
        if not status:
            self._verify()
            status, message = 400, "no files to process"
        return self._answer(status, message)

    async def _field(self, head: PartHead, parts: Parts) -> None:
        if len(self._fields) >= MAX_FIELDS:
            raise _Invalid(f"more than {MAX_FIELDS} fields")
        value = (await parts.value(MAX_FIELD_BYTES)).decode("utf-8", "replace")
        self._fields[head.name] = value.rstrip("\r\n")

    def _number(self, name: str, why: str = "not an integer") -> int:
        text = self._fields.get(name, "").strip() or "0"
        digits = text.removeprefix("-")
        if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
            raise _Invalid(f"{name} {why}")
        return int(text)

    def _verify(self) -> None:
        """Raises _Unauthorized, _Invalid."""
        fields = self._fields
        if self._number("expires") < self._front.clock.wall_us() // 1_000_000:
            raise _Unauthorized("form expired")
        told = [
            self._path,
            fields.get("redirect", ""),
            *(fields.get(name) or "0" for name in ("max_file_size", "max_file_count", "expires")),
        ]
        found = digest_of(fields.get("signature", ""))
        if found is not None:
            algorithm, given = found
            message = "\n".join(told).encode()
            if any(hmac.compare_digest(hmac.digest(key.encode(), message, algorithm), given) for key in self._keys):
                return
        raise _Unauthorized("invalid signature")

    async def _file(self, head: PartHead, parts: Parts) -> int:
        """Make an object of a file; the status."""
        most = min(self._number("max_file_size"), self._front.settings.max_file_bytes)
        headers: dict[str, str] = {}
        for field, header, why in (
            ("x_delete_at", "x-delete-at", "not an integer: Unix timestamp required."),
            ("x_delete_after", "x-delete-after", "not an integer: Number of seconds required."),
        ):
            if field in self._fields:
                headers[header] = str(self._number(field, why))
        encoding = self._fields.get("content-encoding") or head.headers.get("content-encoding", "")
        if encoding:
            headers["content-encoding"] = _as_header(encoding)
        request = self._request
        key = request.key + (head.filename or "filename")
        kind = self._fields.get("content-type") or head.headers.get("content-type", "")
        _as_header(kind)
        body = _File(parts, most)
        try:
            attributes = attributes_of(headers, self._front.clock.wall_us(), content_type=kind or guessed_type(key))
            await write(self._front, request, request.container, key, body, attributes, expected=Expected())
        except (FormBroken, FormTooLong):
            raise
        except ObjstoreError as error:
            if body.exceeded:
                raise _Invalid("max_file_size exceeded") from None
            return refusal(error, known=True, realm="").status
        return 201

    def _answer(self, status: int, message: str) -> Answer:
        redirect = self._fields.get("redirect", "")
        if not redirect:
            text = status_line(status) + (f"\r\nFormPost: {message.title()}" if message else "")
            return Answer(status, [_PLAIN], text.encode())
        if not redirect.isascii() or not redirect.isprintable():
            raise _Invalid("redirect is no address")
        redirect += f"{'&' if '?' in redirect else '?'}status={status}&message={quote(message)}"
        text = f'<html><body><p><a href="{escape(redirect)}">Click to continue...</a></p></body></html>'
        return Answer(303, [(b"location", redirect.encode()), _PAGE], text.encode())


def _as_header(value: str) -> str:
    """A field's text as a header's, one character a byte.  Raises _Invalid."""
    if not value.isprintable():
        raise _Invalid("a field holds control characters")
    return value.encode().decode("latin-1")


class _File:
    """objects.api.Body over a file of the form."""

    def __init__(self, parts: Parts, most_bytes: int) -> None:
        self.size: int | None = None
        self.exceeded = False
        self._parts = parts
        self._left = most_bytes

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        piece = await self._parts.some()
        if not piece:
            raise StopAsyncIteration
        self._left -= len(piece)
        if self._left < 0:
            self.exceeded = True
            raise SwiftRefused(413, "max_file_size exceeded")
        return piece

    async def finish(self) -> Mapping[str, bytes]:
        """What follows is read by whoever reads the form."""
        return {}
