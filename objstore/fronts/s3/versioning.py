"""Versioning of buckets: its state, set and shown."""

from objstore.errors import MalformedXml, NotImplementedHere
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import element, parse
from objstore.objects.actions import Action

STATES = ("Enabled", "Suspended")


async def get_bucket_versioning(front: Front, request: S3Request) -> Response:
    """GetBucketVersioning; empty on a bucket that was never versioned, which is not an error."""
    info = await front.store.bucket(request.who, request.bucket, Action.READ_VERSIONING)
    return xml_answer("VersioningConfiguration", element("Status", info.versioning) if info.versioning else "")


async def put_bucket_versioning(front: Front, request: S3Request) -> Response:
    """PutBucketVersioning.  Deletes with a second factor are not built, and said so."""
    await front.store.bucket(request.who, request.bucket, Action.WRITE_VERSIONING)
    root = parse(await front.document(request), "VersioningConfiguration")
    status, second_factor = root.value("Status"), root.value("MfaDelete")
    if not status:
        raise S3Refused(400, "IllegalVersioningConfigurationException", "The Versioning element must be specified")
    if status not in STATES or second_factor not in ("", "Enabled", "Disabled"):
        raise MalformedXml
    if second_factor == "Enabled":
        raise NotImplementedHere("MFA delete is not implemented.")
    await front.store.set_versioning(request.who, request.bucket, status)
    return empty_answer(200)


BUCKET_ROUTES = {
    ("GET", "versioning"): ("GetBucketVersioning", get_bucket_versioning),
    ("PUT", "versioning"): ("PutBucketVersioning", put_bucket_versioning),
}
