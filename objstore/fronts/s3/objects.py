"""Objects: PUT, GET, HEAD, DELETE, bulk delete, tags, attributes."""

from collections.abc import AsyncIterator

from objstore.core.checksums import COMPOSITE
from objstore.core.etag import parse_etags
from objstore.errors import InvalidArgument, InvalidRange, InvalidRequest, MalformedXml, ObjstoreError
from objstore.fronts.s3 import checksums
from objstore.fronts.s3.context import Front, Headers, Response, empty_answer, xml_answer
from objstore.fronts.s3.encryption import encryption_headers, reading_key_of, wish_of, written_headers
from objstore.fronts.s3.errors import failure_of
from objstore.fronts.s3.grants import acl_of_headers
from objstore.fronts.s3.lifecycle import add_expiry
from objstore.fronts.s3.notification import CREATED_POST, CREATED_PUT, TAGS_DELETED, TAGS_PUT, tell_deleted, tell_written
from objstore.fronts.s3.params import (
    NULL_VERSION,
    STANDARD,
    attributes_of,
    bypass_of,
    check_tags,
    conditions_of,
    delete_conditions_of,
    header_bytes,
    parse_number,
    parse_part_number,
    parse_version,
    range_of,
    refuse_unbuilt,
)
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.times import http_time, iso_time, parse_date, parse_http_date
from objstore.fronts.s3.xml import Element, element, escape, flag, parse
from objstore.objects.actions import Action
from objstore.objects.api import ByteRange, Conditions, DeleteOutcome, DeleteTarget, ObjectInfo, ObjectParts, PartInfo, Reading

MAX_DELETES = 1000
MAX_DELETE_BYTES = 2 << 20  # so many keys of 1,024 bytes
MAX_PARTS_LISTED = 1000
DEFAULT_TYPE = b"binary/octet-stream"
_OVERRIDES = {
    "response-content-type": "content-type",
    "response-content-language": "content-language",
    "response-expires": "expires",
    "response-cache-control": "cache-control",
    "response-content-disposition": "content-disposition",
    "response-content-encoding": "content-encoding",
}
_ATTRIBUTES = frozenset(("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"))


def version_header(info: ObjectInfo) -> Headers:
    """The version id of a versioned object."""
    return [(b"x-amz-version-id", info.version_id.encode())] if info.version_id else []


def written_version(info: ObjectInfo) -> Headers:
    """The version id in the answer to a write; Amazon does not name the null version there, though it does to readers."""
    return version_header(info) if info.version_id != NULL_VERSION else []


async def put_object(front: Front, request: S3Request) -> Response:
    """PutObject."""
    headers = request.headers
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    wish = wish_of(front, request)
    info = await front.store.put(
        request.who,
        request.bucket,
        request.key,
        front.body(request),
        attributes=attributes_of(headers, request.amz, wish, acl_of_headers(front.credentials, request.amz)),
        expected=checksums.expected_of(headers, request.amz),
        conditions=conditions_of(headers),
    )
    answer: Headers = [(b"etag", b'"%s"' % info.etag.encode()), *checksums.response_headers(info)]
    if info.version_id:
        answer += written_version(info)
    await add_expiry(front, request, info, answer)
    await tell_written(front, request, CREATED_PUT if request.form is None else CREATED_POST, info)
    if info.encryption:
        answer += written_headers(info.encryption, wish.customer_key)
    return Response(200, answer)


# -- reading --------------------------------------------------------------------------------------------------


def _facts(info: ObjectInfo, request: S3Request, customer_key: bytes) -> Headers:
    """Headers of GET and HEAD that do not depend on a range."""
    headers: Headers = [
        (b"etag", b'"%s"' % info.etag.encode()),
        (b"last-modified", http_time(info.modified_us)),
        (b"accept-ranges", b"bytes"),
    ]
    stored = info.headers
    content_type = header_bytes(info.content_type) or DEFAULT_TYPE
    asked = _overrides(request) if request.query else {}
    if asked:
        content_type = asked.pop("content-type", content_type)
        stored = {name: value for name, value in stored.items() if name not in asked}
    headers.append((b"content-type", content_type))
    for name, value in stored.items():
        headers.append((name.encode(), header_bytes(value)))
    for name, told in asked.items():
        headers.append((name.encode(), told))
    for name, value in info.metadata.items():
        headers.append((b"x-amz-meta-" + header_bytes(name), header_bytes(value)))
    if info.tags:
        headers.append((b"x-amz-tagging-count", b"%d" % len(info.tags)))
    if info.storage_class:
        headers.append((b"x-amz-storage-class", info.storage_class.encode()))
    if info.lock_mode:
        headers.append((b"x-amz-object-lock-mode", info.lock_mode.encode()))
        headers.append((b"x-amz-object-lock-retain-until-date", iso_time(info.retain_until_us).encode()))
    if info.legal_hold:
        headers.append((b"x-amz-object-lock-legal-hold", b"ON"))
    if info.version_id:
        headers.append((b"x-amz-version-id", info.version_id.encode()))
    elif request.query.get("versionId"):
        headers.append((b"x-amz-version-id", b"null"))
    if info.encryption:
        headers += encryption_headers(info.encryption, customer_key)
    return headers


