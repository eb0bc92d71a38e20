"""Configuration that this store never has: who asks is told so in Amazon's own words, who sets it is refused.

Analytics, inventory, metrics and tiering are kept by id on Amazon: a list is empty, one by id is not there.  The requester
never pays here, and nothing is accelerated.
"""

from objstore.errors import MalformedXml, NotImplementedHere
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import needed, only, read_document
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request
from objstore.objects.actions import Action

LIMIT_BYTES = 16 * 1024
# Sub-resource -> root element of its empty list, and Amazon's name in the names of the calls.
BY_ID = {
    "analytics": ("ListBucketAnalyticsConfigurationResult", "Analytics"),
    "intelligent-tiering": ("ListBucketIntelligentTieringConfigurationsOutput", "IntelligentTiering"),
    "inventory": ("ListInventoryConfigurationsResult", "Inventory"),
    "metrics": ("ListMetricsConfigurationsResult", "Metrics"),
}


ACTIONS = {
    "analytics": (Action.READ_ANALYTICS, Action.WRITE_ANALYTICS),
    "intelligent-tiering": (Action.READ_TIERING, Action.WRITE_TIERING),
    "inventory": (Action.READ_INVENTORY, Action.WRITE_INVENTORY),
    "metrics": (Action.READ_METRICS, Action.WRITE_METRICS),
}


async def get_by_id(front: Front, request: S3Request) -> Response:
    """One configuration by id, which is not there, or the empty list of them."""
    await front.store.bucket(request.who, request.bucket, ACTIONS[_named(request)][0])
    if "id" in request.query:
        raise S3Refused(404, "NoSuchConfiguration", "The specified configuration does not exist.")
    return xml_answer(BY_ID[_named(request)][0], "<IsTruncated>false</IsTruncated>")


def _named(request: S3Request) -> str:
    return next(name for name in BY_ID if name in request.query)


async def delete_by_id(front: Front, request: S3Request) -> Response:
    """A configuration that cannot be there."""
    await front.store.bucket(request.who, request.bucket, ACTIONS[_named(request)][1])
    raise S3Refused(404, "NoSuchConfiguration", "The specified configuration does not exist.")


async def get_request_payment(front: Front, request: S3Request) -> Response:
    """GetBucketRequestPayment."""
    await front.store.bucket(request.who, request.bucket, Action.READ_REQUEST_PAYMENT)
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
