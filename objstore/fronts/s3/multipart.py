"""Multipart uploads: begin, upload parts, complete, abort, list; parts made of copies are in `copying`."""

from urllib.parse import quote

from objstore.core.checksums import COMPOSITE
from objstore.core.etag import bare_etag
from objstore.errors import InvalidArgument, MalformedXml
from objstore.fronts.s3 import checksums
from objstore.fronts.s3.context import Front, Headers, Response, empty_answer, xml_answer
from objstore.fronts.s3.early import answer_in_time
from objstore.fronts.s3.encryption import encryption_headers, part_key_of, wish_of, written_headers
from objstore.fronts.s3.grants import acl_of_headers
from objstore.fronts.s3.lifecycle import add_abort, add_expiry
from objstore.fronts.s3.listing import encoding_of, owner_element, prefixes_of
from objstore.fronts.s3.notification import CREATED_UPLOAD, tell_written
from objstore.fronts.s3.objects import written_version
from objstore.fronts.s3.params import (
    STANDARD,
    attributes_of,
    conditions_of,
    parse_number,
    parse_part_number,
    refuse_unbuilt,
)
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.times import iso_time
from objstore.fronts.s3.xml import MAX_COMPLETE_BYTES, MAX_ELEMENTS, Element, element, flag, name_encoder, parse
from objstore.objects.actions import Action
from objstore.objects.api import CompletedPart, ObjectInfo, PartInfo, UploadInfo
from objstore.objects.context import CREATES

MAX_PARTS = 10_000
MAX_LISTED = 1000


async def create_multipart_upload(front: Front, request: S3Request) -> Response:
    """CreateMultipartUpload."""
    headers = request.headers
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    algorithm = checksums.algorithm_named(headers.get("x-amz-checksum-algorithm"), "x-amz-checksum-algorithm")
    kind = headers.get("x-amz-checksum-type", "")
    wish = wish_of(front, request)
    upload = await front.store.create_upload(
        request.who,
        request.bucket,
        request.key,
        attributes=attributes_of(headers, request.amz, wish, acl_of_headers(front.credentials, request.amz)),
        checksum_algorithm=algorithm,
        checksum_type=kind.upper(),
    )
    answer: Headers = []
    if algorithm:
        answer.append((b"x-amz-checksum-algorithm", algorithm.upper().encode()))
        answer.append((b"x-amz-checksum-type", upload.checksum_type.encode()))
    answer += written_headers(upload.encryption, wish.customer_key)
    await add_abort(front, request, upload, answer)
    content = f"{element('Bucket', request.bucket)}{element('Key', request.key)}{element('UploadId', upload.upload_id)}"
    return xml_answer("InitiateMultipartUploadResult", content, answer)


async def upload_part(front: Front, request: S3Request) -> Response:
    """UploadPart."""
    number = parse_part_number(request.query.get("partNumber"))
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    customer_key = part_key_of(front, request)
    part = await front.store.upload_part(
        request.who,
        request.bucket,
        request.key,
        request.query["uploadId"],
        number,
        front.body(request),
        expected=checksums.expected_of(request.headers, request.amz, default=""),
        customer_key=customer_key,
    )
    answer: Headers = [(b"etag", b'"%s"' % part.etag.encode()), *checksums.part_headers(part.checksums)]
    return Response(200, answer + encryption_headers(part.encryption, customer_key))


def _completed_parts(root: Element) -> list[CompletedPart]:
    parts = []
    for item in root.all("Part"):
        number = item.value("PartNumber")
        if not (number.isascii() and number.isdigit()) or len(number) > 5:
            raise MalformedXml
        if not 1 <= int(number) <= MAX_PARTS:
            raise InvalidArgument("PartNumber must be an integer between 1 and 10000, inclusive")
        etag = item.find("ETag")
        if etag is None:
            raise MalformedXml
        found = {
            name: checksums.parse_value(name, child.text.strip())
            for name, tag in checksums.ELEMENTS.items()
            if (child := item.find(tag)) is not None and child.text.strip()
        }
        parts.append(CompletedPart(int(number), bare_etag(etag.text), found))
    if not 1 <= len(parts) <= MAX_PARTS:
        raise MalformedXml
    return parts


async def complete_multipart_upload(front: Front, request: S3Request) -> Response:
    """CompleteMultipartUpload; x-amz-checksum-* here speaks of the object, not of this document."""
    headers = request.headers
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    promised = checksums.expected_of({}, {name: _bare_composite(name, value) for name, value in request.amz.items()}, default="")
    text = headers.get("x-amz-mp-object-size")
    if text is not None and not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise InvalidArgument("The value specified in the x-amz-mp-object-size header is not valid.")
    # Four megabytes of list take a tenth of a second: not for anybody who asks.
    await front.store.check_access(request.who, request.bucket, Action.WRITE_OBJECT, request.key, given=CREATES)
    data = await front.document(request, MAX_COMPLETE_BYTES, promised_of_object=True)
    parts = _completed_parts(parse(data, "CompleteMultipartUpload", most=MAX_ELEMENTS))

    async def complete() -> tuple[str, Headers]:
        info = await front.store.complete_upload(
            request.who,
            request.bucket,
            request.key,
            request.query["uploadId"],
            parts,
            conditions=conditions_of(headers),
            expected=promised,
            object_size=None if text is None else int(text),
            checksum_type=headers.get("x-amz-checksum-type", "").upper(),
        )
        headers_out = written_version(info) + encryption_headers(info.encryption)
        await add_expiry(front, request, info, headers_out)
        await tell_written(front, request, CREATED_UPLOAD, info)
        return _completed(request, info), headers_out

    return await answer_in_time(front, request, "CompleteMultipartUploadResult", complete)


