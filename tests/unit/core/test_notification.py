"""Which rules an event fits, and the document that tells of it."""

import json

from objstore.core.notification import Event, NotificationConfig, Rule, decode, document, encode, fits, overlap, rules_for, target_of


def rule(*events: str, prefix: str | None = None, suffix: str | None = None) -> Rule:
    return Rule("r", "Queue", "arn:aws:sqs::1:hook", events, prefix, suffix)


def test_rules_are_found_by_event_prefix_and_suffix() -> None:
    config = NotificationConfig(1, (rule("s3:ObjectCreated:*", prefix="a/", suffix=".jpg"), rule("s3:ObjectRemoved:Delete")))
    assert decode(encode(config)) == config
    assert rules_for(config, "s3:ObjectCreated:Put", "a/x.jpg") == [config.rules[0]]
    assert rules_for(config, "s3:ObjectCreated:Put", "b/x.jpg") == []
    assert rules_for(config, "s3:ObjectCreated:Put", "a/x.png") == []
    assert rules_for(config, "s3:ObjectRemoved:Delete", "b") == [config.rules[1]]
    assert rules_for(config, "s3:ObjectRemoved:DeleteMarkerCreated", "b") == []
    assert fits("s3:ObjectCreated:*", "s3:ObjectCreated:Copy")
    assert target_of("arn:aws:sns:us-east-1:123:hook") == "hook"


def test_rules_that_one_event_could_fit_overlap() -> None:
    created = "s3:ObjectCreated:*"
    assert overlap(rule(created), rule("s3:ObjectCreated:Put"))
    assert not overlap(rule(created), rule("s3:ObjectRemoved:*"))
    assert overlap(rule(created, prefix="a"), rule(created, prefix="ab"))
    assert not overlap(rule(created, prefix="a"), rule(created, prefix="b"))
    assert not overlap(rule(created, suffix=".a"), rule(created, suffix=".b"))
    assert overlap(rule(created, prefix="a"), rule(created, suffix=".b"))


def test_the_document_is_amazons() -> None:
    event = Event(
        "s3:ObjectCreated:Put", "2026-01-31T23:59:59.000Z", "us-east-1", "b", "owner", "a b/ü+", "AWS:me", "127.0.0.1", "ID", "host",
        "0aff", 12, "etag", "v1",
    )  # fmt: skip
    (record,) = json.loads(document(event, rule("s3:ObjectCreated:*")))["Records"]
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["eventVersion"] == "2.1"
    assert record["s3"]["object"] == {"key": "a+b/%C3%BC%2B", "size": 12, "eTag": "etag", "versionId": "v1", "sequencer": "0aff"}
    assert record["s3"]["bucket"] == {"name": "b", "ownerIdentity": {"principalId": "owner"}, "arn": "arn:aws:s3:::b"}
    assert record["s3"]["configurationId"] == "r"
    assert record["requestParameters"] == {"sourceIPAddress": "127.0.0.1"}
    (removed,) = json.loads(document(event._replace(size=None, etag="", version_id=""), rule("s3:ObjectRemoved:*")))["Records"]
    assert set(removed["s3"]["object"]) == {"key", "sequencer"}
