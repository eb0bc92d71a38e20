"""Buckets: create, delete, head, list; and the honest answers about configuration that is not set or not built."""

import re
from collections.abc import Mapping

from objstore.errors import BucketAlreadyExists, BucketAlreadyOwnedByYou, InvalidArgument, NotImplementedHere
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.ownership import config_of_creation
from objstore.fronts.s3.params import parse_number, refuse_unbuilt
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.tagging import tags_of_creation
from objstore.fronts.s3.times import iso_time
from objstore.fronts.s3.xml import element, parse
from objstore.objects.actions import Action
from objstore.objects.api import BucketInfo
from objstore.objects.lock import PART as LOCK_PART

DEFAULT_REGION = "us-east-1"
MAX_BUCKETS = 10_000
_REGION = re.compile(r"[a-z0-9-]{1,64}")
_HINT_OTHER = "The bucket is yours already, with another {}: change it by its own call, or choose another name."
_LEGACY_REGIONS = {"EU": "eu-west-1"}


async def list_buckets(front: Front, request: S3Request) -> Response:
    """ListBuckets."""
    query, who = request.query, request.who
    limit = parse_number(query.get("max-buckets"), "max-buckets", default=MAX_BUCKETS, least=1, most=MAX_BUCKETS)
    prefix = query.get("prefix", "")
    page = await front.store.list_buckets(who, prefix=prefix, after=query.get("continuation-token", ""), limit=limit)
    wanted, home = query.get("bucket-region", ""), front.settings.region
    # A page may have fewer than were asked for, as on Amazon: what is elsewhere is passed over.
    shown = [info for info in page.buckets if not wanted or (info.region or home) == wanted]
    buckets = "".join([f"<Bucket>{_bucket(front, info)}</Bucket>" for info in shown])
    owner = f"<Owner>{element('ID', who.canonical_id)}{element('DisplayName', who.display_name)}</Owner>"
    tail = element("Prefix", prefix) if prefix else ""
    if page.truncated:
        tail += element("ContinuationToken", page.next_after)
    return xml_answer("ListAllMyBucketsResult", f"{owner}<Buckets>{buckets}</Buckets>{tail}")


def _bucket(front: Front, info: BucketInfo) -> str:
    region = element("BucketRegion", info.region or front.settings.region)
    return f"{element('Name', info.name)}{element('CreationDate', iso_time(info.created_us))}{region}"


async def create_bucket(front: Front, request: S3Request) -> Response:
    """CreateBucket; creating one's own again is a success in us-east-1 and a conflict elsewhere, as on Amazon."""
    headers = request.headers
    locked = headers.get("x-amz-bucket-object-lock-enabled", "false").lower() == "true"
    refuse_unbuilt(request.amz, front.settings.storage_classes)
    asked, tags = await _asked(front, request)
    region = asked or front.settings.region
    config = config_of_creation(front, request) | tags
    try:
        await front.store.create_bucket(request.who, request.bucket, region=region, object_lock=locked, config=config)
    except BucketAlreadyOwnedByYou:
        if region != DEFAULT_REGION:
            raise
        _check_as_asked(await front.store.find_bucket(request.who, request.bucket), region, config, locked=locked)
    return empty_answer(200, [(b"location", b"/" + request.bucket.encode())])


def _check_as_asked(info: BucketInfo, region: str, config: Mapping[str, bytes], *, locked: bool) -> None:
    """See that a bucket that is there is what was asked for: a 200 would say that it is.  Raises BucketAlreadyExists, BucketAlreadyOwnedByYou."""
    if config.get("acl", b"") != info.config.get("acl", b""):
        raise BucketAlreadyExists("the bucket has another list", bucket=info.name, hint=_HINT_OTHER.format("access control list"))
    others = [part for part, value in config.items() if value != info.config.get(part)]
    if locked and LOCK_PART not in info.config:
        others.append(LOCK_PART)
    if info.region and info.region != region:
        others.append("location")
    if others:
        raise BucketAlreadyOwnedByYou("the bucket is another", bucket=info.name, hint=_HINT_OTHER.format(", ".join(others)))


