"""Quotas of buckets: this store's own sub-resource `?x-objstore-quota`, a document of <MaxBytes> and <MaxObjects>."""

from objstore.core import quota
from objstore.core.quota import QuotaConfig
from objstore.errors import InvalidArgument, MalformedXml
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, only, read_document, whole
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import Element, element

LIMIT_BYTES = 4096
NAME = "x-objstore-quota"


async def get_bucket_quota(front: Front, request: S3Request) -> Response:
    """The quota as it was set."""
    config = quota.decode(await kept(front, request, "quota"))
    out = "" if config.max_bytes is None else element("MaxBytes", config.max_bytes)
    out += "" if config.max_objects is None else element("MaxObjects", config.max_objects)
    return xml_answer("QuotaConfiguration", out)


async def put_bucket_quota(front: Front, request: S3Request) -> Response:
    """Set a quota; what the bucket holds already stays, also beyond it."""
    config = parse_config(await read_document(front, request, "quota", "QuotaConfiguration", LIMIT_BYTES))
    await front.store.set_config(request.who, request.bucket, "quota", quota.encode(config))
    return empty_answer(200)


async def delete_bucket_quota(front: Front, request: S3Request) -> Response:
    """Take the quota away."""
    await front.store.set_config(request.who, request.bucket, "quota", None)
    return empty_answer(204)


BUCKET_ROUTES = {
    ("GET", NAME): ("GetBucketQuota", get_bucket_quota),
    ("PUT", NAME): ("PutBucketQuota", put_bucket_quota),
    ("DELETE", NAME): ("DeleteBucketQuota", delete_bucket_quota),
}


def parse_config(root: Element) -> QuotaConfig:
    """The configuration of a document.  Raises MalformedXml, InvalidArgument."""
    only(root, "MaxBytes", "MaxObjects")
    limits = whole(root, "MaxBytes"), whole(root, "MaxObjects")
    if limits == (None, None):
        raise MalformedXml
    if any(limit is not None and limit < 0 for limit in limits):
        raise InvalidArgument("MaxBytes and MaxObjects must not be negative")
    return QuotaConfig(1, *limits)
