"""Configuration that this store never has: who asks is told so in Amazon's own words, who sets it is refused.

Analytics, inventory, metrics and tiering are kept by id on Amazon: a list is empty, one by id is not there.  The requester
never pays here, and nothing is accelerated.
"""

import contextlib

from objstore.errors import MalformedXml, NoSuchConfig, NotImplementedHere
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import needed, only, read_document
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request

LIMIT_BYTES = 16 * 1024
# Sub-resource -> root element of its empty list, and Amazon's name in the names of the calls.
BY_ID = {
    "analytics": ("ListBucketAnalyticsConfigurationResult", "Analytics"),
    "intelligent-tiering": ("ListBucketIntelligentTieringConfigurationsOutput", "IntelligentTiering"),
    "inventory": ("ListInventoryConfigurationsResult", "Inventory"),
    "metrics": ("ListMetricsConfigurationsResult", "Metrics"),
}


async def _may_look(front: Front, request: S3Request) -> None:
    with contextlib.suppress(NoSuchConfig):
        await front.store.get_config(request.who, request.bucket, "requestPayment")


async def get_by_id(front: Front, request: S3Request) -> Response:
    """One configuration by id, which is not there, or the empty list of them."""
    await _may_look(front, request)
    if "id" in request.query:
        raise S3Refused(404, "NoSuchConfiguration", "The specified configuration does not exist.")
    return xml_answer(next(root for name, (root, _) in BY_ID.items() if name in request.query), "<IsTruncated>false</IsTruncated>")


async def delete_by_id(front: Front, request: S3Request) -> Response:
    """A configuration that cannot be there."""
    await _may_look(front, request)
    raise S3Refused(404, "NoSuchConfiguration", "The specified configuration does not exist.")


async def get_request_payment(front: Front, request: S3Request) -> Response:
    """GetBucketRequestPayment."""
    await _may_look(front, request)
    return xml_answer("RequestPaymentConfiguration", "<Payer>BucketOwner</Payer>")


async def put_request_payment(front: Front, request: S3Request) -> Response:
    """PutBucketRequestPayment: the owner pays, nobody else can."""
    root = await read_document(front, request, "requestPayment", "RequestPaymentConfiguration", LIMIT_BYTES)
    only(root, "Payer")
    payer = needed(root, "Payer").strip()
    if payer not in ("BucketOwner", "Requester"):
        raise MalformedXml
    if payer == "Requester":
        raise NotImplementedHere("Buckets whose requesters pay are not implemented: nothing is billed here.")
    await front.store.set_config(request.who, request.bucket, "requestPayment", None)
    return empty_answer(200)


BUCKET_ROUTES = {
    ("GET", "requestPayment"): ("GetBucketRequestPayment", get_request_payment),
    ("PUT", "requestPayment"): ("PutBucketRequestPayment", put_request_payment),
    **{("GET", name): (f"GetBucket{shown}Configuration", get_by_id) for name, (_, shown) in BY_ID.items()},
    **{("DELETE", name): (f"DeleteBucket{shown}Configuration", delete_by_id) for name, (_, shown) in BY_ID.items()},
}
