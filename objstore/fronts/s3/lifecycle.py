"""Lifecycle rules of a bucket: the document, and what answers about objects say of them.

Rules come in two forms, with <Prefix> or with <Filter>; each comes back in the form in which it was set.  The daemon that
obeys them is daemons/lifecycle.py.
"""

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from hashlib import sha256

import msgspec

from objstore.core import lifecycle
from objstore.core.lifecycle import FORM_AND, FORM_FILTER, FORM_PREFIX, LifecycleConfig, Rule, Transition, Version
from objstore.errors import InvalidArgument, InvalidRequest, MalformedXml
from objstore.fronts.s3.context import Front, Headers, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import kept, needed, one, only, read_document, text, truth, whole
from objstore.fronts.s3.errors import S3Refused
from objstore.fronts.s3.params import check_tag
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.times import http_time, iso_time, parse_date
from objstore.fronts.s3.xml import Element, element, flag, url_encode
from objstore.objects.api import ObjectInfo, UploadInfo
from objstore.objects.config import Parsed

LIMIT_BYTES = 1 << 20
PARSED = Parsed("lifecycle", lifecycle.decode)
MAX_PREFIX = 1024
MAX_NEWER = 100
MAX_TRANSITIONS = 16  # of one rule; there are fewer classes
MAX_NUMBER = (1 << 31) - 1
_LATEST_US = 253_402_214_400_000_000  # the last day of the year 9999: no header can say more
LEAST_SIZE = "x-amz-transition-default-minimum-object-size"
ALL_128K, ANY_SIZE = "all_storage_classes_128K", "varies_by_storage_class"
_ACTIONS = ("Expiration", "NoncurrentVersionExpiration", "AbortIncompleteMultipartUpload", "Transition", "NoncurrentVersionTransition")


async def get_bucket_lifecycle(front: Front, request: S3Request) -> Response:
    """GetBucketLifecycleConfiguration."""
    config = lifecycle.decode(await kept(front, request, "lifecycle"))
    return xml_answer("LifecycleConfiguration", "".join([_shown(rule) for rule in config.rules]), headers=_least(config))


async def put_bucket_lifecycle(front: Front, request: S3Request) -> Response:
    """PutBucketLifecycleConfiguration."""
    least = request.headers.get(LEAST_SIZE, ALL_128K)
    if least not in (ALL_128K, ANY_SIZE):
        raise InvalidArgument(f"{LEAST_SIZE} is {ALL_128K} or {ANY_SIZE}")
    document = await read_document(front, request, "lifecycle", "LifecycleConfiguration", LIMIT_BYTES)
    config = parse_config(document, front.settings.storage_classes, any_size=least == ANY_SIZE)
    await front.store.set_config(request.who, request.bucket, "lifecycle", lifecycle.encode(config))
    return empty_answer(200, _least(config))


def _least(config: LifecycleConfig) -> Headers:
    return [(LEAST_SIZE.encode(), (ANY_SIZE if config.any_size else ALL_128K).encode())]


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
    # The request has just opened the bucket: what it was then need not be asked for again, least of all of the cluster.
    bucket = front.store.known_bucket(request.who, request.bucket) or await front.store.find_bucket(request.who, request.bucket)
    config = PARSED.of(bucket)
    if config is None or not info.is_latest:
        return
    found = lifecycle.expiry(config, info.key, Version(info.size, info.tags, info.modified_us), front.day_us)
    if found is not None:
        rule_id = url_encode(found[1]).encode()
        when = http_time(min(found[0], _LATEST_US))
        headers.append((b"x-amz-expiration", b'expiry-date="%s", rule-id="%s"' % (when, rule_id)))


async def add_abort(front: Front, request: S3Request, upload: UploadInfo, headers: Headers) -> None:
    """Say when an upload that is not completed is given up, if a rule says so."""
    config = PARSED.of(await front.store.find_bucket(request.who, request.bucket))
    found = None if config is None else lifecycle.abort_at_us(config, upload.key, upload.initiated_us, front.day_us)
    if found is not None:
        headers.append((b"x-amz-abort-date", http_time(min(found[0], _LATEST_US))))
        headers.append((b"x-amz-abort-rule-id", url_encode(found[1]).encode()))


# -- writing --------------------------------------------------------------------------------------------------


def _shown(rule: Rule) -> str:
    out = element("ID", rule.id) + _shown_filter(rule) + element("Status", "Enabled" if rule.enabled else "Disabled")
    expiration = "" if rule.days is None else element("Days", rule.days)
    expiration += "" if rule.date_us is None else element("Date", iso_time(rule.date_us))
    expiration += "" if rule.expired_marker is None else element("ExpiredObjectDeleteMarker", flag(rule.expired_marker))
    if expiration:
        out += f"<Expiration>{expiration}</Expiration>"
    for step in rule.transitions:
        when = element("Days", step.days) if step.days is not None else element("Date", iso_time(step.date_us or 0))
        out += f"<Transition>{when}{element('StorageClass', step.storage_class)}</Transition>"
    for step in rule.noncurrent_transitions:
        newer = "" if step.newer is None else element("NewerNoncurrentVersions", step.newer)
        when = element("NoncurrentDays", step.days or 0)
        out += f"<NoncurrentVersionTransition>{when}{newer}{element('StorageClass', step.storage_class)}</NoncurrentVersionTransition>"
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


