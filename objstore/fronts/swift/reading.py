"""GET and HEAD of objects: plain ones, and those made of many (dynamic large objects), whole or in ranges."""

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import unquote

from objstore.core.conditions import check_read
from objstore.errors import InvalidRange, NoSuchKey, NotModified, PreconditionFailed
from objstore.fronts.swift import static
from objstore.fronts.swift.answers import Answer, Headers, SwiftRefused, unauthorized
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import conditions_of, large_etag, object_headers
from objstore.fronts.swift.links import TARGET, LinkFound, check_link, wants_link
from objstore.fronts.swift.ranges import parse_ranges, resolve
from objstore.fronts.swift.request import SwiftRequest
from objstore.fronts.swift.tempurl import disposition
from objstore.objects.api import ByteRange, Conditions, ListQuery, ObjectInfo, Principal, Reading

Reader = Callable[[int, int], AsyncIterator[bytes | memoryview]]
"""Reads `length` bytes from `offset` on."""

MANIFEST = "x-object-manifest"
MAX_SEGMENTS = 10_000  # of a dynamic large object
_PAGE = 1000


@dataclass(frozen=True)
class Segment:
    """One object among those that make a large one."""

    container: str
    key: str
    size: int
    etag: str


@dataclass(frozen=True)
class Large:
    """A dynamic large object as its segments are now."""

    segments: list[Segment]
    size: int
    etag: str  # MD5 of the segments' ETags, as Swift has it


async def get_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """The bytes of an object."""
    conditions = conditions_of(request.headers)
    ranges = parse_ranges(request.headers.get("range", ""), front.settings.max_ranges)
    as_is = request.query.get("multipart-manifest") == "get"
    version = request.query.get("version-id", "")
    if as_is or "part-number" in request.query:
        special = await static.get_special(front, request, version)
        if special is not None:
            return special
    store, who = front.store, request.who
    one = ByteRange(*ranges[0]) if ranges is not None and len(ranges) == 1 else None
    try:
        reading = await store.get(who, request.container, request.key, version_id=version, conditions=conditions, range_=one)
    except (InvalidRange, PreconditionFailed, NotModified):
        # A manifest has no bytes of its own, and another ETag than what it stands for; what was made of parts has its count in it.
        info = await store.head(who, request.container, request.key, version_id=version)
        check_link(request, info)
        if MANIFEST in info.headers and not as_is:
            return await _get_large(front, request, info, conditions, ranges)
        if not info.part_count or not (conditions.if_match or conditions.if_none_match):
            raise
        check_read(conditions, large_etag(info), info.modified_us)
        reading = await store.get(
            who, request.container, request.key, version_id=version, conditions=Conditions(if_match=(info.etag,)), range_=one
        )
    if TARGET in reading.info.headers and not wants_link(request):
        await close(reading)
        raise LinkFound(reading.info)
    if reading.info.part_count and conditions.if_none_match:
        try:
            check_read(Conditions(if_none_match=conditions.if_none_match), large_etag(reading.info), reading.info.modified_us)
        except NotModified:
            await close(reading)
            raise
    if MANIFEST in reading.info.headers and not as_is:
        await close(reading)
        return await _get_large(front, request, reading.info, conditions, ranges)
    if ranges is not None and len(ranges) > 1:
        await close(reading)
        return await _get_many(front, request, reading.info, resolve(ranges, reading.info.size))
    headers = _headers(request, reading.info)
    if one is not None:
        headers.append(content_range(reading.offset, reading.length, reading.info.size))
    try:
        # The first piece comes before the head, so that a body that cannot be read is an error and not a broken answer.
        first = await anext(reading.chunks) if reading.length else b""
    except BaseException:
        await close(reading)
        raise
    rest = None if len(first) == reading.length else _rest(reading)
    return Answer(206 if one is not None else 200, headers, first, rest, reading.length)


async def head_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """What GET would say of an object."""
    version = request.query.get("version-id", "")
    info = await front.store.head(request.who, request.container, request.key, version_id=version)
    check_link(request, info)
    conditions = conditions_of(request.headers)
    if MANIFEST in info.headers and request.query.get("multipart-manifest") != "get":
        large = await _segments(front, request, info)
        _check(conditions, large.etag, info)
        return Answer(200, _large_headers(request, info, large), length=large.size)
    if request.query.get("multipart-manifest") == "get" and info.part_count:
        return await static.manifest_answer(front, request, info, version)
    _check(conditions, large_etag(info) if info.part_count else info.etag, info)
    return Answer(200, _headers(request, info), length=info.size)


def _headers(request: SwiftRequest, info: ObjectInfo) -> Headers:
    headers = object_headers(info)
    if request.temp_url is not None:
        disposition(request, headers)
    return headers


def content_range(offset: int, length: int, size: int) -> tuple[bytes, bytes]:
    """The header that tells which bytes follow."""
    return b"content-range", b"bytes %d-%d/%d" % (offset, offset + length - 1, size)


async def close(reading: Reading) -> None:
    """Let go of an object that is not read to its end."""
    closing = getattr(reading.chunks, "aclose", None)
    if closing is not None:
        await closing()


async def _rest(reading: Reading) -> AsyncIterator[bytes | memoryview]:
    try:
        async for chunk in reading.chunks:
            yield chunk
    finally:
        await close(reading)


# -- several ranges -------------------------------------------------------------------------------------------


async def _get_many(front: SwiftFront, request: SwiftRequest, info: ObjectInfo, spans: list[tuple[int, int]]) -> Answer:
    """multipart/byteranges: each range with a head of its own, all of the very version that was found."""
    if len(spans) == 1:
        reading = await _reread(front, request, info, spans[0])
        headers = [*_headers(request, info), content_range(*spans[0], info.size)]
        return Answer(206, headers, b"", _rest(reading), reading.length)

    async def read(offset: int, length: int) -> AsyncIterator[bytes | memoryview]:
        async for chunk in _rest(await _reread(front, request, info, (offset, length))):
            yield chunk

    return _many(front, _headers(request, info), info.size, spans, read)


