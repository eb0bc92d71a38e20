"""Appends: PutObject with x-amz-write-offset-bytes, as directory buckets have it on Amazon; here in every bucket."""

from objstore.errors import InvalidArgument, InvalidRequest
from objstore.fronts.s3 import checksums
from objstore.fronts.s3.context import Front, Headers, Response
from objstore.fronts.s3.encryption import wish_of, written_headers
from objstore.fronts.s3.grants import acl_of_headers
from objstore.fronts.s3.objects import written_version
from objstore.fronts.s3.params import attributes_of, conditions_of, refuse_unbuilt
from objstore.fronts.s3.request import S3Request

WRITE_OFFSET = "x-amz-write-offset-bytes"


async def append_object(front: Front, request: S3Request) -> Response:
    """PutObject at an offset, which must be the object's size."""
    headers, text = request.headers, request.headers[WRITE_OFFSET]
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    if not (text.isascii() and text.isdigit() and len(text) <= 19):
        raise InvalidArgument("The value specified in the x-amz-write-offset-bytes header is not valid.")
    wish = wish_of(front, request)
    attributes = attributes_of(headers, request.amz, wish, acl_of_headers(front.credentials, request.amz))
    if attributes.lock is not None:
        raise InvalidRequest("An append cannot set an object lock; set it once the object is complete.")
    info = await front.store.append(
        request.who,
        request.bucket,
        request.key,
        front.body(request),
        offset=int(text),
        attributes=attributes,
        expected=checksums.expected_of(headers, request.amz),
        conditions=conditions_of(headers),
    )
    answer: Headers = [(b"etag", b'"%s"' % info.etag.encode()), *checksums.response_headers(info)]
    answer += written_headers(info.encryption, wish.customer_key)
    return Response(200, [*answer, (b"x-amz-object-size", b"%d" % info.size), *written_version(info)])
