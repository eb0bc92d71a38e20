"""Lifecycle rules of a bucket: the document, and what answers about objects say of them.

Rules come in two forms, with <Prefix> or with <Filter>; each comes back in the form in which it was set.  The daemon that
obeys them is daemons/lifecycle.py.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec

from objstore.core import lifecycle
from objstore.core.lifecycle import FORM_AND, FORM_FILTER, FORM_PREFIX, LifecycleConfig, Rule, Version
from objstore.errors import InvalidArgument, InvalidRequest, MalformedXml
from objstore.fronts.s3.context import Front, Headers, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, needed, one, only, read_document, text, truth, whole
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.params import check_tag
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.times import http_time, iso_time, parse_date
from objstore.fronts.s3.xml import Element, element, flag, url_encode
from objstore.objects.api import ObjectInfo
from objstore.objects.config import Parsed

LIMIT_BYTES = 1 << 20
PARSED = Parsed("lifecycle", lifecycle.decode)
MAX_PREFIX = 1024
MAX_NEWER = 100
MAX_NUMBER = (1 << 31) - 1
_LATEST_US = 253_402_214_400_000_000  # the last day of the year 9999: no header can say more
_ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", "Transition", "NoncurrentVersionTransition")


async def get_bucket_lifecycle(front: Front, request: S3Request) -> Response:
    """GetBucketLifecycleConfiguration."""
    config = lifecycle.decode(await kept(front, request, "lifecycle"))
    return xml_answer("LifecycleConfiguration", "".join([_shown(rule) for rule in config.rules]))


async def put_bucket_lifecycle(front: Front, request: S3Request) -> Response:
    """PutBucketLifecycleConfiguration."""
    config = parse_config(await read_document(front, request, "lifecycle", "LifecycleConfiguration", LIMIT_BYTES))
    await front.store.set_config(request.who, request.bucket, "lifecycle", lifecycle.encode(config))
    return empty_answer(200)


async def delete_bucket_lifecycle(front: Front, request: S3Request) -> Response:
    """DeleteBucketLifecycle."""
    await front.store.set_config(request.who, request.bucket, "lifecycle", None)
    return empty_answer(204)


BUCKET_ROUTES = {
    ("GET", "lifecycle"): ("GetBucketLifecycleConfiguration", get_bucket_lifecycle),
    ("PUT", "lifecycle"): ("PutBucketLifecycleConfiguration", put_bucket_lifecycle),
    ("DELETE", "lifecycle"): ("DeleteBucketLifecycle", delete_bucket_lifecycle),
}


async def add_expiry(front: Front, request: S3Request, info: ObjectInfo, headers: Headers) -> None:
    """Say when the current version of an object expires, if a rule says so."""
    config = PARSED.of(await front.store.find_bucket(request.who, request.bucket))
    if config is None or not info.is_latest:
        return
    found = lifecycle.expiry(config, info.key, Version(info.size, info.tags, info.modified_us), front.day_us)
    if found is not None:
        rule_id = url_encode(found[1]).encode()
        when = http_time(min(found[0], _LATEST_US))
        headers.append((b"x-amz-expiration", b'expiry-date="%s", rule-id="%s"' % (when, rule_id)))


# -- writing --------------------------------------------------------------------------------------------------


def _shown(rule: Rule) -> str:
    out = element("ID", rule.id) + _shown_filter(rule) + element("Status", "Enabled" if rule.enabled else "Disabled")
    expiration = "" if rule.days is None else element("Days", rule.days)
    expiration += "" if rule.date_us is None else element("Date", iso_time(rule.date_us))
    expiration += "" if rule.expired_marker is None else element("ExpiredObjectDeleteMarker", flag(rule.expired_marker))
    if expiration:
        out += f"<Expiration>{expiration}</Expiration>"
    if rule.noncurrent_days is not None:
        newer = "" if rule.newer_noncurrent is None else element("NewerNoncurrentVersions", rule.newer_noncurrent)
        days = element("NoncurrentDays", rule.noncurrent_days)
        out += f"<NoncurrentVersionExpiration>{days}{newer}</NoncurrentVersionExpiration>"
    if rule.abort_days is not None:
        days = element("DaysAfterInitiation", rule.abort_days)
        out += f"<AbortIncompleteMultipartUpload>{days}</AbortIncompleteMultipartUpload>"
    return f"<Rule>{out}</Rule>"


def _shown_filter(rule: Rule) -> str:
    prefix = "" if rule.prefix is None else element("Prefix", rule.prefix)
    if rule.form == FORM_PREFIX:
        return prefix
    tags = "".join([f"<Tag>{element('Key', name)}{element('Value', value)}</Tag>" for name, value in rule.tags])
    sizes = "" if rule.larger_than is None else element("ObjectSizeGreaterThan", rule.larger_than)
    sizes += "" if rule.smaller_than is None else element("ObjectSizeLessThan", rule.smaller_than)
    inner = prefix + tags + sizes
    return f"<Filter><And>{inner}</And></Filter>" if rule.form == FORM_AND else f"<Filter>{inner}</Filter>"


# -- reading --------------------------------------------------------------------------------------------------


def parse_config(root: Element) -> LifecycleConfig:
    """The configuration of a document.  Raises MalformedXml, InvalidArgument, InvalidRequest, InvalidStorageClass."""
    only(root, "Rule")
    if not 1 <= len(root.children) <= lifecycle.MAX_RULES:
        raise MalformedXml
    rules = tuple(_rule(node) for node in root.children)
    if len({rule.id for rule in rules}) != len(rules):
        raise InvalidArgument("Rule ID must be unique. Found same ID for more than one rule")
    return LifecycleConfig(1, rules)


def _rule(node: Element) -> Rule:
    only(node, "ID", "Prefix", "Filter", "Status", *_ACTIONS)
    rule_id, status = text(node, "ID") or "", needed(node, "Status")
    if len(rule_id) > lifecycle.MAX_ID:
        raise InvalidArgument(f"ID length should not exceed allowed limit of {lifecycle.MAX_ID}")
    if status not in ("Enabled", "Disabled"):
        raise MalformedXml
    rule = _filter(node, Rule(rule_id, status == "Enabled"))
    if not any(node.find(name) is not None for name in _ACTIONS):
        raise InvalidRequest("At least one action needs to be specified in a rule")
    _check_transitions(node)
    rule = _abort(node, _noncurrent(node, _expiration(node, rule)))
    if not rule.id:  # Amazon makes one up; this one stays the same for the same rule
        digest = sha256(msgspec.msgpack.encode(rule)).digest()
        rule = msgspec.structs.replace(rule, id=urlsafe_b64encode(digest).decode().rstrip("="))
    return rule


def _filter(node: Element, rule: Rule) -> Rule:
    plain, filter_ = text(node, "Prefix"), one(node, "Filter")
    if (plain is None) == (filter_ is None):
        raise MalformedXml
    if filter_ is None:
        return msgspec.structs.replace(rule, form=FORM_PREFIX, prefix=_prefix(plain))
    only(filter_, "Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan", "And")
    if len(filter_.children) > 1:
        raise MalformedXml
    several = one(filter_, "And")
    if several is not None:
        only(several, "Prefix", "Tag", "ObjectSizeGreaterThan", "ObjectSizeLessThan")
        if len(several.children) < 2:
            raise MalformedXml
    found = several or filter_
    tags = tuple(_tag(tag) for tag in found.all("Tag"))
    if len({name for name, _ in tags}) != len(tags):
        raise InvalidRequest("Duplicate Tag Keys are not allowed.")
    larger, smaller = whole(found, "ObjectSizeGreaterThan"), whole(found, "ObjectSizeLessThan")
    if (larger is not None and larger < 0) or (smaller is not None and smaller < 1):
        raise InvalidRequest("'ObjectSizeGreaterThan' must not be negative and 'ObjectSizeLessThan' must be positive")
    if larger is not None and smaller is not None and smaller <= larger:
        raise InvalidRequest("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'")
    return msgspec.structs.replace(
        rule, form=FORM_FILTER if several is None else FORM_AND, prefix=_prefix(text(found, "Prefix")), tags=tags,
        larger_than=larger, smaller_than=smaller,
    )  # fmt: skip


def _prefix(found: str | None) -> str | None:
    if found is not None and len(found.encode()) > MAX_PREFIX:
        raise InvalidRequest(f"The maximum size of a prefix is {MAX_PREFIX}.")
    return found


def _tag(node: Element) -> tuple[str, str]:
    only(node, "Key", "Value")
    name, value = needed(node, "Key"), needed(node, "Value")
    check_tag(name, value)
    return name, value


def _positive(node: Element, name: str, action: str) -> int | None:
    number = whole(node, name)
    if number is not None and not 1 <= number <= MAX_NUMBER:
        raise InvalidArgument(f"'{name}' for {action} action must be a positive integer")
    return number


def _expiration(node: Element, rule: Rule) -> Rule:
    found = one(node, "Expiration")
    if found is None:
        return rule
    only(found, "Days", "Date", "ExpiredObjectDeleteMarker")
    if len(found.children) != 1:
        raise MalformedXml
    days, marker, date = _positive(found, "Days", "Expiration"), truth(found, "ExpiredObjectDeleteMarker"), text(found, "Date")
    if marker is not None:
        _refuse_narrow_filter(rule, "ExpiredObjectDeleteMarker")
    return msgspec.structs.replace(rule, days=days, expired_marker=marker, date_us=None if date is None else _date(date))


def _date(written: str) -> int:
    at = parse_date(f"{found}T00:00:00Z" if len(found := written.strip()) == len("2026-01-31") else found)
    if at is None:
        raise MalformedXml
    if at % lifecycle.DAY_US:
        raise InvalidArgument("'Date' must be at midnight GMT")
    return at


def _noncurrent(node: Element, rule: Rule) -> Rule:
    found = one(node, "NoncurrentVersionExpiration")
    if found is None:
        return rule
    only(found, "NoncurrentDays", "NewerNoncurrentVersions")
    days = _positive(found, "NoncurrentDays", "NoncurrentVersionExpiration")
    newer = _positive(found, "NewerNoncurrentVersions", "NoncurrentVersionExpiration")
    if days is None:
        raise MalformedXml
    if newer is not None and newer > MAX_NEWER:
        raise InvalidArgument(f"'NewerNoncurrentVersions' must be between 1 and {MAX_NEWER}")
    return msgspec.structs.replace(rule, noncurrent_days=days, newer_noncurrent=newer)


def _abort(node: Element, rule: Rule) -> Rule:
    found = one(node, "AbortIncompleteMultipartUpload")
    if found is None:
        return rule
    only(found, "DaysAfterInitiation")
    days = _positive(found, "DaysAfterInitiation", "AbortIncompleteMultipartUpload")
    if days is None:
        raise MalformedXml
    _refuse_narrow_filter(rule, "AbortIncompleteMultipartUpload")
    return msgspec.structs.replace(rule, abort_days=days)


def _refuse_narrow_filter(rule: Rule, action: str) -> None:
    if rule.tags:
        raise InvalidRequest(f"{action} cannot be specified with Tags.")
    if rule.larger_than is not None or rule.smaller_than is not None:
        raise InvalidRequest(f"{action} cannot be specified with Object Size.")


def _check_transitions(node: Element) -> None:
    """There is no class to move objects to: whatever is asked for is checked, then refused."""
    for name, days in (("Transition", "Days"), ("NoncurrentVersionTransition", "NoncurrentDays")):
        for found in node.all(name):
            only(found, "Days", "Date", "NoncurrentDays", "NewerNoncurrentVersions", "StorageClass")
            number = whole(found, days)
            if number is not None and number < 0:
                raise InvalidArgument(f"'{days}' in {name} action must be nonnegative")
            asked = needed(found, "StorageClass")
            raise S3Refused(
                400,
                "InvalidStorageClass",
                "The storage class you specified is not valid",
                elements={"StorageClassRequested": asked},
                hint="The only class is STANDARD, so there is nothing to move objects to.",
            )
