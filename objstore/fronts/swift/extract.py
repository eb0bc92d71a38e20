"""Bulk upload: PUT ?extract-archive=tar, tar.gz or tar.bz2 makes an object of each file in the archive, and containers as they are needed.

The archive is read as it comes, one file after the other.  What is no plain file (directories, links, devices) is passed over; a
path that climbs (`..`) is refused, and so is a sparse file.  The answer is 200 and tells inside how it went.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from objstore.core.tar import padded
from objstore.errors import BucketAlreadyOwnedByYou, NoSuchBucket, ObjstoreError
from objstore.fronts.swift.answers import XML, Answer, Header, SwiftRefused, refusal, status_line
from objstore.fronts.swift.bulk import report, report_type
from objstore.fronts.swift.container import FIRST_CONFIG
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import OBJECT_META, attributes_of
from objstore.fronts.swift.heartbeat import kept_alive
from objstore.fronts.swift.request import SwiftRequest, header_text
from objstore.fronts.swift.unpack import FORMS, MAX_IDLE_BYTES, ArchiveBroken, Member, MemberBody, Unpacked, members
from objstore.fronts.swift.writing import guessed_type, write
from objstore.objects.api import Expected

MAX_PATH_CHARS = 3 * 1024  # of a name that an error tells
MAX_AFTER_BYTES = 1024 * 1024  # behind the archive's end: padding
_SCHILY, _LIBARCHIVE = "SCHILY.xattr.user.", "LIBARCHIVE.xattr.user."
_UNKNOWN = "This server could not verify that you are authorized to access the document you requested."
_XML_BEGIN = b'<?xml version="1.0" encoding="UTF-8"?>\n'


async def extract_archive(front: SwiftFront, request: SwiftRequest) -> Answer:
    """PUT ?extract-archive."""
    form = FORMS.get(request.query["extract-archive"].lower().strip("."))
    if form is None:
        raise SwiftRefused(400, "Unsupported archive format")
    kind = report_type(request)
    body = request.body(front.settings.max_archive_bytes)
    work = _Extraction(front, request, Unpacked(body, form, front.settings.max_archive_bytes, front.threads))
    every_s = front.settings.yield_frequency_s
    return await kept_alive(work.run(kind), [kind], every_s=every_s, begin=_XML_BEGIN if kind is XML else b"")


@dataclass
class _Extraction:
    front: SwiftFront
    request: SwiftRequest
    data: Unpacked
    created: int = 0  # files
    made: int = 0  # containers
    errors: list[tuple[str, str]] = field(default_factory=list)
    failure: int = 400  # the status, should there be errors
    known: dict[str, tuple[str, str] | None] = field(default_factory=dict)  # container -> why it could not be made

    async def run(self, kind: Header) -> bytes:
        """Do it; the report."""
        status, text = 201, ""
        try:
            self._demand_caller()
            async for member in members(self.data, self.front.settings.max_archive_members):
                await self._take(member)
                if len(self.errors) >= self.front.settings.max_failed_extractions:
                    break
            else:
                await self.data.finish(MAX_AFTER_BYTES)
            if self.errors:
                status = self.failure
            elif not self.created:
                status, text = 400, "Invalid Tar File: No Valid Files"
        except SwiftRefused as refused:
            status, text = refused.status, refused.message
        await self.data.drain(MAX_AFTER_BYTES)
        facts = {"Response Status": status_line(status), "Response Body": text, "Number Files Created": self.created}
        return report(kind, facts, self.errors, "extract")

    def _demand_caller(self) -> None:
        """Raises SwiftRefused (401) for nobody: it is not for everybody to have gigabytes unpacked."""
        if self.request.who.anonymous:
            raise SwiftRefused(401, _UNKNOWN)

    async def _take(self, member: Member) -> None:
        """Make an object of a member, or say why not.  Raises SwiftRefused where there is no going on."""
        head = member.head
        if not head.is_file and not member.sparse:
            if head.size > MAX_IDLE_BYTES:
                raise ArchiveBroken("a member that is no file has data")
            await self.data.skip(padded(head.size))
            return
        body = MemberBody(self.data, head.size)
        await self._write(member, body)
        await self.data.skip(body.left + padded(head.size) - head.size)

    async def _write(self, member: Member, body: MemberBody) -> None:
        try:
            path = self._path(member)
        except UnicodeDecodeError:
            self._failed(member.head.name, 412)
            return
        container, slash, key = path.partition("/")
        if not slash or not key:
            return  # a file that is in no container
        if member.sparse or ".." in path.split("/"):
            self._failed(path, 400)
            return
        if member.head.size > self.front.settings.max_file_bytes:
            self._failed(path, 413)
            return
        await self._see_container(container)
        try:
            attributes = attributes_of(_headers(member.records), self.front.clock.wall_us(), content_type=_type(member.records, key))
            await write(self.front, self.request, container, key, body, attributes, expected=Expected())
        except ArchiveBroken:
            raise
        except ObjstoreError as error:
            status, why = self._status(error), self.known[container]
            if why is None and status == 403:
                why = self._not_made(container, status)  # whether there is one is not for strangers to know
            if why is not None:
                self.errors.append(why)
            self._failed(path, status)
        else:
            self.created += 1

    def _path(self, member: Member) -> str:
        """Container and name, behind what the request's own path says."""
        name = member.head.name.decode()
        name = name.removeprefix("./").lstrip("/")
        base = "/".join(part for part in (self.request.container, self.request.key) if part).rstrip("/")
        return f"{base}/{name}" if base else name

    async def _see_container(self, name: str) -> None:
        """Make a container that is not there.  Raises SwiftRefused when there are too many of these, or the caller is nobody."""
        if name in self.known:
            return
        self.known[name] = None
        store, who = self.front.store, self.request.who
        try:
            await store.find_bucket(who, name)
        except NoSuchBucket:
            try:
                await store.create_bucket(who, name, config=FIRST_CONFIG)
            except BucketAlreadyOwnedByYou:
                return
            except ObjstoreError as error:
                self.known[name] = self._not_made(name, self._status(error))
                return
            self.made += 1
            if self.made > self.front.settings.max_containers_per_extraction:
                most = self.front.settings.max_containers_per_extraction
                raise SwiftRefused(400, f"More than {most} containers to create from tar.") from None

    def _status(self, error: ObjstoreError) -> int:
        status = refusal(error, known=not self.request.who.anonymous, realm="").status
        if status == 401:
            raise SwiftRefused(401, _UNKNOWN) from error
        self.failure = 502 if status >= 500 else self.failure
        return status

    def _not_made(self, container: str, status: int) -> tuple[str, str]:
        return quote(f"/v1/{self.request.account}/{container}")[:MAX_PATH_CHARS], status_line(status)

    def _failed(self, path: str | bytes, status: int) -> None:
        self.errors.append((quote(path)[:MAX_PATH_CHARS], status_line(status)))


