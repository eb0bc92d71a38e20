"""CopyObject and UploadPartCopy."""

from collections.abc import Mapping

from objstore.errors import InvalidArgument
from objstore.fronts.s3 import checksums
from objstore.fronts.s3.context import Front, Headers, Response
from objstore.fronts.s3.early import answer_in_time
from objstore.fronts.s3.encryption import encryption_headers, part_key_of, source_key_of, wish_of, written_headers
from objstore.fronts.s3.grants import acl_of_headers
from objstore.fronts.s3.lifecycle import add_expiry
from objstore.fronts.s3.notification import CREATED_COPY, tell_written
from objstore.fronts.s3.objects import modified_and_etag, written_version
from objstore.fronts.s3.params import REDIRECT_LOCATION, attributes_of, conditions_of, parse_copy_source, parse_part_number, refuse_unbuilt
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import element

SOURCE_OWNER = "x-amz-source-expected-bucket-owner"


def _directive(headers: Mapping[str, str], name: str) -> bool:
    """Whether a directive says REPLACE.  Raises InvalidArgument."""
    value = headers.get(name, "COPY")
    if value not in ("COPY", "REPLACE"):
        raise InvalidArgument(
            "Unknown metadata directive." if "metadata" in name else "Unknown tagging directive.", argument=name, value=value
        )
    return value == "REPLACE"


async def upload_part_copy(front: Front, request: S3Request) -> Response:
    """UploadPartCopy; a long one is answered early too."""
    number = parse_part_number(request.query.get("partNumber"))
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    source = parse_copy_source(request.headers, source_key_of(front, request))
    customer_key = part_key_of(front, request)
    await front.check_owner(request, SOURCE_OWNER, source.bucket)
    upload_id = request.query["uploadId"]

    async def copy() -> tuple[str, Headers]:
        part = await front.store.copy_part(request.who, source, request.bucket, request.key, upload_id, number, customer_key=customer_key)
        versions: Headers = []
        if part.source_version_id:
            versions.append((b"x-amz-copy-source-version-id", part.source_version_id.encode()))
        return modified_and_etag(part) + checksums.elements(part.checksums), versions + encryption_headers(part.encryption, customer_key)

    return await answer_in_time(front, request, "CopyPartResult", copy)


async def copy_object(front: Front, request: S3Request) -> Response:
    """CopyObject; a long one is answered early, see `early`."""
    headers = request.headers
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    source = parse_copy_source(headers, source_key_of(front, request))
    wish = wish_of(front, request)
    await front.check_owner(request, SOURCE_OWNER, source.bucket)
    written = attributes_of(headers, request.amz)
    attributes = written if _directive(headers, "x-amz-metadata-directive") else None
    tags = written.tags if _directive(headers, "x-amz-tagging-directive") else None
    algorithm = checksums.algorithm_named(headers.get("x-amz-checksum-algorithm"), "x-amz-checksum-algorithm")

    async def copy() -> tuple[str, Headers]:
        info = await front.store.copy(
            request.who,
            source,
            request.bucket,
            request.key,
            conditions=conditions_of(headers),
            attributes=attributes,
            tags=tags,
            checksum=algorithm,
            redirect=written.headers.get(REDIRECT_LOCATION, ""),
            lock=written.lock,
            storage_class=written.storage_class,
            encryption=wish,
            acl=acl_of_headers(front.credentials, request.amz),
        )
        name, text = checksums.shown(info)
        checksum = (
            f"<{checksums.ELEMENTS[name]}>{text}</{checksums.ELEMENTS[name]}>{element('ChecksumType', info.checksum_type)}" if name else ""
        )
        versions = written_version(info)
        if info.source_version_id:
            versions.append((b"x-amz-copy-source-version-id", info.source_version_id.encode()))
        await add_expiry(front, request, info, versions)
        await tell_written(front, request, CREATED_COPY, info)
        return modified_and_etag(info) + checksum, versions + written_headers(info.encryption, wish.customer_key)

    return await answer_in_time(front, request, "CopyObjectResult", copy)
