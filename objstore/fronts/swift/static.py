"""Static large objects: a list of segments becomes one object, whose bytes are shared with them where that is possible.

The manifest is a multipart object: its parts are copies of the segments as they were, by reference.  So it reads alike through both
dialects, and a segment that is overwritten or deleted later does not break it.  What it was made of is kept beside, for
`multipart-manifest=get` and `=delete`; an object made by a multipart upload of S3 shows its own parts there.
"""

import asyncio
import base64
import binascii
import contextlib
import dataclasses
import hashlib
import json
import zlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import msgspec

from objstore.core.ranges import resolve_range
from objstore.errors import InvalidRange, NoSuchBucket, NoSuchKey, ObjstoreError, PreconditionFailed, Refused, Unavailable
from objstore.fronts.dates import http_time
from objstore.fronts.swift import archive as archiving
from objstore.fronts.swift import links
from objstore.fronts.swift.answers import HTML, JSON, Answer, Header, SwiftRefused, empty, refusal, status_line
from objstore.fronts.swift.bulk import Tally, delete_names, report, report_type
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import attributes_of, large_etag, object_headers, write_conditions, written_headers
from objstore.fronts.swift.heartbeat import kept_alive
from objstore.fronts.swift.ranges import parse_ranges
from objstore.fronts.swift.request import Bytes, SwiftRequest, header_text, is_true
from objstore.fronts.swift.times import listing_time
from objstore.objects.actions import Action
from objstore.objects.api import ByteRange, CompletedPart, Conditions, CopySource, Expected, ObjectInfo

MAX_MANIFEST_SEGMENTS = 1000
MAX_MANIFEST_BYTES = 8 * 1024 * 1024
_KEYS = frozenset(("path", "etag", "size_bytes", "range", "data"))
_AT_ONCE = 8
_PARTS_PAGE = 1000
_MAX_NUMBER_DIGITS = 6


class Kept(msgspec.Struct, frozen=True, array_like=True):
    """One line of what is kept: where a part was taken from.  `path` is empty for data that came with the manifest."""

    path: str
    size: int
    etag: str
    range: str = ""
    content_type: str = ""
    modified_us: int = 0
    nested: bool = False  # whether that was made of segments itself


_ENCODE = msgspec.msgpack.Encoder().encode
_DECODE = msgspec.msgpack.Decoder(list[Kept]).decode
MAX_KEPT_BYTES = 4 * 1024 * 1024


def decode_kept(data: bytes) -> list[Kept]:
    """What is kept with an object of the list that it was made of."""
    return _DECODE(zlib.decompressobj().decompress(data, MAX_KEPT_BYTES))


@dataclass(frozen=True)
class Line:
    """One line of a manifest as it came, and what was found of it."""

    container: str
    key: str
    etag: str
    size: int | None
    range: str
    data: bytes
    found: ObjectInfo | None = None
    source: CopySource | None = None  # where its bytes are; None: where it says

    @property
    def path(self) -> str:
        """As errors and listings name it."""
        return f"/{self.container}/{self.key}"


def parse_manifest(data: bytes) -> list[Line]:
    """The lines of a manifest.  Raises SwiftRefused."""
    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        raise SwiftRefused(400, "Manifest must be valid JSON.") from None
    if not isinstance(rows, list) or not rows:
        raise SwiftRefused(400, "Manifest must be a list of at least one segment.")
    if len(rows) > MAX_MANIFEST_SEGMENTS:
        raise SwiftRefused(413, f"Number of segments must be <= {MAX_MANIFEST_SEGMENTS}")
    return [_parse_line(number, row) for number, row in enumerate(rows)]


def _parse_line(number: int, row: Any) -> Line:
    def wrong(what: str) -> SwiftRefused:
        return SwiftRefused(400, f"Index {number}: {what}")

    if not isinstance(row, dict):
        raise wrong("not a JSON object")
    unknown = row.keys() - _KEYS
    if unknown:
        raise wrong(f"extraneous keys {', '.join(sorted(map(ascii, unknown)))[:200]}")
    if "data" in row:
        if len(row) > 1:
            raise wrong("data stands alone")
        try:
            data = base64.b64decode(row["data"], validate=True) if isinstance(row["data"], str) else b""
        except (binascii.Error, ValueError):
            data = b""
        if not data:
            raise wrong("data must be valid base64, and not empty")
        return Line("", "", hashlib.md5(data, usedforsecurity=False).hexdigest(), len(data), "", data)
    path, etag, size, range_ = row.get("path"), row.get("etag"), row.get("size_bytes"), row.get("range")
    container, slash, key = path.lstrip("/").partition("/") if isinstance(path, str) else ("", "", "")
    if not slash or not container or not key or not _is_text(str(path)):
        raise wrong("path does not refer to an object. Path must be of the form /container/object.")
    if not (etag is None or isinstance(etag, str)) or not (range_ is None or isinstance(range_, str)):
        raise wrong("etag and range are texts")
    if isinstance(size, str) and size.isascii() and size.isdigit() and len(size) < 18:
        size = int(size)
    if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 1):
        raise wrong("size_bytes must be a positive number")
    return Line(container, key, (etag or "").strip('"').lower(), size, range_ or "", b"")