def _overrides(request: S3Request) -> dict[str, bytes]:
    """Response headers that the (signed) query asks for, in UTF-8."""
    asked: dict[str, bytes] = {}
    for parameter, name in _OVERRIDES.items():
        value = request.query.get(parameter)
        if value is None:
            continue
        if request.who.anonymous:
            raise InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
        if any(ord(char) < 0x20 or ord(char) == 0x7F for char in value):
            raise InvalidArgument(f"The parameter {parameter} holds control characters.")
        asked[name] = value.encode()
    return asked


def _span(reading: Reading) -> tuple[bytes, bytes]:
    first, last = reading.offset, reading.offset + reading.length - 1
    return (b"content-range", b"bytes %d-%d/%d" % (first, last, reading.info.size))


async def _open(front: Front, request: S3Request, customer_key: bytes) -> tuple[Reading, bool]:
    """The reading asked for, and whether it is a part of the object (206)."""
    headers, query = request.headers, request.query
    wanted = range_of(headers) if "range" in headers else None
    version = parse_version(query.get("versionId")) if query else ""
    part = parse_part_number(query["partNumber"]) if "partNumber" in query else None
    if part is not None and wanted is not None:
        raise InvalidRequest("Cannot specify both Range header and partNumber query parameter")
    conditions = conditions_of(headers)

    async def get(range_: ByteRange | None) -> Reading:
        return await front.store.get(
            request.who, request.bucket, request.key, version_id=version, conditions=conditions, range_=range_, part_number=part,
            customer_key=customer_key,
        )  # fmt: skip

    if wanted is None or "if-range" not in headers:
        return await get(wanted), wanted is not None or part is not None
    # The condition is of what is there, not of the range, which need not even lie within another object.
    try:
        reading: Reading | None = await get(wanted)
    except InvalidRange:
        reading = None
    if reading is not None and _range_holds(headers["if-range"], reading.info):
        return reading, True
    if reading is not None:
        await _close(reading)
    whole = await get(None)
    if not _range_holds(headers["if-range"], whole.info):
        return whole, False
    await _close(whole)
    return await get(wanted), True  # the range that cannot be satisfied, unless the object was written just now


def _range_holds(condition: str, info: ObjectInfo) -> bool:
    date = parse_http_date(condition)
    if date is not None:
        return info.modified_us // 1_000_000 <= date // 1_000_000
    return info.etag in parse_etags(condition)


async def _close(reading: Reading) -> None:
    closing = getattr(reading.chunks, "aclose", None)  # iterators that hold nothing need not have one
    if closing is not None:
        await closing()


def _reading_headers(request: S3Request, reading: Reading, customer_key: bytes, *, partial: bool) -> Headers:
    info = reading.info
    headers = _facts(info, request, customer_key)
    if partial:
        if reading.length:
            headers.append(_span(reading))
        if info.part_count and "partNumber" in request.query:
            headers.append((b"x-amz-mp-parts-count", b"%d" % info.part_count))
    elif request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers += checksums.response_headers(info)
    return headers


async def get_object(front: Front, request: S3Request) -> Response:
    """GetObject."""
    customer_key = reading_key_of(front, request)
    reading, partial = await _open(front, request, customer_key)
    try:
        headers = _reading_headers(request, reading, customer_key, partial=partial)
        await add_expiry(front, request, reading.info, headers)
        chunks = reading.chunks
        # The first piece comes before the head, so that a body that cannot be read is an error and not a broken answer.
        first = await anext(chunks) if reading.length else b""
    except BaseException:
        await _close(reading)
        raise
    rest = None if len(first) == reading.length else _rest(reading)
    return Response(206 if partial else 200, headers, first, rest, reading.length)