def _xattrs(records: Mapping[str, bytes]) -> dict[str, str]:
    """Extended attributes of a file in the name space `user`, one character a byte, as star, GNU tar or bsdtar write them."""
    found: dict[str, str] = {}
    for keyword, value in records.items():
        if keyword.startswith(_SCHILY):
            found[keyword[len(_SCHILY) :]] = value.decode("latin-1")
        elif keyword.startswith(_LIBARCHIVE):
            try:
                data = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
            except (binascii.Error, ValueError):
                data = value
            found.setdefault(unquote(keyword[len(_LIBARCHIVE) :]), data.decode("latin-1"))
    return found


def _headers(records: Mapping[str, bytes]) -> dict[str, str]:
    """What the attributes say of the object, as headers: `user.meta.NAME`.  Raises SwiftRefused for what no header can hold."""
    found = {}
    for name, value in _xattrs(records).items():
        if name.startswith("meta."):
            header = OBJECT_META + name[5:].lower()
            if (
                not header.isascii()
                or not header.isprintable()
                or " " in header
                or ":" in header
                or any(char in value for char in "\r\n\0")
            ):
                raise SwiftRefused(400, "An extended attribute is no metadata.")
            found[header] = value
    return found


def _type(records: Mapping[str, bytes], key: str) -> str:
    told = _xattrs(records).get("mime_type", "")
    return header_text(told) if told and not any(char in told for char in "\r\n\0") else guessed_type(key)