def _is_text(path: str) -> bool:
    """Whether a text of JSON, which may hold halves of characters, is one."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


class SegmentsRefused(SwiftRefused):
    """What is wrong with the segments of a manifest: (path, why) of each."""

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        super().__init__(400, "Errors:\n" + "\n".join(f"{path}, {why}" for path, why in problems))
        self.problems = problems


async def put_manifest(front: SwiftFront, request: SwiftRequest) -> Answer:
    """PUT ?multipart-manifest=put; with `heartbeat=on` a report tells how it went, behind blanks."""
    conditions = write_conditions(request.headers)
    lines = parse_manifest(await request.document(MAX_MANIFEST_BYTES))
    if not is_true(request.query.get("heartbeat", "")):
        return empty(201, [HTML, *written_headers(await _make(front, request, lines, conditions))])
    kind = report_type(request)
    every_s = front.settings.yield_frequency_s
    return await kept_alive(_reported(front, request, lines, conditions, kind), [kind], every_s=every_s, status=202)


async def _reported(front: SwiftFront, request: SwiftRequest, lines: list[Line], conditions: Conditions, kind: Header) -> bytes:
    """Make the object; the report."""
    facts: dict[str, object] = {}
    status, text, problems = 201, "", []
    try:
        info = await _make(front, request, lines, conditions)
        facts = {"Etag": large_etag(info), "Last Modified": http_time(info.modified_us).decode()}
    except SegmentsRefused as refused:
        status, problems = 400, refused.problems
    except ObjstoreError as error:
        status = refusal(error, known=not request.who.anonymous, realm="").status
        text = error.message if isinstance(error, SwiftRefused) else ""
    return report(kind, {"Response Status": status_line(status), "Response Body": text, **facts}, problems, "upload")


async def _make(front: SwiftFront, request: SwiftRequest, lines: list[Line], conditions: Conditions) -> ObjectInfo:
    """The object that a manifest makes; what it overwrites is kept where the container says so.  Raises SwiftRefused, PreconditionFailed."""
    kind = header_text(request.headers.get("content-type", "")) or "application/octet-stream"
    attributes = attributes_of(request.headers, front.clock.wall_us(), content_type=kind)
    lines = await _find_all(front, request, lines)
    etag = hashlib.md5("".join(_etag_of(line) for line in lines).encode(), usedforsecurity=False).hexdigest()
    promised = request.headers.get("etag")
    if promised is not None and promised.strip('"').lower() != etag:
        raise SwiftRefused(422, "The ETag is not that of the segments.")
    kept = [
        Kept(
            line.path if line.found is not None else "", _span(line)[1], line.etag, line.range,
            line.found.content_type if line.found is not None else "", line.found.modified_us if line.found is not None else 0,
            line.found is not None and line.source is None and bool(line.found.segments),
        )
        for line in lines
    ]  # fmt: skip
    store, who = front.store, request.who
    segments = zlib.compress(_ENCODE(kept))
    upload = await store.create_upload(who, request.container, request.key, attributes=attributes, segments=segments)
    try:
        parts = await _copy_all(front, request, upload.upload_id, lines)
        archive = await archiving.archive_of(front, who, request.container)
        if archive is not None:
            await archiving.keep_current(front, archive, request.container, request.key)
        info = await store.complete_upload(
            who, request.container, request.key, upload.upload_id, parts, conditions=conditions, expected=Expected()
        )
    except BaseException:
        await _abort(front, request, upload.upload_id)
        raise
    return info


def _etag_of(line: Line) -> str:
    return f"{line.etag}:{line.range};" if line.range else line.etag


async def _find_all(front: SwiftFront, request: SwiftRequest, lines: list[Line]) -> list[Line]:
    """The lines with the objects that they name.  Raises SwiftRefused with all that is wrong, as Swift does."""
    room = asyncio.Semaphore(_AT_ONCE)
    problems: list[tuple[str, str]] = []
    who = request.who

    async def find(line: Line) -> Line:
        if line.data:
            return line
        source: CopySource | None = None
        async with room:
            try:
                found = await front.store.head(who, line.container, line.key)
                if links.TARGET in found.headers:
                    _, place, found = await links.resolve(front, request, who, found)
                    source = CopySource(place.container, place.key, home=place.account)
            except (NoSuchKey, NoSuchBucket):
                problems.append((line.path, "404 Not Found"))
                return line
            except Unavailable:
                raise  # about the store, not about the segment
            except ObjstoreError:
                problems.append((line.path, "403 Forbidden"))
                return line
        etag = large_etag(found)
        if line.etag and line.etag != etag:
            problems.append((line.path, "Etag Mismatch"))
        if line.size is not None and line.size != found.size:
            problems.append((line.path, "Size Mismatch"))
        made = Line(line.container, line.key, etag, found.size, line.range, b"", found, source)
        try:
            if _span(made)[1] < 1:
                problems.append((line.path, "Too Small; each segment must be at least 1 byte."))
        except InvalidRange:
            problems.append((line.path, "Unsatisfiable Range"))
        return made

    found = list(await asyncio.gather(*(find(line) for line in lines)))
    if problems:
        raise SegmentsRefused(sorted(set(problems)))
    return found


def _span(line: Line) -> tuple[int, int]:
    """(offset, length) of what a line takes.  Raises InvalidRange."""
    if line.found is None:
        return 0, len(line.data)
    if not line.range:
        return 0, line.found.size
    ranges = parse_ranges(f"bytes={line.range}", 1)
    if ranges is None:
        raise InvalidRange("the range of a segment means nothing")
    return resolve_range(*ranges[0], line.found.size)


async def _copy_all(front: SwiftFront, request: SwiftRequest, upload_id: str, lines: list[Line]) -> list[CompletedPart]:
    room = asyncio.Semaphore(_AT_ONCE)
    store, who, container, key = front.store, request.who, request.container, request.key

    async def copy(number: int, line: Line) -> CompletedPart:
        async with room:
            if line.found is None:
                part = await store.upload_part(who, container, key, upload_id, number, Bytes(line.data), expected=Expected())
            else:
                offset, length = _span(line)
                source = dataclasses.replace(
                    line.source or CopySource(line.container, line.key), conditions=Conditions(if_match=(line.found.etag,)),
                    first=offset if line.range else None, last=offset + length - 1 if line.range else None,
                )  # fmt: skip
                try:
                    part = await store.copy_part(who, source, container, key, upload_id, number)
                except (PreconditionFailed, NoSuchKey) as error:  # it was what the manifest says a moment ago
                    why = "Etag Mismatch" if isinstance(error, PreconditionFailed) else "404 Not Found"
                    raise SegmentsRefused([(line.path, why)]) from None
            return CompletedPart(number, part.etag)

    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(copy(number, line)) for number, line in enumerate(lines, 1)]
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]


async def _abort(front: SwiftFront, request: SwiftRequest, upload_id: str) -> None:
    try:
        await front.store.abort_upload(request.who, request.container, request.key, upload_id)
    except ObjstoreError:
        return  # the reclaimer finds it


# -- reading --------------------------------------------------------------------------------------------------


async def get_special(front: SwiftFront, request: SwiftRequest, version: str) -> Answer | None:
    """GET of a manifest's list, or of one part; None where the object has no parts."""
    info = await front.store.head(request.who, request.container, request.key, version_id=version)
    if not info.part_count:
        return None
    if request.query.get("multipart-manifest") == "get":
        return await manifest_answer(front, request, info, version)
    text = request.query["part-number"].lstrip("0")
    if not (text.isascii() and text.isdigit()) or len(text) > _MAX_NUMBER_DIGITS or int(text) > info.part_count:
        raise SwiftRefused(416 if text.isascii() and text.isdigit() else 400, "part-number must be that of a segment")
    same = Conditions(if_match=(info.etag,))
    page = await front.store.object_parts(
        request.who, request.container, request.key, version_id=version, conditions=same, after=0, limit=int(text)
    )
    number = page.parts[-1].number
    reading = await front.store.get(request.who, request.container, request.key, version_id=version, conditions=same, part_number=number)
    headers = object_headers(info)
    headers.append((b"x-parts-count", b"%d" % info.part_count))
    headers.append((b"content-range", b"bytes %d-%d/%d" % (reading.offset, reading.offset + reading.length - 1, info.size)))
    return Answer(206, headers, b"", reading.chunks.__aiter__(), reading.length)