def _bare_composite(name: str, value: str) -> str:
    """A composite checksum may come with "-N" behind it; the number says nothing that the list of parts does not."""
    if name in checksums.HEADERS:
        digest, hyphen, count = value.rpartition("-")
        if hyphen and count.isdigit():
            return digest
    return value


def _completed(request: S3Request, info: ObjectInfo) -> str:
    bucket = "" if request.virtual_bucket else f"/{quote(request.bucket)}"
    location = f"{request.scheme}://{request.headers.get('host', '')}{bucket}/{quote(request.key)}"
    name, text = checksums.shown(info)
    checksum = (
        f"<{checksums.ELEMENTS[name]}>{text}</{checksums.ELEMENTS[name]}>{element('ChecksumType', info.checksum_type)}" if name else ""
    )
    return (
        f"{element('Location', location)}{element('Bucket', request.bucket)}{element('Key', request.key)}"
        f"<ETag>&quot;{info.etag}&quot;</ETag>{checksum}"
    )


async def abort_multipart_upload(front: Front, request: S3Request) -> Response:
    """AbortMultipartUpload."""
    await front.store.abort_upload(request.who, request.bucket, request.key, request.query["uploadId"])
    return empty_answer(204)


def _declared(upload: UploadInfo) -> str:
    if not upload.checksum_algorithm:
        return ""
    return element("ChecksumAlgorithm", upload.checksum_algorithm.upper()) + element("ChecksumType", upload.checksum_type or COMPOSITE)


def _part(part: PartInfo) -> str:
    return (
        f"<Part><PartNumber>{part.number}</PartNumber><LastModified>{iso_time(part.modified_us)}</LastModified>"
        f"<ETag>&quot;{part.etag}&quot;</ETag><Size>{part.size}</Size>{checksums.elements(part.checksums)}</Part>"
    )


async def list_parts(front: Front, request: S3Request) -> Response:
    """ListParts."""
    query = request.query
    encode = name_encoder(encoding_of(request))
    limit = parse_number(query.get("max-parts"), "max-parts", default=MAX_LISTED, most=MAX_LISTED)
    after = parse_number(query.get("part-number-marker"), "part-number-marker", default=0)
    page = await front.store.list_parts(request.who, request.bucket, request.key, query["uploadId"], after=after, limit=limit)
    account = page.upload.owner or request.who.account
    out = [
        element("Bucket", request.bucket),
        f"<Key>{encode(request.key)}</Key>",
        element("UploadId", page.upload.upload_id),
        owner_element(front, "Initiator")(account),
        owner_element(front)(account),
        element("StorageClass", page.upload.storage_class or STANDARD),
        element("PartNumberMarker", after),
        element("NextPartNumberMarker", page.next_marker or (page.parts[-1].number if page.parts else 0)),
        element("MaxParts", limit),
        element("IsTruncated", flag(page.truncated)),
        _declared(page.upload),
        *[_part(part) for part in page.parts],
    ]
    headers: Headers = []
    await add_abort(front, request, page.upload, headers)
    return xml_answer("ListPartsResult", "".join(out), headers)


async def list_multipart_uploads(front: Front, request: S3Request) -> Response:
    """ListMultipartUploads."""
    query = request.query
    encoding = encoding_of(request)
    encode = name_encoder(encoding)
    limit = parse_number(query.get("max-uploads"), "max-uploads", default=MAX_LISTED, most=MAX_LISTED)
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    key_marker, id_marker = query.get("key-marker", ""), query.get("upload-id-marker", "")
    page = await front.store.list_uploads(
        request.who,
        request.bucket,
        prefix=prefix,
        delimiter=delimiter,
        after_key=key_marker,
        after_upload_id=id_marker if key_marker else "",
        limit=limit,
    )
    owner, initiator = owner_element(front), owner_element(front, "Initiator")
    out = [
        element("Bucket", request.bucket),
        f"<KeyMarker>{encode(key_marker)}</KeyMarker>",
        element("UploadIdMarker", id_marker),
        f"<Prefix>{encode(prefix)}</Prefix>",
        f"<Delimiter>{encode(delimiter)}</Delimiter>" if delimiter else "",
        element("MaxUploads", limit),
        "<EncodingType>url</EncodingType>" if encoding else "",
        element("IsTruncated", flag(page.truncated)),
    ]
    if page.truncated:
        out += [f"<NextKeyMarker>{encode(page.next_key)}</NextKeyMarker>", element("NextUploadIdMarker", page.next_upload_id)]
    out += [
        f"<Upload><Key>{encode(upload.key)}</Key>{element('UploadId', upload.upload_id)}{initiator(upload.owner)}{owner(upload.owner)}"
        f"<StorageClass>{upload.storage_class or STANDARD}</StorageClass><Initiated>{iso_time(upload.initiated_us)}</Initiated>{_declared(upload)}</Upload>"
        for upload in page.uploads
    ]
    out.append(prefixes_of(page.prefixes, encode))
    return xml_answer("ListMultipartUploadsResult", "".join(out))
