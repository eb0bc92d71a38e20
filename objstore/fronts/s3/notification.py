"""Event notifications of a bucket: the document, and telling of what happened.

An ARN names a target of the configuration by its last part: `arn:aws:sns:us-east-1:123:hook` is `[notifications.targets.hook]`;
topic, queue and function are all the same here.  Without targets nothing can be asked for and nothing is looked up.
"""

from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec

from objstore.core import notification
from objstore.core.notification import EVENTS, KINDS, Event, NotificationConfig, Rule, document, overlap, rules_for, target_of
from objstore.errors import InvalidArgument, MalformedXml, NoSuchConfig, NotImplementedHere
from objstore.fronts.s3.context import Front, Response, empty_answer, xml_answer
from objstore.fronts.s3.documents import needed, one, only, read_document, text, texts
from objstore.fronts.s3.request import S3Request
from objstore.fronts.s3.times import iso_time
from objstore.fronts.s3.xml import Element, element
from objstore.objects.api import DeleteOutcome, ObjectInfo
from objstore.objects.config import Parsed

LIMIT_BYTES = 256 * 1024
MAX_ID = 255
MAX_NAME = 1024
PARSED = Parsed("notification", notification.decode)
CREATED_PUT = "s3:ObjectCreated:Put"
CREATED_POST = "s3:ObjectCreated:Post"
CREATED_COPY = "s3:ObjectCreated:Copy"
CREATED_UPLOAD = "s3:ObjectCreated:CompleteMultipartUpload"
TAGS_PUT = "s3:ObjectTagging:Put"
TAGS_DELETED = "s3:ObjectTagging:Delete"


async def get_bucket_notification(front: Front, request: S3Request) -> Response:
    """GetBucketNotificationConfiguration; an empty document when none is set."""
    try:
        config = notification.decode(await front.store.get_config(request.who, request.bucket, "notification"))
    except NoSuchConfig:
        return xml_answer("NotificationConfiguration", "")
    return xml_answer("NotificationConfiguration", "".join([_shown(rule) for rule in config.rules]))


async def put_bucket_notification(front: Front, request: S3Request) -> Response:
    """PutBucketNotificationConfiguration; an empty document takes all of it away."""
    root = await read_document(front, request, "notification", "NotificationConfiguration", LIMIT_BYTES)
    config = parse_config(root, frozenset() if front.notifier is None else frozenset(front.notifier.targets))
    encoded = notification.encode(config) if config.rules else None
    await front.store.set_config(request.who, request.bucket, "notification", encoded)
    return empty_answer(200)


BUCKET_ROUTES = {
    ("GET", "notification"): ("GetBucketNotificationConfiguration", get_bucket_notification),
    ("PUT", "notification"): ("PutBucketNotificationConfiguration", put_bucket_notification),
}


def _shown(rule: Rule) -> str:
    out = element("Id", rule.id) + element(rule.kind, rule.arn) + "".join([element("Event", name) for name in rule.events])
    filters = ""
    for name, value in (("prefix", rule.prefix), ("suffix", rule.suffix)):
        filters += "" if value is None else f"<FilterRule>{element('Name', name)}{element('Value', value)}</FilterRule>"
    if filters:
        out += f"<Filter><S3Key>{filters}</S3Key></Filter>"
    return f"<{rule.kind}Configuration>{out}</{rule.kind}Configuration>"


def parse_config(root: Element, targets: frozenset[str]) -> NotificationConfig:
    """The configuration of a document.  Raises MalformedXml, InvalidArgument, NotImplementedHere."""
    only(root, *(f"{kind}Configuration" for kind in KINDS), "EventBridgeConfiguration")
    if root.find("EventBridgeConfiguration") is not None:
        raise NotImplementedHere("There is no EventBridge to send events to.")
    if len(root.children) > notification.MAX_RULES:
        raise InvalidArgument(f"A bucket has at most {notification.MAX_RULES} notification configurations")
    rules = tuple(_rule(node, node.name.removesuffix("Configuration"), targets) for node in root.children)
    if len({rule.id for rule in rules}) != len(rules):
        raise InvalidArgument("Same ID used for multiple configurations. IDs must be unique")
    for place, rule in enumerate(rules):
        if any(overlap(rule, other) for other in rules[:place]):
            raise InvalidArgument(
                "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the prefixes are overlapping "
                "for the same event type."
            )
    return NotificationConfig(1, rules)