async def segments_of(front: SwiftFront, request: SwiftRequest, info: ObjectInfo, version: str) -> list[Kept]:
    """What an object was made of; of one that S3 made, its own parts as ranges of itself."""
    if info.segments:
        return decode_kept(info.segments)
    found: list[Kept] = []
    path, offset, after = f"/{request.container}/{request.key}", 0, 0
    while True:
        page = await front.store.object_parts(
            request.who, request.container, request.key, version_id=version, after=after, limit=_PARTS_PAGE
        )
        for part in page.parts:
            found.append(Kept(path, part.size, part.etag, f"{offset}-{offset + part.size - 1}", info.content_type, info.modified_us))
            offset += part.size
        if not page.truncated:
            return found
        after = page.parts[-1].number


async def manifest_answer(front: SwiftFront, request: SwiftRequest, info: ObjectInfo, version: str) -> Answer:
    """The list of segments: as GET has always shown it, or (`format=raw`) as it can be PUT again; data is read back from the object."""
    raw = request.query.get("format") == "raw"
    rows: list[dict[str, object]] = []
    offset = 0
    for kept in await segments_of(front, request, info, version):
        if not kept.path:
            rows.append({"data": base64.b64encode(await _bytes_of(front, request, info, version, offset, kept.size)).decode()})
            offset += kept.size
            continue
        offset += kept.size
        row: dict[str, object] = (
            {"path": kept.path, "etag": kept.etag, "size_bytes": kept.size}
            if raw
            else {
                "name": kept.path, "hash": kept.etag, "bytes": kept.size, "content_type": kept.content_type,
                "last_modified": listing_time(kept.modified_us),
            }
        )  # fmt: skip
        if kept.range:
            row["range"] = kept.range
            row.pop("size_bytes", None)
        rows.append(row)
    body = json.dumps(rows, ensure_ascii=False).encode()
    etag = hashlib.md5(body, usedforsecurity=False).hexdigest().encode()
    headers = [header for header in object_headers(info) if header[0] not in (b"etag", b"content-type")]
    return Answer(200, [JSON, (b"etag", etag), *headers], b"" if request.method == "HEAD" else body, length=len(body))


