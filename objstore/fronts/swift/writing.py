"""PUT, POST, DELETE and COPY of objects."""

import binascii
import contextlib
import dataclasses
import mimetypes
import re
from collections.abc import AsyncIterator, Mapping
from urllib.parse import quote, unquote

import msgspec

from objstore.core.etag import bare_etag
from objstore.errors import NotImplementedHere, PreconditionFailed, VersionIsMarker
from objstore.fronts.dates import http_time
from objstore.fronts.swift import archive as archiving
from objstore.fronts.swift import links, static, synced
from objstore.fronts.swift.answers import HTML, Answer, Headers, SwiftRefused, empty, page
from objstore.fronts.swift.auth import at_home
from objstore.fronts.swift.context import SwiftFront
from objstore.fronts.swift.headers import (
    DEFAULT_TYPE,
    EXPIRES_AT,
    OBJECT_META,
    REMOVE_EXPIRY,
    STORED,
    attributes_of,
    shown_metadata,
    write_conditions,
    written_headers,
)
from objstore.fronts.swift.reading import MANIFEST, find_segments, parse_manifest, stream_segments
from objstore.fronts.swift.request import SwiftRequest, header_bytes, header_text
from objstore.objects.actions import Action
from objstore.objects.api import NO_CONDITIONS, Attributes, Body, Conditions, CopySource, Expected, ObjectInfo, Principal

_MD5 = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_UNBUILT = ("x-object-manifest-etag",)


async def put_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """Write an object; with `X-Copy-From` from another one."""
    headers = request.headers
    _refuse_unbuilt(request)
    if request.as_of_us is not None:
        return await _synced_here(front, request, request.as_of_us)
    if "x-copy-from" in headers:
        return await _copied_here(front, request)
    version = request.query.get("version-id")
    if version:
        return await _restored(front, request, version)
    if request.query.get("multipart-manifest") == "put":
        # A list is up to megabytes, and its answer tells of other objects: not for everybody.
        await front.store.check_access(request.who, request.container, Action.WRITE_OBJECT, request.key)
        return await static.put_manifest(front, request)
    manifest = headers.get(MANIFEST)
    if manifest:
        parse_manifest(header_text(manifest))
    attributes = attributes_of(headers, front.clock.wall_us(), content_type=_type_of(request))
    if headers.get(links.TARGET):
        attributes = msgspec.structs.replace(attributes, headers={**attributes.headers, **await links.link_headers(front, request)})
    body = request.body(front.settings.max_file_bytes)
    expected, conditions = Expected(md5=_promised(headers)), write_conditions(headers)
    info = await write(front, request, request.container, request.key, body, attributes, expected=expected, conditions=conditions)
    return empty(201, [HTML, *written_headers(info)])


async def _restored(front: SwiftFront, request: SwiftRequest, version: str) -> Answer:
    """PUT ?version-id=: that version becomes the current one again, as it is; its bytes are shared."""
    _demand_no_body(front, request, "PUT version-id")
    who, container, key = request.who, request.container, request.key
    found = await front.store.head(who, container, key, version_id=version)
    source = CopySource(container, key, version, conditions=Conditions(if_match=(found.etag,)), home=who.home)
    attributes = Attributes(found.content_type, found.headers, found.metadata)
    info = await front.store.copy(
        who, source, container, key, conditions=write_conditions(request.headers), attributes=attributes, storage_class=found.storage_class
    )
    return empty(201, [HTML, *written_headers(info)])


async def _synced_here(front: SwiftFront, request: SwiftRequest, as_of_us: int) -> Answer:
    """What another cluster sends of an object, as it is there: 202 where what is here is as new."""
    attributes = synced.attributes_sent(front, request)
    conditions = Conditions(as_of_us=as_of_us)
    if await synced.is_outdated(front, request, as_of_us):
        return empty(202, [HTML])
    body = request.body(front.settings.max_file_bytes)
    expected = Expected(md5=_promised(request.headers))
    try:
        info = await write(front, request, request.container, request.key, body, attributes, expected=expected, conditions=conditions)
    except PreconditionFailed:
        return empty(202, [HTML])
    return empty(201, [HTML, *written_headers(info)])


async def write(
    front: SwiftFront, request: SwiftRequest, container: str, key: str, body: Body, attributes: Attributes, *,
    expected: Expected, conditions: Conditions = NO_CONDITIONS,
) -> ObjectInfo:  # fmt: skip
    """Write an object in the account of the request, as its caller; what the container keeps of older ones is kept."""
    who = request.who
    archive = await archiving.archive_of(front, who, container)
    if archive is not None:
        await front.store.check_access(who, container, Action.WRITE_OBJECT, key)
        await archiving.keep_current(front, archive, container, key)
    return await front.store.put(who, container, key, body, attributes=attributes, expected=expected, conditions=conditions)