def _rule(node: Element, kind: str, targets: frozenset[str]) -> Rule:
    only(node, "Id", kind, "Event", "Filter")
    arn, events, rule_id = needed(node, kind).strip(), texts(node, "Event"), text(node, "Id")
    if not events or len(events) > len(EVENTS) or (rule_id is not None and len(rule_id) > MAX_ID) or len(arn) > MAX_NAME:
        raise MalformedXml
    for name in events:
        if name not in EVENTS:
            raise InvalidArgument(f"The event is not supported for notifications: {name}")
    if not arn.startswith("arn:"):
        raise InvalidArgument("The ARN could not be parsed")
    if target_of(arn) not in targets:
        raise InvalidArgument(
            f"Unable to validate the following destination configurations: {arn} ends in no target of [notifications.targets]"
        )
    prefix, suffix = _filters(node)
    rule = Rule(rule_id or "", kind, arn, events, prefix, suffix)
    if not rule.id:
        digest = sha256(msgspec.msgpack.encode(rule)).digest()
        rule = msgspec.structs.replace(rule, id=urlsafe_b64encode(digest).decode().rstrip("="))
    return rule


def _filters(node: Element) -> tuple[str | None, str | None]:
    outer = one(node, "Filter")
    if outer is None:
        return None, None
    only(outer, "S3Key")
    keys = one(outer, "S3Key")
    found: dict[str, str] = {}
    if keys is not None:
        only(keys, "FilterRule")
        for rule in keys.children:
            only(rule, "Name", "Value")
            name, value = needed(rule, "Name").lower(), needed(rule, "Value")
            if name not in ("prefix", "suffix"):
                raise InvalidArgument("filter rule name must be either prefix or suffix")
            if name in found:
                raise InvalidArgument(f"Cannot specify more than one {name} rule in a filter.")
            if len(value) > MAX_NAME:
                raise InvalidArgument(f"Size of filter rule value cannot exceed {MAX_NAME} bytes in UTF-8 representation")
            found[name] = value
    return found.get("prefix"), found.get("suffix")


# -- telling --------------------------------------------------------------------------------------------------


async def tell_written(front: Front, request: S3Request, name: str, info: ObjectInfo) -> None:
    """Tell of an object that was written or tagged; returns when that is durable.  Raises TooBusy."""
    if front.notifier is not None:
        await _tell(front, request, name, info.key, info.size, info.etag, info.version_id, info.modified_us)


async def tell_deleted(front: Front, request: S3Request, outcome: DeleteOutcome) -> None:
    """Tell of a deletion; nothing is told of one that failed."""
    if front.notifier is None or outcome.error is not None:
        return
    made_marker = outcome.delete_marker and not outcome.version_id
    name = "s3:ObjectRemoved:DeleteMarkerCreated" if made_marker else "s3:ObjectRemoved:Delete"
    version_id = outcome.marker_version_id if made_marker else outcome.version_id
    await _tell(front, request, name, outcome.key, None, "", version_id, 0)


async def _tell(
    front: Front, request: S3Request, name: str, key: str, size: int | None, etag: str, version_id: str, modified_us: int
) -> None:
    assert front.notifier is not None
    info = await front.store.find_bucket(request.who, request.bucket)
    config = PARSED.of(info)
    if config is None:
        return
    who, settings = request.who, front.settings
    for rule in rules_for(config, name, key):
        event = Event(
            name=name, time=iso_time(front.clock.wall_us()), region=info.region or settings.region, bucket=info.name,
            owner=front.credentials.owner_of(info.account).canonical_id, key=key, principal=who.arn or who.account or "Anonymous",
            source_ip=who.request.source_ip, request_id=request.id, host_id=settings.host_id,
            sequencer=_sequencer(name, version_id, modified_us, front.clock.wall_us()), size=size, etag=etag, version_id=version_id,
        )  # fmt: skip
        await front.notifier.record(target_of(rule.arn), document(event, rule))


def _sequencer(name: str, version_id: str, modified_us: int, now_us: int) -> str:
    """Orders the events of one key: the ballot of a version that came into being, or when something else happened.

    The removal of a version and the change of its tags come long after the ballot that its id is made of.
    """
    is_new = name.startswith("s3:ObjectCreated:") or name == "s3:ObjectRemoved:DeleteMarkerCreated"
    if is_new and len(version_id) == 24:
        return version_id
    return f"{(modified_us if is_new and modified_us else now_us) << 12:016x}00000000"
