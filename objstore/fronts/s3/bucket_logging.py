"""Access logs of buckets: the document."""

import msgspec

from objstore.core import bucket_logging
from objstore.core.acl import NO_BLOCK, Ownership, acl_of, decode_block
from objstore.core.bucket_logging import BY_DELIVERY, BY_EVENT, SIMPLE, LoggingConfig, log_key
from objstore.errors import AclNotSupported, MalformedXml, NoSuchBucket, NoSuchConfig
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import needed, one, only, read_document, text
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.grants import grants_shown, read_grants
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.xml import Element, element
from objstore.objects.access import check_list
from objstore.objects.actions import Action
from objstore.objects.api import BucketInfo
from objstore.objects.context import CREATES

LIMIT_BYTES = 64 * 1024
GRANTABLE = ("FULL_CONTROL", "READ", "WRITE")
MAX_PREFIX = 512  # leaves room for the rest of a key


async def get_bucket_logging(front: Front, request: S3Request) -> Response:
    """GetBucketLogging; an empty document when it is off."""
    try:
        config = bucket_logging.decode(await front.store.get_config(request.who, request.bucket, "logging"))
    except NoSuchConfig:
        return xml_answer("BucketLoggingStatus", "")
    out = element("TargetBucket", config.bucket) + element("TargetPrefix", config.prefix)
    if config.grants:
        account = (await front.store.find_bucket(request.who, request.bucket)).account
        out += f"<TargetGrants>{grants_shown(front.credentials, config.grants, account, account)}</TargetGrants>"
    if config.partitioned:
        source = element("PartitionDateSource", config.partitioned)
        out += f"<TargetObjectKeyFormat><PartitionedPrefix>{source}</PartitionedPrefix></TargetObjectKeyFormat>"
    elif config.plain_format:
        out += "<TargetObjectKeyFormat><SimplePrefix></SimplePrefix></TargetObjectKeyFormat>"
    return xml_answer("BucketLoggingStatus", f"<LoggingEnabled>{out}</LoggingEnabled>")


async def put_bucket_logging(front: Front, request: S3Request) -> Response:
    """PutBucketLogging; an empty document turns it off.  Only a bucket of the same account can be written to."""
    root = await read_document(front, request, "logging", "BucketLoggingStatus", LIMIT_BYTES)
    config = parse_config(root)
    if config is not None:
        grants = _target_grants(root)
        if grants is not None:
            home = await front.store.find_bucket(request.who, request.bucket)
            owner = front.credentials.owner_of(home.account).canonical_id
            config = msgspec.structs.replace(config, grants=read_grants(front.credentials, grants, owner))
        await _check_target(front, request, config)
    await front.store.set_config(request.who, request.bucket, "logging", None if config is None else bucket_logging.encode(config))
    return empty_answer(200)


BUCKET_ROUTES = {
    ("GET", "logging"): ("GetBucketLogging", get_bucket_logging),
    ("PUT", "logging"): ("PutBucketLogging", put_bucket_logging),
}


def _target_grants(root: Element) -> Element | None:
    """The grants on log objects.  Raises MalformedXml for what a log's reader cannot be granted."""
    enabled = root.find("LoggingEnabled")
    grants = None if enabled is None else one(enabled, "TargetGrants")
    if grants is None or not grants.children:
        return None
    only(grants, "Grant")
    if any(item.value("Permission") not in GRANTABLE for item in grants.children):
        raise MalformedXml
    return grants


def parse_config(root: Element) -> LoggingConfig | None:
    """The configuration of a document without its grants; None turns logging off.  Raises MalformedXml."""
    only(root, "LoggingEnabled")
    enabled = one(root, "LoggingEnabled")
    if enabled is None:
        return None
    only(enabled, "TargetBucket", "TargetGrants", "TargetPrefix", "TargetObjectKeyFormat")
    bucket, prefix = needed(enabled, "TargetBucket"), text(enabled, "TargetPrefix") or ""
    if not bucket or len(prefix.encode()) > MAX_PREFIX:
        raise MalformedXml
    keys = one(enabled, "TargetObjectKeyFormat")
    if keys is None:
        return LoggingConfig(1, bucket, prefix)
    only(keys, "SimplePrefix", "PartitionedPrefix")
    simple, partitioned = one(keys, "SimplePrefix"), one(keys, "PartitionedPrefix")
    if (simple is None) == (partitioned is None):
        raise MalformedXml
    source = SIMPLE
    if partitioned is not None:
        only(partitioned, "PartitionDateSource")
        source = (text(partitioned, "PartitionDateSource") or BY_DELIVERY).strip()
        if source not in (BY_EVENT, BY_DELIVERY):
            raise MalformedXml
    return LoggingConfig(1, bucket, prefix, source, plain_format=simple is not None)


async def _check_may_write(front: Front, request: S3Request, home: BucketInfo, config: LoggingConfig) -> None:
    """See that the caller may write such objects himself: logs are written in the name of the account.  Raises AccessDenied."""
    now_us = front.clock.wall_us()
    region = home.region or front.settings.region
    key = log_key(config, home.account, region, home.name, first_us=now_us, now_us=now_us, unique="0" * 16)
    for action in (Action.WRITE_OBJECT, Action.WRITE_ACL) if config.grants else (Action.WRITE_OBJECT,):
        await front.store.check_access(request.who, config.bucket, action, key, given=CREATES)


async def _check_target(front: Front, request: S3Request, config: LoggingConfig) -> None:
    elements = {"TargetBucket": config.bucket}
    home = await front.store.find_bucket(request.who, request.bucket)
    try:
        target = await front.store.find_bucket(request.who, config.bucket)
    except NoSuchBucket:
        raise S3Refused(400, "InvalidTargetBucketForLogging", "The target bucket for logging does not exist", elements=elements) from None
    if target.account != home.account:
        # The same words for every bucket of others: whether it logs elsewhere is nobody's business.
        raise S3Refused(
            400,
            "InvalidTargetBucketForLogging",
            "The owner for the bucket to be logged and the target bucket must be the same.",
            elements=elements,
        )
    if target.region != home.region:
        raise S3Refused(403, "CrossLocationLoggingProhibited", "Cross S3 location logging not allowed.", elements=elements)
    await _check_may_write(front, request, home, config)
    if config.grants:
        if target.config.get("ownershipControls") == Ownership.ENFORCED.value.encode():
            raise AclNotSupported
        block = target.config.get("publicAccessBlock")
        check_list(acl_of(config.grants), decode_block(block) if block else NO_BLOCK)
