"""Strict reading of configuration documents, and the way all of them are kept, shown and removed.

Amazon validates such documents against a schema: an element that it does not know, one that is there twice or a number that
is none makes the whole document MalformedXML.  What is missing has its own code for each kind of configuration.
"""

import re

from objstore.errors import MalformedXml, NoSuchConfig
from objstore.fronts.s3.context import Front
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import MAX_ELEMENTS, Element, parse

_WHOLE = re.compile(r"[0-9]{1,18}")

# Part of a bucket's configuration -> code and message of a GET while it is not set.
MISSING: dict[str, tuple[str, str]] = {
    "cors": ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    "encryption": ("ServerSideEncryptionConfigurationNotFoundError", "The server side encryption configuration was not found"),
    "lifecycle": ("NoSuchLifecycleConfiguration", "The lifecycle configuration does not exist"),
    "object-lock": ("ObjectLockConfigurationNotFoundError", "Object Lock configuration does not exist for this bucket"),
    "ownershipControls": ("OwnershipControlsNotFoundError", "The bucket ownership controls were not found"),
    "policy": ("NoSuchBucketPolicy", "The bucket policy does not exist"),
    "publicAccessBlock": ("NoSuchPublicAccessBlockConfiguration", "The public access block configuration was not found"),
    "tagging": ("NoSuchTagSet", "The TagSet does not exist"),
    "website": ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
    "quota": ("NoSuchQuotaConfiguration", "The bucket has no quota"),
}


def only(node: Element, *names: str) -> None:
    """See that all children are of these names.  Raises MalformedXml."""
    for child in node.children:
        if child.name not in names:
            raise MalformedXml


def one(node: Element, name: str) -> Element | None:
    """The child of that name; None when there is none.  Raises MalformedXml when there are several."""
    found = node.all(name)
    if len(found) > 1:
        raise MalformedXml
    return found[0] if found else None


def text(node: Element, name: str) -> str | None:
    """The text of the child of that name, None when there is none.  Raises MalformedXml when it has children."""
    found = one(node, name)
    if found is None:
        return None
    if found.children:
        raise MalformedXml
    return found.text


def needed(node: Element, name: str) -> str:
    """The text of a child that must be there.  Raises MalformedXml."""
    found = text(node, name)
    if found is None:
        raise MalformedXml
    return found


def whole(node: Element, name: str) -> int | None:
    """A whole number of at most 18 digits, possibly negative; None when it is not there.  Raises MalformedXml."""
    found = text(node, name)
    if found is None:
        return None
    digits = found.strip()
    sign = -1 if digits.startswith("-") else 1
    if _WHOLE.fullmatch(digits.removeprefix("-")) is None:
        raise MalformedXml
    return sign * int(digits.removeprefix("-"))


def truth(node: Element, name: str) -> bool | None:
    """A boolean; None when it is not there.  Raises MalformedXml."""
    found = text(node, name)
    if found is None:
        return None
    word = found.strip().lower()
    if word not in ("true", "false"):
        raise MalformedXml
    return word == "true"


def texts(node: Element, name: str) -> tuple[str, ...]:
    """The texts of all children of that name.  Raises MalformedXml when one has children."""
    found = node.all(name)
    if any(child.children for child in found):
        raise MalformedXml
    return tuple(child.text for child in found)


async def read_document(front: Front, request: S3Request, part: str, root: str, limit_bytes: int) -> Element:
    """The document in the body of a PUT of this part.  Raises AccessDenied before it is read, MalformedXml."""
    await front.store.may_configure(request.who, request.bucket, part)
    data = await front.document(request, limit_bytes)
    if not data.strip():
        raise S3Refused(400, "MissingRequestBodyError", "Request Body is empty")
    return parse(data, root, most=MAX_ELEMENTS)


async def kept(front: Front, request: S3Request, part: str) -> bytes:
    """A part of the bucket's configuration as it was stored.  Raises its own code when it is not set."""
    try:
        return await front.store.get_config(request.who, request.bucket, part)
    except NoSuchConfig:
        code, message = MISSING[part]
        raise S3Refused(404, code, message, elements={"BucketName": request.bucket}) from None
