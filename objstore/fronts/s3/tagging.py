"""Tags of buckets."""

import msgspec

from objstore.errors import MalformedXml
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, needed, one, only, read_document
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.params import check_own_tag
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import Element, element

MAX_BUCKET_TAGS = 50
LIMIT_BYTES = 128 * 1024


async def get_bucket_tagging(front: Front, request: S3Request) -> Response:
    """GetBucketTagging."""
    tags = msgspec.msgpack.decode(await kept(front, request, "tagging"), type=dict[str, str])
    shown = "".join([f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>" for name, value in tags.items()])
    return xml_answer("Tagging", f"<TagSet>{shown}</TagSet>")


async def put_bucket_tagging(front: Front, request: S3Request) -> Response:
    """PutBucketTagging."""
    tags = bucket_tags(tag_pairs(await read_document(front, request, "tagging", "Tagging", LIMIT_BYTES)))
    await front.store.set_config(request.who, request.bucket, "tagging", msgspec.msgpack.encode(tags))
    return empty_answer(204)


async def delete_bucket_tagging(front: Front, request: S3Request) -> Response:
    """DeleteBucketTagging."""
    await front.store.set_config(request.who, request.bucket, "tagging", None)
    return empty_answer(204)


BUCKET_ROUTES = {
    ("GET", "tagging"): ("GetBucketTagging", get_bucket_tagging),
    ("PUT", "tagging"): ("PutBucketTagging", put_bucket_tagging),
    ("DELETE", "tagging"): ("DeleteBucketTagging", delete_bucket_tagging),
}


def tag_pairs(root: Element) -> list[tuple[str, str]]:
    """The tags of a Tagging document, unchecked.  Raises MalformedXml."""
    only(root, "TagSet")
    tag_set = one(root, "TagSet")
    if tag_set is None:
        raise MalformedXml
    return pairs_in(tag_set)


def pairs_in(tag_set: Element) -> list[tuple[str, str]]:
    """The tags in an element, unchecked.  Raises MalformedXml."""
    only(tag_set, "Tag")
    for tag in tag_set.children:
        only(tag, "Key", "Value")
    return [(needed(tag, "Key"), needed(tag, "Value")) for tag in tag_set.children]


def tags_of_creation(root: Element) -> dict[str, bytes]:
    """The configuration that CreateBucket's document asks for by its tags.  Raises MalformedXml, InvalidTag, BadRequest."""
    tag_set = one(root, "Tags")
    tags = bucket_tags(pairs_in(tag_set)) if tag_set is not None else {}
    return {"tagging": msgspec.msgpack.encode(tags)} if tags else {}


def bucket_tags(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Tags within the limits of a bucket.  Raises InvalidTag, BadRequest."""
    if len(pairs) > MAX_BUCKET_TAGS:
        raise S3Refused(400, "BadRequest", f"Bucket tag count cannot be greater than {MAX_BUCKET_TAGS}")
    tags: dict[str, str] = {}
    for name, value in pairs:
        check_own_tag(name, value)
        if name in tags:
            raise S3Refused(400, "InvalidTag", "Cannot provide multiple Tags with the same key", elements={"TagKey": name})
        tags[name] = value
    return tags