async def post_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """Replace an object's metadata."""
    _refuse_unbuilt(request)
    if request.query.get("version-id"):
        raise SwiftRefused(400, "POST to a specific version is not allowed")
    if links.TARGET in request.headers:
        raise SwiftRefused(400, "A PUT request is required to set a symlink target")
    manifest = request.headers.get(MANIFEST)
    if manifest:
        parse_manifest(header_text(manifest))
    kind = header_text(request.headers.get("content-type", ""))
    attributes = attributes_of(request.headers, front.clock.wall_us(), content_type=kind)
    info = await front.store.set_attributes(request.who, request.container, request.key, attributes)
    if links.TARGET in info.headers:
        place = links.target_of(front, info.headers, request.who.home)
        text = "The requested POST was applied to a symlink. POST directly to the target to apply requested metadata."
        raise SwiftRefused(307, text, [(b"location", header_bytes(place.path))])
    return empty(202, [HTML])


async def delete_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """Remove an object; one that is not there is 404."""
    if request.as_of_us is not None:
        return await _synced_away(front, request, request.as_of_us)
    version = request.query.get("version-id", "")
    if request.query.get("multipart-manifest") == "delete":
        return await static.delete_manifest(front, request, version)
    archive = None if version else await archiving.archive_of(front, request.who, request.container)
    if archive is not None:
        await front.store.check_access(request.who, request.container, Action.DELETE_OBJECT, request.key)
        await archiving.delete(front, archive, request.who, request.container, request.key)
        return empty(204, [HTML])
    there = NO_CONDITIONS if version else Conditions(if_match=("*",))
    if version:
        with contextlib.suppress(VersionIsMarker):  # a marker is a version, too
            await front.store.head(request.who, request.container, request.key, version_id=version)
    outcome = await front.store.delete(request.who, request.container, request.key, version_id=version, conditions=there)
    headers: Headers = [HTML]
    if outcome.marker_version_id:
        headers.append((b"x-object-version-id", outcome.marker_version_id.encode()))
    return empty(204, headers)


async def _synced_away(front: SwiftFront, request: SwiftRequest, as_of_us: int) -> Answer:
    """A removal in another cluster: 409 where what is here is as new."""
    missing = await synced.is_missing(front, request)
    if not missing and await synced.is_outdated(front, request, as_of_us):
        return page(409)
    archive = await archiving.archive_of(front, request.who, request.container)
    if archive is not None and not missing:
        await archiving.keep_current(front, archive, request.container, request.key)
    try:
        await front.store.delete(request.who, request.container, request.key, conditions=Conditions(as_of_us=as_of_us))
    except PreconditionFailed:
        return page(409)
    return page(404) if missing else empty(204, [HTML])


# -- copying --------------------------------------------------------------------------------------------------


async def copy_object(front: SwiftFront, request: SwiftRequest) -> Answer:
    """COPY: to `Destination`, in `Destination-Account` where that is given."""
    container, key = _place(request.headers.get("destination"), "Destination")
    account = request.headers.get("destination-account")
    home = front.account_of(unquote(header_text(account))) if account else request.who.home
    source = CopySource(request.container, request.key, request.query.get("version-id", ""), home=request.who.home)
    return await _copy(front, request, source, await at_home(front, request.who, home), container, key)


async def _copied_here(front: SwiftFront, request: SwiftRequest) -> Answer:
    _demand_no_body(front, request, "Copy")
    container, key = _place(request.headers["x-copy-from"], "X-Copy-From")
    account = request.headers.get("x-copy-from-account")
    home = front.account_of(unquote(header_text(account))) if account else request.who.home
    source = CopySource(container, key, request.query.get("version-id", ""), home=home)
    return await _copy(front, request, source, request.who, request.container, request.key)