async def _asked(front: Front, request: S3Request) -> tuple[str, dict[str, bytes]]:
    """The region and the configuration that the document asks for."""
    data = await front.document(request)
    if not data.strip():
        return "", {}
    root = parse(data, "CreateBucketConfiguration")
    if root.find("Location") is not None or root.find("Bucket") is not None:
        raise NotImplementedHere("Directory buckets are not implemented.")
    text = root.value("LocationConstraint")
    region = _LEGACY_REGIONS.get(text, text)
    if region and (_REGION.fullmatch(region) is None or (front.settings.strict_region and region != front.settings.region)):
        raise S3Refused(
            400,
            "InvalidLocationConstraint",
            "The specified location-constraint is not valid",
            elements={"LocationConstraint": text},
            hint=f"This store's region is {front.settings.region}.",
        )
    return region, tags_of_creation(root)


async def head_bucket(front: Front, request: S3Request) -> Response:
    """HeadBucket."""
    info = await front.store.bucket(request.who, request.bucket)
    region = (info.region or front.settings.region).encode()
    return empty_answer(200, [(b"x-amz-bucket-region", region), (b"content-type", b"application/xml")])


async def delete_bucket(front: Front, request: S3Request) -> Response:
    """DeleteBucket."""
    await front.store.delete_bucket(request.who, request.bucket)
    return empty_answer(204)


async def get_bucket_location(front: Front, request: S3Request) -> Response:
    """GetBucketLocation; empty for us-east-1, as on Amazon."""
    info = await front.store.bucket(request.who, request.bucket, Action.READ_LOCATION)
    region = info.region or front.settings.region
    return xml_answer("LocationConstraint", "" if region == DEFAULT_REGION else region)


# -- configuration that is not there --------------------------------------------------------------------------

# Sub-resource -> the code and message of a GET while it is not set.
UNSET: dict[str, tuple[str, str]] = {
    "replication": ("ReplicationConfigurationNotFoundError", "The replication configuration was not found"),
}
# Sub-resource -> root element of the empty document that Amazon answers while it is not set.
EMPTY: dict[str, str] = {
    "accelerate": "AccelerateConfiguration",
}
# What their callers must be allowed: to look, and to change.
ACTIONS: dict[str, tuple[Action, Action]] = {
    "accelerate": (Action.READ_ACCELERATE, Action.WRITE_ACCELERATE),
    "replication": (Action.READ_REPLICATION, Action.WRITE_REPLICATION),
}


async def get_unset(front: Front, request: S3Request) -> Response:
    """GET of a configuration that is not set: its own code."""
    name = next(name for name in UNSET if name in request.query)
    await front.store.bucket(request.who, request.bucket, ACTIONS[name][0])
    code, message = UNSET[name]
    raise S3Refused(404, code, message, elements={"BucketName": request.bucket})


async def get_empty(front: Front, request: S3Request) -> Response:
    """GET of a configuration whose unset form is an empty document."""
    name = next(name for name in EMPTY if name in request.query)
    await front.store.bucket(request.who, request.bucket, ACTIONS[name][0])
    return xml_answer(EMPTY[name], "")


async def delete_unset(front: Front, request: S3Request) -> Response:
    """DELETE of a configuration that is not set: done already."""
    name = next(name for name in UNSET if name in request.query)
    await front.store.bucket(request.who, request.bucket, ACTIONS[name][1])
    return empty_answer(204)


async def not_implemented(front: Front, request: S3Request) -> Response:
    """A call that S3 knows and this store does not have."""
    if request.bucket:
        await front.store.bucket(request.who, request.bucket)
    asked = ", ".join(sorted(f"?{name}" for name in request.query if name != "x-id")[:3])
    raise NotImplementedHere(
        f"A header or query parameter you provided implies functionality that is not implemented: {asked or request.method}"
    )


async def conflicting(front: Front, request: S3Request) -> Response:
    """Two sub-resources at once."""
    raise InvalidArgument("Conflicting query string parameters")