def parse_config(root: Element, classes: Sequence[str] = (), *, any_size: bool = False) -> LifecycleConfig:
    """The configuration of a document; `classes`: to which objects may go.  Raises MalformedXml, InvalidArgument, InvalidRequest, InvalidStorageClass."""
    only(root, "Rule")
    if not 1 <= len(root.children) <= lifecycle.MAX_RULES:
        raise MalformedXml
    rules = tuple(_rule(node, classes) for node in root.children)
    if len({rule.id for rule in rules}) != len(rules):
        raise InvalidArgument("Rule ID must be unique. Found same ID for more than one rule")
    return LifecycleConfig(1, rules, any_size)


def _rule(node: Element, classes: Sequence[str]) -> Rule:
    only(node, "ID", "Prefix", "Filter", "Status", *_ACTIONS)
    rule_id, status = text(node, "ID") or "", needed(node, "Status")
    if len(rule_id) > lifecycle.MAX_ID:
        raise InvalidArgument(f"ID length should not exceed allowed limit of {lifecycle.MAX_ID}")
    if status not in ("Enabled", "Disabled"):
        raise MalformedXml
    rule = _filter(node, Rule(rule_id, status == "Enabled"))
    if not any(node.find(name) is not None for name in _ACTIONS):
        raise InvalidRequest("At least one action needs to be specified in a rule")
    rule = _transitions(node, _abort(node, _noncurrent(node, _expiration(node, rule))), classes)
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


def _transitions(node: Element, rule: Rule, classes: Sequence[str]) -> Rule:
    current = [_transition(found, classes) for found in node.all("Transition")]
    noncurrent = [_noncurrent_transition(found, classes) for found in node.all("NoncurrentVersionTransition")]
    for name, steps in (("Transition", current), ("NoncurrentVersionTransition", noncurrent)):
        if len(steps) > MAX_TRANSITIONS:
            raise MalformedXml
        if len({step.storage_class for step in steps}) != len(steps):
            raise InvalidRequest(f"'StorageClass' must be different for '{name}' actions in same 'Rule' with prefix '{rule.prefix or ''}'")
    dated = [step.date_us is not None for step in current] + [rule.date_us is not None] * (
        rule.days is not None or rule.date_us is not None
    )
    if current and any(dated) != all(dated):
        raise InvalidRequest(
            f"Found mixed 'Date' and 'Days' based Expiration and Transition actions in lifecycle rule for prefix '{rule.prefix or ''}'"
        )
    for step in current:
        if (rule.days is not None and rule.days <= (step.days or 0)) or (rule.date_us is not None and rule.date_us <= (step.date_us or 0)):
            unit = "Days" if rule.days is not None else "Date"
            raise InvalidArgument(
                f"'{unit}' in the Expiration action for prefix '{rule.prefix or ''}' must be greater than '{unit}' in the Transition action"
            )
    if rule.noncurrent_days is not None and any(rule.noncurrent_days <= (step.days or 0) for step in noncurrent):
        raise InvalidArgument(
            f"'NoncurrentDays' in the NoncurrentVersionExpiration action for prefix '{rule.prefix or ''}' must be greater than"
            " 'NoncurrentDays' in the NoncurrentVersionTransition action"
        )
    return msgspec.structs.replace(rule, transitions=tuple(current), noncurrent_transitions=tuple(noncurrent))


def _transition(found: Element, classes: Sequence[str]) -> Transition:
    only(found, "Days", "Date", "StorageClass")
    days, date = whole(found, "Days"), text(found, "Date")
    _check_days(days, "Days", "Transition")
    asked = _class(found, classes)
    if (days is None) == (date is None):
        raise MalformedXml
    return Transition(asked, days, None if date is None else _date(date))


def _noncurrent_transition(found: Element, classes: Sequence[str]) -> Transition:
    only(found, "NoncurrentDays", "NewerNoncurrentVersions", "StorageClass")
    days = whole(found, "NoncurrentDays")
    _check_days(days, "NoncurrentDays", "NoncurrentVersionTransition")
    newer = _positive(found, "NewerNoncurrentVersions", "NoncurrentVersionTransition")
    asked = _class(found, classes)
    if days is None:
        raise MalformedXml
    if newer is not None and newer > MAX_NEWER:
        raise InvalidArgument(f"'NewerNoncurrentVersions' must be between 1 and {MAX_NEWER}")
    return Transition(asked, days, newer=newer)


def _check_days(number: int | None, name: str, action: str) -> None:
    if number is not None and not 0 <= number <= MAX_NUMBER:
        raise InvalidArgument(f"'{name}' in {action} action must be nonnegative")


def _class(found: Element, classes: Sequence[str]) -> str:
    asked = needed(found, "StorageClass")
    targets = [name for name in classes if name != "REDUCED_REDUNDANCY"]  # objects are put there, never moved
    if asked not in targets:
        given = ", ".join(targets) or "none"
        raise S3Refused(
            400,
            "InvalidStorageClass",
            "The storage class you specified is not valid",
            elements={"StorageClassRequested": asked},
            hint=f"Objects can go to these classes (s3.storage_classes): {given}.",
        )
    return asked
