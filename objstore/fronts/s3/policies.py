"""Bucket policies: set, shown, taken away, and whether the bucket is public."""

from objstore.core.acl import NO_BLOCK, Acl, decode_acl, is_public
from objstore.core.policy import MAX_POLICY_BYTES
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import element, flag
from objstore.objects.access import gate_of
from objstore.objects.actions import Action

CONFIRM = "x-amz-confirm-remove-self-bucket-access"
_JSON = (b"content-type", b"application/json")


async def get_bucket_policy(front: Front, request: S3Request) -> Response:
    """GetBucketPolicy: the document as it was set."""
    return Response(200, [_JSON], await kept(front, request, "policy"))


async def put_bucket_policy(front: Front, request: S3Request) -> Response:
    """PutBucketPolicy."""
    await front.store.may_configure(request.who, request.bucket, "policy")
    # A little more than may be, so that a policy that is too large is refused as such.
    data = await front.document(request, 2 * MAX_POLICY_BYTES)
    if not data.strip():
        raise S3Refused(400, "MissingRequestBodyError", "Request Body is empty")
    confirmed = request.amz.get(CONFIRM, "").lower() == "true"
    await front.store.set_policy(request.who, request.bucket, data, may_lock_out=confirmed)
    return empty_answer(204)


async def delete_bucket_policy(front: Front, request: S3Request) -> Response:
    """DeleteBucketPolicy; there need be none."""
    await front.store.set_config(request.who, request.bucket, "policy", None)
    return empty_answer(204)


async def get_bucket_policy_status(front: Front, request: S3Request) -> Response:
    """GetBucketPolicyStatus: whether policy or list let everybody in, once what overrules them is taken into account."""
    info = await front.store.bucket(request.who, request.bucket, Action.READ_POLICY_STATUS)
    gate = gate_of(info.name, info.config)
    block = NO_BLOCK if gate is None else gate.block
    by_policy = gate is not None and gate.policy is not None and gate.policy.is_public and not block.restrict
    acl: Acl | None = decode_acl(info.config.get("acl", b"")) if gate is not None and gate.has_lists else None
    by_list = acl is not None and is_public(acl) and not block.ignore_acls
    return xml_answer("PolicyStatus", element("IsPublic", flag(by_policy or by_list)))


BUCKET_ROUTES = {
    ("GET", "policy"): ("GetBucketPolicy", get_bucket_policy),
    ("PUT", "policy"): ("PutBucketPolicy", put_bucket_policy),
    ("DELETE", "policy"): ("DeleteBucketPolicy", delete_bucket_policy),
    ("GET", "policyStatus"): ("GetBucketPolicyStatus", get_bucket_policy_status),
}