async def _rest(reading: Reading) -> AsyncIterator[bytes | memoryview]:
    try:
        async for chunk in reading.chunks:
            yield chunk
    finally:
        await _close(reading)


async def head_object(front: Front, request: S3Request) -> Response:
    """HeadObject."""
    customer_key = reading_key_of(front, request)
    if "range" in request.headers or "partNumber" in request.query:
        reading, partial = await _open(front, request, customer_key)
        await _close(reading)
        return Response(206 if partial else 200, _reading_headers(request, reading, customer_key, partial=partial), length=reading.length)
    version = parse_version(request.query.get("versionId"))
    info = await front.store.head(
        request.who, request.bucket, request.key, version_id=version, conditions=conditions_of(request.headers), customer_key=customer_key
    )
    headers = _facts(info, request, customer_key)
    if request.headers.get("x-amz-checksum-mode", "").upper() == "ENABLED":
        headers += checksums.response_headers(info)
    await add_expiry(front, request, info, headers)
    return Response(200, headers, length=info.size)


async def get_object_attributes(front: Front, request: S3Request) -> Response:
    """GetObjectAttributes."""
    headers = request.headers
    wanted = {item.strip() for item in headers.get("x-amz-object-attributes", "").split(",")} - {""}
    if not wanted or wanted - _ATTRIBUTES:
        raise InvalidArgument("Invalid attribute name specified.")
    version = parse_version(request.query.get("versionId"))
    limit = parse_number(headers.get("x-amz-max-parts"), "x-amz-max-parts", default=MAX_PARTS_LISTED, most=MAX_PARTS_LISTED)
    after = parse_number(headers.get("x-amz-part-number-marker"), "x-amz-part-number-marker", default=0)
    conditions, customer_key = conditions_of(headers), reading_key_of(front, request)
    found = await front.store.object_parts(
        request.who,
        request.bucket,
        request.key,
        version_id=version,
        conditions=conditions,
        after=after,
        limit=limit,
        customer_key=customer_key,
    )
    info = found.info
    out = []
    if "ETag" in wanted:
        out.append(element("ETag", info.etag))
    name, text = checksums.shown(info)
    if "Checksum" in wanted and name:
        # Without the count of parts that the header shows: the parts are told apart below.
        bare = text.partition("-")[0] if info.checksum_type == COMPOSITE else text
        kind = element("ChecksumType", info.checksum_type)
        out.append(f"<Checksum><{checksums.ELEMENTS[name]}>{bare}</{checksums.ELEMENTS[name]}>{kind}</Checksum>")
    if "ObjectParts" in wanted and info.part_count:
        out.append(_object_parts(found, after, limit))
    if "StorageClass" in wanted:
        out.append(element("StorageClass", info.storage_class or STANDARD))
    if "ObjectSize" in wanted:
        out.append(element("ObjectSize", info.size))
    return xml_answer("GetObjectAttributesResponse", "".join(out), [(b"last-modified", http_time(info.modified_us)), *version_header(info)])


def _object_parts(found: ObjectParts, after: int, limit: int) -> str:
    parts = [
        f"<Part>{checksums.elements(part.checksums)}<PartNumber>{part.number}</PartNumber><Size>{part.size}</Size></Part>"
        for part in found.parts
    ]
    return (
        f"<ObjectParts><IsTruncated>{flag(found.truncated)}</IsTruncated><MaxParts>{limit}</MaxParts>"
        f"<NextPartNumberMarker>{found.parts[-1].number if found.parts else after}</NextPartNumberMarker>"
        f"<PartNumberMarker>{after}</PartNumberMarker>{''.join(parts)}<PartsCount>{found.info.part_count}</PartsCount></ObjectParts>"
    )


# -- deleting -------------------------------------------------------------------------------------------------


def _delete_headers(outcome: DeleteOutcome) -> Headers:
    headers: Headers = []
    if outcome.delete_marker:
        headers.append((b"x-amz-delete-marker", b"true"))
    version = outcome.version_id or outcome.marker_version_id
    if version:
        headers.append((b"x-amz-version-id", version.encode()))
    return headers


async def delete_object(front: Front, request: S3Request) -> Response:
    """DeleteObject."""
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    version = parse_version(request.query.get("versionId"))
    conditions = delete_conditions_of(request.headers)
    outcome = await front.store.delete(
        request.who, request.bucket, request.key, version_id=version, conditions=conditions, bypass=bypass_of(request.amz)
    )
    await tell_deleted(front, request, outcome)
    return empty_answer(204, _delete_headers(outcome))