def _many(front: SwiftFront, headers: Headers, size: int, spans: list[tuple[int, int]], read: Reader) -> Answer:
    boundary = front.rng.token(16).hex().encode()
    kind = next(value for name, value in headers if name == b"content-type")
    heads = [
        b"--%s\r\nContent-Type: %s\r\nContent-Range: bytes %d-%d/%d\r\n\r\n" % (boundary, kind, offset, offset + length - 1, size)
        for offset, length in spans
    ]
    end = b"--%s--" % boundary
    total = sum(len(head) + length + 2 for head, (_, length) in zip(heads, spans, strict=True)) + len(end)

    async def body() -> AsyncIterator[bytes | memoryview]:
        for head, (offset, length) in zip(heads, spans, strict=True):
            yield head
            async for chunk in read(offset, length):
                yield chunk
            yield b"\r\n"
        yield end

    shown = [header for header in headers if header[0] != b"content-type"]
    shown.append((b"content-type", b"multipart/byteranges;boundary=%s" % boundary))
    return Answer(206, shown, b"", body(), total)


async def _reread(front: SwiftFront, request: SwiftRequest, info: ObjectInfo, span: tuple[int, int]) -> Reading:
    offset, length = span
    return await front.store.get(
        request.who, request.container, info.key, version_id=request.query.get("version-id", ""), conditions=Conditions(if_match=(info.etag,)),
        range_=ByteRange(offset, offset + length - 1),
    )  # fmt: skip


# -- dynamic large objects ------------------------------------------------------------------------------------


def parse_manifest(value: str) -> tuple[str, str]:
    """(container, prefix) of an X-Object-Manifest.  Raises SwiftRefused."""
    container, slash, prefix = unquote(value.lstrip("/")).partition("/")
    if not slash or not container or not prefix or "?" in value or "&" in value:
        raise SwiftRefused(400, "X-Object-Manifest must be in the format container/prefix")
    return container, prefix


async def find_segments(front: SwiftFront, who: Principal, info: ObjectInfo) -> Large:
    """The segments as they are now, whoever reads being let to.  Raises SwiftRefused (409) for too many."""
    container, prefix = parse_manifest(info.headers[MANIFEST])
    segments: list[Segment] = []
    after = ""
    while True:
        page = await front.store.list(who, container, ListQuery(prefix, "", after, _PAGE))
        segments += [Segment(container, found.key, found.size, found.etag) for found in page.objects]
        if len(segments) > MAX_SEGMENTS:
            raise SwiftRefused(409, f"The object has more than {MAX_SEGMENTS} segments.")
        if not page.truncated:
            break
        after = page.next_after
    digest = hashlib.md5("".join(segment.etag for segment in segments).encode(), usedforsecurity=False).hexdigest()
    return Large(segments, sum(segment.size for segment in segments), digest)


async def _segments(front: SwiftFront, request: SwiftRequest, info: ObjectInfo) -> Large:
    """The segments for a request.  Raises SwiftRefused (401) where a signed address does not reach them."""
    if request.temp_url_container not in ("", parse_manifest(info.headers[MANIFEST])[0]):
        raise SwiftRefused(401, "Temp URL invalid", unauthorized(request.account).headers[1:])
    return await find_segments(front, request.who, info)


def _large_headers(request: SwiftRequest, info: ObjectInfo, large: Large) -> Headers:
    headers = [header for header in _headers(request, info) if header[0] != b"etag"]
    headers.append((b"etag", b'"%s"' % large.etag.encode()))
    return headers


def _check(conditions: Conditions, etag: str, info: ObjectInfo) -> None:
    if conditions:
        check_read(conditions, etag, info.modified_us)


async def _get_large(
    front: SwiftFront, request: SwiftRequest, info: ObjectInfo, conditions: Conditions, ranges: list[tuple[int | None, int | None]] | None
) -> Answer:
    large = await _segments(front, request, info)
    _check(conditions, large.etag, info)
    headers = _large_headers(request, info, large)

    def read(offset: int, length: int) -> AsyncIterator[bytes | memoryview]:
        return stream_segments(front, request.who, large.segments, offset, length)

    spans = [(0, large.size)] if ranges is None else resolve(ranges, large.size)
    if len(spans) > 1:
        return _many(front, headers, large.size, spans, read)
    if ranges is not None:
        headers.append(content_range(*spans[0], large.size))
    rest = read(*spans[0])
    try:
        first = await anext(rest, b"")  # before the head, so that segments that cannot be read are an error
    except (NoSuchKey, PreconditionFailed):
        raise SwiftRefused(409, "A segment is not what the listing says.") from None
    return Answer(200 if ranges is None else 206, headers, first, rest, spans[0][1])


async def stream_segments(
    front: SwiftFront, who: Principal, segments: list[Segment], offset: int, length: int
) -> AsyncIterator[bytes | memoryview]:
    """Bytes of segments one after the other; each must still be what the listing said.  Raises PreconditionFailed, NoSuchKey."""
    for segment in segments:
        if length <= 0:
            return
        if offset >= segment.size:
            offset -= segment.size
            continue
        here = min(length, segment.size - offset)
        reading = await front.store.get(
            who,
            segment.container,
            segment.key,
            conditions=Conditions(if_match=(segment.etag,)),
            range_=ByteRange(offset, offset + here - 1),
        )
        async for chunk in _rest(reading):
            yield chunk
        length -= here
        offset = 0