async def _bytes_of(front: SwiftFront, request: SwiftRequest, info: ObjectInfo, version: str, offset: int, size: int) -> bytes:
    reading = await front.store.get(
        request.who, request.container, request.key, version_id=version, conditions=Conditions(if_match=(info.etag,)),
        range_=ByteRange(offset, offset + size - 1),
    )  # fmt: skip
    return b"".join([bytes(chunk) async for chunk in reading.chunks])


async def delete_manifest(front: SwiftFront, request: SwiftRequest, version: str) -> Answer:
    """DELETE ?multipart-manifest=delete: the object, and the segments that it was made of."""
    info = await front.store.head(request.who, request.container, request.key, version_id=version)
    names = [f"{request.container}/{request.key}"]
    if not info.part_count:
        kind = report_type(request)
        facts = Tally().facts(status_line(400), "")
        return Answer(200, [kind], report(kind, facts, [(names[0], "Not an SLO manifest")], "delete"))
    if info.segments:
        names += [name for name in await _named(front, request, decode_kept(info.segments)) if name != names[0]]
    if not is_true(request.query.get("async", "")):
        return await delete_names(front, request, names, version)
    if version:
        raise SwiftRefused(400, "async=yes is for the current version of an object")
    return await _delete_later(front, request, names)


async def _named(front: SwiftFront, request: SwiftRequest, lines: list[Kept]) -> list[str]:
    """The objects that a list names, and those that nested ones name, which are still as they were.  Raises SwiftRefused for too many."""
    found: dict[str, None] = {}
    waiting = [lines]
    while waiting:
        for kept in waiting.pop():
            name = kept.path.lstrip("/")
            if not name or name in found:
                continue
            if len(found) >= front.settings.max_bulk_deletes:
                raise SwiftRefused(400, "Too many buffered slo segments to delete.")
            found[name] = None
            if kept.nested:
                container, _, key = name.partition("/")
                with contextlib.suppress(Refused):  # what is wrong with it is told when it is to be deleted
                    info = await front.store.head(request.who, container, key)
                    if info.segments and large_etag(info) == kept.etag:
                        waiting.append(decode_kept(info.segments))
    return list(found)


async def _delete_later(front: SwiftFront, request: SwiftRequest, names: list[str]) -> Answer:
    """The segments will be removed, as they are now, from when this is answered; the object is."""
    segments = names[1:]
    containers = sorted({path.partition("/")[0] for path in segments})
    if len(containers) > 1:
        shown = ", ".join(f'"{quote(container)}"' for container in containers)
        raise SwiftRefused(400, f"All segments must be in one container. Found segments in {shown}")
    for container in {request.container, *containers}:
        if await archiving.archive_of(front, request.who, container) is not None:
            return await delete_names(front, request, names)  # each is kept before it goes: that is not the daemon's
    await front.store.check_access(request.who, request.container, Action.DELETE_OBJECT, request.key)
    if containers:
        await front.store.delete_later(request.who, containers[0], [path.partition("/")[2] for path in segments])
    await front.store.delete(request.who, request.container, request.key, conditions=Conditions(if_match=("*",)))
    return empty(204, [HTML])
