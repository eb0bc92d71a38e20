"""Event notifications: which rules of a bucket an event fits, and the document that tells of it; pure."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote_plus

import msgspec

MAX_RULES = 100
KINDS = ("Topic", "Queue", "CloudFunction")
EVENTS = frozenset(
    (
        "s3:ObjectCreated:*", "s3:ObjectCreated:Put", "s3:ObjectCreated:Post", "s3:ObjectCreated:Copy",
        "s3:ObjectCreated:CompleteMultipartUpload", "s3:ObjectRemoved:*", "s3:ObjectRemoved:Delete",
        "s3:ObjectRemoved:DeleteMarkerCreated", "s3:ObjectTagging:*", "s3:ObjectTagging:Put", "s3:ObjectTagging:Delete",
    )
)  # fmt: skip


class Rule(msgspec.Struct, frozen=True, array_like=True):
    """A rule as the client wrote it.  New fields go last, with a default."""

    id: str
    kind: str  # one of KINDS
    arn: str
    events: tuple[str, ...]
    prefix: str | None = None
    suffix: str | None = None


class NotificationConfig(msgspec.Struct, frozen=True, array_like=True):
    """The configuration as stored."""

    record_version: int
    rules: tuple[Rule, ...]


class Event(NamedTuple):
    """What happened to an object."""

    name: str  # with "s3:" before it
    time: str  # ISO 8601
    region: str
    bucket: str
    owner: str  # of the bucket, canonical id
    key: str
    principal: str
    source_ip: str
    request_id: str
    host_id: str
    sequencer: str
    size: int | None = None
    etag: str = ""
    version_id: str = ""


_DECODER = msgspec.msgpack.Decoder(NotificationConfig)


def encode(config: NotificationConfig) -> bytes:
    """Configuration to bytes."""
    return msgspec.msgpack.encode(config)


def decode(data: bytes) -> NotificationConfig:
    """Bytes to configuration."""
    return _DECODER.decode(data)


def target_of(arn: str) -> str:
    """The name of the target that an ARN means: its last part."""
    return arn.rpartition(":")[2]


def fits(pattern: str, event: str) -> bool:
    """Whether an event is one of those that a name of a rule means."""
    return event.startswith(pattern[:-1]) if pattern.endswith("*") else pattern == event


def rules_for(config: NotificationConfig, event: str, key: str) -> list[Rule]:
    """The rules that an event on a key fits."""
    return [
        rule
        for rule in config.rules
        if any(fits(pattern, event) for pattern in rule.events) and key.startswith(rule.prefix or "") and key.endswith(rule.suffix or "")
    ]


def overlap(one: Rule, other: Rule) -> bool:
    """Whether some event on some key could fit both: then nobody could say where it goes."""
    if not any(fits(a, b) or fits(b, a) for a in one.events for b in other.events):
        return False
    heads, tails = (one.prefix or "", other.prefix or ""), (one.suffix or "", other.suffix or "")
    return heads[0].startswith(heads[1]) | heads[1].startswith(heads[0]) and tails[0].endswith(tails[1]) | tails[1].endswith(tails[0])


def document(event: Event, rule: Rule) -> bytes:
    """Amazon's JSON (event version 2.1) of one event."""
    thing: dict[str, Any] = {"key": quote_plus(event.key, safe="/")}
    if event.size is not None:
        thing["size"] = event.size
    if event.etag:
        thing["eTag"] = event.etag
    if event.version_id:
        thing["versionId"] = event.version_id
    thing["sequencer"] = event.sequencer
    bucket: Mapping[str, Any] = {"name": event.bucket, "ownerIdentity": {"principalId": event.owner}, "arn": f"arn:aws:s3:::{event.bucket}"}
    record = {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": event.region,
        "eventTime": event.time,
        "eventName": event.name.removeprefix("s3:"),
        "userIdentity": {"principalId": event.principal},
        "requestParameters": {"sourceIPAddress": event.source_ip},
        "responseElements": {"x-amz-request-id": event.request_id, "x-amz-id-2": event.host_id},
        "s3": {"s3SchemaVersion": "1.0", "configurationId": rule.id, "bucket": bucket, "object": thing},
    }
    return json.dumps({"Records": [record]}, separators=(",", ":")).encode()
