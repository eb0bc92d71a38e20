"""Object ownership and the public access block: the two settings that overrule lists and policies."""

from objstore.core.acl import Ownership, PublicAccessBlock, decode_block, encode_acl, encode_block, of_bucket
from objstore.errors import InvalidArgument, MalformedXml
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, needed, one, only, read_document, truth
from objstore.fronts.s3.grants import acl_of_headers
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import element, flag

LIMIT_BYTES = 16 * 1024
_FLAGS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


def config_of_creation(front: Front, request: S3Request) -> dict[str, bytes]:
    """What the headers of CreateBucket say of ownership and list.  Raises InvalidArgument."""
    config: dict[str, bytes] = {}
    name = request.amz.get("x-amz-object-ownership")
    if name is not None:
        config["ownershipControls"] = _ownership(name).value.encode()
    acl = acl_of_headers(front.credentials, request.amz)
    if acl is not None and (encoded := encode_acl(of_bucket(acl))):
        config["acl"] = encoded
    return config


def _ownership(name: str) -> Ownership:
    try:
        return Ownership(name)
    except ValueError:
        raise InvalidArgument(f"Invalid x-amz-object-ownership header: {name}") from None


async def get_ownership_controls(front: Front, request: S3Request) -> Response:
    """GetBucketOwnershipControls."""
    name = (await kept(front, request, "ownershipControls")).decode()
    return xml_answer("OwnershipControls", f"<Rule>{element('ObjectOwnership', name)}</Rule>")


async def put_ownership_controls(front: Front, request: S3Request) -> Response:
    """PutBucketOwnershipControls."""
    root = await read_document(front, request, "ownershipControls", "OwnershipControls", LIMIT_BYTES)
    only(root, "Rule")
    rule = one(root, "Rule")
    if rule is None:
        raise MalformedXml
    only(rule, "ObjectOwnership")
    try:
        chosen = Ownership(needed(rule, "ObjectOwnership").strip())
    except ValueError:
        raise MalformedXml from None
    await front.store.set_config(request.who, request.bucket, "ownershipControls", chosen.value.encode())
    return empty_answer(200)


async def delete_ownership_controls(front: Front, request: S3Request) -> Response:
    """DeleteBucketOwnershipControls."""
    await front.store.set_config(request.who, request.bucket, "ownershipControls", None)
    return empty_answer(204)


async def get_public_access_block(front: Front, request: S3Request) -> Response:
    """GetPublicAccessBlock."""
    block = decode_block(await kept(front, request, "publicAccessBlock"))
    values = (block.block_acls, block.ignore_acls, block.block_policy, block.restrict)
    content = "".join([element(name, flag(value)) for name, value in zip(_FLAGS, values, strict=True)])
    return xml_answer("PublicAccessBlockConfiguration", content)


async def put_public_access_block(front: Front, request: S3Request) -> Response:
    """PutPublicAccessBlock; what is left out is false."""
    root = await read_document(front, request, "publicAccessBlock", "PublicAccessBlockConfiguration", LIMIT_BYTES)
    only(root, *_FLAGS)
    block = PublicAccessBlock(*[truth(root, name) or False for name in _FLAGS])
    await front.store.set_config(request.who, request.bucket, "publicAccessBlock", encode_block(block))
    return empty_answer(200)


async def delete_public_access_block(front: Front, request: S3Request) -> Response:
    """DeletePublicAccessBlock."""
    await front.store.set_config(request.who, request.bucket, "publicAccessBlock", None)
    return empty_answer(204)


BUCKET_ROUTES = {
    ("GET", "ownershipControls"): ("GetBucketOwnershipControls", get_ownership_controls),
    ("PUT", "ownershipControls"): ("PutBucketOwnershipControls", put_ownership_controls),
    ("DELETE", "ownershipControls"): ("DeleteBucketOwnershipControls", delete_ownership_controls),
    ("GET", "publicAccessBlock"): ("GetPublicAccessBlock", get_public_access_block),
    ("PUT", "publicAccessBlock"): ("PutPublicAccessBlock", put_public_access_block),
    ("DELETE", "publicAccessBlock"): ("DeletePublicAccessBlock", delete_public_access_block),
}
