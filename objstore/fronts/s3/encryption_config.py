"""Default encryption of buckets: the document, as whoever encrypts objects reads it.

One rule: an algorithm, perhaps a key, perhaps a bucket key, and kinds of encryption that the bucket refuses.
"""

from objstore.core.encryption import (
    ALGORITHMS,
    AWS_KMS,
    AWS_KMS_DSSE,
    BLOCKABLE,
    MAX_KEY_ID,
    BucketEncryption,
    decode_bucket_encryption,
    encode_bucket_encryption,
)
from objstore.errors import InvalidArgument, MalformedXml, NotImplementedHere
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, needed, one, only, read_document, text, texts, truth
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import Element, element, flag

LIMIT_BYTES = 16 * 1024
_NONE = "NONE"  # BlockedEncryptionTypes: nothing is blocked


async def get_bucket_encryption(front: Front, request: S3Request) -> Response:
    """GetBucketEncryption."""
    config = decode_bucket_encryption(await kept(front, request, "encryption"))
    rule = ""
    if config.algorithm:
        default = element("SSEAlgorithm", config.algorithm)
        if config.kms_key_id:
            default += element("KMSMasterKeyID", config.kms_key_id)
        rule = f"<ApplyServerSideEncryptionByDefault>{default}</ApplyServerSideEncryptionByDefault>"
    rule += element("BucketKeyEnabled", flag(config.bucket_key))
    if config.blocked:
        types = "".join([element("EncryptionType", name) for name in config.blocked])
        rule += f"<BlockedEncryptionTypes>{types}</BlockedEncryptionTypes>"
    return xml_answer("ServerSideEncryptionConfiguration", f"<Rule>{rule}</Rule>")


async def put_bucket_encryption(front: Front, request: S3Request) -> Response:
    """PutBucketEncryption."""
    config = parse_config(await read_document(front, request, "encryption", "ServerSideEncryptionConfiguration", LIMIT_BYTES))
    await front.store.set_config(request.who, request.bucket, "encryption", encode_bucket_encryption(config))
    return empty_answer(200)


async def delete_bucket_encryption(front: Front, request: S3Request) -> Response:
    """DeleteBucketEncryption."""
    await front.store.set_config(request.who, request.bucket, "encryption", None)
    return empty_answer(204)


BUCKET_ROUTES = {
    ("GET", "encryption"): ("GetBucketEncryption", get_bucket_encryption),
    ("PUT", "encryption"): ("PutBucketEncryption", put_bucket_encryption),
    ("DELETE", "encryption"): ("DeleteBucketEncryption", delete_bucket_encryption),
}


def parse_config(root: Element) -> BucketEncryption:
    """The configuration of a document.  Raises MalformedXml, InvalidArgument, NotImplementedHere."""
    only(root, "Rule")
    rule = one(root, "Rule")
    if rule is None:
        raise MalformedXml
    only(rule, "ApplyServerSideEncryptionByDefault", "BucketKeyEnabled", "BlockedEncryptionTypes")
    default, blocked = one(rule, "ApplyServerSideEncryptionByDefault"), one(rule, "BlockedEncryptionTypes")
    if default is None and blocked is None:
        raise MalformedXml
    algorithm, key_id = ("", "") if default is None else _default(default)
    names: tuple[str, ...] = ()
    if blocked is not None:
        only(blocked, "EncryptionType")
        names = texts(blocked, "EncryptionType")
        if not names or any(name not in (*BLOCKABLE, _NONE) for name in names) or len(set(names)) != len(names):
            raise MalformedXml
    return BucketEncryption(1, algorithm, key_id, truth(rule, "BucketKeyEnabled") or False, tuple(n for n in names if n != _NONE))


def _default(node: Element) -> tuple[str, str]:
    """Algorithm and key."""
    only(node, "SSEAlgorithm", "KMSMasterKeyID")
    algorithm, key_id = needed(node, "SSEAlgorithm").strip(), text(node, "KMSMasterKeyID")
    if algorithm == AWS_KMS_DSSE:
        raise NotImplementedHere("Dual-layer encryption (aws:kms:dsse) is not implemented.")
    if algorithm not in ALGORITHMS:
        raise MalformedXml
    if key_id is not None:
        if algorithm != AWS_KMS:
            raise InvalidArgument("a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse")
        if not 1 <= len(key_id) <= MAX_KEY_ID or not key_id.isprintable():
            raise InvalidArgument("The KMSMasterKeyID is not valid")
    return algorithm, key_id or ""