async def _copy(front: SwiftFront, request: SwiftRequest, source: CopySource, target: Principal, container: str, key: str) -> Answer:
    reader = await at_home(front, target, source.home)
    target = reader.at(target.home)  # who may do in both accounts what the list of each lets him
    found = await front.store.head(reader, source.bucket, source.key, version_id=source.version_id)
    if links.TARGET in found.headers and not links.wants_link(request):
        reader, place, found = await links.resolve(front, request, reader, found)
        source = CopySource(place.container, place.key, home=place.account)
        target = reader.at(target.home)
    as_is = request.query.get("multipart-manifest") == "get"
    conditions = write_conditions(request.headers)
    attributes = _copied_attributes(front, request, found, keep_manifest=as_is)
    archive = await archiving.archive_of(front, target, container)
    if archive is not None:
        await front.store.check_access(target, container, Action.WRITE_OBJECT, key)
        await archiving.keep_current(front, archive, container, key)
    if MANIFEST in found.headers and not as_is:
        large = await find_segments(front, reader, found)
        body = _Streamed(stream_segments(front, reader, large.segments, 0, large.size), large.size)
        info = await front.store.put(target, container, key, body, attributes=attributes, expected=Expected(), conditions=conditions)
    else:
        same = dataclasses.replace(source, conditions=Conditions(if_match=(found.etag,)))
        info = await front.store.copy(target, same, container, key, conditions=conditions, attributes=attributes)
    segment = front.segment_of(source.home)
    headers: Headers = [
        HTML,
        *written_headers(info),
        (b"x-copied-from", quote(f"{source.bucket}/{source.key}").encode()),
        (b"x-copied-from-account", quote(segment).encode()),
        (b"x-copied-from-last-modified", http_time(found.modified_us)),
        *shown_metadata(attributes.metadata, OBJECT_META),
    ]
    return empty(201, headers)


def _copied_attributes(front: SwiftFront, request: SwiftRequest, found: ObjectInfo, *, keep_manifest: bool) -> Attributes:
    """What is said of the copy: what was said of its source, and over that what the request says; or that alone."""
    given = attributes_of(request.headers, front.clock.wall_us(), content_type=header_text(request.headers.get("content-type", "")))
    if MANIFEST in given.headers:
        parse_manifest(given.headers[MANIFEST])
    fresh = request.flag("x-fresh-metadata")
    kept = {name: value for name, value in found.headers.items() if name in STORED or name == EXPIRES_AT}
    link = {name: value for name, value in found.headers.items() if name in links.LINK_HEADERS}
    if not keep_manifest:
        kept.pop(MANIFEST, None)
    if REMOVE_EXPIRY in request.headers:
        kept.pop(EXPIRES_AT, None)
    if fresh:
        kept = {MANIFEST: kept[MANIFEST]} if MANIFEST in kept else {}
    metadata = {} if fresh else found.metadata
    return Attributes(
        content_type=given.content_type or found.content_type,
        headers={**kept, **link, **given.headers},
        metadata={**metadata, **given.metadata},
    )


def _demand_no_body(front: SwiftFront, request: SwiftRequest, what: str) -> None:
    if request.body(front.settings.max_file_bytes, must_be_announced=False).size != 0:
        raise SwiftRefused(400, f"{what} requests require a zero byte body")


class _Streamed:
    """objects.api.Body over bytes that are being read."""

    def __init__(self, chunks: AsyncIterator[bytes | memoryview], size: int) -> None:
        self._chunks = chunks
        self.size: int | None = size

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self._chunks

    async def finish(self) -> Mapping[str, bytes]:
        """Nothing follows the bytes."""
        return {}


def _place(value: str | None, name: str) -> tuple[str, str]:
    """(container, object) of a header that names one.  Raises SwiftRefused."""
    if value is None:
        raise SwiftRefused(412, f"{name} header required")
    container, slash, key = unquote(header_text(value)).lstrip("/").partition("/")
    if not slash or not container or not key:
        raise SwiftRefused(412, f"{name} header must be of the form <container name>/<object name>")
    return container, key


# -- what a writer says ---------------------------------------------------------------------------------------


def _refuse_unbuilt(request: SwiftRequest) -> None:
    for name in _UNBUILT:
        if request.headers.get(name):
            raise NotImplementedHere(f"{name} is not built here; docs/reference/swift.md says what is.")


def _type_of(request: SwiftRequest) -> str:
    given = request.headers.get("content-type")
    if given and not request.flag("x-detect-content-type"):
        return header_text(given)
    return guessed_type(request.key)


def guessed_type(key: str) -> str:
    """The type of an object of which none is told."""
    return mimetypes.guess_type(key)[0] or DEFAULT_TYPE


def _promised(headers: Mapping[str, str]) -> bytes | None:
    etag = headers.get("etag")
    if etag is None:
        return None
    bare = bare_etag(etag)
    if not _MD5.fullmatch(bare):
        raise SwiftRefused(422, "The ETag is no MD5 of the body.")
    return binascii.unhexlify(bare)
