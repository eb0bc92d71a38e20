"""Access control lists of buckets and objects: the four calls."""

from objstore.core import acl as lists
from objstore.core.acl import Acl
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.grants import acl_answer, acl_of_headers, read_acl
from objstore.fronts.s3.objects import version_header
from objstore.fronts.s3.params import parse_version
from objstore.fronts.s3.request import S3Request
from objstore.objects.actions import Action
from objstore.objects.config import Parsed

LIMIT_BYTES = 256 * 1024  # a hundred grants take less than a tenth
PARSED = Parsed("acl", lists.decode_acl)


async def get_bucket_acl(front: Front, request: S3Request) -> Response:
    """GetBucketAcl."""
    info = await front.store.bucket(request.who, request.bucket, Action.READ_BUCKET_ACL)
    acl = PARSED.of(info) or lists.PRIVATE
    return xml_answer("AccessControlPolicy", acl_answer(front.credentials, acl, info.account, info.account))


async def put_bucket_acl(front: Front, request: S3Request) -> Response:
    """PutBucketAcl."""
    info = await front.store.may_configure(request.who, request.bucket, "acl")
    owner = front.credentials.owner_of(info.account).canonical_id
    encoded = lists.encode_acl(lists.of_bucket(await _asked(front, request, owner, owner)))
    await front.store.set_config(request.who, request.bucket, "acl", encoded or None)
    return empty_answer(200)


async def get_object_acl(front: Front, request: S3Request) -> Response:
    """GetObjectAcl."""
    version = parse_version(request.query.get("versionId"))
    info, acl = await front.store.get_acl(request.who, request.bucket, request.key, version_id=version)
    home = await front.store.find_bucket(request.who, request.bucket)
    content = acl_answer(front.credentials, acl, info.owner or home.account, home.account)
    return xml_answer("AccessControlPolicy", content, version_header(info))


async def put_object_acl(front: Front, request: S3Request) -> Response:
    """PutObjectAcl."""
    version = parse_version(request.query.get("versionId"))
    info = await front.store.head(request.who, request.bucket, request.key, version_id=version, action=Action.WRITE_ACL)
    home = await front.store.find_bucket(request.who, request.bucket)
    of = front.credentials.owner_of
    asked = await _asked(front, request, of(info.owner or home.account).canonical_id, of(home.account).canonical_id)
    info = await front.store.set_acl(request.who, request.bucket, request.key, asked, version_id=version)
    return empty_answer(200, version_header(info))


async def _asked(front: Front, request: S3Request, owner: str, bucket_owner: str) -> Acl:
    """The list that a PUT brings, in its headers or in its body."""
    named = acl_of_headers(front.credentials, request.amz)
    data = await front.document(request, LIMIT_BYTES)
    if data.strip():
        if named is not None:
            raise S3Refused(400, "UnexpectedContent", "This request does not support content")
        return read_acl(front.credentials, data, owner, bucket_owner)
    if named is None:
        raise S3Refused(
            400, "MissingSecurityHeader", "Your request was missing a required header", elements={"MissingHeaderName": "x-amz-acl"}
        )
    return named


BUCKET_ROUTES = {
    ("GET", "acl"): ("GetBucketAcl", get_bucket_acl),
    ("PUT", "acl"): ("PutBucketAcl", put_bucket_acl),
}
OBJECT_ROUTES = {
    ("GET", "acl"): ("GetObjectAcl", get_object_acl),
    ("PUT", "acl"): ("PutObjectAcl", put_object_acl),
}