async def delete_objects(front: Front, request: S3Request) -> Response:
    """DeleteObjects."""
    headers = request.headers
    promised = checksums.expected_of(headers, request.amz, default="")
    if promised.md5 is None and not promised.checksums and not promised.wanted:
        raise InvalidRequest("Missing required header for this request: Content-MD5 OR x-amz-checksum-*")
    root = parse(await front.document(request, MAX_DELETE_BYTES), "Delete")
    quiet = root.value("Quiet").lower() == "true"
    items = root.all("Object")
    if not 1 <= len(items) <= MAX_DELETES:
        raise MalformedXml
    bypass = bypass_of(request.amz)
    outcomes = await front.store.delete_many(request.who, request.bucket, [_target(item, bypass=bypass) for item in items])
    for outcome in outcomes:
        await tell_deleted(front, request, outcome)
    return xml_answer("DeleteResult", "".join([_deleted(outcome, quiet=quiet) for outcome in outcomes]))


def _target(item: Element, *, bypass: bool) -> DeleteTarget:
    """One entry of a bulk delete.  Raises MalformedXml."""
    key = item.find("Key")
    if key is None or not key.text:
        raise MalformedXml
    etag, size, time = item.value("ETag"), item.value("Size"), item.value("LastModifiedTime")
    if not (etag or size or time):
        return DeleteTarget(key.text, item.value("VersionId"), bypass=bypass)
    if size and not (size.isascii() and size.isdigit() and len(size) <= 19):
        raise MalformedXml
    modified = parse_date(time) if time else None
    if time and modified is None:
        raise MalformedXml
    conditions = Conditions(
        if_match=parse_etags(etag) if etag else None, if_match_size=int(size) if size else None, if_match_modified_us=modified
    )
    return DeleteTarget(key.text, item.value("VersionId"), conditions, bypass)


def _deleted(outcome: DeleteOutcome, *, quiet: bool) -> str:
    key = f"<Key>{escape(outcome.key)}</Key>"
    version = element("VersionId", outcome.version_id) if outcome.version_id else ""
    if outcome.error is not None:
        assert isinstance(outcome.error, ObjstoreError)
        failure = failure_of(outcome.error)
        return f"<Error>{key}{version}{element('Code', failure.code)}{element('Message', failure.message)}</Error>"
    if quiet:
        return ""
    if outcome.delete_marker:
        marker = f"<DeleteMarker>true</DeleteMarker>{element('DeleteMarkerVersionId', outcome.marker_version_id)}"
        return f"<Deleted>{key}{version}{marker}</Deleted>"
    return f"<Deleted>{key}{version}</Deleted>"


# -- tags -----------------------------------------------------------------------------------------------------


async def get_object_tagging(front: Front, request: S3Request) -> Response:
    """GetObjectTagging."""
    version = parse_version(request.query.get("versionId"))
    info = await front.store.head(request.who, request.bucket, request.key, version_id=version, action=Action.READ_TAGS)
    tags = "".join([f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>" for name, value in sorted(info.tags.items())])
    return xml_answer("Tagging", f"<TagSet>{tags}</TagSet>", version_header(info))


async def put_object_tagging(front: Front, request: S3Request) -> Response:
    """PutObjectTagging."""
    version = parse_version(request.query.get("versionId"))
    tag_set = parse(await front.document(request), "Tagging").find("TagSet")
    if tag_set is None:
        raise MalformedXml
    pairs = []
    for tag in tag_set.all("Tag"):
        name, value = tag.find("Key"), tag.find("Value")
        if name is None or value is None:
            raise MalformedXml
        pairs.append((name.text, value.text))
    info = await front.store.set_tags(request.who, request.bucket, request.key, check_tags(pairs), version_id=version)
    await tell_written(front, request, TAGS_PUT, info)
    return empty_answer(200, version_header(info))


async def delete_object_tagging(front: Front, request: S3Request) -> Response:
    """DeleteObjectTagging."""
    version = parse_version(request.query.get("versionId"))
    info = await front.store.set_tags(request.who, request.bucket, request.key, {}, version_id=version)
    await tell_written(front, request, TAGS_DELETED, info)
    return empty_answer(204, version_header(info))


# -- what an object has without having been given it ----------------------------------------------------------


def modified_and_etag(info: ObjectInfo | PartInfo) -> str:
    """What the answer to a copy begins with."""
    return f"<LastModified>{iso_time(info.modified_us)}</LastModified><ETag>&quot;{info.etag}&quot;</ETag>"
